"""Bias layer (Caffe's Bias): sum with a bias, learned or given."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import register
from drml.layers.base_broadcast import BroadcastLayer


@register
class Bias(BroadcastLayer):
    """y = x + bias, with the bias broadcast over the axes of x that it lacks; in place or not.

    With one bottom the bias is a parameter of the shape of x's axes [axis, axis + num_axes); with
    two it is the second bottom, whose axes are x's from `axis` on.

    `bias_param`: axis (1), negative from the end; num_axes (1), -1 for all from `axis` on, 0 for
    one number (num_axes is not read with two bottoms); filler (0 unless given).

    Parameter blob: bias, unless it is a bottom.
    """

    type = "Bias"
    param_field = "bias_param"
    supported = frozenset({"axis", "num_axes", "filler"})
    noun = "bias"
    start = 0

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        bias = self.parameter(bottom).value
        _core.scale_forward(bottom[0].value, None, bias, top[0].value, self.axis)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        bias, wanted = self.parameter(bottom), self.parameter_wanted(propagate_down, bottom)
        if wanted and len(bottom) == 2:
            _core.fill(bias.grad, 0)
        dy = top[0].grad
        _core.scale_backward(
            # Without a scale x is not read: dy stands for it.
            dy,
            None,
            dy,
            bottom[0].grad if propagate_down[0] else None,
            None,
            bias.grad if wanted else None,
            self.axis,
        )
