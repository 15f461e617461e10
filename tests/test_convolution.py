"""Convolution against a plain reference."""

from __future__ import annotations

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
    empty,
    random_array,
    relative_error,
    using_threads,
)

from drml import _core
from drml.device import is_cuda
from drml.errors import NetError

Pair = tuple[int, int]


def taps(x_shape: tuple[int, ...], kernel: Pair, stride: Pair, pad: Pair, dilation: Pair) -> list:
    """For each tap (i, j) of the kernel, the slices of the padded map that outputs see there."""
    size = [
        (x_shape[axis + 2] + 2 * pad[axis] - dilation[axis] * (kernel[axis] - 1) - 1)
        // stride[axis]
        + 1
        for axis in (0, 1)
    ]
    found = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            start = i * dilation[0], j * dilation[1]
            row, column = (
                slice(start[axis], start[axis] + (size[axis] - 1) * stride[axis] + 1, stride[axis])
                for axis in (0, 1)
            )
            found.append((i, j, row, column))
    return found


def padded(x: Array, pad: Pair) -> Array:
    return np.pad(x, ((0, 0), (0, 0), (pad[0], pad[0]), (pad[1], pad[1])))


def convolution_forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    pad: Pair,
    dilation: Pair,
    group: int,
) -> Array:
    outputs, inputs = len(weight) // group, weight.shape[1]
    x_padded = padded(x, pad)
    y: Array | float = 0.0
    for i, j, row, column in taps(x.shape, weight.shape[2:], stride, pad, dilation):
        seen = x_padded[:, :, row, column]
        parts = [
            np.einsum(
                "nchw,kc->nkhw",
                seen[:, g * inputs : (g + 1) * inputs],
                weight[g * outputs : (g + 1) * outputs, :, i, j],
            )
            for g in range(group)
        ]
        y = y + np.concatenate(parts, axis=1)
    return np.asarray(y) + (0 if bias is None else bias[:, None, None])


