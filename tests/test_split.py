"""Split: tops in the bottom's memory, gradients summed."""

from __future__ import annotations

import numpy as np
import pytest
from layer_testing import LayerRunner, check_layer, random_array


@pytest.mark.parametrize("tops", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1,), (5, 7), (2, 3, 5), (2, 16, 33, 31)])
def test_values_are_shared_and_gradients_summed(shape: tuple[int, ...], tops: int) -> None:
    x = random_array(shape, 1)
    dys = [random_array(shape, 2 + i) for i in range(tops)]
    runner = LayerRunner('type: "Split"', [x], tops=tops)
    check_layer(runner, [x] * tops, dys, [sum(dys)], 1e-6)
    runner.set_inputs(2 * x)
    runner.bottom[0].diff = np.zeros(shape)
    for blob, dy in zip(runner.top, dys, strict=True):
        assert np.array_equal(blob.data, 2 * x)
        assert np.array_equal(blob.diff, dy)


def test_a_new_bottom_shape_is_followed() -> None:
    runner = LayerRunner('type: "Split"', [np.zeros((2, 3))], tops=2)
    runner.bottom[0].reshape(4, 3)
    runner.layer.reshape(runner.bottom, runner.top)
    runner.set_inputs(np.ones((4, 3)))
    for y in runner.forward():
        assert np.array_equal(y, np.ones((4, 3)))


def test_a_top_without_gradient_counts_as_zero() -> None:
    x, dy = random_array((2, 3), 1), random_array((2, 3), 2)
    runner = LayerRunner('type: "Split"', [x], tops=3)
    runner.forward()
    runner.bottom[0].diff = np.full((2, 3), 7.0)
    runner.layer.backward(runner.top, [True], runner.bottom)
    assert np.array_equal(runner.bottom[0].diff, np.zeros((2, 3)))
    runner.top[1].diff = dy
    runner.layer.backward(runner.top, [True], runner.bottom)
    assert np.array_equal(runner.bottom[0].diff, dy)
    assert not runner.top[0].has_grad
