"""What a net holds: Caffe's debug_info lines, and the first blob that is not finite."""

from __future__ import annotations

import math
from collections.abc import Sequence

from drml import _core
from drml.blob import Blob
from drml.net import Net
from drml.runlog import number


def mean_abs(tensor: _core.Tensor) -> float:
    """Mean absolute value of all numbers of a tensor, as Caffe's debug_info shows it."""
    return float(_core.sum_abs(tensor)) / tensor.size if tensor.size else 0.0


def _not_finite(blob: Blob) -> bool:
    return blob.has_value and not _core.all_finite(blob.value)


def first_not_finite(net: Net) -> str | None:
    """The first blob, in net order, that holds a NaN or an infinite number; None if none does.

    The parameters of a layer come before its tops, since it reads the ones to write the others.
    """
    for node in net.layers:
        where = f"layer '{node.name}' ({node.layer.source.where()})"
        for index, blob in enumerate(node.layer.blobs):
            if _not_finite(blob):
                return f"parameter {index} of {where}"
        for name, blob in zip(node.top_names, node.top, strict=True):
            if _not_finite(blob):
                return f"top '{name}' of {where}"
    return None


def forward_lines(net: Net) -> list[str]:
    """Caffe's debug_info of a forward pass: the mean absolute value of every top and parameter.

    Read after the whole pass, so a blob that a later layer overwrites in place shows that layer's
    values.
    """
    lines = []
    for node in net.layers:
        for name, blob in zip(node.top_names, node.top, strict=True):
            value = number(mean_abs(blob.value))
            lines.append(f"    [Forward] Layer {node.name}, top blob {name} data: {value}")
        for index, blob in enumerate(node.layer.blobs):
            value = number(mean_abs(blob.value))
            lines.append(f"    [Forward] Layer {node.name}, param blob {index} data: {value}")
    return lines


def backward_lines(net: Net) -> list[str]:
    """Caffe's debug_info of a backward pass: mean absolute gradients, norms of all parameters."""
    lines = []
    for node in reversed(net.layers):
        if not node.need_backward:
            continue
        for name, blob, wanted in zip(
            node.bottom_names, node.bottom, node.propagate_down, strict=True
        ):
            if wanted:
                diff = number(mean_abs(blob.grad))
                lines.append(f"    [Backward] Layer {node.name}, bottom blob {name} diff: {diff}")
        for index, blob in enumerate(node.layer.blobs):
            if node.layer.propagate_to_params[index]:
                diff = number(mean_abs(blob.grad))
                lines.append(f"    [Backward] Layer {node.name}, param blob {index} diff: {diff}")
    blobs = [param.blob for param in net.learnable]
    l1 = [sum(_core.sum_abs(t) for t in side) for side in _sides(blobs)]
    l2 = [math.sqrt(sum(_core.sum_squares(t) for t in side)) for side in _sides(blobs)]
    lines.append(
        "    [Backward] All net params (data, diff): "
        f"L1 norm = ({number(l1[0])}, {number(l1[1])}); "
        f"L2 norm = ({number(l2[0])}, {number(l2[1])})"
    )
    return lines


def _sides(blobs: Sequence[Blob]) -> tuple[list[_core.Tensor], list[_core.Tensor]]:
    return [blob.value for blob in blobs], [blob.grad for blob in blobs]


def copy(tensor: _core.Tensor) -> _core.Tensor:
    """A copy of a parameter, on its device."""
    result = _core.Tensor(tensor.shape, device=tensor.device)
    _core.copy(tensor, result)
    return result


def update_line(name: str, before: _core.Tensor, after: _core.Tensor) -> str:
    """Caffe's debug_info of an update: mean absolute weight before it, and of the change.

    Args:
        name: the parameter's, as `layer/index`.
        before: the weights before the update; the memory is used up.
    """
    layer, index = name.rsplit("/", 1)
    data = mean_abs(before)
    _core.axpby(-1.0, after, 1.0, before)
    diff = mean_abs(before)
    return f"    [Update] Layer {layer}, param {index} data: {number(data)}; diff: {number(diff)}"
