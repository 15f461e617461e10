"""Runs a net over its data: means of its outputs, scores and labels of every sample once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from drml.errors import NetError
from drml.layer_node import LayerNode
from drml.layers.base_data import DataLayer
from drml.metrics import AuTable
from drml.net import Net
from drml.runlog import number

Array = npt.NDArray[np.float32]

_MULTI_LABEL_LOSSES = ("MultiSigmoidCrossEntropyLoss", "SigmoidCrossEntropyLoss")


@dataclass(frozen=True)
class Output:
    """Mean of one number of an output blob over the batches, and its weight in the loss."""

    name: str
    value: float
    loss_weight: float

    def __str__(self) -> str:
        if not self.loss_weight:
            return f"{self.name} = {number(self.value)}"
        weighted = number(self.loss_weight * self.value)
        return (
            f"{self.name} = {number(self.value)} (* {number(self.loss_weight)} = {weighted} loss)"
        )


@dataclass
class Evaluation:
    """What a net made of its data.

    Attributes:
        samples: samples counted, each once.
        batches: forward passes.
        repeated: samples at the end of the last batch that had been seen before; they are in none
            of the scores, and in the means of outputs only as part of that batch's own mean.
        loss: mean loss.
        outputs: means of all numbers of the output blobs.
        scores, labels: (samples, AUs) logits, and labels -1, 0, 1; None where no layer has a
            multi-label loss.
    """

    samples: int
    batches: int
    repeated: int
    loss: float
    outputs: list[Output]
    scores: Array | None = field(default=None, repr=False)
    labels: Array | None = field(default=None, repr=False)

    def lines(self) -> list[str]:
        """The means as the `caffe test` command prints them, after a line on what was counted."""
        counted = f"{self.samples} samples in {self.batches} batches"
        if self.repeated:
            counted += f"; of the last batch, {self.repeated} had been seen and are not counted"
        return [counted, f"Loss: {number(self.loss)}", *map(str, self.outputs)]

    def to_dict(self) -> dict[str, Any]:
        """The means as plain values for JSON."""
        return {
            "samples": self.samples,
            "batches": self.batches,
            "loss": self.loss,
            "outputs": [
                {"name": o.name, "mean": o.value, "loss_weight": o.loss_weight}
                for o in self.outputs
            ],
        }

    def table(self, aus: Sequence[str] | None = None) -> AuTable | None:
        """The scores per AU; None where the net has no multi-label loss."""
        if self.scores is None or self.labels is None:
            return None
        return AuTable(self.scores, self.labels, aus)


def sample_count(net: Net) -> int | None:
    """How many samples the net's data holds; None where no data layer knows."""
    counts = [n.layer.sample_count for n in net.layers if isinstance(n.layer, DataLayer)]
    known = [count for count in counts if count is not None]
    return max(known) if known else None


def multi_label_loss(net: Net) -> LayerNode | None:
    """The first layer with a loss on logits and label vectors, which bottoms 0 and 1 are."""
    return next((node for node in net.layers if node.type in _MULTI_LABEL_LOSSES), None)


def _labels_of(node: LayerNode) -> Array:
    """Labels as -1, 0 (unknown), 1; to Caffe's own loss, 0 is absent, ignore_label unknown."""
    labels: Array = node.bottom[1].read_data().copy()
    if node.type == "MultiSigmoidCrossEntropyLoss":
        return labels
    result = np.where(labels > 0, np.float32(1), np.float32(-1))
    loss_param = node.layer.layer_param.loss_param
    if loss_param.HasField("ignore_label"):
        result[labels == loss_param.ignore_label] = 0
    return result


def batches_to_run(net: Net, iterations: int | None) -> int:
    """`iterations`, or as many batches as hold every sample once.

    Raises:
        NetError: iterations is None and no data layer knows how many samples there are.
    """
    if iterations is not None:
        return iterations
    total = sample_count(net)
    if total is None:
        raise NetError(
            f"{net.path}: no data layer knows how many samples there are; give --iterations"
        )
    return -(-total // _batch_size(net))


def evaluate(
    net: Net,
    iterations: int | None = None,
    *,
    progress: Callable[[int], Any] | None = None,
) -> Evaluation:
    """Runs a net forward over its data.

    Args:
        net: a net with a data layer, from where its data stands.
        iterations: batches to run; None: all samples once. Samples of a last batch that begins the
            data anew are not counted.
        progress: called with 1 after each batch.

    Raises:
        NetError: iterations is None and no data layer knows its length.
    """
    planned = batches_to_run(net, iterations)
    total = sample_count(net) if iterations is None else None
    loss_node = multi_label_loss(net)
    scores: list[Array] = []
    labels: list[Array] = []
    sums: dict[str, npt.NDArray[np.float64]] = {}
    loss, samples, batch, counted, share = 0.0, 0, 0, 0, 0.0
    for _ in range(planned):
        net.forward()
        batch = _batch_size(net)
        counted = batch if total is None else min(batch, total - samples)
        share = counted / batch
        loss += share * net.loss
        for name in net.outputs:
            value = net.blobs[name].read_data().astype(np.float64).reshape(-1)
            sums[name] = sums.get(name, 0.0) + share * value
        if loss_node is not None:
            scores.append(loss_node.bottom[0].read_data().reshape(batch, -1)[:counted].copy())
            labels.append(_labels_of(loss_node).reshape(batch, -1)[:counted])
        samples += counted
        if progress is not None:
            progress(1)
    weight = planned - 1 + share
    return Evaluation(
        samples=samples,
        batches=planned,
        repeated=batch - counted,
        loss=loss / weight,
        outputs=_means(net, sums, weight),
        scores=np.concatenate(scores) if scores else None,
        labels=np.concatenate(labels) if labels else None,
    )


def _batch_size(net: Net) -> int:
    """Samples of the batch: axis 0 of what the first data layer gave, else of the first blob."""
    given = [node.top[0] for node in net.layers if isinstance(node.layer, DataLayer)]
    shapes = [blob.shape for blob in [*given, *net.blobs.values()] if blob.shape]
    return shapes[0][0] if shapes else 1


def _means(net: Net, sums: dict[str, npt.NDArray[np.float64]], weight: float) -> list[Output]:
    weights = loss_weights(net)
    return [
        Output(name, float(value) / weight, weights.get(name, 0.0))
        for name, values in sums.items()
        for value in values
    ]


def loss_weights(net: Net) -> dict[str, float]:
    """The weight that every top has in the loss, by name."""
    return {
        name: weight
        for node in net.layers
        for name, weight in zip(node.top_names, node.loss_weights, strict=True)
    }
