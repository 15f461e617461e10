"""Bias against a plain reference."""

from __future__ import annotations

import numpy as np
import pytest
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


def bias_forward(x: Array, bias: Array, axis: int) -> Array:
    after = x.ndim - axis - bias.ndim
    return x + bias.reshape((1,) * axis + bias.shape + (1,) * after)


def bias_backward(bias: Array, dy: Array, axis: int) -> tuple[Array, Array]:
    """dx and dbias."""
    others = tuple(i for i in range(dy.ndim) if not axis <= i < axis + bias.ndim)
    return dy, np.asarray(dy.sum(axis=others))


CASES = [
    # x shape, axis, number of axes
    ((1, 1, 1, 1), 1, 1),
    ((2, 5, 3, 4), 1, 1),
    ((5, 32, 20, 21), 1, 1),
    ((2, 3, 5, 7), 0, 4),
    ((2, 3, 5, 7), 1, 2),
    ((2, 3, 5, 7), 2, 2),
    ((2, 3, 5, 7), 3, 1),
    ((2, 3, 5, 7), 0, 0),
    ((64, 300), 1, 1),
    ((3, 9000), 0, 1),
    ((2, 3, 4, 5, 6), 1, 1),
    ((7,), 0, 1),
]


def text(axis: int, num_axes: int) -> str:
    return f'type: "Bias" bias_param {{ axis: {axis} num_axes: {num_axes} }}'


@pytest.mark.parametrize(("axis", "num_axes"), [(1, 1), (0, 2), (2, 0)])
def test_reference_backward_equals_central_differences(axis: int, num_axes: int) -> None:
    x, dy = random_array((2, 3, 4), 1), random_array((2, 3, 4), 2)
    bias = np.array(random_array(x.shape[axis : axis + num_axes], 3))
    for array, gradient in zip((x, bias), bias_backward(bias, dy, axis), strict=True):
        wanted = central_differences(lambda: bias_forward(x, bias, axis), array, dy)
        assert relative_error(gradient, wanted) < 1e-6


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(("shape", "axis", "num_axes"), CASES)
def test_kernel_equals_reference(
    shape: tuple[int, ...], axis: int, num_axes: int, given: bool, in_place: bool
) -> None:
    """The bias is learned, or a bottom: then num_axes is not read."""
    x, dy = random_array(shape, 1), random_array(shape, 2)
    bias = random_array(shape[axis : axis + num_axes], 3)
    dx, dbias = bias_backward(bias, dy, axis)
    y = bias_forward(x, bias, axis)
    if given:
        runner = LayerRunner(text(axis, 1), [x, bias], in_place=in_place)
        check_layer(runner, [y], [dy], [dx, dbias], 1e-6)
    else:
        runner = LayerRunner(text(axis, num_axes), [x], in_place=in_place)
        runner.set_params(bias)
        check_layer(runner, [y], [dy], [dx], 1e-6, [dbias])


