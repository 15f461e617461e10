"""Batch layer: Caffe's BatchNorm by the name that DRML's authors gave it."""

from __future__ import annotations

from drml.layers.base import register
from drml.layers.batch_norm import BatchNorm


@register
class Batch(BatchNorm):
    """BatchNorm with the same fields in `batch_param`.

    The authors' files set use_global_stats to false: a prediction then depends on the batch that
    it is part of.
    """

    type = "Batch"
    param_field = "batch_param"
