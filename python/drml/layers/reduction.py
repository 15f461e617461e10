"""Reduction: sums over the last axes of a blob; Caffe's Reduction layer."""

from __future__ import annotations

from math import prod

from drml import _core
from drml._core import Tensor
from drml.blob import Blob
from drml.in_order import is_row_major
from drml.layers.base import Layer, register
from drml.proto import caffe_pb2 as pb

OPERATIONS = {
    pb.ReductionParameter.SUM: _core.Reduction.SUM,
    pb.ReductionParameter.ASUM: _core.Reduction.ASUM,
    pb.ReductionParameter.SUMSQ: _core.Reduction.SUMSQ,
    pb.ReductionParameter.MEAN: _core.Reduction.SUM,
}


@register
class Reduction(Layer):
    """y = coeff * the sum of x over all axes from `axis` on, which the top does not have.

    `reduction_param`: operation (SUM of x; ASUM of |x|, SUMSQ of x^2, MEAN: the sum divided by how
    many numbers it has); axis (0; negative counts from the back); coeff (1).
    """

    type = "Reduction"
    param_field = "reduction_param"
    supported = frozenset({"operation", "axis", "coeff"})

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self.operation = OPERATIONS[self.param.operation]
        # Rows of channels-last maps that begin behind the channels lie apart in memory.
        self._rows = Blob(f"{self.name}/rows", channels_last=False, device=self.context.device)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape = bottom[0].shape
        self.axis = self.canonical_axis(self.param.axis, shape, "reduction_param.axis")
        self.coeff = float(self.param.coeff)
        if self.param.operation == pb.ReductionParameter.MEAN:
            self.coeff /= max(1, prod(shape[self.axis :]))
        top[0].reshape(*shape[: self.axis])

    def _lie_apart(self, x: Tensor) -> bool:
        return self.axis > 2 and not is_row_major(x)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        x = bottom[0].value
        if self._lie_apart(x):
            self._rows.reshape(*x.shape)
            _core.copy(x, self._rows.value)
            x = self._rows.value
        _core.reduction_forward(x, top[0].value, self.axis, self.operation, self.coeff)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if not propagate_down[0]:
            return
        x, dx = bottom[0].value, bottom[0].grad
        apart = self._lie_apart(x)
        if apart:
            x, dx = self._rows.value, self._rows.grad
        _core.reduction_backward(x, top[0].grad, dx, self.axis, self.operation, self.coeff)
        if apart:
            _core.copy(dx, bottom[0].grad)
