"""ContrastiveLoss against a plain reference."""

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

EPS = 1e-4
"""What Caffe adds to the distance that it divides by."""


def loss_forward(a: Array, b: Array, label: Array, margin: float, legacy: bool) -> Array:
    total = 0.0
    for x, y, similar in zip(a, b, label.reshape(-1), strict=True):
        squared = np.sum((x - y) ** 2)
        if similar:
            total += squared
        elif legacy:
            total += max(margin - squared, 0)
        else:
            total += max(margin - np.sqrt(squared), 0) ** 2
    return np.array(total / 2 / len(a))


def loss_backward(
    a: Array, b: Array, label: Array, dy: float, margin: float, legacy: bool, eps: float = EPS
) -> tuple[Array, Array]:
    """da, db; they are exact for eps 0."""
    da = np.zeros_like(a)
    for i, similar in enumerate(label.reshape(-1)):
        difference = a[i] - b[i]
        squared = np.sum(difference**2)
        distance = np.sqrt(squared)
        if similar:
            da[i] = difference
        elif legacy:
            da[i] = -difference if margin > squared else 0
        elif margin > distance:
            da[i] = -(margin - distance) / (distance + eps) * difference
    da *= dy / len(a)
    return da, -da


CASES: list[tuple[Shape, Shape, float]] = [
    # a and b, labels, margin
    ((1, 5), (1,), 1.0),
    ((2, 3), (2, 1), 4.0),
    ((5, 7), (5, 1, 1, 1), 3.0),
    ((5, 3, 1, 1), (5,), 1.0),
    ((5, 1), (5,), 1.0),
    ((6, 300), (6,), 20.0),
    ((8200, 3), (8200,), 2.0),
]


def draw(shape: Shape, label_shape: Shape) -> tuple[Array, Array, Array]:
    """Pairs at very different distances, every second one similar."""
    a, b = random_array(shape, 1), random_array(shape, 2)
    size = np.linspace(0.1, 2, len(a)).reshape(-1, *[1] * (len(shape) - 1))
    b = (a + size * b).astype(np.float32).astype(np.float64)
    return a, b, np.arange(float(len(a))).reshape(label_shape) % 2


def text(margin: float, legacy: bool) -> str:
    return f"""type: "ContrastiveLoss"
      contrastive_loss_param {{ margin: {margin} legacy_version: {str(legacy).lower()} }}"""


@pytest.mark.parametrize("legacy", [False, True])
def test_reference_backward_equals_central_differences(legacy: bool) -> None:
    """Without the small number that makes Caffe's gradient inexact."""
    a, b, label = draw((6, 4), (6,))
    gradients = loss_backward(a, b, label, 0.7, 2.5, legacy, eps=0)
    for array, gradient in zip((a, b), gradients, strict=True):
        wanted = central_differences(
            lambda: loss_forward(a, b, label, 2.5, legacy), array, np.array(0.7)
        )
        assert relative_error(gradient, wanted) < 1e-6


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("shape", "label_shape", "margin"), CASES)
def test_kernel_equals_reference(
    shape: Shape, label_shape: Shape, margin: float, legacy: bool
) -> None:
    a, b, label = draw(shape, label_shape)
    margin = margin**2 if legacy else margin
    y = loss_forward(a, b, label, margin, legacy)
    gradients = loss_backward(a, b, label, 0.7, margin, legacy)
    runner = LayerRunner(text(margin, legacy), [a, b, label])
    check_layer(runner, [y], [0.7], gradients, 2e-6)


def test_the_draw_has_pairs_on_both_sides_of_the_margin() -> None:
    for shape, label_shape, margin in CASES[1:]:
        a, b, label = draw(shape, label_shape)
        distance = np.sqrt(np.sum((a - b).reshape(len(a), -1) ** 2, axis=1))
        others = distance[label.reshape(-1) == 0]
        assert (others < margin).any()
        assert len(others) < 3 or (others > margin).any()


def test_margin_is_1_and_the_version_the_second_unless_given() -> None:
    a, b, label = draw((5, 3), (5,))
    (y,) = LayerRunner('type: "ContrastiveLoss"', [a, b, label]).forward()
    assert relative_error(y, loss_forward(a, b, label, 1, False)) < 1e-6


@pytest.mark.parametrize("wanted", [0, 1])
def test_one_gradient_alone(wanted: int) -> None:
    a, b, label = draw((5, 3), (5,))
    runner = LayerRunner(text(1, False), [a, b, label])
    runner.forward()
    found = runner.backward(0.7, propagate_down=[wanted == 0, wanted == 1, False])
    assert relative_error(found[wanted], loss_backward(a, b, label, 0.7, 1, False)[wanted]) < 2e-6
    assert not found[1 - wanted].any()


@pytest.mark.parametrize("legacy", [False, True])
def test_equal_samples_of_a_dissimilar_pair(legacy: bool) -> None:
    """At distance 0 there is no direction to push to; nothing is divided by 0."""
    runner = LayerRunner(text(1.5, legacy), [[[1.0, 2.0]], [[1.0, 2.0]], [0]])
    wanted = 1.5 / 2 if legacy else 1.5**2 / 2
    check_layer(runner, [wanted], [1.0], [np.zeros((1, 2))] * 2, 1e-9)


