"""Filter: lets chosen samples of a batch through; Caffe's Filter layer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register


@register
class Filter(Layer):
    """Of each bottom but the last, the samples for which the last one, the selector, is not 0.

    The selector has one number per sample: shape (N), or (N, 1, 1, 1). There are as many tops as
    bottoms before it, and each has as many samples as were chosen; before the first forward, where
    that is not known, as many as the bottom. Samples that were not chosen get a gradient of zero.
    Unlike in Caffe, whose backward divides by their number, none may be chosen: the tops are empty.

    How many were chosen must be known to go on, so on CUDA forward waits for the selector.
    """

    type = "Filter"
    bottoms = (2, None)
    tops = (1, None)
    on_host = True
    numbered = (-1,)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        if len(top) != len(bottom) - 1:
            raise self.error(
                f"{len(bottom)} bottoms, the last of which selects, need {len(bottom) - 1} tops, "
                f"not {len(top)}"
            )
        self._index = Blob(f"{self.name}/index", device=self.context.device)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        selector = bottom[-1]
        if not selector.shape or selector.count != selector.shape[0]:
            raise self.error(
                f"the selector '{selector.name}' needs one number per sample, got shape "
                f"{selector.shape}"
            )
        for x in bottom[:-1]:
            if not x.shape or x.shape[0] != selector.shape[0]:
                raise self.error(
                    f"bottom '{x.name}' {x.shape} does not have the {selector.shape[0]} samples "
                    f"that the selector '{selector.name}' has"
                )
        self._reshape_tops(bottom, top, selector.shape[0])

    @staticmethod
    def _reshape_tops(bottom: list[Blob], top: list[Blob], chosen: int) -> None:
        for x, y in zip(bottom, top, strict=False):
            y.reshape(chosen, *x.shape[1:])

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        chosen = np.flatnonzero(bottom[-1].read_data())
        self._index.reshape(len(chosen))
        self._index.data = chosen
        self._reshape_tops(bottom, top, len(chosen))
        for x, y in zip(bottom, top, strict=False):
            _core.gather_forward(x.value, self._index.value, y.value)

    def can_backward_to(self, index: int) -> bool:
        return index < len(self.layer_param.bottom) - 1

    def example(
        self, index: int, bottom: list[Blob], random: np.random.Generator
    ) -> npt.NDArray[np.generic] | None:
        selects = index == len(bottom) - 1
        return 1 - np.arange(bottom[-1].count).reshape(bottom[-1].shape) % 2 if selects else None

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if propagate_down[-1]:
            raise self.error("has no gradient for its selector, the last bottom")
        for x, y, wanted in zip(bottom, top, propagate_down, strict=False):
            if wanted:
                _core.fill(x.grad, 0)
                _core.gather_backward(y.grad, self._index.value, x.grad)
