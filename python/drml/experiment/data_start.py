"""Initial weights fitted to the data: every unit starts with mean 0 and deviation 1 over faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from drml.layer_node import LayerNode
from drml.net import Net
from drml.snapshot import Bookmark

_OUTPUT_AXIS = {"Convolution": 0, "InnerProduct": 0, "LocallyConnected": 1}
"""Layers that are fitted, and which axis of their weights counts outputs."""

_FACES = 128


def start_by_data(net: Net, logits: str) -> None:
    """Scales the weights and sets the biases of a net's layers, one layer after the other.

    For each output (channel) of a Convolution, LocallyConnected or InnerProduct layer, mean and
    deviation of what it gives for about 128 of the faces that the net reads become 0 and 1. A
    Region layer normalizes by itself. The layer of the logits stays as it is: its small weights
    let training begin at even odds. Positions in the data and running statistics are put back.

    It is the first step of Krähenbühl et al., "Data-dependent Initializations of Convolutional
    Neural Networks", ICLR 2016, for weights that were drawn at random.

    Args:
        net: of phase TRAIN, whose weights were drawn.
        logits: name of the blob of the logits.
    """
    before = Bookmark([net])
    for place, node in enumerate(net.layers):
        if node.type in _OUTPUT_AXIS and logits not in node.top_names:
            _fit(node, *_statistics(net, net.layers[: place + 1]))
    before.go_back()


def _statistics(
    net: Net, nodes: Sequence[LayerNode]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and deviation of each channel of the last layer's top."""
    means, squares = [], []
    faces = 0
    while faces < _FACES:
        net.run_layers(nodes)
        top = nodes[-1].top[0].read_data()
        faces += len(top)
        others = tuple(axis for axis in range(top.ndim) if axis != 1)
        means.append(top.mean(axis=others, dtype=np.float64))
        squares.append(np.square(top).mean(axis=others, dtype=np.float64))
    mean = np.mean(means, axis=0)
    return mean, np.sqrt(np.maximum(np.mean(squares, axis=0) - mean**2, 0))


def _fit(
    node: LayerNode, mean: npt.NDArray[np.float64], deviation: npt.NDArray[np.float64]
) -> None:
    """Weights and bias with which the outputs have mean 0 and deviation 1."""
    factor = np.divide(1, deviation, out=np.ones_like(deviation), where=deviation > 0)
    weight, *rest = node.layer.blobs
    values = weight.read_data().copy()
    shape = [1] * values.ndim
    shape[_OUTPUT_AXIS[node.type]] = len(factor)
    weight.data = values * factor.reshape(shape).astype(np.float32)
    if rest:
        bias = rest[0]
        bias.data = ((bias.read_data() - mean) * factor).astype(np.float32)
