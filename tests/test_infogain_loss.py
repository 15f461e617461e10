"""InfogainLoss against a plain reference."""

from __future__ import annotations

from pathlib import Path

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
from drml.weights import array_to_blob

Shape = tuple[int, ...]


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


def rows_of_labels(x: Array, label: Array, h: Array, axis: int, ignore: int | None) -> Array:
    """H[label] along the axis of x, and zeros where the label is ignored."""
    lines = [size for index, size in enumerate(x.shape) if index != axis]
    labels = label.reshape(lines).astype(int)
    counts = labels != ignore if ignore is not None else np.ones_like(labels, bool)
    rows = h[np.where(counts, labels, 0)] * counts[..., np.newaxis]
    return np.moveaxis(rows, -1, axis)


def loss_forward(
    x: Array, label: Array, h: Array, axis: int, normalization: str, ignore: int | None
) -> Array:
    weights = rows_of_labels(x, label, h, axis, ignore)
    loss = -np.sum(weights * np.log(np.maximum(softmax(x, axis), 1e-20)))
    outer = int(np.prod(x.shape[:axis]))
    return np.array(loss / divisor(label, outer, normalization, ignore))


def loss_backward(
    x: Array, label: Array, h: Array, dy: float, axis: int, normalization: str, ignore: int | None
) -> Array:
    weights = rows_of_labels(x, label, h, axis, ignore)
    dx = softmax(x, axis) * weights.sum(axis, keepdims=True) - weights
    outer = int(np.prod(x.shape[:axis]))
    return dy * dx / divisor(label, outer, normalization, ignore)


NORMALIZATIONS = ["FULL", "VALID", "BATCH_SIZE", "NONE"]
CASES: list[tuple[int, Shape, Shape]] = [
    # axis, x, label
    (1, (1, 5), (1,)),
    (1, (5, 3), (5, 1)),
    (1, (2, 4, 5), (2, 5)),
    (2, (2, 4, 5), (2, 4)),
    (1, (2, 7, 5, 3), (2, 1, 5, 3)),
    (-1, (2, 7, 5, 3), (2, 7, 5, 1)),
    (1, (5, 12, 33, 31), (5, 33, 31)),
]


def draw(shape: Shape, label_shape: Shape, axis: int) -> tuple[Array, Array, Array]:
    labels = np.random.default_rng(3).integers(0, shape[axis], label_shape)
    h = np.abs(random_array((shape[axis], shape[axis]), 4))
    return 2 * random_array(shape, 1), labels.astype(np.float64), h


def text(axis: int = 1, normalization: str = "VALID", ignore: int | None = None) -> str:
    ignored = "" if ignore is None else f"ignore_label: {ignore}"
    return f"""type: "InfogainLoss" infogain_loss_param {{ axis: {axis} }}
      loss_param {{ normalization: {normalization} {ignored} }}"""


def write_matrix(path: Path, h: Array) -> str:
    """Writes H to a file, and returns a layer that reads it."""
    path.write_bytes(array_to_blob(h).SerializeToString())
    return f'type: "InfogainLoss" infogain_loss_param {{ source: "{path}" }}'


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_reference_backward_equals_central_differences(normalization: str) -> None:
    x, label, h = draw((2, 3, 4), (2, 4), 1)
    arguments = (1, normalization, 2)
    wanted = central_differences(lambda: loss_forward(x, label, h, *arguments), x, np.array(0.7))
    assert relative_error(loss_backward(x, label, h, 0.7, *arguments), wanted) < 1e-6


@pytest.mark.parametrize("ignore", [None, 0])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(("axis", "shape", "label_shape"), CASES)
def test_kernel_equals_reference(
    axis: int, shape: Shape, label_shape: Shape, normalization: str, ignore: int | None
) -> None:
    x, label, h = draw(shape, label_shape, axis)
    arguments = (axis % len(shape), normalization, ignore)
    y = loss_forward(x, label, h, *arguments)
    dx = loss_backward(x, label, h, 0.7, *arguments)
    runner = LayerRunner(text(axis, normalization, ignore), [x, label, h])
    check_layer(runner, [y], [0.7], [dx], 2e-6)


