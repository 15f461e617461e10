"""Which of the landmarks that come with the data belong to a picture or a video's frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from drml.errors import DataError
from drml.faces.given import Given, find_landmarks, read_landmarks
from drml.faces.landmarks import Points
from drml.faces.sources import Source


class Lookup:
    """Landmarks that were given for sources.

    Args:
        path: of a file that has a frame for each picture, by the pictures' names where it holds
            them, else in their order; or has the frames of the one video. Or of a folder with a
            file, or a folder of frames, for each source: of its name but for the ending.
        sources: what they are for.

    Raises:
        DataError: they cannot be read, or are not as many as the pictures.
    """

    def __init__(self, path: Path, sources: Sequence[Source]) -> None:
        self._folder = path if path.is_dir() else None
        self._frames: dict[Source, Given] = {}
        self._pictures: dict[Source, Points] = {}
        if self._folder is not None:
            return
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        given = read_landmarks(path)
        if len(sources) == 1 and sources[0].is_video:
            self._frames[sources[0]] = given
        elif given.names is not None:
            named = dict(zip(given.names, given.points, strict=True))
            stems = {Path(name).with_suffix("").as_posix(): named[name] for name in named}
            for source in sources:
                points = named.get(str(source.path), stems.get(source.name))
                if points is not None:
                    self._pictures[source] = points
        elif len(given.points) == len(sources):
            self._pictures = dict(zip(sources, given.points, strict=True))
        else:
            raise DataError(
                f"{path}: landmarks of {len(given.points)} frames, for {len(sources)} files; give "
                "as many, or their names in a column 'picture'"
            )

    def of(self, source: Source, frame: int) -> Points | None:
        """The 49 points of a picture, (49, 2), or of a video's frame, from 1; None if not given.

        Raises:
            DataError: the source's file cannot be read.
        """
        if source in self._pictures:
            points = self._pictures[source]
        else:
            given = self._given(source)
            index = frame - 1 if source.is_video else 0
            if given is None or index >= len(given.points):
                return None
            points = given.points[index]
        return None if np.isnan(points).any() else points

    def _given(self, source: Source) -> Given | None:
        if source not in self._frames:
            path = self._file(source)
            if path is None:
                return None
            given = read_landmarks(path)
            if not source.is_video and len(given.points) != 1:
                raise DataError(f"{path}: landmarks of {len(given.points)} frames, for one picture")
            self._frames[source] = given
        return self._frames[source]

    def _file(self, source: Source) -> Path | None:
        """What holds a source's landmarks: of its path below the folder, or of its name alone."""
        if self._folder is None:
            return None
        names = (source.name, source.path.stem)
        return find_landmarks(self._folder, names, folders=source.is_video)
