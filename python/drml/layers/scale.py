"""Scale layer (Caffe's Scale): product with a scale, learned or given, and an optional bias."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import register
from drml.layers.base_broadcast import BroadcastLayer


@register
class Scale(BroadcastLayer):
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
    noun = "scale"
    start = 1

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().setup(bottom, top)
        if self.param.bias_term:
            self.add_param(self.parameter_shape(bottom), self.param.bias_filler)
        self._input = Blob(f"{self.name}/input", device=self.context.device)

    def _bias(self) -> int | None:
        """The bias' number among the parameter blobs."""
        return len(self.blobs) - 1 if self.param.bias_term else None

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        x, y, bias = bottom[0], top[0], self._bias()
        if x is y:
            # Backward needs the input, which the output is about to overwrite.
            self._input.reshape(*x.shape)
            _core.copy(x.value, self._input.value)
        _core.scale_forward(
            x.value,
            self.parameter(bottom).value,
            None if bias is None else self.blobs[bias].value,
            y.value,
            self.axis,
        )

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        x = self._input if bottom[0] is top[0] else bottom[0]
        scale, bias = self.parameter(bottom), self._bias()
        scale_wanted = self.parameter_wanted(propagate_down, bottom)
        if scale_wanted and len(bottom) == 2:
            _core.fill(scale.grad, 0)
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
