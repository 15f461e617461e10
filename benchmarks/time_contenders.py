"""One process of the benchmark: some contenders on one net and batch, one job on standard input.

Prints JSON. No time is taken before every contender's outputs agree with ours: logits to 1e-4, in
training also every gradient to 1e-2, of the norm of each. Rounding decides which of two numbers
that are nearly equal is the greatest of a pool, so that gradients in float32 are up to 4e-3 from
those in float64, ours and PyTorch's alike. Then rounds go through the contenders in turn, so that
whatever else the machine does meets all of them alike; in its turn a
contender first runs once untimed, with its memory and threads cold from the others' work.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from contenders import CONTENDERS, LOGITS, Array, Contender, Job, peak_memory

TOLERANCE = {LOGITS: 1e-4}
GRADIENT_TOLERANCE = 1e-2
# bf16 has 8 bits: its results are looked at, and said, but need not agree as float32's.
BF16_TOLERANCE = 0.1


def difference(ours: dict[str, Array], theirs: dict[str, Array]) -> dict[str, float]:
    """For each array, the norm of the difference over our norm."""
    if ours.keys() != theirs.keys():
        raise ValueError(f"results differ in name: {sorted(ours.keys() ^ theirs.keys())}")
    found = {}
    for name, wanted in ours.items():
        got = theirs[name].reshape(wanted.shape)
        found[name] = float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))
    return found


def disagreement(differences: dict[str, float], *, bf16: bool = False) -> str:
    """The worst of what exceeds its tolerance, as `name: difference`; empty if nothing does."""
    worst = ""
    most = 1.0
    for name, value in differences.items():
        tolerance = TOLERANCE.get(name, GRADIENT_TOLERANCE)
        if bf16:
            tolerance = BF16_TOLERANCE
        # Not `>`: a difference that is no number is one too.
        if not value <= tolerance * most:
            worst, most = f"{name}: {value:.1e}", value / tolerance
    return worst


def timed(work: Callable[[], object], seconds: float, most: int) -> list[float]:
    """Milliseconds of runs after an untimed one: `most` runs, fewer when `seconds` are over."""
    work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < most and (not times or time.perf_counter() < end):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def measure(job: Job, rounds: int, seconds: float) -> dict[str, object]:
    """Times of every contender, and how far its results are from ours."""
    found: dict[str, dict[str, object]] = {name: {} for name in job.contenders}
    running: dict[str, Contender] = {}
    ours: dict[str, Array] = {}
    for name in job.contenders:
        contender = CONTENDERS[name](job)
        results = contender.results()
        if name == "drml":
            ours = results
        else:
            differences = difference(ours, results)
            found[name]["difference"] = max(differences.values())
            wrong = disagreement(differences, bf16="bf16" in name)
            if wrong:
                found[name]["disagrees"] = wrong
                continue
        running[name] = contender
    times: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(rounds):
        for name, contender in running.items():
            times[name] += timed(contender, seconds, most=20)
    for name, values in times.items():
        found[name]["ms"] = values
    return {"contenders": found}


def main() -> None:
    """Reads a job, does it, prints what was found."""
    given = json.load(sys.stdin)
    kind, rounds, seconds = given.pop("kind"), given.pop("rounds"), given.pop("seconds")
    given["weights"] = Path(given["weights"])
    given["contenders"] = tuple(given["contenders"])
    job = Job(**given)
    if kind == "memory":
        print(json.dumps({"peak_mb": peak_memory(job)}))
    else:
        print(json.dumps(measure(job, rounds, seconds)))


if __name__ == "__main__":
    main()
