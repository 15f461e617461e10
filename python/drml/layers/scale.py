"""Scale layer (Caffe's Scale): product with a scale, learned or given, and an optional bias."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register
from drml.proto import caffe_pb2 as pb


@register
class Scale(Layer):
    """y = x * scale + bias, with scale and bias broadcast over the axes of x that they lack.

    With one bottom the scale is a parameter of the shape of x's axes [axis, axis + num_axes); with
    two it is the second bottom, whose axes are x's from `axis` on.

    `scale_param`: axis (1), negative from the end; num_axes (1), -1 for all from `axis` on, 0 for
    one number (num_axes is not read with two bottoms); filler (1 unless given); bias_term (false);
    bias_filler (0 unless given).

    Parameter blobs: scale, unless it is a bottom; bias, of scale's shape, with bias_term.
    """

    type = "Scale"
    param_field = "scale_param"
    supported = frozenset({"axis", "num_axes", "filler", "bias_term", "bias_filler"})
    bottoms = (1, 2)
    in_place = True

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        param = self.param
        axes = len(bottom[0].shape)
        if param.num_axes < -1:
            raise self.error(
                f"num_axes must be -1 or more, not {param.num_axes}", "scale_param.num_axes"
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
                "scale_param.axis",
            )
        if self._num_axes == -1:
            self._num_axes = axes - self.axis
        shape = self._scale_shape(bottom)
        if len(bottom) == 1:
            filler = param.filler
            if not param.HasField("filler"):
                filler = pb.FillerParameter(type="constant", value=1)
            self.add_param(shape, filler)
        if param.bias_term:
            self.add_param(shape, param.bias_filler)
        self._input = Blob(f"{self.name}/input", device=self.context.device)

    def _scale_shape(self, bottom: list[Blob]) -> tuple[int, ...]:
        """Shape that the scale must have for the first bottom."""
        shape, end = bottom[0].shape, self.axis + self._num_axes
        if end > len(shape):
            raise self.error(
                f"{self._num_axes} axes of scale from axis {self.axis} on exceed the bottom's "
                f"shape {shape}"
            )
        return shape[self.axis : end]

    def _scale(self, bottom: list[Blob]) -> Blob:
        return bottom[1] if len(bottom) == 2 else self.blobs[0]

    def _bias(self) -> int | None:
        """The bias' number among the parameter blobs."""
        return len(self.blobs) - 1 if self.param.bias_term else None

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        wanted = self._scale_shape(bottom)
        for blob in [self._scale(bottom), *self.blobs]:
            if blob.shape != wanted:
                raise self.error(
                    f"a scale of shape {blob.shape} does not fit the bottom of shape "
                    f"{bottom[0].shape} from axis {self.axis} on"
                )
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        x, y, bias = bottom[0], top[0], self._bias()
        if x is y:
            # Backward needs the input, which the output is about to overwrite.
            self._input.reshape(*x.shape)
            _core.copy(x.value, self._input.value)
        _core.scale_forward(
            x.value,
            self._scale(bottom).value,
            None if bias is None else self.blobs[bias].value,
            y.value,
            self.axis,
        )

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        x = self._input if bottom[0] is top[0] else bottom[0]
        scale, bias = self._scale(bottom), self._bias()
        if len(bottom) == 2:
            scale_wanted = propagate_down[1]
            if scale_wanted:
                _core.fill(scale.grad, 0)
        else:
            scale_wanted = self.propagate_to_params[0]
        bias_wanted = bias is not None and self.propagate_to_params[bias]
        _core.scale_backward(
            x.value,
            scale.value,
            top[0].grad,
            bottom[0].grad if propagate_down[0] else None,
            scale.grad if scale_wanted else None,
            self.blobs[bias].grad if bias is not None and bias_wanted else None,
            self.axis,
        )
