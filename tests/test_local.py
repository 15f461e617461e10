"""The locally connected layer against a plain reference; `git ls-files '*local*'` lists it all.

Reference at one location: y = its filters times the window of x that it sees + bias.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from cli_testing import ROOT
from layer_testing import (
    Array,
    LayerRunner,
    central_differences,
    check_layer,
    check_repeats,
    check_under,
    empty,
    random_array,
    relative_error,
    tensor,
    using_threads,
)

from drml import _core
from drml.errors import DrmlError, NetError
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net
from drml.summary import summarize

Pair = tuple[int, int]


def size_of(shape: tuple[int, ...], kernel: Pair, stride: Pair, pad: Pair) -> Pair:
    """Rows and columns of y."""
    rows, columns = (
        (shape[axis + 2] + 2 * pad[axis] - kernel[axis]) // stride[axis] + 1 for axis in (0, 1)
    )
    return rows, columns


def windows(padded: Array, size: Pair, kernel: Pair, stride: Pair) -> Iterator[tuple]:
    """Number, row and column of each location, and the view of the padded map that it sees."""
    for location, (row, column) in enumerate(np.ndindex(size)):
        top, left = row * stride[0], column * stride[1]
        yield location, row, column, padded[:, :, top : top + kernel[0], left : left + kernel[1]]


def pad_map(x: Array, pad: Pair) -> Array:
    return np.pad(x, ((0, 0), (0, 0), (pad[0], pad[0]), (pad[1], pad[1])))


def groups(weight: Array, group: int) -> list[tuple[slice, slice]]:
    """Outputs and inputs of each group."""
    outputs, inputs = weight.shape[1] // group, weight.shape[2]
    return [
        (slice(g * outputs, (g + 1) * outputs), slice(g * inputs, (g + 1) * inputs))
        for g in range(group)
    ]


def local_forward(
    x: Array, weight: Array, bias: Array | None, stride: Pair, pad: Pair, group: int
) -> Array:
    kernel = weight.shape[3:]
    size = size_of(x.shape, kernel, stride, pad)
    y = np.zeros((len(x), weight.shape[1], *size))
    for location, row, column, window in windows(pad_map(x, pad), size, kernel, stride):
        for to, of in groups(weight, group):
            y[:, to, row, column] = np.einsum("nchw,kchw->nk", window[:, of], weight[location, to])
    if bias is None:
        return y
    per_location = np.broadcast_to(bias, (size[0] * size[1], weight.shape[1]))
    return y + per_location.T.reshape(-1, *size)


def local_backward(
    x: Array, weight: Array, dy: Array, stride: Pair, pad: Pair, group: int
) -> tuple[Array, Array, Array]:
    """dx, dweight, and dbias as that of one bias per location."""
    kernel = weight.shape[3:]
    x_padded = pad_map(x, pad)
    dx_padded, dweight = np.zeros_like(x_padded), np.zeros_like(weight)
    size = dy.shape[2:]
    seen = windows(x_padded, size, kernel, stride)
    added = windows(dx_padded, size, kernel, stride)
    for (location, row, column, window), (*_, dwindow) in zip(seen, added, strict=True):
        for to, of in groups(weight, group):
            g = dy[:, to, row, column]
            dweight[location, to] = np.einsum("nk,nchw->kchw", g, window[:, of])
            dwindow[:, of] += np.einsum("nk,kchw->nchw", g, weight[location, to])
    height, width = x.shape[2:]
    dx = dx_padded[:, :, pad[0] : pad[0] + height, pad[1] : pad[1] + width]
    dbias = dy.sum(axis=0).reshape(dy.shape[1], -1).T
    return dx, dweight, dbias


CASES = [
    # x shape, outputs, kernel, stride, pad, group
    ((1, 1, 1, 1), 1, (1, 1), (1, 1), (0, 0), 1),
    ((2, 7, 6, 5), 5, (1, 1), (1, 1), (0, 0), 1),
    ((5, 3, 9, 8), 7, (3, 3), (1, 1), (1, 1), 1),
    # Those of LCN, on smaller maps.
    ((2, 16, 14, 13), 16, (8, 8), (1, 1), (0, 0), 1),
    ((5, 16, 17, 16), 16, (6, 6), (2, 2), (0, 0), 1),
    ((1, 16, 12, 11), 16, (5, 5), (1, 1), (0, 0), 1),
    ((5, 4, 13, 10), 8, (5, 5), (2, 2), (2, 2), 2),
    ((2, 6, 7, 9), 6, (3, 3), (1, 1), (1, 1), 6),
    ((2, 10, 5, 6), 34, (3, 2), (1, 1), (0, 0), 2),
    ((1, 5, 7, 12), 3, (1, 4), (1, 3), (0, 2), 1),
    ((2, 5, 12, 7), 3, (5, 2), (2, 1), (1, 0), 1),
    # One location.
    ((2, 3, 5, 5), 4, (5, 5), (1, 1), (0, 0), 1),
    # Steps beyond the kernel, and windows of nothing but padding.
    ((2, 2, 3, 3), 3, (2, 2), (5, 5), (3, 3), 1),
    # Batches that are cut.
    ((40, 2, 5, 4), 3, (2, 2), (1, 1), (0, 0), 1),
    ((131, 2, 4, 4), 5, (3, 2), (1, 1), (0, 0), 1),
    # A filter that no GPU's shared memory holds.
    ((3, 130, 12, 10), 3, (12, 9), (1, 1), (0, 0), 1),
]
NAMES = ("shape", "outputs", "kernel", "stride", "pad", "group")


def text(
    outputs: int,
    kernel: Pair,
    stride: Pair = (1, 1),
    pad: Pair = (0, 0),
    group: int = 1,
    bias: str = "channel",
) -> str:
    return f"""type: "LocallyConnected" convolution_param {{ num_output: {outputs} group: {group}
      kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} stride_w: {stride[1]}
      pad_h: {pad[0]} pad_w: {pad[1]} bias_term: {str(bias != "none").lower()} }}
      locally_connected_param {{ bias_per_location: {str(bias == "location").lower()} }}"""


def draw_bias(kind: str, locations: int, outputs: int) -> Array | None:
    shapes = {"channel": (outputs,), "location": (locations, outputs)}
    return random_array(shapes[kind], 3) if kind in shapes else None


@pytest.mark.parametrize("bias", ["channel", "location"])
@pytest.mark.parametrize(("stride", "pad", "group"), [((1, 1), (0, 0), 1), ((2, 1), (1, 2), 2)])
def test_reference_backward_equals_central_differences(
    bias: str, stride: Pair, pad: Pair, group: int
) -> None:
    x = random_array((2, 4, 4, 5), 1)
    rows, columns = size_of(x.shape, (2, 3), stride, pad)
    weight = random_array((rows * columns, 2, 4 // group, 2, 3), 2)
    biases = draw_bias(bias, rows * columns, 2)
    assert biases is not None

    def forward() -> Array:
        return local_forward(x, weight, biases, stride, pad, group)

    dy = random_array((2, 2, rows, columns), 4)
    dx, dweight, dbias = local_backward(x, weight, dy, stride, pad, group)
    gradients = (dx, dweight, dbias if bias == "location" else dbias.sum(axis=0))
    for array, gradient in zip((x, weight, biases), gradients, strict=True):
        assert relative_error(gradient, central_differences(forward, array, dy)) < 1e-6


@pytest.mark.parametrize("bias", ["channel", "location", "none"])
@pytest.mark.parametrize(NAMES, CASES)
def test_kernel_equals_reference(
    shape: tuple[int, ...],
    outputs: int,
    kernel: Pair,
    stride: Pair,
    pad: Pair,
    group: int,
    bias: str,
) -> None:
    x = random_array(shape, 1)
    rows, columns = size_of(shape, kernel, stride, pad)
    weight = random_array((rows * columns, outputs, shape[1] // group, *kernel), 2)
    biases = draw_bias(bias, rows * columns, outputs)
    y = local_forward(x, weight, biases, stride, pad, group)
    dy = random_array(y.shape, 4)
    dx, dweight, dbias = local_backward(x, weight, dy, stride, pad, group)
    runner = LayerRunner(text(outputs, kernel, stride, pad, group, bias), [x])
    runner.set_params(weight, *([] if biases is None else [biases]))
    gradients = [dweight, dbias if bias == "location" else dbias.sum(axis=0)]
    check_layer(runner, [y], [dy], [dx], 1e-5, gradients[: len(runner.layer.blobs)])
    assert runner.layer.multiply_adds(runner.bottom, runner.top) == y.size * weight[0, 0].size


@pytest.mark.parametrize("images", [0, 1, 19])
def test_a_gradient_is_overwritten_whatever_it_held(images: int) -> None:
    """19 images are several of the kernels' blocks."""
    x, weight = random_array((images, 4, 6, 5), 1), random_array((4 * 3, 6, 2, 3, 3), 2)
    dy = random_array((images, 6, 4, 3), 3)
    wanted = local_backward(x, weight, dy, (1, 1), (0, 0), 2)[1]
    dweight = tensor(np.full(weight.shape, np.nan, np.float32))
    attrs = _core.LocalAttrs(stride=(1, 1), pad=(0, 0), group=2)
    arguments = tensor(x), tensor(weight), tensor(dy), None, dweight, None, attrs
    _core.local_backward(*arguments, True)
    np.testing.assert_allclose(dweight.get(), wanted, rtol=1e-5, atol=1e-5)
    _core.local_backward(*arguments)
    np.testing.assert_allclose(dweight.get(), 2 * wanted, rtol=1e-5, atol=2e-5)


