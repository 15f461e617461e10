"""Slice against NumPy's split."""

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


def slice_forward(x: Array, axis: int, points: list[int]) -> list[Array]:
    return np.split(x, points, axis)


def slice_backward(dy: list[Array], axis: int) -> Array:
    return np.concatenate(dy, axis)


CASES = [
    # axis, points, shape
    (0, [2], (3,)),
    (1, [1, 4], (2, 6)),
    (-1, [3], (2, 3, 5)),
    (1, [1, 17], (2, 20, 5, 7)),
    (2, [1, 4], (5, 3, 6, 2)),
    (3, [20], (2, 16, 33, 33)),
    (1, [], (2, 6)),
]


def text(axis: int, points: list[int]) -> str:
    listed = " ".join(f"slice_point: {point}" for point in points)
    return f'type: "Slice" slice_param {{ axis: {axis} {listed} }}'


def test_reference_backward_equals_central_differences() -> None:
    x, dy = random_array((2, 5, 2), 1), random_array((2, 5, 2), 2)
    dys = slice_forward(dy, 1, [1, 3])
    wanted = central_differences(lambda: np.concatenate(slice_forward(x, 1, [1, 3]), 1), x, dy)
    assert relative_error(slice_backward(dys, 1), wanted) < 1e-6


@pytest.mark.parametrize(("axis", "points", "shape"), CASES)
def test_layer_equals_reference(axis: int, points: list[int], shape: tuple[int, ...]) -> None:
    x, dy = random_array(shape, 1), random_array(shape, 2)
    dys = slice_forward(dy, axis, points)
    runner = LayerRunner(text(axis, points), [x], tops=len(points) + 1)
    wanted = slice_backward(dys, axis)
    check_layer(runner, slice_forward(x, axis, points), dys, [wanted], 1e-9)


def test_without_points_parts_are_equal() -> None:
    x = random_array((2, 6, 3), 1)
    runner = LayerRunner('type: "Slice"', [x], tops=3)
    for y, wanted in zip(runner.forward(), np.split(x, 3, 1), strict=True):
        assert np.array_equal(y, wanted)


def test_slice_dim_is_the_old_name_of_axis() -> None:
    x = random_array((4, 6), 1)
    runner = LayerRunner('type: "Slice" slice_param { slice_dim: 0 }', [x], tops=2)
    assert np.array_equal(runner.forward()[1], x[2:])


@pytest.mark.parametrize(
    ("param", "tops", "message"),
    [
        ("axis: 2", 2, r"shape \(2, 6\) has no axis 2"),
        ("axis: 1 slice_dim: 1", 2, "give axis or slice_dim, not both"),
        ("", 4, "axis 1 of size 6 does not divide into 4 tops"),
        ("slice_point: 2", 3, "3 tops need 2 slice points, got 1"),
        ("slice_point: 4 slice_point: 2", 3, "slice points 4, 2 must rise and lie between 0 and"),
        ("slice_point: 0", 2, "slice points 0 must rise"),
        ("slice_point: 6", 2, "lie between 0 and the size of axis 1, 6"),
        ("slice_point: 9", 2, "lie between 0 and the size of axis 1, 6"),
    ],
)
def test_bad_parameters_are_named(param: str, tops: int, message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(f'type: "Slice" slice_param {{ {param} }}', [np.zeros((2, 6))], tops=tops)


def test_golden(golden_dir: Path) -> None:
    run_golden(golden_dir, "slice")
