"""Concat: joins blobs along one axis; Caffe's Concat layer."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register


@register
class Concat(Layer):
    """The bottoms behind one another along an axis; their other axes must be equal.

    `concat_param`: axis (1; negative counts from the back), or the older concat_dim.
    """

    type = "Concat"
    param_field = "concat_param"
    supported = frozenset({"axis", "concat_dim"})
    bottoms = (1, None)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        if self.param.HasField("axis") and self.param.HasField("concat_dim"):
            raise self.error("give axis or concat_dim, not both", "concat_param.concat_dim")
        field = "concat_dim" if self.param.HasField("concat_dim") else "axis"
        self.axis = self.canonical_axis(
            getattr(self.param, field), bottom[0].shape, f"concat_param.{field}"
        )

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape = list(bottom[0].shape)
        for blob in bottom[1:]:
            others = list(blob.shape)
            if len(others) == len(shape):
                others[self.axis] = bottom[0].shape[self.axis]
            if tuple(others) != bottom[0].shape:
                raise self.error(
                    f"bottom '{blob.name}' has shape {blob.shape}, bottom '{bottom[0].name}' "
                    f"{bottom[0].shape}; all axes but axis {self.axis} must be equal"
                )
            shape[self.axis] += blob.shape[self.axis]
        top[0].reshape(*shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        start = 0
        for blob in bottom:
            length = blob.shape[self.axis]
            _core.copy(blob.value, top[0].value.narrow(self.axis, start, length))
            start += length

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        start = 0
        for blob, wanted in zip(bottom, propagate_down, strict=True):
            length = blob.shape[self.axis]
            if wanted:
                _core.copy(top[0].grad.narrow(self.axis, start, length), blob.grad)
            start += length
