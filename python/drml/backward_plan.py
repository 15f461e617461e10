"""Which layers run in backward and which gradients they compute, decided as Caffe's Net::Init does.

A gradient is computed where it leads to a parameter that is learned, along layers that lead to a
loss; propagate_down in the file overrules the first, force_backward both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drml.layer_node import LayerNode


def plan_backward(nodes: Sequence[LayerNode], *, force: bool) -> None:
    """Sets propagate_down and need_backward of every node and propagate_to_params of its layer.

    Args:
        nodes: the layers of a net in order, connected, with their loss weights.
        force: the net's force_backward.
    """
    _spread_need(nodes)
    _prune_without_loss(nodes)
    if force:
        _force(nodes)


def _learns(node: LayerNode, index: int) -> bool:
    specs = node.layer.layer_param.param
    return specs[index].lr_mult != 0 if index < len(specs) else True


def _spread_need(nodes: Sequence[LayerNode]) -> None:
    """Forward through the net: a blob needs a gradient if a learned parameter lies before it."""
    blob_needs: dict[str, bool] = {}
    for node in nodes:
        asked = node.layer.layer_param.propagate_down
        node.propagate_down = [
            bool(asked[index]) if asked else blob_needs[name]
            for index, name in enumerate(node.bottom_names)
        ]
        learned = [_learns(node, index) for index in range(len(node.layer.blobs))]
        node.layer.propagate_to_params = learned
        node.need_backward = any(node.propagate_down) or any(learned)
        for name in node.top_names:
            blob_needs[name] = node.need_backward


def _prune_without_loss(nodes: Sequence[LayerNode]) -> None:
    """Back through the net: drops what leads to no loss, or only through skipped bottoms."""
    under_loss: set[str] = set()
    skipped: set[str] = set()
    for node in reversed(nodes):
        contributes = any(
            weight or name in under_loss
            for name, weight in zip(node.top_names, node.loss_weights, strict=True)
        )
        if not contributes or all(name in skipped for name in node.top_names):
            node.need_backward = False
            node.propagate_down = [False] * len(node.bottom)
        for name, wanted in zip(node.bottom_names, node.propagate_down, strict=True):
            if contributes:
                under_loss.add(name)
            if not wanted:
                skipped.add(name)


def _force(nodes: Sequence[LayerNode]) -> None:
    for node in nodes:
        node.propagate_down = [
            wanted or node.layer.can_backward_to(index)
            for index, wanted in enumerate(node.propagate_down)
        ]
        node.layer.propagate_to_params = [True] * len(node.layer.blobs)
        node.need_backward = any(node.propagate_down) or bool(node.layer.blobs)
