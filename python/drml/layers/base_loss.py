"""What the losses share: two bottoms, one number as top, Caffe's normalization."""

from __future__ import annotations

from typing import ClassVar

from drml import _core
from drml.blob import Blob
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
        x, label = bottom
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

    def check_propagate_down(self, propagate_down: list[bool]) -> None:
        """Refuses a gradient for the labels."""
        if propagate_down[1]:
            raise self.error("cannot backpropagate to label inputs")
