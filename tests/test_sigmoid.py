"""Sigmoid against a plain reference."""

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


def sigmoid_forward(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def sigmoid_backward(y: Array, dy: Array) -> Array:
    return dy * y * (1 - y)


TEXT = 'type: "Sigmoid"'


def test_reference_backward_equals_central_differences() -> None:
    x, dy = random_array((2, 3, 4), 1), random_array((2, 3, 4), 2)
    wanted = central_differences(lambda: sigmoid_forward(x), x, dy)
    assert relative_error(sigmoid_backward(sigmoid_forward(x), dy), wanted) < 1e-6


@pytest.mark.parametrize("shape", [(1, 12), (5, 7), (2, 3, 5), (1, 3, 5, 7), (2, 16, 33, 31)])
def test_kernel_equals_reference(shape: tuple[int, ...]) -> None:
    x, dy = 4 * random_array(shape, 1), random_array(shape, 2)
    y = sigmoid_forward(x)
    check_layer(LayerRunner(TEXT, [x]), [y], [dy], [sigmoid_backward(y, dy)], 1e-6)


def test_in_place_equals_out_of_place() -> None:
    x, dy = random_array((2, 3, 5, 4), 1), random_array((2, 3, 5, 4), 2)
    apart, in_place = LayerRunner(TEXT, [x]), LayerRunner(TEXT, [x], in_place=True)
    assert np.array_equal(apart.forward()[0], in_place.forward()[0])
    assert np.array_equal(apart.backward(dy)[0], in_place.backward(dy)[0])


@pytest.mark.parametrize("size", [0, 1, 31, 257, 100_003])
def test_sizes_that_no_block_divides(size: int) -> None:
    """And views that start at an odd place in memory; the same bits every time."""
    x, dy = random_array((size,), 1), random_array((size,), 2)
    y = sigmoid_forward(x)
    for start in (0, 1):
        parts = [empty((size + start,)).narrow(0, start, size) for _ in range(4)]
        parts[0].set(x)
        parts[2].set(dy)

        def run(parts: list[_core.Tensor] = parts) -> list[Array]:
            _core.sigmoid_forward(parts[0], parts[1])
            _core.sigmoid_backward(parts[1], parts[2], parts[3])
            return [parts[1].get(), parts[3].get()]

        check_repeats(run)
        assert relative_error(parts[1].get(), y) < 1e-6
        assert relative_error(parts[3].get(), sigmoid_backward(y, dy)) < 1e-6


def test_nan_is_not_hidden() -> None:
    _core.sigmoid_forward(tensor([np.nan, 0]), y := empty((2,)))
    assert np.isnan(y.get()).tolist() == [True, False]


def test_huge_logits_do_not_overflow() -> None:
    runner = LayerRunner(TEXT, [[-200.0, 200.0, -1e30, 1e30]])
    assert runner.forward()[0].tolist() == [0, 1, 0, 1]
    assert runner.backward(np.ones(4))[0].tolist() == [0, 0, 0, 0]


def test_golden(golden_dir: Path) -> None:
    run_golden(golden_dir, "sigmoid")