def convolution_backward(
    x: Array, weight: Array, dy: Array, stride: Pair, pad: Pair, dilation: Pair, group: int
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias."""
    outputs, inputs = len(weight) // group, weight.shape[1]
    x_padded = padded(x, pad)
    dx_padded, dweight = np.zeros_like(x_padded), np.zeros_like(weight)
    for i, j, row, column in taps(x.shape, weight.shape[2:], stride, pad, dilation):
        for g in range(group):
            to, of = slice(g * outputs, (g + 1) * outputs), slice(g * inputs, (g + 1) * inputs)
            seen = x_padded[:, of, row, column]
            dweight[to, :, i, j] = np.einsum("nkhw,nchw->kc", dy[:, to], seen)
            dx_padded[:, of, row, column] += np.einsum(
                "nkhw,kc->nchw", dy[:, to], weight[to, :, i, j]
            )
    height, width = x.shape[2:]
    dx = dx_padded[:, :, pad[0] : pad[0] + height, pad[1] : pad[1] + width]
    return dx, dweight, dy.sum(axis=(0, 2, 3))


CASES = [
    # x shape, outputs, kernel, stride, pad, dilation, group, tolerance
    ((1, 1, 1, 1), 1, (1, 1), (1, 1), (0, 0), (1, 1), 1, 1e-6),
    ((2, 7, 6, 5), 5, (1, 1), (1, 1), (0, 0), (1, 1), 1, 1e-6),
    ((5, 3, 24, 21), 32, (11, 11), (1, 1), (0, 0), (1, 1), 1, 2e-6),
    ((2, 3, 9, 8), 7, (3, 3), (1, 1), (1, 1), (1, 1), 1, 2e-6),
    # Weight gradients that are sums of parts.
    ((2, 4, 35, 37), 6, (3, 3), (1, 1), (1, 1), (1, 1), 2, 2e-6),
    # Too large for the CPU's weight gradient to take all images at a time.
    ((5, 3, 100, 98), 100, (3, 3), (1, 1), (0, 0), (1, 1), 1, 1e-5),
    ((2, 3, 31, 27), 16, (11, 11), (4, 4), (0, 0), (1, 1), 1, 2e-6),
    ((2, 32, 18, 17), 16, (8, 8), (1, 1), (0, 0), (1, 1), 1, 2e-6),
    ((2, 16, 17, 16), 16, (6, 6), (2, 2), (0, 0), (1, 1), 1, 2e-6),
    ((1, 16, 31, 31), 16, (5, 5), (1, 1), (0, 0), (1, 1), 1, 2e-6),
    ((5, 4, 13, 10), 8, (5, 5), (2, 2), (2, 2), (1, 1), 2, 2e-6),
    ((2, 16, 13, 13), 32, (5, 5), (1, 1), (2, 2), (1, 1), 2, 2e-6),
    ((2, 6, 7, 9), 6, (3, 3), (1, 1), (1, 1), (1, 1), 6, 2e-6),
    ((2, 14, 9, 7), 10, (3, 3), (1, 1), (0, 0), (1, 1), 2, 2e-6),
    ((1, 5, 7, 12), 3, (1, 4), (1, 3), (0, 2), (1, 1), 1, 2e-6),
    ((2, 5, 12, 7), 3, (5, 2), (2, 1), (1, 0), (1, 3), 1, 2e-6),
    ((2, 8, 15, 14), 9, (3, 3), (1, 1), (2, 2), (2, 2), 1, 2e-6),
    ((2, 1, 5, 5), 4, (5, 5), (1, 1), (0, 0), (1, 1), 1, 2e-6),
    ((2, 2, 3, 3), 3, (2, 2), (5, 5), (3, 3), (1, 1), 1, 2e-6),
    ((5, 6, 11, 9), 4, (3, 2), (1, 1), (2, 1), (2, 3), 2, 2e-6),
    # Strides and dilations with and without a common divisor: an input misses some taps.
    ((2, 4, 17, 13), 6, (4, 3), (4, 2), (3, 4), (6, 3), 2, 2e-6),
    ((1, 3, 14, 11), 5, (3, 5), (3, 3), (4, 0), (2, 1), 1, 2e-6),
    ((5, 3, 9, 8), 4, (1, 1), (2, 3), (0, 1), (1, 1), 1, 2e-6),
    ((5, 6, 7, 7), 9, (1, 1), (1, 1), (0, 0), (1, 1), 3, 2e-6),
    ((5, 7, 6, 5), 3, (6, 5), (1, 1), (0, 0), (1, 1), 1, 2e-6),
    # More columns than CUDA takes at a time: two images, then one.
    ((3, 16, 90, 90), 3, (8, 8), (1, 1), (0, 0), (1, 1), 1, 1e-5),
]
NAMES = ("shape", "outputs", "kernel", "stride", "pad", "dilation", "group", "tolerance")


def text(
    outputs: int,
    kernel: Pair,
    stride: Pair = (1, 1),
    pad: Pair = (0, 0),
    dilation: Pair = (1, 1),
    group: int = 1,
    bias: bool = True,
) -> str:
    return f"""type: "Convolution" convolution_param {{ num_output: {outputs} group: {group}
      kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} stride_w: {stride[1]}
      pad_h: {pad[0]} pad_w: {pad[1]} dilation: {dilation[0]} dilation: {dilation[1]}
      bias_term: {str(bias).lower()} }}"""


@pytest.mark.parametrize(
    ("stride", "pad", "dilation", "group"),
    [((1, 1), (0, 0), (1, 1), 1), ((2, 1), (1, 2), (1, 2), 2)],
)
def test_reference_backward_equals_central_differences(
    stride: Pair, pad: Pair, dilation: Pair, group: int
) -> None:
    x, weight = random_array((2, 4, 5, 6), 1), random_array((2, 4 // group, 2, 3), 2)
    bias = random_array((2,), 3)

    def forward() -> Array:
        return convolution_forward(x, weight, bias, stride, pad, dilation, group)

    dy = random_array(forward().shape, 4)
    gradients = convolution_backward(x, weight, dy, stride, pad, dilation, group)
    for array, gradient in zip((x, weight, bias), gradients, strict=True):
        assert relative_error(gradient, central_differences(forward, array, dy)) < 1e-6


@pytest.mark.parametrize("bias_term", [True, False])
@pytest.mark.parametrize(NAMES, CASES)
def test_kernel_equals_reference(
    shape: tuple[int, ...],
    outputs: int,
    kernel: Pair,
    stride: Pair,
    pad: Pair,
    dilation: Pair,
    group: int,
    tolerance: float,
    bias_term: bool,
) -> None:
    x = random_array(shape, 1)
    weight = random_array((outputs, shape[1] // group, *kernel), 2)
    bias = random_array((outputs,), 3) if bias_term else None
    y = convolution_forward(x, weight, bias, stride, pad, dilation, group)
    dy = random_array(y.shape, 4)
    dx, dweight, dbias = convolution_backward(x, weight, dy, stride, pad, dilation, group)
    runner = LayerRunner(text(outputs, kernel, stride, pad, dilation, group, bias_term), [x])
    params = [weight] if bias is None else [weight, bias]
    runner.set_params(*params)
    check_layer(runner, [y], [dy], [dx], tolerance, [dweight, dbias][: len(params)])
    assert runner.layer.multiply_adds(runner.bottom, runner.top) == y.size * weight[0].size


def test_results_repeat() -> None:
    x, dy = random_array((5, 6, 27, 26), 1), random_array((5, 4, 14, 13), 2)
    runner = LayerRunner(text(4, (3, 3), (2, 2), (1, 1), group=2), [x])
    runner.set_params(random_array((4, 3, 3, 3), 3), random_array((4,), 4))
    check_repeats(lambda: runner.forward_backward(dy))


@pytest.mark.parametrize("shape", [(5, 3, 60, 70), (5, 6, 9, 8)])
def test_batch_equals_single_images(shape: tuple[int, ...]) -> None:
    x = random_array(shape, 1)
    batch = LayerRunner(text(32, (3, 3)), [x])
    batch.set_params(random_array((32, shape[1], 3, 3), 2), random_array((32,), 3))
    y = batch.forward()[0]
    dy = random_array(y.shape, 4)
    dx = batch.backward(dy)[0]
    single = LayerRunner(text(32, (3, 3)), [x[:1]])
    single.set_params(*(blob.data for blob in batch.layer.blobs))
    for i in range(len(x)):
        single.set_inputs(x[i : i + 1])
        assert relative_error(single.forward()[0], y[i : i + 1]) < 1e-6
        assert relative_error(single.backward(dy[i : i + 1])[0], dx[i : i + 1]) < 1e-6
    for one, all_ in zip(single.param_diffs(), batch.param_diffs(), strict=True):
        assert relative_error(one, all_) < 1e-5


def test_gradients_that_nobody_wants_are_not_written() -> None:
    x, dy = random_array((2, 3, 6, 5), 1), random_array((2, 4, 4, 3), 2)
    runner = LayerRunner(text(4, (3, 3)), [x])
    runner.set_params(random_array((4, 3, 3, 3), 3), random_array((4,), 4))
    runner.forward()
    runner.backward(dy)
    weight_diff, bias_diff = runner.param_diffs()
    runner.layer.propagate_to_params[0] = False
    runner.bottom[0].diff = 7
    assert np.all(runner.backward(dy, propagate_down=[False])[0] == 7)
    assert np.array_equal(runner.param_diffs()[0], weight_diff)
    assert relative_error(runner.param_diffs()[1], 2 * bias_diff) < 1e-6
    runner.layer.propagate_to_params = [True, False]
    runner.backward(dy, propagate_down=[False])
    assert relative_error(runner.param_diffs()[0], 2 * weight_diff) < 1e-6
    assert relative_error(runner.param_diffs()[1], 2 * bias_diff) < 1e-6


def test_several_bottoms_share_the_filters() -> None:
    x = [random_array((2, 3, 6, 5), seed) for seed in (1, 2)]
    weight, bias = random_array((4, 3, 3, 3), 3), random_array((4,), 4)
    dy = [random_array((2, 4, 4, 3), seed) for seed in (5, 6)]
    arguments = ((1, 1), (0, 0), (1, 1), 1)
    ys = [convolution_forward(part, weight, bias, *arguments) for part in x]
    gradients = [
        convolution_backward(part, weight, d, *arguments) for part, d in zip(x, dy, strict=True)
    ]
    runner = LayerRunner(text(4, (3, 3)), x, tops=2)
    runner.set_params(weight, bias)
    sums = [gradients[0][i] + gradients[1][i] for i in (1, 2)]
    check_layer(runner, ys, dy, [dx for dx, _, _ in gradients], 2e-6, sums)


@pytest.mark.cpu_only
def test_results_do_not_change_with_the_number_of_threads() -> None:
    x, dy = random_array((5, 16, 20, 20), 1), random_array((5, 24, 18, 18), 2)
    results = []
    for threads in (1, 2, 3):
        with using_threads(threads):
            runner = LayerRunner(text(24, (3, 3)), [x])
            runner.set_params(random_array((24, 16, 3, 3), 3), random_array((24,), 4))
            results.append([*runner.forward(), *runner.backward(dy), *runner.param_diffs()])
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert relative_error(a, b) < 1e-6


def test_sizes_may_be_given_once_or_for_each_axis() -> None:
    for sizes in (
        "kernel_size: 3 stride: 2 pad: 1",
        "kernel_size: [3, 3] stride: [2, 2] pad: [1, 1]",
    ):
        runner = LayerRunner(
            f'type: "Convolution" convolution_param {{ num_output: 4 {sizes} engine: CAFFE }}',
            [np.zeros((1, 2, 9, 7))],
        )
        assert runner.top[0].shape == (1, 4, 5, 4)
    runner = LayerRunner(
        'type: "Convolution" convolution_param { num_output: 1 kernel_size: [3, 1] axis: -3 }',
        [np.zeros((1, 2, 9, 7))],
    )
    assert runner.top[0].shape == (1, 1, 7, 7)


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("kernel_size: 3", "num_output must be 1 or more"),
        ("num_output: 0 kernel_size: 3", "num_output must be 1 or more"),
        ("num_output: 4", "kernel_size needs one value or two, got 0"),
        ("num_output: 4 kernel_size: [1, 2, 3]", "kernel_size needs one value or two, got 3"),
        ("num_output: 4 kernel_size: 0", "kernel_size must be 1 or more, got 0"),
        ("num_output: 4 kernel_h: 3", "kernel_h, kernel_w must be 1 or more, got 0"),
        (
            "num_output: 4 kernel_size: 3 kernel_h: 3 kernel_w: 3",
            "kernel_size is given, and kernel_h or kernel_w too",
        ),
        ("num_output: 4 kernel_size: 3 stride: 0", "stride must be 1 or more, got 0"),
        (
            "num_output: 4 kernel_size: 3 stride: 1 stride_h: 2",
            "stride is given, and stride_h or stride_w too",
        ),
        ("num_output: 4 kernel_size: 3 pad: 1 pad_w: 2", "pad is given, and pad_h or pad_w too"),
        ("num_output: 4 kernel_size: 3 dilation: 0", "dilation must be 1 or more, got 0"),
        ("num_output: 4 kernel_size: 3 axis: 2", "axis must be 1, that of channels, not 2"),
        (
            "num_output: 4 kernel_size: 3 group: 4",
            "group 4 must divide the bottom's 6 channels and num_output 4",
        ),
        (
            "num_output: 4 kernel_size: 3 group: 3",
            "group 3 must divide the bottom's 6 channels and num_output 4",
        ),
        ("num_output: 4 kernel_size: 3 group: 0", "group 0 must divide"),
        (
            "num_output: 4 kernel_size: [3, 9] pad: 1",
            r"the kernel's 9 columns \(size 9, .*\) exceed the bottom's 8 \(size 6, pad 1\)",
        ),
        (
            "num_output: 4 kernel_size: 3 dilation: 3",
            r"the kernel's 7 rows \(size 3, dilation 3\) exceed the bottom's 5 \(size 5, pad 0\)",
        ),
    ],
)
def test_bad_parameters_are_named(param: str, message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(
            f'type: "Convolution" convolution_param {{ {param} }}', [np.zeros((1, 6, 5, 6))]
        )
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (Convolution): ")
    assert "\n" not in str(caught.value)


def test_bottoms_that_do_not_fit_are_named() -> None:
    with pytest.raises(NetError, match=r"bottom needs shape \(N, C, H, W\), got \(2, 4\)"):
        LayerRunner(text(4, (3, 3)), [np.zeros((2, 4))])
    with pytest.raises(
        NetError, match=r"bottoms differ in shape: .*\(1, 2, 5, 5\) and \(1, 2, 5, 6\)"
    ):
        LayerRunner(text(4, (3, 3)), [np.zeros((1, 2, 5, 5)), np.zeros((1, 2, 5, 6))], tops=2)
    with pytest.raises(NetError, match="2 bottoms need as many tops, not 1"):
        LayerRunner(text(4, (3, 3)), [np.zeros((1, 2, 5, 5)), np.zeros((1, 2, 5, 5))])
    runner = LayerRunner(text(4, (3, 3)), [np.zeros((1, 2, 5, 5))])
    runner.bottom[0].reshape(1, 3, 5, 5)
    with pytest.raises(NetError, match=r"bottom needs 2 channels, got shape \(1, 3, 5, 5\)"):
        runner.layer.reshape(runner.bottom, runner.top)


def test_op_checks_shapes() -> None:
    attrs = _core.ConvolutionAttrs()
    weight, x, y = empty((4, 2, 3, 3), False), empty((1, 2, 5, 5)), empty((1, 4, 3, 3))
    with pytest.raises(ValueError, match=r"convolution_forward: y needs shape \(1, 4, 3, 3\)"):
        _core.convolution_forward(x, weight, None, empty((1, 4, 3, 2)), attrs)
    other = is_cuda(DEVICE)  # the layout that is not this device's
    wanted = "row-major" if other else "channels-last"
    with pytest.raises(ValueError, match=f"convolution_forward: x must lie {wanted} in memory"):
        _core.convolution_forward(empty((1, 2, 5, 5), other), weight, None, y, attrs)
    with pytest.raises(ValueError, match=r"bias needs shape \(4,\), got \(3,\)"):
        _core.convolution_forward(x, weight, empty((3,)), y, attrs)
    with pytest.raises(ValueError, match=r"weight \(4, 2, 3, 3\) does not fit x \(1, 3, 5, 5\)"):
        _core.convolution_forward(empty((1, 3, 5, 5)), weight, None, y, attrs)
    with pytest.raises(ValueError, match=r"convolution_backward: dx needs shape \(1, 2, 5, 5\)"):
        _core.convolution_backward(x, weight, y, empty((1, 2, 5, 4)), None, None, attrs)
    with pytest.raises(ValueError, match=r"dweight needs shape \(4, 2, 3, 3\), got \(4, 2, 3\)"):
        _core.convolution_backward(x, weight, y, None, empty((4, 2, 3)), None, attrs)


@pytest.mark.parametrize("name", ["conv_basic", "conv_nobias", "conv_pad_stride_group"])
def test_golden(golden_dir: Path, name: str) -> None:
    run_golden(golden_dir, name)
