"""What Scale and Bias share: where a parameter lies along the axes of a bottom."""

from __future__ import annotations

from typing import ClassVar

from drml.blob import Blob
from drml.layers.base import Layer
from drml.proto import caffe_pb2 as pb


class BroadcastLayer(Layer):
    """Base of the layers that broadcast a parameter over the axes of x that it lacks.

    With one bottom the parameter is learned and has the shape of x's axes [axis, axis + num_axes);
    with two it is the second bottom, whose axes are x's from `axis` on. The layer's message has the
    fields axis, num_axes (-1 for all from `axis` on, 0 for one number) and filler.
    """

    bottoms: ClassVar[tuple[int, int | None]] = (1, 2)
    in_place: ClassVar[bool] = True
    noun: ClassVar[str]
    """What the parameter is called."""
    start: ClassVar[float]
    """What it starts as unless a filler is given."""

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        param, field = self.param, self.param_field
        axes = len(bottom[0].shape)
        if param.num_axes < -1:
            raise self.error(
                f"num_axes must be -1 or more, not {param.num_axes}", f"{field}.num_axes"
            )
        self._num_axes = len(bottom[1].shape) if len(bottom) == 2 else int(param.num_axes)
        if self._num_axes == 0:
            # One number has no axis to lie along.
            self.axis = 0
        elif -axes <= param.axis < axes:
            self.axis = int(param.axis) % axes
        else:
            raise self.error(
                f"axis {param.axis} is none of the bottom's, shape {bottom[0].shape}",
                f"{field}.axis",
            )
        if self._num_axes == -1:
            self._num_axes = axes - self.axis
        shape = self.parameter_shape(bottom)
        if len(bottom) == 1:
            filler = param.filler
            if not param.HasField("filler"):
                filler = pb.FillerParameter(type="constant", value=self.start)
            self.add_param(shape, filler)

    def parameter_shape(self, bottom: list[Blob]) -> tuple[int, ...]:
        """Shape that the parameter must have for the first bottom."""
        shape, end = bottom[0].shape, self.axis + self._num_axes
        if end > len(shape):
            raise self.error(
                f"{self._num_axes} axes of {self.noun} from axis {self.axis} on exceed the "
                f"bottom's shape {shape}"
            )
        return shape[self.axis : end]

    def parameter(self, bottom: list[Blob]) -> Blob:
        """The second bottom, or the parameter blob."""
        return bottom[1] if len(bottom) == 2 else self.blobs[0]

    def parameter_wanted(self, propagate_down: list[bool], bottom: list[Blob]) -> bool:
        """Whether backward adds to the parameter's gradient."""
        return propagate_down[1] if len(bottom) == 2 else self.propagate_to_params[0]

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        wanted = self.parameter_shape(bottom)
        for blob in [self.parameter(bottom), *self.blobs]:
            if blob.shape != wanted:
                raise self.error(
                    f"a {self.noun} of shape {blob.shape} does not fit the bottom of shape "
                    f"{bottom[0].shape} from axis {self.axis} on"
                )
        top[0].reshape(*bottom[0].shape)