def test_bottoms_that_share_filters_add_to_what_the_first_has_written() -> None:
    x = random_array((2, 4, 9, 8), 1)
    runner = make_runner(x)
    dy = random_array(runner.top[0].shape, 2)
    runner.forward_backward(dy)
    once = runner.param_diffs()[0].copy()
    pair = LayerRunner(text(6, (3, 2), (2, 1), (1, 0), group=2, bias="channel"), [x, x], tops=2)
    pair.set_params(*(blob.data for blob in runner.layer.blobs))
    pair.forward()
    for top in pair.top:
        top.diff = dy
    pair.layer.blobs[0].diff = 7
    pair.layer.blobs[0].clear_diff_later()
    pair.layer.backward(pair.top, [True, True], pair.bottom)
    assert relative_error(pair.layer.blobs[0].diff, 2 * once) < 1e-6


@pytest.mark.cpu_only
@pytest.mark.parametrize("isa", ["portable", "avx2"])
def test_every_instruction_set_passes(isa: str) -> None:
    """The cases above once more in a process that is held to a lesser instruction set."""
    check_under(isa, __file__, "kernel_equals_reference")


def make_runner(x: Array, bias: str = "channel") -> LayerRunner:
    """A layer of 3 x 2 windows, stride (2, 1), pad (1, 0), two groups, with random parameters."""
    runner = LayerRunner(text(6, (3, 2), (2, 1), (1, 0), group=2, bias=bias), [x])
    runner.set_params(
        *(random_array(blob.shape, 5 + i) for i, blob in enumerate(runner.layer.blobs))
    )
    return runner


