"""Landmarks that are given with a data set: a .npy file per video, or a file per frame."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drml.data.images import read_bytes
from drml.errors import DataError
from drml.faces.landmarks import KNOWN
from drml.prepare.options import GIVEN, Options

_COUNTS = (68, 66, 51, 49)
_FRAME_ENDINGS = (".npy", ".txt", ".pts")
# What a .pts file has around its points.
_FRAME = re.compile(r"(version|n_points)\s*:.*|[{}]", re.IGNORECASE)


def find_points(options: Options, stems: Iterable[str], frames: int, what: str) -> str | None:
    """The .npy file with the landmarks of every frame of a video; None where none are given.

    Args:
        options: with the folder of landmarks.
        stems: the file's name may begin so, in that folder.
        frames: how many frames the video has.
        what: the video, for messages.

    Raises:
        DataError: no such file, or it does not fit the frames.
    """
    path = _given(options, [f"{stem}.npy" for stem in stems], what)
    if path is not None:
        count = len(load_points(path))
        if count != frames:
            raise DataError(f"{path}: landmarks of {count} frames, but {what} has {frames}")
    return path


def find_video_points(
    options: Options, stems: Iterable[str], stated: int, coded: int, what: str
) -> str | None:
    """As `find_points`, of a video file.

    Args:
        options, stems, what: as there.
        stated: how many frames the video says it has.
        coded: up to which frame it is coded. A video that ends before that frame may have
            landmarks beyond its end.
    """
    path = _given(options, [f"{stem}.npy" for stem in stems], what)
    if path is not None:
        count = len(load_points(path))
        if count < stated or (count > stated and stated >= coded):
            raise DataError(f"{path}: landmarks of {count} frames, but {what} has {stated}")
    return path


def find_frame_points(options: Options, stems: Iterable[str], what: str) -> str | None:
    """The file with the landmarks of one picture: .npy, .pts, or text with a point a line.

    Raises:
        DataError: there is no such file.
    """
    names = [f"{stem}{ending}" for stem in stems for ending in _FRAME_ENDINGS]
    return _given(options, names, what)


def _given(options: Options, names: list[str], what: str) -> str | None:
    if options.landmarks != GIVEN:
        return None
    assert options.points is not None
    for name in names:
        path = options.points / name
        if path.is_file():
            return str(path)
    raise DataError(f"{options.points}: no landmarks of {what}; there is no {names[0]}")


def load_points(path: str) -> npt.NDArray[np.float32]:
    """Landmarks of every frame: float32 (frames, points, 2).

    Raises:
        DataError: the file cannot be read, or holds no such array.
    """
    points = _load(path)
    if points.ndim != 3 or points.shape[2] != 2 or points.shape[1] not in _COUNTS:
        raise DataError(
            f"{path}: holds an array of shape {points.shape}; landmarks are (frames, points, 2), "
            f"with {KNOWN} points"
        )
    return points


def load_frame_points(path: str) -> npt.NDArray[np.float32]:
    """Landmarks of one picture: float32 (points, 2); `drml.faces.landmarks.to_49` checks them.

    Raises:
        DataError: the file cannot be read, or a line is no point.
    """
    if path.lower().endswith(".npy"):
        return _load(path)
    text = read_bytes(path).decode("utf-8", "replace")
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or _FRAME.fullmatch(line):
            continue
        try:
            x, y = map(float, re.split(r"[,\s]+", line))
        except ValueError:
            raise DataError(f"{path}:{number}: is not a point, x and y: {line[:60]!r}") from None
        found.append((x, y))
    return np.array(found, np.float32).reshape(-1, 2)


def _load(path: str) -> npt.NDArray[np.float32]:
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float32)
    except (OSError, ValueError, EOFError) as error:
        name = os.path.basename(path)
        raise DataError(f"{path}: {name} is no .npy file that can be read: {error}") from error


def default_folder(root: Path) -> Path | None:
    """The folder `landmarks` or `Landmarks` of a data set, where it has one."""
    for name in ("landmarks", "Landmarks"):
        if (root / name).is_dir():
            return root / name
    return None
