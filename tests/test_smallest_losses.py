"""As test_smallest_shapes.py: softmax, losses and accuracy.

CI runs this file with sanitizers too.
"""

from __future__ import annotations

import numpy as np
import pytest
from cuda_testing import needs_cuda
from layer_testing import DEVICE, Array, random_array
from twin_testing import Laid, Layout, Shape, channels_last, check, row_major, run, unset, with_gaps

from drml import _core

pytestmark = needs_cuda
races = pytest.mark.races

SAMPLES = [((1, 1), row_major), ((3, 11), row_major), ((2, 3, 5, 3), channels_last)]

LINES = [
    ((1, 1), 1, row_major),
    ((2, 3, 5, 3), 1, row_major),
    ((2, 3, 5, 3), 1, channels_last),
    ((2, 3, 5, 3), 3, row_major),
    ((257, 3), 1, row_major),
    # Lines of a block each, with and without gaps.
    ((2, 129), 1, row_major),
    ((129, 3), 0, row_major),
]


def probabilities(shape: Shape, axis: int) -> Array:
    powers = np.exp(random_array(shape, 1))
    return np.asarray(powers / powers.sum(axis, keepdims=True))


@races
@pytest.mark.parametrize(("shape", "axis", "layout"), LINES)
def test_softmax(shape: Shape, axis: int, layout: Layout) -> None:
    x, dy = (Laid(random_array(shape, seed), layout) for seed in (1, 2))
    y, prob = Laid(unset(shape), layout), Laid(probabilities(shape, axis), layout)
    check("softmax_forward", x, y, axis)
    check("softmax_backward", prob, dy, dy, axis)


def classes_of(shape: Shape, axis: int) -> Array:
    """A class for each line along the axis."""
    others = (*shape[:axis], *shape[axis + 1 :])
    return np.random.default_rng(2).integers(0, shape[axis], others).astype(float)


ATTRS = [
    _core.LossAttrs(_core.Normalization.FULL),
    _core.LossAttrs(_core.Normalization.VALID),
    _core.LossAttrs(_core.Normalization.VALID, ignore_label=0),
    _core.LossAttrs(_core.Normalization.BATCH_SIZE, ignore_label=0),
    _core.LossAttrs(_core.Normalization.NONE, ignore_label=0),
]


@races
@pytest.mark.parametrize(("shape", "axis", "layout"), LINES)
@pytest.mark.parametrize("attrs", ATTRS)
def test_softmax_loss(shape: Shape, axis: int, layout: Layout, attrs: object) -> None:
    prob = probabilities(shape, axis)
    prob.flat[0] = 0
    laid, label, dx = Laid(prob, layout), classes_of(shape, axis), Laid(unset(shape), layout)
    check("softmax_loss_forward", laid, label, unset((1,)), axis, attrs)
    check("softmax_loss_backward", laid, label, np.array([0.5]), dx, axis, attrs)


@races
@pytest.mark.parametrize(("shape", "layout"), SAMPLES)
@pytest.mark.parametrize("attrs", ATTRS)
def test_sigmoid_cross_entropy_loss(shape: Shape, layout: Layout, attrs: object) -> None:
    x, dx = Laid(random_array(shape, 1), layout), Laid(unset(shape), layout)
    # A fraction of 0 is cut off, and so is ignored too.
    label = Laid(np.random.default_rng(2).choice([0.0, 0.25, 1.0], shape), row_major)
    check("sigmoid_cross_entropy_loss_forward", x, label, unset((1,)), attrs)
    check("sigmoid_cross_entropy_loss_backward", x, label, np.array([0.5]), dx, attrs)


@races
@pytest.mark.parametrize(("shape", "layout"), SAMPLES)
@pytest.mark.parametrize("choice", [(-1, 0, 1), (0,)])
def test_multi_sigmoid_cross_entropy_loss(shape: Shape, layout: Layout, choice: Shape) -> None:
    x, dx = Laid(random_array(shape, 1), layout), Laid(unset(shape), layout)
    label = Laid(np.random.default_rng(2).choice(choice, shape).astype(float), row_major)
    for weight in (None, Laid(random_array((2, shape[1]), 3), row_major)):
        check("multi_sigmoid_cross_entropy_loss_forward", x, label, weight, unset((1,)))
        check("multi_sigmoid_cross_entropy_loss_backward", x, label, weight, np.array([0.5]), dx)


