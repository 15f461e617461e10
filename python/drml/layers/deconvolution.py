"""Deconvolution layer (Caffe's Deconvolution): the transpose of a convolution, to enlarge maps."""

from __future__ import annotations

from math import prod

from drml import _core
from drml._core import Tensor
from drml.blob import Array, Blob
from drml.layers.base import register
from drml.layers.base_convolution import BaseConvolution


def _fill_with_ones(array: Array) -> None:
    array.fill(1)


@register
class Deconvolution(BaseConvolution):
    """y = what x, multiplied with the filters, adds up to on a larger map, + bias.

    Forward is the data gradient of a Convolution that takes y (N, num_output, H', W') to x
    (N, C, H, W), and backward its forward.

    `convolution_param`: as Convolution's; H' = stride (H - 1) + dilation (kernel - 1) + 1 - 2 pad.
    Filters of type "bilinear" with group = C = num_output, kernel_size = 2 f - f % 2, stride = f
    and pad = (f - 1) / 2, rounded up, enlarge maps f times.

    Parameter blobs: weights (C, num_output / group, kernel_h, kernel_w), bias (num_output).
    """

    type = "Deconvolution"
    supported = BaseConvolution.supported | {"dilation"}

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().setup(bottom, top)
        self.attrs = _core.ConvolutionAttrs(
            stride=self.stride, pad=self.pad, dilation=self.dilation, group=self.group
        )
        self.add_param((self.channels, *self.filter_shape), self.param.weight_filler)
        if self.param.bias_term:
            self.add_param((self.num_output,), self.param.bias_filler)
        self._ones = Blob(
            f"{self.name}/ones",
            (self.num_output,),
            device=self.context.device,
            fill=_fill_with_ones,
        )

    @property
    def filter_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns that one number of x adds to."""
        return (self.num_output // self.group, *self.kernel)

    def _output_size(self, x: Blob, axis: int) -> int:
        reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        size = self.stride[axis] * (x.shape[axis + 2] - 1) + reach - 2 * self.pad[axis]
        if size < 1 or x.shape[axis + 2] < 1:
            what = ("rows", "columns")[axis]
            raise self.error(
                f"pad {self.pad[axis]} leaves nothing of the top's {size + 2 * self.pad[axis]} "
                f"{what}",
                f"{self.param_field}.pad",
            )
        return size

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        weight = self.blobs[0].value
        for x, y in zip(bottom, top, strict=True):
            to = y.value
            _core.convolution_backward(to, weight, x.value, to, None, None, self.attrs)
            if len(self.blobs) > 1:
                _core.scale_forward(to, self._ones.value, self.blobs[1].value, to, 1)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        weight = self.blobs[0].value
        for x, y, wanted in zip(bottom, top, propagate_down, strict=True):
            dy = y.grad
            if self.propagate_to_params[0]:
                dweight = self.blobs[0].grad
                _core.convolution_backward(dy, weight, x.value, None, dweight, None, self.attrs)
            if len(self.blobs) > 1 and self.propagate_to_params[1]:
                self._add_bias_gradient(dy)
            if wanted:
                _core.convolution_forward(dy, weight, None, x.grad, self.attrs)

    def _add_bias_gradient(self, dy: Tensor) -> None:
        ones = self._ones.value
        _core.scale_backward(dy, ones, dy, None, None, self.blobs[1].grad, 1)

    def multiply_adds(self, bottom: list[Blob], top: list[Blob]) -> int:
        return sum(x.count for x in bottom) * prod(self.filter_shape)
