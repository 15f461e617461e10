"""BatchLoader: joins source, order and transform into the batches of a data layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drml.data.keyed import Draws, Order
from drml.data.prefetch import Prefetcher
from drml.data.samples import ImageSource, Shape
from drml.data.transform import Transformer
from drml.errors import DataError

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the net reads it.

    Attributes:
        data: (N, H, W, C), the memory order of a blob (N, C, H, W).
        label: (N,) or (N, K).
    """

    data: Array
    label: Array


class BatchLoader:
    """The numbered batches of a data layer, made ahead in background threads.

    Args:
        source: of the samples; closed with the loader.
        transformer: from stored pixels to the net's input.
        order: which sample comes when.
        key: of the samples' random numbers.
        batch_size: samples a batch.
        threads: background threads.
        depth: batches made ahead.
        name: of the threads.
    """

    def __init__(
        self,
        source: ImageSource,
        transformer: Transformer,
        order: Order,
        key: bytes,
        batch_size: int,
        *,
        threads: int = 2,
        depth: int = 4,
        name: str = "data",
    ) -> None:
        self.source = source
        self.batch_size = batch_size
        self._transformer = transformer
        self._order = order
        self._key = key
        self._prefetcher = Prefetcher(self.make, threads=threads, depth=depth, name=name)

    def first_shape(self) -> Shape:
        """(N, C, H, W) of the first batch, from its first sample."""
        index = self._order.index(0)
        height, width, channels = self._output_shape(index, self.source.read(index).pixels.shape)
        return (self.batch_size, channels, height, width)

    def sample_name(self, number: int) -> str:
        """What the source calls sample `number` of the stream."""
        return self.source.key(self._order.index(number))

    def get(self, position: int) -> Batch:
        """Batch `position` of the stream, from the prefetch."""
        return self._prefetcher.get(position)

    def make(self, position: int) -> Batch:
        """Makes batch `position`: a pure function of it, whatever thread asks.

        Raises:
            DataError: names the sample that cannot be read, or does not fit the others.
        """
        size = self.batch_size
        data: Array | None = None
        label = np.empty((size, *self.source.label_shape), np.float32)
        for row in range(size):
            number = position * size + row
            index = self._order.index(number)
            sample = self.source.read(index)
            shape = self._output_shape(index, sample.pixels.shape)
            if data is None:
                data = np.empty((size, *shape), np.float32)
            elif shape != data.shape[1:]:
                first = self.source.name(self._order.index(position * size))
                raise DataError(
                    f"{self.source.name(index)}: the image is {_size(shape)}, but the first of its "
                    f"batch is {_size(data.shape[1:])} (height x width x channels; {first}); set "
                    "crop_size, resize the images, or use batch_size 1"
                )
            self._transformer.apply(sample.pixels, data[row], Draws(self._key, number))
            label[row] = sample.label
        assert data is not None
        return Batch(data, label)

    def close(self) -> None:
        """Joins the threads and closes the source."""
        self._prefetcher.close()
        self.source.close()

    def _output_shape(self, index: int, shape: Shape) -> Shape:
        try:
            return self._transformer.output_shape(shape)
        except DataError as error:
            raise DataError(f"{self.source.name(index)}: {error}") from error


def _size(shape: Shape) -> str:
    return "x".join(str(size) for size in shape)
