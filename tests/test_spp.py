"""SPP against a plain reference."""

from __future__ import annotations

from math import ceil

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


def spans(size: int, bins: int) -> list[tuple[slice, int]]:
    """What each bin of an axis covers, and its length within the padding."""
    kernel = ceil(size / bins)
    pad = (kernel * bins - size + 1) // 2
    found = []
    for index in range(bins):
        start = index * kernel - pad
        end = min(start + kernel, size + pad)
        found.append((slice(max(start, 0), min(end, size)), end - start))
    return found


def pooled(x: Array, bins: int, method: str) -> Array:
    y = np.empty((*x.shape[:2], bins, bins))
    for i, (rows, height) in enumerate(spans(x.shape[2], bins)):
        for j, (columns, width) in enumerate(spans(x.shape[3], bins)):
            seen = x[:, :, rows, columns]
            mean = seen.sum(axis=(2, 3)) / (height * width)
            y[:, :, i, j] = seen.max(axis=(2, 3)) if method == "MAX" else mean
    return y


def pooled_backward(x: Array, dy: Array, bins: int, method: str) -> Array:
    dx = np.zeros_like(x)
    for i, (rows, height) in enumerate(spans(x.shape[2], bins)):
        for j, (columns, width) in enumerate(spans(x.shape[3], bins)):
            if method == "AVE":
                dx[:, :, rows, columns] += dy[:, :, i, j, None, None] / (height * width)
                continue
            for n, c in np.ndindex(x.shape[:2]):
                seen = x[n, c, rows, columns]
                row, column = np.unravel_index(np.argmax(seen), seen.shape)
                dx[n, c, rows, columns][row, column] += dy[n, c, i, j]
    return dx


def spp_forward(x: Array, height: int, method: str) -> Array:
    levels = [pooled(x, 2**level, method) for level in range(height)]
    if height == 1:
        return levels[0]
    return np.concatenate([level.reshape(len(x), -1) for level in levels], axis=1)


def spp_backward(x: Array, dy: Array, height: int, method: str) -> Array:
    dx, start = np.zeros_like(x), 0
    for bins in (2**level for level in range(height)):
        length = x.shape[1] * bins**2
        rows = dy.reshape(len(x), -1)[:, start : start + length]
        dx += pooled_backward(x, rows.reshape(*x.shape[:2], bins, bins), bins, method)
        start += length
    return dx


CASES: list[tuple[Shape, int]] = [
    # shape, pyramid_height
    ((1, 1, 1, 1), 1),
    ((2, 3, 5, 7), 1),
    ((2, 3, 5, 7), 2),
    ((2, 3, 9, 8), 3),
    ((5, 17, 13, 16), 3),
    ((1, 2, 31, 23), 4),
]


def text(height: int, method: str) -> str:
    return f'type: "SPP" spp_param {{ pyramid_height: {height} pool: {method} }}'


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_reference_backward_equals_central_differences(method: str) -> None:
    # Numbers far enough apart that no step changes which is the greatest.
    x = np.random.default_rng(1).permutation(np.arange(140.0)).reshape(2, 2, 7, 5)
    dy = random_array((2, 10), 2)
    wanted = central_differences(lambda: spp_forward(x, 2, method), x, dy)
    assert relative_error(spp_backward(x, dy, 2, method), wanted) < 1e-6


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize(("shape", "height"), CASES)
def test_layer_equals_reference(shape: Shape, height: int, method: str) -> None:
    x = random_array(shape, 1)
    y = spp_forward(x, height, method)
    dy = random_array(y.shape, 2)
    runner = LayerRunner(text(height, method), [x])
    check_layer(runner, [y], [dy], [spp_backward(x, dy, height, method)], 1e-6)


def test_maps_of_any_size_give_rows_of_one_length() -> None:
    runner = LayerRunner(text(3, "MAX"), [np.zeros((2, 3, 9, 8))])
    for shape in ((2, 3, 12, 31), (1, 3, 8, 8), (0, 3, 8, 8)):
        x = random_array(shape, 1)
        runner.bottom[0].reshape(*shape)
        runner.layer.reshape(runner.bottom, runner.top)
        runner.set_inputs(x)
        y = runner.forward()[0]
        assert y.shape == (shape[0], 3 * 21)
        dx = runner.backward(np.ones(y.shape))[0]
        assert dx.shape == shape
        if shape[0]:
            assert relative_error(y, spp_forward(x, 3, "MAX")) < 1e-6


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_batch_equals_single_images(method: str) -> None:
    x, dy = random_array((5, 3, 9, 8), 1), random_array((5, 63), 2)
    y, dx = LayerRunner(text(3, method), [x]).forward_backward(dy)
    for i in range(len(x)):
        one = LayerRunner(text(3, method), [x[i : i + 1]]).forward_backward(dy[i : i + 1])
        assert np.array_equal(one[0], y[i : i + 1])
        assert np.array_equal(one[1], dx[i : i + 1])


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_results_repeat_bit_for_bit(method: str) -> None:
    runner = LayerRunner(text(3, method), [random_array((2, 3, 9, 8), 1)])
    dy = random_array((2, 63), 2)
    check_repeats(lambda: runner.forward_backward(dy))


@pytest.mark.parametrize(
    ("param", "shape", "message"),
    [
        ("", (1, 2, 8, 8), "pyramid_height must be 1 or more"),
        ("pyramid_height: 2 pool: STOCHASTIC", (1, 2, 8, 8), "STOCHASTIC is not supported"),
        ("pyramid_height: 2", (2, 8), r"bottom needs shape \(N, C, H, W\), .* got \(2, 8\)"),
        ("pyramid_height: 2", (0, 8, 0, 3), r"bottom needs shape .* got \(0, 8, 0, 3\)"),
        ("pyramid_height: 3", (1, 2, 8, 5), "4 bins of 2 along axis 3 of .* need a padding of 2"),
        ("pyramid_height: 40", (1, 2, 8, 8), "16 bins of 1 along axis 2"),
    ],
)
def test_bad_parameters_are_named(param: str, shape: Shape, message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(f'type: "SPP" spp_param {{ {param} }}', [np.zeros(shape)])
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (SPP): ")
