"""Accuracy: how often the label is among the highest scores; Caffe's Accuracy layer."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register


@register
class Accuracy(Layer):
    """Fraction of samples whose label is among the top_k scores.

    Of equal scores that of the later class counts as the higher one.

    Bottoms: scores with the classes on an axis, and a class number for each line along that axis.
    Tops: the accuracy, shape (), and if given the accuracy of each class, shape (C,); 0 where there
    is no sample. There is no backward.

    `accuracy_param`: top_k (1), axis (1; negative counts from the back), ignore_label, a label that
    does not count.
    """

    type = "Accuracy"
    param_field = "accuracy_param"
    supported = frozenset({"top_k", "axis", "ignore_label"})
    bottoms = (2, 2)
    tops = (1, 2)
    numbered = (1,)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        x, label = bottom
        self.axis = self.canonical_axis(self.param.axis, x.shape, "accuracy_param.axis")
        classes = x.shape[self.axis]
        lines = x.count // classes if x.count else 0
        if label.count != lines:
            raise self.error(
                f"scores '{x.name}' {x.shape} with classes on axis {self.axis} need {lines} "
                f"labels, '{label.name}' has shape {label.shape}"
            )
        if not 1 <= self.param.top_k <= classes:
            raise self.error(
                f"top_k {self.param.top_k} must be between 1 and the number of classes, {classes}",
                "accuracy_param.top_k",
            )
        top[0].reshape()
        if len(top) > 1:
            top[1].reshape(classes)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        param = self.param
        _core.accuracy_forward(
            bottom[0].value,
            bottom[1].value,
            top[0].value,
            top[1].value if len(top) > 1 else None,
            param.top_k,
            self.axis,
            param.ignore_label if param.HasField("ignore_label") else None,
        )

    def can_backward_to(self, index: int) -> bool:
        return False

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if any(propagate_down):
            raise self.error("has no gradient and cannot be used as a loss")
