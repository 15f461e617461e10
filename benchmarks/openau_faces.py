"""What the benchmarks of faces share: openau's frames and the landmarks that come with them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drml.data.images import Pixels, decode, read_bytes
from drml.faces.landmarks import Points
from drml.faces.video import Video

OPENAU = Path(__file__).resolve().parents[2] / "shared" / "openau"
TREES = ("bp4d", "disfa")


class Frame(NamedTuple):
    """A frame: whose it is, its picture, and its 68 given landmarks in pixels."""

    subject: str
    picture: Pixels
    points: Points


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds --openau and --step."""
    parser.add_argument("--openau", type=Path, default=OPENAU, help="(default: %(default)s)")
    parser.add_argument(
        "--step", type=int, default=1, help="look at every n-th video only (default: 1)"
    )


def check(folder: Path) -> None:
    """Ends the program where openau is not at hand."""
    if not folder.is_dir():
        sys.exit(f"no openau at {folder}; it is not part of the repository, --openau says where")


def landmark_files(folder: Path, tree: str, step: int = 1) -> list[Path]:
    """The .npy files of a tree, (frames, 68, 2) each, one per video."""
    return sorted((folder / tree / "landmarks").glob("*.npy"))[::step]


def frames(folder: Path, tree: str, step: int = 1) -> Iterator[Frame]:
    """Every frame of a tree, BP4D's of pictures or DISFA's of videos."""
    for file in landmark_files(folder, tree, step):
        points = np.load(file).astype(np.float32)
        if tree == "bp4d":
            subject, task = file.stem.split("_")
            files = sorted((folder / tree / "2D" / subject / task).iterdir())
            pictures: Iterator[Pixels] = (decode(read_bytes(path)) for path in files)
        else:
            subject = file.stem
            name = f"LeftVideo{subject}_comp.avi"
            pictures = iter(Video(folder / tree / "Videos_LeftCamera" / name))
        for picture, row in zip(pictures, points, strict=True):
            yield Frame(subject, picture, row)
