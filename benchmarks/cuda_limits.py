"""A model of the CUDA backend: what its kernels compute and move, and the least time that takes.

    python benchmarks/cuda_limits.py [--net NET] [--batch 16 128]

Nothing is run on a GPU, nothing is measured. For every kernel that a training iteration launches,
the model counts

* multiply-adds: those of matrix products and of the region layer's convolutions. What other
  kernels compute is not counted: they would have to do over 50 operations for each number that
  they move before it cost more than moving it.
* bytes: every array that the kernel reads or writes, once. The columns of im2col count in full,
  written by one kernel and read by the next, although a large cache may hold some of them. Weights
  count once per launch of the whole batch, not once per image. What is read again (halos, tiles of
  a matrix product), sums of parts, biases and statistics are left out.

The least time is the greater of multiply-adds over the device's peak and bytes over its bandwidth.
Launches, dependencies, copies from the host and everything else that keeps a kernel from its limit
are left out, so a real device is slower.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from drml.commands.nets import synthetic_net
from drml.layer_node import LayerNode
from drml.net import Net

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = 1 << 24
"""How many numbers of columns cuda/cublas.cu makes at a time."""


@dataclass(frozen=True)
class Gpu:
    """A device by its data sheet: float32 operations and bytes per second."""

    name: str
    flops: float
    bandwidth: float


GPUS = (Gpu("K40c", 4.29e12, 288e9), Gpu("H100", 67e12, 3.35e12))
PAPER = {"test": 12.1, "train": 31.2}
"""Milliseconds per frame that the paper measured on a K40c."""


@dataclass(frozen=True)
class Work:
    """What all launches of one kernel for one layer do for a batch.

    Attributes:
        layer: the layer's name.
        kernel: its name in cuda/; sgemm is cuBLAS's.
        numbers: float32 numbers read and written.
        multiply_adds: 0 where they are not counted.
    """

    layer: str
    kernel: str
    numbers: int
    multiply_adds: int = 0

    @property
    def bytes(self) -> int:
        return 4 * self.numbers

    @property
    def intensity(self) -> float:
        """Floating-point operations per byte, two for a multiply-add."""
        return 2 * self.multiply_adds / self.bytes

    def compute_seconds(self, gpu: Gpu) -> float:
        return 2 * self.multiply_adds / gpu.flops

    def move_seconds(self, gpu: Gpu) -> float:
        return self.bytes / gpu.bandwidth

    def seconds(self, gpu: Gpu) -> float:
        """The least time."""
        return max(self.compute_seconds(gpu), self.move_seconds(gpu))


Kernels = list[tuple[str, int, int]]
"""Kernel, numbers, multiply-adds."""


def _sizes(node: LayerNode) -> tuple[int, int, int, int]:
    """Numbers of x, of y, of the weights, and multiply-adds forward."""
    weights = node.layer.blobs[0].count if node.layer.blobs else 0
    multiply_adds = int(node.layer.multiply_adds(node.bottom, node.top))
    return node.bottom[0].count, node.top[0].count, weights, multiply_adds


def _columns(node: LayerNode) -> int:
    """Numbers of the columns of the batch: what every filter sees from every place."""
    n, _, height, width = node.top[0].shape
    layer: Any = node.layer
    taps: int = prod(layer.kernel)
    return n * height * width * node.bottom[0].channels * taps


def _convolution_forward(node: LayerNode) -> Kernels:
    x, y, weights, multiply_adds = _sizes(node)
    columns = _columns(node)
    return [
        ("im2col_kernel", x + columns, 0),
        ("fill_bias_kernel", y, 0),
        ("sgemm", columns + weights + 2 * y, multiply_adds),
    ]


def _convolution_backward(node: LayerNode) -> Kernels:
    x, y, weights, multiply_adds = _sizes(node)
    columns = _columns(node)
    kernels = [("plane_sums_kernel", y, 0)]
    # Where columns of several images fit, dy is laid out with outputs first.
    rows = 2 * y if 2 * columns // node.top[0].shape[0] <= COLUMNS else 0
    kernels += [
        ("im2col_kernel", x + columns + rows, 0),
        ("sgemm (dweight)", y + columns + 2 * weights, multiply_adds),
    ]
    if node.propagate_down[0]:
        kernels += [
            ("sgemm (dx)", y + weights + columns, multiply_adds),
            ("col2im_kernel", columns + x, 0),
        ]
    return kernels


def _inner_product_forward(node: LayerNode) -> Kernels:
    x, y, weights, multiply_adds = _sizes(node)
    return [("fill_bias_kernel", y, 0), ("sgemm", x + weights + 2 * y, multiply_adds)]


def _inner_product_backward(node: LayerNode) -> Kernels:
    x, y, weights, multiply_adds = _sizes(node)
    kernels = [("sgemm (dx)", y + weights + x, multiply_adds)] if node.propagate_down[0] else []
    return [
        *kernels,
        ("sgemm (dweight)", x + y + 2 * weights, multiply_adds),
        ("add_rows_kernel", y, 0),
    ]


def _computes_statistics(node: LayerNode) -> bool:
    layer: Any = node.layer
    return not layer.statistics.frozen


def _region_forward(node: LayerNode) -> Kernels:
    x, y, weights, multiply_adds = _sizes(node)
    statistics = [("region_statistics_kernel", x, 0)] if _computes_statistics(node) else []
    return [*statistics, ("region_forward_kernel", x + weights + y, multiply_adds)]


def _region_backward(node: LayerNode) -> Kernels:
    x, y, weights, multiply_adds = _sizes(node)
    kernels = []
    if node.propagate_down[0]:
        kernels.append(("region_data_gradient_kernel", y + weights + 2 * x, multiply_adds))
        if _computes_statistics(node):
            kernels.append(("region_combine_kernel", y + 3 * x, 0))
    return [
        *kernels,
        ("region_weight_gradient_kernel", x + y + 2 * weights, multiply_adds),
        ("region_bias_gradient_kernel", y, 0),
    ]


def _moves(kernel: str, per_x: int, per_y: int) -> Callable[[LayerNode], Kernels]:
    """A kernel that moves as many numbers for each number of x and of y."""

    def kernels(node: LayerNode) -> Kernels:
        x, y, _, _ = _sizes(node)
        return [(kernel, per_x * x + per_y * y, 0)]

    return kernels


def _nothing(node: LayerNode) -> Kernels:
    return []


def _dropout(node: LayerNode) -> Kernels:
    # In TEST, in place, there is nothing to do.
    return [] if node.layer.position is None else _moves("dropout_kernel", 1, 1)(node)


_LOSS = "multi_sigmoid_cross_entropy_loss"
FORWARD: dict[str, Callable[[LayerNode], Kernels]] = {
    "Convolution": _convolution_forward,
    "Dropout": _dropout,
    "InnerProduct": _inner_product_forward,
    "Input": _nothing,
    "LRN": _moves("lrn_across_forward_kernel", 1, 1),
    "MultiSigmoidCrossEntropyLoss": _moves(f"{_LOSS}_forward_kernel", 2, 1),
    "Pooling": _moves("max_pooling_forward_kernel", 1, 1),
    "ReLU": _moves("relu_forward_kernel", 1, 1),
    "Region": _region_forward,
}
BACKWARD: dict[str, Callable[[LayerNode], Kernels]] = {
    "Convolution": _convolution_backward,
    "Dropout": _dropout,
    "InnerProduct": _inner_product_backward,
    "Input": _nothing,
    "LRN": _moves("lrn_across_backward_kernel", 2, 1),
    "MultiSigmoidCrossEntropyLoss": _moves(f"{_LOSS}_backward_kernel", 3, 1),
    "Pooling": _moves("max_pooling_backward_kernel", 2, 1),
    "ReLU": _moves("relu_backward_kernel", 2, 1),
    "Region": _region_backward,
}


def forward_work(net: Net) -> list[Work]:
    """What a forward pass launches, in its order."""
    return [Work(node.name, *kernel) for node in net.layers for kernel in FORWARD[node.type](node)]


def backward_work(net: Net) -> list[Work]:
    """What a backward pass launches, in its order."""
    return [
        Work(node.name, *kernel)
        for node in reversed(net.layers)
        if node.need_backward
        for kernel in BACKWARD[node.type](node)
    ]


def update_work(net: Net) -> list[Work]:
    """What the solver launches once per iteration, over all learned parameters."""
    numbers = sum(param.blob.count for param in net.learnable if param.lr_mult)
    # Weights and velocities are read and written, gradients read; then gradients become zero.
    return [
        Work("update", "update_kernel (SGD)", 5 * numbers),
        Work("update", "flat_kernel (fill)", numbers),
    ]


def least_seconds(work: Iterable[Work], gpu: Gpu) -> float:
    """The sum of the kernels' least times, one after the other."""
    return sum(kernel.seconds(gpu) for kernel in work)


