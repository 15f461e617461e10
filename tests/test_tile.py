"""Tile against NumPy's concatenate."""

from __future__ import annotations

import numpy as np
import pytest
from layer_testing import (
    Array,
    LayerRunner,
    central_differences,
    check_layer,
    check_repeats,
    random_array,
    relative_error,
)

from drml.errors import NetError

Shape = tuple[int, ...]


def tile_forward(x: Array, axis: int, tiles: int) -> Array:
    return np.concatenate([x] * tiles, axis)


def tile_backward(dy: Array, axis: int, tiles: int) -> Array:
    return np.sum(np.split(dy, tiles, axis), axis=0)


CASES: list[tuple[Shape, int, int]] = [
    # shape, axis, tiles
    ((1,), 0, 1),
    ((3,), 0, 4),
    ((2, 3), 1, 5),
    ((2, 3, 4, 5), 1, 3),
    ((2, 3, 4, 5), 0, 2),
    ((5, 3, 4, 1), -1, 7),
    ((2, 17, 1, 31), 2, 33),
    ((2, 3, 1, 2, 2), 2, 6),
    ((0, 3), 1, 2),
]


def text(axis: int, tiles: int) -> str:
    return f'type: "Tile" tile_param {{ axis: {axis} tiles: {tiles} }}'


def test_reference_backward_equals_central_differences() -> None:
    x, dy = random_array((2, 3, 2), 1), random_array((2, 9, 2), 2)
    wanted = central_differences(lambda: tile_forward(x, 1, 3), x, dy)
    assert relative_error(tile_backward(dy, 1, 3), wanted) < 1e-6


@pytest.mark.parametrize(("shape", "axis", "tiles"), CASES)
def test_layer_equals_reference(shape: Shape, axis: int, tiles: int) -> None:
    x = random_array(shape, 1)
    y = tile_forward(x, axis, tiles)
    dy = random_array(y.shape, 2)
    runner = LayerRunner(text(axis, tiles), [x])
    assert np.array_equal(runner.forward()[0], y)
    check_layer(runner, [y], [dy], [tile_backward(dy, axis, tiles)], 1e-6)


def test_results_repeat() -> None:
    runner = LayerRunner(text(1, 7), [random_array((3, 5, 4, 3), 1)])
    dy = random_array((3, 35, 4, 3), 2)
    check_repeats(lambda: runner.forward_backward(dy))


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("", "tiles must be given, and be 1 or more"),
        ("tiles: -1", "tiles must be given, and be 1 or more"),
        ("tiles: 2 axis: 2", r"shape \(2, 3\) has no axis 2"),
    ],
)
def test_bad_parameters_are_named(param: str, message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(f'type: "Tile" tile_param {{ {param} }}', [np.zeros((2, 3))])
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (Tile): ")
