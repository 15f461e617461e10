"""Dropout: zeroes numbers at random in TRAIN and scales the others up; Caffe's Dropout layer."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.data.keyed import stream_key
from drml.layers.base import Layer, register
from drml.proto import caffe_pb2 as pb


@register
class Dropout(Layer):
    """y = x / (1 - ratio) or 0 with probability `ratio` in TRAIN, y = x in TEST; in place or not.

    Which numbers are dropped is a function of the net's seed, the layer's name, how many forward
    passes came before (`position`) and the place of the number in the order N, C, H, W: neither
    threads nor memory layout nor device matter, and backward draws the mask again.

    `dropout_param`: dropout_ratio (0.5), at least 0 and less than 1.
    """

    type = "Dropout"
    param_field = "dropout_param"
    supported = frozenset({"dropout_ratio"})
    in_place = True

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self.ratio = float(self.param.dropout_ratio)
        if not 0 <= self.ratio < 1:
            raise self.error(
                f"dropout_ratio {self.ratio:g} must be at least 0 and less than 1",
                "dropout_param.dropout_ratio",
            )
        if self.context.phase == pb.TRAIN:
            self.position = 0
        self._key = int.from_bytes(stream_key(self.context.seed, self.name)[:8], "little")

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        if self.position is not None:
            _core.dropout(bottom[0].value, top[0].value, self.ratio, self._key, self.position)
            self.position += 1
        elif top[0] is not bottom[0]:
            _core.copy(bottom[0].value, top[0].value)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if not propagate_down[0]:
            return
        if self.position is not None:
            _core.dropout(top[0].grad, bottom[0].grad, self.ratio, self._key, self.position - 1)
        elif top[0] is not bottom[0]:
            _core.copy(top[0].grad, bottom[0].grad)
