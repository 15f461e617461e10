"""What the machine can do at best: multiply-adds, memory read, memory copied.

The peak of multiply-adds is that of a large matrix product, the best of PyTorch's (MKL) and ours
(oneDNN); bandwidths are those of arrays far larger than the caches.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from drml import _core
from drml.net import Net

_SIDE = 2048
_NUMBERS = 1 << 26  # 268 MB


@dataclass(frozen=True)
class Limits:
    """Multiply-adds, and bytes read or copied (read and written), a second."""

    multiply_adds: float
    read: float
    copy: float


def _least_seconds(work: Callable[[], object], runs: int) -> float:
    work()
    least = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        work()
        least = min(least, time.perf_counter() - start)
    return least


def measure_limits(threads: int, runs: int = 10) -> Limits:
    """Measures at a number of threads, each limit the best of some runs."""
    torch.set_num_threads(threads)
    _core.set_threads(threads)
    a, b, c = (torch.rand(_SIDE, _SIDE) for _ in range(3))
    x, weight, y = (_core.Tensor((_SIDE, _SIDE)) for _ in range(3))
    for tensor in (x, weight):
        _core.fill(tensor, 0.5)
    products = (
        lambda: torch.mm(a, b, out=c),
        lambda: _core.inner_product_forward(x, weight, None, y, False),
    )
    seconds = min(_least_seconds(work, runs) for work in products)
    large, other = torch.rand(_NUMBERS), torch.rand(_NUMBERS)
    return Limits(
        multiply_adds=_SIDE**3 / seconds,
        read=4 * _NUMBERS / _least_seconds(large.sum, runs),
        copy=8 * _NUMBERS / _least_seconds(lambda: other.copy_(large), runs),
    )


@dataclass(frozen=True)
class Work:
    """Multiply-adds of an iteration, and bytes that it has to move if each is moved once."""

    multiply_adds: int
    bytes: int


def work_of(net: Net, *, train: bool) -> Work:
    """What an iteration of a net costs at least.

    Bytes are those of parameters and of the blobs between layers, written and read once; in
    training parameters are read twice, their gradients written, and the update reads three arrays
    and writes two, while blobs and their gradients are written and read.
    """
    multiply_adds = 0
    for node in net.layers:
        products = node.layer.multiply_adds(node.bottom, node.top)
        multiply_adds += products
        if train and node.layer.blobs:
            multiply_adds += products * (1 + any(node.propagate_down))
    parameters = sum(blob.count for blobs in net.params.values() for blob in blobs)
    activations = sum(blob.count for blob in net.blobs.values())
    moved = 8 * parameters + 16 * activations if train else 2 * activations + parameters
    return Work(multiply_adds, 4 * moved)
