"""Ops on arrays of any shape and strides: copy, add, fill, axpby, reductions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from layer_testing import (
    Array,
    check_repeats,
    empty,
    random_array,
    relative_error,
    tensor,
    using_threads,
)

from drml import _core
from drml._core import Tensor

Maker = Callable[[tuple[int, ...]], Tensor]


def row_major(shape: tuple[int, ...]) -> Tensor:
    return empty(shape, channels_last=False)


def channels_last(shape: tuple[int, ...]) -> Tensor:
    return empty(shape, channels_last=len(shape) == 4)


def part_of_columns(shape: tuple[int, ...]) -> Tensor:
    """A view with gaps along the last axis of a larger array."""
    return row_major((*shape[:-1], shape[-1] + 3)).narrow(len(shape) - 1, 2, shape[-1])


def part_of_channels(shape: tuple[int, ...]) -> Tensor:
    """A view of some channels of a larger array that lies channels-last, as Concat takes it."""
    larger = (shape[0], shape[1] + 3, *shape[2:]) if len(shape) > 1 else (shape[0] + 3,)
    return channels_last(larger).narrow(min(1, len(shape) - 1), 1, shape[min(1, len(shape) - 1)])


MAKERS = [row_major, channels_last, part_of_columns, part_of_channels]
SHAPES = [(1,), (7,), (2, 3), (5, 3, 2), (1, 1, 1, 1), (2, 3, 5, 7), (5, 16, 33, 31)]
SIZES = [0, 1, 31, 257, 100_003]


def filled(make: Maker, array: Array) -> Tensor:
    made = make(array.shape)
    made.set(array)
    return made


def unaligned(size: int) -> Tensor:
    """A view without gaps that starts at an odd place in memory."""
    return row_major((size + 1,)).narrow(0, 1, size)


@pytest.mark.parametrize("make_y", MAKERS)
@pytest.mark.parametrize("make_x", MAKERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_copy_and_add_with_any_strides(
    shape: tuple[int, ...], make_x: Maker, make_y: Maker
) -> None:
    x, y = random_array(shape, 1), random_array(shape, 2)
    source, target = filled(make_x, x), filled(make_y, y)
    _core.add(source, target)
    assert relative_error(target.get(), x + y) < 1e-6
    _core.copy(source, target)
    assert np.array_equal(target.get(), x)
    assert np.array_equal(source.get(), x)


@pytest.mark.parametrize("channels", [2, 3, 4, 31, 40])
def test_copy_and_add_between_layouts(channels: int) -> None:
    """Narrow and wide tiles of a transposition, whole ones and those at an edge."""
    shape = (2, channels, 24, 43)
    x, y = random_array(shape, 1), random_array(shape, 2)
    for make_x, make_y in ((row_major, channels_last), (channels_last, row_major)):
        source, target = filled(make_x, x), filled(make_y, y)
        _core.add(source, target)
        assert relative_error(target.get(), x + y) < 1e-6
        _core.copy(source, target)
        assert np.array_equal(target.get(), x)


def test_copy_of_an_array_of_many_axes() -> None:
    shape = (2, 3, 1, 2, 3, 2, 1, 2, 3)
    x = random_array(shape, 1)
    part = row_major((2, 5, 1, 3, 3, 4, 1, 2, 4)).narrow(1, 1, 3).narrow(3, 1, 2).narrow(5, 2, 2)
    part = part.narrow(8, 0, 3)
    _core.copy(filled(row_major, x), part)
    assert np.array_equal(part.get(), x)
    back = row_major(shape)
    _core.copy(part, back)
    assert np.array_equal(back.get(), x)


@pytest.mark.parametrize("size", SIZES)
def test_sizes_that_no_block_divides(size: int) -> None:
    x, y = random_array((size,), 1), random_array((size,), 2)
    for make in (lambda shape: unaligned(*shape), row_major):
        source, target = filled(make, x), filled(make, y)
        _core.add(source, target)
        assert relative_error(target.get(), x + y) < 1e-6
        _core.axpby(2.0, source, 0.5, target)
        assert relative_error(target.get(), 2.5 * x + 0.5 * y) < 1e-6
        _core.copy(source, target)
        assert np.array_equal(target.get(), x)
        _core.fill(target, -1.5)
        assert np.all(target.get() == -1.5)
        assert relative_error(_core.sum_squares(source), np.sum(x**2)) < 1e-12


@pytest.mark.parametrize("op", [_core.copy, _core.add])
def test_copy_and_add_leave_the_rest_of_the_memory(op: Callable[[Tensor, Tensor], None]) -> None:
    wanted = np.zeros((2, 9, 4, 4))
    wanted[:, 3:7] = 1
    for make in (channels_last, row_major):
        whole = make((2, 9, 4, 4))
        op(filled(row_major, np.ones((2, 4, 4, 4))), whole.narrow(1, 3, 4))
        assert np.array_equal(whole.get(), wanted)


def test_copy_of_a_broadcast_sized_axis_and_of_nothing() -> None:
    x = filled(row_major, np.arange(4).reshape(4, 1))
    y = empty((4, 1))
    _core.copy(x, y)
    assert y.get().ravel().tolist() == [0, 1, 2, 3]
    _core.copy(empty((0, 3)), empty((0, 3)))
    _core.copy(tensor(2.5), scalar := empty(()))
    assert scalar.get() == 2.5


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_fill_with_any_strides(shape: tuple[int, ...], make: Maker) -> None:
    made = make(shape)
    _core.fill(made, 2.5)
    assert np.all(made.get() == 2.5)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_fill_leaves_the_rest_of_the_memory(axis: int) -> None:
    for make in (row_major, channels_last):
        whole = make((3, 4, 5, 6))
        _core.fill(whole.narrow(axis, 1, 2), 2.5)
        wanted = np.zeros((3, 4, 5, 6))
        np.moveaxis(wanted, axis, 0)[1:3] = 2.5
        assert np.array_equal(whole.get(), wanted)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (-0.5, 0.0), (2.0, 0.25)])
@pytest.mark.parametrize("make", [row_major, channels_last])
@pytest.mark.parametrize("shape", SHAPES)
def test_axpby(shape: tuple[int, ...], make: Maker, alpha: float, beta: float) -> None:
    x, y = random_array(shape, 1), random_array(shape, 2)
    target = filled(make, y)
    _core.axpby(alpha, filled(make, x), beta, target)
    assert relative_error(target.get(), alpha * x + beta * y) < 1e-6


def test_axpby_with_beta_zero_does_not_read_y() -> None:
    y = tensor(np.full(3, np.nan))
    _core.axpby(2.0, tensor(np.ones(3)), 0.0, y)
    assert y.get().tolist() == [2, 2, 2]


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("make", [row_major, channels_last])
@pytest.mark.parametrize("shape", SHAPES)
def test_divide(shape: tuple[int, ...], make: Maker, in_place: bool) -> None:
    x = random_array(shape, 1)
    for divisor in (4.0, -0.3, 0.0):
        source = filled(make, x)
        target = source if in_place else filled(make, np.full(shape, np.nan))
        _core.divide(source, tensor([divisor]), target)
        wanted = x / np.float32(divisor) if divisor != 0 else np.zeros(shape)
        assert relative_error(target.get(), wanted) < 1e-6


@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 2, 1029)])
def test_divide_by_a_number_per_index(shape: tuple[int, ...]) -> None:
    x, divisor = random_array(shape, 1), np.array([4.0, 0.0, -0.3])
    target = filled(row_major, np.full(shape, np.nan))
    _core.divide(filled(row_major, x), tensor(divisor), target)
    wanted = x / np.float32([4, np.inf, -0.3]).reshape(3, *[1] * (len(shape) - 1))
    assert relative_error(target.get(), wanted) < 1e-6


@pytest.mark.parametrize("make", [row_major, channels_last])
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3), (1_000_003,)])
def test_reductions(shape: tuple[int, ...], make: Maker) -> None:
    x = random_array(shape, 1)
    source = filled(make, x)
    assert relative_error(_core.sum_squares(source), np.sum(x**2)) < 1e-12
    assert relative_error(_core.sum_abs(source), np.sum(np.abs(x))) < 1e-12
    assert _core.all_finite(source)


def test_squares_that_no_float_holds_are_summed() -> None:
    x = tensor(np.full(1000, 1e30))
    assert relative_error(_core.sum_squares(x), 1e63) < 1e-6
    assert relative_error(_core.sum_abs(tensor(np.full(1000, 1e38))), 1e41) < 1e-6


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 77_777, 99_999])
def test_one_number_that_is_not_finite_is_found(value: float, place: int) -> None:
    array = np.full(100_000, 3e38)
    assert _core.all_finite(tensor(array))
    array[place] = value
    assert not _core.all_finite(tensor(array))


@pytest.mark.cpu_only
def test_reductions_do_not_depend_on_threads() -> None:
    x = tensor(random_array((300_001,), 1))
    results = []
    for threads in (1, 2, 3, 7):
        with using_threads(threads):
            results.append((_core.sum_squares(x), _core.sum_abs(x)))
    assert len(set(results)) == 1


def test_results_repeat_bit_for_bit() -> None:
    shape = (3, 17, 31, 29)
    x, w = random_array(shape, 1), random_array(shape, 2)

    def run() -> list[Array]:
        source, transposed = filled(row_major, x), filled(channels_last, w)
        _core.add(source, transposed)
        weight = filled(row_major, w)
        _core.axpby(0.3, source, 0.7, weight)
        sums = np.array([_core.sum_squares(source), _core.sum_abs(source)])
        return [transposed.get(), weight.get(), sums]

    check_repeats(run)


def test_what_does_not_fit_is_named() -> None:
    a, b = empty((2, 3)), empty((3, 2))
    for op in (_core.copy, _core.add):
        with pytest.raises(ValueError, match=r"x has shape \(2, 3\), y \(3, 2\)"):
            op(a, b)
    with pytest.raises(ValueError, match=r"axpby: tensors of shapes \(2, 3\) and \(3, 2\)"):
        _core.axpby(1.0, a, 0.0, b)
    with pytest.raises(ValueError, match=r"axis 0 of x \(2, 3\), got shape \(3, 2\)"):
        _core.divide(a, b, a)
    with pytest.raises(ValueError, match=r"axis 0 of x \(2, 3\), got shape \(3,\)"):
        _core.divide(a, empty((3,)), a)
    shape = (2, 3, 4, 5)
    with pytest.raises(ValueError, match=r"axpby: tensors of shape .* lie differently in memory"):
        _core.axpby(1.0, row_major(shape), 0.0, channels_last(shape))
    for reduce in (_core.sum_squares, _core.sum_abs, _core.all_finite):
        with pytest.raises(ValueError, match=r"tensor of shape \(2, 3\) has gaps in memory"):
            reduce(part_of_columns((2, 3)))
