"""HostMirror: a device tensor as a NumPy array that may be written; Caffe's SyncedMemory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drml._core import Tensor

Array = npt.NDArray[np.float32]


class HostMirror:
    """A copy on the host of a tensor on a device; it goes back before a kernel reads the tensor.

    Only what was written goes back: where another library shares the tensor's memory, looking at
    the numbers undoes nothing that it writes there.

    An array that was handed out is a window of its moment: after kernels have run it shows what
    they computed once it is asked for again, and what is written to it in between is lost. The same
    holds for pycaffe's arrays on a GPU.

    Args:
        tensor: on a CUDA device.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self._array: Array | None = None
        self._original: Array | None = None  # what the array showed when it was lent

    def lend(self) -> Array:
        """The tensor's numbers, to be read and written; always the same array."""
        written = self._written()
        if written is not None:
            return written
        self._original = self.tensor.get()
        if self._array is None:
            self._array = self._original.copy()
        else:
            self._array[...] = self._original
        return self._array

    def give_back(self) -> None:
        """Copies the array to the device if it was written to since it was lent."""
        written = self._written()
        if written is not None:
            self.tensor.set(written)
        self._original = None

    def read(self) -> Array:
        """The tensor's numbers, to be read; what was written to the lent array counts."""
        written = self._written()
        return self.tensor.get() if written is None else written.copy()

    def _written(self) -> Array | None:
        """The array if it was lent and has been written to, bit by bit: NaN is a number too."""
        if self._array is None or self._original is None:
            return None
        same = np.array_equal(self._array.view(np.uint32), self._original.view(np.uint32))
        return None if same else self._array
