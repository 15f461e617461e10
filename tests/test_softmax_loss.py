"""SoftmaxWithLoss against a plain reference."""

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
)

from drml import _core
from drml.errors import NetError


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def divisor(label: Array, outer: int, normalization: str, ignore: int | None) -> float:
    counts = {
        "FULL": label.size,
        "VALID": np.count_nonzero(label != ignore) if ignore is not None else label.size,
        "BATCH_SIZE": outer,
        "NONE": 1,
    }
    return max(1, counts[normalization])


def one_hot(x: Array, label: Array, axis: int, ignore: int | None) -> tuple[Array, Array]:
    """1 at each label's class, and whether a line counts; shaped to fit x."""
    lines = [size for index, size in enumerate(x.shape) if index != axis]
    labels = np.expand_dims(label.reshape(lines), axis)
    classes = np.arange(x.shape[axis]).reshape([-1] + [1] * (x.ndim - axis - 1))
    counts = labels != ignore if ignore is not None else np.ones_like(labels, bool)
    return (labels == classes) & counts, counts


def softmax_loss_forward(
    x: Array, label: Array, axis: int, normalization: str, ignore: int | None
) -> Array:
    hot, _ = one_hot(x, label, axis, ignore)
    outer = int(np.prod(x.shape[:axis]))
    loss = -np.log(softmax(x, axis)[hot]).sum()
    return np.array(loss / divisor(label, outer, normalization, ignore))


def softmax_loss_backward(
    x: Array, label: Array, dy: float, axis: int, normalization: str, ignore: int | None
) -> Array:
    hot, counts = one_hot(x, label, axis, ignore)
    outer = int(np.prod(x.shape[:axis]))
    dx = (softmax(x, axis) - hot) * counts
    return dy * dx / divisor(label, outer, normalization, ignore)


NORMALIZATIONS = ["FULL", "VALID", "BATCH_SIZE", "NONE"]
CASES = [
    # axis, x, label
    (1, (1, 5), (1,)),
    (1, (5, 3), (5, 1)),
    (1, (2, 4, 5), (2, 5)),
    (2, (2, 4, 5), (2, 4)),
    (1, (2, 7, 5, 3), (2, 5, 3)),
    (1, (2, 7, 5, 3), (2, 1, 5, 3)),
    (3, (2, 7, 5, 3), (2, 7, 5, 1)),
    (1, (5, 12, 33, 31), (5, 33, 31)),
    (1, (2, 3, 101, 97), (2, 101, 97)),
]


def draw(shape: tuple[int, ...], label_shape: tuple[int, ...], axis: int) -> tuple[Array, Array]:
    labels = np.random.default_rng(3).integers(0, shape[axis], label_shape)
    return 2 * random_array(shape, 1), labels.astype(np.float64)


def text(axis: int, normalization: str, ignore: int | None) -> str:
    ignored = "" if ignore is None else f"ignore_label: {ignore}"
    return f"""type: "SoftmaxWithLoss" softmax_param {{ axis: {axis} }}
      loss_param {{ normalization: {normalization} {ignored} }}"""


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_reference_backward_equals_central_differences(normalization: str) -> None:
    x, label = draw((2, 3, 4), (2, 4), 1)
    arguments = (label, 1, normalization, 2)
    wanted = central_differences(lambda: softmax_loss_forward(x, *arguments), x, np.array(0.7))
    got = softmax_loss_backward(x, label, 0.7, 1, normalization, 2)
    assert relative_error(got, wanted) < 1e-6


@pytest.mark.parametrize("ignore", [None, 0])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(("axis", "shape", "label_shape"), CASES)
def test_kernel_equals_reference(
    axis: int,
    shape: tuple[int, ...],
    label_shape: tuple[int, ...],
    normalization: str,
    ignore: int | None,
) -> None:
    x, label = draw(shape, label_shape, axis)
    y = softmax_loss_forward(x, label, axis, normalization, ignore)
    dx = softmax_loss_backward(x, label, 0.7, axis, normalization, ignore)
    runner = LayerRunner(text(axis, normalization, ignore), [x, label])
    check_layer(runner, [y], [0.7], [dx], 2e-6)


@pytest.mark.parametrize(
    ("loss_param", "normalization"),
    [
        ("", "VALID"),
        ("normalize: true", "VALID"),
        ("normalize: false", "BATCH_SIZE"),
        ("normalize: false normalization: FULL", "FULL"),
    ],
)
def test_default_and_deprecated_normalization(loss_param: str, normalization: str) -> None:
    x, label = draw((2, 3, 4), (2, 4), 1)
    runner = LayerRunner(
        f'type: "SoftmaxWithLoss" loss_param {{ ignore_label: 1 {loss_param} }}', [x, label]
    )
    wanted = softmax_loss_forward(x, label, 1, normalization, 1)
    assert relative_error(runner.forward()[0], wanted) < 1e-6


def test_a_second_top_is_the_softmax() -> None:
    x, label = draw((5, 3), (5,), 1)
    runner = LayerRunner('type: "SoftmaxWithLoss"', [x, label], tops=2)
    _, prob = runner.forward()
    assert relative_error(prob, softmax(x, 1)) < 1e-6
    dx, _ = runner.backward(1.0, np.zeros((5, 3)), propagate_down=[True, False])
    assert relative_error(dx, softmax_loss_backward(x, label, 1.0, 1, "VALID", None)) < 1e-6


