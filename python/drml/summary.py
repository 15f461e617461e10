"""What a net is made of and needs, found from its shapes alone: nothing is allocated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drml.blob import Blob
from drml.layer_node import LayerNode
from drml.net import Net


@dataclass(frozen=True)
class LayerSummary:
    """A layer of a summary.

    Attributes:
        name, type: as in the file.
        tops: name -> shape.
        learned: number of learned parameters (lr_mult is not 0) that the layer owns.
        not_learned: number of its other parameters, such as running statistics.
        multiply_adds: of one forward pass, per image.
    """

    name: str
    type: str
    tops: dict[str, tuple[int, ...]]
    learned: int
    not_learned: int
    multiply_adds: float


@dataclass(frozen=True)
class NetSummary:
    """A net in figures. Bytes are those of blobs; the scratch memory of kernels comes on top.

    Attributes:
        name: the net's.
        batch_size: axis 0 of the first blob, 0 for a net without blobs.
        layers: in the order of the net.
        parameter_bytes: all parameter blobs.
        learned_bytes: the parameters that are learned; training holds a gradient and a velocity of
            the same size beside each.
        activation_bytes: the values of all blobs between layers.
        gradient_bytes: the gradients of the blobs that backward passes through.
        has_backward: whether there is a loss to train on.
    """

    name: str
    batch_size: int
    layers: list[LayerSummary]
    parameter_bytes: int
    learned_bytes: int
    activation_bytes: int
    gradient_bytes: int
    has_backward: bool

    @property
    def learned(self) -> int:
        """Number of learned parameters."""
        return sum(layer.learned for layer in self.layers)

    @property
    def not_learned(self) -> int:
        """Number of parameters that are not learned."""
        return sum(layer.not_learned for layer in self.layers)

    @property
    def multiply_adds(self) -> float:
        """Multiply-adds of a forward pass, per image."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def forward_bytes(self) -> int:
        """Memory of a forward pass: parameters and activations."""
        return self.parameter_bytes + self.activation_bytes

    @property
    def training_bytes(self) -> int:
        """Memory of training: a forward pass, gradients, and a velocity per learned parameter."""
        return self.forward_bytes + self.gradient_bytes + 2 * self.learned_bytes

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values for JSON."""
        return {
            "name": self.name,
            "batch_size": self.batch_size,
            "layers": [
                {
                    "name": layer.name,
                    "type": layer.type,
                    "tops": {name: list(shape) for name, shape in layer.tops.items()},
                    "learned_parameters": layer.learned,
                    "other_parameters": layer.not_learned,
                    "multiply_adds_per_image": layer.multiply_adds,
                }
                for layer in self.layers
            ],
            "learned_parameters": self.learned,
            "other_parameters": self.not_learned,
            "multiply_adds_per_image": self.multiply_adds,
            "bytes": {
                "parameters": self.parameter_bytes,
                "activations": self.activation_bytes,
                "gradients": self.gradient_bytes,
                "forward": self.forward_bytes,
                "training": self.training_bytes if self.has_backward else None,
            },
        }


def batch_size_of(net: Net) -> int:
    """Axis 0 of the net's first blob that has axes: the number of images in a batch."""
    return next((blob.shape[0] for blob in net.blobs.values() if blob.shape), 0)


def summarize(net: Net, types: Mapping[str, str] | None = None) -> NetSummary:
    """The summary of a net that was built, whether it ran or not.

    Args:
        net: the net.
        types: layer name -> type in the file, for data layers that something else stands in for.
    """
    batch_size = batch_size_of(net)
    learned = {id(param.blob): param.lr_mult != 0 for param in net.learnable}
    layers = [
        _layer(node, (types or {}).get(node.name, node.type), learned, max(batch_size, 1))
        for node in net.layers
    ]
    return NetSummary(
        net.name,
        batch_size,
        layers,
        parameter_bytes=sum(param.blob.nbytes for param in net.learnable),
        learned_bytes=sum(param.blob.nbytes for param in net.learnable if param.lr_mult != 0),
        activation_bytes=sum(blob.nbytes for blob in net.blobs.values() if not blob.shares_value),
        gradient_bytes=sum(blob.nbytes for blob in _with_gradient(net) if not blob.shares_grad),
        has_backward=any(node.need_backward for node in net.layers),
    )


def _layer(
    node: LayerNode, layer_type: str, learned: dict[int, bool], batch_size: int
) -> LayerSummary:
    # A parameter shared with another layer is counted by the layer that owns it.
    own = [blob for _, blobs in node.layer.members() for blob in blobs if id(blob) in learned]
    return LayerSummary(
        node.name,
        layer_type,
        {name: blob.shape for name, blob in zip(node.top_names, node.top, strict=True)},
        sum(blob.count for blob in own if learned[id(blob)]),
        sum(blob.count for blob in own if not learned[id(blob)]),
        node.layer.multiply_adds(node.bottom, node.top) / batch_size,
    )


def _with_gradient(net: Net) -> list[Blob]:
    """The blobs whose gradient backward writes or reads, each once."""
    found: dict[int, Blob] = {}
    for node in net.layers:
        if not node.need_backward:
            continue
        read = [
            top
            for top, weight in zip(node.top, node.loss_weights, strict=True)
            if weight or not node.layer.is_loss
        ]
        written = [
            bottom
            for bottom, wanted in zip(node.bottom, node.propagate_down, strict=True)
            if wanted
        ]
        found.update((id(blob), blob) for blob in [*read, *written])
    return list(found.values())
