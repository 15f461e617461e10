"""BatchNorm against a plain reference."""

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
    check_repeats,
    empty,
    random_array,
    relative_error,
    tensor,
    using_threads,
)

from drml import _core
from drml.errors import NetError
from drml.proto import caffe_pb2 as pb

EPS = 1e-5


def per_channel(values: Array, x: Array) -> Array:
    """`values` (C) in a shape that broadcasts over x."""
    return values.reshape([-1 if axis == 1 else 1 for axis in range(x.ndim)])


def statistics(x: Array) -> tuple[Array, Array]:
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    return x.mean(axis=axes), x.var(axis=axes)


def batch_norm_forward(x: Array, mean: Array, variance: Array, eps: float) -> Array:
    return (x - per_channel(mean, x)) / np.sqrt(per_channel(variance, x) + eps)


def batch_norm_backward(
    x: Array, mean: Array, variance: Array, dy: Array, eps: float, frozen: bool
) -> Array:
    if frozen:
        return dy / np.sqrt(per_channel(variance, x) + eps)
    y = batch_norm_forward(x, mean, variance, eps)
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    centred = dy - dy.mean(axis=axes, keepdims=True) - y * (dy * y).mean(axis=axes, keepdims=True)
    return centred / np.sqrt(per_channel(variance, x) + eps)


CASES = [
    # shape, mean of x, tolerance
    ((2, 1, 1, 1), 0.0, 1e-6),
    ((5, 3, 7, 9), 0.5, 1e-6),
    ((2, 32, 20, 20), 0.5, 1e-6),
    ((1, 16, 31, 13), 0.5, 1e-6),
    ((2, 17, 5, 6), 0.5, 1e-6),
    ((1, 8, 9, 1), 0.5, 1e-6),
    ((2, 3, 40, 40), 30.0, 1e-5),
    ((5, 7), 0.5, 1e-6),
    ((64, 20), 0.5, 1e-6),
    ((3, 4, 9), 0.5, 1e-6),
    ((2, 3, 4, 5, 6), 0.5, 1e-6),
    ((4, 1, 9, 7), 0.5, 1e-6),
    ((2, 2, 91, 93), 0.5, 1e-6),
    ((1, 300, 2, 3), 0.5, 1e-6),
    ((3, 300), 0.5, 1e-6),
    ((5000, 3), 30.0, 1e-5),
    ((11,), 0.5, 1e-6),
]


def text(param: str = "") -> str:
    return f'type: "BatchNorm" batch_norm_param {{ {param} }}'


def channels(shape: tuple[int, ...]) -> int:
    return shape[1] if len(shape) > 1 else 1


def draw(shape: tuple[int, ...], mean: float = 0.5) -> Array:
    return (random_array(shape, 1) + mean).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("shape", [(3, 2, 2, 3), (4, 3)])
def test_reference_backward_equals_central_differences(
    shape: tuple[int, ...], frozen: bool
) -> None:
    x, dy = draw(shape), random_array(shape, 2)
    given = random_array((shape[1],), 3), 1 + random_array((shape[1],), 4) ** 2

    def current() -> tuple[Array, Array]:
        return given if frozen else statistics(x)

    wanted = central_differences(lambda: batch_norm_forward(x, *current(), EPS), x, dy)
    assert relative_error(batch_norm_backward(x, *current(), dy, EPS, frozen), wanted) < 1e-6


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(("shape", "mean", "tolerance"), CASES)
def test_kernel_equals_reference_with_statistics_of_the_batch(
    shape: tuple[int, ...], mean: float, tolerance: float, in_place: bool
) -> None:
    x, dy = draw(shape, mean), random_array(shape, 2)
    y = batch_norm_forward(x, *statistics(x), EPS)
    dx = batch_norm_backward(x, *statistics(x), dy, EPS, False)
    if shape[0] == 2 and x.size == 2:
        # Two numbers: the gradient is a difference of all but equal ones.
        dx, dy = np.zeros_like(dx), np.ones_like(dy)
    check_layer(LayerRunner(text(), [x], in_place=in_place), [y], [dy], [dx], tolerance)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(("shape", "mean", "tolerance"), CASES)
