"""InnerProduct layer (Caffe's InnerProduct): the fully connected layer."""

from __future__ import annotations

from math import prod

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register


@register
class InnerProduct(Layer):
    """y = x times weights + bias, for x as M rows of D numbers, those of its axes from `axis` on.

    `inner_product_param`: num_output; axis (1), negative from the end; transpose (false);
    bias_term (true); weight_filler, bias_filler. The top has the axes of x before `axis`, then
    num_output.

    Parameter blobs: weights (num_output, D), or (D, num_output) with transpose, D in the order
    channels, rows, columns; bias (num_output).
    """

    type = "InnerProduct"
    param_field = "inner_product_param"
    supported = frozenset(
        {"num_output", "bias_term", "weight_filler", "bias_filler", "axis", "transpose"}
    )

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        param = self.param
        axes = len(bottom[0].shape)
        if not -axes <= param.axis < axes:
            raise self.error(
                f"axis {param.axis} is none of the bottom's, shape {bottom[0].shape}",
                "inner_product_param.axis",
            )
        self.axis = int(param.axis) % axes
        self.num_output = int(param.num_output)
        self.transpose = bool(param.transpose)
        if self.num_output < 1:
            raise self.error("num_output must be 1 or more", "inner_product_param.num_output")
        self.inputs = prod(bottom[0].shape[self.axis :])
        shape = (self.num_output, self.inputs)
        self.add_param(shape[::-1] if self.transpose else shape, param.weight_filler)
        if param.bias_term:
            self.add_param((self.num_output,), param.bias_filler)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape = bottom[0].shape
        inputs = prod(shape[self.axis :])
        if inputs != self.inputs:
            raise self.error(
                f"bottom of shape {shape} has {inputs} numbers from axis {self.axis} on, "
                f"the weights {self.blobs[0].shape} take {self.inputs}"
            )
        top[0].reshape(*shape[: self.axis], self.num_output)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        bias = self.blobs[1].value if len(self.blobs) > 1 else None
        _core.inner_product_forward(
            bottom[0].value, self.blobs[0].value, bias, top[0].value, self.transpose
        )

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        learned = [*self.propagate_to_params, False]
        dweight, overwrite = self.blobs[0].grad_to_add() if learned[0] else (None, False)
        _core.inner_product_backward(
            bottom[0].value,
            self.blobs[0].value,
            top[0].grad,
            bottom[0].grad if propagate_down[0] else None,
            dweight,
            self.blobs[1].grad if learned[1] else None,
            self.transpose,
            overwrite,
        )

    def multiply_adds(self, bottom: list[Blob], top: list[Blob]) -> int:
        return bottom[0].count * self.num_output
