"""Embed against NumPy's indexing."""

from __future__ import annotations

import numpy as np
import pytest
from layer_testing import (
    Array,
    LayerRunner,
    central_differences,
    check_repeats,
    random_array,
    relative_error,
)

from drml.errors import NetError

Shape = tuple[int, ...]


def embed_forward(x: Array, weight: Array, bias: Array | None) -> Array:
    return weight[x.astype(int)] + (0 if bias is None else bias)


def embed_backward(x: Array, weight: Array, dy: Array) -> tuple[Array, Array]:
    """dweight, dbias."""
    dweight = np.zeros_like(weight)
    for index in np.ndindex(x.shape):
        dweight[int(x[index])] += dy[index]
    return dweight, dy.reshape(-1, dy.shape[-1]).sum(axis=0)


def words(shape: Shape, rows: int) -> Array:
    return np.random.default_rng(3).integers(0, rows, shape).astype(np.float64)


CASES: list[tuple[Shape, int, int]] = [
    # shape of x, input_dim, num_output
    ((1,), 1, 1),
    ((7,), 3, 5),
    ((5, 6), 11, 17),
    ((2, 3, 4), 5, 7),
    ((2, 3, 4, 5), 5, 3),
    ((20, 30), 4, 33),
    ((), 4, 3),
    ((0, 3), 4, 3),
]


def text(rows: int, outputs: int, bias: bool = True) -> str:
    return f"""type: "Embed" embed_param {{ input_dim: {rows} num_output: {outputs}
      bias_term: {str(bias).lower()} }}"""


def test_reference_backward_equals_central_differences() -> None:
    x, weight, bias = words((2, 3), 3), random_array((3, 4), 1), random_array((4,), 2)
    dy = random_array((2, 3, 4), 4)
    for array, gradient in zip((weight, bias), embed_backward(x, weight, dy), strict=True):
        wanted = central_differences(lambda: embed_forward(x, weight, bias), array, dy)
        assert relative_error(gradient, wanted) < 1e-6


@pytest.mark.parametrize("bias_term", [True, False])
@pytest.mark.parametrize(("shape", "rows", "outputs"), CASES)
def test_layer_equals_reference(shape: Shape, rows: int, outputs: int, bias_term: bool) -> None:
    x, weight = words(shape, rows), random_array((rows, outputs), 1)
    bias = random_array((outputs,), 2) if bias_term else None
    runner = LayerRunner(text(rows, outputs, bias_term), [x])
    params = [weight] if bias is None else [weight, bias]
    assert [blob.shape for blob in runner.layer.blobs] == [param.shape for param in params]
    assert not runner.layer.can_backward_to(0)
    runner.set_params(*params)
    y = embed_forward(x, weight, bias)
    assert relative_error(runner.forward()[0], y) < 1e-6
    dy = random_array(y.shape, 4)
    wanted = embed_backward(x, weight, dy)[: len(params)]
    for count in (1, 2):
        runner.backward(dy, propagate_down=[False])
        for got, gradient in zip(runner.param_diffs(), wanted, strict=True):
            assert relative_error(got, count * gradient) < 1e-6


def test_batch_equals_single_samples() -> None:
    x, dy = words((5, 3), 4), random_array((5, 3, 6), 1)
    batch = LayerRunner(text(4, 6), [x])
    batch.set_params(random_array((4, 6), 2), random_array((6,), 3))
    y = batch.forward()[0]
    batch.backward(dy, propagate_down=[False])
    single = LayerRunner(text(4, 6), [x[:1]])
    single.set_params(*(blob.data for blob in batch.layer.blobs))
    for i in range(len(x)):
        single.set_inputs(x[i : i + 1])
        assert np.array_equal(single.forward()[0], y[i : i + 1])
        single.backward(dy[i : i + 1], propagate_down=[False])
    for one, all_ in zip(single.param_diffs(), batch.param_diffs(), strict=True):
        assert relative_error(one, all_) < 1e-6


def test_gradients_that_nobody_wants_are_not_written() -> None:
    runner = LayerRunner(text(4, 6), [words((5,), 4)])
    runner.layer.propagate_to_params = [False, False]
    runner.forward()
    runner.backward(random_array((5, 6), 1), propagate_down=[False])
    assert not any(diff.any() for diff in runner.param_diffs())


def test_results_repeat_bit_for_bit() -> None:
    runner = LayerRunner(text(3, 9), [words((5, 7), 3)])
    runner.set_params(random_array((3, 9), 2), random_array((9,), 3))
    dy = random_array((5, 7, 9), 1)
    check_repeats(lambda: runner.forward_backward(dy, propagate_down=[False]))


@pytest.mark.parametrize("value", ["4", "-1", "1.5", "nan"])
def test_number_that_is_no_row_is_named(value: str) -> None:
    runner = LayerRunner(text(4, 6), [[[0, 3], [float(value), 9]]])
    message = f"index {value} at position 2 is not a row number below 4"
    with pytest.raises(ValueError, match=message):
        runner.forward()


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("input_dim: 3", "num_output must be 1 or more"),
        ("num_output: 3", "input_dim must be 1 or more"),
    ],
)
def test_bad_parameters_are_named(param: str, message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(f'type: "Embed" embed_param {{ {param} }}', [np.zeros(2)])
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (Embed): ")


def test_bottom_has_no_gradient() -> None:
    runner = LayerRunner(text(4, 6), [words((5,), 4)])
    with pytest.raises(NetError, match="has no gradient for its bottom"):
        runner.backward(np.zeros((5, 6)), propagate_down=[True])