@pytest.mark.parametrize("bias", ["channel", "location"])
def test_results_repeat(bias: str) -> None:
    x = random_array((5, 4, 9, 8), 1)
    runner = make_runner(x, bias)
    dy = random_array(runner.top[0].shape, 2)
    check_repeats(lambda: runner.forward_backward(dy))


def test_results_repeat_for_long_filters() -> None:
    """Filters of 288 numbers, which on CUDA are more than a block takes at a time."""
    runner = LayerRunner(text(3, (6, 6), bias="none"), [random_array((2, 8, 9, 9), 1)])
    runner.set_params(random_array((16, 3, 8, 6, 6), 3))
    dy = random_array(runner.top[0].shape, 2)
    check_repeats(lambda: runner.forward_backward(dy))


@pytest.mark.cpu_only
def test_results_do_not_depend_on_threads() -> None:
    x = random_array((5, 4, 19, 18), 1)
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            runner = make_runner(x)
            dy = random_array(runner.top[0].shape, 2)
            results.append([*runner.forward(), *runner.backward(dy), *runner.param_diffs()])
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert np.array_equal(a, b)


def test_batch_of_five_equals_five_single_images() -> None:
    x = random_array((5, 4, 9, 8), 1)
    batch, single = make_runner(x), make_runner(x[:1])
    y = batch.forward()[0]
    dy = random_array(y.shape, 2)
    dx = batch.backward(dy)[0]
    for i in range(len(x)):
        single.set_inputs(x[i : i + 1])
        assert relative_error(single.forward()[0], y[i : i + 1]) < 1e-6
        assert relative_error(single.backward(dy[i : i + 1])[0], dx[i : i + 1]) < 1e-6
    for one, all_ in zip(single.param_diffs(), batch.param_diffs(), strict=True):
        assert relative_error(one, all_) < 1e-5


