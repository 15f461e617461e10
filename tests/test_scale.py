"""Scale against a plain reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden_testing import run_golden
from layer_testing import (
    Array,
    LayerRunner,
    central_differences,
    check_layer,
    check_repeats,
    empty,
    random_array,
    relative_error,
    tensor,
    using_threads,
)

from drml import _core
from drml.errors import NetError


def broadcast(parameter: Array, x: Array, axis: int) -> Array:
    """`parameter` with axes of size 1 for those of x that it lacks."""
    after = x.ndim - axis - parameter.ndim
    return parameter.reshape((1,) * axis + parameter.shape + (1,) * after)


def scale_forward(x: Array, scale: Array, bias: Array | None, axis: int) -> Array:
    y = x * broadcast(scale, x, axis)
    return y if bias is None else y + broadcast(bias, x, axis)


def scale_backward(x: Array, scale: Array, dy: Array, axis: int) -> tuple[Array, Array, Array]:
    """dx, dscale, dbias."""
    others = tuple(i for i in range(x.ndim) if not axis <= i < axis + scale.ndim)
    return (
        dy * broadcast(scale, x, axis),
        np.asarray((dy * x).sum(axis=others)),
        np.asarray(dy.sum(axis=others)),
    )


CASES = [
    # x shape, axis, number of axes
    ((1, 1, 1, 1), 1, 1),
    ((2, 5, 3, 4), 1, 1),
    ((5, 32, 20, 21), 1, 1),
    ((1, 17, 70, 70), 1, 1),
    ((2, 3, 5, 7), 0, 1),
    ((2, 3, 5, 7), 0, 4),
    ((2, 3, 5, 7), 1, 3),
    ((5, 3, 6, 7), 1, 2),
    ((2, 3, 5, 7), 2, 2),
    ((2, 3, 5, 7), 2, 1),
    ((2, 3, 5, 7), 3, 1),
    ((2, 3, 5, 7), 0, 0),
    ((5, 40), 1, 1),
    ((64, 300), 1, 1),
    ((3, 9000), 0, 1),
    ((3, 9000), 1, 1),
    ((2, 3, 4), 1, 2),
    ((2, 3, 4, 5, 6), 1, 1),
    ((7,), 0, 1),
    ((2, 1, 9, 11), 1, 1),
    ((2, 2, 91, 93), 1, 1),
    ((1, 300, 2, 3), 1, 1),
    ((5000, 3), 1, 1),
    ((600, 2, 3), 0, 1),
]


def text(axis: int, num_axes: int, bias: bool) -> str:
    return f"""type: "Scale" scale_param {{ axis: {axis} num_axes: {num_axes}
      bias_term: {str(bias).lower()} }}"""


@pytest.mark.parametrize(("axis", "num_axes"), [(1, 1), (0, 2), (2, 0)])
def test_reference_backward_equals_central_differences(axis: int, num_axes: int) -> None:
    x, dy = random_array((2, 3, 4), 1), random_array((2, 3, 4), 2)
    shape = x.shape[axis : axis + num_axes]
    scale, bias = np.array(random_array(shape, 3)), np.array(random_array(shape, 4))

    def forward() -> Array:
        return scale_forward(x, scale, bias, axis)

    gradients = scale_backward(x, scale, dy, axis)
    for array, gradient in zip((x, scale, bias), gradients, strict=True):
        assert relative_error(gradient, central_differences(forward, array, dy)) < 1e-6


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("bias_term", [True, False])
@pytest.mark.parametrize(("shape", "axis", "num_axes"), CASES)
def test_kernel_equals_reference(
    shape: tuple[int, ...], axis: int, num_axes: int, bias_term: bool, in_place: bool
) -> None:
    x, dy = random_array(shape, 1), random_array(shape, 2)
    scale = random_array(shape[axis : axis + num_axes], 3)
    bias = random_array(shape[axis : axis + num_axes], 4) if bias_term else None
    dx, dscale, dbias = scale_backward(x, scale, dy, axis)
    runner = LayerRunner(text(axis, num_axes, bias_term), [x], in_place=in_place)
    runner.set_params(*([scale] if bias is None else [scale, bias]))
    wanted = [dscale] if bias is None else [dscale, dbias]
    check_layer(runner, [scale_forward(x, scale, bias, axis)], [dy], [dx], 1e-6, wanted)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("bias_term", [True, False])
@pytest.mark.parametrize(("shape", "axis", "num_axes"), CASES)
def test_scale_may_be_a_bottom(
    shape: tuple[int, ...], axis: int, num_axes: int, bias_term: bool, in_place: bool
) -> None:
    x, dy = random_array(shape, 1), random_array(shape, 2)
    scale = random_array(shape[axis : axis + num_axes], 3)
    bias = random_array(shape[axis : axis + num_axes], 4) if bias_term else None
    dx, dscale, dbias = scale_backward(x, scale, dy, axis)
    # num_axes is not read: the scale's own axes count.
    runner = LayerRunner(text(axis, 1, bias_term), [x, scale], in_place=in_place)
    runner.set_params(*([] if bias is None else [bias]))
    y = scale_forward(x, scale, bias, axis)
    wanted = [] if bias is None else [dbias]
    check_layer(runner, [y], [dy], [dx, dscale], 1e-6, wanted)


def test_negative_axes_count_from_the_end() -> None:
    x = np.zeros((2, 3, 4, 5))
    assert LayerRunner(text(-1, 1, True), [x]).layer.blobs[0].shape == (5,)
    assert LayerRunner(text(-3, -1, True), [x]).layer.blobs[1].shape == (3, 4, 5)


def test_scale_starts_as_one_and_bias_as_zero() -> None:
    runner = LayerRunner(text(1, 1, True), [np.zeros((2, 3, 4, 5))])
    assert np.all(runner.layer.blobs[0].data == 1)
    assert np.all(runner.layer.blobs[1].data == 0)


def test_results_do_not_depend_on_threads_or_batch() -> None:
    x, dy = random_array((5, 32, 20, 20), 1), random_array((5, 32, 20, 20), 2)
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            runner = LayerRunner(text(1, 1, True), [x])
            runner.set_params(random_array((32,), 3), random_array((32,), 4))
            results.append([*runner.forward(), *runner.backward(dy), *runner.param_diffs()])
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert np.array_equal(a, b)
    single = LayerRunner(text(1, 1, True), [x[:1]])
    single.set_params(random_array((32,), 3), random_array((32,), 4))
    for i in range(len(x)):
        single.set_inputs(x[i : i + 1])
        assert np.array_equal(single.forward()[0], results[0][0][i : i + 1])
        assert np.array_equal(single.backward(dy[i : i + 1])[0], results[0][1][i : i + 1])
    for one, all_ in zip(single.param_diffs(), results[0][2:], strict=True):
        assert relative_error(one, all_) < 1e-6


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("bias_channels_last", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_layout(channels_last: bool, bias_channels_last: bool, axis: int) -> None:
    """A scale lies as x does where it has four axes, a bias perhaps not."""
    shape = (3, 5, 4, 7)
    axes = (4, 2)[axis]
    x, dy = random_array(shape, 1), random_array(shape, 2)
    scale, bias = (random_array(shape[axis : axis + axes], seed) for seed in (3, 4))
    layout, bias_layout = (axes == 4 and last for last in (channels_last, bias_channels_last))
    y, dx = tensor(x, channels_last), tensor(dy, channels_last)
    dscale, dbias = tensor(np.ones(scale.shape), layout), tensor(np.ones(bias.shape), bias_layout)
    factors = tensor(scale, layout)
    _core.scale_forward(y, factors, tensor(bias, bias_layout), y, axis)
    _core.scale_backward(tensor(x, channels_last), factors, dx, dx, dscale, dbias, axis)
    assert relative_error(y.get(), scale_forward(x, scale, bias, axis)) < 1e-6
    wanted = scale_backward(x, scale, dy, axis)
    assert relative_error(dx.get(), wanted[0]) < 1e-6
    assert relative_error(dscale.get(), 1 + wanted[1]) < 1e-6
    assert relative_error(dbias.get(), 1 + wanted[2]) < 1e-6


@pytest.mark.parametrize(("shape", "axis"), [((5, 3, 43, 41), 1), ((2000, 7), 1), ((3, 999), 0)])
def test_results_repeat_bit_for_bit(shape: tuple[int, ...], axis: int) -> None:
    x, dy = random_array(shape, 1), random_array(shape, 2)
    runner = LayerRunner(text(axis, 1, True), [x])
    runner.set_params(random_array((shape[axis],), 3), random_array((shape[axis],), 4))
    check_repeats(lambda: runner.forward_backward(dy))


def test_gradients_that_nobody_wants_are_not_written() -> None:
    runner = LayerRunner(text(1, 1, True), [random_array((2, 3, 4, 5), 1)])
    runner.forward()
    runner.bottom[0].diff = 7
    runner.layer.propagate_to_params = [False, True]
    dx = runner.backward(random_array((2, 3, 4, 5), 2), propagate_down=[False])[0]
    assert np.all(dx == 7)
    assert np.all(runner.param_diffs()[0] == 0)
    assert np.all(runner.param_diffs()[1] != 0)


@pytest.mark.parametrize(
    ("param", "shapes", "message"),
    [
        ("axis: 4", [(2, 3, 4, 5)], r"axis 4 is none of the bottom's, shape \(2, 3, 4, 5\)"),
        ("axis: -5", [(2, 3, 4, 5)], r"axis -5 is none of the bottom's"),
        ("num_axes: -2", [(2, 3, 4, 5)], "num_axes must be -1 or more, not -2"),
        ("num_axes: 4", [(2, 3, 4, 5)], "4 axes of scale from axis 1 on exceed the bottom's"),
        ("", [(2, 3, 4, 5), (4,)], r"scale of shape \(4,\) does not fit .* \(2, 3, 4, 5\)"),
        ("axis: 3", [(2, 3, 4, 5), (5, 1)], "2 axes of scale from axis 3 on exceed the bottom's"),
    ],
)
def test_bad_parameters_are_named(param: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(
            f'type: "Scale" scale_param {{ {param} }}', [np.zeros(shape) for shape in shapes]
        )
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (Scale): ")


def test_bottom_of_another_shape_is_named() -> None:
    runner = LayerRunner(text(1, 1, True), [np.zeros((2, 3, 4, 5))])
    runner.bottom[0].reshape(2, 4, 4, 5)
    message = r"a scale of shape \(3,\) does not fit the bottom of shape \(2, 4, 4, 5\) from axis 1"
    with pytest.raises(NetError, match=message):
        runner.layer.reshape(runner.bottom, runner.top)


def test_op_checks_shapes() -> None:
    x, scale = empty((2, 3, 4, 5), channels_last=False), empty((3,))
    with pytest.raises(ValueError, match=r"scale \(3,\) does not fit x .* from axis 2 on"):
        _core.scale_forward(x, scale, None, x, 2)
    with pytest.raises(ValueError, match=r"bias needs the shape of scale, \(3,\)"):
        _core.scale_forward(x, scale, empty((4,)), x, 1)
    with pytest.raises(ValueError, match=r"scale_forward: .* lie differently in memory"):
        _core.scale_forward(x, scale, None, empty((2, 3, 4, 5), channels_last=True), 1)


def test_nothing_has_no_gradient() -> None:
    x, scale, dscale = empty((0, 3, 4, 5)), empty((3,)), tensor([1, 2, 3])
    _core.scale_forward(x, scale, scale, x, 1)
    _core.scale_backward(x, scale, x, x, dscale, None, 1)
    assert np.array_equal(dscale.get(), [1, 2, 3])


def test_golden(golden_dir: Path) -> None:
    run_golden(golden_dir, "scale")