@pytest.mark.parametrize("shape", [(3, 3), (1, 1, 3, 3), (3, 3, 1, 1), (9,), (1, 3, 3, 1)])
def test_matrix_of_any_shape(shape: Shape, tmp_path: Path) -> None:
    """From a file and as a bottom its numbers count in the order of the axes, as in Caffe."""
    x, label, h = draw((5, 3), (5,), 1)
    y = loss_forward(x, label, h, 1, "VALID", None)
    dx = loss_backward(x, label, h, 0.7, 1, "VALID", None)
    check_layer(LayerRunner(text(), [x, label, h.reshape(shape)]), [y], [0.7], [dx], 2e-6)
    from_file = write_matrix(tmp_path / "h.binaryproto", h.reshape(shape))
    check_layer(LayerRunner(from_file, [x, label]), [y], [0.7], [dx], 2e-6)


def test_matrix_that_lies_channels_last() -> None:
    x, label, h = draw((5, 16), (5,), 1)
    y = loss_forward(x, label, h, 1, "VALID", None)
    dx = loss_backward(x, label, h, 0.7, 1, "VALID", None)
    check_layer(LayerRunner(text(), [x, label, h.reshape(4, 4, 4, 4)]), [y], [0.7], [dx], 2e-6)


def test_matrix_may_change_from_batch_to_batch() -> None:
    x, label, h = draw((5, 3), (5,), 1)
    runner = LayerRunner(text(), [x, label, np.eye(3)])
    runner.forward_backward(1.0, propagate_down=[True, False, False])
    runner.set_inputs(x, label, h)
    y, dx, *_ = runner.forward_backward(1.0, propagate_down=[True, False, False])
    assert relative_error(y, loss_forward(x, label, h, 1, "VALID", None)) < 1e-6
    assert relative_error(dx, loss_backward(x, label, h, 1, 1, "VALID", None)) < 1e-6


def test_with_the_identity_it_is_softmax_loss() -> None:
    x, label, _ = draw((5, 3), (5,), 1)
    found = LayerRunner(text(), [x, label, np.eye(3)])
    wanted = LayerRunner('type: "SoftmaxWithLoss"', [x, label])
    assert relative_error(found.forward()[0], wanted.forward()[0]) < 1e-6
    dx, *_ = found.backward(1.0, propagate_down=[True, False, False])
    assert relative_error(dx, wanted.backward(1.0, propagate_down=[True, False])[0]) < 1e-6


def test_a_second_top_is_the_softmax() -> None:
    x, label, h = draw((5, 3), (5,), 1)
    _, prob = LayerRunner(text(), [x, label, h], tops=2).forward()
    assert relative_error(prob, softmax(x, 1)) < 1e-6


