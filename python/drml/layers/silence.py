"""Silence: reads blobs that nobody else reads; Caffe's Silence layer."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register


@register
class Silence(Layer):
    """Takes any bottoms and makes nothing of them, so that they are no outputs of the net.

    Their gradients are zero.
    """

    type = "Silence"
    bottoms = (1, None)
    tops = (0, 0)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Has no top."""

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Does nothing."""

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        for blob, wanted in zip(bottom, propagate_down, strict=True):
            if wanted:
                _core.fill(blob.grad, 0)
