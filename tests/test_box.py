"""Box against NumPy's slices."""

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

Corner = tuple[int, int]


def box_forward(x: Array, size: Corner, corners: list[Corner]) -> list[Array]:
    return [x[:, :, row : row + size[0], column : column + size[1]] for row, column in corners]


def box_backward(x: Array, size: Corner, corners: list[Corner], dys: list[Array]) -> Array:
    dx = np.zeros_like(x)
    for (row, column), dy in zip(corners, dys, strict=True):
        dx[:, :, row : row + size[0], column : column + size[1]] += dy
    return dx


def text(size: Corner, corners: list[Corner]) -> str:
    places = " ".join(f"xcoord: {column} ycoord: {row}" for row, column in corners)
    return f'type: "Box" box_param {{ width: {size[1]} height: {size[0]} {places} }}'


CASES = [
    # x shape, patch, corners
    ((1, 1, 1, 1), (1, 1), [(0, 0)]),
    ((2, 3, 4, 6), (2, 3), [(0, 0), (0, 3), (2, 0), (2, 3)]),
    # Any order, some of it twice, gaps.
    ((3, 2, 7, 5), (3, 2), [(4, 3), (0, 0), (2, 1), (0, 0)]),
    ((5, 16, 20, 20), (10, 10), [(0, 0), (10, 10), (5, 5)]),
    ((0, 3, 4, 4), (2, 2), [(0, 0), (2, 2)]),
]


def test_reference_backward_equals_central_differences() -> None:
    x, corners = random_array((2, 2, 4, 5), 1), [(0, 0), (1, 2), (2, 2)]
    dys = [random_array((2, 2, 2, 3), seed) for seed in range(3)]
    wanted = central_differences(
        lambda: np.stack(box_forward(x, (2, 3), corners)), x, np.stack(dys)
    )
    assert relative_error(box_backward(x, (2, 3), corners, dys), wanted) < 1e-6


@pytest.mark.parametrize(("shape", "size", "corners"), CASES)
def test_layer_equals_reference(
    shape: tuple[int, ...], size: Corner, corners: list[Corner]
) -> None:
    x = random_array(shape, 1)
    ys = box_forward(x, size, corners)
    dys = [random_array(y.shape, 2 + index) for index, y in enumerate(ys)]
    runner = LayerRunner(text(size, corners), [x], tops=len(corners))
    check_layer(runner, ys, dys, [box_backward(x, size, corners, dys)], 1e-6)


def test_a_batch_equals_its_images_alone() -> None:
    """Which the layer that the authors released gets wrong."""
    x, corners = random_array((5, 3, 6, 6), 1), [(0, 0), (3, 3)]
    together = LayerRunner(text((3, 3), corners), [x], tops=2).forward()
    for image in range(5):
        alone = LayerRunner(text((3, 3), corners), [x[image : image + 1]], tops=2).forward()
        for y, wanted in zip(together, alone, strict=True):
            assert np.array_equal(y[image], wanted[0])


def test_results_repeat() -> None:
    x, corners = random_array((3, 4, 9, 9), 1), [(0, 0), (2, 2), (4, 4)]
    runner = LayerRunner(text((5, 5), corners), [x], tops=3)
    dys = [random_array(blob.shape, 2) for blob in runner.top]
    check_repeats(lambda: runner.forward_backward(*dys))


@pytest.mark.parametrize(
    ("param", "tops", "message"),
    [
        ("xcoord: 0", 1, "ycoord is given 0 times for 1 tops"),
        ("xcoord: 0 xcoord: 2 ycoord: 0 ycoord: 0", 1, "xcoord is given 2 times for 1 tops"),
        ("width: 0 xcoord: 0 ycoord: 0", 1, "patches of 20 x 0 are empty"),
        (
            "width: 4 height: 4 xcoord: 3 ycoord: 0",
            1,
            "patch 0, 4 x 4 at row 0, column 3, leaves the map of 6 x 6",
        ),
        ("width: 4 height: 4 xcoord: 0 ycoord: 4294967295", 1, "leaves the map of 6 x 6"),
    ],
)
def test_bad_parameters(param: str, tops: int, message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(f'type: "Box" box_param {{ {param} }}', [np.zeros((1, 1, 6, 6))], tops=tops)


def test_bad_bottom() -> None:
    with pytest.raises(NetError, match=r"bottom needs shape \(N, C, H, W\), got \(6, 6\)"):
        LayerRunner(text((2, 2), [(0, 0)]), [np.zeros((6, 6))])
