"""Slice: cuts a blob into parts along one axis; Caffe's Slice layer."""

from __future__ import annotations

from itertools import pairwise

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register


@register
class Slice(Layer):
    """The bottom cut along an axis, one part per top.

    `slice_param`: axis (1; negative counts from the back), or the older slice_dim; slice_point,
    where each part but the first begins (unset: parts of equal size).
    """

    type = "Slice"
    param_field = "slice_param"
    supported = frozenset({"axis", "slice_dim", "slice_point"})
    tops = (1, None)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        if self.param.HasField("axis") and self.param.HasField("slice_dim"):
            raise self.error("give axis or slice_dim, not both", "slice_param.slice_dim")
        field = "slice_dim" if self.param.HasField("slice_dim") else "axis"
        self.axis = self.canonical_axis(
            getattr(self.param, field), bottom[0].shape, f"slice_param.{field}"
        )

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        self._ranges = self._cut(bottom[0].shape[self.axis], len(top))
        for (start, end), blob in zip(self._ranges, top, strict=True):
            shape = list(bottom[0].shape)
            shape[self.axis] = end - start
            blob.reshape(*shape)

    def _cut(self, size: int, parts: int) -> list[tuple[int, int]]:
        """First and last index of each part of an axis of `size`."""
        points = list(self.param.slice_point)
        if not points:
            if size % parts:
                raise self.error(
                    f"axis {self.axis} of size {size} does not divide into {parts} tops"
                )
            points = [size // parts * index for index in range(1, parts)]
        if len(points) != parts - 1:
            raise self.error(
                f"{parts} tops need {parts - 1} slice points, got {len(points)}",
                "slice_param.slice_point",
            )
        ranges = list(pairwise([0, *points, size]))
        if any(start >= end for start, end in ranges):
            raise self.error(
                f"slice points {', '.join(map(str, points))} must rise and lie between 0 and the "
                f"size of axis {self.axis}, {size}",
                "slice_param.slice_point",
            )
        return ranges

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        for (start, end), blob in zip(self._ranges, top, strict=True):
            _core.copy(bottom[0].value.narrow(self.axis, start, end - start), blob.value)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if not propagate_down[0]:
            return
        for (start, end), blob in zip(self._ranges, top, strict=True):
            _core.copy(blob.grad, bottom[0].grad.narrow(self.axis, start, end - start))
