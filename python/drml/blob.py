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
        self._initialize = fill
        self._value: Tensor | None = None
        self._grad: Tensor | None = None
        self._value_owner: Blob | None = None
        self._grad_owner: Blob | None = None
        self._value_mirror: HostMirror | None = None
        self._grad_mirror: HostMirror | None = None

    def reshape(self, *shape: int) -> None:
        """Gives the blob a shape; a new one drops value and gradient."""
        if tuple(shape) != self.shape:
            self.shape = tuple(int(size) for size in shape)
            self._value = self._value_mirror = None
            self._grad = self._grad_mirror = None

    def _allocate(self) -> Tensor:
        channels_last = self._channels_last and len(self.shape) == 4
        return Tensor(self.shape, channels_last=channels_last, device=self.device)

    def _as_own_shape(self, tensor: Tensor) -> Tensor:
        return tensor if tensor.shape == self.shape else tensor.view(self.shape)

    def _make_value(self) -> Tensor:
        if self._value is None:
            self._value = self._allocate()
            if self._initialize is not None:
                if is_cuda(self.device):
                    values = np.zeros(self.shape, np.float32)
                    self._initialize(values)
                    self._value.set(values)
                else:
                    self._initialize(self._value.numpy())
        return self._value

    def _make_grad(self) -> Tensor:
        if self._grad is None:
            self._grad = self._allocate()
        return self._grad

    @property
    def value(self) -> Tensor:
        """The value as the kernels see it; zeros, or what `fill` writes, until it is set."""
        if self._value_owner is not None:
            return self._as_own_shape(self._value_owner.value)
        if self._value_mirror is not None:
            self._value_mirror.give_back()
        return self._make_value()

    @property
    def grad(self) -> Tensor:
        """The gradient of the loss with respect to the value, as the kernels see it."""
        if self._grad_owner is not None:
            return self._as_own_shape(self._grad_owner.grad)
        if self._grad_mirror is not None:
            self._grad_mirror.give_back()
        return self._make_grad()

    def _mirror_of_value(self) -> HostMirror:
        if self._value_mirror is None:
            self._value_mirror = HostMirror(self._make_value())
        return self._value_mirror

    def _mirror_of_grad(self) -> HostMirror:
        if self._grad_mirror is None:
            self._grad_mirror = HostMirror(self._make_grad())
        return self._grad_mirror

    @property
    def data(self) -> Array:
        """The value as a writable NumPy array of `shape`: a view; on CUDA a copy that goes back."""
        if not is_cuda(self.device):
            return self.value.numpy()
        if self._value_owner is not None:
            return self._value_owner.data.reshape(self.shape)
        return self._mirror_of_value().lend()

    @data.setter
    def data(self, array: npt.ArrayLike) -> None:
        if is_cuda(self.device):
            self.value.set(np.asarray(array))
        else:
            self.data[...] = np.asarray(array)

    @property
    def diff(self) -> Array:
        """The gradient as a writable NumPy array of `shape`, as `data`."""
        if not is_cuda(self.device):
            return self.grad.numpy()
        if self._grad_owner is not None:
            return self._grad_owner.diff.reshape(self.shape)
        return self._mirror_of_grad().lend()

    @diff.setter
    def diff(self, array: npt.ArrayLike) -> None:
        if is_cuda(self.device):
            self.grad.set(np.asarray(array))
        else:
            self.diff[...] = np.asarray(array)

    def read_data(self) -> Array:
        """The value to be read: a view that cannot be written, or on CUDA a copy."""
        if not is_cuda(self.device):
            return _read_only(self.value.numpy())
        if self._value_owner is not None:
            return self._value_owner.read_data().reshape(self.shape)
        return self._mirror_of_value().read()

    def read_diff(self) -> Array:
        """The gradient to be read, as `read_data`."""
        if not is_cuda(self.device):
            return _read_only(self.grad.numpy())
        if self._grad_owner is not None:
            return self._grad_owner.read_diff().reshape(self.shape)
        return self._mirror_of_grad().read()

    @property
    def has_value(self) -> bool:
        """Whether memory holds a value already."""
        owner = self._value_owner
        return self._value is not None if owner is None else owner.has_value

    @property
    def has_grad(self) -> bool:
        """Whether memory holds a gradient already."""
        owner = self._grad_owner
        return self._grad is not None if owner is None else owner.has_grad

    @property
    def shares_value(self) -> bool:
        """Whether the value lies in another blob's memory."""
        return self._value_owner is not None

    @property
    def shares_grad(self) -> bool:
        """Whether the gradient lies in another blob's memory."""
        return self._grad_owner is not None

    def share_data(self, other: Blob) -> None:
        """Makes this blob's value the value of `other`, in the same memory, from now on.

        A shape of its own is a view of as many numbers in row-major order.
        """
        self._value_owner = other
        self._value = self._value_mirror = None

    def share_diff(self, other: Blob) -> None:
        """Makes this blob's gradient the gradient of `other`, in the same memory, from now on."""
        self._grad_owner = other
        self._grad = self._grad_mirror = None

    def use_data(self, array: object) -> None:
        """Makes the memory of a foreign array, which DLPack shares, hold the value from now on.

        Args:
            array: writable float32 numbers of the blob's shape on its device, of PyTorch, CuPy,
                NumPy or another library; kept as long as the blob uses them.

        Raises:
            ValueError: shape, device, type or memory layout are not the blob's.
        """
        self._value = self._foreign(array)
        self._value_owner = self._value_mirror = None

    def use_diff(self, array: object) -> None:
        """Makes the memory of a foreign array hold the gradient from now on, see `use_data`."""
        self._grad = self._foreign(array)
        self._grad_owner = self._grad_mirror = None

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


def _read_only(view: Array) -> Array:
    view.flags.writeable = False
    return view