def test_kernel_equals_reference_with_running_statistics(
    shape: tuple[int, ...], mean: float, tolerance: float, in_place: bool
) -> None:
    x, dy = draw(shape, mean), random_array(shape, 2)
    factor = 2.5
    means = random_array((channels(shape),), 3) + mean
    variances = 0.5 + random_array((channels(shape),), 4) ** 2
    y = batch_norm_forward(x, means / factor, variances / factor, EPS)
    dx = batch_norm_backward(x, means / factor, variances / factor, dy, EPS, True)
    runner = LayerRunner(text(), [x], phase=pb.TEST, in_place=in_place)
    runner.set_params(means, variances, [factor])
    check_layer(runner, [y], [dy], [dx], tolerance)
    assert relative_error(runner.layer.blobs[2].data, [factor]) == 0


@pytest.mark.parametrize("shape", [(2, 3, 70, 71), (9000, 3)])
@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_statistics_of_large_means_and_outliers(shape: tuple[int, ...], mean: float) -> None:
    x = draw(shape, mean)
    x[0, 1] = mean + 500.0
    mean_, variance = empty((3,)), empty((3,))
    _core.batch_norm_forward(tensor(x), mean_, variance, tensor(x), EPS, False)
    deviation = np.sqrt(statistics(x)[1])
    # Half a unit in the last place of the mean, and what rounding may add to small means.
    bound = 2.0**-24 * np.abs(statistics(x)[0]) + 1e-6 * deviation
    assert np.all(np.abs(mean_.get() - statistics(x)[0]) <= bound)
    assert np.allclose(variance.get(), statistics(x)[1], rtol=1e-6, atol=0)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_layout(channels_last: bool, frozen: bool) -> None:
    x, dy = draw((3, 5, 7, 9)), random_array((3, 5, 7, 9), 2)
    mean, variance = statistics(x)
    given = tensor(mean), tensor(variance)
    used = given if frozen else (empty((5,)), empty((5,)))
    y, dx = tensor(x, channels_last), tensor(dy, channels_last)
    _core.batch_norm_forward(tensor(x, channels_last), *used, y, EPS, frozen)
    _core.batch_norm_backward(tensor(x, channels_last), *used, dx, dx, EPS, frozen)
    assert relative_error(y.get(), batch_norm_forward(x, mean, variance, EPS)) < 1e-6
    wanted = batch_norm_backward(x, mean, variance, dy, EPS, frozen)
    assert relative_error(dx.get(), wanted) < 1e-6


@pytest.mark.parametrize("shape", [(5, 3, 43, 41), (2000, 7)])
def test_results_repeat_bit_for_bit(shape: tuple[int, ...]) -> None:
    x, dy = draw(shape), random_array(shape, 2)
    check_repeats(lambda: LayerRunner(text(), [x]).forward_backward(dy))


def test_statistics_run_up_as_in_caffe() -> None:
    runner = LayerRunner(text("moving_average_fraction: 0.9 eps: 0.001"), [draw((4, 3, 5, 6))])
    mean, variance, factor = np.zeros(3), np.zeros(3), 0.0
    for seed in (5, 6, 7):
        x = random_array((4, 3, 5, 6), seed)
        runner.set_inputs(x)
        assert relative_error(runner.forward()[0], batch_norm_forward(x, *statistics(x), 1e-3)) < (
            1e-6
        )
        mean = statistics(x)[0] + 0.9 * mean
        variance = statistics(x)[1] * 120 / 119 + 0.9 * variance
        factor = 1 + 0.9 * factor
    for blob, wanted in zip(runner.layer.blobs, (mean, variance, [factor]), strict=True):
        assert relative_error(blob.data, wanted) < 1e-6


