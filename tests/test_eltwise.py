"""Eltwise against a plain reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden_testing import run_golden
from layer_testing import (
    Array,
    LayerRunner,
    central_differences,
    check_layer,
    empty,
    random_array,
    relative_error,
    tensor,
)

from drml import _core
from drml.errors import NetError


def eltwise_forward(x: list[Array], operation: str, coeff: list[float]) -> Array:
    if operation == "SUM":
        return sum(c * a for c, a in zip(coeff, x, strict=True))
    if operation == "PROD":
        return np.prod(x, axis=0)
    return np.max(x, axis=0)


def winner(x: list[Array]) -> Array:
    """Index of the bottom that holds the maximum, by Caffe's rule for equal values."""
    if len(x) == 1:
        return np.zeros(x[0].shape)
    index = np.where(x[0] > x[1], 0, 1)
    greatest = np.maximum(x[0], x[1])
    for i in range(2, len(x)):
        index = np.where(x[i] > greatest, i, index)
        greatest = np.maximum(greatest, x[i])
    return index


def eltwise_backward(x: list[Array], dy: Array, operation: str, coeff: list[float]) -> list[Array]:
    if operation == "SUM":
        return [c * dy for c in coeff]
    if operation == "PROD":
        others = [[b for j, b in enumerate(x) if j != i] for i in range(len(x))]
        return [dy * np.prod(other, axis=0) for other in others]
    return [np.where(winner(x) == i, dy, 0) for i in range(len(x))]


COEFF = [0.5, -2.0, 1.5]
SHAPES = [(1,), (5, 7), (2, 3, 5), (1, 3, 5, 7), (2, 16, 33, 31)]


def draw(shape: tuple[int, ...], count: int) -> tuple[list[Array], Array]:
    return [random_array(shape, i, away=0.1) for i in range(count)], random_array(shape, 9)


def text(operation: str, coeff: list[float], more: str = "") -> str:
    listed = " ".join(f"coeff: {c}" for c in coeff) if operation == "SUM" else ""
    return f'type: "Eltwise" eltwise_param {{ operation: {operation} {listed} {more} }}'


@pytest.mark.parametrize("operation", ["SUM", "PROD", "MAX"])
@pytest.mark.parametrize("count", [2, 3])
def test_reference_backward_equals_central_differences(operation: str, count: int) -> None:
    x, dy = draw((2, 3, 2), count)
    gradients = eltwise_backward(x, dy, operation, COEFF[:count])
    for array, gradient in zip(x, gradients, strict=True):
        wanted = central_differences(
            lambda: eltwise_forward(x, operation, COEFF[:count]), array, dy
        )
        assert relative_error(gradient, wanted) < 1e-6


@pytest.mark.parametrize("operation", ["SUM", "PROD", "MAX"])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_equals_reference(shape: tuple[int, ...], operation: str, count: int) -> None:
    x, dy = draw(shape, count)
    coeff = COEFF[:count]
    y, dx = eltwise_forward(x, operation, coeff), eltwise_backward(x, dy, operation, coeff)
    check_layer(LayerRunner(text(operation, coeff), x), [y], [dy], dx, 1e-6)


@pytest.mark.parametrize("operation", ["SUM", "PROD", "MAX"])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 18, 33, 34])
def test_many_inputs(operation: str, count: int) -> None:
    """Some of them equal, and of a size that no block divides; the same bits every time."""
    arrays = [np.round(random_array((257,), i, away=0.9), 1) for i in range(count)]
    coeff = [1.0 + i / 4 for i in range(count)]
    dy = random_array((257,), 99)
    x, y, dx = [tensor(array) for array in arrays], empty((257,)), empty((257,))
    results = []
    for _ in range(10):
        if operation == "SUM":
            _core.eltwise_sum(x, coeff, y)
        elif operation == "PROD":
            _core.eltwise_product_forward(x, y)
        else:
            _core.eltwise_max_forward(x, y)
        results.append(y.get().tobytes())
    exact = [array.get().astype(np.float64) for array in x]
    assert relative_error(y.get(), eltwise_forward(exact, operation, coeff)) < 1e-5
    assert len(set(results)) == 1
    if operation == "SUM":
        return
    gradients = eltwise_backward(exact, dy, operation, coeff)
    for index, gradient in enumerate(gradients):
        if operation == "PROD":
            _core.eltwise_product_backward(x, None, tensor(dy), index, dx)
        else:
            _core.eltwise_max_backward(x, tensor(dy), index, dx)
        assert relative_error(dx.get(), gradient) < 1e-5


