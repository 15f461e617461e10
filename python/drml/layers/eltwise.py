"""Eltwise: sum, product or maximum of several blobs, number by number; Caffe's Eltwise layer."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register
from drml.proto import caffe_pb2 as pb


@register
class Eltwise(Layer):
    """y = sum of coeff_i * x_i, product of x_i, or maximum of x_i, for two or more x of one shape.

    The gradient of a maximum goes to the bottom that holds it. Of equal values it is, as in Caffe,
    the second of the first two bottoms, and a later bottom only if it is greater than these.

    `eltwise_param`: operation (SUM); coeff, one per bottom, for SUM only (1); stable_prod_grad
    (true: the gradient of a product is the product of the other bottoms; false: y / x, which is
    faster for many bottoms and not a number where x is 0).
    """

    type = "Eltwise"
    param_field = "eltwise_param"
    supported = frozenset({"operation", "coeff", "stable_prod_grad"})
    bottoms = (2, None)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self.operation = self.param.operation
        coeff = list(self.param.coeff)
        if coeff and self.operation != pb.EltwiseParameter.SUM:
            raise self.error("coeff is for operation SUM only", "eltwise_param.coeff")
        if coeff and len(coeff) != len(bottom):
            raise self.error(
                f"coeff is given {len(coeff)} times for {len(bottom)} bottoms",
                "eltwise_param.coeff",
            )
        self.coeff = coeff or [1.0] * len(bottom)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        for blob in bottom[1:]:
            if blob.shape != bottom[0].shape:
                raise self.error(
                    f"bottom '{blob.name}' has shape {blob.shape}, bottom '{bottom[0].name}' "
                    f"{bottom[0].shape}; they must be equal"
                )
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        x = [blob.value for blob in bottom]
        y = top[0].value
        if self.operation == pb.EltwiseParameter.SUM:
            _core.eltwise_sum(x, self.coeff, y)
        elif self.operation == pb.EltwiseParameter.PROD:
            _core.eltwise_product_forward(x, y)
        else:
            _core.eltwise_max_forward(x, y)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        x = [blob.value for blob in bottom]
        dy = top[0].grad
        for index, (blob, wanted) in enumerate(zip(bottom, propagate_down, strict=True)):
            if not wanted:
                continue
            if self.operation == pb.EltwiseParameter.SUM:
                _core.axpby(self.coeff[index], dy, 0.0, blob.grad)
            elif self.operation == pb.EltwiseParameter.PROD:
                y = None if self.param.stable_prod_grad else top[0].value
                _core.eltwise_product_backward(x, y, dy, index, blob.grad)
            else:
                _core.eltwise_max_backward(x, dy, index, blob.grad)
