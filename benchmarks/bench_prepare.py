"""Times `drml prepare` from given landmarks, and how long training waits for what it wrote.

    python benchmarks/bench_prepare.py                  # openau's trees, beside the repository
    python benchmarks/bench_prepare.py --dataset disfa  # from videos

Three questions:

* What does each stage cost a frame on one core: decoding, registering, encoding, decoding what was
  encoded for the mean image, and writing? How many frames a second do two processes prepare once
  the frames are decoded, and what limits them?
* How many frames a second does the whole command prepare, with start, labels, checksums and contact
  sheets?
* How much of a training iteration of DRML at batch 32 is spent waiting for data?

A stage's figure is the least of the rounds, in CPU time, which other programs disturb little.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from openau_faces import OPENAU, check

from drml import SGDSolver, _core
from drml.data.images import Pixels, decode, encode
from drml.data.lmdb_writer import LmdbWriter
from drml.data.samples import make_record
from drml.faces.register import align
from drml.prepare.clip import Clip
from drml.prepare.job import prepare, scan
from drml.prepare.options import DISFA_AUS, GIVEN, PAPER_AUS, SAMPLING, Options
from drml.prepare.parts import Parts
from drml.prepare.points import load_points
from drml.prepare.work import prepare_clip
from drml.prepared import Prepared
from drml.text_table import align as table

ROOT = Path(__file__).resolve().parent.parent
NET = ROOT / "prototxt" / "drml.prototxt"


@dataclass(frozen=True)
class Decoded:
    """Stands for a clip's source: frames that lie in memory."""

    images: tuple[Pixels, ...]

    def read(self, wanted: Sequence[int]) -> Iterator[Pixels | str]:
        yield from (self.images[place] for place in wanted)

    def stamp(self) -> list[object]:
        return []


def given_options(dataset: str, root: Path) -> Options:
    return Options(
        dataset=dataset,
        root=root,
        name=dataset,
        aus=PAPER_AUS if dataset == "bp4d" else DISFA_AUS,
        landmarks=GIVEN,
        points=root / "landmarks",
        sampling=SAMPLING[dataset],
    )


def cpu_ms(work: Callable[[], object], frames: int, rounds: int) -> float:
    """The least CPU time of `work`, in ms per frame."""
    found = []
    for _ in range(rounds):
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return 1000 * min(found) / frames


def stages(clips: Sequence[Clip], options: Options, rounds: int) -> dict[str, float]:
    """CPU time of each stage, ms per frame, on one core."""
    images = [image for clip in clips for image in clip.source.read(clip.places)]
    points = [load_points(str(clip.points))[place] for clip in clips for place in clip.places]
    faces = [align(*pair)[0] for pair in zip(images, points, strict=True)]
    files = [encode(face, "jpg", options.quality) for face in faces]
    labels = np.concatenate([clip.labels for clip in clips])
    total = np.zeros((options.size, options.size, 3))

    def add_up() -> None:
        for file in files:
            cv2.accumulate(decode(file), total)

    def write() -> None:
        with tempfile.TemporaryDirectory() as folder, LmdbWriter(Path(folder) / "db") as writer:
            for number, (file, label) in enumerate(zip(files, labels, strict=True)):
                writer.put(b"%08d" % number, make_record(file, faces[0].shape, label))

    works: dict[str, Callable[[], object]] = {
        "decode the frame": lambda: [list(clip.source.read(clip.places)) for clip in clips],
        "register": lambda: [align(*pair) for pair in zip(images, points, strict=True)],
        "encode as JPEG": lambda: [encode(face, "jpg", options.quality) for face in faces],
        "decode again, for the mean": add_up,
        "write to the LMDB": write,
    }
    return {name: cpu_ms(work, len(images), rounds) for name, work in works.items()}


def as_one(clips: Sequence[Clip], folder: Path) -> Clip:
    """The frames of several short clips as those of one, decoded, for BP4D's have 400."""
    images = [image for clip in clips for image in clip.source.read(clip.places)]
    points = [load_points(str(clip.points))[list(clip.places)] for clip in clips]
    file = folder / f"{clips[0].name.replace('/', '_')}.npy"
    np.save(file, np.concatenate(points))
    count = len(images)
    return Clip(
        clips[0].name,
        tuple(f"{clips[0].name}/{number:05d}" for number in range(count)),
        tuple(range(count)),
        np.concatenate([clip.labels for clip in clips]),
        Decoded(tuple(images)),  # type: ignore[arg-type]
        str(file),
    )


