"""Caffe's neuron layers TanH, ELU, AbsVal, Power, Exp, Log, BNLL and Threshold: y = f(x), number by
number.

They are one op, which src/neuron.h gives the functions; ReLU and Sigmoid have ops of their own.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register


class Neuron(Layer):
    """Base of the layers: any shape, in place or not.

    Where the gradient is a function of x, a layer in place keeps a copy of its input. Caffe reads
    the overwritten x there, and so computes a gradient that is wrong.
    """

    in_place = True
    slope_of_output: ClassVar[bool] = False
    """Whether the gradient can be computed from y alone."""

    def neuron(self) -> _core.NeuronAttrs:
        """The function, with its numbers."""
        raise NotImplementedError

    def needs_input(self) -> bool:
        """Whether backward reads x where y differs from it."""
        return not self.slope_of_output

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self._attrs = self.neuron()
        self._keeps_input = top[0] is bottom[0] and self.needs_input()
        self._input = Blob(f"{self.name}/input", device=self.context.device)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        x, y = bottom[0], top[0]
        if self._keeps_input:
            self._input.reshape(*x.shape)
            _core.copy(x.value, self._input.value)
        _core.neuron_forward(x.value, y.value, self._attrs)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if propagate_down[0]:
            x = self._input if self._keeps_input else bottom[0]
            _core.neuron_backward(x.value, top[0].value, top[0].grad, bottom[0].grad, self._attrs)

    def _of_positive_base(
        self, bottom: list[Blob], random: np.random.Generator
    ) -> npt.NDArray[np.generic] | None:
        """x for which shift + scale * x is positive."""
        scale, shift = float(self.param.scale), float(self.param.shift)
        return (random.uniform(0.5, 2, bottom[0].shape) - shift) / scale if scale else None

    def _log_of_base(self) -> float:
        """Natural logarithm of the parameter `base`, whose default, -1, stands for e."""
        base = float(self.param.base)
        if base == -1:
            return 1.0
        if not 0 < base < math.inf:
            raise self.error(
                f"base must be a positive number, or -1 for e, not {base:g}",
                f"{self.param_field}.base",
            )
        return math.log(base)


@register
class TanH(Neuron):
    """y = tanh(x)."""

    type = "TanH"
    param_field = "tanh_param"
    hints = frozenset({"engine"})
    slope_of_output = True

    def neuron(self) -> _core.NeuronAttrs:
        return _core.NeuronAttrs(_core.NeuronKind.TANH)


@register
class ELU(Neuron):
    """y = x where x > 0, else alpha * (exp(x) - 1).

    `elu_param`: alpha (1).
    """

    type = "ELU"
    param_field = "elu_param"
    supported = frozenset({"alpha"})

    def neuron(self) -> _core.NeuronAttrs:
        return _core.NeuronAttrs(_core.NeuronKind.ELU, self.param.alpha)

    def needs_input(self) -> bool:
        # Only the sign of x is read, and y has it.
        return bool(self.param.alpha < 0)


@register
class AbsVal(Neuron):
    """y = |x|; the gradient at 0 is 0. Not in place, as in Caffe."""

    type = "AbsVal"
    in_place = False

    def neuron(self) -> _core.NeuronAttrs:
        return _core.NeuronAttrs(_core.NeuronKind.ABSVAL)


@register
class Power(Neuron):
    """y = (shift + scale * x)^power.

    `power_param`: power (1), scale (1), shift (0). With a power or a scale of 0, y is a constant
    and the gradient 0. Other powers than 0, 1 and 2 have a gradient, power * scale * y /
    (shift + scale * x), that is not a number where the base is 0, as in Caffe.
    """

    type = "Power"
    param_field = "power_param"
    supported = frozenset({"power", "scale", "shift"})

    def neuron(self) -> _core.NeuronAttrs:
        param = self.param
        return _core.NeuronAttrs(_core.NeuronKind.POWER, param.power, param.scale, param.shift)

    def needs_input(self) -> bool:
        return bool(self.param.power not in (0, 1) and self.param.scale != 0)

    def example(
        self, index: int, bottom: list[Blob], random: np.random.Generator
    ) -> npt.NDArray[np.generic] | None:
        return self._of_positive_base(bottom, random)


@register
class Exp(Neuron):
    """y = base^(shift + scale * x).

    `exp_param`: base (-1, which stands for e), scale (1), shift (0).
    """

    type = "Exp"
    param_field = "exp_param"
    supported = frozenset({"base", "scale", "shift"})
    slope_of_output = True

    def neuron(self) -> _core.NeuronAttrs:
        log_base, param = self._log_of_base(), self.param
        try:
            factor = math.exp(param.shift * log_base)
        except OverflowError:
            factor = math.inf
        return _core.NeuronAttrs(_core.NeuronKind.EXP, factor, param.scale * log_base)


@register
class Log(Neuron):
    """y = logarithm of shift + scale * x to a base.

    `log_param`: base (-1, which stands for e; 1 has no logarithm), scale (1), shift (0).
    """

    type = "Log"
    param_field = "log_param"
    supported = frozenset({"base", "scale", "shift"})

    def neuron(self) -> _core.NeuronAttrs:
        log_base, param = self._log_of_base(), self.param
        if log_base == 0:
            raise self.error("base must not be 1", "log_param.base")
        return _core.NeuronAttrs(_core.NeuronKind.LOG, 1 / log_base, param.scale, param.shift)

    def example(
        self, index: int, bottom: list[Blob], random: np.random.Generator
    ) -> npt.NDArray[np.generic] | None:
        return self._of_positive_base(bottom, random)


@register
class BNLL(Neuron):
    """y = log(1 + exp(x)), the binomial normal log likelihood."""

    type = "BNLL"

    def neuron(self) -> _core.NeuronAttrs:
        return _core.NeuronAttrs(_core.NeuronKind.BNLL)


@register
class Threshold(Neuron):
    """y = 1 where x > threshold, else 0. There is no backward.

    `threshold_param`: threshold (0).
    """

    type = "Threshold"
    param_field = "threshold_param"
    supported = frozenset({"threshold"})
    slope_of_output = True

    def neuron(self) -> _core.NeuronAttrs:
        return _core.NeuronAttrs(_core.NeuronKind.THRESHOLD, self.param.threshold)

    def can_backward_to(self, index: int) -> bool:
        return False

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if any(propagate_down):
            raise self.error("has no gradient: no learned layer may lie before it under a loss")
