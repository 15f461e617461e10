"""Silence: no outputs, and gradients of zero."""

from __future__ import annotations

import numpy as np
import pytest
from layer_testing import LayerRunner, random_array

from drml.errors import NetError
from drml.net import Net
from drml.prototxt import parse_net

NET = """force_backward: true
layer { name: "in" type: "Input" top: "x" top: "label"
  input_param { shape { dim: 2 dim: 3 } } }
layer { name: "half" type: "Slice" bottom: "x" top: "a" top: "b" slice_param { slice_point: 1 } }
layer { name: "quiet" type: "Silence" bottom: "b" bottom: "label" }
"""


def test_layer_leaves_gradients_of_zero() -> None:
    x = [random_array((2, 3, 4, 5), 1), random_array((3,), 2), random_array((0, 2), 3)]
    runner = LayerRunner('type: "Silence"', x, tops=0)
    assert runner.forward() == []
    for blob in runner.bottom:
        blob.diff = 7
    first, second, third = runner.backward(propagate_down=[True, False, True])
    assert not first.any()
    assert np.array_equal(second, np.full(3, 7))
    assert third.shape == (0, 2)


def test_net_has_no_output_of_it() -> None:
    net = Net(parse_net(NET))
    x, dy = random_array((2, 3), 1), random_array((2, 1), 2)
    assert list(net.forward(x=x)) == net.outputs == ["a"]
    net.blobs["b"].diff = 7
    dx = net.backward(a=dy)["x"]
    assert np.array_equal(dx, np.concatenate([dy, np.zeros((2, 2))], axis=1))


def test_top_is_refused() -> None:
    text = NET.replace('bottom: "label"', 'bottom: "label" top: "y"')
    with pytest.raises(NetError, match=r"'quiet' \(Silence\): takes 0 tops, 1 are given"):
        Net(parse_net(text))
