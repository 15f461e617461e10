"""Our layers one by one, beside oneDNN's own time for the same convolution or inner product.

oneDNN's primitives run in a program of their own (onednn_times.cpp), in the memory layouts that
oneDNN likes best, without the reorders that this takes; so they are what a program could at best
reach with that library. The region layer stands beside one grouped convolution of as many
multiply-adds, which leaves out statistics, normalization, ReLU and addition.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass

from contenders import ROOT

from drml import _core
from drml.commands.nets import synthetic_net
from drml.net import Net


@dataclass(frozen=True)
class LayerTimes:
    """Least times of a layer in ms; None where there is nothing to compare or compute."""

    name: str
    type: str
    multiply_adds: int
    forward_ms: float
    backward_ms: float | None
    onednn_forward_ms: float | None


def build_onednn_times() -> str:
    """Compiles benchmarks/onednn_times.cpp against the environment's oneDNN."""
    build = ROOT / "build" / "benchmarks"
    prefix = sysconfig.get_path("data")
    configure = ["cmake", "-S", str(ROOT / "benchmarks"), "-B", str(build)]
    subprocess.run(
        [*configure, f"-DCMAKE_PREFIX_PATH={prefix}"], check=True, stdout=subprocess.DEVNULL
    )
    subprocess.run(["cmake", "--build", str(build)], check=True, stdout=subprocess.DEVNULL)
    return str(build / "onednn_times")


def primitive_lines(net: Net) -> list[str]:
    """A line for onednn_times for each layer that has a primitive."""
    lines = []
    for node in net.layers:
        blobs = node.layer.blobs
        if node.type == "Convolution":
            (n, c, h, w), (k, _, kh, kw) = node.bottom[0].shape, blobs[0].shape
            layer = node.layer
            lines.append(
                f"conv {node.name} {layer.group} {n} {c} {h} {w} {k} {kh} {kw} "
                f"{layer.stride[0]} {layer.pad[0]}"
            )
        elif node.type == "InnerProduct":
            outputs, inputs = blobs[0].shape
            lines.append(f"ip {node.name} {node.bottom[0].shape[0]} {inputs} {outputs}")
        elif node.type == "Region":
            n, c, h, w = node.bottom[0].shape
            gh, gw = node.layer.grid
            size = f"{gh * gw * c} {h // gh} {w // gw} {gh * gw * c}"
            k = blobs[0].shape[-1]
            lines.append(f"conv {node.name} {gh * gw} {n} {size} {k} {k} 1 {k // 2}")
    return lines


def _milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def profile_layers(name: str, batch: int, threads: int, rounds: int) -> list[LayerTimes]:
    """Times a net's layers in phase TRAIN and oneDNN's primitives, in turn, `rounds` times."""
    _core.set_threads(threads)
    net = synthetic_net(ROOT / "prototxt" / f"{name}.prototxt", "TRAIN", batch)
    program = build_onednn_times()
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    forward: dict[str, list[float]] = {}
    backward: dict[str, list[float]] = {}
    onednn: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        for node in net.layers:
            forward.setdefault(node.name, []).append(_milliseconds(node.forward))
        for node in reversed(net.layers):
            if node.need_backward:
                node.set_loss_gradients()
                backward.setdefault(node.name, []).append(_milliseconds(node.backward))
        if turn == 0:  # memory was taken in this one
            forward.clear()
            backward.clear()
            continue
        done = subprocess.run(
            [program, "3"],
            input="\n".join(primitive_lines(net)),
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        for line in done.stdout.splitlines():
            layer, value, _ = line.split(maxsplit=2)
            onednn.setdefault(layer, []).append(float(value))
    return [
        LayerTimes(
            node.name,
            node.type,
            node.layer.multiply_adds(node.bottom, node.top),
            min(forward[node.name]),
            min(backward[node.name]) if node.name in backward else None,
            min(onednn[node.name]) if node.name in onednn else None,
        )
        for node in net.layers
    ]
