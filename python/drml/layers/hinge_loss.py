"""HingeLoss: one-versus-all hinge loss of scores; Caffe's HingeLoss layer."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import register
from drml.layers.base_loss import ClassLossLayer
from drml.proto import caffe_pb2 as pb


@register
class HingeLoss(ClassLossLayer):
    """L = (1/N) * sum of max(0, 1 - t * x)^p, t = 1 for the label's class and -1 for the others.

    Bottoms: scores x (N, ...), and a class number for each sample; every number of a sample is the
    score of a class.

    `hinge_loss_param`: norm (L1: p = 1; L2: p = 2).
    """

    type = "HingeLoss"
    param_field = "hinge_loss_param"
    supported = frozenset({"norm"})

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().setup(bottom, top)
        self._l2 = self.param.norm == pb.HingeLossParameter.L2

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        _core.hinge_loss_forward(self.rows(bottom), bottom[1].value, top[0].value, self._l2)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        self.check_propagate_down(propagate_down)
        if propagate_down[0]:
            _core.hinge_loss_backward(
                self.rows(bottom),
                bottom[1].value,
                top[0].grad,
                self.row_gradients(bottom),
                self._l2,
            )
            self.keep_row_gradients(bottom)
