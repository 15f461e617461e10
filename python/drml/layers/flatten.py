"""Flatten: makes one axis of several; Caffe's Flatten layer."""

from __future__ import annotations

from math import prod

from drml.blob import Blob
from drml.in_order import copy_in_order
from drml.layers.base import Layer, register


@register
class Flatten(Layer):
    """The axes from `axis` to `end_axis` as one, in the order N, C, H, W.

    `flatten_param`: axis (1), end_axis (-1: the last); negative ones count from the back.
    """

    type = "Flatten"
    param_field = "flatten_param"
    supported = frozenset({"axis", "end_axis"})

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape = bottom[0].shape
        first = self.canonical_axis(self.param.axis, shape, "flatten_param.axis")
        last = self.canonical_axis(self.param.end_axis, shape, "flatten_param.end_axis")
        if first > last:
            raise self.error(
                f"axis {first} comes after end_axis {last}; bottom has shape {shape}",
                "flatten_param.axis",
            )
        top[0].reshape(*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :])

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        copy_in_order(bottom[0].value, top[0].value)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if propagate_down[0]:
            copy_in_order(top[0].grad, bottom[0].grad)
