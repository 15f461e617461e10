"""TanH, ELU, AbsVal, Power, Exp, Log, BNLL and Threshold against plain references."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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
    tensor,
)

from drml import _core
from drml.errors import NetError
from drml.net import Net
from drml.prototxt import parse_net

Function = Callable[[Array], Array]


def ones(x: Array) -> Array:
    return np.ones_like(x)


def power(x: Array, power: float, scale: float, shift: float) -> Array:
    return np.asarray((shift + scale * x) ** power)


def power_slope(x: Array, power: float, scale: float, shift: float) -> Array:
    return np.asarray(power * scale * (shift + scale * x) ** (power - 1))


class Case(NamedTuple):
    """A layer, the function that it computes, and the derivative of that."""

    text: str
    value: Function
    slope: Function
    positive: bool = False
    """Whether the function takes positive numbers alone."""


CASES = [
    Case('type: "TanH"', np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    Case(
        'type: "ELU"', lambda x: np.where(x > 0, x, np.exp(x) - 1), lambda x: np.exp(x.clip(max=0))
    ),
    Case(
        'type: "ELU" elu_param { alpha: 0.3 }',
        lambda x: np.where(x > 0, x, 0.3 * (np.exp(x) - 1)),
        lambda x: np.where(x > 0, 1, 0.3 * np.exp(x)),
    ),
    Case(
        'type: "ELU" elu_param { alpha: -0.5 }',
        lambda x: np.where(x > 0, x, -0.5 * (np.exp(x) - 1)),
        lambda x: np.where(x > 0, 1, -0.5 * np.exp(x)),
    ),
    Case('type: "AbsVal"', np.abs, np.sign),
    Case('type: "Power"', lambda x: x, ones),
    Case(
        'type: "Power" power_param { scale: -2 shift: 0.5 }',
        lambda x: 0.5 - 2 * x,
        lambda x: -2 * ones(x),
    ),
    Case(
        'type: "Power" power_param { power: 2 scale: 3 shift: 0.5 }',
        lambda x: power(x, 2, 3, 0.5),
        lambda x: power_slope(x, 2, 3, 0.5),
    ),
    Case(
        'type: "Power" power_param { power: 3 scale: 0.5 }',
        lambda x: power(x, 3, 0.5, 0),
        lambda x: power_slope(x, 3, 0.5, 0),
    ),
    Case(
        'type: "Power" power_param { power: -0.75 scale: 0.5 shift: 2 }',
        lambda x: power(x, -0.75, 0.5, 2),
        lambda x: power_slope(x, -0.75, 0.5, 2),
        positive=True,
    ),
    Case('type: "Power" power_param { power: 0 }', ones, np.zeros_like),
    Case(
        'type: "Power" power_param { power: 3 scale: 0 shift: 2 }',
        lambda x: 8 * ones(x),
        np.zeros_like,
    ),
    Case('type: "Exp"', np.exp, np.exp),
    Case(
        'type: "Exp" exp_param { scale: 0.5 shift: -1 }',
        lambda x: np.exp(0.5 * x - 1),
        lambda x: 0.5 * np.exp(0.5 * x - 1),
    ),
    Case(
        'type: "Exp" exp_param { base: 2 scale: -1.5 shift: 3 }',
        lambda x: 2 ** (3 - 1.5 * x),
        lambda x: -1.5 * np.log(2) * 2 ** (3 - 1.5 * x),
    ),
    Case('type: "Exp" exp_param { base: 1 shift: 4 }', ones, np.zeros_like),
    Case('type: "Log"', np.log, lambda x: 1 / x, positive=True),
    Case(
        'type: "Log" log_param { scale: 0.5 shift: 2 }',
        lambda x: np.log(0.5 * x + 2),
        lambda x: 0.5 / (0.5 * x + 2),
        positive=True,
    ),
    Case(
        'type: "Log" log_param { base: 10 scale: 3 shift: 1 }',
        lambda x: np.log10(3 * x + 1),
        lambda x: 3 / (3 * x + 1) / np.log(10),
        positive=True,
    ),
    Case('type: "BNLL"', lambda x: np.log(1 + np.exp(x)), lambda x: 1 / (1 + np.exp(-x))),
]
IDS = [case.text[6:].replace('"', "") for case in CASES]
all_cases = pytest.mark.parametrize("case", CASES, ids=IDS)


def draw(case: Case, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """x, away from kinks and poles, and dy."""
    x = random_array(shape, 1, away=0.25)
    return np.abs(x) if case.positive else x, random_array(shape, 2)


@all_cases
def test_reference_slope_equals_central_differences(case: Case) -> None:
    x, dy = draw(case, (2, 3, 4))
    wanted = central_differences(lambda: case.value(x), x, dy)
    assert relative_error(dy * case.slope(x), wanted) < 1e-6


@all_cases
@pytest.mark.parametrize("shape", [(), (7,), (5, 3, 2), (2, 3, 5, 7), (2, 16, 17, 9)])
def test_kernel_equals_reference(case: Case, shape: tuple[int, ...]) -> None:
    x, dy = draw(case, shape)
    runner = LayerRunner(case.text, [x])
    check_layer(runner, [case.value(x)], [dy], [dy * case.slope(x)], 2e-6)


@pytest.mark.parametrize("case", [case for case in CASES if "AbsVal" not in case.text])
def test_in_place_equals_out_of_place(case: Case) -> None:
    x, dy = draw(case, (2, 3, 5, 4))
    apart, in_place = LayerRunner(case.text, [x]), LayerRunner(case.text, [x], in_place=True)
    for got, wanted in zip(in_place.forward_backward(dy), apart.forward_backward(dy), strict=True):
        assert np.array_equal(got, wanted)


@all_cases
def test_a_batch_is_its_samples(case: Case) -> None:
    x, dy = draw(case, (5, 3, 4, 2))
    whole = LayerRunner(case.text, [x]).forward_backward(dy)
    for i in range(5):
        single = LayerRunner(case.text, [x[i : i + 1]]).forward_backward(dy[i : i + 1])
        for got, wanted in zip(single, whole, strict=True):
            assert relative_error(got, wanted[i : i + 1]) < 1e-6


@pytest.mark.parametrize("size", [0, 1, 31, 20_003])
def test_sizes_that_no_block_divides(size: int) -> None:
    """And views that start at an odd place in memory; the same bits every time."""
    x, dy = random_array((size,), 1), random_array((size,), 2)
    attrs = _core.NeuronAttrs(_core.NeuronKind.POWER, 2, 0.5, 1)
    for start in (0, 1):
        parts = [empty((size + start,)).narrow(0, start, size) for _ in range(4)]
        parts[0].set(x)
        parts[2].set(dy)

        def run(parts: list[_core.Tensor] = parts) -> list[Array]:
            _core.neuron_forward(parts[0], parts[1], attrs)
            _core.neuron_backward(*parts, attrs)
            return [parts[1].get(), parts[3].get()]

        check_repeats(run)
        assert relative_error(parts[1].get(), power(x, 2, 0.5, 1)) < 1e-6
        assert relative_error(parts[3].get(), dy * power_slope(x, 2, 0.5, 1)) < 1e-6


@all_cases
def test_nan_is_not_hidden(case: Case) -> None:
    x, _ = draw(case, (2,))
    (y,) = LayerRunner(case.text, [[np.nan, x[1]]]).forward()
    constant = not case.slope(x).any() and "base" not in case.text
    assert np.isnan(y).tolist() == [not constant, False]


def test_gradients_at_zero() -> None:
    """Caffe's: a kink's is that of negative x for ELU, and 0 for AbsVal."""
    for text, wanted in [
        ('type: "ELU" elu_param { alpha: 0.3 }', np.float32(0.3)),
        ('type: "AbsVal"', 0),
        ('type: "Power" power_param { power: 2 }', 0),
        ('type: "Power" power_param { power: 3 }', np.nan),
    ]:
        runner = LayerRunner(text, [np.zeros(3)])
        runner.forward()
        assert np.array_equal(runner.backward(np.ones(3))[0], [wanted] * 3, equal_nan=True)


def test_large_numbers_do_not_overflow() -> None:
    x = np.array([-1e30, -200, -60, 60, 200, 1e30])
    runner = LayerRunner('type: "BNLL"', [x])
    assert relative_error(runner.forward()[0], np.maximum(x, 0)) < 1e-6
    assert np.allclose(runner.backward(np.ones(6))[0], x > 0, atol=1e-6)
    for text in ('type: "TanH"', 'type: "ELU"'):
        (y,) = LayerRunner(text, [x]).forward()
        assert relative_error(y, np.sign(x) if "TanH" in text else np.maximum(x, -1)) < 1e-6


def test_zero_to_the_power_of_zero_is_one() -> None:
    (y,) = LayerRunner('type: "Power" power_param { power: 0 }', [[0, np.nan, 5]]).forward()
    assert y.tolist() == [1, 1, 1]


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("shape", [(7,), (2, 3, 5, 7)])
def test_threshold(shape: tuple[int, ...], in_place: bool) -> None:
    x = np.round(random_array(shape, 1), 1)
    x.flat[:3] = [0.5, np.nan, np.inf]
    runner = LayerRunner(
        'type: "Threshold" threshold_param { threshold: 0.5 }', [x], in_place=in_place
    )
    assert np.array_equal(runner.forward()[0], np.float32(x) > 0.5)


def test_threshold_has_no_gradient() -> None:
    runner = LayerRunner('type: "Threshold"', [np.zeros(3)])
    runner.forward()
    with pytest.raises(NetError, match=r"^test.prototxt:1: layer 'layer' \(Threshold\): has no gr"):
        runner.backward(np.ones(3))
    runner.backward(np.ones(3), propagate_down=[False])
    assert not runner.layer.can_backward_to(0)
    x = empty((3,))
    with pytest.raises(ValueError, match="neuron_backward: a threshold has no gradient"):
        _core.neuron_backward(x, x, x, x, _core.NeuronAttrs(_core.NeuronKind.THRESHOLD))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"Exp" exp_param { base: 0 }', "base must be a positive number, or -1 for e, not 0"),
        ('"Exp" exp_param { base: -2 }', "base must be a positive number, or -1 for e, not -2"),
        ('"Exp" exp_param { base: inf }', "base must be a positive number, or -1 for e, not inf"),
        ('"Log" log_param { base: nan }', "base must be a positive number, or -1 for e, not nan"),
        ('"Log" log_param { base: 1 }', "base must not be 1"),
    ],
)
def test_bad_parameters_are_named(text: str, message: str) -> None:
    with pytest.raises(NetError, match=rf"^test.prototxt:1: layer .*: {message}"):
        LayerRunner(f"type: {text}", [np.ones(3)])


def test_absval_is_refused_in_place() -> None:
    net = parse_net(
        """layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 3 } } }
           layer { name: "abs" type: "AbsVal" bottom: "x" top: "x" }"""
    )
    with pytest.raises(NetError, match=r"layer 'abs' \(AbsVal\): top 'x' cannot be its bot"):
        Net(net)


def test_arrays_that_lie_differently_are_named() -> None:
    x, y = (empty((2, 3, 4, 5), channels_last=last) for last in (True, False))
    attrs = _core.NeuronAttrs(_core.NeuronKind.TANH)
    with pytest.raises(ValueError, match=r"neuron_forward: tensors .* lie differently in memory"):
        _core.neuron_forward(x, y, attrs)
    for wrong in range(1, 4):
        tensors = [y if index == wrong else x for index in range(4)]
        with pytest.raises(ValueError, match=r"neuron_backward: tensors .* lie differently"):
            _core.neuron_backward(*tensors, attrs)


def test_overflow_is_infinite() -> None:
    runner = LayerRunner('type: "Exp" exp_param { shift: 1000 }', [tensor([1.0]).get()])
    assert runner.forward()[0].tolist() == [np.inf]