@pytest.mark.parametrize("value", [1, 2, -1])
def test_any_label_but_0_is_similar(value: int) -> None:
    a, b, label = draw((5, 3), (5,))
    (y,) = LayerRunner(text(1, False), [a, b, np.full_like(label, value)]).forward()
    assert relative_error(y, loss_forward(a, b, np.ones(5), 1, False)) < 1e-6


def test_a_number_that_is_none_shows_in_the_loss() -> None:
    for label in (0, 1):
        (y,) = LayerRunner(text(1, False), [[[np.nan]], [[0.0]], [label]]).forward()
        assert np.isnan(y)


def test_labels_that_lie_apart() -> None:
    a, b, label = draw((5, 3), (5,))
    wide = tensor(np.stack([np.full(5, np.nan), label], axis=1)).narrow(1, 1, 1)
    y, distance = empty(()), empty((5,))
    _core.contrastive_loss_forward(tensor(a), tensor(b), wide, distance, y, 1.0, False)
    assert relative_error(y.get(), loss_forward(a, b, label, 1, False)) < 1e-6
    assert relative_error(distance.get(), np.sum((a - b) ** 2, axis=1)) < 1e-6


@pytest.mark.parametrize("shape", [(8200, 3), (6, 300)])
def test_results_repeat_bit_for_bit(shape: Shape) -> None:
    runner = LayerRunner(text(2, False), draw(shape, shape[:1]))
    check_repeats(lambda: runner.forward_backward(0.7, propagate_down=[True, True, False]))


@pytest.mark.cpu_only
def test_results_do_not_depend_on_threads() -> None:
    runner = LayerRunner(text(2, False), draw((8200, 3), (8200,)))
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            results.append(runner.forward_backward(0.7, propagate_down=[True, True, False]))
    for other in results[1:]:
        assert all(np.array_equal(x, y) for x, y in zip(other, results[0], strict=True))


def test_an_empty_batch_has_no_loss() -> None:
    runner = LayerRunner(text(1, False), [np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)])
    assert runner.forward()[0] == 0
    assert runner.backward(1.0, propagate_down=[True, True, False])[1].shape == (0, 3)


@pytest.mark.parametrize("legacy", [False, True])
def test_loss_weight_multiplies_loss_and_gradients(legacy: bool) -> None:
    a, b, label = draw((4, 3), (4,))
    loss, gradients = run_in_net(text(1, legacy), [a, b, label], 0.25)
    assert relative_error(loss, 0.25 * loss_forward(a, b, label, 1, legacy)) < 1e-6
    assert list(gradients) == ["x0", "x1"]
    wanted = loss_backward(a, b, label, 0.25, 1, legacy)
    for got, gradient in zip(gradients.values(), wanted, strict=True):
        assert relative_error(got, gradient) < 2e-6


@pytest.mark.parametrize("value", ["0.5", "nan", "inf"])
def test_a_label_that_is_no_whole_number_is_named(value: str) -> None:
    a, b, label = draw((5, 3), (5,))
    wrong = label.copy()
    wrong[2:4] = [float(value), 0.25]
    runner = LayerRunner(text(1, False), [a, b, wrong])
    message = f"label {value} at position 2 is not a whole number; 0 is a dissimilar pair"
    with pytest.raises(ValueError, match=f"contrastive_loss_forward: {message}"):
        runner.forward()
    with pytest.raises(ValueError, match=f"contrastive_loss_backward: {message}"):
        runner.backward(1.0, propagate_down=[True, True, False])
    runner.set_inputs(a, b, label)
    assert relative_error(runner.forward()[0], loss_forward(a, b, label, 1, False)) < 1e-6


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 3), (3, 3), (2,)], r"'x0' \(2, 3\) and 'x1' \(3, 3\) have different samples"),
        ([(2, 3), (2, 4), (2,)], r"'x0' \(2, 3\) and 'x1' \(2, 4\) have different samples or ch"),
        ([(2, 3, 2, 1), (2, 3, 1, 2), (2,)], r"'x0' has shape \(2, 3, 2, 1\); \(N, C\) is needed"),
        ([(2,), (2,), (2,)], r"'x0' has shape \(2,\); \(N, C\) is needed"),
        ([(2, 3), (2, 3), (2, 3)], r"2 pairs need as many labels, 'x2' has shape \(2, 3\)"),
        ([(2, 3), (2, 3), (1, 2)], r"2 pairs need as many labels, 'x2' has shape \(1, 2\)"),
    ],
)
def test_bad_shapes_are_named(shapes: list[Shape], message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(text(1, False), [np.zeros(shape) for shape in shapes])


def test_labels_have_no_gradient() -> None:
    runner = LayerRunner(text(1, False), draw((3, 4), (3,)))
    runner.forward()
    with pytest.raises(NetError, match="cannot backpropagate to label inputs"):
        runner.backward(1.0)
