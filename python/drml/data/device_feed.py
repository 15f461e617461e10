"""DeviceFeed: brings batches to a CUDA device while the one before is computed on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from drml import _core
from drml.blob import Blob
from drml.data.prefetch import Prefetcher

Array = npt.NDArray[np.float32]


class DeviceFeed:
    """The numbered batches of a data layer on a device, one batch ahead.

    A thread puts the next batch into pinned memory and starts its copy, on a stream beside that of
    the kernels. There are two sets of buffers, and batches take turns.

    Args:
        make: the arrays of batch `number`, one per top, shaped as the tops.
        device: `cuda:N`.
        name: of the thread.
    """

    def __init__(
        self, make: Callable[[int], Sequence[Array]], device: str, name: str = "data"
    ) -> None:
        self._make = make
        self._device = device
        self._sets: list[list[_core.CudaInputBuffer]] = [[], []]
        self._shapes: list[list[tuple[int, ...]]] = [[], []]
        self._prefetcher = Prefetcher(self._stage, threads=1, depth=1, name=f"{name}-feed")

    def take(self, number: int, tops: Sequence[Blob]) -> None:
        """Queues the copy of batch `number` into the tops, which get its shapes."""
        turn = self._prefetcher.get(number)
        for blob, shape, buffer in zip(tops, self._shapes[turn], self._sets[turn], strict=True):
            blob.reshape(*shape)
            buffer.take(blob.value)

    def close(self) -> None:
        """Joins the thread and frees the buffers."""
        self._prefetcher.close()
        self._sets = [[], []]

    def _stage(self, number: int) -> int:
        """Starts the copy of a batch; returns which set of buffers it is in."""
        arrays = self._make(number)
        turn = number % 2
        shapes = [array.shape for array in arrays]
        if self._shapes[turn] != shapes:
            self._sets[turn] = [
                _core.CudaInputBuffer(array.shape, _is_channels_last(array), self._device)
                for array in arrays
            ]
            self._shapes[turn] = shapes
        for buffer, array in zip(self._sets[turn], arrays, strict=True):
            buffer.host()[...] = array
            buffer.start()
        return turn


def _is_channels_last(array: Array) -> bool:
    return array.ndim == 4 and array.transpose(0, 2, 3, 1).flags.c_contiguous
