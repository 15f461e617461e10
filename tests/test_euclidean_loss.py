"""EuclideanLoss against a plain reference."""

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
from loss_testing import run_in_net

from drml import _core
from drml.errors import NetError

Shape = tuple[int, ...]


def loss_forward(x: Array, t: Array) -> Array:
    return np.array(np.sum((x - t) ** 2) / 2 / len(x))


def loss_backward(x: Array, t: Array, dy: float) -> tuple[Array, Array]:
    """dx, dt."""
    dx = dy * (x - t) / len(x)
    return dx, -dx


TEXT = 'type: "EuclideanLoss"'
SHAPES: list[Shape] = [
    (1, 12),
    (2, 12),
    (5, 12),
    (5,),
    (2, 3, 5),
    (2, 7, 5, 3),
    (5, 3, 1, 1),
    (64, 1000),
]


def draw(shape: Shape) -> tuple[Array, Array]:
    return random_array(shape, 1), random_array(shape, 2)


def test_reference_backward_equals_central_differences() -> None:
    x, t = draw((3, 4))
    for array, gradient in zip((x, t), loss_backward(x, t, 0.7), strict=True):
        wanted = central_differences(lambda: loss_forward(x, t), array, np.array(0.7))
        assert relative_error(gradient, wanted) < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_equals_reference(shape: Shape) -> None:
    x, t = draw(shape)
    gradients = loss_backward(x, t, 0.7)
    check_layer(LayerRunner(TEXT, [x, t]), [loss_forward(x, t)], [0.7], gradients, 1e-6)


@pytest.mark.parametrize("wanted", [0, 1])
def test_one_gradient_alone(wanted: int) -> None:
    x, t = draw((5, 12))
    runner = LayerRunner(TEXT, [x, t])
    runner.forward()
    found = runner.backward(0.7, propagate_down=[wanted == 0, wanted == 1])
    assert relative_error(found[wanted], loss_backward(x, t, 0.7)[wanted]) < 1e-6
    assert not found[1 - wanted].any()


@pytest.mark.parametrize(("shape", "other"), [((5, 12), (5, 3, 2, 2)), ((2, 3, 4, 5), (2, 60))])
def test_another_shape_is_paired_in_order(shape: Shape, other: Shape) -> None:
    x, t = draw(shape)
    dx, dt = loss_backward(x, t, 1)
    runner = LayerRunner(TEXT, [x, t.reshape(other)])
    check_layer(runner, [loss_forward(x, t)], [1.0], [dx, dt.reshape(other)], 1e-6)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_any_layout(channels_last: bool, apart: bool) -> None:
    x, t = draw((2, 7, 5, 3))
    x_tensor, dx, y = tensor(x, channels_last), empty(x.shape, channels_last), empty(())
    t_tensor = tensor(t)
    if apart:
        t_tensor = tensor(np.concatenate([np.full((2, 7, 2, 3), np.nan), t], axis=2))
        t_tensor = t_tensor.narrow(2, 2, 5)
    _core.euclidean_loss_forward(x_tensor, t_tensor, y)
    assert relative_error(y.get(), loss_forward(x, t)) < 1e-6
    _core.euclidean_loss_backward(x_tensor, t_tensor, tensor(0.7), dx, None)
    assert relative_error(dx.get(), loss_backward(x, t, 0.7)[0]) < 1e-6


def test_results_repeat_bit_for_bit() -> None:
    runner = LayerRunner(TEXT, draw((64, 1000)))
    check_repeats(lambda: runner.forward_backward(0.7))


@pytest.mark.cpu_only
def test_results_do_not_depend_on_threads() -> None:
    runner = LayerRunner(TEXT, draw((64, 1000)))
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            results.append(runner.forward_backward(0.7))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(other, results[0], strict=True))


def test_an_empty_batch_has_no_loss() -> None:
    runner = LayerRunner(TEXT, [np.zeros((0, 3)), np.zeros((0, 3))])
    assert runner.forward()[0] == 0
    assert runner.backward(1.0)[1].shape == (0, 3)


def test_loss_weight_multiplies_loss_and_gradients() -> None:
    x, t = draw((3, 4))
    loss, gradients = run_in_net(TEXT, [x, t], 0.25)
    assert relative_error(loss, 0.25 * loss_forward(x, t)) < 1e-6
    for got, wanted in zip(gradients.values(), loss_backward(x, t, 0.25), strict=True):
        assert relative_error(got, wanted) < 1e-6


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 3), (3, 3)], "their first axis, the samples, must be equal"),
        ([(2, 3), (2, 4)], r"labels 'x1' \(2, 4\); there must be a label for each prediction"),
        ([(), ()], r"predictions 'x0' have shape \(\)"),
    ],
)
def test_bad_shapes_are_named(shapes: list[Shape], message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(TEXT, [np.zeros(shape) for shape in shapes])
