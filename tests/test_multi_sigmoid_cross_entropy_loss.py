"""The paper's loss (section 3.3) against a plain reference; labels 1, -1 and 0 for unknown."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_testing import needs_cuda
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

Weights = float | list[float]


def weights_of(label: Array, positive: Weights, negative: Weights) -> Array:
    """What each label counts; weights stand along axis 1."""
    column = [1, -1, 1, 1][: label.ndim] if label.ndim > 1 else [1]
    return np.where(label > 0, np.reshape(positive, column), np.reshape(negative, column))


def loss_forward(x: Array, label: Array, positive: Weights = 1.0, negative: Weights = 1.0) -> Array:
    s = 1 / (1 + np.exp(-x))
    terms = (label > 0) * np.log(s) + (label < 0) * np.log(1 - s)
    return np.array(-np.sum(weights_of(label, positive, negative) * terms) / len(x))


def loss_backward(
    x: Array, label: Array, dy: float, positive: Weights = 1.0, negative: Weights = 1.0
) -> Array:
    s = 1 / (1 + np.exp(-x))
    dx = np.where(label == 0, 0, s - (label > 0))
    return dy * weights_of(label, positive, negative) * dx / len(x)


TEXT = 'type: "MultiSigmoidCrossEntropyLoss"'
SHAPES = [(1, 12), (2, 12), (5, 12), (5, 1), (2, 3, 5), (2, 7, 5, 3), (5,), (128, 12), (64, 1000)]


def draw(shape: tuple[int, ...]) -> tuple[Array, Array]:
    label = np.random.default_rng(3).integers(-1, 2, shape).astype(np.float64)
    return 2 * random_array(shape, 1), label


def test_reference_backward_equals_central_differences() -> None:
    x, label = draw((3, 12))
    wanted = central_differences(lambda: loss_forward(x, label), x, np.array(0.7))
    assert relative_error(loss_backward(x, label, 0.7), wanted) < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_equals_reference(shape: tuple[int, ...]) -> None:
    x, label = draw(shape)
    wanted = loss_forward(x, label), loss_backward(x, label, 0.7)
    check_layer(LayerRunner(TEXT, [x, label]), [wanted[0]], [0.7], [wanted[1]], 1e-6)


@pytest.mark.parametrize("value", [-1, 1])
def test_labels_of_one_sign(value: int) -> None:
    x, label = draw((5, 12))
    label[...] = value
    wanted = loss_forward(x, label), loss_backward(x, label, 1)
    check_layer(LayerRunner(TEXT, [x, label]), [wanted[0]], [1.0], [wanted[1]], 1e-6)


def test_all_labels_missing_give_neither_loss_nor_gradient() -> None:
    x, label = draw((5, 12))
    runner = LayerRunner(TEXT, [x, np.zeros_like(label)])
    check_layer(runner, [0.0], [1.0], [np.zeros_like(x)], 1e-9)


def test_unknown_labels_do_not_change_the_divisor() -> None:
    """Divided by the batch size, not by the number of known labels."""
    x, label = draw((4, 12))
    label[...] = 0
    label[1, 3] = 1
    (y,) = LayerRunner(TEXT, [x, label]).forward()
    assert relative_error(y, np.log1p(np.exp(-x[1, 3])) / 4) < 1e-6


def test_a_missing_label_hides_whatever_its_logit_is() -> None:
    runner = LayerRunner(TEXT, [[[np.inf, np.nan, 0.0]], [[0, 0, 1]]])
    assert relative_error(runner.forward()[0], np.log(2)) < 1e-6
    dx, _ = runner.backward(1.0, propagate_down=[True, False])
    assert dx.tolist() == [[0, 0, -0.5]]


def test_a_logit_that_is_not_a_number_shows_in_the_loss() -> None:
    (y,) = LayerRunner(TEXT, [[[np.nan, 0.0]], [[1, 1]]]).forward()
    assert np.isnan(y)


@pytest.mark.parametrize("size", [100.0, 200.0])
def test_huge_logits_do_not_overflow(size: float) -> None:
    x, label = [[size, -size, size, -size]], [[1, -1, -1, 1]]
    check_layer(LayerRunner(TEXT, [x, label]), [2 * size], [1.0], [[[0, 0, 1, -1]]], 1e-6)


def test_labels_of_another_shape_are_paired_in_order() -> None:
    x, label = draw((5, 12))
    wanted = loss_forward(x, label), loss_backward(x, label, 1)
    runner = LayerRunner(TEXT, [x, label.reshape(5, 12, 1, 1)])
    check_layer(runner, [wanted[0]], [1.0], [wanted[1]], 1e-6)


@pytest.mark.parametrize("labels_apart", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_any_layout(channels_last: bool, labels_apart: bool) -> None:
    x, label = draw((2, 7, 5, 3))
    logits, dx = tensor(x, channels_last), empty(x.shape, channels_last)
    labels = tensor(label)
    if labels_apart:
        labels = tensor(np.concatenate([np.full((2, 7, 2, 3), np.nan), label], axis=2))
        labels = labels.narrow(2, 2, 5)
    y = empty(())
    _core.multi_sigmoid_cross_entropy_loss_forward(logits, labels, None, y)
    assert relative_error(y.get(), loss_forward(x, label)) < 1e-6
    _core.multi_sigmoid_cross_entropy_loss_backward(logits, labels, None, tensor(0.7), dx)
    assert relative_error(dx.get(), loss_backward(x, label, 0.7)) < 1e-6


@pytest.mark.parametrize("shape", [(128, 12), (64, 1000)])
def test_results_repeat_bit_for_bit(shape: tuple[int, ...]) -> None:
    runner = LayerRunner(TEXT, draw(shape))
    check_repeats(lambda: runner.forward_backward(0.7, propagate_down=[True, False]))


@needs_cuda
def test_a_batch_of_faces_is_one_launch_each_way() -> None:
    x, label = (tensor(array) for array in draw((128, 12)))
    y, dy, dx = empty(()), tensor(1.0), empty((128, 12))
    before = _core.cuda_counters()
    _core.multi_sigmoid_cross_entropy_loss_forward(x, label, None, y)
    _core.multi_sigmoid_cross_entropy_loss_backward(x, label, None, dy, dx)
    after = _core.cuda_counters()
    assert after.launches == before.launches + 2
    assert after.synchronizations == before.synchronizations


def test_an_empty_batch_has_no_loss() -> None:
    runner = LayerRunner(TEXT, [np.zeros((0, 12)), np.zeros((0, 12))])
    assert runner.forward()[0] == 0
    assert runner.backward(1.0, propagate_down=[True, False])[0].shape == (0, 12)


@pytest.mark.cpu_only
def test_results_do_not_depend_on_threads() -> None:
    x, label = draw((64, 1000))
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            runner = LayerRunner(TEXT, [x, label])
            y = runner.forward()[0]
            results.append((y, runner.backward(1.0, propagate_down=[True, False])[0]))
    for other in results[1:]:
        assert other[0] == results[0][0]
        assert np.array_equal(other[1], results[0][1])


def test_loss_weight_multiplies_the_gradient() -> None:
    """The authors' layer forgot it."""
    x, label = draw((3, 12))
    loss, gradients = run_in_net(TEXT, [x, label], 0.25)
    assert relative_error(loss, 0.25 * loss_forward(x, label)) < 1e-6
    assert list(gradients) == ["x0"]
    assert relative_error(gradients["x0"], loss_backward(x, label, 0.25)) < 1e-6


