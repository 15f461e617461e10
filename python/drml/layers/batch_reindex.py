"""BatchReindex: chooses samples of a batch by their numbers; Caffe's BatchReindex layer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register


@register
class BatchReindex(Layer):
    """y[i] = x[index[i]]: samples of x, each as often and where the index names it.

    Bottoms: x, and the index, of one axis: as many numbers of samples as the top has. A number that
    is no sample's is an error. The gradient of a sample is the sum over the places that it went to.
    """

    type = "BatchReindex"
    bottoms = (2, 2)
    numbered = (1,)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        x, index = bottom
        if not x.shape:
            raise self.error(f"bottom '{x.name}' needs one axis or more")
        if len(index.shape) != 1:
            raise self.error(f"the index '{index.name}' needs one axis, got shape {index.shape}")
        top[0].reshape(*index.shape, *x.shape[1:])

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        _core.gather_forward(bottom[0].value, bottom[1].value, top[0].value)

    def can_backward_to(self, index: int) -> bool:
        return index == 0

    def example(
        self, index: int, bottom: list[Blob], random: np.random.Generator
    ) -> npt.NDArray[np.generic] | None:
        return random.integers(0, max(1, bottom[0].num), bottom[1].shape) if index == 1 else None

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if propagate_down[1]:
            raise self.error("has no gradient for its index, the second bottom")
        if propagate_down[0]:
            _core.fill(bottom[0].grad, 0)
            _core.gather_backward(top[0].grad, bottom[1].value, bottom[0].grad)
