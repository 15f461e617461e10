"""Reshape: the same numbers under another shape; Caffe's Reshape layer."""

from __future__ import annotations

from math import prod

from drml.blob import Blob
from drml.in_order import copy_in_order
from drml.layers.base import Layer, register


@register
class Reshape(Layer):
    """The bottom's numbers, in the order of its axes, under another shape.

    `reshape_param`: shape, whose dims replace the bottom's axes from `axis` on (0; negative counts
    from the end, -1 for behind the last), num_axes of them (-1: all; 0 inserts axes). A dim of 0 is
    the size that the bottom has at this place, and one dim may be -1: whatever is left.
    """

    type = "Reshape"
    param_field = "reshape_param"
    supported = frozenset({"shape", "axis", "num_axes"})

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self.dims = [int(dim) for dim in self.param.shape.dim]
        if self.dims.count(-1) > 1:
            raise self.error("only one dim may be -1", "reshape_param.shape")
        if any(dim < -1 for dim in self.dims):
            raise self.error("a dim must be -1 or more", "reshape_param.shape")
        if self.param.num_axes < -1:
            raise self.error(
                f"num_axes must be -1 or more, not {self.param.num_axes}", "reshape_param.num_axes"
            )

    def _range(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """First and last of the bottom's axes that are replaced."""
        start = int(self.param.axis)
        if start < 0:
            start += len(shape) + 1
        if not 0 <= start <= len(shape):
            raise self.error(
                f"axis {self.param.axis} is no place in the bottom's shape {shape}",
                "reshape_param.axis",
            )
        end = len(shape) if self.param.num_axes == -1 else start + int(self.param.num_axes)
        if end > len(shape):
            raise self.error(
                f"num_axes {self.param.num_axes} from axis {start} on exceed the bottom's shape "
                f"{shape}",
                "reshape_param.num_axes",
            )
        return start, end

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape = bottom[0].shape
        start, end = self._range(shape)
        new = list(self.dims)
        for index, dim in enumerate(new):
            if dim == 0:
                if start + index >= len(shape):
                    raise self.error(
                        f"dim number {index} is 0, but the bottom's shape {shape} has no axis "
                        f"{start + index} to take it from",
                        "reshape_param.shape",
                    )
                new[index] = shape[start + index]
        if -1 in new:
            # Axes that are empty in both shapes leave the others to be told from the rest.
            known = prod(max(1, dim) for dim in (*shape[:start], *new, *shape[end:]) if dim != -1)
            count = prod(max(1, size) for size in shape)
            if count % known:
                raise self.error(
                    f"{bottom[0].count} numbers of shape {shape} do not divide by {known}, the "
                    "product of the other dims",
                    "reshape_param.shape",
                )
            new[new.index(-1)] = count // known
        result = (*shape[:start], *new, *shape[end:])
        if prod(result) != bottom[0].count:
            raise self.error(
                f"shape {result} does not hold as many numbers as the bottom's {shape}",
                "reshape_param.shape",
            )
        top[0].reshape(*result)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        copy_in_order(bottom[0].value, top[0].value)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if propagate_down[0]:
            copy_in_order(top[0].grad, bottom[0].grad)
