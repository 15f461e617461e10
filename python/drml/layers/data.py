"""Data: images and labels from an LMDB of Datum records, Caffe's or our own with label vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from drml.data.balanced import BalancedEpochs
from drml.data.images import Channels
from drml.data.lmdb_source import LmdbSource
from drml.data.samples import ImageSource
from drml.errors import DataError
from drml.layers.base import register
from drml.layers.base_data import TRANSFORM_FIELDS, ImageDataLayer
from drml.proto import caffe_pb2 as pb


@register
class Data(ImageDataLayer):
    """Reads an LMDB in the order of its keys, again and again (Caffe's Data layer).

    Ours in data_param: `keys`, a text file that names the records to read, in its order; `shuffle`;
    `balance`, which draws records by `drml.data.balanced` instead; `new_height` and `new_width`,
    to which images are resized before the transform.

    Tops: data (N, C, H, W), BGR; label (N,) of stock Caffe's records, (N, K) of ours.
    """

    type: ClassVar[str] = "Data"
    param_field: ClassVar[str] = "data_param"
    supported: ClassVar[frozenset[str]] = TRANSFORM_FIELDS | {
        "transform_param.force_color",
        "transform_param.force_gray",
        "source",
        "batch_size",
        "rand_skip",
        "backend",
        "force_encoded_color",
        "prefetch",
        "zero_is_negative",
        "keys",
        "shuffle",
        "new_height",
        "new_width",
        "balance",
    }

    def open_source(self) -> LmdbSource:
        if self.param.backend != pb.DataParameter.LMDB:
            given = "" if self.param.HasField("backend") else " (the default where none is given)"
            raise self.error(
                f"backend LEVELDB{given} is not supported; convert the data base to LMDB and write "
                "backend: LMDB",
                "data_param.backend",
            )
        return LmdbSource(
            self.find_source(),
            channels=self._channels(),
            zero_is_negative=self.param.zero_is_negative,
            learning=self.context.phase == pb.TRAIN,
            keys=self.context.find(self.param.keys) if self.param.keys else None,
            size=self.new_size(),
        )

    def epochs(
        self, source: ImageSource, key: bytes
    ) -> Callable[[int], npt.NDArray[np.int64]] | None:
        if not self.param.balance:
            return None
        assert isinstance(source, LmdbSource)
        try:
            return BalancedEpochs(source.labels(), key)
        except DataError:
            source.close()
            raise

    def _channels(self) -> Channels:
        transform = self.layer_param.transform_param
        if transform.force_color or self.param.force_encoded_color:
            return Channels.COLOR
        return Channels.GRAY if transform.force_gray else Channels.NATIVE

    @classmethod
    def stated_shapes(cls, param: pb.LayerParameter) -> list[tuple[int, ...]] | None:
        """Only the data top can be stated, by the size of crop_size or of new_height and new_width,
        and by force_color or force_gray."""
        transform, data = param.transform_param, param.data_param
        height, width = data.new_height, data.new_width
        if transform.crop_size:
            height = width = transform.crop_size
        colored = transform.force_color or transform.force_gray
        if len(param.top) != 1 or not colored or not height or not width:
            return None
        return [(data.batch_size, 3 if transform.force_color else 1, height, width)]
