"""What Convolution, Deconvolution and LocallyConnected share: windows, `convolution_param`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, ClassVar

from drml.blob import Blob
from drml.layers.base import Layer

Pair = tuple[int, int]


class BaseConvolution(Layer):
    """Base of the layers whose tops are products of filters with windows of their bottoms.

    `setup` reads `convolution_param`; parameter blobs are weights, whose last three axes are those
    of a filter (C / group, kernel_h, kernel_w), and bias if bias_term.

    Attributes:
        forward_op, backward_op: the ops, called with `attrs`, of layers that do not call their own.
    """

    param_field = "convolution_param"
    supported = frozenset(
        {
            *("num_output", "bias_term", "group", "weight_filler", "bias_filler", "axis"),
            *("kernel_size", "kernel_h", "kernel_w", "stride", "stride_h", "stride_w"),
            *("pad", "pad_h", "pad_w"),
        }
    )
    hints = frozenset({"engine", "force_nd_im2col"})
    bottoms = (1, None)
    tops = (1, None)
    forward_op: ClassVar[Callable[..., None]]
    backward_op: ClassVar[Callable[..., None]]
    attrs: Any

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        param = self.param
        if len(bottom) != len(top):
            raise self.error(f"{len(bottom)} bottoms need as many tops, not {len(top)}")
        if len(bottom[0].shape) != 4:
            raise self.error(f"bottom needs shape (N, C, H, W), got {bottom[0].shape}")
        if param.axis not in (1, -3):
            raise self.error(
                f"axis must be 1, that of channels, not {param.axis}", "convolution_param.axis"
            )
        self.kernel = self._sizes("kernel_size", "kernel_h", "kernel_w", None, least=1)
        self.stride = self._sizes("stride", "stride_h", "stride_w", 1, least=1)
        self.pad = self._sizes("pad", "pad_h", "pad_w", 0, least=0)
        self.dilation = self._pair("dilation", list(param.dilation), 1, least=1)
        self.group = int(param.group)
        self.num_output = int(param.num_output)
        self.channels = bottom[0].channels
        if self.num_output < 1:
            raise self.error("num_output must be 1 or more", "convolution_param.num_output")
        if self.group < 1 or self.channels % self.group or self.num_output % self.group:
            raise self.error(
                f"group {self.group} must divide the bottom's {self.channels} channels "
                f"and num_output {self.num_output}",
                "convolution_param.group",
            )

    @property
    def filter_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns that one filter sees."""
        return (self.channels // self.group, *self.kernel)

    def _sizes(
        self, both: str, rows: str, columns: str, default: int | None, *, least: int
    ) -> Pair:
        """Rows and columns of a size that the file gives for both axes, or for each."""
        values = list(getattr(self.param, both))
        if not (self.param.HasField(rows) or self.param.HasField(columns)):
            return self._pair(both, values, default, least=least)
        if values:
            raise self.error(
                f"{both} is given, and {rows} or {columns} too", f"{self.param_field}.{both}"
            )
        pair = [getattr(self.param, rows), getattr(self.param, columns)]
        return self._pair(f"{rows}, {columns}", pair, default, least=least)

    def _pair(self, name: str, values: Sequence[int], default: int | None, *, least: int) -> Pair:
        field_path = f"{self.param_field}.{name.split(',')[0]}"
        if not values and default is not None:
            return default, default
        if len(values) not in (1, 2):
            raise self.error(f"{name} needs one value or two, got {len(values)}", field_path)
        pair = int(values[0]), int(values[-1])
        if min(pair) < least:
            raise self.error(f"{name} must be {least} or more, got {min(pair)}", field_path)
        return pair

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        for x, y in zip(bottom, top, strict=True):
            if x.shape != bottom[0].shape:
                raise self.error(f"bottoms differ in shape: {bottom[0].shape} and {x.shape}")
            if len(x.shape) != 4 or x.channels != self.channels:
                raise self.error(f"bottom needs {self.channels} channels, got shape {x.shape}")
            y.reshape(x.num, self.num_output, *self.output_size(x))

    def output_size(self, x: Blob) -> Pair:
        """Rows and columns of the top of a bottom."""
        return self._output_size(x, 0), self._output_size(x, 1)

    def _output_size(self, x: Blob, axis: int) -> int:
        padded = x.shape[axis + 2] + 2 * self.pad[axis]
        reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        if reach > padded:
            what = ("rows", "columns")[axis]
            raise self.error(
                f"the kernel's {reach} {what} (size {self.kernel[axis]}, dilation "
                f"{self.dilation[axis]}) exceed the bottom's {padded} (size {x.shape[axis + 2]}, "
                f"pad {self.pad[axis]})",
                f"{self.param_field}.kernel_size",
            )
        return (padded - reach) // self.stride[axis] + 1

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        weight = self.blobs[0].value
        bias = self.blobs[1].value if len(self.blobs) > 1 else None
        for x, y in zip(bottom, top, strict=True):
            self.forward_op(x.value, weight, bias, y.value, self.attrs)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        weight = self.blobs[0].value
        gradients = [
            blob.grad if wanted else None
            for blob, wanted in zip(self.blobs, self.propagate_to_params, strict=True)
        ]
        dweight, dbias = (*gradients, None)[:2]
        for x, y, wanted in zip(bottom, top, propagate_down, strict=True):
            dx = x.grad if wanted else None
            self.backward_op(x.value, weight, y.grad, dx, dweight, dbias, self.attrs)

    def multiply_adds(self, bottom: list[Blob], top: list[Blob]) -> int:
        return sum(y.count for y in top) * prod(self.filter_shape)
