"""MemoryData: batches of arrays that the user's program gives the net."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from drml.blob import Array, Blob
from drml.layers.base import register
from drml.layers.base_data import DataLayer
from drml.proto import caffe_pb2 as pb


@register
class MemoryData(DataLayer):
    """Serves arrays batch by batch, from the first again after the last (Caffe's MemoryData).

    `Net.set_input_arrays` gives the arrays. Fields of memory_data_param, all needed: batch_size,
    channels, height, width. Arrays are not transformed, as in Caffe. Tops: data (N, C, H, W);
    label (N,).
    """

    type: ClassVar[str] = "MemoryData"
    param_field: ClassVar[str] = "memory_data_param"
    supported: ClassVar[frozenset[str]] = frozenset({"batch_size", "channels", "height", "width"})
    tops: ClassVar[tuple[int, int | None]] = (2, 2)
    _data: Array | None = None
    _labels: Array | None = None

    @property
    def sample_count(self) -> int | None:
        return None if self._data is None else len(self._data)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of a batch: (N, C, H, W)."""
        param = self.param
        return (param.batch_size, param.channels, param.height, param.width)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        if min(self.shape) < 1:
            raise self.error(
                "batch_size, channels, height and width must be given, each 1 or more, not "
                f"{', '.join(map(str, self.shape))}",
                "memory_data_param",
            )
        self.position = 0

    def set_arrays(self, data: npt.ArrayLike, labels: npt.ArrayLike) -> None:
        """Serves other arrays, from their first batch on.

        Args:
            data: (M, C, H, W), M a multiple of the batch size. A float32 array is not copied: what
                is written to it later is served.
            labels: M numbers, of shape (M,) or (M, 1, 1, 1).

        Raises:
            NetError: the shapes do not fit.
        """
        batch, *image = self.shape
        values, classes = self._floats(data, "data"), self._floats(labels, "labels")
        if values.ndim != 4 or list(values.shape[1:]) != image:
            wanted = ", ".join(map(str, image))
            raise self.error(f"data needs shape (M, {wanted}), got {values.shape}")
        if classes.shape not in ((len(values),), (len(values), 1, 1, 1)):
            raise self.error(f"labels of shape {classes.shape} for data of shape {values.shape}")
        if not len(values) or len(values) % batch:
            raise self.error(
                f"{len(values)} samples are no multiple of the batch size, which is {batch}"
            )
        self._data, self._labels = values, classes.reshape(-1)
        self.position = 0

    def _floats(self, array: npt.ArrayLike, what: str) -> Array:
        try:
            return np.asarray(array, np.float32)
        except (TypeError, ValueError) as error:
            raise self.error(f"{what} is no array of numbers ({error})") from error

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        top[0].reshape(*self.shape)
        top[1].reshape(self.shape[0])

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        if self._data is None or self._labels is None:
            raise self.error("holds no data yet; net.set_input_arrays(data, labels) gives it some")
        assert self.position is not None
        batch = self.shape[0]
        start = self.position * batch % len(self._data)
        top[0].data = self._data[start : start + batch]
        top[1].data = self._labels[start : start + batch]
        self.position += 1

    @classmethod
    def stated_shapes(cls, param: pb.LayerParameter) -> list[tuple[int, ...]] | None:
        """Always stated."""
        memory = param.memory_data_param
        shape = (memory.batch_size, memory.channels, memory.height, memory.width)
        return [shape, shape[:1]]
