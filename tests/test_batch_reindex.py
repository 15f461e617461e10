"""BatchReindex against NumPy's indexing."""

from __future__ import annotations

import numpy as np
import pytest
from layer_testing import (
    Array,
    LayerRunner,
    central_differences,
    check_layer,
    check_repeats,
    random_array,
    relative_error,
    using_threads,
)

from drml.errors import NetError

Shape = tuple[int, ...]
TEXT = 'type: "BatchReindex"'


def reindex_forward(x: Array, index: Array) -> Array:
    return np.stack([x[int(number)] for number in index]) if len(index) else x[:0]


def reindex_backward(dy: Array, index: Array, rows: int) -> Array:
    dx = np.zeros((rows, *dy.shape[1:]))
    for gradient, number in zip(dy, index, strict=True):
        dx[int(number)] += gradient
    return dx


def some_index(rows: int, chosen: int) -> Array:
    """Numbers of rows, some of them several times."""
    return np.random.default_rng(chosen).integers(0, rows, chosen).astype(np.float64)


CASES: list[tuple[Shape, int]] = [
    # shape, samples chosen
    ((1,), 1),
    ((3,), 7),
    ((5, 3), 2),
    ((5, 7, 3, 2), 5),
    ((5, 3, 17, 9), 12),
    ((2, 3, 2, 1, 2), 4),
    ((3, 40000), 5),
    ((5, 3), 0),
    ((0, 3), 0),
    ((3, 0), 2),
]


def test_reference_backward_equals_central_differences() -> None:
    x, dy, index = random_array((3, 2), 1), random_array((4, 2), 2), np.array([2.0, 0, 2, 2])
    wanted = central_differences(lambda: reindex_forward(x, index), x, dy)
    assert relative_error(reindex_backward(dy, index, 3), wanted) < 1e-6


@pytest.mark.parametrize(("shape", "chosen"), CASES)
def test_layer_equals_reference(shape: Shape, chosen: int) -> None:
    x, index = random_array(shape, 1), some_index(shape[0], chosen) if shape[0] else np.zeros(0)
    y, dy = reindex_forward(x, index), random_array((chosen, *shape[1:]), 2)
    runner = LayerRunner(TEXT, [x, index])
    assert np.array_equal(runner.forward()[0], y)
    assert [runner.layer.can_backward_to(i) for i in (0, 1)] == [True, False]
    check_layer(runner, [y], [dy], [reindex_backward(dy, index, shape[0])], 1e-6)


def test_results_do_not_depend_on_threads() -> None:
    x, index, dy = random_array((7, 900), 1), some_index(7, 40), random_array((40, 900), 2)
    runner = LayerRunner(TEXT, [x, index])
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            results.append([*runner.forward(), *runner.backward(dy, propagate_down=[True, False])])
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert np.array_equal(a, b)


def test_results_repeat_bit_for_bit() -> None:
    runner = LayerRunner(TEXT, [random_array((3, 5, 3, 2), 1), some_index(3, 19)])
    dy = random_array((19, 5, 3, 2), 2)
    check_repeats(lambda: runner.forward_backward(dy, propagate_down=[True, False]))


@pytest.mark.parametrize("value", ["3", "-1", "0.5", "nan"])
def test_index_that_is_no_sample_is_named(value: str) -> None:
    runner = LayerRunner(TEXT, [random_array((3, 2), 1), [0, float(value), 7]])
    message = f"gather_forward: index {value} at position 1 is not a row number below 3"
    with pytest.raises(ValueError, match=message):
        runner.forward()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(), (2,)], "bottom 'x0' needs one axis or more"),
        ([(2, 3), (2, 1)], r"the index 'x1' needs one axis, got shape \(2, 1\)"),
    ],
)
def test_bad_bottoms_are_named(shapes: list[Shape], message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(TEXT, [np.zeros(shape) for shape in shapes])
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (BatchReindex): ")


def test_index_has_no_gradient() -> None:
    runner = LayerRunner(TEXT, [random_array((3, 2), 1), [0, 1]])
    with pytest.raises(NetError, match="has no gradient for its index"):
        runner.backward(np.zeros((2, 2)), propagate_down=[True, True])
