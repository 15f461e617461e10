"""Times the four nets beside PyTorch, ONNX Runtime and OpenCV on the CPU.

    make bench                                     # batches 1 and 16, all threads
    make bench BENCH="--batches 1,16,64,128 --threads 1,2"
    make bench BENCH="--nets drml --modes forward --rounds 10"

Every net has the same weights and images everywhere. Before a contender is timed its logits, and in
training all gradients, must agree with ours; else a line says by how much they differ. Contenders
of a net and batch take turns in one process, each with the same number of threads. The figure is
the least of all runs; median and spread are beside it. Forward is phase TEST; training is forward,
backward and an SGD update with momentum and weight decay, dropout on.

Contenders: PyTorch with maps as planes or channels-last, as it is or by torch.compile, the region
layer as one grouped convolution or as a loop over patches; ONNX Runtime on the net that
`drml export` writes; OpenCV on the prototxt and the .caffemodel.

Columns: `drml / it`: our least time over its. `peak MB`: memory of a process of its own while it
runs, libraries and weights included, loading left out. `of peak`: multiply-adds over the machine's
most, that of a large matrix product. `of memory`: bytes that must move at least (weights once, or
in training with gradients and update; blobs written and read once) over what a copy moves.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench_report import draw_chart, profile_table, times_table
from contenders import CONTENDERS, NETS, ROOT, can_run, has_bf16, write_weights
from layer_profile import profile_layers
from machine_limits import measure_limits, work_of

from drml import _core
from drml.commands.nets import synthetic_net

MODES = ("forward", "train")
# About how long a frame takes: what the time left is guessed from until runs have been seen.
FRAME_SECONDS = {"drml": 0.03, "convnet": 0.025, "alexnet": 0.025, "lcn": 0.05}
COMPILE_SECONDS = 60.0


def names(allowed: tuple[str, ...]) -> Callable[[str], list[str]]:
    """An argument type: some of the allowed names, separated by commas."""

    def parse(text: str) -> list[str]:
        given = text.split(",")
        for name in given:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(allowed)}")
        return given

    return parse


def numbers(text: str) -> list[int]:
    """An argument type: positive numbers, separated by commas."""
    try:
        given = [int(part) for part in text.split(",")]
    except ValueError:
        given = [0]
    if min(given) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of positive numbers")
    return given


def parse_options() -> argparse.Namespace:
    """The command line."""
    cpus = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        prog="bench_cpu.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--nets", type=names(NETS), default=list(NETS))
    add("--modes", type=names(MODES), default=list(MODES))
    add("--batches", type=numbers, default=[1, 16])
    add("--threads", type=numbers, default=[cpus], help=f"default: {cpus}, all there are")
    add("--contenders", type=names(tuple(CONTENDERS)), default=list(CONTENDERS))
    add("--rounds", type=int, default=3, help="turns of each contender (default: 3)")
    add("--seconds", type=float, default=1.0, help="of a turn, at least one run (default: 1)")
    add("--no-compile", action="store_true", help="leave out torch.compile, which takes long")
    add("--no-memory", action="store_true", help="do not measure peak memory")
    add("--no-profile", action="store_true", help="do not time layer by layer")
    add("--out", type=Path, default=ROOT / "build" / "bench", help="folder of the results")
    options = parser.parse_args()
    if "drml" not in options.contenders:
        options.contenders.insert(0, "drml")
    return options


def run_job(kind: str, job: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Runs time_contenders.py with a job; what goes wrong there ends the benchmark."""
    given = {**job, "kind": kind, "rounds": options.rounds, "seconds": options.seconds}
    environment = os.environ | {"OMP_NUM_THREADS": str(job["threads"])}
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "time_contenders.py")],
        input=json.dumps(given),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def contenders_of(options: argparse.Namespace, net: str, mode: str) -> list[str]:
    """Those of the wanted contenders that can run a net."""
    return [
        name
        for name in options.contenders
        if can_run(name, net, mode)
        and not (options.no_compile and "compile" in name)
        and ("bf16" not in name or has_bf16())
    ]


def expected_seconds(options: argparse.Namespace, job: dict[str, Any]) -> float:
    """A guess of a job's time, good enough to tell what part of the whole it is."""
    run = FRAME_SECONDS[job["net"]] * job["batch"] * (3 if job["mode"] == "train" else 1)
    run *= 2 / job["threads"]
    turn = 2 * max(run, options.seconds / 2)
    count = len(job["contenders"])
    memory = 0 if options.no_memory else count * (5 + 3 * run)
    compiled = sum("compile" in name for name in job["contenders"])
    again = 1 if options.no_memory else 2
    return count * (5 + options.rounds * turn) + memory + compiled * again * COMPILE_SECONDS


