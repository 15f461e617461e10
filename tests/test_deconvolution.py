"""Deconvolution against a plain reference."""

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

Pair = tuple[int, int]
Shape = tuple[int, ...]


def places(size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> list:
    """For each tap (i, j) of the kernel, the slices of the padded top that the maps add to."""
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


def padded_size(size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Pair:
    rows, columns = (
        stride[axis] * (size[axis] - 1) + dilation[axis] * (kernel[axis] - 1) + 1 for axis in (0, 1)
    )
    return rows, columns


def grouped(weight: Array, group: int) -> list[tuple[slice, slice, Array]]:
    """For each group its channels of x, its channels of y, and its filters."""
    inputs, outputs = len(weight) // group, weight.shape[1]
    return [
        (
            slice(g * inputs, (g + 1) * inputs),
            slice(g * outputs, (g + 1) * outputs),
            weight[g * inputs : (g + 1) * inputs],
        )
        for g in range(group)
    ]


def deconvolution_forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    pad: Pair,
    dilation: Pair,
    group: int,
) -> Array:
    kernel = weight.shape[2:]
    rows, columns = padded_size(x.shape[2:], kernel, stride, dilation)
    y = np.zeros((len(x), weight.shape[1] * group, rows, columns))
    for i, j, row, column in places(x.shape[2:], kernel, stride, dilation):
        for of, to, filters in grouped(weight, group):
            y[:, to, row, column] += np.einsum("nchw,ck->nkhw", x[:, of], filters[:, :, i, j])
    y = y[:, :, pad[0] : rows - pad[0], pad[1] : columns - pad[1]]
    return y + (0 if bias is None else bias[:, None, None])


def deconvolution_backward(
    x: Array, weight: Array, dy: Array, stride: Pair, pad: Pair, dilation: Pair, group: int
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias."""
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    padded = np.pad(dy, ((0, 0), (0, 0), (pad[0], pad[0]), (pad[1], pad[1])))
    for i, j, row, column in places(x.shape[2:], weight.shape[2:], stride, dilation):
        seen = padded[:, :, row, column]
        for of, to, filters in grouped(weight, group):
            dx[:, of] += np.einsum("nkhw,ck->nchw", seen[:, to], filters[:, :, i, j])
            dweight[of, :, i, j] = np.einsum("nchw,nkhw->ck", x[:, of], seen[:, to])
    return dx, dweight, dy.sum(axis=(0, 2, 3))


CASES = [
    # x shape, outputs, kernel, stride, pad, dilation, group, tolerance
    ((1, 1, 1, 1), 1, (1, 1), (1, 1), (0, 0), (1, 1), 1, 1e-6),
    ((2, 7, 6, 5), 5, (1, 1), (1, 1), (0, 0), (1, 1), 1, 2e-6),
    ((2, 3, 9, 8), 7, (3, 3), (1, 1), (1, 1), (1, 1), 1, 2e-6),
    ((5, 4, 7, 6), 6, (4, 4), (2, 2), (1, 1), (1, 1), 1, 2e-6),
    ((2, 4, 5, 6), 6, (4, 3), (3, 2), (2, 0), (1, 1), 2, 2e-6),
    ((2, 6, 5, 7), 6, (4, 4), (2, 2), (1, 1), (1, 1), 6, 2e-6),
    ((1, 5, 4, 3), 3, (2, 3), (1, 3), (0, 2), (3, 2), 1, 2e-6),
    ((2, 2, 3, 3), 3, (2, 2), (5, 5), (0, 0), (1, 1), 1, 2e-6),
    ((1, 3, 12, 12), 3, (16, 16), (8, 8), (4, 4), (1, 1), 3, 2e-6),
    ((5, 16, 13, 13), 32, (5, 5), (2, 2), (2, 2), (1, 1), 2, 2e-6),
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
    return f"""type: "Deconvolution" convolution_param {{ num_output: {outputs} group: {group}
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
    x, weight = random_array((2, 4, 3, 4), 1), random_array((4, 2, 2, 3), 2)
    bias = random_array((2 * group,), 3)

    def forward() -> Array:
        return deconvolution_forward(x, weight, bias, stride, pad, dilation, group)

    dy = random_array(forward().shape, 4)
    gradients = deconvolution_backward(x, weight, dy, stride, pad, dilation, group)
    for array, gradient in zip((x, weight, bias), gradients, strict=True):
        assert relative_error(gradient, central_differences(forward, array, dy)) < 1e-6


@pytest.mark.parametrize("bias_term", [True, False])
@pytest.mark.parametrize(NAMES, CASES)
def test_kernel_equals_reference(
    shape: Shape,
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
    weight = random_array((shape[1], outputs // group, *kernel), 2)
    bias = random_array((outputs,), 3) if bias_term else None
    y = deconvolution_forward(x, weight, bias, stride, pad, dilation, group)
    dy = random_array(y.shape, 4)
    dx, dweight, dbias = deconvolution_backward(x, weight, dy, stride, pad, dilation, group)
    runner = LayerRunner(text(outputs, kernel, stride, pad, dilation, group, bias_term), [x])
    params = [weight] if bias is None else [weight, bias]
    assert [blob.shape for blob in runner.layer.blobs] == [param.shape for param in params]
    runner.set_params(*params)
    check_layer(runner, [y], [dy], [dx], tolerance, [dweight, dbias][: len(params)])
    assert runner.layer.multiply_adds(runner.bottom, runner.top) == x.size * weight[0].size


def test_bilinear_filters_enlarge_maps() -> None:
    """Inside, the straight lines of a ramp stay straight lines, half as steep."""
    ramp = np.arange(6.0)[:, None] + 10 * np.arange(5.0)
    runner = LayerRunner(
        """type: "Deconvolution" convolution_param { num_output: 2 group: 2 kernel_size: 4 stride: 2
          pad: 1 bias_term: false weight_filler { type: "bilinear" } }""",
        [np.stack([ramp, 3 * ramp])[None]],
    )
    y = runner.forward()[0]
    assert y.shape == (1, 2, 12, 10)
    wanted = (np.arange(12)[:, None] - 0.5) / 2 + 10 * (np.arange(10) - 0.5) / 2
    assert relative_error(y[0, 0, 1:-1, 1:-1], wanted[1:-1, 1:-1]) < 1e-6
    assert relative_error(y[0, 1, 1:-1, 1:-1], 3 * wanted[1:-1, 1:-1]) < 1e-6


def test_results_repeat() -> None:
    x, dy = random_array((5, 6, 7, 6), 1), random_array((5, 4, 13, 11), 2)
    runner = LayerRunner(text(4, (3, 3), (2, 2), (1, 1), group=2), [x])
    runner.set_params(random_array((6, 2, 3, 3), 3), random_array((4,), 4))
    check_repeats(lambda: runner.forward_backward(dy))


def test_batch_equals_single_images() -> None:
    x = random_array((5, 6, 7, 6), 1)
    params = random_array((6, 4, 3, 3), 2), random_array((4,), 3)
    batch = LayerRunner(text(4, (3, 3), (2, 2)), [x])
    batch.set_params(*params)
    y = batch.forward()[0]
    dy = random_array(y.shape, 4)
    dx = batch.backward(dy)[0]
    single = LayerRunner(text(4, (3, 3), (2, 2)), [x[:1]])
    single.set_params(*params)
    for i in range(len(x)):
        single.set_inputs(x[i : i + 1])
        assert relative_error(single.forward()[0], y[i : i + 1]) < 1e-6
        assert relative_error(single.backward(dy[i : i + 1])[0], dx[i : i + 1]) < 1e-6
    for one, all_ in zip(single.param_diffs(), batch.param_diffs(), strict=True):
        assert relative_error(one, all_) < 1e-5


def test_empty_batch() -> None:
    runner = LayerRunner(text(4, (3, 3), (2, 2)), [np.zeros((0, 3, 4, 5))])
    y, dx, dweight, dbias = runner.forward_backward(np.zeros((0, 4, 9, 11)))
    assert (y.shape, dx.shape) == ((0, 4, 9, 11), (0, 3, 4, 5))
    assert not dweight.any()
    assert not dbias.any()


def test_gradients_that_nobody_wants_are_not_written() -> None:
    x, dy = random_array((2, 3, 4, 3), 1), random_array((2, 4, 6, 5), 2)
    runner = LayerRunner(text(4, (3, 3)), [x])
    runner.set_params(random_array((3, 4, 3, 3), 3), random_array((4,), 4))
    runner.forward()
    runner.layer.propagate_to_params = [False, False]
    runner.bottom[0].diff = 7
    assert np.all(runner.backward(dy, propagate_down=[False])[0] == 7)
    assert not any(diff.any() for diff in runner.param_diffs())


def test_several_bottoms_share_the_filters() -> None:
    x = [random_array((2, 3, 4, 3), seed) for seed in (1, 2)]
    weight, bias = random_array((3, 4, 3, 3), 3), random_array((4,), 4)
    dy = [random_array((2, 4, 6, 5), seed) for seed in (5, 6)]
    arguments = ((1, 1), (0, 0), (1, 1), 1)
    ys = [deconvolution_forward(part, weight, bias, *arguments) for part in x]
    gradients = [
        deconvolution_backward(part, weight, d, *arguments) for part, d in zip(x, dy, strict=True)
    ]
    runner = LayerRunner(text(4, (3, 3)), x, tops=2)
    runner.set_params(weight, bias)
    sums = [gradients[0][i] + gradients[1][i] for i in (1, 2)]
    check_layer(runner, ys, dy, [dx for dx, _, _ in gradients], 2e-6, sums)


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("kernel_size: 3", "num_output must be 1 or more"),
        ("num_output: 4 kernel_size: 0", "kernel_size must be 1 or more, got 0"),
        (
            "num_output: 4 kernel_size: 3 group: 4",
            "group 4 must divide the bottom's 6 channels and num_output 4",
        ),
        ("num_output: 4 kernel_size: 3 pad: 4", "pad 4 leaves nothing of the top's 7 rows"),
        (
            'num_output: 4 kernel_size: [3, 2] weight_filler { type: "bilinear" }',
            "bilinear filler needs square 4-D weights",
        ),
    ],
)
def test_bad_parameters_are_named(param: str, message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(
            f'type: "Deconvolution" convolution_param {{ {param} }}', [np.zeros((1, 6, 5, 6))]
        )
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (Deconvolution): ")


def test_bottom_without_pixels_is_named() -> None:
    with pytest.raises(NetError, match="leaves nothing of the top's 2 rows"):
        LayerRunner(text(4, (3, 3)), [np.zeros((1, 6, 0, 6))])
