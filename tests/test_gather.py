"""The gather ops, which choose rows by their numbers, on tensors of every layout.

The tests of BatchReindex, Filter and Embed, which they serve, hold their references.
"""

from __future__ import annotations

import numpy as np
import pytest
from layer_testing import DEVICE, empty, random_array, relative_error, tensor

from drml import _core
from drml.device import is_cuda


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5, 2), (4, 17, 9, 11)])
def test_rows_are_chosen_and_added_to(shape: tuple[int, ...], channels_last: bool) -> None:
    index = np.array([[2, 0], [2, 2], [3, 0]])
    x, dy = random_array(shape, 1), random_array((6, *shape[1:]), 2)
    lies = channels_last and len(shape) == 4
    y, dx = empty(dy.shape, lies), tensor(np.ones(shape), lies)
    # The index' numbers lie apart.
    places = tensor(np.stack([index, index + 1], axis=2), False).narrow(2, 0, 1)
    _core.gather_forward(tensor(x, lies), places, y)
    assert np.array_equal(y.get(), x[index.ravel()].astype(np.float32))
    _core.gather_backward(tensor(dy, lies), places, dx)
    wanted = np.ones(shape)
    np.add.at(wanted, index.ravel(), dy)
    assert relative_error(dx.get(), wanted) < 1e-6


def test_backward_op_adds() -> None:
    dx, dy = tensor(np.ones((3, 2))), tensor([[1, 2], [3, 4]])
    _core.gather_backward(dy, tensor([2, 2]), dx)
    assert dx.get().tolist() == [[1, 1], [1, 1], [5, 7]]


def test_backward_op_names_a_wrong_index() -> None:
    dx, dy = empty((3, 2)), tensor([[1, 2], [3, 4]])

    def add() -> None:
        _core.gather_backward(dy, tensor([3, 1]), dx)
        dx.get()

    with pytest.raises(ValueError, match="gather_backward: index 3 at position 0 is not a row"):
        add()


def test_op_checks_shapes() -> None:
    x, index = empty((3, 2)), empty((2,))
    with pytest.raises(ValueError, match=r"gather_forward: rows of x \(3, 2\) chosen by index "):
        _core.gather_forward(x, index, empty((3, 2)))
    with pytest.raises(ValueError, match=r"gather_backward: x .* differ in axis 1"):
        _core.gather_backward(empty((2, 3)), index, x)
    x, other = empty((3, 2, 4, 5)), empty((2, 2, 4, 5), channels_last=is_cuda(DEVICE))
    with pytest.raises(ValueError, match=r"gather_forward: rows .* lie differently in memory"):
        _core.gather_forward(x, index, other)