def test_tied_filters_make_a_convolution() -> None:
    x = random_array((2, 4, 9, 8), 1)
    sizes = "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0"
    convolution = LayerRunner(
        f'type: "Convolution" convolution_param {{ num_output: 6 group: 2 {sizes} }}', [x]
    )
    weight, bias = random_array((6, 2, 3, 2), 2), random_array((6,), 3)
    convolution.set_params(weight, bias)
    local = make_runner(x)
    local.set_params(np.broadcast_to(weight, local.layer.blobs[0].shape), bias)
    y = convolution.forward()[0]
    dy = random_array(y.shape, 4)
    assert relative_error(local.forward()[0], y) < 1e-5
    assert relative_error(local.backward(dy)[0], convolution.backward(dy)[0]) < 1e-5
    dweight, dbias = local.param_diffs()
    for got, wanted in zip((dweight.sum(axis=0), dbias), convolution.param_diffs(), strict=True):
        assert relative_error(got, wanted) < 1e-5


@pytest.mark.parametrize("bias", ["channel", "location"])
def test_gradients_that_nobody_wants_are_not_written(bias: str) -> None:
    runner = make_runner(random_array((2, 4, 7, 6), 1), bias)
    dy = random_array(runner.top[0].shape, 2)
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
    weight, bias = random_array((12, 4, 3, 3, 3), 3), random_array((4,), 4)
    dy = [random_array((2, 4, 4, 3), seed) for seed in (5, 6)]
    arguments = ((1, 1), (0, 0), 1)
    ys = [local_forward(part, weight, bias, *arguments) for part in x]
    gradients = [local_backward(part, weight, d, *arguments) for part, d in zip(x, dy, strict=True)]
    runner = LayerRunner(text(4, (3, 3)), x, tops=2)
    runner.set_params(weight, bias)
    dweight, dbias = (gradients[0][i] + gradients[1][i] for i in (1, 2))
    check_layer(runner, ys, dy, [g[0] for g in gradients], 1e-5, [dweight, dbias.sum(axis=0)])


def test_an_empty_batch_is_no_work() -> None:
    runner = make_runner(np.zeros((0, 4, 7, 6)))
    assert runner.forward()[0].shape == (0, 6, 4, 5)
    assert runner.backward(np.zeros((0, 6, 4, 5)))[0].shape == (0, 4, 7, 6)
    assert not any(diff.any() for diff in runner.param_diffs())


def filled(filler: str, channels: int = 50, kernel: int = 2) -> Array:
    """Weights of 10 outputs at every location of an 8 x 8 map."""
    runner = LayerRunner(
        'type: "LocallyConnected" convolution_param { num_output: 10 '
        f"kernel_size: {kernel} weight_filler {{ {filler} }} }}",
        [np.zeros((1, channels, 8, 8))],
    )
    return runner.layer.blobs[0].data


@pytest.mark.parametrize(
    ("filler", "deviation"),
    [
        ('type: "xavier"', np.sqrt(1 / 200)),
        ('type: "msra"', np.sqrt(2 / 200)),
        ('type: "xavier" variance_norm: FAN_OUT', np.sqrt(1 / 40)),
        ('type: "gaussian" std: 0.1', 0.1),
    ],
)
def test_fillers_see_the_filters_of_one_location(filler: str, deviation: float) -> None:
    """Fan-in 50 x 2 x 2, fan-out 10 x 2 x 2."""
    assert abs(filled(filler).std() / deviation - 1) < 0.02


