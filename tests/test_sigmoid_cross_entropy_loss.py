"""SigmoidCrossEntropyLoss against a plain reference."""

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


def counts(label: Array, ignore: int | None) -> Array:
    return np.ones_like(label) if ignore is None else np.where(np.trunc(label) == ignore, 0.0, 1.0)


def divisor(label: Array, normalization: str, ignore: int | None) -> float:
    sizes = {
        "FULL": label.size,
        "VALID": counts(label, ignore).sum(),
        "BATCH_SIZE": len(label),
        "NONE": 1,
    }
    return max(1, sizes[normalization])


def loss_forward(x: Array, label: Array, normalization: str, ignore: int | None) -> Array:
    s = 1 / (1 + np.exp(-x))
    loss = -(label * np.log(s) + (1 - label) * np.log(1 - s)) * counts(label, ignore)
    return np.array(loss.sum() / divisor(label, normalization, ignore))


def loss_backward(
    x: Array, label: Array, dy: float, normalization: str, ignore: int | None
) -> Array:
    s = 1 / (1 + np.exp(-x))
    return dy * (s - label) * counts(label, ignore) / divisor(label, normalization, ignore)


NORMALIZATIONS = ["FULL", "VALID", "BATCH_SIZE", "NONE"]
SHAPES = [(1, 12), (2, 12), (5, 12), (2, 3, 5), (2, 7, 5, 3), (5,), (5, 8, 33, 31)]


def draw(shape: tuple[int, ...], soft: bool = False) -> tuple[Array, Array]:
    random = np.random.default_rng(3)
    label = random.integers(0, 8, shape) / 8 if soft else random.integers(0, 2, shape)
    return 2 * random_array(shape, 1), label.astype(np.float64)


def text(normalization: str, ignore: int | None) -> str:
    ignored = "" if ignore is None else f"ignore_label: {ignore}"
    return f"""type: "SigmoidCrossEntropyLoss"
      loss_param {{ normalization: {normalization} {ignored} }}"""


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_reference_backward_equals_central_differences(normalization: str) -> None:
    x, label = draw((3, 4))
    wanted = central_differences(lambda: loss_forward(x, label, normalization, 1), x, np.array(0.7))
    got = loss_backward(x, label, 0.7, normalization, 1)
    assert relative_error(got, wanted) < 1e-6


@pytest.mark.parametrize("ignore", [None, 0, -1])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_equals_reference(
    shape: tuple[int, ...], normalization: str, ignore: int | None
) -> None:
    x, label = draw(shape)
    if ignore == -1:
        label[0] = -1
    y = loss_forward(x, label, normalization, ignore)
    dx = loss_backward(x, label, 0.7, normalization, ignore)
    runner = LayerRunner(text(normalization, ignore), [x, label])
    check_layer(runner, [y], [0.7], [dx], 1e-6)


def test_soft_targets() -> None:
    x, label = draw((5, 12), soft=True)
    y, dx = loss_forward(x, label, "NONE", None), loss_backward(x, label, 1, "NONE", None)
    check_layer(LayerRunner(text("NONE", None), [x, label]), [y], [1.0], [dx], 1e-6)


@pytest.mark.parametrize("value", [0, 1])
def test_labels_of_one_kind(value: int) -> None:
    x, label = draw((5, 12))
    label[...] = value
    y, dx = loss_forward(x, label, "VALID", None), loss_backward(x, label, 1, "VALID", None)
    check_layer(LayerRunner(text("VALID", None), [x, label]), [y], [1.0], [dx], 1e-6)


@pytest.mark.parametrize(
    ("loss_param", "normalization"),
    [
        ("", "BATCH_SIZE"),
        ("normalize: true", "VALID"),
        ("normalize: false", "BATCH_SIZE"),
        ("normalize: true normalization: FULL", "FULL"),
    ],
)
def test_default_and_deprecated_normalization(loss_param: str, normalization: str) -> None:
    x, label = draw((3, 4))
    runner = LayerRunner(
        f'type: "SigmoidCrossEntropyLoss" loss_param {{ ignore_label: 1 {loss_param} }}',
        [x, label],
    )
    assert relative_error(runner.forward()[0], loss_forward(x, label, normalization, 1)) < 1e-6


