"""Split: one blob for several readers; Caffe's Split layer, which a net inserts by itself."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register


@register
class Split(Layer):
    """Tops that share the bottom's memory; their gradients are summed."""

    type = "Split"
    tops = (1, None)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        for blob in top:
            blob.reshape(*bottom[0].shape)
            blob.share_data(bottom[0])

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Does nothing: the tops are the bottom's memory."""

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if not propagate_down[0]:
            return
        # A reader that computes no gradient, such as Accuracy, leaves none: it counts as zero.
        grads = [blob.grad for blob in top if blob.has_grad]
        if grads:
            _core.eltwise_sum(grads, [1.0] * len(grads), bottom[0].grad)
        else:
            _core.fill(bottom[0].grad, 0.0)
