"""SoftmaxWithLoss: cross entropy of a softmax with class labels; Caffe's layer of this name."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import register
from drml.layers.base_loss import LOSS_FIELDS, LossLayer
from drml.proto import caffe_pb2 as pb


@register
class SoftmaxWithLoss(LossLayer):
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
    tops = (1, 2)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self._attrs = self.loss_attrs(pb.LossParameter.VALID)
        self._prob = (
            top[1] if len(top) > 1 else Blob(f"{self.name}/prob", device=self.context.device)
        )

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().reshape(bottom, top)
        x, label = bottom
        self.axis = self.canonical_axis(self.param.axis, x.shape, "softmax_param.axis")
        lines = x.count // x.shape[self.axis] if x.count else 0
        if label.count != lines:
            raise self.error(
                f"a softmax over axis {self.axis} of '{x.name}' {x.shape} needs {lines} labels, "
                f"'{label.name}' has shape {label.shape}"
            )
        self._prob.reshape(*x.shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        x, label = bottom
        _core.softmax_forward(x.value, self._prob.value, self.axis)
        _core.softmax_loss_forward(
            self._prob.value, label.value, top[0].value, self.axis, self._attrs
        )

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        self.check_propagate_down(propagate_down)
        if propagate_down[0]:
            x, label = bottom
            _core.softmax_loss_backward(
                self._prob.value, label.value, top[0].grad, x.grad, self.axis, self._attrs
            )