@pytest.mark.parametrize("size", [0, 1, 31, 100_003])
def test_sizes_that_no_block_divides(size: int) -> None:
    arrays, dy = draw((size,), 3)
    x, y, dx = [tensor(array) for array in arrays], empty((size,)), empty((size,))
    _core.eltwise_sum(x, COEFF, y)
    assert relative_error(y.get(), eltwise_forward(arrays, "SUM", COEFF)) < 1e-6
    _core.eltwise_max_forward(x, y)
    assert relative_error(y.get(), eltwise_forward(arrays, "MAX", [])) < 1e-6
    _core.eltwise_product_forward(x, y)
    assert relative_error(y.get(), eltwise_forward(arrays, "PROD", [])) < 1e-6
    wanted = eltwise_backward(arrays, dy, "PROD", [])[1]
    for given in (y, None):
        _core.eltwise_product_backward(x, given, tensor(dy), 1, dx)
        assert relative_error(dx.get(), wanted) < 1e-6


def test_coeff_is_one_by_default() -> None:
    x, dy = draw((2, 3), 2)
    check_layer(LayerRunner(text("SUM", []), x), [x[0] + x[1]], [dy], [dy, dy], 1e-6)


def test_quick_gradient_of_a_product_equals_the_stable_one() -> None:
    x, dy = draw((2, 3, 5, 7), 3)
    dx = eltwise_backward(x, dy, "PROD", [])
    runner = LayerRunner(text("PROD", [], "stable_prod_grad: false"), x)
    check_layer(runner, [np.prod(x, axis=0)], [dy], dx, 1e-6)


def test_stable_gradient_of_a_product_at_zero() -> None:
    x = [np.array([0.0, 2.0]), np.array([3.0, 0.0])]
    runner = LayerRunner(text("PROD", []), x)
    runner.forward()
    assert [dx.tolist() for dx in runner.backward(np.ones(2))] == [[3, 0], [0, 2]]


def test_maximum_of_equal_values_follows_caffe() -> None:
    x = [np.array([1.0, 1.0, 5.0]), np.array([1.0, 1.0, 5.0]), np.array([1.0, 2.0, 5.0])]
    runner = LayerRunner(text("MAX", []), x)
    runner.forward()
    dx = [array.tolist() for array in runner.backward(np.ones(3))]
    assert dx == [[0, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_nan_wins_the_maximum_as_on_the_cpu() -> None:
    """The first input of two wins only if it is greater, a later one only if it is greater."""
    nan = np.nan
    x = [tensor(a) for a in ([nan, 1, 1, nan], [1, nan, 2, 1], [2, 2, nan, 0])]
    _core.eltwise_max_forward(x, y := empty((4,)))
    np.testing.assert_array_equal(y.get(), np.float32([2, nan, 2, 1]))
    wins = []
    for index in range(3):
        _core.eltwise_max_backward(x, tensor(np.ones(4)), index, dx := empty((4,)))
        wins.append(dx.get().tolist())
    assert wins == [[0, 0, 0, 0], [0, 1, 1, 1], [1, 0, 0, 0]]


def test_only_the_gradients_asked_for_are_written() -> None:
    x, dy = draw((2, 3), 2)
    for operation in ("SUM", "PROD", "MAX"):
        runner = LayerRunner(text(operation, [1.0, 1.0]), x)
        runner.forward()
        runner.bottom[0].diff = np.full((2, 3), 7.0)
        first, _ = runner.backward(dy, propagate_down=[False, True])
        assert np.array_equal(first, np.full((2, 3), 7.0))


@pytest.mark.parametrize(
    ("param", "shapes", "message"),
    [
        ("operation: PROD coeff: 1 coeff: 1", [(2,), (2,)], "coeff is for operation SUM only"),
        ("operation: MAX coeff: 1 coeff: 1", [(2,), (2,)], "coeff is for operation SUM only"),
        ("coeff: 1 coeff: 2 coeff: 3", [(2,), (2,)], "coeff is given 3 times for 2 bottoms"),
        (
            "",
            [(2, 3), (3, 2)],
            r"'x1' has shape \(3, 2\), bottom 'x0' \(2, 3\); they must be equal",
        ),
    ],
)
def test_bad_parameters_are_named(param: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(
            f'type: "Eltwise" eltwise_param {{ {param} }}', [np.zeros(shape) for shape in shapes]
        )
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (Eltwise): ")


def test_arrays_that_do_not_fit_are_named() -> None:
    a, b = empty((2, 3)), empty((3, 2))
    with pytest.raises(ValueError, match="eltwise_sum: no inputs"):
        _core.eltwise_sum([], [], a)
    with pytest.raises(ValueError, match="eltwise_sum: 1 coefficients for 2 inputs"):
        _core.eltwise_sum([a, a], [1.0], a)
    with pytest.raises(ValueError, match="eltwise_max_forward: tensors of shapes"):
        _core.eltwise_max_forward([a, b], a)
    with pytest.raises(ValueError, match="eltwise_product_backward: no input 2"):
        _core.eltwise_product_backward([a, a], None, a, 2, a)


@pytest.mark.parametrize("name", ["eltwise_sum_coeff", "eltwise_max"])
def test_golden(golden_dir: Path, name: str) -> None:
    run_golden(golden_dir, name)
