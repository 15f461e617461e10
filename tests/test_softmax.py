"""Softmax against a plain reference."""

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


def softmax_forward(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def softmax_backward(y: Array, dy: Array, axis: int) -> Array:
    return y * (dy - (y * dy).sum(axis, keepdims=True))


CASES = [
    # axis, shape
    (0, (7,)),
    (1, (1, 5)),
    (1, (5, 1)),
    (-1, (2, 3, 5)),
    (1, (2, 3, 5)),
    (1, (1, 3, 5, 7)),
    (1, (2, 16, 33, 31)),
    (3, (5, 3, 4, 6)),
    (0, (5, 3, 4, 6)),
    (1, (3, 300)),
    (0, (129, 2)),
    (0, (130, 4100)),
]


def text(axis: int) -> str:
    return f'type: "Softmax" softmax_param {{ axis: {axis} }}'


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_reference_backward_equals_central_differences(axis: int) -> None:
    x, dy = random_array((2, 3, 4), 1), random_array((2, 3, 4), 2)
    wanted = central_differences(lambda: softmax_forward(x, axis), x, dy)
    assert relative_error(softmax_backward(softmax_forward(x, axis), dy, axis), wanted) < 1e-6


@pytest.mark.parametrize(("axis", "shape"), CASES)
def test_kernel_equals_reference(axis: int, shape: tuple[int, ...]) -> None:
    x, dy = 3 * random_array(shape, 1), random_array(shape, 2)
    y = softmax_forward(x, axis)
    check_layer(LayerRunner(text(axis), [x]), [y], [dy], [softmax_backward(y, dy, axis)], 1e-6)


def test_row_major_equals_channels_last() -> None:
    x, dy = random_array((2, 5, 4, 3), 1), random_array((2, 5, 4, 3), 2)
    results = []
    for channels_last in (False, True):
        y, dx = empty(x.shape, channels_last), empty(x.shape, channels_last)
        _core.softmax_forward(tensor(x, channels_last), y, 1)
        _core.softmax_backward(y, tensor(dy, channels_last), dx, 1)
        results.append((y.get(), dx.get()))
    for a, b in zip(*results, strict=True):
        assert np.array_equal(a, b)


def test_huge_logits_do_not_overflow() -> None:
    runner = LayerRunner(text(1), [[[200.0, -200.0, 0.0], [1e30, -1e30, 0.0]]])
    assert runner.forward()[0].tolist() == [[1, 0, 0], [1, 0, 0]]
    assert np.isfinite(runner.backward(np.ones((2, 3)))[0]).all()


@pytest.mark.parametrize(("axis", "shape"), [(1, (5, 7, 3)), (1, (3, 300))])
def test_results_repeat_bit_for_bit(axis: int, shape: tuple[int, ...]) -> None:
    runner = LayerRunner(text(axis), [random_array(shape, 1)])
    dy = random_array(shape, 2)
    check_repeats(lambda: runner.forward_backward(dy))


def test_no_lines_give_nothing() -> None:
    runner = LayerRunner(text(1), [np.zeros((0, 3))])
    assert runner.forward()[0].shape == (0, 3)
    assert runner.backward(np.zeros((0, 3)))[0].shape == (0, 3)


def test_bad_axis_is_named() -> None:
    with pytest.raises(NetError, match=r"shape \(2, 3\) has no axis 2"):
        LayerRunner(text(2), [np.zeros((2, 3))])


def test_golden(golden_dir: Path) -> None:
    run_golden(golden_dir, "softmax")
