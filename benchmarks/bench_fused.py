"""Times and weighs the authors' long form of DRML, run as one Region layer and as written.

    python benchmarks/bench_fused.py

The net is the 217 layers that tests/legacy_testing.py writes. Each round runs each form in a
process of its own, one after the other; a figure is the least of the rounds. Printed are the time
of a training iteration (forward, backward, update), that of the layers from Box to Eltwise in it,
the most memory that a process took beyond what it has before the net is built, and what is left of
it without the parameters, their gradients and the solver's velocities, which both forms have. The
last line says what the ratio of the iterations would be if the Region layer took no time at all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHILD = """
import json, resource, sys
from pathlib import Path
from drml import _core
from drml.commands.nets import synthetic_net
from drml.timing import time_net

path, fuse, batch, threads, iterations = sys.argv[1:]
_core.set_threads(int(threads))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
net = synthetic_net(Path(path), "TRAIN", int(batch), fuse=fuse == "fused")
found = time_net(net, train=True, iterations=int(iterations), trials=1, warm_up=1)
names = [layer.name for layer in found.layers]
first = names.index("box_2") if "box_2" in names else names.index("sum_2")
region = found.layers[first : names.index("sum_2") + 1]
memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
learned = 3 * sum(param.blob.nbytes for param in net.learnable) / 2**20
print(json.dumps({
    "iteration, ms": found.frame_ms * found.batch_size,
    "of it Box to Eltwise, ms": sum(l.forward_ms + (l.backward_ms or 0) for l in region),
    "memory, MB": memory,
    "of it not parameters, MB": memory - learned,
}))
"""


def write_net(folder: Path) -> Path:
    """The long form, written into a folder."""
    sys.path.insert(0, str(ROOT / "tests"))
    from legacy_testing import long_drml, long_region

    short = (ROOT / "prototxt" / "drml.prototxt").read_text()
    path = folder / "drml_long.prototxt"
    path.write_text(long_drml(short, long_region("conv1", "region2", 32, (8, 8), (20, 20))))
    return path


def measure(path: Path, form: str, args: argparse.Namespace) -> dict[str, float]:
    """The figures of one process."""
    words = [str(path), form, str(args.batch_size), str(args.threads), str(args.iterations)]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *words], check=True, stdout=subprocess.PIPE, text=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {"written": [], "fused": []}
    with tempfile.TemporaryDirectory() as folder:
        path = write_net(Path(folder))
        for _ in range(args.rounds):
            for form, found in rounds.items():
                found.append(measure(path, form, args))
    print(
        f"DRML in 217 layers, batch {args.batch_size}, {args.threads} threads, "
        f"{platform.machine()}, least of {args.rounds} rounds of {args.iterations} iterations"
    )
    print(f"{'':28}{'as written':>12}{'fused':>12}{'ratio':>8}   rounds of the ratio")
    for name in rounds["fused"][0]:
        written, fused = ([figures[name] for figures in rounds[form]] for form in rounds)
        ratios = ", ".join(f"{a / b:.2f}" for a, b in zip(written, fused, strict=True))
        least = min(written), min(fused)
        print(f"{name:28}{least[0]:12.0f}{least[1]:12.0f}{least[0] / least[1]:8.2f}   {ratios}")
    whole, region = (
        {form: min(figures[name] for figures in found) for form, found in rounds.items()}
        for name in list(rounds["fused"][0])[:2]
    )
    rest = whole["fused"] - region["fused"]
    print(
        f"all other layers take {rest:.0f} ms: at most {whole['written'] / rest:.2f} can be reached"
    )


if __name__ == "__main__":
    main()
