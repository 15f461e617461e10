"""Caffe's other solvers: Nesterov, AdaGrad, RMSProp, AdaDelta, Adam; and the one a file asks for.

All do an iteration as SGDSolver does: clipping, iter_size, weight decay, learning-rate policy and
multipliers are the same, only the update differs. Below, w is a parameter, g its gradient with that
of weight decay, which adaptive rates scale too, as in Caffe; rate includes lr_mult.
"""

from __future__ import annotations

import math
import os
from typing import ClassVar

from drml import _core
from drml.prototxt import SolverFile, read_solver
from drml.solver import SGDSolver
from drml.solver_options import solver_type

Tensor = _core.Tensor


class NesterovSolver(SGDSolver):
    """Nesterov's accelerated gradient: v' = momentum * v + rate * g;
    w -= (1 + momentum) * v' - momentum * v."""

    type: ClassVar[str] = "Nesterov"

    def _update(
        self, weight: Tensor, gradient: Tensor, history: list[Tensor], rate: float, decay: float
    ) -> None:
        (velocity,) = history
        momentum = self.param.momentum
        _core.nesterov_update(weight, gradient, velocity, rate, momentum, decay, self._l1)


class AdaGradSolver(SGDSolver):
    """AdaGrad: h += g^2; w -= rate * g / (sqrt(h) + delta). It has no momentum."""

    type: ClassVar[str] = "AdaGrad"
    has_velocity: ClassVar[bool] = False

    def _update(
        self, weight: Tensor, gradient: Tensor, history: list[Tensor], rate: float, decay: float
    ) -> None:
        (squares,) = history
        _core.adagrad_update(weight, gradient, squares, rate, self.param.delta, decay, self._l1)


class RMSPropSolver(SGDSolver):
    """RMSProp: h = rms_decay * h + (1 - rms_decay) * g^2; w -= rate * g / (sqrt(h) + delta).

    It has no momentum.
    """

    type: ClassVar[str] = "RMSProp"
    has_velocity: ClassVar[bool] = False

    def _update(
        self, weight: Tensor, gradient: Tensor, history: list[Tensor], rate: float, decay: float
    ) -> None:
        (squares,) = history
        param = self.param
        _core.rmsprop_update(
            weight, gradient, squares, rate, param.rms_decay, param.delta, decay, self._l1
        )


class AdaDeltaSolver(SGDSolver):
    """AdaDelta: h = momentum * h + (1 - momentum) * g^2; d = g * sqrt((h2 + delta) / (h + delta));
    h2 = momentum * h2 + (1 - momentum) * d^2; w -= rate * d."""

    type: ClassVar[str] = "AdaDelta"
    has_velocity: ClassVar[bool] = False
    histories: ClassVar[int] = 2

    def _update(
        self, weight: Tensor, gradient: Tensor, history: list[Tensor], rate: float, decay: float
    ) -> None:
        squares, changes = history
        param = self.param
        _core.adadelta_update(
            weight, gradient, squares, changes, rate, param.momentum, param.delta, decay, self._l1
        )


class AdamSolver(SGDSolver):
    """Adam: m = momentum * m + (1 - momentum) * g; v = momentum2 * v + (1 - momentum2) * g^2;
    w -= rate * sqrt(1 - momentum2^t) / (1 - momentum^t) * m / (sqrt(v) + delta), at iteration
    t = 1, 2..."""

    type: ClassVar[str] = "Adam"
    has_velocity: ClassVar[bool] = False
    histories: ClassVar[int] = 2

    def _update(
        self, weight: Tensor, gradient: Tensor, history: list[Tensor], rate: float, decay: float
    ) -> None:
        mean, squares = history
        beta1, beta2, t = self.param.momentum, self.param.momentum2, self.iter + 1
        rate *= math.sqrt(1 - beta2**t) / (1 - beta1**t)
        _core.adam_update(
            weight, gradient, mean, squares, rate, beta1, beta2, self.param.delta, decay, self._l1
        )


_CLASSES: dict[str, type[SGDSolver]] = {
    cls.type: cls
    for cls in (
        SGDSolver,
        NesterovSolver,
        AdaGradSolver,
        RMSPropSolver,
        AdaDeltaSolver,
        AdamSolver,
    )
}


def solver_class(file: SolverFile) -> type[SGDSolver]:
    """The class of a solver file's `type`.

    Raises:
        SolverError: there is no such type; the nearest name is given.
    """
    return _CLASSES[solver_type(file)]


def get_solver(solver: str | os.PathLike[str] | SolverFile, **options: object) -> SGDSolver:
    """The solver that a file's `type` asks for, as pycaffe's get_solver.

    Args:
        solver: a solver prototxt, read or to be read.
        options: those of SGDSolver.

    Raises:
        DrmlError: as SGDSolver.
    """
    file = solver if isinstance(solver, SolverFile) else read_solver(os.fspath(solver))
    return solver_class(file)(file, **options)  # type: ignore[arg-type]
