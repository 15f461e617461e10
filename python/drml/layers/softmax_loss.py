"""SoftmaxWithLoss: cross entropy of a softmax with class labels; Caffe's layer of this name."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import register
from drml.layers.base_loss import LOSS_FIELDS, SoftmaxLossLayer


@register
class SoftmaxWithLoss(SoftmaxLossLayer):
    """L = -(1/normalizer) * sum of log softmax(x)[label], softmax along an axis of x.

    Bottoms: x, and a class number for each line of x along the axis: for x (N, C, H, W) and axis 1
    N * H * W labels. Tops: the loss, shape (), and if given the softmax itself, shaped as x.

    `loss_param`: ignore_label, which gives neither loss nor gradient; normalization (VALID: labels
    that are not ignored; FULL: all labels; BATCH_SIZE: the axes before `axis`; NONE: 1), or the
    deprecated normalize. `softmax_param`: axis (1).
    """

    type = "SoftmaxWithLoss"
    param_field = "softmax_param"
    supported = frozenset({"axis"}) | LOSS_FIELDS
    hints = frozenset({"engine"})

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().forward(bottom, top)
        _core.softmax_loss_forward(
            self.prob.value, bottom[1].value, top[0].value, self.axis, self.attrs
        )

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        self.check_propagate_down(propagate_down)
        if propagate_down[0]:
            x, label = bottom
            _core.softmax_loss_backward(
                self.prob.value, label.value, top[0].grad, x.grad, self.axis, self.attrs
            )
