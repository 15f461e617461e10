"""Weights of one net for another that computes the same and writes its layers otherwise.

A region layer in the authors' long form and one Region layer hold the same numbers: the parameters
of the branches, patch by patch, are the rows of the Region's. The factor of the running statistics
is one per branch there, and one for all of them here.
"""

from __future__ import annotations

import numpy as np

from drml.blob import Blob
from drml.errors import WeightsError
from drml.layer_node import LayerNode
from drml.layers.region import Region
from drml.net import Net


def pair_layers(source: Net, target: Net) -> list[tuple[LayerNode, LayerNode]]:
    """Layers with parameters of two nets, paired: by name where both have it, else in order.

    Raises:
        WeightsError: the layers left over differ in number or type, or paired ones in the shapes
            of their parameters; all of it is listed.
    """
    ours = {node.name: node for node in source.layers if node.layer.blobs}
    theirs = {node.name: node for node in target.layers if node.layer.blobs}
    left = [node for name, node in ours.items() if name not in theirs]
    wanted = [node for name, node in theirs.items() if name not in ours]
    if [node.type for node in left] != [node.type for node in wanted]:
        raise WeightsError(
            f"the layers of {source.path} do not match those of {target.path}: "
            f"{_listed(left)} on one side, {_listed(wanted)} on the other"
        )
    pairs = [(ours[name], node) for name, node in theirs.items() if name in ours]
    pairs += zip(left, wanted, strict=True)
    wrong = [
        f"'{a.name}' has {_shapes(a)}, '{b.name}' {_shapes(b)}" for a, b in pairs if not _fits(a, b)
    ]
    if wrong:
        raise WeightsError(
            f"the parameters of {source.path} do not fit {target.path}: {'; '.join(wrong)}"
        )
    return pairs


def convert_weights(source: Net, target: Net) -> list[tuple[LayerNode, LayerNode]]:
    """Copies all parameters of `source` to `target`.

    Returns:
        The paired layers.

    Raises:
        WeightsError: see `pair_layers`; nothing is copied then.
    """
    pairs = pair_layers(source, target)
    for ours, theirs in pairs:
        blobs, others = ours.layer.blobs, theirs.layer.blobs
        if [blob.shape for blob in blobs] == [blob.shape for blob in others]:
            for blob, other in zip(blobs, others, strict=True):
                other.data = blob.read_data()
        else:
            _convert_region(blobs, others)
    return pairs


def _convert_region(blobs: list[Blob], others: list[Blob]) -> None:
    """From one factor per patch to one for all of them, or back."""
    for blob, other in zip(blobs[:2], others[:2], strict=True):
        other.data = blob.read_data()
    factors = blobs[4].read_data()
    used = factors[factors != 0]
    factor = used[0] if len(used) else np.float32(0)
    # What was never run up has the factor 0, and stands for zeros.
    scale = np.divide(factor, factors, out=np.zeros_like(factors), where=factors != 0)
    for blob, other in zip(blobs[2:4], others[2:4], strict=True):
        other.data = blob.read_data() * scale[:, np.newaxis]
    others[4].data = np.full(others[4].shape, factor)


def _fits(a: LayerNode, b: LayerNode) -> bool:
    blobs, others = a.layer.blobs, b.layer.blobs
    if isinstance(a.layer, Region) and isinstance(b.layer, Region):
        blobs, others = blobs[:4], others[:4]
    return [blob.shape for blob in blobs] == [blob.shape for blob in others]


def _shapes(node: LayerNode) -> str:
    return ", ".join(str(blob.shape) for blob in node.layer.blobs)


def _listed(nodes: list[LayerNode]) -> str:
    shown = ", ".join(f"'{node.name}' ({node.type})" for node in nodes[:4])
    more = f" and {len(nodes) - 4} more" if len(nodes) > 4 else ""
    return f"{shown}{more}" if nodes else "none"
