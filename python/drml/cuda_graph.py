"""GraphedLayers: the layers of a net on CUDA, their kernels launched as one graph."""

from __future__ import annotations

from collections.abc import Sequence

from drml import _core
from drml.layer_node import LayerNode

Memory = tuple[int, tuple[int, ...]]
"""Address and shape of an array."""


class GraphedLayers:
    """Runs layers as they are, once, and from then on by a CUDA graph of their kernels.

    Layers that read data, and what comes before them, always run as they are; and so do layers that
    compute on the host, and what comes behind them. A graph holds addresses: it is recorded anew
    when a blob has another shape or place in memory.

    Args:
        nodes: the layers of a net of phase TEST, in order.
        device: `cuda:N`.
    """

    def __init__(self, nodes: Sequence[LayerNode], device: str) -> None:
        first = max((node.index + 1 for node in nodes if node.layer.is_data), default=0)
        hosts = [node.index for node in nodes if node.layer.on_host and node.index >= first]
        last = min(hosts, default=len(nodes))
        self._before, self._inside, self._after = nodes[:first], nodes[first:last], nodes[last:]
        self._graph = _core.CudaGraph(device)
        self._recorded: list[Memory] | None = None

    def forward(self) -> None:
        """Queues forward of all layers."""
        for node in self._before:
            node.forward()
        if self._recorded == self._memory():
            self._graph.launch()
        else:
            # First without recording, so that all memory is there.
            for node in self._inside:
                node.forward()
            self._record()
        for node in self._after:
            node.forward()

    def _memory(self) -> list[Memory]:
        """Where the blobs lie; what the host wrote to them goes to the device on the way."""
        tensors = [
            blob.value
            for node in self._inside
            for blob in (*node.bottom, *node.layer.blobs, *node.top)
        ]
        return [(tensor.pointer, tensor.shape) for tensor in tensors]

    def _record(self) -> None:
        self._recorded = None
        self._graph.begin()
        try:
            for node in self._inside:
                node.forward()
        except BaseException:
            self._graph.abort()
            raise
        self._graph.end()
        self._recorded = self._memory()
