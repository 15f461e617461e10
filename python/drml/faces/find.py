"""Finders: where the faces of a picture are, with their 68 landmarks.

`mediapipe` runs MediaPipe's two networks by OpenCV and needs their file only; `dlib` needs two
packages. docs/faces.md compares them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from drml.data.images import Pixels
from drml.errors import UsageError
from drml.faces.landmarks import Points, to_49
from drml.nearest import nearest as nearest_name

AUTO = "auto"


@dataclass(frozen=True, eq=False)
class Face:
    """A face of a picture.

    Attributes:
        points: the common 68-point mark-up in pixels of the picture, (68, 2) float32.
        score: of the detector, the more the surer; its scale is the finder's own.
    """

    points: Points
    score: float

    @property
    def points49(self) -> Points:
        """The 49 points of the paper, (49, 2)."""
        return to_49(self.points, "face")

    @property
    def center(self) -> Points:
        """The middle of the landmarks' bounding box, (x, y)."""
        middle: Points = (self.points.min(axis=0) + self.points.max(axis=0)) / 2
        return middle

    @property
    def size(self) -> float:
        """The longer side of the landmarks' bounding box, in pixels."""
        return float((self.points.max(axis=0) - self.points.min(axis=0)).max())


class Finder(Protocol):
    """Finds faces. One thread at a time may use it."""

    name: str

    def find(self, image: Pixels) -> list[Face]:
        """The faces of a BGR picture (H, W, 3), the largest first; none is an empty list."""
        ...


def _mediapipe() -> Finder:
    from drml.faces.mediapipe_finder import MediapipeFinder

    return MediapipeFinder()


def _dlib() -> Finder:
    from drml.faces.dlib_finder import DlibFinder

    return DlibFinder()


FINDERS: dict[str, Callable[[], Finder]] = {"mediapipe": _mediapipe, "dlib": _dlib}
"""Name of a finder -> what opens it, the better one first."""


class NotInstalledError(UsageError):
    """A finder's packages or files are not there; the message names the command that gets them."""


def open_finder(name: str = AUTO) -> Finder:
    """The finder of that name; `auto` is the first of FINDERS that is installed.

    Raises:
        UsageError: there is no finder of that name.
        NotInstalledError: what it needs is not installed.
    """
    if name != AUTO:
        if name not in FINDERS:
            hint = nearest_name(name, FINDERS) or f"; known are {', '.join(FINDERS)}"
            raise UsageError(f"unknown finder of faces '{name}'{hint}")
        return FINDERS[name]()
    missing = []
    for opener in FINDERS.values():
        try:
            return opener()
        except NotInstalledError as error:
            missing.append(str(error))
    raise NotInstalledError("no finder of faces is installed: " + "; or: ".join(missing))


class PerThread:
    """A finder that any number of threads may use: each opens its own at its first picture.

    Args:
        name: of the finder, as `open_finder` takes it.

    Raises:
        NotInstalledError: what it needs is not installed.
    """

    def __init__(self, name: str = AUTO) -> None:
        first = open_finder(name)
        self.name: str = first.name
        self._unused = [first]
        self._own = threading.local()

    def find(self, image: Pixels) -> list[Face]:
        """The faces of a BGR picture (H, W, 3), the largest first."""
        finder: Finder | None = getattr(self._own, "finder", None)
        if finder is None:
            try:
                finder = self._unused.pop()
            except IndexError:
                finder = open_finder(self.name)
            self._own.finder = finder
        return finder.find(image)


def distinct(faces: Sequence[Face]) -> list[Face]:
    """The faces, the largest first, each once: of two in one place the surer one is kept."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(
            np.linalg.norm(face.center - other.center) > 0.4 * min(face.size, other.size)
            for other in kept
        ):
            kept.append(face)
    return sorted(kept, key=lambda face: -face.size)


def nearest(candidates: Sequence[Points], points: Points) -> int:
    """Which of the candidates, each (n, 2), lies nearest to `points` by the mean distance."""
    return int(np.argmin([np.linalg.norm(c - points, axis=1).mean() for c in candidates]))
