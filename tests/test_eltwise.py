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
    random_array,
    relative_error,
)

from drml.errors import NetError


def eltwise_forward(x: list[Array], operation: str, coeff: list[float]) -> Array:
    if operation == "SUM":
        return sum(c * a for c, a in zip(coeff, x, strict=True))
    if operation == "PROD":
        return np.prod(x, axis=0)
    return np.max(x, axis=0)


def winner(x: list[Array]) -> Array:
    """Index of the bottom that holds the maximum, by Caffe's rule for equal values."""
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


@pytest.mark.parametrize("name", ["eltwise_sum_coeff", "eltwise_max"])
def test_golden(golden_dir: Path, name: str) -> None:
    run_golden(golden_dir, name)
