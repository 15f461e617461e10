"""Learning-rate policies against Caffe's formulas; errors for what is missing or misspelt."""

from __future__ import annotations

import math

import pytest

from drml.errors import SolverError
from drml.lr_policy import LearningRate
from drml.prototxt import parse_solver

pytestmark = pytest.mark.cpu_only


def rate_of(text: str) -> LearningRate:
    return LearningRate(parse_solver(text, "solver.prototxt"))


def multistep_reference(base: float, gamma: float, values: list[int], iteration: int) -> float:
    return base * gamma ** sum(iteration >= value for value in values)


BASE = "base_lr: 0.5 max_iter: 10 "
CASES = {
    "fixed": ('lr_policy: "fixed"', lambda i: 0.5),
    "step": ('lr_policy: "step" gamma: 0.25 stepsize: 3', lambda i: 0.5 * 0.25 ** (i // 3)),
    "exp": ('lr_policy: "exp" gamma: 0.75', lambda i: 0.5 * 0.75**i),
    "inv": ('lr_policy: "inv" gamma: 0.5 power: 0.75', lambda i: 0.5 * (1 + 0.5 * i) ** -0.75),
    "multistep": (
        'lr_policy: "multistep" gamma: 0.5 stepvalue: 2 stepvalue: 5',
        lambda i: multistep_reference(0.5, 0.5, [2, 5], i),
    ),
    "poly": ('lr_policy: "poly" power: 1.5', lambda i: 0.5 * (1 - i / 10) ** 1.5),
    "sigmoid": (
        'lr_policy: "sigmoid" gamma: 0.5 stepsize: 4',
        lambda i: 0.5 / (1 + math.exp(-0.5 * (i - 4))),
    ),
}


@pytest.mark.parametrize("policy", CASES)
def test_rates_follow_the_formula(policy: str) -> None:
    text, formula = CASES[policy]
    rate = rate_of(BASE + text)
    assert [rate(i) for i in range(10)] == pytest.approx([formula(i) for i in range(10)], rel=1e-12)


@pytest.mark.parametrize(("policy", "step"), [("step", 2), ("multistep", 2)])
def test_counts_its_steps(policy: str, step: int) -> None:
    rate = rate_of(BASE + CASES[policy][0])
    for iteration in range(8):
        rate(iteration)
    assert rate.current_step == step


def test_multistep_goes_on_from_a_stored_step() -> None:
    rate = rate_of(BASE + CASES["multistep"][0])
    rate.current_step = 1
    assert rate(4) == pytest.approx(0.25)
    assert rate(5) == pytest.approx(0.125)


def test_multistep_takes_equal_steps_one_per_iteration_as_caffe_does() -> None:
    rate = rate_of(BASE + 'lr_policy: "multistep" gamma: 0.5 stepvalue: 2 stepvalue: 2')
    assert [rate(i) for i in range(4)] == [0.5, 0.5, 0.25, 0.125]


def test_sigmoid_far_from_its_middle() -> None:
    rate = rate_of('base_lr: 1 lr_policy: "sigmoid" gamma: 10 stepsize: 100000')
    assert rate(0) == 0
    assert rate(10**6) == 1


def test_misspelt_policy_names_the_nearest_and_its_line() -> None:
    with pytest.raises(SolverError, match=r"^solver\.prototxt:2: .*'stpe'; did you mean 'step'\?$"):
        rate_of('base_lr: 1\nlr_policy: "stpe"')


def test_unknown_policy_lists_the_known_ones() -> None:
    with pytest.raises(SolverError, match="'cosine'; known are fixed, step, exp"):
        rate_of('base_lr: 1 lr_policy: "cosine"')


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ('lr_policy: "step" stepsize: 3', "gamma"),
        ('lr_policy: "step" gamma: 0.1', "stepsize"),
        ('lr_policy: "exp"', "gamma"),
        ('lr_policy: "inv" gamma: 1', "power"),
        ('lr_policy: "multistep" gamma: 1', "stepvalue"),
        ('lr_policy: "poly"', "power"),
        ('lr_policy: "sigmoid" gamma: 1', "stepsize"),
    ],
)
def test_missing_field_is_named_with_its_line(text: str, missing: str) -> None:
    with pytest.raises(SolverError, match=rf"^solver\.prototxt:2: .* needs {missing}, .*missing$"):
        rate_of(f"base_lr: 1 max_iter: 9\n{text}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('lr_policy: "fixed"', "base_lr is missing"),
        ("base_lr: 1", "lr_policy is missing"),
        ('base_lr: nan lr_policy: "fixed"', "base_lr must be a finite number"),
        ('base_lr: 1 lr_policy: "exp" gamma: -1', "gamma must be 0 or more"),
        ('base_lr: 1 lr_policy: "step" gamma: 1 stepsize: 0', "stepsize must be 1 or more"),
        ('base_lr: 1 lr_policy: "inv" gamma: 1 power: inf', "power must be a finite number"),
        ('base_lr: 1 lr_policy: "poly" power: 1 max_iter: 0', "max_iter must be 1 or more"),
        (
            'base_lr: 1 lr_policy: "multistep" gamma: 1 stepvalue: 5 stepvalue: 2',
            "stepvalue must grow",
        ),
    ],
)
def test_values_out_of_range(text: str, message: str) -> None:
    with pytest.raises(SolverError, match=message):
        rate_of(text)


@pytest.mark.parametrize(
    ("text", "iteration"),
    [('lr_policy: "exp" gamma: 1000', 10**6), ('lr_policy: "poly" power: 0.5', 11)],
)
def test_no_finite_rate_is_an_error(text: str, iteration: int) -> None:
    with pytest.raises(SolverError, match=f"no finite rate at iteration {iteration}"):
        rate_of(BASE + text)(iteration)