def _amount(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else "<0.001"


def _time(kernel: Work, gpu: Gpu) -> str:
    compute_bound = kernel.compute_seconds(gpu) > kernel.move_seconds(gpu)
    return _amount(kernel.seconds(gpu) * 1e3) + (" c" if compute_bound else " b")


def _markdown(header: list[str], rows: list[list[str]], *, left: int) -> str:
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def kernel_table(batches: dict[int, list[Work]]) -> str:
    """A line per kernel; batches: size -> its kernels, the same for every size."""
    header = ["layer", "kernel", "multiply-adds per image"]
    for batch in batches:
        header += [f"batch {batch}: MB", "FLOP/byte", *(f"{gpu.name}, ms" for gpu in GPUS)]
    rows = []
    for line in zip(*batches.values(), strict=True):
        first_batch = next(iter(batches))
        each = line[0].multiply_adds / first_batch
        row = [line[0].layer, line[0].kernel, f"{each / 1e6:,.2f} M" if each else "-"]
        for kernel in line:
            row += [_amount(kernel.bytes / 1e6), _amount(kernel.intensity) if each else "-"]
            row += [_time(kernel, gpu) for gpu in GPUS]
        rows.append(row)
    return _markdown(header, rows, left=2)


def sum_table(batches: dict[int, dict[str, list[Work]]], paper: bool) -> str:
    """Milliseconds per frame; batches: size -> what is summed -> its kernels."""
    header = ["ms per frame, at least"]
    header += [f"{gpu.name}, batch {batch}" for gpu in GPUS for batch in batches]
    rows = []
    for what in next(iter(batches.values())):
        row = [what]
        for gpu in GPUS:
            for batch, sums in batches.items():
                row.append(_amount(least_seconds(sums[what], gpu) * 1e3 / batch))
        if paper:
            row.append(str(PAPER.get(what, "-")))
        rows.append(row)
    if paper:
        header.append("the paper measured, K40c")
    return _markdown(header, rows, left=1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--net", type=Path, default=ROOT / "prototxt" / "drml.prototxt")
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 128])
    options = parser.parse_args()

    sums: dict[int, dict[str, list[Work]]] = {}
    for batch in options.batch:
        train = synthetic_net(options.net, "TRAIN", batch, device="cpu")
        for node in train.layers:
            if node.type not in FORWARD:
                sys.exit(f"no model of layer '{node.name}', type {node.type}")
        passes = {
            "forward": forward_work(train),
            "backward": backward_work(train),
            "update": update_work(train),
        }
        sums[batch] = {
            "test": forward_work(synthetic_net(options.net, "TEST", batch, device="cpu")),
            "train": [kernel for work in passes.values() for kernel in work],
            **{f"train: {name}": work for name, work in passes.items()},
        }
    print("A model, not a measurement: least times at the devices' float32 peak and bandwidth:")
    for gpu in GPUS:
        print(f"{gpu.name} {gpu.flops / 1e12:g} TFLOP/s and {gpu.bandwidth / 1e9:g} GB/s", end="; ")
    print("c: computing, b: moving bytes takes longest.\n")
    print(sum_table(sums, paper=options.net.stem.startswith("drml")))
    for name in ("forward", "backward", "update"):
        print(f"\nTraining, {name}:\n")
        print(kernel_table({batch: of[f"train: {name}"] for batch, of in sums.items()}))


if __name__ == "__main__":
    main()