def minutes(seconds: float) -> str:
    """A duration to be read while waiting."""
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def cpu_name() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def make_jobs(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Every combination that was asked for."""
    return [
        {
            "net": net,
            "mode": mode,
            "batch": batch,
            "threads": threads,
            "weights": str(folder / f"{net}.caffemodel"),
            "contenders": contenders_of(options, net, mode),
        }
        for net, mode, threads, batch in itertools.product(
            options.nets, options.modes, options.threads, options.batches
        )
    ]


def do_job(
    job: dict[str, Any], limits: dict[int, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """Times and memory of one combination."""
    row = {**job, **run_job("time", job, options)}
    if not options.no_memory:
        for name, found in row["contenders"].items():
            alone = run_job("memory", {**job, "contenders": [name]}, options)
            found["peak_mb"] = alone["peak_mb"]
    train = job["mode"] == "train"
    file = ROOT / "prototxt" / f"{job['net']}{'' if train else '_deploy'}.prototxt"
    net = synthetic_net(file, "TRAIN" if train else "TEST", job["batch"])
    # What else runs on a machine lowers its limits too; the greatest of all that is seen counts.
    limit = limits[job["threads"]]
    for name, value in asdict(measure_limits(job["threads"], runs=3)).items():
        limit[name] = max(limit[name], value)
    row.update(asdict(work_of(net, train=train)), limits=limit)
    del row["weights"]
    return row


def report(result: dict[str, Any]) -> str:
    """The whole text of a run."""
    lines = [f"{result['cpu']}; kernels {result['isa']}; {result['versions']}"]
    for threads, limits in result["limits"].items():
        lines.append(
            f"limits, {threads} thread(s): {limits['multiply_adds'] / 1e9:.1f} G multiply-adds/s, "
            f"read {limits['read'] / 1e9:.1f} GB/s, copy {limits['copy'] / 1e9:.1f} GB/s"
        )
    lines += [result["bf16"], "", times_table(result["rows"])]
    for profile in result["profiles"]:
        lines += [
            "",
            f"{profile['net']}, batch {profile['batch']}, {profile['threads']} threads, layer by "
            "layer, least of the rounds:",
            profile_table([profile]),
        ]
    return "\n".join(lines) + "\n"


def write_json(result: dict[str, Any], folder: Path) -> None:
    """All figures, those of single runs included."""
    (folder / "bench.json").write_text(json.dumps(result, indent=1) + "\n")


def versions() -> str:
    """The libraries that were compared."""
    import cv2
    import onnxruntime
    import torch

    return (
        f"oneDNN {_core.onednn_version()} {_core.onednn_isa()}, torch {torch.__version__}, "
        f"onnxruntime {onnxruntime.__version__}, opencv {cv2.__version__}"
    )


def main() -> None:
    """Measures, and writes the table, the chart and all figures as JSON."""
    options = parse_options()
    options.out.mkdir(parents=True, exist_ok=True)
    bf16 = (
        "bf16: timed by autocast" if has_bf16() else "bf16: this machine has no such instructions"
    )
    result: dict[str, Any] = {
        "cpu": cpu_name(),
        "isa": _core.isa(),
        "versions": versions(),
        "bf16": bf16,
        "limits": {threads: asdict(measure_limits(threads)) for threads in options.threads},
        "rows": [],
        "profiles": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        jobs = make_jobs(options, Path(folder))
        left = sum(expected_seconds(options, job) for job in jobs)
        print(f"{len(jobs)} combinations, about {minutes(left)}", flush=True)
        for net in options.nets:
            write_weights(net, Path(folder) / f"{net}.caffemodel")
        start, done = time.perf_counter(), 0.0
        for number, job in enumerate(jobs, 1):
            result["rows"].append(do_job(job, result["limits"], options))
            expected = expected_seconds(options, job)
            done, left = done + expected, left - expected
            rest = left * (time.perf_counter() - start) / done
            # A run that is stopped leaves what it has found.
            write_json(result, options.out)
            print(times_table(result["rows"][-1:]))
            print(f"{number}/{len(jobs)} done; about {minutes(rest)} left", flush=True)
    if not options.no_profile:
        batch, threads = options.batches[-1], options.threads[-1]
        for net in options.nets:
            layers = profile_layers(net, batch, threads, options.rounds)
            result["profiles"].append(
                {
                    "net": net,
                    "batch": batch,
                    "threads": threads,
                    "limits": result["limits"][threads],
                    "layers": [asdict(layer) for layer in layers],
                }
            )
    text = report(result)
    print("\n" + text)
    (options.out / "bench.txt").write_text(text)
    write_json(result, options.out)
    draw_chart(result["rows"], options.out / "bench.png", f"{result['cpu']}\n{result['versions']}")
    print(f"written: {options.out}/bench.txt, bench.json, bench.png")


if __name__ == "__main__":
    main()