@pytest.mark.parametrize("bias_channels_last", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_layout(channels_last: bool, bias_channels_last: bool) -> None:
    shape = (3, 5, 4, 7)
    x, dy, bias = (random_array(shape, seed) for seed in (1, 2, 3))
    y, given = tensor(x, channels_last), tensor(dy, channels_last)
    dx, dbias = empty(shape, channels_last), tensor(np.ones(shape), bias_channels_last)
    _core.scale_forward(y, None, tensor(bias, bias_channels_last), y, 0)
    _core.scale_backward(given, None, given, dx, None, dbias, 0)
    assert relative_error(y.get(), x + bias) < 1e-6
    assert np.array_equal(dx.get(), dy)
    assert relative_error(dbias.get(), 1 + dy) < 1e-6


def test_results_do_not_depend_on_threads_or_batch() -> None:
    x, dy = random_array((5, 32, 20, 20), 1), random_array((5, 32, 20, 20), 2)
    bias = random_array((32,), 3)
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            runner = LayerRunner(text(1, 1), [x])
            runner.set_params(bias)
            results.append(runner.forward_backward(dy))
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert np.array_equal(a, b)
    single = LayerRunner(text(1, 1), [x[:1]])
    single.set_params(bias)
    for i in range(len(x)):
        single.set_inputs(x[i : i + 1])
        assert np.array_equal(single.forward()[0], results[0][0][i : i + 1])
        assert np.array_equal(single.backward(dy[i : i + 1])[0], results[0][1][i : i + 1])
    assert relative_error(single.param_diffs()[0], results[0][2]) < 1e-6


@pytest.mark.parametrize(("shape", "axis"), [((5, 3, 43, 41), 1), ((2000, 7), 1), ((3, 999), 0)])
def test_results_repeat_bit_for_bit(shape: tuple[int, ...], axis: int) -> None:
    runner = LayerRunner(text(axis, 1), [random_array(shape, 1)])
    check_repeats(lambda: runner.forward_backward(random_array(shape, 2)))


def test_bias_starts_as_zero_or_as_filled() -> None:
    x = np.zeros((2, 3, 4, 5))
    assert (
        LayerRunner(text(-3, -1), [x]).layer.blobs[0].data.tolist() == np.zeros((3, 4, 5)).tolist()
    )
    runner = LayerRunner('type: "Bias" bias_param { axis: -1 filler { value: 2 } }', [x])
    assert runner.layer.blobs[0].data.tolist() == [2] * 5


def test_gradients_that_nobody_wants_are_not_written() -> None:
    runner = LayerRunner(text(1, 1), [random_array((2, 3, 4, 5), 1)])
    dy = random_array((2, 3, 4, 5), 2)
    runner.forward()
    runner.bottom[0].diff = 7
    assert np.all(runner.backward(dy, propagate_down=[False])[0] == 7)
    dbias = runner.param_diffs()[0]
    assert np.all(dbias != 0)
    runner.layer.propagate_to_params = [False]
    assert np.array_equal(runner.backward(dy)[0], np.float32(dy))
    assert np.array_equal(runner.param_diffs()[0], dbias)


def test_an_empty_batch_has_no_gradient() -> None:
    runner = LayerRunner(text(1, 1), [np.zeros((0, 3, 4, 5))])
    y, dx, dbias = runner.forward_backward(np.zeros((0, 3, 4, 5)))
    assert y.shape == dx.shape == (0, 3, 4, 5)
    assert not dbias.any()


@pytest.mark.parametrize(
    ("param", "shapes", "message"),
    [
        ("axis: 4", [(2, 3, 4, 5)], r"axis 4 is none of the bottom's, shape \(2, 3, 4, 5\)"),
        ("num_axes: -2", [(2, 3, 4, 5)], "num_axes must be -1 or more, not -2"),
        ("num_axes: 4", [(2, 3, 4, 5)], "4 axes of bias from axis 1 on exceed the bottom's"),
        ("", [(2, 3, 4, 5), (4,)], r"bias of shape \(4,\) does not fit .* \(2, 3, 4, 5\)"),
    ],
)
def test_bad_parameters_are_named(param: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(f'type: "Bias" bias_param {{ {param} }}', [np.zeros(shape) for shape in shapes])
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (Bias): ")


def test_op_checks_shapes() -> None:
    x, bias = empty((2, 3, 4, 5), channels_last=False), empty((3,))
    with pytest.raises(ValueError, match="scale_forward: needs a scale or a bias"):
        _core.scale_forward(x, None, None, x, 1)
    with pytest.raises(ValueError, match=r"bias \(3,\) does not fit x .* from axis 2 on"):
        _core.scale_forward(x, None, bias, x, 2)
    with pytest.raises(ValueError, match="a scale that is absent has no gradient"):
        _core.scale_backward(x, None, x, None, bias, None, 1)
