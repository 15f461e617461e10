"""Reshape against NumPy's reshape."""

from __future__ import annotations

import numpy as np
import pytest
from layer_testing import (
    Array,
    LayerRunner,
    central_differences,
    check_layer,
    random_array,
    relative_error,
)

from drml.errors import NetError
from drml.net import Net
from drml.prototxt import parse_net

Shape = tuple[int, ...]


def reshape_forward(x: Array, shape: Shape) -> Array:
    return x.reshape(shape)


def reshape_backward(dy: Array, shape: Shape) -> Array:
    return dy.reshape(shape)


CASES: list[tuple[Shape, str, Shape]] = [
    # bottom's shape, parameters, top's shape; on the CPU four axes lie channels-last
    ((2, 3, 4, 2), "shape { dim: 0 dim: -1 }", (2, 24)),
    ((2, 3, 4, 2), "shape { dim: 4 dim: 2 dim: 3 dim: 2 }", (4, 2, 3, 2)),
    ((2, 24), "shape { dim: 0 dim: 3 dim: 4 dim: -1 }", (2, 3, 4, 2)),
    ((2, 3, 4, 2), "shape { dim: 0 dim: 0 dim: 0 dim: 0 }", (2, 3, 4, 2)),
    ((2, 3, 8), "shape { dim: 1 } axis: -1 num_axes: 0", (2, 3, 8, 1)),
    ((2, 3, 8), "shape { dim: 1 dim: 1 } axis: 0 num_axes: 0", (1, 1, 2, 3, 8)),
    ((2, 8, 3), "shape { dim: 2 dim: -1 } axis: 1 num_axes: 1", (2, 2, 4, 3)),
    ((2, 3, 4, 2), "shape { dim: -1 } axis: 1 num_axes: 2", (2, 12, 2)),
    ((2, 3, 5), "shape { dim: -1 } axis: -3", (2, 15)),
    ((5, 16, 33, 31), "shape { dim: 0 dim: 8 dim: 62 dim: 33 }", (5, 8, 62, 33)),
    ((0, 3, 4), "shape { dim: 0 dim: -1 }", (0, 12)),
    ((1,), "shape { }", ()),
]


def text(param: str) -> str:
    return f'type: "Reshape" reshape_param {{ {param} }}'


def test_reference_backward_equals_central_differences() -> None:
    x, dy = random_array((2, 3, 2), 1), random_array((3, 4), 2)
    wanted = central_differences(lambda: reshape_forward(x, (3, 4)), x, dy)
    assert relative_error(reshape_backward(dy, (2, 3, 2)), wanted) < 1e-6


@pytest.mark.parametrize(("shape", "param", "result"), CASES)
def test_layer_equals_reference(shape: Shape, param: str, result: Shape) -> None:
    x, dy = random_array(shape, 1), random_array(result, 2)
    runner = LayerRunner(text(param), [x])
    wanted = [reshape_forward(x, result)], [dy], [reshape_backward(dy, shape)]
    check_layer(runner, *wanted, 1e-9)


def test_bottom_of_another_shape_gets_another_top() -> None:
    runner = LayerRunner(text("shape { dim: 0 dim: 2 dim: -1 }"), [np.zeros((3, 8))])
    assert runner.top[0].shape == (3, 2, 4)
    runner.bottom[0].reshape(2, 6)
    runner.layer.reshape(runner.bottom, runner.top)
    assert runner.top[0].shape == (2, 2, 3)


def test_gradients_are_summed_with_those_of_other_readers() -> None:
    net = Net(
        parse_net(
            """force_backward: true
            layer { name: "in" type: "Input" top: "x"
              input_param { shape { dim: 2 dim: 3 dim: 4 dim: 2 } } }
            layer { name: "reshape" type: "Reshape" bottom: "x" top: "y"
              reshape_param { shape { dim: 0 dim: 4 dim: 3 dim: 2 } } }
            layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
            layer { name: "scale" type: "Scale" bottom: "x" top: "z"
              scale_param { filler { value: 3 } } }"""
        )
    )
    x = random_array((2, 3, 4, 2), 1)
    dy, dz = random_array((2, 4, 3, 2), 2), random_array((2, 3, 4, 2), 3)
    outputs = net.forward(x=x)
    assert np.array_equal(outputs["y"], np.maximum(x.reshape(2, 4, 3, 2), 0))
    assert np.array_equal(outputs["z"], (3 * x).astype(np.float32))
    dx = net.backward(y=dy, z=dz)["x"]
    assert relative_error(dx, dy.reshape(x.shape) * (x > 0) + 3 * dz) < 1e-6


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("shape { dim: -1 dim: 2 dim: -1 }", "only one dim may be -1"),
        ("shape { dim: -2 }", "a dim must be -1 or more"),
        ("shape { dim: 1 } num_axes: -2", "num_axes must be -1 or more, not -2"),
        ("shape { dim: 1 } axis: 4", r"axis 4 is no place in the bottom's shape \(2, 3, 4\)"),
        ("shape { dim: 1 } axis: -5", r"axis -5 is no place in the bottom's shape \(2, 3, 4\)"),
        ("shape { dim: 1 } axis: 2 num_axes: 2", "num_axes 2 from axis 2 on exceed the bottom's"),
        ("shape { dim: 5 dim: -1 }", r"24 numbers of shape \(2, 3, 4\) do not divide by 5"),
        ("shape { dim: 5 }", r"shape \(5,\) does not hold as many numbers as the bottom's"),
        ("shape { dim: 0 dim: 0 dim: 0 dim: 0 }", "dim number 3 is 0, but .* has no axis 3"),
        ("", r"shape \(\) does not hold as many numbers"),
    ],
)
def test_bad_parameters_are_named(param: str, message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(text(param), [np.zeros((2, 3, 4))])
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (Reshape): ")
