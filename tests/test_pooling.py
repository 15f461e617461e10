"""Pooling against a plain reference."""

from __future__ import annotations

from math import ceil
from pathlib import Path

import numpy as np
import pytest
from golden_testing import run_golden
from layer_testing import (
    DEVICE,
    Array,
    LayerRunner,
    central_differences,
    check_layer,
    check_repeats,
    check_under,
    empty,
    random_array,
    relative_error,
    using_threads,
)

from drml import _core
from drml.device import is_cuda
from drml.errors import NetError

Pair = tuple[int, int]


def window_count(size: int, kernel: int, stride: int, pad: int) -> int:
    count = ceil((size + 2 * pad - kernel) / stride) + 1
    return count - 1 if (count - 1) * stride >= size + pad else count


def span(window: int, size: int, kernel: int, stride: int, pad: int) -> tuple[slice, int]:
    """What a window covers of an axis, and its length within the padding."""
    start = window * stride - pad
    end = min(start + kernel, size + pad)
    return slice(max(start, 0), min(end, size)), end - start


def windows(x: Array, kernel: Pair, stride: Pair, pad: Pair) -> list[tuple]:
    """(i, j, rows, columns, area within the padding) of each window."""
    counts = [window_count(x.shape[2 + a], kernel[a], stride[a], pad[a]) for a in (0, 1)]
    found = []
    for i in range(counts[0]):
        rows, height = span(i, x.shape[2], kernel[0], stride[0], pad[0])
        for j in range(counts[1]):
            columns, width = span(j, x.shape[3], kernel[1], stride[1], pad[1])
            found.append((i, j, rows, columns, height * width))
    return found


def pooling_forward(x: Array, method: str, kernel: Pair, stride: Pair, pad: Pair) -> Array:
    counts = [window_count(x.shape[2 + a], kernel[a], stride[a], pad[a]) for a in (0, 1)]
    y = np.empty((*x.shape[:2], *counts))
    for i, j, rows, columns, area in windows(x, kernel, stride, pad):
        seen = x[:, :, rows, columns]
        y[:, :, i, j] = seen.max(axis=(2, 3)) if method == "MAX" else seen.sum(axis=(2, 3)) / area
    return y


def pooling_backward(
    x: Array, dy: Array, method: str, kernel: Pair, stride: Pair, pad: Pair
) -> Array:
    dx = np.zeros_like(x)
    for i, j, rows, columns, area in windows(x, kernel, stride, pad):
        if method == "AVE":
            dx[:, :, rows, columns] += dy[:, :, i, j, None, None] / area
            continue
        for n, c in np.ndindex(x.shape[:2]):
            seen = x[n, c, rows, columns]
            row, column = np.unravel_index(np.argmax(seen), seen.shape)
            dx[n, c, rows, columns][row, column] += dy[n, c, i, j]
    return dx


def pooling_mask(x: Array, kernel: Pair, stride: Pair, pad: Pair) -> Array:
    """Row * W + column of each window's first maximum."""
    counts = [window_count(x.shape[2 + a], kernel[a], stride[a], pad[a]) for a in (0, 1)]
    mask = np.empty((*x.shape[:2], *counts))
    for i, j, rows, columns, _ in windows(x, kernel, stride, pad):
        for n, c in np.ndindex(x.shape[:2]):
            seen = x[n, c, rows, columns]
            row, column = np.unravel_index(np.argmax(seen), seen.shape)
            mask[n, c, i, j] = (rows.start + row) * x.shape[3] + columns.start + column
    return mask


CASES = [
    # x shape, kernel, stride, pad
    ((1, 1, 1, 1), (1, 1), (1, 1), (0, 0)),
    ((5, 32, 20, 20), (2, 2), (2, 2), (0, 0)),
    ((2, 17, 13, 12), (2, 2), (2, 2), (0, 0)),
    ((2, 4, 10, 11), (3, 3), (2, 2), (0, 0)),
    ((1, 96, 13, 13), (3, 3), (2, 2), (0, 0)),
    ((2, 5, 10, 7), (3, 3), (2, 2), (1, 1)),
    ((5, 8, 9, 9), (3, 3), (1, 1), (1, 1)),
    ((2, 3, 7, 6), (7, 6), (1, 1), (0, 0)),
    ((2, 3, 9, 5), (4, 2), (3, 1), (1, 1)),
    ((2, 3, 8, 8), (2, 3), (3, 5), (0, 0)),
    ((2, 20, 7, 7), (5, 5), (4, 4), (4, 4)),
    ((1, 2, 3, 3), (4, 4), (2, 2), (0, 0)),
    ((2, 3, 1, 9), (1, 4), (1, 2), (0, 3)),
    ((5, 7, 17, 19), (3, 2), (1, 3), (2, 0)),
    ((2, 3, 40, 37), (40, 37), (1, 1), (0, 0)),
]
NAMES = ("shape", "kernel", "stride", "pad")


