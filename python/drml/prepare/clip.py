"""What a data set is made of here: clips, which are videos or folders of frames with labels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drml.data.images import IMAGE_SUFFIXES, Channels, Pixels, decode, read_bytes
from drml.errors import DataError
from drml.faces.video import Video

Labels = npt.NDArray[np.int8]
_NUMBER = re.compile(r"(\d{1,9})\.[A-Za-z]+$")
_LONGEST_KEY = 511


@dataclass(frozen=True)
class ImageFiles:
    """Frames that are image files, in their order."""

    paths: tuple[str, ...]

    def read(self, wanted: Sequence[int]) -> Iterator[Pixels | str]:
        """The wanted frames, places from 0 in rising order; why not, where one cannot be read."""
        for place in wanted:
            try:
                yield decode(read_bytes(self.paths[place]), Channels.COLOR)
            except DataError as error:
                yield str(error).removeprefix(f"{self.paths[place]}: ")

    def stamp(self) -> list[object]:
        """What changes when the frames do, short of reading them."""
        return [list(self.paths)]

    def __str__(self) -> str:
        return os.path.dirname(self.paths[0])


@dataclass(frozen=True)
class VideoFile:
    """Frames of a video file."""

    path: str

    def read(self, wanted: Sequence[int]) -> Iterator[Pixels | str]:
        """As ImageFiles; a video that ends early gives what it has.

        Raises:
            DataError: its first frame cannot be decoded.
        """
        left = iter(wanted)
        place = next(left, None)
        for number, frame in enumerate(Video(Path(self.path))):
            if number == place:
                yield frame
                place = next(left, None)
            if place is None:
                break

    def stamp(self) -> list[object]:
        """As ImageFiles."""
        status = os.stat(self.path)
        return [self.path, status.st_size, status.st_mtime_ns]

    def __str__(self) -> str:
        return self.path


Source = ImageFiles | VideoFile


@dataclass(frozen=True)
class Clip:
    """The coded frames of a subject's video, which one process prepares in one go.

    Attributes:
        name: `SUBJECT/VIDEO`, or `SUBJECT` where each of its videos has a frame or two.
        keys: `SUBJECT/VIDEO/FRAME` of each frame, sorted.
        places: which frame of the source each is, rising.
        labels: (frames, AUs) of -1, 0 and 1.
        source: of the frames.
        points: a file with the landmarks of every frame of the source; or one file per frame; None
            where landmarks are not given.
    """

    name: str
    keys: tuple[str, ...]
    places: tuple[int, ...]
    labels: Labels
    source: Source
    points: str | tuple[str, ...] | None = None

    @property
    def subject(self) -> str:
        """Whose frames they are."""
        return self.name.partition("/")[0]


@dataclass
class Dataset:
    """What was found in a data set's folder.

    Attributes:
        dataset: `bp4d`, `disfa`, `ckplus` or `list`.
        aus: names of the label columns.
        clips: in the order of their keys.
        excluded: (key, reason) of coded frames that cannot be used, such as for want of an image.
        notes: what a user should know of, a line each.
    """

    dataset: str
    aus: list[str]
    clips: list[Clip]
    excluded: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def subjects(self) -> list[str]:
        """Everyone, sorted."""
        return sorted({clip.subject for clip in self.clips})


def walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder below `root` with the names of its files, sorted; hidden ones are left out.

    Raises:
        DataError: the root is no folder, or a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: {error.strerror}") from error

    if not root.is_dir():
        raise DataError(f"{root}: {'is not a folder' if root.exists() else 'no such folder'}")
    for folder, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield folder, sorted(name for name in files if not name.startswith("."))


def is_image(name: str) -> bool:
    """Whether a file's ending is an image's."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def numbered_images(folder: str, files: Iterable[str]) -> dict[int, str]:
    """The number that ends an image's name -> its path, in the order of the numbers.

    Raises:
        DataError: two images have one number.
    """
    images: dict[int, str] = {}
    for file in files:
        number = _NUMBER.search(file)
        if number is None or not is_image(file):
            continue
        path = os.path.join(folder, file)
        other = images.setdefault(int(number[1]), path)
        if other != path:
            raise DataError(f"{path}: has the same number as {os.path.basename(other)}")
    return dict(sorted(images.items()))


def in_order(clips: Iterable[Clip]) -> list[Clip]:
    """Clips in the order of their keys, as a data base sorts them.

    Raises:
        DataError: a key that no data base can hold, or one that two frames have.
    """
    ordered = sorted(clips, key=lambda clip: clip.keys[0])
    last = ""
    for clip in ordered:
        for key in clip.keys:
            try:
                size = len(key.encode())
            except UnicodeEncodeError as error:
                raise DataError(f"{clip.source}: the name {key!r} is not valid text") from error
            if size > _LONGEST_KEY:
                raise DataError(
                    f"{clip.source}: the key {key!r} has more than {_LONGEST_KEY} bytes"
                )
            if key == last:
                raise DataError(f"{clip.source}: two frames would have the key {key}")
            last = key
    return ordered