@pytest.mark.parametrize(("phase", "use"), [(pb.TRAIN, "true"), (pb.TEST, "false")])
def test_use_global_stats_overrides_the_phase(phase: int, use: str) -> None:
    x = draw((4, 3, 5, 6))
    runner = LayerRunner(text(f"use_global_stats: {use}"), [x], phase=phase)
    y = runner.forward()[0]
    # Running statistics that were never set are 0, and so is the factor: x / sqrt(eps).
    wanted = x / np.sqrt(EPS) if use == "true" else batch_norm_forward(x, *statistics(x), EPS)
    assert relative_error(y, wanted) < 1e-6
    assert runner.layer.blobs[2].data[0] == (0 if use == "true" else 1)


def test_batch_equals_single_images_with_running_statistics() -> None:
    x, dy = draw((5, 19, 7, 6)), random_array((5, 19, 7, 6), 2)
    parameters = random_array((19,), 3), 1 + random_array((19,), 4) ** 2, [2.0]
    batch = LayerRunner(text(), [x], phase=pb.TEST)
    batch.set_params(*parameters)
    y, dx = batch.forward()[0], batch.backward(dy)[0]
    single = LayerRunner(text(), [x[:1]], phase=pb.TEST)
    single.set_params(*parameters)
    for i in range(len(x)):
        single.set_inputs(x[i : i + 1])
        assert relative_error(single.forward()[0], y[i : i + 1]) < 1e-7
        assert relative_error(single.backward(dy[i : i + 1])[0], dx[i : i + 1]) < 1e-7


def test_results_do_not_change_with_the_number_of_threads() -> None:
    x, dy = draw((5, 16, 20, 20)), random_array((5, 16, 20, 20), 2)
    results = []
    for threads in (1, 2, 3):
        with using_threads(threads):
            runner = LayerRunner(text(), [x])
            results.append([*runner.forward(), *runner.backward(dy)])
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert relative_error(a, b) < 1e-6


def test_statistics_are_not_learned() -> None:
    runner = LayerRunner(text(), [draw((2, 3, 4, 4))])
    assert runner.layer.propagate_to_params == [False] * 3
    assert [spec.lr_mult for spec in runner.layer.layer_param.param] == [0] * 3
    with pytest.raises(NetError, match=r"its lr_mult must be 0, not 1") as caught:
        LayerRunner(text() + " param { lr_mult: 1 }", [draw((2, 3, 4, 4))])
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (BatchNorm): ")


def test_bad_parameters_and_bottoms_are_named() -> None:
    with pytest.raises(NetError, match=r"eps must be 0 or more, not -1"):
        LayerRunner(text("eps: -1"), [draw((2, 3, 4, 4))])
    with pytest.raises(NetError, match="bottom needs one axis or more"):
        LayerRunner(text(), [np.zeros(())])
    runner = LayerRunner(text(), [draw((2, 3, 4, 4))])
    runner.bottom[0].reshape(2, 4, 4, 4)
    with pytest.raises(NetError, match=r"bottom needs 3 channels, got shape \(2, 4, 4, 4\)"):
        runner.layer.reshape(runner.bottom, runner.top)


def test_op_checks_shapes() -> None:
    x, statistic = empty((2, 3, 4, 4), channels_last=False), empty((3,))
    with pytest.raises(ValueError, match=r"statistics of x .* need shape \(3,\), got \(4,"):
        _core.batch_norm_forward(x, empty((4,)), statistic, x, EPS, False)
    other = empty((2, 3, 4, 4), channels_last=True)
    with pytest.raises(ValueError, match=r"batch_norm_forward: .* lie differently in memory"):
        _core.batch_norm_forward(x, statistic, statistic, other, EPS, False)
    nothing = empty((0, 3, 4, 4))
    with pytest.raises(ValueError, match=r"batch_norm_forward: x \(0, 3, 4, 4\) holds nothing"):
        _core.batch_norm_forward(nothing, statistic, statistic, nothing, EPS, False)


@pytest.mark.parametrize(
    "name", ["batchnorm_train", "batchnorm_test", "batchnorm_train_global_off"]
)
def test_golden(golden_dir: Path, name: str) -> None:
    run_golden(golden_dir, name)
