"""PReLU against a plain reference."""

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


def slopes_of(x: Array, slope: Array) -> Array:
    """dy/dx, with one slope or one per index of axis 1."""
    shaped = slope.reshape([-1] + [1] * (x.ndim - 2)) if slope.ndim else slope
    return np.where(x > 0, 1, shaped)


def prelu_forward(x: Array, slope: Array) -> Array:
    return x * slopes_of(x, slope)


def prelu_backward(x: Array, slope: Array, dy: Array) -> tuple[Array, Array]:
    """dx and dslope."""
    terms = np.where(x > 0, 0, x * dy)
    others = tuple(axis for axis in range(x.ndim) if slope.ndim == 0 or axis != 1)
    return dy * slopes_of(x, slope), np.asarray(terms.sum(axis=others))


SHAPES = [
    (1, 1),
    (5, 40),
    (2, 3, 4),
    (2, 5, 3, 4),
    (5, 32, 20, 21),
    (1, 17, 40, 41),
    (2, 3, 2, 2, 3),
]


def text(shared: bool) -> str:
    return f'type: "PReLU" prelu_param {{ channel_shared: {str(shared).lower()} }}'


def slope_for(shape: tuple[int, ...], shared: bool) -> Array:
    return np.array(random_array(() if shared else shape[1:2], 3))


both = pytest.mark.parametrize("shared", [False, True])


@both
def test_reference_backward_equals_central_differences(shared: bool) -> None:
    x, dy = random_array((2, 3, 4), 1, away=0.1), random_array((2, 3, 4), 2)
    slope = slope_for(x.shape, shared)
    dx, dslope = prelu_backward(x, slope, dy)
    for array, gradient in ((x, dx), (slope, dslope)):
        wanted = central_differences(lambda: prelu_forward(x, slope), array, dy)
        assert relative_error(gradient, wanted) < 1e-6


@both
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_equals_reference(shape: tuple[int, ...], in_place: bool, shared: bool) -> None:
    x, dy, slope = random_array(shape, 1), random_array(shape, 2), slope_for(shape, shared)
    dx, dslope = prelu_backward(x, slope, dy)
    runner = LayerRunner(text(shared), [x], in_place=in_place)
    runner.set_params(slope)
    # The one sum over all numbers nearly cancels.
    tolerance = 1e-5 if shared else 1e-6
    check_layer(runner, [prelu_forward(x, slope)], [dy], [dx], tolerance, [dslope])


@both
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_layout(channels_last: bool, shared: bool) -> None:
    shape = (3, 5, 4, 7)
    x, dy, slope = random_array(shape, 1), random_array(shape, 2), slope_for(shape, shared)
    y, dx, dslope = tensor(x, channels_last), tensor(dy, channels_last), tensor(np.ones_like(slope))
    _core.prelu_forward(y, tensor(slope), y)
    _core.prelu_backward(tensor(x, channels_last), tensor(slope), dx, dx, dslope)
    wanted_dx, wanted_dslope = prelu_backward(x, slope, dy)
    assert relative_error(y.get(), prelu_forward(x, slope)) < 1e-6
    assert relative_error(dx.get(), wanted_dx) < 1e-6
    assert relative_error(dslope.get(), 1 + wanted_dslope) < 1e-6


@both
def test_results_do_not_depend_on_threads_or_batch(shared: bool) -> None:
    x, dy = random_array((5, 32, 20, 20), 1), random_array((5, 32, 20, 20), 2)
    slope = slope_for(x.shape, shared)
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            runner = LayerRunner(text(shared), [x])
            runner.set_params(slope)
            results.append(runner.forward_backward(dy))
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert np.array_equal(a, b)
    single = LayerRunner(text(shared), [x[:1]])
    single.set_params(slope)
    for i in range(len(x)):
        single.set_inputs(x[i : i + 1])
        assert np.array_equal(single.forward()[0], results[0][0][i : i + 1])
        assert np.array_equal(single.backward(dy[i : i + 1])[0], results[0][1][i : i + 1])
    assert relative_error(single.param_diffs()[0], results[0][2]) < 1e-5


@both
def test_results_repeat_bit_for_bit(shared: bool) -> None:
    x, dy = random_array((5, 3, 43, 41), 1), random_array((5, 3, 43, 41), 2)
    runner = LayerRunner(text(shared), [x])
    check_repeats(lambda: runner.forward_backward(dy))


def test_slopes_start_as_a_quarter() -> None:
    runner = LayerRunner('type: "PReLU"', [np.zeros((2, 3, 4, 5))])
    assert runner.layer.blobs[0].data.tolist() == [0.25] * 3
    filler = "prelu_param { channel_shared: true filler { value: 0.5 } }"
    runner = LayerRunner(f'type: "PReLU" {filler}', [np.zeros((2, 3))])
    assert runner.layer.blobs[0].shape == ()
    assert runner.layer.blobs[0].data == 0.5


def test_gradients_that_nobody_wants_are_not_written() -> None:
    runner = LayerRunner(text(False), [random_array((2, 3, 4, 5), 1)])
    dy = random_array((2, 3, 4, 5), 2)
    runner.forward()
    runner.bottom[0].diff = 7
    assert np.all(runner.backward(dy, propagate_down=[False])[0] == 7)
    dslope = runner.param_diffs()[0]
    assert np.all(dslope != 0)
    runner.layer.propagate_to_params = [False]
    assert np.all(runner.backward(dy)[0] != 7)
    assert np.array_equal(runner.param_diffs()[0], dslope)


def test_nan_is_not_hidden() -> None:
    (y,) = LayerRunner(text(False), [[[np.nan, -1, 1]]]).forward()
    assert np.isnan(y).tolist() == [[True, False, False]]


def test_an_empty_batch_has_no_gradient() -> None:
    runner = LayerRunner(text(False), [np.zeros((0, 3, 4, 5))])
    y, dx, dslope = runner.forward_backward(np.zeros((0, 3, 4, 5)))
    assert y.shape == dx.shape == (0, 3, 4, 5)
    assert not dslope.any()


def test_bad_bottoms_are_named() -> None:
    with pytest.raises(NetError, match=r"\(PReLU\): bottom needs two axes or more, got shape \(3,"):
        LayerRunner('type: "PReLU"', [np.zeros(3)])
    runner = LayerRunner('type: "PReLU"', [np.zeros((2, 3, 4))])
    runner.bottom[0].reshape(2, 4, 4)
    with pytest.raises(NetError, match=r"slopes of shape \(3,\) do not fit .* \(2, 4, 4\)"):
        runner.layer.reshape(runner.bottom, runner.top)


def test_op_checks_shapes() -> None:
    x, slope = empty((2, 3, 4, 5), channels_last=False), empty((3,))
    last = empty((2, 3, 4, 5), channels_last=True)
    with pytest.raises(ValueError, match=r"prelu_forward: slope needs shape \(3,\), got \(4,\)"):
        _core.prelu_forward(x, empty((4,)), x)
    with pytest.raises(ValueError, match=r"prelu_forward: x needs two axes or more, got \(3,\)"):
        _core.prelu_forward(slope, slope, slope)
    with pytest.raises(ValueError, match=r"prelu_forward: .* lie differently in memory"):
        _core.prelu_forward(x, slope, last)
    with pytest.raises(ValueError, match=r"prelu_backward: .* lie differently in memory"):
        _core.prelu_backward(x, slope, x, last, None)
    with pytest.raises(ValueError, match=r"prelu_backward: dslope needs shape \(3,\), got \(\)"):
        _core.prelu_backward(x, slope, x, None, empty(()))
