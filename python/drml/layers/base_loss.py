"""What the losses share: their bottoms, one number as top, Caffe's normalization."""

from __future__ import annotations

from math import prod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from drml import _core
from drml._core import Tensor
from drml.blob import Blob
from drml.in_order import copy_in_order, is_row_major
from drml.layers.base import Layer
from drml.proto import caffe_pb2 as pb

LOSS_FIELDS = frozenset(
    f"loss_param.{name}" for name in ("ignore_label", "normalization", "normalize")
)


class LossLayer(Layer):
    """Base of the losses: bottoms are predictions and labels, the first top is the loss, shape ().

    Backward multiplies by the top's gradient, which the net sets to loss_weight.
    """

    bottoms: ClassVar[tuple[int, int | None]] = (2, 2)
    is_loss: ClassVar[bool] = True
    numbered: ClassVar[tuple[int, ...]] = (1,)

    def loss_attrs(self, default: int) -> _core.LossAttrs:
        """ignore_label and normalization of `loss_param`; `default` where the file states none.

        The deprecated `normalize` counts where `normalization` is not given.
        """
        param = self.layer_param.loss_param
        normalization = default
        if param.HasField("normalization"):
            normalization = param.normalization
        elif param.HasField("normalize"):
            normalization = (
                pb.LossParameter.VALID if param.normalize else pb.LossParameter.BATCH_SIZE
            )
        ignore_label = param.ignore_label if param.HasField("ignore_label") else None
        return _core.LossAttrs(_core.Normalization(int(normalization)), ignore_label)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        x, label = bottom[:2]
        if not x.shape or x.shape[:1] != label.shape[:1]:
            raise self.error(
                f"predictions '{x.name}' have shape {x.shape}, labels '{label.name}' "
                f"{label.shape}; their first axis, the samples, must be equal"
            )
        top[0].reshape()

    def check_one_label_each(self, bottom: list[Blob]) -> None:
        """Checks that there are as many labels as predictions."""
        x, label = bottom
        if x.count != label.count:
            raise self.error(
                f"predictions '{x.name}' have shape {x.shape}, labels '{label.name}' "
                f"{label.shape}; there must be a label for each prediction"
            )

    def can_backward_to(self, index: int) -> bool:
        return index not in self.numbered

    def check_propagate_down(self, propagate_down: list[bool]) -> None:
        """Refuses a gradient for the labels."""
        if any(propagate_down[index] for index in self.numbered):
            raise self.error("cannot backpropagate to label inputs")


class SoftmaxLossLayer(LossLayer):
    """Base of the losses of a softmax along an axis, with a class number for each line of x.

    A second top is the softmax itself.
    """

    tops: ClassVar[tuple[int, int | None]] = (1, 2)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self.attrs = self.loss_attrs(pb.LossParameter.VALID)
        self.prob = (
            top[1] if len(top) > 1 else Blob(f"{self.name}/prob", device=self.context.device)
        )

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().reshape(bottom, top)
        x, label = bottom[:2]
        self.axis = self.canonical_axis(self.param.axis, x.shape, f"{self.param_field}.axis")
        lines = x.count // x.shape[self.axis] if x.count else 0
        if label.count != lines:
            raise self.error(
                f"a softmax over axis {self.axis} of '{x.name}' {x.shape} needs {lines} labels, "
                f"'{label.name}' has shape {label.shape}"
            )
        self.prob.reshape(*x.shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        _core.softmax_forward(bottom[0].value, self.prob.value, self.axis)


class ClassLossLayer(LossLayer):
    """Base of the losses of one class number per sample: all but the first axis of x are classes.

    Kernels see x, and its gradient, as (N, D).
    """

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        # Samples of channels-last maps do not lie in the order of their axes.
        self._rows = Blob(f"{self.name}/rows", device=self.context.device)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().reshape(bottom, top)
        x, label = bottom
        if label.count != x.shape[0]:
            raise self.error(
                f"'{x.name}' {x.shape} needs {x.shape[0]} labels, one for each sample; "
                f"'{label.name}' has shape {label.shape}"
            )
        self._rows.reshape(x.shape[0], prod(x.shape[1:]))

    def rows(self, bottom: list[Blob]) -> Tensor:
        """x as (N, D)."""
        x = bottom[0].value
        if is_row_major(x):
            return x.view(self._rows.shape)
        copy_in_order(x, self._rows.value)
        return self._rows.value

    def row_gradients(self, bottom: list[Blob]) -> Tensor:
        """Where the gradient of x goes, as (N, D); `keep_row_gradients` follows."""
        dx = bottom[0].grad
        return dx.view(self._rows.shape) if is_row_major(dx) else self._rows.grad

    def keep_row_gradients(self, bottom: list[Blob]) -> None:
        """Makes what was written to `row_gradients` the gradient of x."""
        dx = bottom[0].grad
        if not is_row_major(dx):
            copy_in_order(self._rows.grad, dx)

    def example(
        self, index: int, bottom: list[Blob], random: np.random.Generator
    ) -> npt.NDArray[np.generic] | None:
        classes = max(1, self._rows.shape[1])
        return random.integers(0, classes, bottom[1].shape) if index == 1 else None
