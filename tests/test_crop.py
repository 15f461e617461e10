"""Crop against NumPy's slices."""

from __future__ import annotations

import numpy as np
import pytest
from layer_testing import (
    Array,
    LayerRunner,
    central_differences,
    check_layer,
    random_array,
    relative_error,
)

from drml.errors import NetError

Shape = tuple[int, ...]


def crop_forward(x: Array, size: Shape, offsets: Shape) -> Array:
    return x[tuple(slice(start, start + n) for start, n in zip(offsets, size, strict=True))]


def crop_backward(dy: Array, shape: Shape, offsets: Shape) -> Array:
    dx = np.zeros(shape)
    dx[tuple(slice(start, start + n) for start, n in zip(offsets, dy.shape, strict=True))] = dy
    return dx


CASES: list[tuple[Shape, Shape, str, Shape, Shape]] = [
    # bottoms' shapes, parameters, offsets of all axes, top's shape
    ((1, 1, 1, 1), (1, 1, 1, 1), "", (0, 0, 0, 0), (1, 1, 1, 1)),
    ((2, 3, 6, 7), (5, 1, 4, 3), "offset: 1 offset: 2", (0, 0, 1, 2), (2, 3, 4, 3)),
    ((2, 3, 6, 7), (5, 1, 4, 5), "offset: 2", (0, 0, 2, 2), (2, 3, 4, 5)),
    ((2, 3, 6, 7), (1, 2, 3, 4), "axis: 0", (0, 0, 0, 0), (1, 2, 3, 4)),
    ((5, 6, 7), (9, 2, 3), "axis: -2 offset: [3, 4]", (0, 3, 4), (5, 2, 3)),
    ((2, 17, 33, 31), (2, 5, 31, 30), "axis: 1 offset: [8, 2, 1]", (0, 8, 2, 1), (2, 5, 31, 30)),
    ((4, 3, 2, 2, 5), (1, 1, 2, 1, 2), "axis: 3 offset: [1, 2]", (0, 0, 0, 1, 2), (4, 3, 2, 1, 2)),
    ((0, 3, 4, 5), (0, 3, 2, 2), "", (0, 0, 0, 0), (0, 3, 2, 2)),
]


def text(param: str) -> str:
    return f'type: "Crop" crop_param {{ {param} }}'


def test_reference_backward_equals_central_differences() -> None:
    x, dy = random_array((3, 4, 2), 1), random_array((2, 2, 1), 2)
    wanted = central_differences(lambda: crop_forward(x, dy.shape, (1, 2, 0)), x, dy)
    assert relative_error(crop_backward(dy, x.shape, (1, 2, 0)), wanted) < 1e-6


@pytest.mark.parametrize(("shape", "size", "param", "offsets", "result"), CASES)
def test_layer_equals_reference(
    shape: Shape, size: Shape, param: str, offsets: Shape, result: Shape
) -> None:
    x, dy = random_array(shape, 1), random_array(result, 2)
    runner = LayerRunner(text(param), [x, np.zeros(size)])
    assert [runner.layer.can_backward_to(index) for index in (0, 1)] == [True, False]
    wanted = crop_forward(x, result, offsets), crop_backward(dy, shape, offsets)
    check_layer(runner, [wanted[0]], [dy], [wanted[1]], 1e-9)


@pytest.mark.parametrize(
    ("size", "param", "message"),
    [
        ((2, 3, 4, 5), "axis: 4", r"shape \(2, 3, 6, 7\) has no axis 4"),
        ((2, 3, 4), "", r"'x0' \(2, 3, 6, 7\) and 'x1' \(2, 3, 4\) need as many axes"),
        ((2, 3, 4, 5), "offset: [1, 2, 3]", "2 axes from axis 2 on need one offset.*not 3"),
        ((2, 3, 4, 5), "offset: 3", r"axis 2 of 'x0' .* has no 4 numbers from offset 3 on"),
        ((2, 3, 4, 8), "", r"axis 3 of 'x0' .* has no 8 numbers from offset 0 on"),
    ],
)
def test_bad_parameters_are_named(size: Shape, param: str, message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(text(param), [np.zeros((2, 3, 6, 7)), np.zeros(size)])
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (Crop): ")
