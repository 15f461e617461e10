"""Splice against NumPy's slices, and against Box."""

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


def splice_forward(xs: list[Array], corners: list[Corner]) -> Array:
    images, channels, *size = xs[0].shape
    height, width = (max(corner[axis] for corner in corners) + size[axis] for axis in (0, 1))
    y = np.full((images, channels, height, width), np.nan)
    for x, (row, column) in zip(xs, corners, strict=True):
        y[:, :, row : row + size[0], column : column + size[1]] = x
    return y


def splice_backward(size: Corner, corners: list[Corner], dy: Array) -> list[Array]:
    return [dy[:, :, row : row + size[0], column : column + size[1]] for row, column in corners]


def text(corners: list[Corner]) -> str:
    places = " ".join(f"xcoord: {column} ycoord: {row}" for row, column in corners)
    return f'type: "Splice" splice_param {{ {places} }}'


def make_bottoms(count: int, shape: tuple[int, ...]) -> list[Array]:
    return [random_array(shape, seed) for seed in range(count)]


CASES = [
    # shape of a patch, corners
    ((1, 1, 1, 1), [(0, 0)]),
    ((2, 3, 2, 3), [(0, 0), (0, 3), (2, 0), (2, 3)]),
    ((3, 2, 1, 4), [(2, 0), (0, 4), (1, 0), (0, 0), (2, 4), (1, 4)]),
    ((5, 16, 10, 10), [(0, 10), (0, 0)]),
    ((0, 3, 2, 2), [(0, 0), (0, 2)]),
]


def test_reference_backward_equals_central_differences() -> None:
    corners = [(0, 2), (0, 0)]
    xs, dy = make_bottoms(2, (2, 2, 3, 2)), random_array((2, 2, 3, 4), 9)
    for x, dx in zip(xs, splice_backward((3, 2), corners, dy), strict=True):
        wanted = central_differences(lambda: splice_forward(xs, corners), x, dy)
        assert relative_error(dx, wanted) < 1e-6


@pytest.mark.parametrize(("shape", "corners"), CASES)
def test_layer_equals_reference(shape: tuple[int, int, int, int], corners: list[Corner]) -> None:
    xs = make_bottoms(len(corners), shape)
    y = splice_forward(xs, corners)
    dy = random_array(y.shape, 9)
    runner = LayerRunner(text(corners), xs)
    check_layer(runner, [y], [dy], splice_backward(shape[2:], corners, dy), 1e-9)


def test_a_batch_equals_its_images_alone() -> None:
    """Which the layer that the authors released gets wrong."""
    corners = [(0, 0), (3, 0)]
    xs = make_bottoms(2, (5, 3, 3, 4))
    together = LayerRunner(text(corners), xs).forward()[0]
    for image in range(5):
        alone = LayerRunner(text(corners), [x[image : image + 1] for x in xs]).forward()[0]
        assert np.array_equal(together[image], alone[0])


def test_undoes_a_box() -> None:
    corners = [(3, 4), (0, 0), (0, 4), (3, 0)]
    x = random_array((3, 2, 6, 8), 1)
    places = " ".join(f"xcoord: {column} ycoord: {row}" for row, column in corners)
    box = LayerRunner(f'type: "Box" box_param {{ width: 4 height: 3 {places} }}', [x], tops=4)
    assert np.array_equal(LayerRunner(text(corners), box.forward()).forward()[0], x)


def test_results_repeat() -> None:
    runner = LayerRunner(text([(0, 0), (0, 3)]), make_bottoms(2, (2, 4, 3, 3)))
    dy = random_array(runner.top[0].shape, 2)
    check_repeats(lambda: runner.forward_backward(dy))


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        ([(0, 0), (0, 0)], "bottoms 0 and 1 have the same place, row 0, column 0"),
        ([(0, 0), (0, 1)], "bottom 1 at row 0, column 1 is not on a grid of 2 x 2 patches"),
        ([(0, 0), (1, 0)], "bottom 1 at row 1, column 0 is not on a grid of 2 x 2 patches"),
        ([(0, 0), (2, 2)], "2 bottoms do not fill a map of 2 x 2 patches"),
        ([(0, 0), (4294967294, 0)], "2 bottoms do not fill a map of 2147483648 x 1 patches"),
    ],
)
def test_places_that_are_no_tiles(corners: list[Corner], message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(text(corners), make_bottoms(2, (1, 1, 2, 2)))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(1, 1, 2, 2), (1, 2, 2, 2)], r"shape \(1, 2, 2, 2\), .* they must be equal"),
        ([(2, 2), (2, 2)], r"bottoms need shape \(N, C, H, W\), got \(2, 2\)"),
    ],
)
def test_bad_bottoms(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(text([(0, 0), (0, 2)]), [np.zeros(shape) for shape in shapes])


def test_corners_that_do_not_fit_the_bottoms() -> None:
    with pytest.raises(NetError, match="xcoord is given 1 times for 2 bottoms"):
        LayerRunner(text([(0, 0)]), make_bottoms(2, (1, 1, 2, 2)))
