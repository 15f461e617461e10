"""Caffe's clip_gradients: all gradients together are brought down to a largest L2 norm."""

from __future__ import annotations

import math
from collections.abc import Sequence

from drml import _core
from drml.runlog import number
from drml.shared_params import Param


def clipping(params: Sequence[Param], limit: float) -> tuple[float, str]:
    """The factor that brings the L2 norm of all gradients down to `limit`, or 1.

    Args:
        params: whose gradients to look at; one that has none counts as 0.
        limit: clip_gradients; less than 0: no limit.

    Returns:
        The factor, and Caffe's log line about it, which is empty where the factor is 1.
    """
    if limit < 0:
        return 1.0, ""
    gradients = [param.blob.grad for param in params if param.blob.has_grad]
    norm = math.sqrt(sum(_core.sum_squares(gradient) for gradient in gradients))
    if norm <= limit:
        return 1.0, ""
    note = (
        f"Gradient clipping: scaling down gradients (L2 norm {number(norm)} > {number(limit)}) by "
        f"scale factor {number(limit / norm)}"
    )
    return limit / norm, note