def prepare_decoded(
    clips: Sequence[Clip],
    options: Options,
    folder: Path,
    rounds: int,
    barrier: Any,
    wall: Any,
    cpu: Any,
) -> None:
    """In a process: prepares frames that are decoded, and writes their part."""
    cv2.setNumThreads(1)
    _core.set_threads(1)
    clip = as_one(clips, folder)
    for number in range(rounds):
        parts = Parts(folder / str(number))
        parts.folder.mkdir(exist_ok=True)
        barrier.wait()
        begin, used = time.perf_counter(), time.process_time()
        parts.write(clip, prepare_clip(clip, options))
        used = time.process_time() - used
        barrier.wait()
        wall[number] = time.perf_counter() - begin
        with cpu.get_lock():
            cpu[number] += used


def decoded_rate(clips: Sequence[Clip], options: Options, rounds: int) -> tuple[float, float]:
    """Frames a second of two processes whose frames are decoded: by their CPU time, which is what
    two cores would do that had nothing else to do and no disk to wait for, and by the clock."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    wall, cpu = context.Array("d", rounds), context.Array("d", rounds)
    with tempfile.TemporaryDirectory() as name:
        processes = [
            context.Process(
                target=prepare_decoded,
                args=(clips[half::2], options, Path(name), rounds, barrier, wall, cpu),
            )
            for half in range(2)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    frames = sum(len(clip.keys) for clip in clips)
    return 2 * frames / min(cpu), frames / min(wall)


def waiting(folder: Path, iterations: int, threads: int) -> tuple[float, float]:
    """ms per iteration of DRML at batch 32 that its data layer takes, and that all takes."""
    fold = Prepared(folder).fold(1)
    text = NET.read_text()
    begin, end = text.index("layer {"), text.index("layer {", text.index("phase: TEST"))
    data = f"""layer {{ name: "data" type: "Data" top: "data" top: "label"
      transform_param {{ mirror: true crop_size: 170 mean_file: "{fold.mean}" }}
      data_param {{ source: "{folder / "faces.lmdb"}" backend: LMDB batch_size: 32 shuffle: true
        keys: "{fold.folder / "train.txt"}" }} }}
    """
    (folder / "net.prototxt").write_text(text[:begin] + data + text[end:])
    solver_file = folder / "solver.prototxt"
    solver_file.write_text(
        f'net: "{folder / "net.prototxt"}" base_lr: 0.001 lr_policy: "fixed" momentum: 0.9 '
        "random_seed: 1 snapshot_after_train: false display: 0"
    )
    spent = [0.0]
    with contextlib.redirect_stderr(io.StringIO()):
        solver = SGDSolver(solver_file, threads=threads)
        layer = solver.net.layers[0]
        real = layer.forward

        def forward() -> None:
            start = time.perf_counter()
            real()
            spent[0] += time.perf_counter() - start

        solver.step(2)
        layer.forward = forward  # type: ignore[method-assign]
        start = time.perf_counter()
        solver.step(iterations)
        whole = time.perf_counter() - start
        solver.close()
    return 1000 * spent[0] / iterations, 1000 * whole / iterations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", choices=("bp4d", "disfa"), default="bp4d")
    parser.add_argument("--openau", type=Path, default=OPENAU, help="(default: %(default)s)")
    parser.add_argument("--videos", type=int, default=40, help="of the stages (default: 40)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: 5)")
    parser.add_argument("--iterations", type=int, default=20, help="of training (default: 20)")
    args = parser.parse_args()
    check(args.openau)
    cv2.setNumThreads(1)
    options = given_options(args.dataset, args.openau / args.dataset)
    clips = scan(options).clips[: args.videos]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, {args.dataset}")

    found = stages(clips, options, args.rounds)
    rows = [[name, f"{ms:.3f}"] for name, ms in found.items()]
    print(table(["stage", "ms per frame"], rows))
    after = {name: ms for name, ms in found.items() if name != "decode the frame"}
    slowest = max(after, key=lambda name: after[name])
    print(f"once decoded: {sum(after.values()):.2f} ms of one core; the most of it: {slowest}")
    by_cpu, by_clock = decoded_rate(clips, options, args.rounds)
    print(
        f"two processes, frames decoded: {by_cpu:,.0f} frames a second by CPU time, "
        f"{by_clock:,.0f} by the clock, at a load of {os.getloadavg()[0]:.0f}"
    )

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "prepared"
        start = time.perf_counter()
        manifest, _ = prepare(folder, replace(options, folds="3"), processes=2)
        wall = time.perf_counter() - start
        frames = manifest["counts"]["frames"]
        print(f"the whole command: {frames} frames in {wall:.1f} s, {frames / wall:,.0f} a second")
        if args.dataset == "bp4d":
            data, whole = waiting(folder, args.iterations, 2)
            print(
                f"DRML at batch 32: {whole:.0f} ms an iteration, of which {data:.1f} ms wait for "
                f"data: {100 * data / whole:.2f} %"
            )
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
