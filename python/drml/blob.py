"""Blob: a named array with a value (`data`) and a gradient (`diff`), as in Caffe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from drml import _core
from drml._core import Tensor, fill, from_dlpack
from drml.device import default_device, full_name, is_cuda
from drml.host_mirror import HostMirror

Array = npt.NDArray[np.float32]
Shape = tuple[int, ...]


class _Half:
    """The value or the gradient of a blob: memory made when first touched, or that of another half.

    Args:
        shape, channels_last, device: as the blob's.
        fill: writes the initial numbers, zeros if there is none.
    """

    def __init__(
        self,
        shape: Shape,
        channels_last: bool,
        device: str,
        fill: Callable[[Array], None] | None = None,
    ) -> None:
        self._shape = shape
        self._channels_last = channels_last
        self._device = device
        self._fill = fill
        self._tensor: Tensor | None = None
        self._mirror: HostMirror | None = None
        self._cleared = False  # zeros are due, but memory does not hold them yet
        self._owner: _Half | None = None
        self._row: int | None = None  # which index of the owner's axis 0, if not all of it

    def reshape(self, shape: Shape) -> None:
        """Takes a new shape and drops the memory."""
        self._shape = shape
        self._drop()

    def _drop(self) -> None:
        self._tensor = self._mirror = None
        self._cleared = False

    def share(self, owner: _Half, row: int | None = None) -> None:
        """Lies in the memory of another half, or of one index of its axis 0, from now on."""
        self._owner, self._row = owner, row
        self._drop()

    def use(self, tensor: Tensor) -> None:
        """Lies in a given tensor from now on."""
        self._owner = None
        self._drop()
        self._tensor = tensor

    @property
    def exists(self) -> bool:
        return self._tensor is not None if self._owner is None else self._owner.exists

    @property
    def is_shared(self) -> bool:
        return self._owner is not None

    @property
    def tensor(self) -> Tensor:
        """What kernels see; what the host has written is there."""
        if self._owner is not None:
            tensor = self._owner.tensor
            if self._row is not None:
                tensor = tensor.narrow(0, self._row, 1)
            return tensor if tensor.shape == self._shape else tensor.view(self._shape)
        if self._mirror is not None:
            self._mirror.give_back()
        return self._make()

    def clear_later(self) -> None:
        """Makes all numbers zeros, which are written when they are next looked at."""
        if self._owner is not None:
            fill(self.tensor, 0)
        elif self._tensor is not None:
            if self._mirror is not None:
                self._mirror.give_back()
            self._cleared = True

    def to_add(self) -> tuple[Tensor, bool]:
        """What kernels see, and whether to write it, because zeros are due, and not add to it."""
        cleared, self._cleared = self._cleared, False
        return self.tensor, cleared

    def _make(self) -> Tensor:
        if self._tensor is None:
            channels_last = self._channels_last and len(self._shape) == 4
            self._tensor = Tensor(self._shape, channels_last=channels_last, device=self._device)
            if self._fill is not None and is_cuda(self._device):
                values = np.zeros(self._shape, np.float32)
                self._fill(values)
                self._tensor.set(values)
            elif self._fill is not None:
                self._fill(self._tensor.numpy())
        elif self._cleared:
            self._cleared = False
            fill(self._tensor, 0)
        return self._tensor

    def _open_mirror(self) -> HostMirror:
        tensor = self._make()
        if self._mirror is None:
            self._mirror = HostMirror(tensor)
        return self._mirror

    def lend(self) -> Array:
        """A writable array: a view, or on CUDA a copy that goes back."""
        if not is_cuda(self._device):
            return self.tensor.numpy()
        if self._owner is not None:
            return self._part(self._owner.lend())
        return self._open_mirror().lend()

    def read(self) -> Array:
        """An array to be read: a view that cannot be written, or on CUDA a copy."""
        if not is_cuda(self._device):
            view = self.tensor.numpy()
            view.flags.writeable = False
            return view
        if self._owner is not None:
            return self._part(self._owner.read())
        return self._open_mirror().read()

    def _part(self, array: Array) -> Array:
        """The part of the owner's array that is this half."""
        return (array if self._row is None else array[self._row]).reshape(self._shape)