@pytest.mark.parametrize(
    ("shape", "label_shape"),
    [
        ((5, 12), (5, 12, 1, 1)),
        ((5, 12, 1, 1), (5, 12)),
        ((2, 3, 4, 5), (2, 60)),
        ((2, 60), (2, 3, 4, 5)),
    ],
)
def test_labels_of_another_shape_are_paired_in_order(
    shape: tuple[int, ...], label_shape: tuple[int, ...]
) -> None:
    x, label = draw(shape)
    y, dx = loss_forward(x, label, "NONE", None), loss_backward(x, label, 1, "NONE", None)
    runner = LayerRunner(text("NONE", None), [x, label.reshape(label_shape)])
    check_layer(runner, [y], [1.0], [dx], 1e-6)


def test_all_labels_ignored_give_nothing() -> None:
    x, label = draw((5, 12))
    runner = LayerRunner(text("VALID", -1), [x, np.full_like(label, -1)])
    check_layer(runner, [0.0], [1.0], [np.zeros_like(x)], 1e-9)


@pytest.mark.parametrize("size", [100.0, 200.0])
def test_huge_logits_do_not_overflow(size: float) -> None:
    x, label = [[size, -size, size, -size]], [[1, 0, 0, 1]]
    runner = LayerRunner(text("NONE", None), [x, label])
    check_layer(runner, [2 * size], [1.0], [[[0, 0, 1, -1]]], 1e-6)


@pytest.mark.parametrize("labels_apart", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_any_layout(channels_last: bool, labels_apart: bool) -> None:
    x, label = draw((2, 7, 5, 3))
    logits, dx = tensor(x, channels_last), empty(x.shape, channels_last)
    labels = tensor(label)
    if labels_apart:
        labels = tensor(np.concatenate([np.full((2, 7, 2, 3), np.nan), label], axis=2))
        labels = labels.narrow(2, 2, 5)
    attrs = _core.LossAttrs(_core.Normalization.VALID, 1)
    y = empty(())
    _core.sigmoid_cross_entropy_loss_forward(logits, labels, y, attrs)
    assert relative_error(y.get(), loss_forward(x, label, "VALID", 1)) < 1e-6
    _core.sigmoid_cross_entropy_loss_backward(logits, labels, tensor(0.7), dx, attrs)
    assert relative_error(dx.get(), loss_backward(x, label, 0.7, "VALID", 1)) < 1e-6


def test_results_repeat_bit_for_bit() -> None:
    runner = LayerRunner(text("VALID", 0), draw((5, 8, 33, 31)))
    check_repeats(lambda: runner.forward_backward(0.7, propagate_down=[True, False]))


def test_an_empty_batch_has_no_loss() -> None:
    runner = LayerRunner(text("VALID", 0), [np.zeros((0, 3)), np.zeros((0, 3))])
    assert runner.forward()[0] == 0
    assert runner.backward(1.0, propagate_down=[True, False])[0].shape == (0, 3)


@pytest.mark.cpu_only
def test_results_do_not_depend_on_threads() -> None:
    x, label = draw((5, 8, 33, 31))
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            runner = LayerRunner(text("VALID", 0), [x, label])
            y = runner.forward()[0]
            results.append((y, runner.backward(1.0, propagate_down=[True, False])[0]))
    for other in results[1:]:
        assert other[0] == results[0][0]
        assert np.array_equal(other[1], results[0][1])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 3), (3, 3)], "their first axis, the samples, must be equal"),
        ([(2, 3), (2, 4)], r"labels 'x1' \(2, 4\); there must be a label for each prediction"),
        ([(), ()], r"predictions 'x0' have shape \(\)"),
    ],
)
def test_bad_shapes_are_named(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner('type: "SigmoidCrossEntropyLoss"', [np.zeros(shape) for shape in shapes])


def test_labels_have_no_gradient() -> None:
    runner = LayerRunner('type: "SigmoidCrossEntropyLoss"', draw((3, 4)))
    runner.forward()
    with pytest.raises(NetError, match="cannot backpropagate to label inputs"):
        runner.backward(1.0)


@pytest.mark.parametrize("name", ["sigmoid_ce", "sigmoid_ce_ignore"])
def test_golden(golden_dir: Path, name: str) -> None:
    run_golden(golden_dir, name)
