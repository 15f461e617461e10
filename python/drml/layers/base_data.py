"""What the layers that read images share: a loader behind them, and tops `data [label]`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from drml.blob import Array, Blob
from drml.data.device_feed import DeviceFeed
from drml.data.keyed import Order, stream_key
from drml.data.loader import BatchLoader
from drml.data.samples import ImageSource
from drml.data.transform import Transformer
from drml.device import is_cuda
from drml.errors import DataError, WeightsError
from drml.layers.base import Layer
from drml.weights import read_mean

TRANSFORM_FIELDS = frozenset(
    f"transform_param.{name}"
    for name in ("scale", "mirror", "crop_size", "mean_file", "mean_value")
)


class DataLayer(Layer):
    """Base of the layers that bring batches from outside: no bottoms, no backward.

    `position` is the number of batches drawn, and all that a resumed run needs.
    """

    bottoms: ClassVar[tuple[int, int | None]] = (0, 0)
    is_data: ClassVar[bool] = True
    _feed: DeviceFeed | None = None

    def deliver(self, make: Callable[[int], Sequence[Array]], top: list[Blob]) -> None:
        """Puts the arrays of batch `position`, one per top, into the tops and moves on.

        On a CUDA device the batch after it is made and copied there meanwhile, by another thread.
        """
        assert self.position is not None
        if is_cuda(self.context.device):
            if self._feed is None:
                self._feed = DeviceFeed(make, self.context.device, self.name)
            self._feed.take(self.position, top)
        else:
            for blob, array in zip(top, make(self.position), strict=True):
                blob.reshape(*array.shape)
                blob.data = array
        self.position += 1

    def close(self) -> None:
        if self._feed is not None:
            self._feed.close()

    @property
    def sample_count(self) -> int | None:
        """How many samples the source holds; None where it does not tell."""
        return None

    def sample_name(self, number: int) -> str:
        """What the source calls sample `number` of the stream; its number where it has no name."""
        return str(number)

    def data_error(self, error: DataError, field: str) -> DataError:
        """The error with the layer, and the line of the field that led to it, in front."""
        where = self.source.where(f"{self.param_field}.{field}")
        return DataError(f"{where}: layer '{self.name}' ({self.type}): {error}")

    def find_source(self) -> Path:
        """The path that the field `source` names."""
        if not self.param.source:
            raise self.error(f"{self.param_field}.source is missing", self.param_field)
        return self.context.find(self.param.source)

    def batch_size(self) -> int:
        """The field `batch_size`, at least 1."""
        size: int = self.param.batch_size
        if size < 1:
            raise self.error("batch_size must be 1 or more", f"{self.param_field}.batch_size")
        return size


class ImageDataLayer(DataLayer):
    """Base of the layers whose tops are images, transformed as transform_param says, and labels."""

    tops: ClassVar[tuple[int, int | None]] = (1, 2)
    _loader: BatchLoader | None = None

    @property
    def sample_count(self) -> int | None:
        return len(self._loader.source) if self._loader is not None else None

    def sample_name(self, number: int) -> str:
        assert self._loader is not None
        return self._loader.sample_name(number)

    def open_source(self) -> ImageSource:
        """Opens the source that the layer's parameters name; may raise DataError."""
        raise NotImplementedError

    def epochs(
        self, source: ImageSource, key: bytes
    ) -> Callable[[int], npt.NDArray[np.int64]] | None:
        """What makes the order of each epoch; None where it is the source's, or its permutations.

        May raise DataError.
        """
        return None

    def new_size(self) -> tuple[int, int] | None:
        """(height, width) to resize images to; None keeps theirs."""
        height, width = self.param.new_height, self.param.new_width
        if bool(height) != bool(width):
            raise self.error("new_height and new_width must be given together", self.param_field)
        return (height, width) if height else None

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        batch_size = self.batch_size()
        transformer = self._transformer()
        key = stream_key(self.context.seed, self.name)
        try:
            source = self.open_source()
            epochs = self.epochs(source, key)
        except DataError as error:
            raise self.data_error(error, "source") from error
        order = Order(
            len(source),
            key,
            shuffle=getattr(self.param, "shuffle", False),
            rand_skip=self.param.rand_skip,
            epochs=epochs,
        )
        self._loader = BatchLoader(
            source,
            transformer,
            order,
            key,
            batch_size,
            threads=self.context.threads,
            # Caffe's image layers, too, take the depth of their prefetch from data_param.
            depth=self.layer_param.data_param.prefetch,
            name=self.name,
        )
        self.position = 0
        try:
            self._shape = self._loader.first_shape()
        except DataError as error:
            raise self.data_error(error, "source") from error

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        assert self._loader is not None
        top[0].reshape(*self._shape)
        if len(top) > 1:
            top[1].reshape(self._shape[0], *self._loader.source.label_shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        self.deliver(lambda number: self._arrays(number)[: len(top)], top)
        self._shape = top[0].shape

    def _arrays(self, number: int) -> list[Array]:
        """Images (N, C, H, W) and labels of batch `number`."""
        assert self._loader is not None
        batch = self._loader.get(number)
        return [batch.data.transpose(0, 3, 1, 2), batch.label]

    def close(self) -> None:
        super().close()
        if self._loader is not None:
            self._loader.close()

    def _transformer(self) -> Transformer:
        param = self.layer_param.transform_param
        mean = None
        if param.mean_file:
            try:
                mean = read_mean(self.context.find(param.mean_file))
            except WeightsError as error:
                raise self.error(str(error), "transform_param.mean_file") from error
        try:
            return Transformer(param, self.context.phase, mean)
        except DataError as error:
            raise self.error(str(error), "transform_param") from error
