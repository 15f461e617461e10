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
    random_array,
    relative_error,
)

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
