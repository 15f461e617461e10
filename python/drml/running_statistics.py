"""The statistics of Caffe's BatchNorm: those of the batch, and running sums of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from drml._core import Tensor, axpby, divide, fill
from drml.proto import caffe_pb2 as pb

if TYPE_CHECKING:
    from drml.layers.base import Layer


class RunningStatistics:
    """Means and variances that a layer normalizes with, and the blobs that they run up in.

    Adds three parameter blobs to the layer, as Caffe's BatchNorm: sums of means, sums of variances
    with the N / (N - 1) correction, and the factor that both are divided by. They are not learned:
    their lr_mult is 0, and anything else in the file is refused.

    Reads eps, moving_average_fraction and use_global_stats of the layer's parameters;
    use_global_stats, unless set, is true in TEST and false in TRAIN.

    Args:
        layer: the layer that normalizes.
        shape: shape of mean and variance.
        factors: how many numbers the factor has, one for each index of axis 0 if not one for all.
    """

    def __init__(self, layer: Layer, shape: Sequence[int], *, factors: int = 1) -> None:
        param = layer.param
        self.eps = float(param.eps)
        self.fraction = float(param.moving_average_fraction)
        self.frozen = (
            bool(param.use_global_stats)
            if param.HasField("use_global_stats")
            else layer.context.phase == pb.TEST
        )
        first = len(layer.blobs)
        self._mean = layer.add_param(shape)
        self._variance = layer.add_param(shape)
        self._factor = layer.add_param((factors,))
        for index in range(first, first + 3):
            self._forbid_learning(layer, index)
        device = layer.context.device
        self._used_mean = Tensor(tuple(shape), device=device)
        self._used_variance = Tensor(tuple(shape), device=device)
        self._one = Tensor((factors,), device=device)
        fill(self._one, 1)

    @staticmethod
    def _forbid_learning(layer: Layer, index: int) -> None:
        specs = layer.layer_param.param
        while len(specs) < index:
            specs.add()
        if len(specs) == index:
            specs.add(lr_mult=0, decay_mult=0)
        elif specs[index].lr_mult != 0:
            raise layer.error(
                f"parameter {index} holds running statistics, which are not learned: "
                f"its lr_mult must be 0, not {specs[index].lr_mult:g}",
                f"param[{index}].lr_mult",
            )
        layer.propagate_to_params[index] = False

    def before_forward(self) -> tuple[Tensor, Tensor]:
        """Mean and variance: set when frozen, else for the kernel to write."""
        if self.frozen:
            divide(self._mean.value, self._factor.value, self._used_mean)
            divide(self._variance.value, self._factor.value, self._used_variance)
        return self._used_mean, self._used_variance

    def after_forward(self, count: int) -> None:
        """Runs the batch's statistics, each over `count` numbers, up into the blobs."""
        if self.frozen:
            return
        correction = count / (count - 1) if count > 1 else 1.0
        axpby(1, self._used_mean, self.fraction, self._mean.value)
        axpby(correction, self._used_variance, self.fraction, self._variance.value)
        axpby(1, self._one, self.fraction, self._factor.value)

    def of_forward(self) -> tuple[Tensor, Tensor]:
        """Mean and variance that the last forward used."""
        return self._used_mean, self._used_variance
