"""What the tests of `prepare` share: small trees in the layouts of BP4D, DISFA and CK+."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from drml.faces.register import MEAN_FACE
from drml.prepare.clip import Dataset
from drml.prepare.options import Options

Array = npt.NDArray[Any]
SIDE = 120
"""Of the pictures in the trees."""


def points_68(turn: float = 0.0, scale: float = 0.5, shift: float = 10.0) -> Array:
    """The 68 landmarks of the mean face, turned (degrees), scaled and shifted into a picture."""
    angle = np.deg2rad(turn)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.zeros((68, 2))
    points[[point for point in range(17, 68) if point not in (60, 64)]] = MEAN_FACE
    return (points - 100) @ rotation.T + 50 + shift


def face(number: int) -> Array:
    """A picture of smooth random colors, which JPEG keeps well: its own for each number."""
    small = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    picture: Array = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return picture


def label_of(number: int, column: int) -> int:
    """-1, 0 and 1 in turn."""
    return (number + column) % 3 - 1


def write_bp4d(
    root: Path,
    subjects: Sequence[str] = ("F001", "F002", "M001", "M002"),
    tasks: Sequence[str] = ("T1", "T2"),
    frames: int = 6,
    *,
    folder: str = "2D",
    digits: int = 4,
    ending: str = ".jpg",
    aus: Sequence[int] = (1, 2, 12),
) -> Path:
    """A tree of BP4D's layout: labels are label_of(frame - 1, column), unknown as 9."""
    coding = root / "AUCoding" / "AU_OCC"
    coding.mkdir(parents=True)
    (root / "landmarks").mkdir()
    number = 0
    for subject in subjects:
        for task in tasks:
            (root / folder / subject / task).mkdir(parents=True)
            rows = [",".join(map(str, (0, *aus)))]
            points = []
            for frame in range(1, frames + 1):
                path = root / folder / subject / task / f"{frame:0{digits}d}{ending}"
                assert cv2.imwrite(str(path), face(number))
                labels = [label_of(frame - 1, column) for column in range(len(aus))]
                rows.append(",".join(map(str, (frame, *({-1: 0, 0: 9, 1: 1}[i] for i in labels)))))
                points.append(points_68(turn=number))
                number += 1
            (coding / f"{subject}_{task}.csv").write_text("\n".join(rows) + "\n")
            np.save(root / "landmarks" / f"{subject}_{task}.npy", np.float32(points))
    return root


def write_video(path: Path, frames: Sequence[Array]) -> None:
    """A video of JPEG frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), fourcc, 20, (SIDE, SIDE))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()


def write_disfa(
    root: Path,
    subjects: Sequence[str] = ("SN001", "SN002", "SN003"),
    frames: int = 6,
    *,
    aus: Sequence[int] = (1, 12),
    video: bool = True,
) -> Path:
    """A tree of DISFA's layout: the intensity is (frame - 1 + column) modulo 6."""
    (root / "landmarks").mkdir(parents=True)
    for index, subject in enumerate(subjects):
        pictures = [face(frames * index + frame) for frame in range(frames)]
        if video:
            write_video(root / "Videos_LeftCamera" / f"LeftVideo{subject}_comp.avi", pictures)
        else:
            folder = root / "Videos_LeftCamera" / subject
            folder.mkdir(parents=True)
            for frame, picture in enumerate(pictures, 1):
                assert cv2.imwrite(str(folder / f"{frame:05d}.png"), picture)
        labels = root / "ActionUnit_Labels" / subject
        labels.mkdir(parents=True)
        for column, au in enumerate(aus):
            lines = [f"{frame},{(frame - 1 + column) % 6}\n" for frame in range(1, frames + 1)]
            (labels / f"{subject}_au{au}.txt").write_text("".join(lines))
        points = [points_68(turn=frame) for frame in range(frames)]
        np.save(root / "landmarks" / f"{subject}.npy", np.float32(points))
    return root


def write_ckplus(root: Path, subjects: Sequence[str] = ("S005", "S010", "S011")) -> Path:
    """A tree of CK+'s layout: two sequences of three frames a subject, the last one coded."""
    for index, subject in enumerate(subjects):
        for sequence in ("001", "002"):
            images = root / "cohn-kanade-images" / subject / sequence
            coding = root / "FACS" / subject / sequence
            landmarks = root / "Landmarks" / subject / sequence
            for folder in (images, coding, landmarks):
                folder.mkdir(parents=True)
            for frame in (1, 2, 3):
                stem = f"{subject}_{sequence}_{frame:08d}"
                assert cv2.imwrite(str(images / f"{stem}.png"), face(index))
            aus = "   1.0000000e+00   0.0000000e+00\n" if index % 2 else ""
            text = f"{aus}   1.2000000e+01   3.0000000e+00\n"
            (coding / f"{stem}_facs.txt").write_text(text)
            np.savetxt(landmarks / f"{stem}_landmarks.txt", points_68(turn=index), "%.7e")
    return root


def options(dataset: str, root: Path, **changed: Any) -> Options:
    """Options of a small tree: its own landmarks, its own AUs, 2 folds by seed, no sampling."""
    base = Options(
        dataset=dataset,
        root=root,
        name=dataset,
        aus=(),
        landmarks="given",
        points=root / ("Landmarks" if dataset == "ckplus" else "landmarks"),
        folds="2",
        validation=0.3,
    )
    return replace(base, **changed)


def keys(data: Dataset) -> list[str]:
    """The keys of all frames."""
    return [key for clip in data.clips for key in clip.keys]


def edit(path: Path, change: Callable[[str], str]) -> None:
    """Changes a text file."""
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
