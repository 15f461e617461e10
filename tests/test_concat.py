"""Concat against NumPy's concatenate."""

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


def concat_forward(x: list[Array], axis: int) -> Array:
    return np.concatenate(x, axis)


def concat_backward(x: list[Array], dy: Array, axis: int) -> list[Array]:
    ends = np.cumsum([array.shape[axis] for array in x])
    return np.split(dy, ends[:-1], axis)


CASES = [
    # axis, shapes
    (0, [(3,), (1,)]),
    (1, [(2, 3), (2, 1), (2, 4)]),
    (-1, [(2, 3, 1), (2, 3, 5)]),
    (0, [(1, 3, 5, 7), (5, 3, 5, 7)]),
    (1, [(2, 1, 5, 7), (2, 16, 5, 7), (2, 3, 5, 7)]),
    (2, [(2, 3, 4, 7), (2, 3, 1, 7)]),
    (3, [(2, 16, 33, 20), (2, 16, 33, 13)]),
    (1, [(2, 3, 2)]),
]


def draw(shapes: list[tuple[int, ...]], axis: int) -> tuple[list[Array], Array]:
    x = [random_array(shape, seed) for seed, shape in enumerate(shapes)]
    return x, random_array(concat_forward(x, axis).shape, 9)


def test_reference_backward_equals_central_differences() -> None:
    x, dy = draw([(2, 3, 2), (2, 1, 2)], 1)
    for array, gradient in zip(x, concat_backward(x, dy, 1), strict=True):
        wanted = central_differences(lambda: concat_forward(x, 1), array, dy)
        assert relative_error(gradient, wanted) < 1e-6


@pytest.mark.parametrize(("axis", "shapes"), CASES)
def test_layer_equals_reference(axis: int, shapes: list[tuple[int, ...]]) -> None:
    x, dy = draw(shapes, axis)
    runner = LayerRunner(f'type: "Concat" concat_param {{ axis: {axis} }}', x)
    check_layer(runner, [concat_forward(x, axis)], [dy], concat_backward(x, dy, axis), 1e-9)


def test_concat_dim_is_the_old_name_of_axis_and_one_the_default() -> None:
    x, _ = draw([(2, 3), (2, 3)], 1)
    for param, axis in (("", 1), ("concat_dim: 0", 0)):
        runner = LayerRunner(f'type: "Concat" concat_param {{ {param} }}', x)
        assert np.array_equal(runner.forward()[0], concat_forward(x, axis))


def test_only_the_gradients_asked_for_are_written() -> None:
    x, dy = draw([(2, 3), (2, 3)], 1)
    runner = LayerRunner('type: "Concat"', x)
    runner.forward()
    runner.bottom[0].diff = np.full((2, 3), 7.0)
    first, second = runner.backward(dy, propagate_down=[False, True])
    assert np.array_equal(first, np.full((2, 3), 7.0))
    assert np.array_equal(second, dy[:, 3:])


@pytest.mark.parametrize(
    ("param", "shapes", "message"),
    [
        ("axis: 2", [(2, 3)], r"shape \(2, 3\) has no axis 2"),
        ("axis: -3", [(2, 3)], r"shape \(2, 3\) has no axis -3"),
        ("concat_dim: 5", [(2, 3)], r"shape \(2, 3\) has no axis 5"),
        ("axis: 1 concat_dim: 1", [(2, 3)], "give axis or concat_dim, not both"),
        (
            "axis: 1",
            [(2, 3), (3, 3)],
            r"'x1' has shape \(3, 3\), bottom 'x0' \(2, 3\); all axes but axis 1 must be equal",
        ),
        ("axis: 1", [(2, 3), (2, 3, 1)], r"'x1' has shape \(2, 3, 1\)"),
    ],
)
def test_bad_parameters_are_named(param: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(
            f'type: "Concat" concat_param {{ {param} }}', [np.zeros(shape) for shape in shapes]
        )


def test_golden(golden_dir: Path) -> None:
    run_golden(golden_dir, "concat")