def text(method: str, kernel: Pair, stride: Pair, pad: Pair) -> str:
    return f"""type: "Pooling" pooling_param {{ pool: {method} kernel_h: {kernel[0]}
      kernel_w: {kernel[1]} stride_h: {stride[0]} stride_w: {stride[1]}
      pad_h: {pad[0]} pad_w: {pad[1]} }}"""


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_reference_backward_equals_central_differences(method: str) -> None:
    # Numbers far enough apart that no step changes which is the greatest.
    x = np.random.default_rng(1).permutation(np.arange(168.0)).reshape(2, 2, 7, 6)
    geometry = ((3, 3), (2, 2), (1, 1))
    dy = random_array(pooling_forward(x, method, *geometry).shape, 2)
    wanted = central_differences(lambda: pooling_forward(x, method, *geometry), x, dy)
    assert relative_error(pooling_backward(x, dy, method, *geometry), wanted) < 1e-6


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize(NAMES, CASES)
def test_kernel_equals_reference(
    shape: tuple[int, ...], kernel: Pair, stride: Pair, pad: Pair, method: str
) -> None:
    x = random_array(shape, 1)
    y = pooling_forward(x, method, kernel, stride, pad)
    dy = random_array(y.shape, 2)
    dx = pooling_backward(x, dy, method, kernel, stride, pad)
    check_layer(LayerRunner(text(method, kernel, stride, pad), [x]), [y], [dy], [dx], 1e-6)


@pytest.mark.parametrize(NAMES, CASES)
def test_second_top_tells_where_the_maxima_stand(
    shape: tuple[int, ...], kernel: Pair, stride: Pair, pad: Pair
) -> None:
    """Half of the numbers are equal, and the gradient goes where the mask says."""
    x = np.round(random_array(shape, 1))
    runner = LayerRunner(text("MAX", kernel, stride, pad), [x], tops=2)
    y, mask = runner.forward()
    assert np.array_equal(y, pooling_forward(x, "MAX", kernel, stride, pad))
    assert np.array_equal(mask, pooling_mask(x, kernel, stride, pad))
    dy = random_array(y.shape, 2)
    dx = runner.backward(dy, np.full(mask.shape, np.nan))[0]
    assert relative_error(dx, pooling_backward(x, dy, "MAX", kernel, stride, pad)) < 1e-6


def test_second_top_needs_max() -> None:
    with pytest.raises(NetError, match="a second top, the places of maxima, needs pool: MAX"):
        LayerRunner(text("AVE", (2, 2), (2, 2), (0, 0)), [np.zeros((1, 2, 4, 4))], tops=2)
    attrs = _core.PoolingAttrs(max=False, kernel=(2, 2), stride=(2, 2))
    with pytest.raises(ValueError, match="pooling_mask: only MAX has places of maxima"):
        _core.pooling_mask(empty((1, 2, 6, 6)), empty((1, 2, 3, 3)), attrs)


def test_mask_of_nan_is_the_first_one() -> None:
    x = np.zeros((1, 19, 4, 4))
    x[:, :, 1, 1] = x[:, :, 1, 0] = np.nan
    x[:, :, 0, 0] = np.inf
    mask = LayerRunner(text("MAX", (2, 2), (2, 2), (0, 0)), [x], tops=2).forward()[1]
    assert np.array_equal(mask, np.broadcast_to([[4.0, 2], [8, 10]], mask.shape))


@pytest.mark.cpu_only
@pytest.mark.parametrize("isa", ["portable", "avx2"])
def test_every_instruction_set_passes(isa: str) -> None:
    """The cases above once more in a process that is held to a lesser instruction set."""
    check_under(isa, __file__, "kernel_equals_reference")


