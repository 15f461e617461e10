"""Videos, read frame by frame by OpenCV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from drml.data.images import Pixels
from drml.errors import DataError

SUFFIXES = frozenset(
    {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)


class Video:
    """A video file, to be read once from its beginning.

    Attributes:
        path: of the file.
        promised: how many frames the file says that it has; 0 where it does not say.
        read: how many were read so far.

    Raises:
        DataError: there is no such file, or no frame of it can be decoded.
    """

    def __init__(self, path: Path) -> None:
        import cv2

        self.path = path
        self.read = 0
        try:
            with open(path, "rb"):
                pass
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
        with _quiet():
            self._capture = cv2.VideoCapture(str(path))
            self.promised = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            self._first = self._next()
        if self._first is None:
            self._capture.release()
            raise DataError(f"{path}: cannot be decoded as a video")

    def __iter__(self) -> Iterator[Pixels]:
        """The frames, BGR (H, W, 3), until the file ends or cannot be read on."""
        frame = self._first
        self._first = None
        try:
            while frame is not None:
                self.read += 1
                yield frame
                frame = self._next()
        finally:
            self._capture.release()

    def _next(self) -> Pixels | None:
        with _quiet():
            found, frame = self._capture.read()
        return np.asarray(frame, np.uint8) if found else None

    @property
    def problem(self) -> str | None:
        """What to say of a video that ended before the frames that it promises."""
        if self.read >= self.promised:
            return None
        return f"ends early: {self.read} of {self.promised} frames could be read"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps OpenCV and FFmpeg from writing to stderr what we say in one line."""
    import cv2

    # FFmpeg reads its own when OpenCV first opens it.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
