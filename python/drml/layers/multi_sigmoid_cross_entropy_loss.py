"""MultiSigmoidCrossEntropyLoss: the paper's loss over action units (section 3.3).

The name is that of the layer in the authors' files. Unlike theirs, it multiplies by loss_weight.
"""

from __future__ import annotations

import math

from drml import _core
from drml._core import Tensor
from drml.blob import Array, Blob
from drml.layers.base import register
from drml.layers.base_loss import LossLayer

_WEIGHTS = ("positive_weight", "negative_weight")


@register
class MultiSigmoidCrossEntropyLoss(LossLayer):
    """L = -(1/N) * sum of p_c [Y > 0] log s(x) + n_c [Y < 0] log(1 - s(x)), s the sigmoid.

    Bottoms: logits x (N, C, ...) and as many labels Y: 1 present, -1 absent, 0 unknown, which gives
    neither loss nor gradient. The sum is divided by N alone, not by the number of known labels.
    Forward raises for any other label and names the sample and the column.

    `multi_sigmoid_cross_entropy_loss_param`, ours: positive_weight, p_c, and negative_weight, n_c,
    against class imbalance: what loss and gradient of a positive and of a negative label of action
    unit c, an index of axis 1, are multiplied by. One number for each action unit, or one for all;
    1 unless given, as in the paper.
    """

    type = "MultiSigmoidCrossEntropyLoss"
    param_field = "multi_sigmoid_cross_entropy_loss_param"
    supported = frozenset(_WEIGHTS)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        for name in _WEIGHTS:
            for weight in getattr(self.param, name):
                if not 0 <= weight < math.inf:
                    raise self.error(
                        f"{name} must be a number of 0 or more, not {weight:g}",
                        f"{self.param_field}.{name}",
                    )
        self._weights = Blob(
            f"{self.name}/weights", device=self.context.device, fill=self._fill_weights
        )

    def _fill_weights(self, array: Array) -> None:
        for row, name in zip(array, _WEIGHTS, strict=True):
            row[...] = getattr(self.param, name) or 1

    def _weight(self) -> Tensor | None:
        """(2, C): those of positive labels, then those of negative ones; None if none is given."""
        given = any(getattr(self.param, name) for name in _WEIGHTS)
        return self._weights.value if given else None

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().reshape(bottom, top)
        self.check_one_label_each(bottom)
        x = bottom[0]
        units = x.shape[1] if len(x.shape) > 1 else 1
        for name in _WEIGHTS:
            count = len(getattr(self.param, name))
            if count not in (0, 1, units):
                raise self.error(
                    f"{name} is given {count} times for the {units} action units of '{x.name}' "
                    f"{x.shape}; one for each is needed, or one for all",
                    f"{self.param_field}.{name}",
                )
        self._weights.reshape(2, units)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        x, label = bottom
        _core.multi_sigmoid_cross_entropy_loss_forward(
            x.value, label.value, self._weight(), top[0].value
        )

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        self.check_propagate_down(propagate_down)
        if propagate_down[0]:
            x, label = bottom
            _core.multi_sigmoid_cross_entropy_loss_backward(
                x.value, label.value, self._weight(), top[0].grad, x.grad
            )
