"""Pooling layer (Caffe's Pooling): maxima or means of windows."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register
from drml.proto import caffe_pb2 as pb

Pair = tuple[int, int]


@register
class Pooling(Layer):
    """Each channel's maximum (MAX) or mean (AVE) over windows of x (N, C, H, W).

    `pooling_param`: pool (MAX); kernel_size, stride (1) and pad (0), each once or as _h and _w;
    global_pooling: one window over the whole map; round_mode (CEIL). STOCHASTIC is refused.

    As in Caffe, H' = (H + 2 pad - kernel) / stride + 1 is rounded up, so that the last window may
    be cut by the border, and is one less where that window would start beyond the map and its near
    padding. MAX skips the padding; AVE counts it as zeros and divides by the window's size, which
    the far border of the padding cuts. Of equal maxima the first gets the gradient.

    A second top, for MAX, holds where in its plane each maximum stands: row * W + column.
    """

    type = "Pooling"
    param_field = "pooling_param"
    supported = frozenset(
        {
            *("pool", "kernel_size", "kernel_h", "kernel_w", "stride", "stride_h", "stride_w"),
            *("pad", "pad_h", "pad_w", "global_pooling", "round_mode"),
        }
    )
    hints = frozenset({"engine"})
    tops = (1, 2)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        param = self.param
        if param.pool == pb.PoolingParameter.STOCHASTIC:
            raise self.error(
                "pool: STOCHASTIC is not supported; MAX and AVE are", "pooling_param.pool"
            )
        self.max = param.pool == pb.PoolingParameter.MAX
        if len(top) > 1 and not self.max:
            raise self.error("a second top, the places of maxima, needs pool: MAX", "top")
        self.global_pooling = bool(param.global_pooling)
        self.round_up = param.round_mode == pb.PoolingParameter.CEIL
        self.stride = self._pair("stride", "stride_h", "stride_w")
        self.pad = self._pair("pad", "pad_h", "pad_w")
        self.kernel = (0, 0)
        if min(self.stride) < 1:
            raise self.error("stride must be 1 or more", "pooling_param.stride")
        if self.global_pooling:
            self._check_global()
            return
        self.kernel = self._pair("kernel_size", "kernel_h", "kernel_w")
        if min(self.kernel) < 1:
            raise self.error("kernel_size must be 1 or more", "pooling_param.kernel_size")
        if any(pad >= kernel for pad, kernel in zip(self.pad, self.kernel, strict=True)):
            raise self.error(
                f"pad {self.pad} must be less than kernel_size {self.kernel}", "pooling_param.pad"
            )

    def _pair(self, both: str, rows: str, columns: str) -> Pair:
        """Rows and columns of a size that the file gives once, or for each axis."""
        given = [name for name in (both, rows, columns) if self.param.HasField(name)]
        if given == [rows, columns]:
            return int(getattr(self.param, rows)), int(getattr(self.param, columns))
        if given == [both] or (not given and both != "kernel_size"):
            value = int(getattr(self.param, both))
            return value, value
        raise self.error(
            f"give either {both}, or both {rows} and {columns}",
            f"{self.param_field}.{given[0]}" if given else self.param_field,
        )

    def _check_global(self) -> None:
        for name in ("kernel_size", "kernel_h", "kernel_w"):
            if self.param.HasField(name):
                raise self.error(
                    f"global_pooling takes the whole map: {name} cannot be given too",
                    f"{self.param_field}.{name}",
                )
        if self.stride != (1, 1) or self.pad != (0, 0):
            raise self.error(
                f"global_pooling needs stride 1 and pad 0, not {self.stride} and {self.pad}",
                f"{self.param_field}.global_pooling",
            )

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4:
            raise self.error(f"bottom needs shape (N, C, H, W), got {shape}")
        if self.global_pooling:
            self.kernel = shape[2], shape[3]
        windows = [self._windows(shape[axis + 2], axis) for axis in (0, 1)]
        self.attrs = _core.PoolingAttrs(
            max=self.max, kernel=self.kernel, stride=self.stride, pad=self.pad
        )
        for blob in top:
            blob.reshape(*shape[:2], *windows)

    def _windows(self, size: int, axis: int) -> int:
        """Number of windows along rows (0) or columns (1)."""
        kernel, stride, pad = self.kernel[axis], self.stride[axis], self.pad[axis]
        room = size + 2 * pad - kernel
        windows = (-(-room // stride) if self.round_up else room // stride) + 1
        if windows < 1:
            what = ("rows", "columns")[axis]
            raise self.error(
                f"a window of {kernel} {what} exceeds the bottom's {size + 2 * pad} "
                f"(size {size}, pad {pad})",
                f"{self.param_field}.kernel_size",
            )
        return windows - 1 if (windows - 1) * stride >= size + pad else windows

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        _core.pooling_forward(bottom[0].value, top[0].value, self.attrs)
        if len(top) > 1:
            _core.pooling_mask(bottom[0].value, top[1].value, self.attrs)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if propagate_down[0]:
            _core.pooling_backward(bottom[0].value, top[0].grad, bottom[0].grad, self.attrs)