def test_all_labels_ignored_give_nothing() -> None:
    x, _ = draw((5, 3), (5,), 1)
    runner = LayerRunner(text(1, "VALID", 255), [x, np.full(5, 255)])
    check_layer(runner, [0.0], [1.0], [np.zeros((5, 3))], 1e-9)


def test_huge_logits_stay_finite() -> None:
    """The least float is the floor of a probability, as in Caffe."""
    runner = LayerRunner('type: "SoftmaxWithLoss"', [[[200.0, -200.0], [200.0, -200.0]], [0, 1]])
    assert relative_error(runner.forward()[0], -np.log(np.finfo(np.float32).tiny) / 2) < 1e-6
    dx, _ = runner.backward(1.0, propagate_down=[True, False])
    assert dx.tolist() == [[0, 0], [0.5, -0.5]]


@pytest.mark.parametrize("size", [100, 200])
def test_huge_logits_have_plain_gradients(size: float) -> None:
    runner = LayerRunner('type: "SoftmaxWithLoss"', [[[size, -size], [-size, size]], [0, 0]])
    assert np.isfinite(runner.forward()[0])
    dx, _ = runner.backward(1.0, propagate_down=[True, False])
    assert dx.tolist() == [[0, 0], [-0.5, 0.5]]


@pytest.mark.parametrize("labels_apart", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_any_layout(channels_last: bool, labels_apart: bool) -> None:
    x, label = draw((2, 7, 5, 3), (2, 5, 3), 1)
    prob, dx = tensor(softmax(x, 1), channels_last), empty(x.shape, channels_last)
    labels = tensor(label)
    if labels_apart:
        labels = tensor(np.concatenate([np.full((2, 2, 3), np.nan), label], axis=1))
        labels = labels.narrow(1, 2, 5)
    attrs = _core.LossAttrs(_core.Normalization.VALID)
    y = empty(())
    _core.softmax_loss_forward(prob, labels, y, 1, attrs)
    assert relative_error(y.get(), softmax_loss_forward(x, label, 1, "VALID", None)) < 1e-6
    _core.softmax_loss_backward(prob, labels, tensor(0.7), dx, 1, attrs)
    assert relative_error(dx.get(), softmax_loss_backward(x, label, 0.7, 1, "VALID", None)) < 1e-6


def test_results_repeat_bit_for_bit() -> None:
    runner = LayerRunner(text(1, "VALID", 0), draw((2, 3, 101, 97), (2, 101, 97), 1))
    check_repeats(lambda: runner.forward_backward(0.7, propagate_down=[True, False]))


def test_an_empty_batch_has_no_loss() -> None:
    runner = LayerRunner('type: "SoftmaxWithLoss"', [np.zeros((0, 3)), np.zeros(0)])
    assert runner.forward()[0] == 0
    assert runner.backward(1.0, propagate_down=[True, False])[0].shape == (0, 3)


@pytest.mark.parametrize("value", ["3", "-1", "0.5", "nan"])
def test_a_label_that_is_no_class_is_named(value: str) -> None:
    x, label = draw((5, 3), (5,), 1)
    label[2] = float(value)
    runner = LayerRunner('type: "SoftmaxWithLoss"', [x, label])
    with pytest.raises(
        ValueError, match=f"label {value} at position 2 is not a class number below"
    ):
        runner.forward()


def test_the_first_of_several_wrong_labels_is_named() -> None:
    x, label = draw((5, 3), (5,), 1)
    wrong = label.copy()
    wrong[1:] = [7, -2, 9, 8]
    runner = LayerRunner('type: "SoftmaxWithLoss"', [x, wrong])
    message = "label 7 at position 1 is not a class number below 3"
    with pytest.raises(ValueError, match=f"softmax_loss_forward: {message}"):
        runner.forward()
    with pytest.raises(ValueError, match=f"softmax_loss_backward: {message}"):
        runner.backward(1.0, propagate_down=[True, False])
    runner.set_inputs(x, label)
    wanted = softmax_loss_forward(x, label, 1, "VALID", None)
    assert relative_error(runner.forward()[0], wanted) < 1e-6


@pytest.mark.parametrize(
    ("param", "shapes", "message"),
    [
        ("softmax_param { axis: 2 }", [(2, 3), (2,)], r"shape \(2, 3\) has no axis 2"),
        ("", [(2, 3), (3,)], "their first axis, the samples, must be equal"),
        ("", [(2, 3), (2, 2)], r"over axis 1 of 'x0' \(2, 3\) needs 2 labels, 'x1' has shape"),
    ],
)
def test_bad_parameters_are_named(param: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(f'type: "SoftmaxWithLoss" {param}', [np.zeros(shape) for shape in shapes])


def test_labels_have_no_gradient() -> None:
    x, label = draw((5, 3), (5,), 1)
    runner = LayerRunner('type: "SoftmaxWithLoss"', [x, label])
    runner.forward()
    with pytest.raises(NetError, match="cannot backpropagate to label inputs"):
        runner.backward(1.0)


def test_golden(golden_dir: Path) -> None:
    run_golden(golden_dir, "softmax_loss")
