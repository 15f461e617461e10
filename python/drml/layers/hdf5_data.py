"""HDF5Data: arrays from HDF5 files, one dataset per top."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from drml.blob import Array, Blob
from drml.data.hdf5_source import Hdf5Source, Rows
from drml.data.keyed import stream_key
from drml.data.prefetch import Prefetcher
from drml.device import is_cuda
from drml.errors import DataError
from drml.layers.base import register
from drml.layers.base_data import DataLayer


@register
class HDF5Data(DataLayer):
    """Reads rows of the datasets that are named as the tops, from the files that a list names.

    Rows come as in Caffe's layer, files in the order of the list; shuffled rows come from windows
    of memory, see `drml.data.hdf5_source`. Tops: (N, ...) with the rest of each dataset's shape.
    """

    type: ClassVar[str] = "HDF5Data"
    param_field: ClassVar[str] = "hdf5_data_param"
    supported: ClassVar[frozenset[str]] = frozenset(
        {"source", "batch_size", "shuffle", "data_param.prefetch"}
    )
    tops: ClassVar[tuple[int, int | None]] = (1, None)
    _prefetcher: Prefetcher[Rows] | None = None

    @property
    def sample_count(self) -> int | None:
        return len(self._source)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        if self.layer_param.HasField("transform_param"):
            raise self.error("HDF5Data does not transform its data", "transform_param")
        self._batch_size = self.batch_size()
        try:
            self._source = Hdf5Source(
                self.find_source(),
                list(self.layer_param.top),
                key=stream_key(self.context.seed, self.name),
                shuffle=self.param.shuffle,
            )
        except DataError as error:
            raise self.data_error(error, "source") from error
        # One thread: the HDF5 library lets only one in at a time.
        self._prefetcher = Prefetcher(
            self._read, threads=1, depth=self.layer_param.data_param.prefetch, name=self.name
        )
        self.position = 0

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        for blob, shape in zip(top, self._source.shapes, strict=True):
            blob.reshape(self._batch_size, *shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        assert self._prefetcher is not None
        self.deliver(self._prefetcher.get, top)

    def close(self) -> None:
        super().close()
        if self._prefetcher is not None:
            self._prefetcher.close()

    def _read(self, position: int) -> Rows:
        rows = self._source.read(position * self._batch_size, self._batch_size)
        return rows if is_cuda(self.context.device) else [_as_blob(array) for array in rows]


def _as_blob(array: Array) -> Array:
    """The array in the memory order of its blob on the CPU: channels-last for four axes."""
    if array.ndim != 4:
        return array
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
