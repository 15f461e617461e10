"""BatchNorm layer (Caffe's BatchNorm): zero mean and unit variance per channel, nothing learned."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register
from drml.running_statistics import RunningStatistics


@register
class BatchNorm(Layer):
    """y = (x - mean) / sqrt(variance + eps), per channel (axis 1).

    `batch_norm_param`: use_global_stats (unset: running statistics in TEST, those of the batch in
    TRAIN); moving_average_fraction (0.999); eps (1e-5). With the batch's statistics, each forward
    also runs them up. A Scale layer behind it learns scale and shift.

    Parameter blobs, not learned: running mean (C), running variance (C), and the factor (1) that
    both are divided by.
    """

    type = "BatchNorm"
    param_field = "batch_norm_param"
    supported = frozenset({"use_global_stats", "moving_average_fraction", "eps"})
    in_place = True

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        if not bottom[0].shape:
            raise self.error("bottom needs one axis or more")
        if not self.param.eps >= 0:
            raise self.error(
                f"eps must be 0 or more, not {self.param.eps:g}", f"{self.param_field}.eps"
            )
        self.statistics = RunningStatistics(self, (self._channels(bottom[0]),))
        self._input = Blob(f"{self.name}/input", device=self.context.device)

    def _keeps_input(self, bottom: list[Blob], top: list[Blob]) -> bool:
        """Whether backward needs an input that forward overwrites."""
        return bottom[0] is top[0] and not self.statistics.frozen

    @staticmethod
    def _channels(x: Blob) -> int:
        return x.shape[1] if len(x.shape) > 1 else 1

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape, channels = bottom[0].shape, self.blobs[0].count
        if not shape or self._channels(bottom[0]) != channels:
            raise self.error(f"bottom needs {channels} channels, got shape {shape}")
        top[0].reshape(*shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        x, y = bottom[0], top[0]
        if self._keeps_input(bottom, top):
            self._input.reshape(*x.shape)
            _core.copy(x.value, self._input.value)
        mean, variance = self.statistics.before_forward()
        _core.batch_norm_forward(
            x.value, mean, variance, y.value, self.statistics.eps, self.statistics.frozen
        )
        self.statistics.after_forward(x.count // self._channels(x))

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if not propagate_down[0]:
            return
        x = self._input if self._keeps_input(bottom, top) else bottom[0]
        mean, variance = self.statistics.of_forward()
        _core.batch_norm_backward(
            x.value,
            mean,
            variance,
            top[0].grad,
            bottom[0].grad,
            self.statistics.eps,
            self.statistics.frozen,
        )