@pytest.mark.cpu_only
@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_results_do_not_depend_on_threads(method: str) -> None:
    x, dy = random_array((5, 32, 21, 20), 1), random_array((5, 32, 10, 10), 2)
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            runner = LayerRunner(text(method, (3, 3), (2, 2), (0, 0)), [x])
            results.append((runner.forward()[0], runner.backward(dy)[0]))
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_results_do_not_depend_on_the_batch(method: str) -> None:
    x, dy = random_array((5, 32, 21, 20), 1), random_array((5, 32, 10, 10), 2)
    batch = LayerRunner(text(method, (3, 3), (2, 2), (0, 0)), [x])
    y, dx = batch.forward()[0], batch.backward(dy)[0]
    single = LayerRunner(text(method, (3, 3), (2, 2), (0, 0)), [x[:1]])
    for i in range(len(x)):
        single.set_inputs(x[i : i + 1])
        assert np.array_equal(single.forward()[0], y[i : i + 1])
        assert np.array_equal(single.backward(dy[i : i + 1])[0], dx[i : i + 1])


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_results_repeat(method: str) -> None:
    x, dy = random_array((2, 5, 21, 20), 1), random_array((2, 5, 10, 10), 2)
    runner = LayerRunner(text(method, (3, 3), (2, 2), (0, 0)), [x])
    check_repeats(lambda: runner.forward_backward(dy))


def test_first_of_equal_maxima_gets_the_gradient() -> None:
    runner = LayerRunner(text("MAX", (2, 2), (2, 2), (0, 0)), [np.zeros((2, 9, 4, 4))])
    runner.forward()
    dx = runner.backward(np.ones((2, 9, 2, 2)))[0]
    assert np.all(dx[:, :, ::2, ::2] == 1)
    assert dx.sum() == 2 * 9 * 4


@pytest.mark.parametrize("channels", [1, 16, 19])
def test_nan_and_infinity_go_through_max(channels: int) -> None:
    x = np.zeros((1, channels, 4, 6))
    x[:, :, 1, 0] = np.nan
    x[:, :, 0, 1] = 5
    x[:, :, 1, 1] = np.nan
    x[:, :, :2, 2:4] = -np.inf
    x[:, :, 1, 4] = np.inf
    runner = LayerRunner(text("MAX", (2, 2), (2, 2), (0, 0)), [x])
    y = runner.forward()[0]
    wanted = [[np.nan, -np.inf, np.inf], [0, 0, 0]]
    np.testing.assert_array_equal(y, np.broadcast_to(wanted, y.shape))
    dx = runner.backward(np.ones((1, channels, 2, 3)))[0]
    got = np.zeros((4, 6))
    got[1, 0] = got[0, 2] = got[1, 4] = got[2, 0] = got[2, 2] = got[2, 4] = 1
    np.testing.assert_array_equal(dx, np.broadcast_to(got, dx.shape))


