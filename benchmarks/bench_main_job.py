"""Times prototxt/drml.prototxt beside oneDNN's own primitives, and measures peak memory.

    make bench

Three questions, each answered in one run on one machine:

* How much does a whole forward pass cost beyond the convolutions and inner products that oneDNN
  computes in it? (the net's time over the sum of oneDNN's own times for them, each in the layouts
  that oneDNN likes best)
* How does the region layer compare with oneDNN's time for the same multiply-adds as one grouped
  convolution (64 groups of 32 channels on 20 x 20 maps, which leaves out statistics, normalization,
  ReLU and addition)?
* What is the peak memory of a process that trains at batch 128, and of one that runs a forward pass
  at batch 1?

Rounds of ours and theirs alternate; the figure is the least of the rounds, the spread is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drml.net import Net

ROOT = Path(__file__).resolve().parent.parent
NET = ROOT / "prototxt" / "drml.prototxt"
PEAK_MEMORY = """
import resource, sys
from pathlib import Path
from drml import _core
from drml.commands.nets import synthetic_net

path, mode, batch, threads = sys.argv[1:]
_core.set_threads(int(threads))
train = mode == "train"
net = synthetic_net(Path(path), "TRAIN" if train else "TEST", int(batch))
velocities = [_core.Tensor(param.blob.shape) for param in net.learnable] if train else []
for _ in range(2):
    net.forward()
    if not train:
        continue
    net.backward()
    for param, velocity in zip(net.learnable, velocities):
        _core.sgd_update(param.blob.value, param.blob.grad, velocity, 0.001, 0.9, 0.0005, False)
    net.clear_param_diffs()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def build_onednn_times() -> Path:
    """Compiles benchmarks/onednn_times.cpp against the environment's oneDNN."""
    build = ROOT / "build" / "benchmarks"
    prefix = Path(sysconfig.get_path("data"))
    configure = ["cmake", "-S", str(ROOT / "benchmarks"), "-B", str(build)]
    subprocess.run(
        [*configure, f"-DCMAKE_PREFIX_PATH={prefix}"], check=True, stdout=subprocess.DEVNULL
    )
    subprocess.run(["cmake", "--build", str(build)], check=True, stdout=subprocess.DEVNULL)
    return build / "onednn_times"


def primitive_lines(net: Net) -> tuple[list[str], str]:
    """onednn_times' lines for convolutions and inner products, and for the region layer."""
    lines, region = [], ""
    for node in net.layers:
        blobs = node.layer.blobs
        if node.type == "Convolution":
            (n, c, h, w), (k, _, kh, kw) = node.bottom[0].shape, blobs[0].shape
            stride = node.layer.param.stride[0] if node.layer.param.stride else 1
            lines.append(f"conv {node.name} 1 {n} {c} {h} {w} {k} {kh} {kw} {stride}")
        elif node.type == "InnerProduct":
            outputs, inputs = blobs[0].shape
            lines.append(f"ip {node.name} {node.bottom[0].shape[0]} {inputs} {outputs}")
        elif node.type == "Region":
            n, c, h, w = node.bottom[0].shape
            gh, gw = node.layer.grid
            size = f"{gh * gw * c} {h // gh} {w // gw} {gh * gw * c}"
            k = blobs[0].shape[-1]
            region = f"conv {node.name} {gh * gw} {n} {size} {k} {k} 1"
    return lines, region


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    least = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        least = min(least, (time.perf_counter() - start) * 1e3)
    return least


def measure_speed(options: argparse.Namespace) -> dict[str, object]:
    from drml import _core
    from drml.commands.nets import synthetic_net

    _core.set_threads(options.threads)
    net = synthetic_net(NET, "TEST", options.batch)
    net.forward()
    lines, region_line = primitive_lines(net)
    region = net.layer_dict["region2"]
    program = build_onednn_times()
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    ours: list[float] = []
    ours_region: list[float] = []
    theirs: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        ours.append(milliseconds(net.forward, options.repeats))
        ours_region.append(milliseconds(region.forward, options.repeats))
        done = subprocess.run(
            [str(program), str(options.repeats)],
            input="\n".join([*lines, region_line]),
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        for line in done.stdout.splitlines():
            name, value, _ = line.split(maxsplit=2)
            theirs.setdefault(name, []).append(float(value))
    region_name = region_line.split()[1]
    own = {name: min(values) for name, values in theirs.items() if name != region_name}
    return {
        "batch": options.batch,
        "threads": options.threads,
        "rounds": options.rounds,
        "isa": _core.isa(),
        "onednn": f"{_core.onednn_version()} {_core.onednn_isa()}",
        "forward_ms": {"least": min(ours), "median": median(ours), "greatest": max(ours)},
        "onednn_ms": own,
        "onednn_sum_ms": sum(own.values()),
        "forward_ratio": min(ours) / sum(own.values()),
        "region_ms": {
            "least": min(ours_region),
            "median": median(ours_region),
            "greatest": max(ours_region),
        },
        "grouped_convolution_ms": min(theirs[region_name]),
        "region_ratio": min(ours_region) / min(theirs[region_name]),
    }


def peak_memory(threads: int, mode: str, batch: int) -> float:
    """Peak resident megabytes of a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK_MEMORY, str(NET), mode, str(batch), str(threads)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5, help="runs in a round")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    result = {"cpu": cpu_name(), **measure_speed(options)}
    result["peak_mb"] = {
        "train, batch 128": peak_memory(options.threads, "train", 128),
        "forward, batch 1": peak_memory(options.threads, "test", 1),
    }
    forward, region = result["forward_ms"], result["region_ms"]
    print(
        f"{result['cpu']}, {options.threads} threads, kernels {result['isa']}, oneDNN "
        f"{result['onednn']}; least (median, greatest) of {options.rounds} rounds"
    )
    print(
        f"forward, batch {options.batch}: {forward['least']:.1f} ms ({forward['median']:.1f}, "
        f"{forward['greatest']:.1f}); oneDNN's convolutions and inner products "
        f"{result['onednn_sum_ms']:.1f} ms; ratio {result['forward_ratio']:.2f}"
    )
    print(
        f"region layer: {region['least']:.1f} ms ({region['median']:.1f}, "
        f"{region['greatest']:.1f}); oneDNN's grouped convolution "
        f"{result['grouped_convolution_ms']:.1f} ms; ratio {result['region_ratio']:.2f}"
    )
    for what, megabytes in result["peak_mb"].items():
        print(f"peak memory, {what}: {megabytes:.0f} MB")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
