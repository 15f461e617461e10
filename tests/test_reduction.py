"""Reduction against NumPy's sums."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from layer_testing import (
    DEVICE,
    Array,
    LayerRunner,
    central_differences,
    check_layer,
    check_repeats,
    empty,
    random_array,
    relative_error,
    using_threads,
)

from drml import _core
from drml.device import is_cuda
from drml.errors import NetError

Shape = tuple[int, ...]
OPERATIONS = ["SUM", "ASUM", "SUMSQ", "MEAN"]


def reduction_forward(x: Array, operation: str, axis: int, coeff: float) -> Array:
    rows = x.reshape(*x.shape[:axis], prod(x.shape[axis:]))
    if operation == "ASUM":
        return np.asarray(coeff * np.abs(rows).sum(axis=-1))
    if operation == "SUMSQ":
        return np.asarray(coeff * (rows**2).sum(axis=-1))
    return np.asarray(coeff * (rows.mean(axis=-1) if operation == "MEAN" else rows.sum(axis=-1)))


def reduction_backward(x: Array, dy: Array, operation: str, axis: int, coeff: float) -> Array:
    spread = coeff * dy.reshape(*dy.shape, *[1] * (x.ndim - axis))
    if operation == "ASUM":
        return spread * np.sign(x)
    if operation == "SUMSQ":
        return spread * 2 * x
    return spread * np.ones_like(x) / (prod(x.shape[axis:]) if operation == "MEAN" else 1)


CASES: list[tuple[Shape, int]] = [
    # shape, axis; on the CPU four axes lie channels-last
    ((1,), 0),
    ((20011,), 0),
    ((5, 7), 0),
    ((5, 7), 1),
    ((2, 3, 4, 5), 0),
    ((2, 3, 4, 5), 1),
    ((2, 3, 4, 5), 2),
    ((2, 37, 4, 9), 2),
    ((2, 3, 4, 5), 3),
    ((1, 16, 65, 67), 0),
    ((3, 8, 33, 31), 1),
    ((3, 16, 33, 31), 2),
    ((2, 3, 4, 2, 3), 4),
    ((2, 3, 4, 2, 150), 4),
    ((300, 2), 1),
    ((0, 3, 2), 1),
]


def text(operation: str, axis: int, coeff: float = 1) -> str:
    return f"""type: "Reduction" reduction_param {{ operation: {operation} axis: {axis}
      coeff: {coeff} }}"""


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_reference_backward_equals_central_differences(operation: str, axis: int) -> None:
    x, dy = random_array((3, 4, 2), 1, away=0.1), random_array((3, 4, 2)[:axis], 2)
    wanted = central_differences(lambda: reduction_forward(x, operation, axis, 0.7), x, dy)
    assert relative_error(reduction_backward(x, dy, operation, axis, 0.7), wanted) < 1e-6


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("shape", "axis"), CASES)
def test_kernel_equals_reference(shape: Shape, axis: int, operation: str) -> None:
    x, dy = random_array(shape, 1), random_array(shape[:axis], 2)
    x.flat[:1] = 0
    y = reduction_forward(x, operation, axis, -1.5)
    dx = reduction_backward(x, dy, operation, axis, -1.5)
    check_layer(LayerRunner(text(operation, axis, -1.5), [x]), [y], [dy], [dx], 1e-6)


def test_axis_counts_from_the_back_and_defaults_are_caffes() -> None:
    x = random_array((2, 3, 4), 1)
    y = LayerRunner(text("SUM", -1), [x]).forward()[0]
    assert relative_error(y, x.sum(axis=2)) < 1e-6
    y = LayerRunner('type: "Reduction"', [x]).forward()[0]
    assert relative_error(y, x.sum()) < 1e-5


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_results_do_not_depend_on_threads(axis: int) -> None:
    x, dy = random_array((5, 32, 20, 20), 1), random_array((5, 32, 20, 20)[:axis], 2)
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            results.append(LayerRunner(text("SUMSQ", axis), [x]).forward_backward(dy))
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("axis", [1, 2])
def test_batch_equals_single_images(axis: int) -> None:
    x, dy = random_array((5, 20, 7, 9), 1), random_array((5, 20, 7, 9)[:axis], 2)
    y, dx = LayerRunner(text("MEAN", axis), [x]).forward_backward(dy)
    for i in range(len(x)):
        one = LayerRunner(text("MEAN", axis), [x[i : i + 1]]).forward_backward(dy[i : i + 1])
        assert np.array_equal(one[0], y[i : i + 1])
        assert np.array_equal(one[1], dx[i : i + 1])


@pytest.mark.parametrize(("shape", "axis"), [((9001,), 0), ((3, 20, 5, 7), 2), ((3, 2, 9, 9), 1)])
def test_results_repeat_bit_for_bit(shape: Shape, axis: int) -> None:
    runner = LayerRunner(text("ASUM", axis), [random_array(shape, 1)])
    dy = random_array(shape[:axis], 2)
    check_repeats(lambda: runner.forward_backward(dy))


def test_bad_axis_is_named() -> None:
    with pytest.raises(NetError, match=r"shape \(2, 3\) has no axis 2") as caught:
        LayerRunner(text("SUM", 2), [np.zeros((2, 3))])
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (Reduction): ")


def test_op_checks_shapes() -> None:
    x, operation = empty((2, 3, 4, 5)), _core.Reduction.SUM
    with pytest.raises(ValueError, match=r"reduction_forward: y \(2,\) needs the axes of x .* 2$"):
        _core.reduction_forward(x, empty((2,)), 2, operation, 1)
    with pytest.raises(ValueError, match=r"reduction_forward: shape .* has no axis 5"):
        _core.reduction_forward(x, empty((2,)), 5, operation, 1)
    with pytest.raises(ValueError, match=r"reduction_backward: .* should have one shape"):
        _core.reduction_backward(x, empty((2,)), empty((2, 3, 4, 4)), 1, operation, 1)
    other, axis = empty((2, 3, 4, 5), True), 1 if is_cuda(DEVICE) else 3
    with pytest.raises(ValueError, match=r"rows of x .* from axis . on lie apart in memory"):
        _core.reduction_forward(other, empty((2, 3, 4)[:axis]), axis, operation, 1)
