"""PReLU layer (Caffe's PReLU): a ReLU whose slope for negative x is learned."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register
from drml.proto import caffe_pb2 as pb


@register
class PReLU(Layer):
    """y = x where x > 0, else slope * x, with a slope for each index of axis 1; in place or not.

    He, Zhang, Ren and Sun, "Delving deep into rectifiers", ICCV 2015. In place, a copy of the input
    is kept for backward, as in Caffe. The bottom has two axes or more.

    `prelu_param`: filler (0.25 unless given); channel_shared (false: a slope per channel; true: one
    for all).

    Parameter blob: slope, (C,), or () when shared.
    """

    type = "PReLU"
    param_field = "prelu_param"
    supported = frozenset({"filler", "channel_shared"})
    in_place = True

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape = self._slope_shape(bottom)
        filler = self.param.filler
        if not self.param.HasField("filler"):
            filler = pb.FillerParameter(type="constant", value=0.25)
        self.add_param(shape, filler)
        self._input = Blob(f"{self.name}/input", device=self.context.device)

    def _slope_shape(self, bottom: list[Blob]) -> tuple[int, ...]:
        shape = bottom[0].shape
        if len(shape) < 2:
            raise self.error(f"bottom needs two axes or more, got shape {shape}")
        return () if self.param.channel_shared else shape[1:2]

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        slope = self.blobs[0].shape
        if self._slope_shape(bottom) != slope:
            raise self.error(
                f"slopes of shape {slope} do not fit the bottom of shape {bottom[0].shape}"
            )
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        x, y = bottom[0], top[0]
        if x is y:
            self._input.reshape(*x.shape)
            _core.copy(x.value, self._input.value)
        _core.prelu_forward(x.value, self.blobs[0].value, y.value)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        x = self._input if bottom[0] is top[0] else bottom[0]
        slope = self.blobs[0]
        _core.prelu_backward(
            x.value,
            slope.value,
            top[0].grad,
            bottom[0].grad if propagate_down[0] else None,
            slope.grad if self.propagate_to_params[0] else None,
        )