class Blob:
    """A float32 array of `shape` and its gradient, both allocated when first touched.

    On the CPU activations of four axes (N, C, H, W) lie channels-last in memory, because that is
    what its kernels read; `data` and `diff` are views that show N, C, H, W at no cost. Parameters,
    arrays of any other number of axes, and everything on CUDA lie in row-major order.

    On a CUDA device `data` and `diff` are copies on the host, as pycaffe's: what is written to them
    goes to the device before the next kernel reads the blob, and they are copied anew when asked
    for after kernels have run. `read_data` and `read_diff` only read, and cost no way back.

    Args:
        name: the blob's name in the net, or `layer/index` for a parameter.
        shape: sizes of the axes; () is one number.
        channels_last: whether a blob of four axes lies channels-last in memory.
        device: where it lives, `cpu` or `cuda:N`; None: drml.device.default_device().
        fill: writes the initial value; runs once, when the value is first touched.
    """

    def __init__(
        self,
        name: str,
        shape: Sequence[int] = (),
        *,
        channels_last: bool = True,
        device: str | None = None,
        fill: Callable[[Array], None] | None = None,
    ) -> None:
        self.name = name
        self.shape: Shape = tuple(int(size) for size in shape)
        self.device = full_name(device or default_device())
        self._channels_last = channels_last and not is_cuda(self.device)
        self._value = _Half(self.shape, self._channels_last, self.device, fill)
        self._grad = _Half(self.shape, self._channels_last, self.device)

    def reshape(self, *shape: int) -> None:
        """Gives the blob a shape; a new one drops value and gradient."""
        if tuple(shape) != self.shape:
            self.shape = tuple(int(size) for size in shape)
            self._value.reshape(self.shape)
            self._grad.reshape(self.shape)

    @property
    def value(self) -> Tensor:
        """The value as the kernels see it; zeros, or what `fill` writes, until it is set."""
        return self._value.tensor

    @property
    def grad(self) -> Tensor:
        """The gradient of the loss with respect to the value, as the kernels see it."""
        return self._grad.tensor

    def grad_to_add(self) -> tuple[Tensor, bool]:
        """The gradient for a kernel that adds to it, and whether it shall overwrite it instead.

        It shall after `clear_diff_later`, and then has to write all numbers.
        """
        return self._grad.to_add()

    @property
    def data(self) -> Array:
        """The value as a writable NumPy array of `shape`: a view; on CUDA a copy that goes back."""
        return self._value.lend()

    @data.setter
    def data(self, array: npt.ArrayLike) -> None:
        self.value.set(np.asarray(array))

    @property
    def diff(self) -> Array:
        """The gradient as a writable NumPy array of `shape`, as `data`."""
        return self._grad.lend()

    @diff.setter
    def diff(self, array: npt.ArrayLike) -> None:
        self.grad.set(np.asarray(array))

    def read_data(self) -> Array:
        """The value to be read: a view that cannot be written, or on CUDA a copy."""
        return self._value.read()

    def read_diff(self) -> Array:
        """The gradient to be read, as `read_data`."""
        return self._grad.read()

    @property
    def has_value(self) -> bool:
        """Whether memory holds a value already."""
        return self._value.exists

    @property
    def has_grad(self) -> bool:
        """Whether memory holds a gradient already."""
        return self._grad.exists

    @property
    def shares_value(self) -> bool:
        """Whether the value lies in another blob's memory."""
        return self._value.is_shared

    @property
    def shares_grad(self) -> bool:
        """Whether the gradient lies in another blob's memory."""
        return self._grad.is_shared

    def share_data(self, other: Blob) -> None:
        """Makes this blob's value the value of `other`, in the same memory, from now on.

        A shape of its own is a view of as many numbers in row-major order.
        """
        self._value.share(other._value)

    def share_diff(self, other: Blob) -> None:
        """Makes this blob's gradient the gradient of `other`, in the same memory, from now on."""
        self._grad.share(other._grad)

    def share_row(self, other: Blob, row: int) -> None:
        """Makes value and gradient those of one index of axis 0 of `other`, from now on.

        `other` lies in row-major order, as parameters do.
        """
        self._value.share(other._value, row)
        self._grad.share(other._grad, row)

    def use_data(self, array: object) -> None:
        """Makes the memory of a foreign array, which DLPack shares, hold the value from now on.

        Args:
            array: writable float32 numbers of the blob's shape on its device, of PyTorch, CuPy,
                NumPy or another library; kept as long as the blob uses them.

        Raises:
            ValueError: shape, device, type or memory layout are not the blob's.
        """
        self._value.use(self._foreign(array))

    def use_diff(self, array: object) -> None:
        """Makes the memory of a foreign array hold the gradient from now on, see `use_data`."""
        self._grad.use(self._foreign(array))

    def _foreign(self, array: object) -> Tensor:
        tensor = from_dlpack(array)
        own = self._layout()
        if tensor.device != self.device:
            raise ValueError(f"blob '{self.name}' is on {self.device}, the array {tensor.device}")
        if tensor.shape != self.shape:
            raise ValueError(f"blob '{self.name}' has shape {self.shape}, the array {tensor.shape}")
        matters = [index for index, size in enumerate(self.shape) if size > 1]
        if any(tensor.strides[index] != own[index] for index in matters):
            raise ValueError(
                f"blob '{self.name}' lies in memory with strides {own}, the array with "
                f"{tensor.strides} (in numbers)"
            )
        return tensor

    def _layout(self) -> tuple[int, ...]:
        """Strides of a tensor of the blob, in numbers."""
        order = list(range(len(self.shape)))
        if self._channels_last and len(order) == 4:
            order = [0, 2, 3, 1]
        strides, step = [0] * len(order), 1
        for axis in reversed(order):
            strides[axis] = step
            step *= self.shape[axis]
        return tuple(strides)

    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """The value for `from_dlpack` of PyTorch, CuPy or NumPy: the same memory, no copy.

        What the array's owner writes there, kernels read; `value.__dlpack__` and
        `grad.__dlpack__` are those of the two parts.
        """
        return self.value.__dlpack__(
            stream=stream, max_version=max_version, dl_device=dl_device, copy=copy
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack's type and index of the device."""
        return self.value.__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        """The value on a CUDA device for Numba, CuPy and PyTorch (version 3 of the interface).

        Raises:
            AttributeError: the blob is on the CPU.
        """
        if not is_cuda(self.device):
            raise AttributeError(f"blob '{self.name}' is on the CPU: use `data`")
        tensor = self.value
        _core.cuda_synchronize(self.device)
        return {
            "shape": tensor.shape,
            "typestr": "<f4",
            "data": (tensor.pointer, False),
            "strides": tuple(4 * stride for stride in tensor.strides),
            "version": 3,
        }

    def clear_diff(self) -> None:
        """Sets the gradient to zero; one that was never touched is zero already."""
        if self.has_grad:
            fill(self.grad, 0)

    def clear_diff_later(self) -> None:
        """Makes the gradient zero, but leaves its memory as it is until somebody looks.

        A kernel that overwrites it first (`grad_to_add`) spares the zeros. Arrays that were handed
        out before show what is in memory.
        """
        self._grad.clear_later()

    @property
    def count(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the value (the gradient takes as many again once it is touched)."""
        return 4 * self.count

    def _legacy_axis(self, axis: int) -> int:
        return self.shape[axis] if axis < len(self.shape) else 1

    @property
    def num(self) -> int:
        """Size of axis 0, Caffe's legacy `num`."""
        return self._legacy_axis(0)

    @property
    def channels(self) -> int:
        """Size of axis 1, Caffe's legacy `channels`."""
        return self._legacy_axis(1)

    @property
    def height(self) -> int:
        """Size of axis 2, Caffe's legacy `height`."""
        return self._legacy_axis(2)

    @property
    def width(self) -> int:
        """Size of axis 3, Caffe's legacy `width`."""
        return self._legacy_axis(3)

    def __repr__(self) -> str:
        return f"Blob({self.name!r}, {self.shape})"