@pytest.mark.parametrize("value", ["2", "9", "0.5", "nan"])
def test_another_label_is_named_with_its_place(value: str) -> None:
    x, label = draw((5, 12))
    label[3, 7] = float(value)
    message = f"label {value} of sample 3, column 7 is none of 1 .*, -1 .*, 0 .*; map it"
    with pytest.raises(ValueError, match=message):
        LayerRunner(TEXT, [x, label]).forward()


def test_a_wrong_label_of_a_map_is_named_in_the_order_of_the_axes() -> None:
    x, label = draw((2, 7, 5, 3))
    label[1, 6, 4, 2] = 9
    with pytest.raises(ValueError, match="label 9 of sample 1, column 104 is none of"):
        LayerRunner(TEXT, [x, label]).forward()
    label[1, 6, 4, 2], label[0, 2, 0, 1] = 0, 9
    with pytest.raises(ValueError, match="label 9 of sample 0, column 31 is none of"):
        LayerRunner(TEXT, [x, label]).forward()


def test_the_first_of_several_wrong_labels_is_named() -> None:
    x, label = draw((5, 12))
    wrong = label.copy()
    wrong[1, 11], wrong[2, 0], wrong[4, 3] = 9, -2, 5
    runner = LayerRunner(TEXT, [x, wrong])
    with pytest.raises(ValueError, match="label 9 of sample 1, column 11 is none"):
        runner.forward()
    with pytest.raises(ValueError, match="label 9 of sample 1, column 11 is none"):
        runner.backward(1.0, propagate_down=[True, False])
    runner.set_inputs(x, label)
    assert relative_error(runner.forward()[0], loss_forward(x, label)) < 1e-6


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 12), (3, 12)], "their first axis, the samples, must be equal"),
        ([(2, 12), (2, 8)], r"labels 'x1' \(2, 8\); there must be a label for each prediction"),
    ],
)
def test_bad_shapes_are_named(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(TEXT, [np.zeros(shape) for shape in shapes])


WEIGHTED: list[tuple[tuple[int, ...], Weights, Weights]] = [
    # shape, positive_weight, negative_weight
    ((1, 3), [0.5, 2.0, 7.0], 1.0),
    ((2, 3), 1.0, [0.5, 2.0, 7.0]),
    ((5, 3), [0.5, 2.0, 7.0], [3.0, 0.0, 0.25]),
    ((5, 3), 4.0, 0.25),
    ((5, 3), [4.0], [0.25, 0.5, 1.0]),
    ((5,), 4.0, 0.25),
    ((2, 3, 5), [0.5, 2.0, 7.0], [3.0, 0.0, 0.25]),
    ((2, 3, 5, 7), [0.5, 2.0, 7.0], [3.0, 0.0, 0.25]),
    ((128, 12), [0.5 + i for i in range(12)], [2.0 - i / 8 for i in range(12)]),
    ((64, 1000), [float(i % 7) for i in range(1000)], 0.5),
]


def weighted_text(positive: Weights, negative: Weights) -> str:
    fields = [
        f"{name}: {weight}"
        for name, weights in (("positive_weight", positive), ("negative_weight", negative))
        for weight in np.atleast_1d(weights)
    ]
    return f"{TEXT} multi_sigmoid_cross_entropy_loss_param {{ {' '.join(fields)} }}"


@pytest.mark.parametrize(("shape", "positive", "negative"), WEIGHTED[:8])
def test_weighted_reference_backward_equals_central_differences(
    shape: tuple[int, ...], positive: Weights, negative: Weights
) -> None:
    x, label = draw(shape)
    wanted = central_differences(
        lambda: loss_forward(x, label, positive, negative), x, np.array(0.7)
    )
    assert relative_error(loss_backward(x, label, 0.7, positive, negative), wanted) < 1e-6


@pytest.mark.parametrize(("shape", "positive", "negative"), WEIGHTED)
def test_weighted_kernel_equals_reference(
    shape: tuple[int, ...], positive: Weights, negative: Weights
) -> None:
    x, label = draw(shape)
    y = loss_forward(x, label, positive, negative)
    dx = loss_backward(x, label, 0.7, positive, negative)
    runner = LayerRunner(weighted_text(positive, negative), [x, label])
    check_layer(runner, [y], [0.7], [dx], 1e-6)


@pytest.mark.parametrize(("name", "sign"), [("positive_weight", 1), ("negative_weight", -1)])
def test_a_weight_is_that_of_its_sign_and_unit(name: str, sign: int) -> None:
    x, label = np.zeros((2, 3)), np.full((2, 3), sign)
    param = f"multi_sigmoid_cross_entropy_loss_param {{ {name}: 3 {name}: 1 {name}: 0.5 }}"
    half = -sign * np.array([3, 1, 0.5]) / 2 / 2
    runner = LayerRunner(f"{TEXT} {param}", [x, label])
    check_layer(runner, [np.log(2) * 4.5], [1.0], [np.stack([half, half])], 1e-6)
    runner.set_inputs(x, -label)
    assert relative_error(runner.forward()[0], np.log(2) * 3) < 1e-6


@pytest.mark.parametrize("shape", [(128, 12), (64, 1000), (2, 7, 5, 3)])
def test_weights_of_one_change_no_bit(shape: tuple[int, ...]) -> None:
    plain = LayerRunner(TEXT, draw(shape))
    weighted = LayerRunner(weighted_text(1.0, [1.0] * shape[1]), draw(shape))
    wanted = plain.forward_backward(0.7, propagate_down=[True, False])
    found = weighted.forward_backward(0.7, propagate_down=[True, False])
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("channels_last", [False, True])
def test_weights_in_any_layout(channels_last: bool) -> None:
    x, label = draw((2, 7, 5, 3))
    positive, negative = [1.0 + i for i in range(7)], [2.0 - i / 4 for i in range(7)]
    weight, y = tensor([positive, negative]), empty(())
    logits, dx = tensor(x, channels_last), empty(x.shape, channels_last)
    _core.multi_sigmoid_cross_entropy_loss_forward(logits, tensor(label), weight, y)
    assert relative_error(y.get(), loss_forward(x, label, positive, negative)) < 1e-6
    _core.multi_sigmoid_cross_entropy_loss_backward(logits, tensor(label), weight, tensor(0.7), dx)
    assert relative_error(dx.get(), loss_backward(x, label, 0.7, positive, negative)) < 1e-6


def test_weighted_results_repeat_bit_for_bit() -> None:
    runner = LayerRunner(weighted_text([0.5 + i for i in range(12)], 2.0), draw((128, 12)))
    check_repeats(lambda: runner.forward_backward(0.7, propagate_down=[True, False]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            "positive_weight: 1 positive_weight: 2",
            r"positive_weight is given 2 times for the 3 action units of 'x0' \(2, 3\); one for",
        ),
        ("negative_weight: [1, 2, 3, 4]", "negative_weight is given 4 times for the 3 action"),
        ("negative_weight: -1", "negative_weight must be a number of 0 or more, not -1"),
        ("positive_weight: nan", "positive_weight must be a number of 0 or more, not nan"),
        ("positive_weight: inf", "positive_weight must be a number of 0 or more, not inf"),
    ],
)
def test_bad_weights_are_named(fields: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(f"{TEXT} multi_sigmoid_cross_entropy_loss_param {{ {fields} }}", draw((2, 3)))


def test_weights_follow_another_batch() -> None:
    x, label = draw((5, 3))
    runner = LayerRunner(weighted_text([0.5, 2.0, 7.0], 3.0), [x[:2], label[:2]])
    runner.forward()
    for blob, array in zip(runner.bottom, (x, label), strict=True):
        blob.reshape(*array.shape)
    runner.layer.reshape(runner.bottom, runner.top)
    runner.set_inputs(x, label)
    assert relative_error(runner.forward()[0], loss_forward(x, label, [0.5, 2.0, 7.0], 3.0)) < 1e-6


def test_labels_have_no_gradient() -> None:
    runner = LayerRunner(TEXT, draw((3, 12)))
    runner.forward()
    with pytest.raises(NetError, match="cannot backpropagate to label inputs"):
        runner.backward(1.0)
