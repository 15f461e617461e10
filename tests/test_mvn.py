"""MVN against a plain reference."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from layer_testing import (
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
from drml.errors import NetError

Shape = tuple[int, ...]


def as_rows(x: Array, across: bool) -> Array:
    shape = (*x.shape, 1, 1, 1)[:4]
    axis = 1 if across else 2
    return x.reshape(prod(shape[:axis]), prod(shape[axis:]))


def mvn_forward(x: Array, across: bool, variance: bool, eps: float) -> Array:
    rows = as_rows(x, across)
    y = rows - rows.mean(axis=1, keepdims=True)
    if variance:
        y /= np.sqrt((y**2).mean(axis=1, keepdims=True)) + eps
    return y.reshape(x.shape)


def mvn_backward(x: Array, dy: Array, across: bool, variance: bool, eps: float) -> Array:
    """As Caffe's, which takes y for x - mean divided by the deviation without eps."""
    rows, gradient = as_rows(x, across), as_rows(dy, across)
    y = as_rows(mvn_forward(x, across, variance, eps), across)
    dx = gradient - gradient.mean(axis=1, keepdims=True)
    if variance:
        dx -= y * (gradient * y).mean(axis=1, keepdims=True)
        dx /= rows.std(axis=1, keepdims=True) + eps
    return dx.reshape(x.shape)


CASES: list[tuple[Shape, bool, bool, float]] = [
    # shape, across_channels, normalize_variance, eps
    ((2, 3, 4, 5), False, True, 1e-9),
    ((2, 3, 4, 5), False, False, 1e-9),
    ((2, 3, 4, 5), True, True, 1e-9),
    ((2, 3, 4, 5), True, False, 1e-9),
    ((5, 37, 7, 9), False, True, 0.5),
    ((5, 37, 7, 9), True, True, 0.5),
    ((1, 16, 33, 65), False, True, 1e-9),
    ((3, 1, 13, 11), False, True, 1e-9),
    ((2, 5, 40), False, True, 1e-9),
    ((300, 17), True, True, 1e-9),
    ((3, 4), False, False, 1e-9),
    ((0, 3, 4, 5), False, True, 1e-9),
]


def text(across: bool, variance: bool = True, eps: float = 1e-9) -> str:
    return f"""type: "MVN" mvn_param {{ across_channels: {str(across).lower()}
      normalize_variance: {str(variance).lower()} eps: {eps} }}"""


@pytest.mark.parametrize("variance", [True, False])
@pytest.mark.parametrize("across", [True, False])
def test_reference_backward_equals_central_differences(across: bool, variance: bool) -> None:
    x, dy = random_array((2, 3, 2, 4), 1), random_array((2, 3, 2, 4), 2)
    arguments = (across, variance, 1e-9)
    wanted = central_differences(lambda: mvn_forward(x, *arguments), x, dy)
    assert relative_error(mvn_backward(x, dy, *arguments), wanted) < 1e-6


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(("shape", "across", "variance", "eps"), CASES)
def test_kernel_equals_reference(
    shape: Shape, across: bool, variance: bool, eps: float, in_place: bool
) -> None:
    x, dy = 3 + 2 * random_array(shape, 1), random_array(shape, 2)
    arguments = (across, variance, eps)
    y, dx = mvn_forward(x, *arguments), mvn_backward(x, dy, *arguments)
    runner = LayerRunner(text(*arguments), [x], in_place=in_place)
    if not in_place:
        check_layer(runner, [y], [dy], [dx], 2e-6)
        return
    assert relative_error(runner.forward()[0], y) < 2e-6
    assert relative_error(runner.backward(dy)[0], dx) < 2e-6


def test_row_of_equal_numbers_becomes_zeros() -> None:
    runner = LayerRunner('type: "MVN"', [np.full((2, 3, 4, 5), 2.0)])
    assert not runner.forward()[0].any()


def test_large_mean_costs_no_accuracy() -> None:
    x = 1000 + random_array((2, 3, 20, 20), 1).astype(np.float32).astype(np.float64)
    x = x.astype(np.float32).astype(np.float64)
    y = LayerRunner(text(False), [x]).forward()[0]
    assert relative_error(y, mvn_forward(x, False, True, 1e-9)) < 1e-6


@pytest.mark.parametrize("across", [True, False])
def test_results_do_not_depend_on_threads_or_batch(across: bool) -> None:
    x, dy = random_array((5, 32, 20, 20), 1), random_array((5, 32, 20, 20), 2)
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            results.append(LayerRunner(text(across), [x]).forward_backward(dy))
    single = LayerRunner(text(across), [x[3:4]]).forward_backward(dy[3:4])
    for one, all_ in zip(single, results[0], strict=True):
        assert np.array_equal(one, all_[3:4])
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("across", [True, False])
def test_results_repeat_bit_for_bit(across: bool) -> None:
    runner = LayerRunner(text(across), [random_array((2, 5, 11, 13), 1)])
    dy = random_array((2, 5, 11, 13), 2)
    check_repeats(lambda: runner.forward_backward(dy))


@pytest.mark.parametrize("shape", [(), (2, 1, 3, 4, 5)])
def test_bottom_of_too_many_axes_or_none_is_named(shape: Shape) -> None:
    with pytest.raises(NetError, match="bottom needs one to four axes, got shape") as caught:
        LayerRunner('type: "MVN"', [np.zeros(shape)])
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (MVN): ")


def test_op_checks_shapes() -> None:
    x = empty((2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"mvn_forward: deviation needs shape \(6,\), got \(2,\)"):
        _core.mvn_forward(x, x, empty((2,)), 2, 0)
    with pytest.raises(ValueError, match=r"mvn_backward: .* should have one shape"):
        _core.mvn_backward(x, empty((2, 3, 4, 4)), x, empty((6,)), 2)
