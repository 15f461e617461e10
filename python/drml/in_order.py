"""Copies between tensors of different shapes, in the order of the axes."""

from __future__ import annotations

from drml import _core
from drml._core import Tensor


def is_row_major(tensor: Tensor) -> bool:
    """Whether the numbers lie in memory in the order of the axes, without gaps."""
    step = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def copy_in_order(x: Tensor, y: Tensor) -> None:
    """Copies x to y, which has as many numbers and any shape: the first to the first, and so on."""
    if x.shape == y.shape:
        _core.copy(x, y)
    elif is_row_major(y):
        _core.copy(x, y.view(x.shape))
    elif is_row_major(x):
        _core.copy(x.view(y.shape), y)
    else:
        rows = Tensor(x.shape, device=x.device)
        _core.copy(x, rows)
        _core.copy(rows.view(y.shape), y)
