"""The faces of pictures and videos, found and registered one after the other, for a net to see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from drml.data.images import Pixels, decode, read_bytes
from drml.errors import DataError
from drml.faces.aligner import in_order
from drml.faces.find import Finder
from drml.faces.record import Skip
from drml.faces.register import align
from drml.faces.sources import Source
from drml.faces.video import Video

_AHEAD = 4

_Picture = tuple[Path, int, Pixels | None]
"""A picture, frame 0, to be read yet, or a video's frame, from 1."""


class FaceStream:
    """Every face of every source, by name.

    A picture's face has the picture's path for a name, a video's `clip.mp4:12` with the frame's
    number from 1; of several faces, the largest first, each name ends in `#1`, `#2` and so on.

    Args:
        sources: pictures and videos.
        finder: for any number of threads.
        size: side of the registered faces, in pixels.
        workers: threads that decode and find.
        progress: is told of every picture and frame.

    Attributes:
        skipped: pictures and frames without a face, and what could not be read, with the reason.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        finder: Finder,
        size: int,
        workers: int = 2,
        progress: Callable[[int], object] = lambda count: None,
    ) -> None:
        self.skipped: list[Skip] = []
        self._sources = sources
        self._finder = finder
        self._size = size
        self._workers = workers
        self._progress = progress

    def __iter__(self) -> Iterator[tuple[str, Pixels]]:
        """Name and face, uint8 (size, size, 3), BGR."""
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="faces")
        try:
            for path, frame, faces in in_order(
                pool, self._faces, self._pictures(), _AHEAD * self._workers
            ):
                self._progress(1)
                if isinstance(faces, str):
                    self._skip(path, frame, faces)
                    continue
                name = f"{path}:{frame}" if frame else str(path)
                for number, face in enumerate(faces, 1):
                    yield (f"{name}#{number}" if len(faces) > 1 else name), face
        finally:
            pool.shutdown(cancel_futures=True)

    def _pictures(self) -> Iterator[_Picture]:
        for source in self._sources:
            if not source.is_video:
                yield source.path, 0, None
                continue
            try:
                video = Video(source.path)
            except DataError as error:
                self._skip(source.path, 0, str(error))
                continue
            for frame, image in enumerate(video, 1):
                yield source.path, frame, image
            if video.problem:
                self._skip(source.path, 0, video.problem)

    def _faces(self, picture: _Picture) -> tuple[Path, int, list[Pixels] | str]:
        """The faces of a picture or frame, or why there are none."""
        path, frame, image = picture
        try:
            pixels = decode(read_bytes(path)) if image is None else image
            faces = [
                align(pixels, face.points49, self._size)[0] for face in self._finder.find(pixels)
            ]
        except DataError as error:
            return path, frame, str(error)
        return path, frame, faces or "no face"

    def _skip(self, path: Path, frame: int, reason: str) -> None:
        self.skipped.append(Skip(str(path), str(frame or ""), reason.removeprefix(f"{path}: ")))
