"""Which file holds the given landmarks of a video, or of a picture; `drml.faces.given` reads it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from drml.errors import DataError
from drml.faces.given import SUFFIXES, find_landmarks, landmark_files, read_landmarks
from drml.faces.landmarks import Points
from drml.prepare.options import GIVEN, Options


def find_points(options: Options, stems: Iterable[str], frames: int, what: str) -> str | None:
    """The file, or the folder with a file per frame, of a video's landmarks; None where none are
    given.

    Args:
        options: with the folder of landmarks.
        stems: the file may be called so in that folder, but for its ending.
        frames: how many frames the video has.
        what: the video, for messages.

    Raises:
        DataError: there is none, it cannot be read, or it does not fit the frames.
    """
    path = _given(options, stems, what, folders=True)
    if path is not None:
        count = _count(path)
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
    path = _given(options, stems, what, folders=True)
    if path is not None:
        count = _count(path)
        if count < stated or (count > stated and stated >= coded):
            raise DataError(f"{path}: landmarks of {count} frames, but {what} has {stated}")
    return path


def find_frame_points(options: Options, stems: Iterable[str], what: str) -> str | None:
    """The file of one picture's landmarks; None where none are given.

    Raises:
        DataError: there is none.
    """
    return _given(options, stems, what, folders=False)


def _given(options: Options, stems: Iterable[str], what: str, *, folders: bool) -> str | None:
    if options.landmarks != GIVEN:
        return None
    assert options.points is not None
    tried = list(stems)
    path = find_landmarks(options.points, tried, folders=folders)
    if path is None:
        endings = ", ".join(SUFFIXES)
        raise DataError(
            f"{options.points}: no landmarks of {what}; there is no {tried[0]} ({endings})"
        )
    return str(path)


def _count(path: str) -> int:
    if Path(path).is_dir():
        return len(landmark_files(Path(path)))
    return len(load_points(path))


def load_points(path: str) -> Points:
    """The 49 landmarks of every frame, float32 (frames, 49, 2); NaN where a frame has none.

    Raises:
        DataError: the file cannot be read, or holds no landmarks.
    """
    return read_landmarks(Path(path)).points


def load_frame_points(path: str) -> Points:
    """The 49 landmarks of one picture, float32 (49, 2).

    Raises:
        DataError: as `load_points`, or it holds several pictures'.
    """
    points = load_points(path)
    if len(points) != 1:
        raise DataError(f"{path}: landmarks of {len(points)} frames, not of one")
    return np.asarray(points[0])


def default_folder(root: Path) -> Path | None:
    """The folder `landmarks` or `Landmarks` of a data set, where it has one."""
    for name in ("landmarks", "Landmarks"):
        if (root / name).is_dir():
            return root / name
    return None