def test_probabilities_that_underflowed_stay_finite() -> None:
    """1e-20 is the floor of a probability in the loss, as in Caffe."""
    x, h = np.array([[200.0, -200.0]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    (y,) = LayerRunner(text(), [x, [1], h]).forward()
    assert relative_error(y, -4 * np.log(1e-20)) < 1e-6


def test_all_labels_ignored_give_nothing() -> None:
    x, _, h = draw((5, 3), (5,), 1)
    runner = LayerRunner(text(1, "VALID", 255), [x, np.full(5, 255), h])
    check_layer(runner, [0.0], [1.0], [np.zeros((5, 3))], 1e-9)


@pytest.mark.parametrize("channels_last", [False, True])
def test_any_layout(channels_last: bool) -> None:
    x, label, h = draw((2, 7, 5, 3), (2, 5, 3), 1)
    prob, dx = tensor(softmax(x, 1), channels_last), empty(x.shape, channels_last)
    labels = tensor(np.concatenate([np.full((2, 2, 3), np.nan), label], axis=1)).narrow(1, 2, 5)
    attrs = _core.LossAttrs(_core.Normalization.VALID)
    y, matrix = empty(()), tensor(h)
    _core.infogain_loss_forward(prob, labels, matrix, y, 1, attrs)
    assert relative_error(y.get(), loss_forward(x, label, h, 1, "VALID", None)) < 1e-6
    sums = tensor(h.sum(axis=1))
    _core.infogain_loss_backward(prob, labels, matrix, sums, tensor(0.7), dx, 1, attrs)
    assert relative_error(dx.get(), loss_backward(x, label, h, 0.7, 1, "VALID", None)) < 1e-6


def test_results_repeat_bit_for_bit() -> None:
    runner = LayerRunner(text(1, "VALID", 0), draw((2, 3, 51, 57), (2, 51, 57), 1))
    check_repeats(lambda: runner.forward_backward(0.7, propagate_down=[True, False, False]))


@pytest.mark.cpu_only
def test_results_do_not_depend_on_threads() -> None:
    runner = LayerRunner(text(1, "VALID", 0), draw((2, 3, 101, 97), (2, 101, 97), 1))
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            results.append(runner.forward_backward(0.7, propagate_down=[True, False, False]))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(other, results[0], strict=True))


def test_an_empty_batch_has_no_loss() -> None:
    runner = LayerRunner(text(), [np.zeros((0, 3)), np.zeros(0), np.eye(3)])
    assert runner.forward()[0] == 0
    assert runner.backward(1.0, propagate_down=[True, False, False])[0].shape == (0, 3)


def test_loss_weight_multiplies_loss_and_gradient() -> None:
    x, label, h = draw((3, 4), (3,), 1)
    loss, gradients = run_in_net(text(), [x, label, h], 0.25)
    assert relative_error(loss, 0.25 * loss_forward(x, label, h, 1, "VALID", None)) < 1e-6
    assert list(gradients) == ["x0"]
    wanted = loss_backward(x, label, h, 0.25, 1, "VALID", None)
    assert relative_error(gradients["x0"], wanted) < 1e-6


@pytest.mark.parametrize("value", ["3", "-1", "0.5", "nan"])
def test_a_label_that_is_no_class_is_named(value: str) -> None:
    x, label, h = draw((5, 3), (5,), 1)
    wrong = label.copy()
    wrong[2:4] = [float(value), 99]
    runner = LayerRunner(text(), [x, wrong, h])
    message = f"label {value} at position 2 is not a class number below 3"
    with pytest.raises(ValueError, match=f"infogain_loss_forward: {message}"):
        runner.forward()
    with pytest.raises(ValueError, match=f"infogain_loss_backward: {message}"):
        runner.backward(1.0, propagate_down=[True, False, False])
    runner.set_inputs(x, label, h)
    wanted = loss_forward(x, label, h, 1, "VALID", None)
    assert relative_error(runner.forward()[0], wanted) < 1e-6


@pytest.mark.parametrize(
    ("param", "shapes", "message"),
    [
        ("infogain_loss_param { axis: 2 }", [(2, 3), (2,), (3, 3)], r"\(2, 3\) has no axis 2"),
        ("", [(2, 3), (3,), (3, 3)], "their first axis, the samples, must be equal"),
        ("", [(2, 3), (2, 2), (3, 3)], r"axis 1 of 'x0' \(2, 3\) needs 2 labels, 'x1' has shape"),
        ("", [(2, 3), (2,), (2, 2)], r"'x2' of shape \(2, 2\) does not fit the 3 classes of 'x0'"),
        ("", [(2, 3), (2,)], "needs infogain_loss_param.source, or a bottom"),
        (
            'infogain_loss_param { source: "h" }',
            [(2, 3), (2,), (3, 3)],
            "the infogain matrix is the bottom 'x2'; source is not read",
        ),
        ('infogain_loss_param { source: "none" }', [(2, 3), (2,)], "none: no such file"),
    ],
)
def test_bad_parameters_are_named(param: str, shapes: list[Shape], message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(f'type: "InfogainLoss" {param}', [np.zeros(shape) for shape in shapes])


@pytest.mark.parametrize(
    ("shape", "message"),
    [((2, 3), r"shape \(2, 3\) is not square"), ((2, 2), r"shape \(2, 2\) does not fit the 3")],
)
def test_a_file_that_does_not_fit_is_named(shape: Shape, message: str, tmp_path: Path) -> None:
    layer = write_matrix(tmp_path / "h.binaryproto", np.ones(shape))
    with pytest.raises(NetError, match=message):
        LayerRunner(layer, [np.zeros((2, 3)), np.zeros(2)])


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "h.txt"
    path.write_text("1 0\n0 1\n")
    layer = f'type: "InfogainLoss" infogain_loss_param {{ source: "{path}" }}'
    with pytest.raises(NetError, match=r"h.txt: a text file, not a blob \(.binaryproto\)"):
        LayerRunner(layer, [np.zeros((2, 2)), np.zeros(2)])


@pytest.mark.parametrize("asked", [1, 2])
def test_labels_and_matrix_have_no_gradient(asked: int) -> None:
    runner = LayerRunner(text(), draw((3, 4), (3,), 1))
    runner.forward()
    what = {1: "label", 2: "infogain"}[asked]
    with pytest.raises(NetError, match=f"cannot backpropagate to {what} inputs"):
        runner.backward(1.0, propagate_down=[index == asked for index in range(3)])
