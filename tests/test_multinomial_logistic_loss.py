"""MultinomialLogisticLoss against a plain reference."""

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
)
from loss_testing import run_in_net

from drml import _core
from drml.errors import NetError

Shape = tuple[int, ...]

LEAST = 1e-20


def of_classes(p: Array, label: Array) -> Array:
    """The probability of each sample's class."""
    return p.reshape(len(p), -1)[np.arange(len(p)), label.reshape(-1).astype(int)]


def loss_forward(p: Array, label: Array) -> Array:
    return np.array(-np.mean(np.log(np.maximum(of_classes(p, label), LEAST))))


def loss_backward(p: Array, label: Array, dy: float) -> Array:
    dp = np.zeros((len(p), p[0].size))
    own = np.arange(len(p)), label.reshape(-1).astype(int)
    dp[own] = -dy / len(p) / np.maximum(of_classes(p, label), LEAST)
    return dp.reshape(p.shape)


TEXT = 'type: "MultinomialLogisticLoss"'
CASES: list[tuple[Shape, Shape]] = [
    # p, label
    ((1, 5), (1,)),
    ((2, 3), (2, 1)),
    ((5, 3), (5,)),
    ((5, 7), (5, 1, 1, 1)),
    ((2, 3, 5), (2,)),
    ((5, 3, 1, 1), (5,)),
    ((2, 3, 4, 5), (2,)),
    ((8200, 3), (8200,)),
]


def draw(shape: Shape, label_shape: Shape) -> tuple[Array, Array]:
    p = np.exp(random_array(shape, 1)).reshape(len(np.zeros(shape)), -1)
    p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
    labels = np.random.default_rng(3).integers(0, p.shape[1], label_shape)
    return p.reshape(shape), labels.astype(np.float64)


def test_reference_backward_equals_central_differences() -> None:
    p, label = draw((3, 5), (3,))
    wanted = central_differences(lambda: loss_forward(p, label), p, np.array(0.7))
    assert relative_error(loss_backward(p, label, 0.7), wanted) < 1e-6


@pytest.mark.parametrize(("shape", "label_shape"), CASES)
def test_kernel_equals_reference(shape: Shape, label_shape: Shape) -> None:
    p, label = draw(shape, label_shape)
    y, dp = loss_forward(p, label), loss_backward(p, label, 0.7)
    check_layer(LayerRunner(TEXT, [p, label]), [y], [0.7], [dp], 1e-6)


def test_is_softmax_loss_of_a_softmax() -> None:
    x, label = random_array((5, 3), 1), np.array([0, 2, 1, 1, 0])
    (p,) = LayerRunner('type: "Softmax"', [x]).forward()
    (wanted,) = LayerRunner('type: "SoftmaxWithLoss"', [x, label]).forward()
    assert relative_error(LayerRunner(TEXT, [p, label]).forward()[0], wanted) < 1e-6


def test_a_probability_that_underflowed_stays_finite() -> None:
    """1e-20 is the floor, in the gradient too, as in Caffe."""
    p, label = np.array([[1.0, 0.0], [1.0, 1e-25]]), np.array([1.0, 1.0])
    y, dp = loss_forward(p, label), loss_backward(p, label, 1)
    assert dp[0, 1] == dp[1, 1] == -0.5e20
    check_layer(LayerRunner(TEXT, [p, label]), [y], [1.0], [dp], 1e-6)


def test_a_probability_that_is_not_a_number_shows_in_the_loss() -> None:
    (y,) = LayerRunner(TEXT, [[[0.5, np.nan]], [1]]).forward()
    assert np.isnan(y)


def test_probabilities_that_lie_apart() -> None:
    p, label = draw((5, 3), (5,))
    wide = tensor(np.concatenate([np.full((5, 2), np.nan), p], axis=1)).narrow(1, 2, 3)
    y = empty(())
    _core.multinomial_logistic_loss_forward(wide, tensor(label), y)
    assert relative_error(y.get(), loss_forward(p, label)) < 1e-6


def test_results_repeat_bit_for_bit() -> None:
    runner = LayerRunner(TEXT, draw((8200, 3), (8200,)))
    check_repeats(lambda: runner.forward_backward(0.7, propagate_down=[True, False]))


def test_an_empty_batch_has_no_loss() -> None:
    runner = LayerRunner(TEXT, [np.zeros((0, 3)), np.zeros(0)])
    assert runner.forward()[0] == 0
    assert runner.backward(1.0, propagate_down=[True, False])[0].shape == (0, 3)


def test_loss_weight_multiplies_loss_and_gradient() -> None:
    p, label = draw((3, 4), (3,))
    loss, gradients = run_in_net(TEXT, [p, label], 0.25)
    assert relative_error(loss, 0.25 * loss_forward(p, label)) < 1e-6
    assert list(gradients) == ["x0"]
    assert relative_error(gradients["x0"], loss_backward(p, label, 0.25)) < 1e-6


@pytest.mark.parametrize("value", ["3", "-1", "0.5", "nan"])
def test_a_label_that_is_no_class_is_named(value: str) -> None:
    p, label = draw((5, 3), (5,))
    wrong = label.copy()
    wrong[2:4] = [float(value), 99]
    runner = LayerRunner(TEXT, [p, wrong])
    message = f"label {value} at position 2 is not a class number below 3"
    with pytest.raises(ValueError, match=f"multinomial_logistic_loss_forward: {message}"):
        runner.forward()
    with pytest.raises(ValueError, match=f"multinomial_logistic_loss_backward: {message}"):
        runner.backward(1.0, propagate_down=[True, False])
    runner.set_inputs(p, label)
    assert relative_error(runner.forward()[0], loss_forward(p, label)) < 1e-6


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 3), (3,)], "their first axis, the samples, must be equal"),
        ([(2, 3, 4), (2, 4)], r"'x0' \(2, 3, 4\) needs 2 labels, one for each sample; 'x1' has"),
    ],
)
def test_bad_shapes_are_named(shapes: list[Shape], message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(TEXT, [np.zeros(shape) for shape in shapes])


def test_labels_have_no_gradient() -> None:
    runner = LayerRunner(TEXT, draw((3, 4), (3,)))
    runner.forward()
    with pytest.raises(NetError, match="cannot backpropagate to label inputs"):
        runner.backward(1.0)
