"""Crop: cuts a blob to the size of another one; Caffe's Crop layer."""

from __future__ import annotations

from drml import _core
from drml._core import Tensor
from drml.blob import Blob
from drml.layers.base import Layer, register


@register
class Crop(Layer):
    """The part of the first bottom that has the second one's size in the axes from `axis` on.

    Of the second bottom only the shape counts; it gets no gradient.

    `crop_param`: axis (2; negative counts from the back); offset, where the part begins: none for
    0, one for all axes from `axis` on, or one for each of them.
    """

    type = "Crop"
    param_field = "crop_param"
    supported = frozenset({"axis", "offset"})
    bottoms = (2, 2)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape, size = bottom[0].shape, bottom[1].shape
        first = self.canonical_axis(self.param.axis, shape, "crop_param.axis")
        if len(size) != len(shape):
            raise self.error(
                f"bottom '{bottom[0].name}' {shape} and '{bottom[1].name}' {size} need as many axes"
            )
        offsets = [int(offset) for offset in self.param.offset] or [0]
        if len(offsets) == 1:
            offsets *= len(shape) - first
        if len(offsets) != len(shape) - first:
            raise self.error(
                f"{len(shape) - first} axes from axis {first} on need one offset, or one each, "
                f"not {len(offsets)}",
                "crop_param.offset",
            )
        self._parts = [
            (axis, offset, size[axis]) for axis, offset in enumerate(offsets, start=first)
        ]
        for axis, offset, length in self._parts:
            if offset + length > shape[axis]:
                raise self.error(
                    f"axis {axis} of '{bottom[0].name}' {shape} has no {length} numbers from "
                    f"offset {offset} on",
                    "crop_param.offset",
                )
        top[0].reshape(*shape[:first], *size[first:])

    def _part(self, tensor: Tensor) -> Tensor:
        for axis, offset, length in self._parts:
            tensor = tensor.narrow(axis, offset, length)
        return tensor

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        _core.copy(self._part(bottom[0].value), top[0].value)

    def can_backward_to(self, index: int) -> bool:
        return index == 0

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if propagate_down[0]:
            _core.fill(bottom[0].grad, 0)
            _core.copy(top[0].grad, self._part(bottom[0].grad))
