"""Accuracy against a plain reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden_testing import run_golden
from layer_testing import (
    Array,
    LayerRunner,
    check_repeats,
    empty,
    random_array,
    relative_error,
    tensor,
)

from drml import _core
from drml.errors import NetError


def accuracy_forward(
    x: Array, label: Array, top_k: int, axis: int, ignore: int | None
) -> tuple[Array, Array]:
    """Accuracy, and that of each class; a class without samples has 0."""
    scores = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
    right, seen = np.zeros(x.shape[axis]), np.zeros(x.shape[axis])
    for line, own in zip(scores, label.ravel().astype(int), strict=True):
        if own == ignore:
            continue
        ranked = sorted(range(len(line)), key=lambda c: (line[c], c), reverse=True)
        seen[own] += 1
        right[own] += own in ranked[:top_k]
    return np.array(right.sum() / max(1, seen.sum())), right / np.maximum(1, seen)


CASES = [
    # axis, x, label
    (1, (1, 5), (1,)),
    (1, (50, 3), (50, 1)),
    (-1, (2, 4, 5), (2, 4)),
    (1, (2, 7, 5, 3), (2, 5, 3)),
    (3, (2, 7, 5, 3), (2, 7, 5)),
    (1, (5, 12), (5,)),
    (1, (7, 300), (7,)),
    (1, (2, 150, 3), (2, 3)),
]


def text(top_k: int, axis: int, ignore: int | None) -> str:
    ignored = "" if ignore is None else f"ignore_label: {ignore}"
    return f'type: "Accuracy" accuracy_param {{ top_k: {top_k} axis: {axis} {ignored} }}'


@pytest.mark.parametrize("ignore", [None, 1])
@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize(("axis", "shape", "label_shape"), CASES)
def test_kernel_equals_reference(
    axis: int,
    shape: tuple[int, ...],
    label_shape: tuple[int, ...],
    top_k: int,
    ignore: int | None,
) -> None:
    # Few distinct scores, so that many are equal.
    x = np.round(random_array(shape, 1))
    label = np.random.default_rng(2).integers(0, shape[axis], label_shape).astype(np.float64)
    runner = LayerRunner(text(top_k, axis, ignore), [x, label], tops=2)
    got = runner.forward()
    for a, wanted in zip(got, accuracy_forward(x, label, top_k, axis, ignore), strict=True):
        assert relative_error(a, wanted) < 1e-6


def test_nothing_to_count_is_zero() -> None:
    runner = LayerRunner(text(1, 1, 0), [random_array((4, 3), 1), np.zeros(4)], tops=2)
    assert [y.tolist() for y in runner.forward()] == [0, [0, 0, 0]]


def test_scores_that_are_no_numbers_are_not_right() -> None:
    x = np.array([[np.nan, 1.0], [np.nan, np.nan], [0.0, 1.0]])
    assert relative_error(LayerRunner(text(1, 1, None), [x, [0, 1, 1]]).forward()[0], 1 / 3) < 1e-6


@pytest.mark.parametrize("channels_last", [False, True])
def test_any_layout(channels_last: bool) -> None:
    x = np.round(random_array((2, 7, 5, 3), 1))
    label = np.random.default_rng(2).integers(0, 7, (2, 5, 3)).astype(np.float64)
    apart = tensor(np.concatenate([np.full((2, 2, 3), np.nan), label], axis=1)).narrow(1, 2, 5)
    y, per_class = empty(()), empty((7,))
    _core.accuracy_forward(tensor(x, channels_last), apart, y, per_class, 2, 1, None)
    wanted = accuracy_forward(x, label, 2, 1, None)
    assert relative_error(y.get(), wanted[0]) < 1e-6
    assert relative_error(per_class.get(), wanted[1]) < 1e-6


def test_results_repeat_bit_for_bit() -> None:
    x = np.round(random_array((500, 7), 1))
    label = np.random.default_rng(2).integers(0, 7, 500)
    runner = LayerRunner(text(2, 1, None), [x, label], tops=2)
    check_repeats(runner.forward)


def test_an_empty_batch_is_zero() -> None:
    runner = LayerRunner(text(1, 1, None), [np.zeros((0, 3)), np.zeros(0)], tops=2)
    assert [y.tolist() for y in runner.forward()] == [0, [0, 0, 0]]


@pytest.mark.parametrize("value", ["3", "-1", "0.5", "nan"])
def test_a_label_that_is_no_class_is_named(value: str) -> None:
    runner = LayerRunner(text(1, 1, None), [random_array((2, 3), 1), [0, float(value)]])
    with pytest.raises(
        ValueError, match=f"label {value} at position 1 is not a class number below"
    ):
        runner.forward()


def test_the_first_of_several_wrong_labels_is_named() -> None:
    runner = LayerRunner(text(1, 1, None), [random_array((5, 3), 1), [0, 7, -2, 9, 8]])
    message = "accuracy_forward: label 7 at position 1 is not a class number below 3"
    with pytest.raises(ValueError, match=message):
        runner.forward()
    runner.set_inputs(np.eye(5, 3), [0, 1, 2, 0, 0])
    assert relative_error(runner.forward()[0], 3 / 5) < 1e-6


@pytest.mark.parametrize(
    ("param", "shapes", "message"),
    [
        ("top_k: 4", [(2, 3), (2,)], "top_k 4 must be between 1 and the number of classes, 3"),
        ("top_k: 0", [(2, 3), (2,)], "top_k 0 must be between 1"),
        ("axis: 2", [(2, 3), (2,)], r"shape \(2, 3\) has no axis 2"),
        ("", [(2, 3), (3,)], r"'x0' \(2, 3\) with classes on axis 1 need 2 labels, 'x1' has"),
    ],
)
def test_bad_parameters_are_named(param: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(
            f'type: "Accuracy" accuracy_param {{ {param} }}', [np.zeros(shape) for shape in shapes]
        )


def test_there_is_no_gradient() -> None:
    runner = LayerRunner('type: "Accuracy"', [random_array((2, 3), 1), [0, 1]])
    assert not runner.layer.can_backward_to(0)
    runner.backward(0.0, propagate_down=[False, False])
    with pytest.raises(NetError, match="has no gradient and cannot be used as a loss"):
        runner.backward(1.0, propagate_down=[True, False])


def test_golden(golden_dir: Path) -> None:
    run_golden(golden_dir, "accuracy_top2")