@races
@pytest.mark.parametrize(("shape", "axis", "layout"), LINES)
@pytest.mark.parametrize("attrs", ATTRS[1:3])
def test_infogain_loss(shape: Shape, axis: int, layout: Layout, attrs: object) -> None:
    prob = probabilities(shape, axis)
    prob.flat[0] = 0
    laid, label, dx = Laid(prob, layout), classes_of(shape, axis), Laid(unset(shape), layout)
    classes = shape[axis]
    matrix, sums = np.abs(random_array((classes, classes), 3)), random_array((classes,), 4)
    check("infogain_loss_forward", laid, label, matrix, unset((1,)), axis, attrs)
    dy = np.array([0.5])
    check("infogain_loss_backward", laid, label, matrix, sums, dy, dx, axis, attrs)


ROWS = [
    ((1, 1), row_major),
    # Samples without and with a gap, for more than one block.
    ((3, 87), row_major),
    ((257, 3), with_gaps),
]


@races
@pytest.mark.parametrize("l2", [False, True])
@pytest.mark.parametrize(("shape", "layout"), ROWS)
def test_hinge_loss(shape: Shape, layout: Layout, l2: bool) -> None:
    x, label = Laid(random_array(shape, 1), layout), Laid(classes_of(shape, 1), with_gaps)
    check("hinge_loss_forward", x, label, unset((1,)), l2)
    x, dx = Laid(x.array, row_major), Laid(unset(shape), row_major)
    check("hinge_loss_backward", x, label, np.array([0.5]), dx, l2)


@races
@pytest.mark.parametrize(("shape", "layout"), ROWS)
def test_multinomial_logistic_loss(shape: Shape, layout: Layout) -> None:
    prob, label = probabilities(shape, 1), Laid(classes_of(shape, 1), with_gaps)
    prob[0] = 0
    check("multinomial_logistic_loss_forward", Laid(prob, layout), label, unset((1,)))
    prob[0] = 0.5
    dx = Laid(unset(shape), row_major)
    laid = Laid(prob, row_major)
    check("multinomial_logistic_loss_backward", laid, label, np.array([0.5]), dx)


@races
@pytest.mark.parametrize(("shape", "layout"), [*SAMPLES, ((257, 3), row_major)])
def test_euclidean_loss(shape: Shape, layout: Layout) -> None:
    x, label = Laid(random_array(shape, 1), layout), Laid(random_array(shape, 2), row_major)
    dx, dlabel = Laid(unset(shape), layout), Laid(unset(shape), row_major)
    check("euclidean_loss_forward", x, label, unset((1,)))
    for gradients in [(dx, dlabel), (dx, None), (None, dlabel)]:
        check("euclidean_loss_backward", x, label, np.array([0.5]), *gradients)


@races
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1),
        # One thread per pair, for two blocks of pairs; and a block per pair that goes round twice.
        (257, 3),
        (3, 131),
    ],
)
def test_contrastive_loss(shape: Shape, legacy: bool) -> None:
    a, b = random_array(shape, 1), Laid(random_array(shape, 2), with_gaps)
    label, margin = Laid(np.arange(float(len(a))) % 2, with_gaps), float(shape[1])
    check("contrastive_loss_forward", a, b, label, unset(shape[:1]), unset((1,)), margin, legacy)
    dense = Laid(b.array, row_major)
    distance = np.sum((a - b.array) ** 2, axis=1)
    for gradients in [(unset(shape), unset(shape)), (unset(shape), None), (None, unset(shape))]:
        arguments = (distance, np.array([0.5]), *gradients, margin, legacy)
        check("contrastive_loss_backward", a, dense, label, *arguments)


