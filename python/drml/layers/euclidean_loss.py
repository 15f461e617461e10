"""EuclideanLoss: half the mean squared distance; Caffe's EuclideanLoss layer."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import register
from drml.layers.base_loss import LossLayer


@register
class EuclideanLoss(LossLayer):
    """L = 1/(2N) * sum of (x - t)^2.

    Bottoms: x (N, ...) and as many numbers t, paired in the order of their axes. Both have a
    gradient.
    """

    type = "EuclideanLoss"
    numbered = ()

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().reshape(bottom, top)
        self.check_one_label_each(bottom)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        _core.euclidean_loss_forward(bottom[0].value, bottom[1].value, top[0].value)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if any(propagate_down):
            _core.euclidean_loss_backward(
                bottom[0].value,
                bottom[1].value,
                top[0].grad,
                *(
                    blob.grad if wanted else None
                    for blob, wanted in zip(bottom, propagate_down, strict=True)
                ),
            )
