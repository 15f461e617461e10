"""Prepares one clip: reads its frames, registers the faces and stores them as JPEG files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from drml.data.images import Pixels, decode, encode, resize
from drml.errors import DataError
from drml.faces.find import Finder
from drml.faces.landmarks import COUNT, Points
from drml.faces.register import align
from drml.prepare.clip import Clip
from drml.prepare.options import GIVEN, NONE, Options
from drml.prepare.parts import Part
from drml.prepare.points import load_frame_points, load_points
from drml.prepare.sampling import sample


class StoppedError(Exception):
    """The work was stopped before its end."""


def prepare_clip(
    clip: Clip,
    options: Options,
    finder: Finder | None = None,
    advance: Callable[[], bool] = lambda: True,
) -> Part:
    """Makes the part of a clip.

    Frames that cannot be used are left out with the reason; the clip as a whole is not given up.

    Args:
        clip: the clip.
        options: how.
        finder: of landmarks that are not given.
        advance: called after each frame; False stops.

    Raises:
        DataError: no frame of a video can be decoded, or landmarks do not fit the frames.
        StoppedError: `advance` said so.
    """
    faces = _Faces(clip, options, finder)
    chosen = sample(clip, options.sampling, options.seed)
    # Sums of whole numbers, which float32 holds exactly below 2^24, at half the cost of float64.
    exact = np.float32 if 255 * len(clip.keys) < 2**24 else np.float64
    total: npt.NDArray[Any] = np.zeros((options.size, options.size, 3), exact)
    part = Part([], [], np.empty((0, COUNT, 2), np.float32), np.empty(0, np.uint32), [])
    landmarks: list[Points] = []
    row = -1
    for row, image in enumerate(clip.source.read(clip.places)):
        try:
            if isinstance(image, str):
                raise DataError(image)
            face, points = faces.register(row, image)
        except DataError as error:
            part.excluded.append((clip.keys[row], str(error)))
        else:
            part.rows.append(row)
            part.images.append(encode(face, "jpg", options.quality))
            landmarks.append(points)
            if chosen[row]:
                # What a net will read, for JPEG changes the face a little.
                _add(decode(part.images[-1]), total)
        if not advance():
            raise StoppedError
    for key in clip.keys[row + 1 :]:
        part.excluded.append((key, "the video ends before it"))
    faces.check_end(row + 1)
    if landmarks:
        part.landmarks = np.stack(landmarks)
    part.total = total.astype(np.uint32)
    return part


class _Faces:
    """Registers the frames of a clip, with landmarks from where the options say."""

    def __init__(self, clip: Clip, options: Options, finder: Finder | None) -> None:
        self._clip = clip
        self._options = options
        self._finder = finder
        self._points: npt.NDArray[np.float32] | None = None
        if isinstance(clip.points, str):
            self._points = load_points(clip.points)

    def register(self, row: int, image: Pixels) -> tuple[Pixels, Points]:
        """The registered face of the clip's frame `row`, and its landmarks.

        Raises:
            DataError: why there is none.
        """
        size = self._options.size
        if self._options.landmarks == NONE:
            if image.shape[:2] != (size, size):
                image = resize(image, (size, size))
            return image, np.full((COUNT, 2), np.nan, np.float32)
        return align(image, self._landmarks(row, image), size, fit=self._options.fit)

    def check_end(self, read: int) -> None:
        """Refuses landmarks that are fewer than the frames that were read of a video."""
        places = self._clip.places
        if self._points is None or not read or places[read - 1] < len(self._points):
            return
        raise DataError(
            f"{self._clip.points}: landmarks of {len(self._points)} frames, but "
            f"{self._clip.source} has {places[read - 1] + 1} or more"
        )

    def _landmarks(self, row: int, image: Pixels) -> Points:
        if self._options.landmarks == GIVEN:
            if self._points is not None:
                place = self._clip.places[row]
                if place >= len(self._points):
                    raise DataError("no landmarks")
                points = self._points[place]
            else:
                assert isinstance(self._clip.points, tuple)
                points = load_frame_points(self._clip.points[row])
            if not np.isfinite(points).all():
                raise DataError("no landmarks")
            return np.asarray(points)
        assert self._finder is not None
        found = self._finder.find(image)
        if len(found) != 1:
            raise DataError(f"{len(found)} faces found" if found else "no face found")
        return found[0].points49


def _add(face: Pixels, total: npt.NDArray[Any]) -> None:
    import cv2

    cv2.accumulate(face, total)