@races
def test_losses_of_two_blocks() -> None:
    """More labels than one block counts and adds up."""
    label = np.random.default_rng(1).integers(0, 2, 8193).astype(float)
    x, y, attrs = random_array(label.shape, 2), unset((1,)), ATTRS[2]
    check("softmax_loss_forward", probabilities((8193, 2), 1), label, y, 1, attrs)
    check("sigmoid_cross_entropy_loss_forward", x, label, y, attrs)
    check("multi_sigmoid_cross_entropy_loss_forward", x, label, None, y)
    check("euclidean_loss_forward", x, label, y)
    columns = random_array((8193, 1), 3), random_array((8193, 1), 4)
    check("contrastive_loss_forward", *columns, label, unset((8193,)), y, 1.0, False)
    scores = random_array((8193, 2), 5)
    check("hinge_loss_forward", scores, label, y, True)
    check("multinomial_logistic_loss_forward", probabilities((8193, 2), 1), label, y)
    check("infogain_loss_forward", probabilities((8193, 2), 1), label, np.eye(2), y, 1, attrs)


@races
@pytest.mark.parametrize(("top_k", "ignored"), [(1, None), (2, 0)])
@pytest.mark.parametrize(("shape", "axis", "layout"), LINES)
def test_accuracy(shape: Shape, axis: int, layout: Layout, top_k: int, ignored: int | None) -> None:
    """Many scores are equal."""
    x, label = Laid(np.round(random_array(shape, 1)), layout), classes_of(shape, axis)
    y, per_class = unset((1,)), unset((shape[axis],)) if ignored is None else None
    check("accuracy_forward", x, label, y, per_class, top_k, axis, ignored, exact=True)


@races
@pytest.mark.parametrize(
    ("shape", "wrong"), [((3, 2), 999), ((257, 2), 0.5), ((2, 129), -2), ((1, 1), np.nan)]
)
def test_wrong_labels(shape: Shape, wrong: float) -> None:
    """All threads report theirs; the report of the first is raised."""
    x, y, dy, dx = random_array(shape, 1), unset((1,)), np.array([0.5]), unset(shape)
    class_labels, labels = np.full(shape[:1], wrong), np.full(shape, wrong)
    matrix, sums = np.eye(shape[1]), np.ones(shape[1])
    not_a_class = f"label {wrong} at position 0 is not a class number below {shape[1]}"
    not_known = f"label {wrong} of sample 0, column 0 is none of 1"
    for message, op, *arguments in [
        (not_a_class, "softmax_loss_forward", x, class_labels, y, 1, ATTRS[0]),
        (not_a_class, "softmax_loss_backward", x, class_labels, dy, dx, 1, ATTRS[0]),
        (not_a_class, "accuracy_forward", x, class_labels, y, None, 1, 1, None),
        (not_a_class, "infogain_loss_forward", x, class_labels, matrix, y, 1, ATTRS[0]),
        (not_a_class, "infogain_loss_backward", x, class_labels, matrix, sums, dy, dx, 1, ATTRS[0]),
        (not_a_class, "hinge_loss_forward", x, class_labels, y, False),
        (not_a_class, "hinge_loss_backward", x, class_labels, dy, dx, False),
        (not_a_class, "multinomial_logistic_loss_forward", x, class_labels, y),
        (not_a_class, "multinomial_logistic_loss_backward", x, class_labels, dy, dx),
        (not_known, "multi_sigmoid_cross_entropy_loss_forward", x, labels, None, y),
        (not_known, "multi_sigmoid_cross_entropy_loss_backward", x, labels, None, dy, dx),
    ]:
        with pytest.raises(ValueError, match=message):
            run(DEVICE, op, *arguments)


@races
def test_wrong_labels_of_pairs() -> None:
    a, b, label, distance = unset((257, 3)), unset((257, 3)), np.full(257, 0.5), np.ones(257)
    message = "label 0.5 at position 0 is not a whole number"
    with pytest.raises(ValueError, match=message):
        run(DEVICE, "contrastive_loss_forward", a, b, label, distance, unset((1,)), 1.0, False)
    arguments = (distance, np.array([0.5]), unset((257, 3)), None, 1.0, False)
    with pytest.raises(ValueError, match=message):
        run(DEVICE, "contrastive_loss_backward", a, b, label, *arguments)
