"""Data: images and labels from an LMDB of Datum records, Caffe's or our own with label vectors."""

from __future__ import annotations

from typing import ClassVar

from drml.data.images import Channels
from drml.data.lmdb_source import LmdbSource
from drml.layers.base import register
from drml.layers.base_data import TRANSFORM_FIELDS, ImageDataLayer
from drml.proto import caffe_pb2 as pb


@register
class Data(ImageDataLayer):
    """Reads an LMDB in the order of its keys, again and again (Caffe's Data layer).

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
        )

    def _channels(self) -> Channels:
        transform = self.layer_param.transform_param
        if transform.force_color or self.param.force_encoded_color:
            return Channels.COLOR
        return Channels.GRAY if transform.force_gray else Channels.NATIVE

    @classmethod
    def stated_shapes(cls, param: pb.LayerParameter) -> list[tuple[int, ...]] | None:
        """Only the data top can be stated, by crop_size and force_color or force_gray."""
        transform = param.transform_param
        crop = transform.crop_size
        if len(param.top) != 1 or not crop or not (transform.force_color or transform.force_gray):
            return None
        return [(param.data_param.batch_size, 3 if transform.force_color else 1, crop, crop)]
