"""MultiSigmoidCrossEntropyLoss: the paper's loss over action units (section 3.3).

The name is that of the layer in the authors' files. Unlike theirs, it multiplies by loss_weight.
"""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import register
from drml.layers.base_loss import LossLayer


@register
class MultiSigmoidCrossEntropyLoss(LossLayer):
    """L = -(1/N) * sum of [Y > 0] log s(x) + [Y < 0] log(1 - s(x)), s the sigmoid.

    Bottoms: logits x (N, ...) and as many labels Y: 1 present, -1 absent, 0 unknown, which gives
    neither loss nor gradient. The sum is divided by N alone, not by the number of known labels.
    Forward raises for any other label and names the sample and the column.
    """

    type = "MultiSigmoidCrossEntropyLoss"

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().reshape(bottom, top)
        self.check_one_label_each(bottom)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        x, label = bottom
        _core.multi_sigmoid_cross_entropy_loss_forward(x.value, label.value, top[0].value)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        self.check_propagate_down(propagate_down)
        if propagate_down[0]:
            x, label = bottom
            _core.multi_sigmoid_cross_entropy_loss_backward(
                x.value, label.value, top[0].grad, x.grad
            )
