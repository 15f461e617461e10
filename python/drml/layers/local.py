"""Locally connected layer: a convolution whose filters differ from place to place (LCN)."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import register
from drml.layers.base_convolution import BaseConvolution


@register
class LocallyConnected(BaseConvolution):
    """y = filters of the place over x + bias, for x (N, C, H, W) and y (N, num_output, H', W').

    The paper's LCN is ConvNet with this in place of its last three convolutions.

    `convolution_param`: num_output; kernel_size, stride (1), pad (0), each once for both axes, or
    twice, or as _h and _w; group (1), which divides channels and num_output; bias_term (true);
    weight_filler, bias_filler. H' = (H + 2 pad - kernel) / stride + 1, rounded down. Several
    bottoms of one shape make as many tops with the same filters.
    `locally_connected_param`: bias_per_location (false).

    Parameter blobs: weights (H' W', num_output, C / group, kernel_h, kernel_w), where location
    row * W' + column comes first; bias (num_output), or (H' W', num_output) with
    bias_per_location. So the filters of a location lie together: it is the only one to read them,
    and there are so many that they should pass through the caches once, from end to end.
    """

    type = "LocallyConnected"
    supported = BaseConvolution.supported | {"locally_connected_param.bias_per_location"}
    forward_op = staticmethod(_core.local_forward)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().setup(bottom, top)
        self.attrs = _core.LocalAttrs(stride=self.stride, pad=self.pad, group=self.group)
        self.locations = self.output_size(bottom[0])
        count = self.locations[0] * self.locations[1]
        filters = (count, self.num_output, *self.filter_shape)
        self.add_param(filters, self.param.weight_filler, banks=True)
        if not self.param.bias_term:
            return
        if self.layer_param.locally_connected_param.bias_per_location:
            self.add_param((count, self.num_output), self.param.bias_filler, banks=True)
        else:
            self.add_param((self.num_output,), self.param.bias_filler)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        learned = [*self.propagate_to_params, False]
        for x, y, wanted in zip(bottom, top, propagate_down, strict=True):
            # The gradient of the filters is the largest array of a net: one that is cleared is
            # written by the first of the bottoms, not cleared and added to.
            dweight, overwrite = self.blobs[0].grad_to_add() if learned[0] else (None, False)
            _core.local_backward(
                x.value,
                self.blobs[0].value,
                y.grad,
                x.grad if wanted else None,
                dweight,
                self.blobs[1].grad if learned[1] else None,
                self.attrs,
                overwrite,
            )

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().reshape(bottom, top)
        if top[0].shape[2:] != self.locations:
            raise self.error(
                f"there are filters for {self.locations[0]} x {self.locations[1]} locations, but a "
                f"bottom of shape {bottom[0].shape} makes {top[0].height} x {top[0].width}"
            )
