"""InnerProduct against a plain reference."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import pytest
from golden_testing import run_golden
from layer_testing import (
    Array,
    LayerRunner,
    central_differences,
    check_layer,
    check_repeats,
    empty,
    random_array,
    relative_error,
    tensor,
    using_threads,
)

from drml import _core
from drml.errors import NetError


def inner_product_forward(
    x: Array, weight: Array, bias: Array | None, axis: int, transpose: bool
) -> Array:
    rows = x.reshape(prod(x.shape[:axis]), -1)
    y = rows @ (weight if transpose else weight.T) + (0 if bias is None else bias)
    return y.reshape(*x.shape[:axis], -1)


def inner_product_backward(
    x: Array, weight: Array, dy: Array, axis: int, transpose: bool
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias."""
    rows = x.reshape(prod(x.shape[:axis]), -1)
    dy_rows = dy.reshape(len(rows), -1)
    dx = dy_rows @ (weight.T if transpose else weight)
    dweight = dy_rows.T @ rows
    return dx.reshape(x.shape), dweight.T if transpose else dweight, dy_rows.sum(axis=0)


CASES = [
    # x shape, outputs, axis, tolerance
    ((1, 1), 1, 1, 1e-6),
    ((1, 300), 70, 1, 2e-6),
    ((2, 37), 12, 1, 2e-6),
    ((5, 129), 33, 1, 2e-6),
    ((64, 100), 60, 1, 2e-6),
    ((257, 31), 40, 1, 2e-6),
    ((2, 3, 5, 7), 11, 1, 2e-6),
    ((5, 16, 3, 4), 9, 1, 2e-6),
    ((1, 16, 27, 27), 20, 1, 5e-6),
    ((5, 4, 1, 1), 6, 1, 2e-6),
    ((2, 3, 5, 7), 4, 2, 2e-6),
    ((2, 3, 5, 7), 4, -1, 2e-6),
    ((3, 4, 5), 6, 0, 2e-6),
    ((3, 4, 5), 6, 2, 2e-6),
    ((300, 5), 1, 1, 2e-6),
    ((1, 3, 9, 7), 300, -4, 2e-6),
    # Large matrices, of which few rows are multiplied by kernels of ours: one row, rows that fill
    # a block of lanes, half a block, several blocks, and one more than is few, for dx and forward.
    ((1, 1030), 67, 1, 5e-6),
    ((2, 1030), 67, 1, 5e-6),
    ((4, 1024), 64, 1, 5e-6),
    ((9, 2049), 49, 1, 5e-6),
    ((20, 1531), 50, 1, 5e-6),
    ((32, 1025), 97, 1, 5e-6),
    ((33, 1025), 97, 1, 5e-6),
    ((64, 700), 101, 1, 5e-6),
    ((65, 700), 101, 1, 5e-6),
]


def text(outputs: int, axis: int = 1, transpose: bool = False, bias: bool = True) -> str:
    return f"""type: "InnerProduct" inner_product_param {{ num_output: {outputs} axis: {axis}
      transpose: {str(transpose).lower()} bias_term: {str(bias).lower()} }}"""


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("axis", [1, 2])
def test_reference_backward_equals_central_differences(axis: int, transpose: bool) -> None:
    x, bias = random_array((2, 3, 2, 2), 1), random_array((5,), 3)
    inputs = prod(x.shape[axis:])
    weight = random_array((inputs, 5) if transpose else (5, inputs), 2)

    def forward() -> Array:
        return inner_product_forward(x, weight, bias, axis, transpose)

    dy = random_array(forward().shape, 4)
    gradients = inner_product_backward(x, weight, dy, axis, transpose)
    for array, gradient in zip((x, weight, bias), gradients, strict=True):
        assert relative_error(gradient, central_differences(forward, array, dy)) < 1e-6


@pytest.mark.parametrize("bias_term", [True, False])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(("shape", "outputs", "axis", "tolerance"), CASES)
def test_kernel_equals_reference(
    shape: tuple[int, ...],
    outputs: int,
    axis: int,
    tolerance: float,
    transpose: bool,
    bias_term: bool,
) -> None:
    x, from_start = random_array(shape, 1), axis % len(shape)
    inputs = prod(shape[from_start:])
    weight = random_array((inputs, outputs) if transpose else (outputs, inputs), 2)
    bias = random_array((outputs,), 3) if bias_term else None
    y = inner_product_forward(x, weight, bias, from_start, transpose)
    dy = random_array(y.shape, 4)
    dx, dweight, dbias = inner_product_backward(x, weight, dy, from_start, transpose)
    runner = LayerRunner(text(outputs, axis, transpose, bias_term), [x])
    params = [weight] if bias is None else [weight, bias]
    runner.set_params(*params)
    check_layer(runner, [y], [dy], [dx], tolerance, [dweight, dbias][: len(params)])
    assert runner.layer.multiply_adds(runner.bottom, runner.top) == weight.size * y.size // outputs


