"""SigmoidCrossEntropyLoss: cross entropy of logits with targets in [0, 1], as in Caffe."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import register
from drml.layers.base_loss import LOSS_FIELDS, LossLayer
from drml.proto import caffe_pb2 as pb


@register
class SigmoidCrossEntropyLoss(LossLayer):
    """L = -(1/normalizer) * sum of t log s(x) + (1 - t) log(1 - s(x)), s the sigmoid.

    Bottoms: logits x (N, ...) and as many targets t. The paper's labels -1, 0 and 1 are not for
    this loss but for MultiSigmoidCrossEntropyLoss.

    `loss_param`: ignore_label, a target that gives neither loss nor gradient; normalization
    (BATCH_SIZE, as Caffe has it for this loss alone: N; FULL: all targets; VALID: those that are
    not ignored; NONE: 1), or the deprecated normalize.
    """

    type = "SigmoidCrossEntropyLoss"
    param_field = "loss_param"
    supported = LOSS_FIELDS
    hints = frozenset({"sigmoid_param.engine"})

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self._attrs = self.loss_attrs(pb.LossParameter.BATCH_SIZE)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().reshape(bottom, top)
        self.check_one_label_each(bottom)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        x, label = bottom
        _core.sigmoid_cross_entropy_loss_forward(x.value, label.value, top[0].value, self._attrs)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        self.check_propagate_down(propagate_down)
        if propagate_down[0]:
            x, label = bottom
            _core.sigmoid_cross_entropy_loss_backward(
                x.value, label.value, top[0].grad, x.grad, self._attrs
            )
