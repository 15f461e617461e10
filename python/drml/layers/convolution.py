"""Convolution layer (Caffe's Convolution): correlation with a bank of filters over images."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import register
from drml.layers.base_convolution import BaseConvolution


@register
class Convolution(BaseConvolution):
    """y = filters over x + bias, for x (N, C, H, W) and y (N, num_output, H', W').

    `convolution_param`: num_output; kernel_size, stride (1), pad (0), dilation (1), each once for
    both axes, or twice, or as _h and _w; group (1), which divides channels and num_output;
    bias_term (true); weight_filler, bias_filler. H' = (H + 2 pad - dilation (kernel - 1) - 1) /
    stride + 1, rounded down. Several bottoms of one shape make as many tops with the same filters.

    Parameter blobs: weights (num_output, C / group, kernel_h, kernel_w), bias (num_output).
    """

    type = "Convolution"
    supported = BaseConvolution.supported | {"dilation"}
    forward_op = staticmethod(_core.convolution_forward)
    backward_op = staticmethod(_core.convolution_backward)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().setup(bottom, top)
        self.attrs = _core.ConvolutionAttrs(
            stride=self.stride, pad=self.pad, dilation=self.dilation, group=self.group
        )
        self.add_param((self.num_output, *self.filter_shape), self.param.weight_filler)
        if self.param.bias_term:
            self.add_param((self.num_output,), self.param.bias_filler)
