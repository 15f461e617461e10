"""Region layer (paper, section 3.1): every patch of a grid has its own small network.

    y = x + conv(relu(batch_norm(x)))

with statistics, weights and bias of its own for each patch and zero padding at the patch's border.
The ReLU that follows the addition is a layer of its own in the prototxt.
"""

from __future__ import annotations

from typing import ClassVar

from drml import _core
from drml.blob import Blob, Shape
from drml.fillers import Fill
from drml.layers.base import Layer, register
from drml.proto import caffe_pb2 as pb
from drml.running_statistics import RunningStatistics


@register
class Region(Layer):
    """The region layer on x of shape (N, C, H, W); the top has the same shape.

    `region_param`: grid_h x grid_w patches (8 x 8), which must divide H x W; kernel_size (3), odd,
    and pad ((kernel_size - 1) / 2); eps (1e-5); moving_average_fraction (0.999); use_global_stats
    (unset: running statistics in TEST, those of the batch in TRAIN; the authors' files set it to
    false: the batch's statistics in both, so that a prediction depends on its batch);
    weight_filler, bias_filler.

    Parameter blobs, P = grid_h * grid_w and patch p = row * grid_w + column: weights
    (P, C, C, k, k), bias (P, C), and as in Caffe's BatchNorm running mean (P, C), running variance
    (P, C) and the factor (1) that both are divided by.
    """

    type = "Region"
    factor_per_patch: ClassVar[bool] = False
    param_field = "region_param"
    supported = frozenset(
        {
            *("grid_h", "grid_w", "kernel_size", "pad", "eps", "moving_average_fraction"),
            *("use_global_stats", "weight_filler", "bias_filler"),
        }
    )

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        param = self.param
        self.grid = (int(param.grid_h), int(param.grid_w))
        self.kernel = int(param.kernel_size)
        self.pad = int(param.pad)
        if min(self.grid) < 1:
            raise self.error(
                f"a grid of {self.grid[0]} x {self.grid[1]} has no patch", "region_param.grid_h"
            )
        if self.kernel % 2 == 0 or self.pad != self.kernel // 2:
            raise self.error(
                f"kernel_size {self.kernel} with pad {self.pad} changes the size of a patch; "
                "kernel_size must be odd and pad (kernel_size - 1) / 2",
                "region_param.kernel_size",
            )
        if len(bottom[0].shape) != 4:
            raise self.error(f"bottom needs shape (N, C, H, W), got {bottom[0].shape}")
        self.check_grid(bottom[0])
        channels = bottom[0].channels
        patches = self.grid[0] * self.grid[1]
        # A filler's fan-in is that of one patch, as where every patch is a Convolution of its own.
        shape = (channels, channels, self.kernel, self.kernel)
        self.add_param((patches, *shape), self.weight_filler(shape), banks=True)
        self.add_param((patches, channels), self.bias_filler((channels,)), banks=True)
        factors = patches if self.factor_per_patch else 1
        self.statistics = RunningStatistics(self, (patches, channels), factors=factors)

    def weight_filler(self, shape: Shape) -> pb.FillerParameter | Fill:
        """What fills the weights, those of a patch having `shape`."""
        filler: pb.FillerParameter = self.param.weight_filler
        return filler

    def bias_filler(self, shape: Shape) -> pb.FillerParameter | Fill:
        """What fills the bias, that of a patch having `shape`."""
        filler: pb.FillerParameter = self.param.bias_filler
        return filler

    def check_grid(self, x: Blob) -> None:
        """Checks that the patches tile the map."""
        height, width = x.shape[2:]
        if height % self.grid[0] or width % self.grid[1]:
            raise self.error(
                f"a grid of {self.grid[0]} x {self.grid[1]} patches does not divide a map of "
                f"{height} x {width}",
                "region_param.grid_h",
            )

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        self.check_grid(bottom[0])
        if bottom[0].channels != self.blobs[0].shape[1]:
            raise self.error(
                f"bottom has {bottom[0].channels} channels, the weights {self.blobs[0].shape[1]}"
            )
        top[0].reshape(*bottom[0].shape)

    def _attrs(self) -> _core.RegionAttrs:
        return _core.RegionAttrs(
            grid=self.grid, pad=self.pad, eps=self.statistics.eps, frozen=self.statistics.frozen
        )

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        weight, bias = self.blobs[:2]
        mean, variance = self.statistics.before_forward()
        _core.region_forward(
            bottom[0].value,
            weight.value,
            bias.value,
            mean,
            variance,
            top[0].value,
            self._attrs(),
        )
        patch_size = bottom[0].count // (bottom[0].channels * self.grid[0] * self.grid[1])
        self.statistics.after_forward(patch_size)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        weight, bias = self.blobs[:2]
        mean, variance = self.statistics.of_forward()
        _core.region_backward(
            bottom[0].value,
            weight.value,
            mean,
            variance,
            top[0].grad,
            bottom[0].grad if propagate_down[0] else None,
            weight.grad if self.propagate_to_params[0] else None,
            bias.grad if self.propagate_to_params[1] else None,
            self._attrs(),
        )

    def multiply_adds(self, bottom: list[Blob], top: list[Blob]) -> int:
        return bottom[0].count * bottom[0].channels * self.kernel**2
