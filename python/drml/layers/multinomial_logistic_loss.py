"""MultinomialLogisticLoss: cross entropy of probabilities; Caffe's layer of this name."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drml import _core
from drml.blob import Blob
from drml.layers.base import register
from drml.layers.base_loss import ClassLossLayer


@register
class MultinomialLogisticLoss(ClassLossLayer):
    """L = -(1/N) * sum of log p[label]; what SoftmaxWithLoss computes of logits, of probabilities.

    Bottoms: probabilities p (N, ...), such as a Softmax makes, and a class number for each sample;
    every number of a sample is the probability of a class. One below 1e-20 counts as that, in loss
    and gradient, as in Caffe.
    """

    type = "MultinomialLogisticLoss"

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        _core.multinomial_logistic_loss_forward(self.rows(bottom), bottom[1].value, top[0].value)

    def example(
        self, index: int, bottom: list[Blob], random: np.random.Generator
    ) -> npt.NDArray[np.generic] | None:
        if index == 0:
            return random.uniform(0.1, 1, bottom[0].shape)
        return super().example(index, bottom, random)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        self.check_propagate_down(propagate_down)
        if propagate_down[0]:
            _core.multinomial_logistic_loss_backward(
                self.rows(bottom), bottom[1].value, top[0].grad, self.row_gradients(bottom)
            )
            self.keep_row_gradients(bottom)