@pytest.mark.parametrize(
    ("param", "shape"),
    [
        ("kernel_size: 3 stride: 2", (1, 2, 5, 4)),
        ("kernel_size: 3 stride: 2 round_mode: FLOOR", (1, 2, 4, 3)),
        ("kernel_size: 3 stride: 2 pad: 1", (1, 2, 6, 5)),
        ("kernel_h: 4 kernel_w: 2 stride_h: 1 stride_w: 2", (1, 2, 7, 4)),
        ("kernel_size: 2 stride: 2 pad: 1 engine: CAFFE", (1, 2, 6, 5)),
        ("global_pooling: true", (1, 2, 1, 1)),
        # A window that would start beyond the map is left out.
        ("kernel_size: 1 stride: 4", (1, 2, 3, 2)),
    ],
)
def test_top_shape(param: str, shape: tuple[int, ...]) -> None:
    runner = LayerRunner(f'type: "Pooling" pooling_param {{ {param} }}', [np.zeros((1, 2, 10, 8))])
    assert runner.top[0].shape == shape


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_global_pooling_follows_the_map(method: str) -> None:
    param = f"pool: {method} global_pooling: true"
    runner = LayerRunner(f'type: "Pooling" pooling_param {{ {param} }}', [np.zeros((2, 3, 4, 4))])
    x, dy = random_array((2, 3, 6, 5), 1), random_array((2, 3, 1, 1), 2)
    runner.bottom[0].reshape(2, 3, 6, 5)
    runner.layer.reshape(runner.bottom, runner.top)
    runner.set_inputs(x)
    arguments = (method, (6, 5), (1, 1), (0, 0))
    wanted = pooling_forward(x, *arguments), pooling_backward(x, dy, *arguments)
    check_layer(runner, [wanted[0]], [dy], [wanted[1]], 1e-6)


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("pool: STOCHASTIC kernel_size: 2", "pool: STOCHASTIC is not supported; MAX and AVE are"),
        ("", "give either kernel_size, or both kernel_h and kernel_w"),
        ("kernel_h: 2", "give either kernel_size, or both kernel_h and kernel_w"),
        ("kernel_size: 2 kernel_h: 2 kernel_w: 2", "give either kernel_size, or both"),
        ("kernel_size: 2 stride: 2 stride_h: 1", "give either stride, or both stride_h"),
        ("kernel_size: 2 pad_w: 1", "give either pad, or both pad_h and pad_w"),
        ("kernel_size: 0", "kernel_size must be 1 or more"),
        ("kernel_size: 2 stride: 0", "stride must be 1 or more"),
        ("kernel_size: 2 pad: 2", r"pad \(2, 2\) must be less than kernel_size \(2, 2\)"),
        ("global_pooling: true kernel_size: 2", "the whole map: kernel_size cannot be given too"),
        ("global_pooling: true stride: 2", "global_pooling needs stride 1 and pad 0"),
        (
            "kernel_size: 9",
            r"a window of 9 rows exceeds the bottom's 7 \(size 7, pad 0\)",
        ),
        (
            "kernel_h: 9 kernel_w: 10 pad: 1",
            r"a window of 10 columns exceeds the bottom's 8 \(size 6, pad 1\)",
        ),
    ],
)
def test_bad_parameters_are_named(param: str, message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(f'type: "Pooling" pooling_param {{ {param} }}', [np.zeros((1, 2, 7, 6))])
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (Pooling): ")


def test_bottom_must_have_four_axes() -> None:
    with pytest.raises(NetError, match=r"bottom needs shape \(N, C, H, W\), got \(2, 4\)"):
        LayerRunner(text("MAX", (2, 2), (2, 2), (0, 0)), [np.zeros((2, 4))])


def test_op_checks_shapes() -> None:
    attrs = _core.PoolingAttrs(max=True, kernel=(2, 2), stride=(2, 2))
    x, y = empty((1, 2, 6, 6)), empty((1, 2, 3, 3))
    with pytest.raises(ValueError, match=r"x \(1, 2, 6, 6\) and y \(1, 3, 3, 3\) differ"):
        _core.pooling_forward(x, empty((1, 3, 3, 3)), attrs)
    with pytest.raises(ValueError, match=r"too small for the windows of y \(1, 2, 4, 3\)"):
        _core.pooling_forward(x, empty((1, 2, 4, 3)), attrs)
    padded = _core.PoolingAttrs(max=True, kernel=(2, 2), stride=(2, 2), pad=(1, 1))
    with pytest.raises(ValueError, match=r"x \(1, 2, 0, 6\) is too small for the windows of y"):
        _core.pooling_forward(empty((1, 2, 0, 6)), empty((1, 2, 1, 4)), padded)
    other = is_cuda(DEVICE)  # the layout that is not this device's
    wanted = "row-major" if other else "channels-last"
    with pytest.raises(ValueError, match=f"x must lie {wanted} in memory"):
        _core.pooling_forward(empty((1, 2, 6, 6), other), y, attrs)
    with pytest.raises(ValueError, match=r"shapes \(1, 2, 6, 6\) and \(1, 2, 6, 5\) should have"):
        _core.pooling_backward(x, y, empty((1, 2, 6, 5)), attrs)
    too_far = _core.PoolingAttrs(max=True, kernel=(2, 2), stride=(2, 2), pad=(2, 2))
    with pytest.raises(ValueError, match="window 2 with stride 2 and pad 2"):
        _core.pooling_forward(x, y, too_far)


@pytest.mark.parametrize("name", ["pool_max_ceil", "pool_ave_ceil_pad", "pool_global"])
def test_golden(golden_dir: Path, name: str) -> None:
    run_golden(golden_dir, name)
