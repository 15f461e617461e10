"""SPP: spatial pyramid pooling to a fixed length; Caffe's SPP layer."""

from __future__ import annotations

from dataclasses import dataclass

from drml import _core
from drml.blob import Blob
from drml.in_order import copy_in_order
from drml.layers.base import Layer, register
from drml.layers.pooling import Pooling
from drml.proto import caffe_pb2 as pb


@dataclass
class _Level:
    """A level of the pyramid: its pooling, what it gives, and the same as one row per image."""

    pooling: Pooling
    pooled: Blob
    rows: Blob


@register
class SPP(Layer):
    """x (N, C, H, W) pooled into 1 x 1, 2 x 2, 4 x 4... bins, all of them in one row per image.

    `spp_param`: pyramid_height, the number of levels; pool (MAX or AVE; STOCHASTIC is refused). The
    top is (N, C * (4^pyramid_height - 1) / 3), level after level, each in the order C, H, W; of one
    level it is, as in Caffe, (N, C, 1, 1).

    Level l has b = 2^l bins along an axis: windows of ceil(size / b) numbers, as far apart, with
    the padding (ceil(size / b) * b - size + 1) / 2, rounded down. As in Caffe, that must be less
    than a window.
    """

    type = "SPP"
    param_field = "spp_param"
    supported = frozenset({"pyramid_height", "pool"})
    hints = frozenset({"engine"})

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self.height = int(self.param.pyramid_height)
        if self.height < 1:
            raise self.error("pyramid_height must be 1 or more", "spp_param.pyramid_height")
        if self.param.pool == pb.SPPParameter.STOCHASTIC:
            raise self.error("pool: STOCHASTIC is not supported; MAX and AVE are", "spp_param.pool")
        self._levels: list[_Level] = []
        self._gradient = Blob(f"{self.name}/gradient", device=self.context.device)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4 or 0 in shape[2:]:
            raise self.error(f"bottom needs shape (N, C, H, W), with pixels, got {shape}")
        self._gradient.reshape(*shape)
        self._levels = [self._make_level(level, bottom[0]) for level in range(self.height)]
        if self.height == 1:
            top[0].reshape(*self._levels[0].pooled.shape)
        else:
            top[0].reshape(shape[0], sum(level.rows.shape[1] for level in self._levels))

    def _make_level(self, level: int, x: Blob) -> _Level:
        param = pb.LayerParameter(name=f"{self.name}/{level}", type="Pooling")
        pool = param.pooling_param
        if self.param.pool == pb.SPPParameter.AVE:
            pool.pool = pb.PoolingParameter.AVE
        pool.kernel_h, pool.pad_h = self._window(level, x.shape, 2)
        pool.kernel_w, pool.pad_w = self._window(level, x.shape, 3)
        pool.stride_h, pool.stride_w = pool.kernel_h, pool.kernel_w
        pooling = Pooling(param, self.source, self.context)
        pooled, rows = (
            Blob(f"{param.name}/{what}", device=self.context.device) for what in ("pooled", "rows")
        )
        pooling.setup([x], [pooled])
        pooling.reshape([x], [pooled])
        rows.reshape(pooled.num, pooled.channels * pooled.height * pooled.width)
        return _Level(pooling, pooled, rows)

    def _window(self, level: int, shape: tuple[int, ...], axis: int) -> tuple[int, int]:
        """Size and padding of a level's windows along an axis."""
        bins, size = 2**level, shape[axis]
        kernel = -(-size // bins)
        pad = (kernel * bins - size + 1) // 2
        if pad >= kernel:
            raise self.error(
                f"{bins} bins of {kernel} along axis {axis} of the bottom's shape {shape} need a "
                f"padding of {pad}, which must be less than a bin",
                "spp_param.pyramid_height",
            )
        return kernel, pad

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        if self.height == 1:
            self._levels[0].pooling.forward(bottom, top)
            return
        start = 0
        for level in self._levels:
            level.pooling.forward(bottom, [level.pooled])
            copy_in_order(level.pooled.value, level.rows.value)
            length = level.rows.shape[1]
            _core.copy(level.rows.value, top[0].value.narrow(1, start, length))
            start += length

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if not propagate_down[0]:
            return
        x, dx = bottom[0].value, bottom[0].grad
        if self.height == 1:
            _core.pooling_backward(x, top[0].grad, dx, self._levels[0].pooling.attrs)
            return
        start = 0
        for level in self._levels:
            length = level.rows.shape[1]
            _core.copy(top[0].grad.narrow(1, start, length), level.rows.grad)
            copy_in_order(level.rows.grad, level.pooled.grad)
            to = dx if start == 0 else self._gradient.grad
            _core.pooling_backward(x, level.pooled.grad, to, level.pooling.attrs)
            if start > 0:
                _core.add(to, dx)
            start += length
