"""Filter against NumPy's boolean indexing."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_testing import needs_cuda
from layer_testing import (
    DEVICE,
    Array,
    LayerRunner,
    central_differences,
    check_repeats,
    random_array,
    relative_error,
)

from drml.errors import NetError
from drml.net import Net
from drml.prototxt import parse_net

Shape = tuple[int, ...]
TEXT = 'type: "Filter"'
NET = """force_backward: true
layer { name: "in" type: "Input" top: "data" top: "selector"
  input_param { shape { dim: 4 dim: 3 dim: 2 dim: 5 } shape { dim: 4 } } }
layer { name: "before" type: "Scale" bottom: "data" top: "x" scale_param { filler { value: 2 } } }
layer { name: "filter" type: "Filter" bottom: "x" bottom: "selector" top: "chosen" }
layer { name: "relu" type: "ReLU" bottom: "chosen" top: "y" }
"""


def filter_forward(x: Array, selector: Array) -> Array:
    return np.stack([row for row, number in zip(x, selector, strict=True) if number != 0])


def filter_backward(dy: Array, selector: Array) -> Array:
    dx, left = np.zeros((len(selector), *dy.shape[1:])), list(dy)
    for row, number in enumerate(selector):
        if number != 0:
            dx[row] = left.pop(0)
    return dx


CASES: list[tuple[list[Shape], list[float]]] = [
    # bottoms' shapes, selector
    ([(1,)], [1]),
    ([(5, 3), (5,), (5, 4, 3, 2)], [0, 1, 1, 0, 1]),
    ([(5, 7, 3, 9)], [1, 0, -2, 0.5, 0]),
    ([(3, 2, 1, 2, 3)], [1, 1, 1]),
]


def test_reference_backward_equals_central_differences() -> None:
    x, dy, selector = random_array((3, 2), 1), random_array((2, 2), 2), np.array([1.0, 0, 1])
    wanted = central_differences(lambda: filter_forward(x, selector), x, dy)
    assert relative_error(filter_backward(dy, selector), wanted) < 1e-6


@pytest.mark.parametrize("axes", [1, 4])
@pytest.mark.parametrize(("shapes", "selector"), CASES)
def test_layer_equals_reference(shapes: list[Shape], selector: list[float], axes: int) -> None:
    chosen = np.array(selector)
    x = [random_array(shape, seed) for seed, shape in enumerate(shapes)]
    shaped = chosen.reshape(-1, *[1] * (axes - 1))
    runner = LayerRunner(TEXT, [*x, shaped], tops=len(x))
    assert [blob.shape for blob in runner.top] == shapes
    ys = runner.forward()
    wanted = [filter_forward(part, chosen) for part in x]
    for y, y_wanted in zip(ys, wanted, strict=True):
        assert np.array_equal(y, y_wanted)
    dys = [random_array(y.shape, 9 + seed) for seed, y in enumerate(wanted)]
    for _ in range(2):
        dxs = runner.backward(*dys, propagate_down=[True] * len(x) + [False])
        for dx, dy in zip(dxs, dys, strict=False):
            assert np.array_equal(dx, filter_backward(dy, chosen))
    expected = [True] * len(x) + [False]
    runner.layer.layer_param.bottom.extend("b" for _ in runner.bottom)
    assert [runner.layer.can_backward_to(i) for i in range(len(expected))] == expected


def test_results_repeat_bit_for_bit() -> None:
    runner = LayerRunner(TEXT, [random_array((3, 5, 3, 2), 1), [0, 1, 1]])
    runner.forward()
    dy = random_array((2, 5, 3, 2), 2)
    check_repeats(lambda: runner.forward_backward(dy, propagate_down=[True, False]))


def run(net: Net, x: Array, selector: Array) -> None:
    y = net.forward(data=x, selector=selector)["y"]
    wanted = np.maximum(2 * x[selector != 0], 0)
    assert y.shape == wanted.shape
    assert np.array_equal(y, wanted.astype(np.float32))


def test_layers_behind_it_see_what_was_chosen() -> None:
    net = Net(parse_net(NET))
    assert net.blobs["y"].shape == (4, 3, 2, 5)
    for selector in (np.array([1, 0, 0, 1]), np.zeros(4), np.array([0, 1, 0, 0]), np.ones(4)):
        x = random_array((4, 3, 2, 5), 1)
        run(net, x, selector)
        dy = random_array(net.blobs["y"].shape, 2)
        dx = net.backward(y=dy)["data"]
        wanted = np.zeros_like(x)
        wanted[selector != 0] = 2 * dy * (x[selector != 0] > 0)
        assert relative_error(dx, wanted) < 1e-6


@needs_cuda
def test_cuda_graph_leaves_it_and_what_follows_outside() -> None:
    with Net(parse_net(NET.replace("force_backward: true", "")), device=DEVICE) as net:
        net.use_cuda_graph()
        for seed, selector in enumerate(([1, 0, 0, 1], [1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0])):
            run(net, random_array((4, 3, 2, 5), seed), np.array(selector))


@pytest.mark.parametrize(
    ("shapes", "tops", "message"),
    [
        ([(2, 3), (2,)], 2, "2 bottoms, the last of which selects, need 1 tops, not 2"),
        ([(2, 3), (2, 2)], 1, r"the selector 'x1' needs one number per sample, got shape \(2, 2\)"),
        ([(2, 3), ()], 1, r"the selector 'x1' needs one number per sample, got shape \(\)"),
        ([(3, 2), (2,)], 1, r"bottom 'x0' \(3, 2\) does not have the 2 samples that the selector"),
    ],
)
def test_bad_bottoms_are_named(shapes: list[Shape], tops: int, message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(TEXT, [np.zeros(shape) for shape in shapes], tops=tops)
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (Filter): ")


def test_selector_has_no_gradient() -> None:
    runner = LayerRunner(TEXT, [random_array((3, 2), 1), [0, 1, 1]])
    runner.forward()
    with pytest.raises(NetError, match="has no gradient for its selector"):
        runner.backward(np.zeros((2, 2)), propagate_down=[True, True])
