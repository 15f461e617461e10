"""InfogainLoss: cross entropy of a softmax, weighted by a matrix; Caffe's InfogainLoss layer."""

from __future__ import annotations

from functools import partial
from math import isqrt

import numpy as np
import numpy.typing as npt

from drml import _core
from drml._core import Tensor
from drml.blob import Array, Blob
from drml.errors import WeightsError
from drml.in_order import copy_in_order, is_row_major
from drml.layers.base import register
from drml.layers.base_loss import SoftmaxLossLayer
from drml.weights import read_blob


def _copy(source: Array, array: Array) -> None:
    array[...] = source


@register
class InfogainLoss(SoftmaxLossLayer):
    """L = -(1/normalizer) * sum of H[label][k] * log softmax(x)[k] over all lines and classes k.

    H, the infogain matrix, has K x K numbers for K classes; with the identity the loss is that of
    SoftmaxWithLoss. Probabilities below 1e-20 count as that in the loss.

    Bottoms: x; a class number for each line of x along the axis; and H, unless it is read from a
    file. It may change from batch to batch, and has no gradient. Tops: the loss, shape (), and if
    given the softmax itself, shaped as x.

    `infogain_loss_param`: source, a BlobProto with H (.binaryproto); axis (1). `loss_param`:
    ignore_label, normalization, as for SoftmaxWithLoss; the deprecated normalize is none of it, as
    in Caffe.
    """

    type = "InfogainLoss"
    param_field = "infogain_loss_param"
    supported = frozenset({"source", "axis", "loss_param.ignore_label", "loss_param.normalization"})
    hints = frozenset({"softmax_param.engine"})
    bottoms = (2, 3)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().setup(bottom, top)
        device = self.context.device
        self._infogain = Blob(f"{self.name}/infogain", channels_last=False, device=device)
        self._row_sums = Blob(f"{self.name}/row_sums", device=device)
        if len(bottom) == 3:
            if self.param.source:
                raise self.error(
                    f"the infogain matrix is the bottom '{bottom[2].name}'; source is not read",
                    "infogain_loss_param.source",
                )
            return
        if not self.param.source:
            raise self.error("the infogain matrix needs infogain_loss_param.source, or a bottom")
        try:
            matrix = read_blob(self.context.find(self.param.source))
        except WeightsError as error:
            raise self.error(str(error), "infogain_loss_param.source") from error
        classes = isqrt(matrix.size)
        if classes * classes != matrix.size:
            raise self.error(
                f"{self.param.source}: an infogain matrix of shape {matrix.shape} is not square",
                "infogain_loss_param.source",
            )
        matrix = matrix.reshape(classes, classes)
        self._infogain = Blob(
            f"{self.name}/infogain", matrix.shape, device=device, fill=partial(_copy, matrix)
        )

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().reshape(bottom, top)
        classes = bottom[0].shape[self.axis]
        given = bottom[2] if len(bottom) == 3 else self._infogain
        if given.count != classes * classes:
            raise self.error(
                f"an infogain matrix '{given.name}' of shape {given.shape} does not fit the "
                f"{classes} classes of '{bottom[0].name}' {bottom[0].shape}"
            )
        self._infogain.reshape(classes, classes)
        self._row_sums.reshape(classes)

    def _matrix(self, bottom: list[Blob]) -> Tensor:
        if len(bottom) == 2:
            return self._infogain.value
        given = bottom[2].value
        if is_row_major(given):
            return given.view(self._infogain.shape)
        copy_in_order(given, self._infogain.value)
        return self._infogain.value

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        super().forward(bottom, top)
        _core.infogain_loss_forward(
            self.prob.value,
            bottom[1].value,
            self._matrix(bottom),
            top[0].value,
            self.axis,
            self.attrs,
        )

    def can_backward_to(self, index: int) -> bool:
        return index == 0

    def example(
        self, index: int, bottom: list[Blob], random: np.random.Generator
    ) -> npt.NDArray[np.generic] | None:
        return random.random(bottom[2].shape) if index == 2 else None

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        self.check_propagate_down(propagate_down)
        if any(propagate_down[2:]):
            raise self.error("cannot backpropagate to infogain inputs")
        if propagate_down[0]:
            matrix, sums = self._matrix(bottom), self._row_sums.value
            _core.reduction_forward(matrix, sums, 1, _core.Reduction.SUM, 1.0)
            _core.infogain_loss_backward(
                self.prob.value,
                bottom[1].value,
                matrix,
                sums,
                top[0].grad,
                bottom[0].grad,
                self.axis,
                self.attrs,
            )
