"""LRN: divides each number by the strength of its neighbours; Caffe's LRN layer."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register
from drml.proto import caffe_pb2 as pb


@register
class LRN(Layer):
    """y = x * (k + alpha / n * (sum of x^2 over a window of n numbers))^-beta.

    x has shape (N, C, H, W); beyond its edges windows see zeros. `lrn_param`: norm_region
    (ACROSS_CHANNELS: a window of local_size channels; WITHIN_CHANNEL: of local_size x local_size
    pixels); local_size (5), odd; alpha (1), beta (0.75); k (1; as in Caffe, WITHIN_CHANNEL knows no
    other).
    """

    type = "LRN"
    param_field = "lrn_param"
    supported = frozenset({"local_size", "alpha", "beta", "k", "norm_region"})
    hints = frozenset({"engine"})

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        param = self.param
        if param.local_size % 2 == 0:
            raise self.error(
                f"local_size must be odd, got {param.local_size}", "lrn_param.local_size"
            )
        within_channel = param.norm_region == pb.LRNParameter.WITHIN_CHANNEL
        if within_channel and param.k != 1:
            raise self.error(
                f"k is 1 for WITHIN_CHANNEL, in Caffe as well; {param.k:g} would have no effect",
                "lrn_param.k",
            )
        self._attrs = _core.LrnAttrs(
            size=param.local_size,
            alpha=param.alpha,
            beta=param.beta,
            k=param.k,
            within_channel=within_channel,
        )

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        if len(bottom[0].shape) != 4:
            raise self.error(f"bottom needs shape (N, C, H, W), got {bottom[0].shape}")
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        _core.lrn_forward(bottom[0].value, top[0].value, self._attrs)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if propagate_down[0]:
            _core.lrn_backward(bottom[0].value, top[0].grad, bottom[0].grad, self._attrs)