@pytest.mark.parametrize("bias_term", [True, False])
def test_old_values_of_the_top_do_not_count(bias_term: bool) -> None:
    runner = LayerRunner(text(9, bias=bias_term), [random_array((5, 40), 1)])
    wanted = runner.forward()[0]
    runner.top[0].data = np.nan
    assert np.array_equal(runner.forward()[0], wanted)


def test_batch_equals_single_rows() -> None:
    x = random_array((5, 8, 6, 5), 1)
    batch = LayerRunner(text(50), [x])
    batch.set_params(random_array((50, 240), 2), random_array((50,), 3))
    y, dy = batch.forward()[0], random_array((5, 50), 4)
    dx = batch.backward(dy)[0]
    single = LayerRunner(text(50), [x[:1]])
    single.set_params(*(blob.data for blob in batch.layer.blobs))
    for i in range(len(x)):
        single.set_inputs(x[i : i + 1])
        assert relative_error(single.forward()[0], y[i : i + 1]) < 1e-6
        assert relative_error(single.backward(dy[i : i + 1])[0], dx[i : i + 1]) < 1e-6
    for one, all_ in zip(single.param_diffs(), batch.param_diffs(), strict=True):
        assert relative_error(one, all_) < 1e-6


def test_results_repeat() -> None:
    x, dy = random_array((5, 8, 6, 5), 1), random_array((5, 50), 2)
    runner = LayerRunner(text(50), [x])
    runner.set_params(random_array((50, 240), 3), random_array((50,), 4))
    check_repeats(lambda: runner.forward_backward(dy))


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_any_layout_of_the_maps(channels_last: bool, transpose: bool) -> None:
    x, weight, bias = random_array((5, 3, 4, 7), 1), random_array((12, 84), 2), None
    weight = weight.T if transpose else weight
    y, dy = empty((5, 3, 2, 2), channels_last), random_array((5, 3, 2, 2), 3)
    wanted = inner_product_forward(x, weight, bias, 1, transpose)
    dx_wanted, dweight_wanted, _ = inner_product_backward(x, weight, dy, 1, transpose)
    x_tensor, weight_tensor = tensor(x, channels_last), tensor(weight)
    _core.inner_product_forward(x_tensor, weight_tensor, None, y, transpose)
    assert relative_error(y.get(), wanted.reshape(y.shape)) < 2e-6
    dx, dweight, dbias = empty(x.shape, channels_last), empty(weight.shape), empty((12,))
    dy_tensor = tensor(dy, channels_last)
    _core.inner_product_backward(x_tensor, weight_tensor, dy_tensor, dx, dweight, dbias, transpose)
    assert relative_error(dx.get(), dx_wanted) < 2e-6
    assert relative_error(dweight.get(), dweight_wanted) < 2e-6
    assert relative_error(dbias.get(), dy.reshape(5, 12).sum(axis=0)) < 2e-6


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_a_gradient_is_overwritten_whatever_it_held(rows: int, transpose: bool) -> None:
    x, weight, dy = (
        random_array((rows, 40), 1),
        random_array((9, 40), 2),
        random_array((rows, 9), 3),
    )
    weight = weight.T if transpose else weight
    wanted = x.T @ dy if transpose else dy.T @ x
    dweight = tensor(np.full(weight.shape, np.nan, np.float32))
    arguments = tensor(x), tensor(weight), tensor(dy), None, dweight, None, transpose
    _core.inner_product_backward(*arguments, True)
    np.testing.assert_allclose(dweight.get(), wanted, rtol=1e-5, atol=1e-6)
    _core.inner_product_backward(*arguments)
    np.testing.assert_allclose(dweight.get(), 2 * wanted, rtol=1e-5, atol=2e-6)


