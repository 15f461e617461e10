"""ArgMax against a plain reference."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_testing import needs_cuda
from layer_testing import DEVICE, Array, LayerRunner, check_repeats, random_array

from drml.errors import NetError
from drml.net import Net
from drml.prototxt import parse_net

Shape = tuple[int, ...]


def largest(line: Array, top_k: int) -> tuple[list[int], list[float]]:
    """Places and values of a line's largest numbers; of equal ones the later place comes first."""
    pairs = sorted(((value, place) for place, value in enumerate(line)), reverse=True)[:top_k]
    return [place for _, place in pairs], [value for value, _ in pairs]


def argmax_along(x: Array, top_k: int, axis: int, values: bool) -> Array:
    return np.apply_along_axis(lambda line: largest(line, top_k)[values], axis, x)


def argmax_of_samples(x: Array, top_k: int, values: bool) -> Array:
    found = [largest(sample.ravel(), top_k) for sample in x]
    if not values:
        return np.array([[places] for places, _ in found])
    return np.array([[places, numbers] for places, numbers in found])


def text(param: str) -> str:
    return f'type: "ArgMax" argmax_param {{ {param} }}'


@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize(
    ("shape", "top_k", "axis"),
    [
        ((1,), 1, 0),
        ((2, 7), 3, 1),
        ((2, 7), 2, -2),
        ((2, 5, 3, 4), 1, 1),
        ((5, 7, 3, 4), 7, 1),
        ((2, 5, 3, 4), 2, 3),
    ],
)
def test_layer_equals_reference_along_an_axis(
    shape: Shape, top_k: int, axis: int, values: bool
) -> None:
    x = np.round(2 * random_array(shape, 1)) / 2
    param = f"top_k: {top_k} axis: {axis} out_max_val: {str(values).lower()}"
    y = LayerRunner(text(param), [x]).forward()[0]
    assert np.array_equal(y, argmax_along(x, top_k, axis, values))


@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize(
    ("shape", "top_k", "more"),
    [
        ((3,), 1, ()),
        ((2, 7), 1, ()),
        ((5, 7), 4, ()),
        ((2, 3, 5), 15, ()),
        ((2, 5, 3, 4), 5, (1,)),
        ((2, 5, 1, 3, 4), 5, (1, 1)),
    ],
)
def test_layer_equals_reference_over_samples(
    shape: Shape, top_k: int, more: Shape, values: bool
) -> None:
    x = np.round(2 * random_array(shape, 1)) / 2
    param = f"top_k: {top_k} out_max_val: {str(values).lower()}"
    y = LayerRunner(text(param), [x]).forward()[0]
    assert y.shape == (shape[0], 2 if values else 1, top_k, *more)
    assert np.array_equal(y.reshape(y.shape[:3]), argmax_of_samples(x, top_k, values))


def test_empty_batch_has_no_maxima() -> None:
    assert LayerRunner(text(""), [np.zeros((0, 3))]).forward()[0].shape == (0, 1, 1)
    assert LayerRunner(text("axis: 1"), [np.zeros((0, 3))]).forward()[0].shape == (0, 1)


def test_results_repeat_bit_for_bit() -> None:
    runner = LayerRunner(text("top_k: 3"), [np.round(random_array((4, 50), 1))])
    check_repeats(runner.forward)


@needs_cuda
def test_cuda_graph_leaves_it_outside() -> None:
    net = """layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 5 } } }
    layer { name: "relu" type: "ReLU" bottom: "x" top: "y" }
    layer { name: "best" type: "ArgMax" bottom: "y" top: "best" argmax_param { axis: 1 } }"""
    with Net(parse_net(net), device=DEVICE) as graphed:
        graphed.use_cuda_graph()
        for seed in range(3):
            x = random_array((2, 5), seed)
            best = graphed.forward(x=x)["best"]
            assert np.array_equal(best, argmax_along(np.maximum(x, 0), 1, 1, False))


@pytest.mark.parametrize(
    ("param", "shape", "message"),
    [
        ("axis: 2", (2, 3), r"shape \(2, 3\) has no axis 2"),
        ("top_k: 0", (2, 3), "top_k 0 must be between 1 and 3"),
        ("top_k: 4 axis: 1", (2, 3), "top_k 4 must be between 1 and 3"),
        ("top_k: 7", (2, 2, 3), "top_k 7 must be between 1 and 6"),
        ("", (), "bottom needs one axis or more"),
    ],
)
def test_bad_parameters_are_named(param: str, shape: Shape, message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(text(param), [np.zeros(shape)])
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (ArgMax): ")


def test_there_is_no_gradient() -> None:
    runner = LayerRunner(text("axis: 1"), [random_array((2, 3), 1)])
    assert not runner.layer.can_backward_to(0)
    runner.backward(np.zeros((2, 1)), propagate_down=[False])
    with pytest.raises(NetError, match="has no gradient"):
        runner.backward(np.zeros((2, 1)), propagate_down=[True])
