"""Ops on arrays of any shape and strides: copy, add, fill, axpby, reductions and the SGD update."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from layer_testing import Array, random_array, relative_error, using_threads

from drml import _core
from drml._core import Tensor

Maker = Callable[[tuple[int, ...]], Tensor]


def row_major(shape: tuple[int, ...]) -> Tensor:
    return Tensor(shape)


def channels_last(shape: tuple[int, ...]) -> Tensor:
    return Tensor(shape, channels_last=len(shape) == 4)


def part_of_columns(shape: tuple[int, ...]) -> Tensor:
    """A view with gaps along the last axis of a larger array."""
    return Tensor((*shape[:-1], shape[-1] + 3)).narrow(len(shape) - 1, 2, shape[-1])


def part_of_channels(shape: tuple[int, ...]) -> Tensor:
    """A view of some channels of a larger array that lies channels-last, as Concat takes it."""
    larger = (shape[0], shape[1] + 3, *shape[2:]) if len(shape) > 1 else (shape[0] + 3,)
    return channels_last(larger).narrow(min(1, len(shape) - 1), 1, shape[min(1, len(shape) - 1)])


MAKERS = [row_major, channels_last, part_of_columns, part_of_channels]
SHAPES = [(1,), (7,), (2, 3), (5, 3, 2), (1, 1, 1, 1), (2, 3, 5, 7), (5, 16, 33, 31)]


def filled(make: Maker, array: Array) -> Tensor:
    tensor = make(array.shape)
    tensor.numpy()[...] = array
    return tensor


@pytest.mark.parametrize("make_y", MAKERS)
@pytest.mark.parametrize("make_x", MAKERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_copy_and_add_with_any_strides(
    shape: tuple[int, ...], make_x: Maker, make_y: Maker
) -> None:
    x, y = random_array(shape, 1), random_array(shape, 2)
    source, target = filled(make_x, x), filled(make_y, y)
    _core.add(source, target)
    assert relative_error(target.numpy(), x + y) < 1e-6
    _core.copy(source, target)
    assert np.array_equal(target.numpy(), x)
    assert np.array_equal(source.numpy(), x)


@pytest.mark.parametrize("op", [_core.copy, _core.add])
def test_copy_and_add_leave_the_rest_of_the_memory(op: Callable[[Tensor, Tensor], None]) -> None:
    whole = Tensor((2, 9, 4, 4), channels_last=True)
    op(filled(row_major, np.ones((2, 4, 4, 4))), whole.narrow(1, 3, 4))
    wanted = np.zeros((2, 9, 4, 4))
    wanted[:, 3:7] = 1
    assert np.array_equal(whole.numpy(), wanted)


def test_copy_of_a_broadcast_sized_axis_and_of_nothing() -> None:
    x = filled(row_major, np.arange(4).reshape(4, 1))
    y = Tensor((4, 1))
    _core.copy(x, y)
    assert y.numpy().ravel().tolist() == [0, 1, 2, 3]
    _core.copy(Tensor((0, 3)), Tensor((0, 3)))
    _core.copy(filled(row_major, np.array(2.5)), scalar := Tensor(()))
    assert scalar.numpy() == 2.5


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_fill_with_any_strides(shape: tuple[int, ...], make: Maker) -> None:
    tensor = make(shape)
    _core.fill(tensor, 2.5)
    assert np.all(tensor.numpy() == 2.5)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (-0.5, 0.0), (2.0, 0.25)])
@pytest.mark.parametrize("make", [row_major, channels_last])
@pytest.mark.parametrize("shape", SHAPES)
def test_axpby(shape: tuple[int, ...], make: Maker, alpha: float, beta: float) -> None:
    x, y = random_array(shape, 1), random_array(shape, 2)
    target = filled(make, y)
    _core.axpby(alpha, filled(make, x), beta, target)
    assert relative_error(target.numpy(), alpha * x + beta * y) < 1e-6


def test_axpby_with_beta_zero_does_not_read_y() -> None:
    y = filled(row_major, np.full(3, np.nan))
    _core.axpby(2.0, filled(row_major, np.ones(3)), 0.0, y)
    assert y.numpy().tolist() == [2, 2, 2]


@pytest.mark.parametrize("make", [row_major, channels_last])
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3), (1_000_003,)])
def test_reductions(shape: tuple[int, ...], make: Maker) -> None:
    x = random_array(shape, 1)
    tensor = filled(make, x)
    assert relative_error(_core.sum_squares(tensor), np.sum(x**2)) < 1e-12
    assert relative_error(_core.sum_abs(tensor), np.sum(np.abs(x))) < 1e-12
    assert _core.all_finite(tensor)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 77_777, 99_999])
def test_one_number_that_is_not_finite_is_found(value: float, place: int) -> None:
    tensor = filled(row_major, np.full(100_000, 3e38))
    assert _core.all_finite(tensor)
    tensor.numpy()[place] = value
    assert not _core.all_finite(tensor)


def test_reductions_do_not_depend_on_threads() -> None:
    tensor = filled(row_major, random_array((300_001,), 1))
    results = []
    for threads in (1, 2, 3, 7):
        with using_threads(threads):
            results.append((_core.sum_squares(tensor), _core.sum_abs(tensor)))
    assert len(set(results)) == 1


@pytest.mark.parametrize("l1", [False, True])
@pytest.mark.parametrize("shape", [(1,), (3, 5), (4, 3, 5, 5), (300, 301)])
def test_sgd_update_follows_caffe(shape: tuple[int, ...], l1: bool) -> None:
    """v = momentum * v + rate * (g + decay * w); w -= v, three times over; L1: sign of w."""
    rate, momentum, decay = 0.1, 0.9, 0.05
    w, v = random_array(shape, 1), np.zeros(shape)
    w.flat[0] = 0
    weight, velocity = filled(row_major, w), filled(row_major, v)
    for step in range(3):
        g = random_array(shape, 10 + step)
        gradient = filled(row_major, g)
        _core.sgd_update(weight, gradient, velocity, rate, momentum, decay, l1)
        v = momentum * v + rate * (g + decay * (np.sign(w) if l1 else w))
        w = w - v
        assert np.array_equal(gradient.numpy(), g)
    assert relative_error(velocity.numpy(), v) < 1e-6
    assert relative_error(weight.numpy(), w) < 1e-6


def test_what_does_not_fit_is_named() -> None:
    a, b = Tensor((2, 3)), Tensor((3, 2))
    for op in (_core.copy, _core.add):
        with pytest.raises(ValueError, match=r"x has shape \(2, 3\), y \(3, 2\)"):
            op(a, b)
    with pytest.raises(ValueError, match=r"axpby: tensors of shapes \(2, 3\) and \(3, 2\)"):
        _core.axpby(1.0, a, 0.0, b)
    with pytest.raises(ValueError, match=r"sgd_update: tensors of shapes \(2, 3\) and \(3, 2\)"):
        _core.sgd_update(a, b, a, 0.1, 0.9, 0.0, False)
    shape = (2, 3, 4, 5)
    with pytest.raises(ValueError, match=r"axpby: tensors of shape .* lie differently in memory"):
        _core.axpby(1.0, row_major(shape), 0.0, channels_last(shape))
    for reduce in (_core.sum_squares, _core.sum_abs, _core.all_finite):
        with pytest.raises(ValueError, match=r"tensor of shape \(2, 3\) has gaps in memory"):
            reduce(part_of_columns((2, 3)))
