"""MVN: zero mean and unit variance of every image or channel; Caffe's MVN layer."""

from __future__ import annotations

from math import prod

from drml import _core
from drml._core import Tensor
from drml.blob import Blob
from drml.layers.base import Layer, register


@register
class MVN(Layer):
    """y = (x - mean) / (standard deviation + eps), over the pixels of each channel of each image.

    For a bottom of one to four axes: (N, C, H, W), or the first of these, which the top has too
    (Caffe's always has four).

    `mvn_param`: normalize_variance (true; false: y = x - mean); across_channels (false; true: over
    all numbers of each image); eps (1e-9). As Caffe's, the gradient is exact for eps 0.
    """

    type = "MVN"
    param_field = "mvn_param"
    supported = frozenset({"normalize_variance", "across_channels", "eps"})
    in_place = True

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self._deviation = Blob(f"{self.name}/deviation", device=self.context.device)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape = bottom[0].shape
        if not 1 <= len(shape) <= 4:
            raise self.error(f"bottom needs one to four axes, got shape {shape}")
        self.axis = min(len(shape), 1 if self.param.across_channels else 2)
        self._deviation.reshape(prod(shape[: self.axis]))
        top[0].reshape(*shape)

    def _divisors(self) -> Tensor | None:
        return self._deviation.value if self.param.normalize_variance else None

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        _core.mvn_forward(
            bottom[0].value, top[0].value, self._divisors(), self.axis, self.param.eps
        )

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if propagate_down[0]:
            _core.mvn_backward(
                top[0].value, top[0].grad, bottom[0].grad, self._divisors(), self.axis
            )
