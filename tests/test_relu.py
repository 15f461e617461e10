"""ReLU against a plain reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden_testing import run_golden
from layer_testing import (
    Array,
    LayerRunner,
    central_differences,
    check_layer,
    check_repeats,
    empty,
    random_array,
    relative_error,
    tensor,
)

from drml import _core
from drml.errors import NetError


def relu_forward(x: Array, negative_slope: float) -> Array:
    return np.where(x > 0, x, negative_slope * x)


def relu_backward(x: Array, dy: Array, negative_slope: float) -> Array:
    return dy * np.where(x > 0, 1, negative_slope)


SHAPES = [(1,), (2, 7), (5, 3, 2), (1, 3, 5, 7), (2, 16, 33, 31), (5, 1, 1, 9)]


def text(negative_slope: float) -> str:
    return f'type: "ReLU" relu_param {{ negative_slope: {negative_slope} }}'


@pytest.mark.parametrize("slope", [0.0, 0.25, -0.5])
def test_reference_backward_equals_central_differences(slope: float) -> None:
    x, dy = random_array((2, 3, 4), 1, away=0.1), random_array((2, 3, 4), 2)
    wanted = central_differences(lambda: relu_forward(x, slope), x, dy)
    assert relative_error(relu_backward(x, dy, slope), wanted) < 1e-6


@pytest.mark.parametrize("slope", [0.0, 0.25, -0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_equals_reference(shape: tuple[int, ...], slope: float) -> None:
    x, dy = random_array(shape, 1), random_array(shape, 2)
    wanted = relu_forward(x, slope), relu_backward(x, dy, slope)
    check_layer(LayerRunner(text(slope), [x]), [wanted[0]], [dy], [wanted[1]], 1e-6)


@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_in_place_equals_out_of_place(slope: float) -> None:
    x, dy = random_array((2, 3, 5, 4), 1), random_array((2, 3, 5, 4), 2)
    apart, in_place = LayerRunner(text(slope), [x]), LayerRunner(text(slope), [x], in_place=True)
    assert np.array_equal(apart.forward()[0], in_place.forward()[0])
    assert np.array_equal(apart.backward(dy)[0], in_place.backward(dy)[0])


@pytest.mark.parametrize("slope", [0.0, 0.25])
@pytest.mark.parametrize("size", [0, 1, 31, 257, 100_003])
def test_sizes_that_no_block_divides(size: int, slope: float) -> None:
    """And views that start at an odd place in memory; the same bits every time."""
    x, dy = random_array((size,), 1), random_array((size,), 2)
    for start in (0, 1):
        parts = [empty((size + start,)).narrow(0, start, size) for _ in range(4)]
        parts[0].set(x)
        parts[2].set(dy)

        def run(parts: list[_core.Tensor] = parts) -> list[Array]:
            _core.relu_forward(parts[0], parts[1], slope)
            _core.relu_backward(parts[0], parts[2], parts[3], slope)
            return [parts[1].get(), parts[3].get()]

        check_repeats(run)
        assert relative_error(parts[1].get(), relu_forward(x, slope)) < 1e-6
        assert relative_error(parts[3].get(), relu_backward(x, dy, slope)) < 1e-6


def test_arrays_that_lie_differently_are_named() -> None:
    x, y = (empty((2, 3, 4, 5), channels_last=last) for last in (True, False))
    with pytest.raises(ValueError, match=r"relu_forward: tensors .* lie differently in memory"):
        _core.relu_forward(x, y, 0.0)
    with pytest.raises(ValueError, match=r"relu_backward: tensors .* lie differently in memory"):
        _core.relu_backward(x, x, y, 0.0)


def test_infinity_below_zero_gives_zero() -> None:
    x, y = tensor([-np.inf, np.inf]), empty((2,))
    _core.relu_forward(x, y, 0.0)
    assert y.get().tolist() == [0, np.inf]


def test_gradient_at_zero_is_that_of_the_slope() -> None:
    runner = LayerRunner(text(0.25), [np.zeros(3)])
    runner.forward()
    assert runner.backward(np.ones(3))[0].tolist() == [0.25] * 3


@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_nan_is_not_hidden(slope: float) -> None:
    (y,) = LayerRunner(text(slope), [[np.nan, -1, 1]]).forward()
    assert np.isnan(y).tolist() == [True, False, False]


def test_a_negative_slope_is_refused_in_place() -> None:
    with pytest.raises(
        NetError, match=r"\(ReLU\): a negative_slope of -0.5 does not work in place"
    ):
        LayerRunner(text(-0.5), [np.zeros(3)], in_place=True)


def test_golden(golden_dir: Path) -> None:
    run_golden(golden_dir, "relu")