def test_what_is_cleared_is_overwritten_and_then_added_to() -> None:
    x, dy = random_array((3, 6), 1), random_array((3, 4), 2)
    runner = LayerRunner(text(4), [x])
    runner.set_params(random_array((4, 6), 3), random_array((4,), 4))
    runner.forward_backward(dy)
    once = [gradient.copy() for gradient in runner.param_diffs()]
    for blob in runner.layer.blobs:
        blob.diff = 7
        blob.clear_diff_later()
    for count in (1, 2):
        runner.backward(dy)
        for gradient, wanted in zip(runner.param_diffs(), once, strict=True):
            assert relative_error(gradient, count * wanted) < 1e-6


@pytest.mark.cpu_only
def test_results_do_not_change_with_the_number_of_threads() -> None:
    x, dy = random_array((16, 700), 1), random_array((16, 500), 2)
    results = []
    for threads in (1, 2, 3):
        with using_threads(threads):
            runner = LayerRunner(text(500), [x])
            runner.set_params(random_array((500, 700), 3), random_array((500,), 4))
            results.append([*runner.forward(), *runner.backward(dy), *runner.param_diffs()])
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert relative_error(a, b) < 1e-6


def test_gradients_that_nobody_wants_are_not_written() -> None:
    runner = LayerRunner(text(4), [random_array((2, 3), 1)])
    runner.set_params(random_array((4, 3), 3), random_array((4,), 4))
    runner.forward()
    runner.bottom[0].diff = 7
    runner.layer.propagate_to_params = [False, True]
    dx = runner.backward(random_array((2, 4), 2), propagate_down=[False])[0]
    assert np.all(dx == 7)
    assert np.all(runner.param_diffs()[0] == 0)
    assert np.all(runner.param_diffs()[1] != 0)


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("", "num_output must be 1 or more"),
        ("num_output: 3 axis: 4", r"axis 4 is none of the bottom's, shape \(1, 2, 5, 6\)"),
        ("num_output: 3 axis: -5", "axis -5 is none of the bottom's"),
    ],
)
def test_bad_parameters_are_named(param: str, message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(
            f'type: "InnerProduct" inner_product_param {{ {param} }}', [np.zeros((1, 2, 5, 6))]
        )
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (InnerProduct): ")


def test_bottom_of_another_size_is_named() -> None:
    runner = LayerRunner(text(4), [np.zeros((2, 3, 5, 5))])
    runner.bottom[0].reshape(2, 3, 5, 6)
    message = r"bottom of shape \(2, 3, 5, 6\) has 90 numbers from axis 1 on, the weights \(4, 75\)"
    with pytest.raises(NetError, match=message):
        runner.layer.reshape(runner.bottom, runner.top)


def test_op_checks_shapes() -> None:
    x, weight, y = empty((2, 3)), empty((4, 3)), empty((2, 4))
    with pytest.raises(ValueError, match=r"x \(2, 5\) does not hold rows of 3"):
        _core.inner_product_forward(empty((2, 5)), weight, None, y, False)
    with pytest.raises(ValueError, match=r"y \(2, 5\) does not hold 2 rows of 4"):
        _core.inner_product_forward(x, weight, None, empty((2, 5)), False)
    with pytest.raises(ValueError, match=r"bias needs shape \(4,\), got \(3,\)"):
        _core.inner_product_forward(x, weight, empty((3,)), y, False)
    with pytest.raises(ValueError, match=r"dweight needs shape \(4, 3\), got \(3, 4\)"):
        _core.inner_product_backward(x, weight, y, None, empty((3, 4)), None, False)
    with pytest.raises(ValueError, match=r"dx and x \(2, 3\) need one shape"):
        _core.inner_product_backward(x, weight, y, empty((3, 2)), None, None, False)


def test_golden(golden_dir: Path) -> None:
    run_golden(golden_dir, "inner_product")


@pytest.mark.cpu_only
@pytest.mark.parametrize("rows", [2, 16, 33])
def test_few_rows_do_not_depend_on_threads(rows: int) -> None:
    """Bit for bit: every sum is one thread's, in one order."""
    x, weight, bias = (
        tensor(random_array(shape, seed))
        for seed, shape in enumerate([(rows, 1500), (131, 1500), (131,)])
    )
    found = []
    for threads in (1, 2, 3):
        y = empty((rows, 131))
        with using_threads(threads):
            _core.inner_product_forward(x, weight, bias, y, False)
        found.append(y.get())
    assert all(np.array_equal(found[0], other) for other in found[1:])
