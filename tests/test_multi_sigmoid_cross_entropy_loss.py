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

from drml import _core
from drml.errors import NetError
from drml.net import Net
from drml.prototxt import parse_net


def loss_forward(x: Array, label: Array) -> Array:
    s = 1 / (1 + np.exp(-x))
    loss = -np.sum((label > 0) * np.log(s) + (label < 0) * np.log(1 - s))
    return np.array(loss / len(x))


def loss_backward(x: Array, label: Array, dy: float) -> Array:
    s = 1 / (1 + np.exp(-x))
    return dy * np.where(label == 0, 0, s - (label > 0)) / len(x)


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
    _core.multi_sigmoid_cross_entropy_loss_forward(logits, labels, y)
    assert relative_error(y.get(), loss_forward(x, label)) < 1e-6
    _core.multi_sigmoid_cross_entropy_loss_backward(logits, labels, tensor(0.7), dx)
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
    _core.multi_sigmoid_cross_entropy_loss_forward(x, label, y)
    _core.multi_sigmoid_cross_entropy_loss_backward(x, label, dy, dx)
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
    net = Net(
        parse_net(f"""
        force_backward: true
        layer {{ name: "x" type: "Input" top: "x" top: "label"
          input_param {{ shape {{ dim: 3 dim: 12 }} }} }}
        layer {{ name: "loss" {TEXT} bottom: "x" bottom: "label" top: "loss" loss_weight: 0.25 }}
        """)
    )
    net.forward(x=x, label=label)
    assert relative_error(net.loss, 0.25 * loss_forward(x, label)) < 1e-6
    assert relative_error(net.backward()["x"], loss_backward(x, label, 0.25)) < 1e-6


@pytest.mark.parametrize("value", ["2", "9", "0.5", "nan"])
def test_another_label_is_named_with_its_place(value: str) -> None:
    x, label = draw((5, 12))
    label[3, 7] = float(value)
    message = f"label {value} of sample 3, column 7 is none of 1 .*, -1 .*, 0 .*; map it"
    with pytest.raises(ValueError, match=message):
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


def test_labels_have_no_gradient() -> None:
    runner = LayerRunner(TEXT, draw((3, 12)))
    runner.forward()
    with pytest.raises(NetError, match="cannot backpropagate to label inputs"):
        runner.backward(1.0)
