"""Blob: a named array with a value (`data`) and a gradient (`diff`), as in Caffe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from drml._core import Tensor, fill

Array = npt.NDArray[np.float32]
Shape = tuple[int, ...]


class Blob:
    """A float32 array of `shape` and its gradient, both allocated when first touched.

    Activations of four axes (N, C, H, W) lie channels-last in memory, because that is what the CPU
    kernels read; `data` and `diff` are views that show N, C, H, W at no cost. Parameters, and
    arrays of any other number of axes, lie in row-major order.

    Args:
        name: the blob's name in the net, or `layer/index` for a parameter.
        shape: sizes of the axes; () is one number.
        channels_last: whether a blob of four axes lies channels-last in memory.
        device: where it lives, `cpu`.
        fill: writes the initial value; runs once, when the value is first touched.
    """

    def __init__(
        self,
        name: str,
        shape: Sequence[int] = (),
        *,
        channels_last: bool = True,
        device: str = "cpu",
        fill: Callable[[Array], None] | None = None,
    ) -> None:
        self.name = name
        self.shape: Shape = tuple(int(size) for size in shape)
        self.device = device
        self._channels_last = channels_last
        self._initialize = fill
        self._value: Tensor | None = None
        self._grad: Tensor | None = None
        self._value_owner: Blob | None = None
        self._grad_owner: Blob | None = None

    def reshape(self, *shape: int) -> None:
        """Gives the blob a shape; a new one drops value and gradient."""
        if tuple(shape) != self.shape:
            self.shape = tuple(int(size) for size in shape)
            self._value = None
            self._grad = None

    def _allocate(self) -> Tensor:
        channels_last = self._channels_last and len(self.shape) == 4
        return Tensor(self.shape, channels_last=channels_last, device=self.device)

    def _as_own_shape(self, tensor: Tensor) -> Tensor:
        return tensor if tensor.shape == self.shape else tensor.view(self.shape)

    @property
    def value(self) -> Tensor:
        """The value as the kernels see it; zeros, or what `fill` writes, until it is set."""
        if self._value_owner is not None:
            return self._as_own_shape(self._value_owner.value)
        if self._value is None:
            self._value = self._allocate()
            if self._initialize is not None:
                self._initialize(self._value.numpy())
        return self._value

    @property
    def grad(self) -> Tensor:
        """The gradient of the loss with respect to the value, as the kernels see it."""
        if self._grad_owner is not None:
            return self._as_own_shape(self._grad_owner.grad)
        if self._grad is None:
            self._grad = self._allocate()
        return self._grad

    @property
    def data(self) -> Array:
        """The value as a writable NumPy view of `shape`."""
        return self.value.numpy()

    @data.setter
    def data(self, array: npt.ArrayLike) -> None:
        self.data[...] = np.asarray(array)

    @property
    def diff(self) -> Array:
        """The gradient as a writable NumPy view of `shape`."""
        return self.grad.numpy()

    @diff.setter
    def diff(self, array: npt.ArrayLike) -> None:
        self.diff[...] = np.asarray(array)

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
        self._value = None

    def share_diff(self, other: Blob) -> None:
        """Makes this blob's gradient the gradient of `other`, in the same memory, from now on."""
        self._grad_owner = other
        self._grad = None

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
