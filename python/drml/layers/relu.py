"""ReLU: y = max(x, 0), or with a slope for negative x; Caffe's ReLU layer."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register


@register
class ReLU(Layer):
    """y = x where x > 0, else negative_slope * x; any shape, in place or not.

    `relu_param`: negative_slope (0). In place the slope must not be negative: the sign of x, which
    backward needs, is read from y.
    """

    type = "ReLU"
    param_field = "relu_param"
    supported = frozenset({"negative_slope"})
    hints = frozenset({"engine"})
    in_place = True

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self.slope = float(self.param.negative_slope)
        if self.slope < 0 and top[0] is bottom[0]:
            raise self.error(
                f"a negative_slope of {self.slope:g} does not work in place: give the top a name "
                "of its own",
                "relu_param.negative_slope",
            )

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        _core.relu_forward(bottom[0].value, top[0].value, self.slope)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if propagate_down[0]:
            _core.relu_backward(bottom[0].value, top[0].grad, bottom[0].grad, self.slope)
