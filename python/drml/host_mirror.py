"""HostMirror: a device tensor as a NumPy array that may be written; Caffe's SyncedMemory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drml._core import Tensor

Array = npt.NDArray[np.float32]


class HostMirror:
    """A copy on the host of a tensor on a device, which goes back before a kernel reads the tensor.

    An array that was handed out is a window of its moment: after kernels have run it shows what
    they computed once it is asked for again, and what is written to it in between is lost. The same
    holds for pycaffe's arrays on a GPU.

    Args:
        tensor: on a CUDA device.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self._array: Array | None = None
        self._lent = False

    def lend(self) -> Array:
        """The tensor's numbers, to be read and written; always the same array."""
        if not self._lent:
            values = self.tensor.get()
            if self._array is None:
                self._array = values
            else:
                self._array[...] = values
            self._lent = True
        assert self._array is not None
        return self._array

    def give_back(self) -> None:
        """Copies the array to the device if it was lent since it last went there."""
        if self._lent:
            assert self._array is not None
            self.tensor.set(self._array)
            self._lent = False

    def read(self) -> Array:
        """The tensor's numbers, to be read; what was written to the lent array counts."""
        if self._lent:
            assert self._array is not None
            return self._array.copy()
        return self.tensor.get()
