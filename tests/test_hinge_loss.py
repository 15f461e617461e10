"""HingeLoss against a plain reference."""

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


def margins(x: Array, label: Array) -> tuple[Array, Array]:
    """How far each score is on the wrong side, and 1 for the own class, -1 for others; (N, D)."""
    rows = x.reshape(len(x), -1)
    t = np.where(np.arange(rows.shape[1]) == label.reshape(-1, 1), 1, -1)
    return np.maximum(0, 1 - t * rows), t


def loss_forward(x: Array, label: Array, norm: str) -> Array:
    m, _ = margins(x, label)
    return np.array(np.sum(m if norm == "L1" else m**2) / len(x))


def loss_backward(x: Array, label: Array, dy: float, norm: str) -> Array:
    m, t = margins(x, label)
    slope = -t * ((m > 0) if norm == "L1" else 2 * m)
    return np.reshape(dy * slope / len(x), x.shape)


NORMS = ["L1", "L2"]
CASES: list[tuple[Shape, Shape]] = [
    # x, label
    ((1, 5), (1,)),
    ((2, 3), (2, 1)),
    ((5, 3), (5,)),
    ((5, 7), (5, 1, 1, 1)),
    ((2, 3, 5), (2,)),
    ((5, 3, 1, 1), (5,)),
    ((2, 3, 4, 5), (2,)),
    ((33, 1000), (33,)),
]


def draw(shape: Shape, label_shape: Shape) -> tuple[Array, Array]:
    """Scores away from the kinks at 1 and -1."""
    x = 2 * random_array(shape, 1)
    near = np.abs(np.abs(x) - 1) < 1e-2
    labels = np.random.default_rng(3).integers(0, int(np.prod(shape[1:])), label_shape)
    return np.where(near, 1.5 * x, x).astype(np.float32).astype(np.float64), labels.astype(float)


def text(norm: str) -> str:
    return f'type: "HingeLoss" hinge_loss_param {{ norm: {norm} }}'


@pytest.mark.parametrize("norm", NORMS)
def test_reference_backward_equals_central_differences(norm: str) -> None:
    x, label = draw((3, 5), (3,))
    wanted = central_differences(lambda: loss_forward(x, label, norm), x, np.array(0.7))
    assert relative_error(loss_backward(x, label, 0.7, norm), wanted) < 1e-6


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("shape", "label_shape"), CASES)
def test_kernel_equals_reference(shape: Shape, label_shape: Shape, norm: str) -> None:
    x, label = draw(shape, label_shape)
    y, dx = loss_forward(x, label, norm), loss_backward(x, label, 0.7, norm)
    check_layer(LayerRunner(text(norm), [x, label]), [y], [0.7], [dx], 1e-6)


def test_norm_is_l1_unless_given() -> None:
    x, label = draw((5, 3), (5,))
    (y,) = LayerRunner('type: "HingeLoss"', [x, label]).forward()
    assert relative_error(y, loss_forward(x, label, "L1")) < 1e-6


@pytest.mark.parametrize("norm", NORMS)
def test_a_score_on_the_margin_has_no_gradient(norm: str) -> None:
    runner = LayerRunner(text(norm), [[[1.0, -1.0, -1.0]], [0]])
    check_layer(runner, [0.0], [1.0], [np.zeros((1, 3))], 1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_a_score_that_is_not_a_number_shows_in_the_loss(norm: str) -> None:
    (y,) = LayerRunner(text(norm), [[[np.nan, 0.0]], [1]]).forward()
    assert np.isnan(y)


@pytest.mark.parametrize("norm", NORMS)
def test_scores_that_lie_apart(norm: str) -> None:
    x, label = draw((5, 3), (5,))
    wide = tensor(np.concatenate([np.full((5, 2), np.nan), x], axis=1)).narrow(1, 2, 3)
    y = empty(())
    _core.hinge_loss_forward(wide, tensor(label), y, norm == "L2")
    assert relative_error(y.get(), loss_forward(x, label, norm)) < 1e-6


@pytest.mark.parametrize("norm", NORMS)
def test_results_repeat_bit_for_bit(norm: str) -> None:
    runner = LayerRunner(text(norm), draw((33, 1000), (33,)))
    check_repeats(lambda: runner.forward_backward(0.7, propagate_down=[True, False]))


@pytest.mark.cpu_only
@pytest.mark.parametrize("norm", NORMS)
def test_results_do_not_depend_on_threads(norm: str) -> None:
    runner = LayerRunner(text(norm), draw((33, 1000), (33,)))
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            results.append(runner.forward_backward(0.7, propagate_down=[True, False]))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(other, results[0], strict=True))


def test_an_empty_batch_has_no_loss() -> None:
    runner = LayerRunner(text("L2"), [np.zeros((0, 3)), np.zeros(0)])
    assert runner.forward()[0] == 0
    assert runner.backward(1.0, propagate_down=[True, False])[0].shape == (0, 3)


@pytest.mark.parametrize("norm", NORMS)
def test_loss_weight_multiplies_loss_and_gradient(norm: str) -> None:
    x, label = draw((3, 4), (3,))
    loss, gradients = run_in_net(text(norm), [x, label], 0.25)
    assert relative_error(loss, 0.25 * loss_forward(x, label, norm)) < 1e-6
    assert list(gradients) == ["x0"]
    assert relative_error(gradients["x0"], loss_backward(x, label, 0.25, norm)) < 1e-6


@pytest.mark.parametrize("value", ["3", "-1", "0.5", "nan"])
def test_a_label_that_is_no_class_is_named(value: str) -> None:
    x, label = draw((5, 3), (5,))
    wrong = label.copy()
    wrong[2:4] = [float(value), 99]
    runner = LayerRunner(text("L1"), [x, wrong])
    message = f"label {value} at position 2 is not a class number below 3"
    with pytest.raises(ValueError, match=f"hinge_loss_forward: {message}"):
        runner.forward()
    with pytest.raises(ValueError, match=f"hinge_loss_backward: {message}"):
        runner.backward(1.0, propagate_down=[True, False])
    runner.set_inputs(x, label)
    assert relative_error(runner.forward()[0], loss_forward(x, label, "L1")) < 1e-6


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 3), (3,)], "their first axis, the samples, must be equal"),
        ([(2, 3), (2, 2)], r"'x0' \(2, 3\) needs 2 labels, one for each sample; 'x1' has shape"),
        ([(), ()], r"predictions 'x0' have shape \(\)"),
    ],
)
def test_bad_shapes_are_named(shapes: list[Shape], message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(text("L1"), [np.zeros(shape) for shape in shapes])


def test_the_op_takes_two_axes() -> None:
    with pytest.raises(ValueError, match=r"hinge_loss_forward: x needs two axes, \(N, D\), got"):
        _core.hinge_loss_forward(empty((2, 3, 4)), empty((8,)), empty(()), False)


def test_labels_have_no_gradient() -> None:
    runner = LayerRunner(text("L1"), draw((3, 4), (3,)))
    runner.forward()
    with pytest.raises(NetError, match="cannot backpropagate to label inputs"):
        runner.backward(1.0)