def test_fillers_of_single_filters_fill_those_of_every_location() -> None:
    assert np.allclose(filled('type: "positive_unitball"').sum(axis=(2, 3, 4)), 1)
    kept = filled('type: "gaussian" std: 1 sparse: 4') != 0
    assert abs(kept.mean() - 4 / 10) < 0.01
    bilinear = filled('type: "bilinear"', channels=1, kernel=4)
    ramp = np.array([0.25, 0.75, 0.75, 0.25])
    assert np.allclose(bilinear, np.outer(ramp, ramp))


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("kernel_size: 3", "num_output must be 1 or more"),
        ("num_output: 4 kernel_size: 3 stride: 0", "stride must be 1 or more, got 0"),
        ("num_output: 4 kernel_size: 3 axis: 2", "axis must be 1, that of channels, not 2"),
        (
            "num_output: 4 kernel_size: [3, 9] pad: 1",
            r"the kernel's 9 columns \(size 9, .*\) exceed the bottom's 8 \(size 6, pad 1\)",
        ),
        (
            'num_output: 4 kernel_size: 3 weight_filler { type: "bilinear2" }',
            "unknown filler type 'bilinear2'; did you mean 'bilinear'?",
        ),
    ],
)
def test_bad_parameters_are_named(param: str, message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(
            f'type: "LocallyConnected" convolution_param {{ {param} }}', [np.zeros((1, 6, 5, 6))]
        )
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (LocallyConnected): ")
    assert "\n" not in str(caught.value)


NET = """layer {{ name: "x" type: "Input" top: "x"
  input_param {{ shape {{ dim: 1 dim: 2 dim: 8 dim: 8 }} }} }}
layer {{
  name: "local" type: "LocallyConnected" bottom: "x" top: "y"
  convolution_param {{
    num_output: 2 kernel_size: 3
    {0}
  }}
  {1}
}}
"""


@pytest.mark.parametrize(
    ("convolution", "local", "message"),
    [
        ("dilation: 2", "", "net.prototxt:7: .*dilation is not supported"),
        ("group: 3", "", "net.prototxt:7: layer 'local' .*group 3 must divide"),
        (
            "",
            "locally_connected_param { bias_per_place: true }",
            "net.prototxt:9: .*no field .*bias_per_place",
        ),
    ],
)
def test_bad_fields_are_named_with_their_line(convolution: str, local: str, message: str) -> None:
    with pytest.raises(DrmlError, match=message):
        Net(parse_net(NET.format(convolution, local), "net.prototxt"), phase=pb.TEST)


def test_bottoms_that_do_not_fit_are_named() -> None:
    with pytest.raises(NetError, match=r"bottom needs shape \(N, C, H, W\), got \(2, 4\)"):
        LayerRunner(text(4, (3, 3)), [np.zeros((2, 4))])
    runner = LayerRunner(text(4, (3, 3)), [np.zeros((1, 2, 5, 5))])
    runner.bottom[0].reshape(1, 3, 5, 5)
    with pytest.raises(NetError, match=r"bottom needs 2 channels, got shape \(1, 3, 5, 5\)"):
        runner.layer.reshape(runner.bottom, runner.top)
    runner.bottom[0].reshape(1, 2, 5, 6)
    message = r"filters for 3 x 3 locations, but a bottom of shape \(1, 2, 5, 6\) makes 3 x 4"
    with pytest.raises(NetError, match=message):
        runner.layer.reshape(runner.bottom, runner.top)


def test_op_checks_shapes() -> None:
    attrs = _core.LocalAttrs()
    x, weight, y = empty((1, 2, 5, 5)), empty((9, 4, 2, 3, 3)), empty((1, 4, 3, 3))
    with pytest.raises(ValueError, match=r"local_forward: y needs shape \(1, 4, 3, 3\)"):
        _core.local_forward(x, weight, None, empty((1, 4, 3, 2)), attrs)
    other_layout = empty(x.shape, channels_last=x.strides[1] != 1)
    with pytest.raises(ValueError, match="local_forward: x must lie"):
        _core.local_forward(other_layout, weight, None, y, attrs)
    with pytest.raises(ValueError, match=r"bias needs shape \(4,\), got \(9,\)"):
        _core.local_forward(x, weight, empty((9,)), y, attrs)
    with pytest.raises(ValueError, match=r"bias needs shape \(9, 4\), got \(4, 9\)"):
        _core.local_forward(x, weight, empty((4, 9)), y, attrs)
    with pytest.raises(ValueError, match=r"weight \(9, 4, 2, 3, 3\) does not fit x \(1, 3, 5, 5\)"):
        _core.local_forward(empty((1, 3, 5, 5)), weight, None, y, attrs)
    with pytest.raises(ValueError, match=r"weight \(8, 4, 2, 3, 3\) is for 8 location"):
        _core.local_forward(x, empty((8, 4, 2, 3, 3)), None, y, attrs)
    with pytest.raises(ValueError, match=r"weight .* reaches beyond x \(1, 2, 2, 5\) with pad 0"):
        _core.local_forward(empty((1, 2, 2, 5)), weight, None, y, attrs)
    with pytest.raises(ValueError, match="stride 0 and pad 0 need to be positive"):
        _core.local_forward(x, weight, None, y, _core.LocalAttrs(stride=(0, 1)))
    with pytest.raises(ValueError, match=r"local_backward: dx needs shape \(1, 2, 5, 5\)"):
        _core.local_backward(x, weight, y, empty((1, 2, 5, 4)), None, None, attrs)
    with pytest.raises(ValueError, match=r"local_backward: dweight needs shape \(9, 4, 2, 3, 3\)"):
        _core.local_backward(x, weight, y, None, empty((9, 4, 2, 3, 2)), None, attrs)


def test_lcn_with_a_bias_per_location_has_the_parameters_that_were_counted() -> None:
    text = (ROOT / "prototxt" / "lcn_deploy.prototxt").read_text()
    local = 'type: "LocallyConnected"\n'
    assert text.count(local) == 3
    extra = "  locally_connected_param { bias_per_location: true }\n"
    with Net(parse_net(text.replace(local, local + extra)), phase=pb.TEST) as net:
        summary = summarize(net)
        assert summary.learned == 141_227_132
        assert net.params["conv5"][0].shape == (66 * 66, 16, 16, 8, 8)
        assert not net.params["conv5"][0].has_value
        multiply_adds = {layer.name: layer.multiply_adds for layer in summary.layers}
    assert multiply_adds["conv5"] == 66 * 66 * 16 * 16 * 8 * 8


SMALL_LCN = """
layer { name: "x" type: "Input" top: "x" top: "label"
  input_param { shape { dim: 6 dim: 3 dim: 16 dim: 16 } shape { dim: 6 dim: 4 } } }
layer { name: "conv1" type: "Convolution" bottom: "x" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "local2" type: "LocallyConnected" bottom: "conv1" top: "local2"
  convolution_param { num_output: 6 kernel_size: 4 stride: 2 weight_filler { type: "msra" }
                      bias_filler { type: "constant" value: 0.1 } } }
layer { name: "relu2" type: "ReLU" bottom: "local2" top: "local2" }
layer { name: "local3" type: "LocallyConnected" bottom: "local2" top: "local3"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "msra" } }
  locally_connected_param { bias_per_location: true } }
layer { name: "relu3" type: "ReLU" bottom: "local3" top: "local3" }
layer { name: "output" type: "InnerProduct" bottom: "local3" top: "output"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "MultiSigmoidCrossEntropyLoss" bottom: "output" bottom: "label"
  top: "loss" }
"""


def test_a_small_lcn_learns() -> None:
    random = np.random.default_rng(1)
    x = random.normal(0, 1, (6, 3, 16, 16))
    label = random.choice([-1.0, 1.0], (6, 4))
    losses = []
    with Net(parse_net(SMALL_LCN), phase=pb.TRAIN, seed=1) as net:
        velocities = [empty(param.blob.shape, channels_last=False) for param in net.learnable]
        for _ in range(12):
            net.clear_param_diffs()
            net.forward(x=x, label=label)
            losses.append(net.loss)
            net.backward()
            for param, velocity in zip(net.learnable, velocities, strict=True):
                blob = param.blob
                _core.sgd_update(blob.value, blob.grad, velocity, 0.01, 0.9, 0.0, False)
    assert losses[-1] < 0.2 * losses[0], losses
