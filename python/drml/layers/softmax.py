"""Softmax: exp(x) divided by its sum along one axis; Caffe's Softmax layer."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register


@register
class Softmax(Layer):
    """y = exp(x) / (sum of exp(x) along an axis).

    `softmax_param`: axis (1; negative counts from the back).
    """

    type = "Softmax"
    param_field = "softmax_param"
    supported = frozenset({"axis"})
    hints = frozenset({"engine"})

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        self.axis = self.canonical_axis(self.param.axis, bottom[0].shape, "softmax_param.axis")
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        _core.softmax_forward(bottom[0].value, top[0].value, self.axis)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if propagate_down[0]:
            _core.softmax_backward(top[0].value, top[0].grad, bottom[0].grad, self.axis)
