"""Sigmoid: y = 1 / (1 + exp(-x)); Caffe's Sigmoid layer."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register


@register
class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)); any shape, in place or not."""

    type = "Sigmoid"
    param_field = "sigmoid_param"
    hints = frozenset({"engine"})
    in_place = True

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        _core.sigmoid_forward(bottom[0].value, top[0].value)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if propagate_down[0]:
            _core.sigmoid_backward(top[0].value, top[0].grad, bottom[0].grad)
