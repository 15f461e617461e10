"""ContrastiveLoss: draws similar samples together, others apart; Caffe's ContrastiveLoss layer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drml import _core
from drml.blob import Blob
from drml.layers.base import register
from drml.layers.base_loss import LossLayer


@register
class ContrastiveLoss(LossLayer):
    """L = 1/(2N) * sum of d^2 for similar pairs, max(margin - d, 0)^2 for others; d = |a - b|.

    Hadsell, Chopra and LeCun, "Dimensionality reduction by learning an invariant mapping", CVPR
    2006. Bottoms: a and b (N, C), or with further axes of 1, and a label for each pair of samples:
    0 for a dissimilar pair, any other whole number for a similar one.

    `contrastive_loss_param`: margin (1); legacy_version (false; true: max(margin - d^2, 0), what
    Caffe's first version computed). As in Caffe, the gradient of a dissimilar pair is divided by
    d + 1e-4, and is so far from exact.
    """

    type = "ContrastiveLoss"
    param_field = "contrastive_loss_param"
    supported = frozenset({"margin", "legacy_version"})
    bottoms = (3, 3)
    numbered = (2,)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self._distance = Blob(f"{self.name}/distance", device=self.context.device)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        a, b, label = bottom
        for blob in (a, b):
            if len(blob.shape) < 2 or blob.count != blob.num * blob.channels:
                raise self.error(
                    f"'{blob.name}' has shape {blob.shape}; (N, C) is needed, or axes of 1 behind"
                )
        if a.shape[:2] != b.shape[:2]:
            raise self.error(
                f"'{a.name}' {a.shape} and '{b.name}' {b.shape} have different samples or channels"
            )
        if label.shape[:1] != a.shape[:1] or label.count != a.num:
            raise self.error(
                f"{a.num} pairs need as many labels, '{label.name}' has shape {label.shape}"
            )
        self._distance.reshape(a.num)
        top[0].reshape()

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        _core.contrastive_loss_forward(
            *(blob.value for blob in bottom),
            self._distance.value,
            top[0].value,
            self.param.margin,
            self.param.legacy_version,
        )

    def example(
        self, index: int, bottom: list[Blob], random: np.random.Generator
    ) -> npt.NDArray[np.generic] | None:
        # Some of each kind.
        return np.arange(bottom[2].count).reshape(bottom[2].shape) % 2 if index == 2 else None

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        self.check_propagate_down(propagate_down)
        if any(propagate_down):
            _core.contrastive_loss_backward(
                *(blob.value for blob in bottom),
                self._distance.value,
                top[0].grad,
                *(
                    blob.grad if wanted else None
                    for blob, wanted in zip(bottom[:2], propagate_down[:2], strict=True)
                ),
                self.param.margin,
                self.param.legacy_version,
            )
