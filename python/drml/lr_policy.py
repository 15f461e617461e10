"""Learning-rate policies: fixed, step, exp, inv, multistep, poly, sigmoid (Caffe's SGD solver)."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

from drml.errors import SolverError
from drml.prototxt import SolverFile

_NEEDS: dict[str, tuple[str, ...]] = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power", "max_iter"),
    "sigmoid": ("gamma", "stepsize"),
}
"""The policies and the fields that each cannot do without."""

POLICIES = tuple(_NEEDS)


class LearningRate:
    """The learning rate as a function of the iteration.

    Args:
        solver: the solver file that states base_lr, lr_policy and what the policy needs.

    Attributes:
        current_step: how often `step` or `multistep` has lowered the rate; a snapshot stores it.

    Raises:
        SolverError: the policy is unknown (the nearest name is given), or a field that it needs is
            missing or out of range. The line names file and line.
    """

    def __init__(self, solver: SolverFile) -> None:
        self._solver = solver
        self._param = solver.message
        self.policy: str = self._param.lr_policy
        self.current_step = 0
        if not self._param.HasField("base_lr"):
            raise SolverError(f"{solver.where()}: base_lr is missing")
        if not math.isfinite(self._param.base_lr):
            raise self._error("base_lr", f"must be a finite number, not {self._param.base_lr}")
        self._check_policy()
        self._rates: dict[str, Callable[[int], float]] = {
            "fixed": self._fixed,
            "step": self._step,
            "exp": self._exp,
            "inv": self._inv,
            "multistep": self._multistep,
            "poly": self._poly,
            "sigmoid": self._sigmoid,
        }

    def __call__(self, iteration: int) -> float:
        """The rate of one iteration; to be asked once per iteration, in order (`multistep` counts).

        Raises:
            SolverError: the policy gives no finite number at this iteration.
        """
        try:
            rate = self._rates[self.policy](iteration)
        except (OverflowError, ValueError, ZeroDivisionError):
            rate = math.nan
        if not math.isfinite(rate):
            raise self._error(
                "lr_policy", f"'{self.policy}' gives no finite rate at iteration {iteration}"
            )
        return rate

    def _error(self, field: str, message: str) -> SolverError:
        return SolverError(f"{self._solver.where(field)}: {field} {message}")

    def _check_policy(self) -> None:
        where = self._solver.where("lr_policy")
        known = ", ".join(_NEEDS)
        if not self.policy:
            raise SolverError(f"{where}: lr_policy is missing; one of {known}")
        if self.policy not in _NEEDS:
            near = difflib.get_close_matches(self.policy.lower(), _NEEDS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {known}"
            raise SolverError(f"{where}: unknown lr_policy '{self.policy}'; {hint}")
        for field in _NEEDS[self.policy]:
            given = (
                len(self._param.stepvalue) if field == "stepvalue" else self._param.HasField(field)
            )
            if not given:
                raise SolverError(
                    f"{where}: lr_policy '{self.policy}' needs {field}, which is missing"
                )
        self._check_ranges()

    def _check_ranges(self) -> None:
        needs = _NEEDS[self.policy]
        if "gamma" in needs and not 0 <= self._param.gamma < math.inf:
            raise self._error("gamma", f"must be 0 or more, not {self._param.gamma:g}")
        if "power" in needs and not math.isfinite(self._param.power):
            raise self._error("power", f"must be a finite number, not {self._param.power}")
        if "stepsize" in needs and self._param.stepsize < 1:
            raise self._error("stepsize", f"must be 1 or more, not {self._param.stepsize}")
        if "max_iter" in needs and self._param.max_iter < 1:
            raise self._error("max_iter", f"must be 1 or more, not {self._param.max_iter}")
        values = list(self._param.stepvalue)
        if "stepvalue" in needs and values != sorted(values):
            raise self._error("stepvalue", f"must grow from one to the next, not {values}")

    def _fixed(self, iteration: int) -> float:
        return float(self._param.base_lr)

    def _step(self, iteration: int) -> float:
        self.current_step = iteration // self._param.stepsize
        return float(self._param.base_lr * math.pow(self._param.gamma, self.current_step))

    def _exp(self, iteration: int) -> float:
        return float(self._param.base_lr * math.pow(self._param.gamma, iteration))

    def _inv(self, iteration: int) -> float:
        return float(
            self._param.base_lr * math.pow(1 + self._param.gamma * iteration, -self._param.power)
        )

    def _multistep(self, iteration: int) -> float:
        values = self._param.stepvalue
        if self.current_step < len(values) and iteration >= values[self.current_step]:
            self.current_step += 1
        return float(self._param.base_lr * math.pow(self._param.gamma, self.current_step))

    def _poly(self, iteration: int) -> float:
        left = 1 - iteration / self._param.max_iter
        return float(self._param.base_lr * math.pow(left, self._param.power))

    def _sigmoid(self, iteration: int) -> float:
        x = self._param.gamma * (iteration - self._param.stepsize)
        share = 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))
        return float(self._param.base_lr * share)
