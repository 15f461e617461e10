"""Every op on the smallest shapes that reach every branch of its CUDA kernels.

CI runs this file with sanitizers, under which the emulator takes up to thousands of times longer:
a shape is no larger than a second block, tile or turn of a loop needs, and sizes are odd. What is
marked `races` has threads that work together, or that might write to one place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from cuda_testing import needs_cuda
from layer_testing import random_array
from twin_testing import (
    Laid,
    Layout,
    Shape,
    channels_last,
    check,
    row_major,
    unaligned,
    unset,
    with_gaps,
)

from drml import _core

pytestmark = needs_cuda
races = pytest.mark.races

Pair = tuple[int, int]

# Arrays of any shape ------------------------------------------------------------------------------

LAYOUTS = [
    # Four numbers at a time, two blocks of them, and a rest; or one by one.
    ((1029,), row_major, row_major),
    ((7,), unaligned, row_major),
    # Strides without and with a merged axis, for more than one block.
    ((257, 1), with_gaps, with_gaps),
    ((2, 3, 5, 3), with_gaps, channels_last),
    # Transpositions in long, high and square tiles, with a second tile at the edge.
    pytest.param((2, 3, 18, 18), row_major, channels_last, marks=races),
    pytest.param((2, 3, 18, 18), channels_last, row_major, marks=races),
    pytest.param((1, 33, 3, 11), channels_last, row_major, marks=races),
    pytest.param((1, 2, 3, 1), row_major, channels_last, marks=races),
]


@pytest.mark.parametrize("op", ["copy", "add"])
@pytest.mark.parametrize(("shape", "x_layout", "y_layout"), LAYOUTS)
def test_copy_and_add(op: str, shape: Shape, x_layout: Layout, y_layout: Layout) -> None:
    x, y = random_array(shape, 1), random_array(shape, 2)
    check(op, Laid(x, x_layout), Laid(y, y_layout), exact=True)


ELEMENTS = [((1029,), row_major), ((5,), unaligned), ((2, 3, 5, 3), channels_last)]


@pytest.mark.parametrize(("shape", "layout"), [*ELEMENTS, ((257, 1), with_gaps)])
def test_fill(shape: Shape, layout: Layout) -> None:
    check("fill", Laid(random_array(shape, 1), layout), -1.5, exact=True)


@pytest.mark.parametrize(("shape", "layout"), ELEMENTS)
def test_what_the_solver_computes(shape: Shape, layout: Layout) -> None:
    x, y, z = (Laid(random_array(shape, seed), layout) for seed in (1, 2, 3))
    check("axpby", 2.0, x, 0.5, y)
    check("axpby", 2.0, x, 0.0, Laid(unset(shape), layout))
    for divisor in (3.0, 0.0):
        check("divide", x, np.array([divisor]), Laid(unset(shape), layout))
    if layout is row_major:
        check("divide", x, random_array(shape[:1], 4), Laid(unset(shape), layout))
    for l1 in (False, True):
        check("sgd_update", x, y, z, 0.1, 0.9, 0.5, l1)


@pytest.mark.parametrize(("shape", "layout"), ELEMENTS)
@pytest.mark.parametrize("l1", [False, True])
def test_solver_updates(shape: Shape, layout: Layout, l1: bool) -> None:
    x, y, h, h2 = (Laid(np.abs(random_array(shape, seed)), layout) for seed in (1, 2, 3, 4))
    check("nesterov_update", x, y, h, 0.1, 0.9, 0.5, l1)
    check("adagrad_update", x, y, h, 0.1, 1e-3, 0.5, l1)
    check("rmsprop_update", x, y, h, 0.1, 0.9, 1e-3, 0.5, l1)
    check("adadelta_update", x, y, h, h2, 0.1, 0.9, 1e-3, 0.5, l1)
    check("adam_update", x, y, h, h2, 0.1, 0.9, 0.99, 1e-3, 0.5, l1)


@races
@pytest.mark.parametrize(("shape", "layout"), [*ELEMENTS, ((4101,), row_major)])
def test_sums(shape: Shape, layout: Layout) -> None:
    x = random_array(shape, 1)
    check("sum_squares", Laid(x, layout))
    check("sum_abs", Laid(x, layout))
    for last in (0, np.inf, np.nan):
        x.flat[-1] = last
        check("all_finite", Laid(x, layout), exact=True)


@pytest.mark.parametrize(("shape", "layout"), ELEMENTS)
def test_relu_and_sigmoid(shape: Shape, layout: Layout) -> None:
    x, dy = (Laid(random_array(shape, seed), layout) for seed in (1, 2))
    y = Laid(unset(shape), layout)
    for slope in (0.0, 0.1):
        check("relu_forward", x, y, slope)
        check("relu_backward", x, dy, dy, slope)
    check("sigmoid_forward", x, x)
    check("sigmoid_backward", x, dy, y)


@pytest.mark.parametrize("kind", _core.NeuronKind.__members__.values())
@pytest.mark.parametrize(("shape", "layout"), ELEMENTS)
def test_neuron(shape: Shape, layout: Layout, kind: object) -> None:
    x, y, dy = (Laid(np.abs(random_array(shape, seed)), layout) for seed in (1, 2, 3))
    dx = Laid(unset(shape), layout)
    # Powers are four functions; the others read fewer of the numbers.
    powers = (0, 1, 2, 0.5) if kind == _core.NeuronKind.POWER else (0.5,)
    for power in powers:
        attrs = _core.NeuronAttrs(kind, power, 0.75, 1)
        check("neuron_forward", x, dx, attrs)
        check("neuron_forward", x, x, attrs)
        if kind != _core.NeuronKind.THRESHOLD:
            check("neuron_backward", x, y, dy, dx, attrs)
            check("neuron_backward", x, y, dy, dy, attrs)


@pytest.mark.parametrize("ratio", [0.0, 0.5])
@pytest.mark.parametrize(("shape", "layout"), ELEMENTS)
def test_dropout(shape: Shape, layout: Layout, ratio: float) -> None:
    x = Laid(random_array(shape, 1, away=0.1), layout)
    check("dropout", x, Laid(unset(shape), layout), ratio, 3, 2**40 + 1, exact=True)
    check("dropout", x, x, ratio, 3, 0, exact=True)


@pytest.mark.parametrize("count", [1, 2, 3, 17])
@pytest.mark.parametrize(("shape", "layout"), ELEMENTS)
def test_eltwise(shape: Shape, layout: Layout, count: int) -> None:
    """Of 17 inputs one is left for a second launch. Equal numbers and NaN are among them."""
    arrays = [np.round(random_array(shape, seed, away=0.5), 1) for seed in range(count)]
    x = [Laid(array, layout) for array in arrays]
    dy, y = Laid(random_array(shape, 99), layout), Laid(unset(shape), layout)
    check("eltwise_sum", x, [0.5 - i for i in range(count)], y)
    check("eltwise_product_forward", x, y)
    product = Laid(np.prod(arrays, axis=0), layout)
    indices = sorted({0, count // 2, count - 1})
    for index in indices:
        check("eltwise_product_backward", x, None, dy, index, y)
        check("eltwise_product_backward", x, product, dy, index, y)
    arrays[0].flat[0] = arrays[-1].flat[-1] = np.nan
    check("eltwise_max_forward", x, y, exact=True)
    for index in indices:
        check("eltwise_max_backward", x, dy, index, y, exact=True)


# Convolution and inner product --------------------------------------------------------------------

SAMPLES = [((1, 1), row_major), ((3, 11), row_major), ((2, 3, 5, 3), channels_last)]


class Window(NamedTuple):
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)
    dilation: Pair = (1, 1)
    group: int = 1

    def places(self, x: Shape) -> Pair:
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        room = [x[i + 2] + 2 * self.pad[i] - reach[i] for i in (0, 1)]
        return room[0] // self.stride[0] + 1, room[1] // self.stride[1] + 1


@pytest.mark.parametrize(
    ("shape", "outputs", "window"),
    [
        ((1, 1, 1, 1), 1, Window()),
        ((2, 4, 3, 5), 6, Window(group=2)),
        pytest.param((3, 4, 5, 4), 2, Window((3, 2), (1, 1), (1, 0), group=2), marks=races),
        # Taps that no place of the output sees a number by, and more numbers than a block.
        ((1, 3, 11, 9), 2, Window((5, 3), (2, 1), (2, 1), (1, 2))),
        ((2, 1, 9, 11), 3, Window((3, 3), (2, 3), (2, 2), (2, 2))),
        ((1, 2, 5, 4), 3, Window((1, 1), (2, 2), (1, 0))),
    ],
)
def test_convolution(shape: Shape, outputs: int, window: Window) -> None:
    kernel, stride, pad, dilation, group = window
    attrs = _core.ConvolutionAttrs(stride, pad, dilation, group)
    x, bias = random_array(shape, 1), random_array((outputs,), 3)
    filters = (outputs, shape[1] // group, *kernel)
    weight, dweight = (Laid(random_array(filters, seed), row_major) for seed in (2, 5))
    dy = random_array((shape[0], outputs, *window.places(shape)), 4)
    for given in (bias, None):
        check("convolution_forward", x, weight, given, unset(dy.shape), attrs)
    check("convolution_backward", x, weight, dy, unset(shape), dweight, bias + 1, attrs)


@pytest.mark.parametrize("size", [32, 40])
def test_convolution_weight_gradient_in_parts(size: int) -> None:
    """The inner dimension, all places, is cut into two equal parts without a rest and with one."""
    x, dy = random_array((1, 2, size, size), 1), random_array((1, 3, size, size), 2)
    weight, dweight = (Laid(random_array((3, 2, 1, 1), seed), row_major) for seed in (3, 4))
    attrs = _core.ConvolutionAttrs()
    check("convolution_backward", x, weight, dy, None, dweight, np.ones(3), attrs)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(("shape", "layout"), SAMPLES)
def test_inner_product(shape: Shape, layout: Layout, transpose: bool) -> None:
    inputs, outputs = int(np.prod(shape[1:])), 5
    x, dx = Laid(random_array(shape, 1), layout), Laid(unset(shape), layout)
    weight = random_array((inputs, outputs) if transpose else (outputs, inputs), 2)
    bias, dy = random_array((outputs,), 3), random_array((shape[0], outputs), 4)
    for given in (bias, None):
        check("inner_product_forward", x, weight, given, unset(dy.shape), transpose)
    for gradients in [(dx, weight + 1, bias + 1), (dx, None, None), (None, weight + 1, None)]:
        check("inner_product_backward", x, weight, dy, *gradients, transpose)


# Statistics and parameters ------------------------------------------------------------------------

STATISTICS = [
    ((2, 3, 3, 5), row_major),
    # A channel is summed by one thread for each of two parts of it, or by threads of two blocks.
    ((2, 3, 3, 7), channels_last),
    ((33, 3), row_major),
    ((2, 257), row_major),
    # A channel is summed in parts by two blocks, and its lines are longer than a block takes.
    ((2, 1, 64, 65), row_major),
]


@races
@pytest.mark.parametrize(("shape", "layout"), STATISTICS)
def test_batch_norm(shape: Shape, layout: Layout) -> None:
    x, dy = random_array(shape, 1), random_array(shape, 2)
    statistics = [f(axis=(0, 2, 3)[: x.ndim - 1]) for f in (x.mean, x.var)]
    x, dy, y = (Laid(array, layout) for array in (x, dy, unset(shape)))
    check("batch_norm_forward", x, unset(shape[1:2]), unset(shape[1:2]), y, 1e-5, False)
    check("batch_norm_forward", x, *statistics, x, 1e-5, True)
    check("batch_norm_backward", x, *statistics, dy, dy, 1e-5, False)
    check("batch_norm_backward", x, *statistics, dy, y, 1e-5, True)


@races
@pytest.mark.parametrize(
    ("shape", "layout", "axis", "axes"),
    [
        *((shape, layout, 1, 1) for shape, layout in STATISTICS),
        ((2, 3, 3, 5), row_major, 0, 0),
        ((2, 3, 3, 5), row_major, 0, 4),
        ((2, 3, 3, 5), channels_last, 0, 2),
        ((2, 3, 3, 5), row_major, 1, 2),
        ((2, 3, 3, 5), row_major, 3, 1),
    ],
)
def test_scale(shape: Shape, layout: Layout, axis: int, axes: int) -> None:
    x, dy = Laid(random_array(shape, 1), layout), Laid(random_array(shape, 2), layout)
    scale, bias, dbias = (random_array(shape[axis : axis + axes], seed) for seed in (3, 4, 5))
    # Of four axes they may lie differently, and then are two launches' work.
    scale, dscale = Laid(scale, channels_last), Laid(scale + 1, channels_last)
    y = Laid(unset(shape), layout)
    for lies in (channels_last, row_major):
        check("scale_forward", x, scale, Laid(bias, lies), x, axis)
        check("scale_backward", x, scale, dy, dy, dscale, Laid(dbias, lies), axis)
    check("scale_forward", x, scale, None, y, axis)
    check("scale_backward", x, scale, dy, y, None, None, axis)
    check("scale_backward", x, scale, dy, None, dscale, None, axis)
    check("scale_forward", x, None, Laid(bias, row_major), y, axis)
    check("scale_backward", x, None, dy, y, None, Laid(dbias, row_major), axis)


@races
@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((1, 1), row_major),
        ((257, 3), row_major),
        ((2, 3, 5, 3), channels_last),
        ((3, 2, 33), row_major),
    ],
)
def test_prelu(shape: Shape, layout: Layout) -> None:
    x, dy = Laid(random_array(shape, 1), layout), Laid(random_array(shape, 2), layout)
    for of_slope in ((), shape[1:2]):
        slope, dslope = (np.asarray(random_array(of_slope, seed)) for seed in (3, 4))
        check("prelu_forward", x, slope, Laid(unset(shape), layout))
        check("prelu_forward", x, slope, x)
        check("prelu_backward", x, slope, dy, Laid(unset(shape), layout), dslope)
        check("prelu_backward", x, slope, dy, dy, dslope)
        check("prelu_backward", x, slope, dy, None, dslope)


# Maps ---------------------------------------------------------------------------------------------


@races
@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize(
    ("shape", "windows", "geometry"),
    [
        ((1, 1, 1, 1), (1, 1), ((1, 1), (1, 1), (0, 0))),
        ((3, 5, 5, 7), (3, 4), ((2, 2), (2, 2), (0, 0))),
        ((2, 3, 5, 9), (3, 5), ((3, 3), (2, 2), (1, 1))),
        ((1, 2, 13, 11), (13, 11), ((3, 3), (1, 1), (1, 1))),
        ((1, 3, 7, 8), (3, 2), ((1, 2), (3, 5), (0, 1))),
        ((1, 2, 3, 5), (1, 1), ((3, 5), (1, 1), (0, 0))),
    ],
)
def test_pooling(shape: Shape, windows: Pair, geometry: tuple[Pair, ...], largest: bool) -> None:
    """Maps hold equal numbers, and one NaN for MAX; sums of whole numbers are exact."""
    x, dy = (np.round(random_array(size, 1)) for size in (shape, (*shape[:2], *windows)))
    if largest:
        x.flat[x.size // 2] = np.nan
    attrs = _core.PoolingAttrs(largest, *geometry)
    check("pooling_forward", x, unset(dy.shape), attrs, exact=largest)
    check("pooling_backward", x, dy, unset(shape), attrs, exact=largest)


@races
@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize(
    ("shape", "size", "beta"),
    [
        ((1, 1, 1, 1), 5, 0.75),
        # One channel more than a thread walks, and one pixel more than a block has threads.
        ((2, 17, 3, 1), 5, 0.75),
        ((1, 3, 257, 1), 5, 0.5),
        ((3, 5, 5, 7), 7, 0.6),
    ],
)
def test_lrn(shape: Shape, size: int, beta: float, within: bool) -> None:
    x, dy = random_array(shape, 1), random_array(shape, 2)
    attrs = _core.LrnAttrs(size, 0.5, beta, 2.0, within)
    check("lrn_forward", x, unset(shape), attrs)
    check("lrn_backward", x, dy, unset(shape), attrs)


GRIDS = [
    ((1, 1, 1, 1), (1, 1), 1),
    # More than one strip, and rows that two threads of a column share.
    ((2, 3, 13, 10), (1, 2), 3),
    # Patches of two tiles across, or down; the batch in two parts.
    ((1, 2, 6, 21), (2, 1), 3),
    ((5, 1, 21, 3), (1, 1), 5),
    # More output channels than a block takes.
    ((1, 33, 3, 5), (1, 1), 1),
    # More pixels than the threads that take statistics.
    ((1, 1, 23, 23), (1, 1), 1),
    # Weights that do not fit in shared memory.
    ((2, 13, 5, 3), (1, 1), 5),
]
LARGE_GRIDS = [
    ((1, 37, 3, 3), (1, 1), 3),
    # Kernels without code of their own, which launch a block per tap; seven images in six parts.
    ((2, 3, 5, 3), (1, 1), 7),
    ((7, 7, 3, 5), (1, 1), 7),
    ((1, 3, 3, 3), (1, 1), 11),
]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("shape", "grid", "kernel"),
    [*(pytest.param(*case, marks=races) for case in GRIDS), *LARGE_GRIDS],
)
def test_region(shape: Shape, grid: Pair, kernel: int, frozen: bool) -> None:
    count, channels = grid[0] * grid[1], shape[1]
    x, dy = random_array(shape, 1), random_array(shape, 2)
    weight = random_array((count, channels, channels, kernel, kernel), 3) / kernel / channels**0.5
    bias, dbias = (random_array((count, channels), seed) for seed in (4, 5))
    split = x.reshape(*shape[:2], grid[0], shape[2] // grid[0], grid[1], shape[3] // grid[1])
    by_channel = [f(axis=(0, 3, 5)).reshape(channels, count) for f in (split.mean, split.var)]
    mean, variance = (np.array(statistic.T) for statistic in by_channel)
    statistics = (mean, variance) if frozen else (unset(bias.shape), unset(bias.shape))
    attrs = _core.RegionAttrs(grid, kernel // 2, 1e-2, frozen)
    check("region_forward", x, weight, bias, *statistics, unset(shape), attrs)
    check("region_backward", x, weight, mean, variance, dy, unset(shape), weight + 1, dbias, attrs)


@races
@pytest.mark.parametrize("bias_per_location", [False, True])
@pytest.mark.parametrize(
    ("shape", "outputs", "window"),
    [
        ((1, 1, 1, 1), 1, Window()),
        # Windows that meet, so that dx is added up color by color; padding and groups.
        ((2, 4, 3, 4), 6, Window((3, 2), (1, 1), (1, 0), group=2)),
        ((3, 3, 5, 5), 2, Window((3, 3), (2, 3), (1, 2))),
        # One output and one number of a filter more than a block takes.
        ((1, 257, 1, 2), 17, Window()),
        # Numbers of one channel before and after the 256th of a filter; more of them than 256.
        ((1, 8, 7, 7), 1, Window((6, 6))),
        ((1, 2, 18, 17), 1, Window((17, 16))),
        # One image more than a block takes: forward, of dx and of dweight.
        ((33, 2, 1, 1), 1, Window()),
        ((65, 1, 2, 1), 3, Window((2, 1))),
        ((129, 1, 1, 1), 1, Window()),
    ],
)
def test_local(shape: Shape, outputs: int, window: Window, bias_per_location: bool) -> None:
    kernel, stride, pad, _, group = window
    attrs = _core.LocalAttrs(stride, pad, group)
    places = window.places(shape)
    x, dy = random_array(shape, 1), random_array((shape[0], outputs, *places), 4)
    biases = (places[0] * places[1], outputs)
    weight = random_array((*biases, shape[1] // group, *kernel), 2)
    bias = random_array(biases if bias_per_location else (outputs,), 3)
    for given in (bias, None):
        check("local_forward", x, weight, given, unset(dy.shape), attrs)
    check("local_backward", x, weight, dy, unset(shape), weight + 1, bias + 1, attrs)


@races
def test_local_bias_of_many_locations() -> None:
    """They are more than the threads that add them up."""
    x, weight = random_array((1, 1, 1, 257), 1), random_array((257, 2, 1, 1, 1), 2)
    dy, attrs = random_array((1, 2, 1, 257), 3), _core.LocalAttrs()
    for shape in [(2,), (257, 2)]:
        check("local_backward", x, weight, dy, None, None, random_array(shape, 4), attrs)


@pytest.mark.parametrize("alone", range(3))
def test_a_gradient_alone(alone: int) -> None:
    shape = (2, 3, 2, 5)
    x, dy = random_array(shape, 1), random_array(shape, 2)
    statistics = np.zeros((1, 3)), np.ones((1, 3))
    region = _core.RegionAttrs((1, 1), 0, 1e-2, False)
    for op, filters, more, bias, attrs in [
        ("convolution_backward", (3, 3, 1, 1), (), (3,), _core.ConvolutionAttrs()),
        ("local_backward", (10, 3, 3, 1, 1), (), (10, 3), _core.LocalAttrs()),
        ("region_backward", (1, 3, 3, 1, 1), statistics, (1, 3), region),
    ]:
        weight, dweight = (Laid(random_array(filters, seed), row_major) for seed in (3, 4))
        gradients: list[object] = [None, None, None]
        gradients[alone] = (unset(shape), dweight, np.ones(bias))[alone]
        check(op, x, weight, *more, dy, *gradients, attrs)
