"""ArgMax: which numbers are the largest; Caffe's ArgMax layer."""

from __future__ import annotations

import numpy as np

from drml.blob import Array, Blob
from drml.layers.base import Layer, register


@register
class ArgMax(Layer):
    """The places of the top_k largest numbers, the largest first; of equal ones the later first.

    `argmax_param`: top_k (1); axis (unset: all axes but the first, as one), negative from the back;
    out_max_val (false), for the numbers themselves.

    With an axis, the top has top_k in its place, and holds places along it, or with out_max_val the
    numbers. Without, the top is (N, 1, top_k) of places in each sample, or (N, 2, top_k) of places
    and numbers; a bottom of more than three axes adds axes of 1. There is no backward.

    As in Caffe the host computes it, so on CUDA forward waits for the bottom.
    """

    type = "ArgMax"
    param_field = "argmax_param"
    supported = frozenset({"out_max_val", "top_k", "axis"})
    on_host = True

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape = bottom[0].shape
        if not shape:
            raise self.error("bottom needs one axis or more")
        self.axis: int | None = None
        if self.param.HasField("axis"):
            self.axis = self.canonical_axis(self.param.axis, shape, "argmax_param.axis")
            numbers = shape[self.axis]
            result = [*shape[: self.axis], self.param.top_k, *shape[self.axis + 1 :]]
        else:
            numbers = int(np.prod(shape[1:]))
            rows = 2 if self.param.out_max_val else 1
            result = [shape[0], rows, self.param.top_k, *[1] * (len(shape) - 3)]
        if not 1 <= self.param.top_k <= numbers:
            raise self.error(
                f"top_k {self.param.top_k} must be between 1 and {numbers}, how many numbers of "
                f"the bottom {shape} there are to choose from",
                "argmax_param.top_k",
            )
        top[0].reshape(*result)

    def _largest(self, x: Array) -> tuple[Array, Array]:
        """Places and values of the largest numbers along the last axis."""
        ascending = np.argsort(x, axis=-1, kind="stable")
        places = ascending[..., ::-1][..., : self.param.top_k]
        return places.astype(np.float32), np.take_along_axis(x, places, axis=-1)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        x = bottom[0].read_data()
        if self.axis is not None:
            places, values = self._largest(np.moveaxis(x, self.axis, -1))
            chosen = values if self.param.out_max_val else places
            top[0].data = np.moveaxis(chosen, -1, self.axis)
            return
        places, values = self._largest(x.reshape(len(x), int(np.prod(x.shape[1:]))))
        both = np.stack([places, values] if self.param.out_max_val else [places], axis=1)
        top[0].data = both.reshape(top[0].shape)

    def can_backward_to(self, index: int) -> bool:
        return False

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if any(propagate_down):
            raise self.error("has no gradient")
