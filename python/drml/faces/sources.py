"""Where faces are looked for: pictures and videos by name, in folders and in lists."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from drml.data.images import IMAGE_SUFFIXES
from drml.data.text_list import read_lines
from drml.errors import DataError
from drml.faces.video import SUFFIXES as VIDEO_SUFFIXES
from drml.faces.video import Video

LIST_SUFFIXES = frozenset({".txt", ".lst"})

# A path, which may have blanks in it, and after it any number of labels.
_LINE = re.compile(r"(?P<path>.*?)(?P<labels>(?:\s+[+-]?\d+)*)")


@dataclass(frozen=True)
class Source:
    """A picture or a video.

    Attributes:
        path: of the file.
        name: of what is made of it, relative and without an ending: the path below the folder that
            was given, or the file's own name.
        labels: what follows the path in a list, as it stands there.
    """

    path: Path
    name: str
    labels: str = ""

    @property
    def is_video(self) -> bool:
        """Whether the file's ending is a video's."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def collect(words: Sequence[str], out: Path | None = None) -> list[Source]:
    """The pictures and videos that files, folders (with those below), lists and patterns name.

    Args:
        words: what was given; the result is in that order, and sorted in each folder.
        out: a folder that is not looked into.

    Raises:
        DataError: a name stands for nothing, a folder holds nothing, or a file is of another kind.
    """
    return [source for word in words for source in _of(word, out)]


def check_names(sources: Sequence[Source]) -> None:
    """Refuses sources of which the same would be written.

    Raises:
        DataError: names both of them.
    """
    by_name: dict[str, Source] = {}
    for source in sources:
        other = by_name.setdefault(source.name, source)
        if other is not source:
            raise DataError(f"{source.path}: would be written as {source.name}, as {other.path}")


def count_pictures(sources: Sequence[Source]) -> int | None:
    """How many pictures and frames there are; None where a video does not say."""
    count = 0
    for source in sources:
        if not source.is_video:
            count += 1
            continue
        try:
            promised = Video(source.path).promised
        except DataError:
            continue
        if not promised:
            return None
        count += promised
    return count


def _of(word: str, out: Path | None) -> list[Source]:
    path = Path(word)
    suffix = path.suffix.lower()
    if path.is_dir():
        files = sorted(_below(path, out))
        if not files:
            raise DataError(f"{path}: no picture and no video in this folder")
        return [Source(file, file.relative_to(path).with_suffix("").as_posix()) for file in files]
    if not path.exists():
        matches = sorted(glob.glob(word, recursive=True))
        if not matches:
            what = "no file matches" if glob.has_magic(word) else "no such file or folder"
            raise DataError(f"{word}: {what}")
        return collect(matches, out)
    if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        return [Source(path, path.stem)]
    if suffix in LIST_SUFFIXES:
        return list(_listed(path))
    raise DataError(f"{path}: is no picture, video or list (.txt), by its ending")


def _below(folder: Path, out: Path | None) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or (out is not None and path.resolve() == out.resolve()):
            continue
        if path.is_dir():
            yield from _below(path, out)
        elif path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            yield path


def _listed(path: Path) -> Iterator[Source]:
    """What the lines of a list name, relative to the working folder or to the list's."""
    for _, line in read_lines(path, "pictures"):
        match = _LINE.fullmatch(line)
        assert match is not None
        name, labels = (line, "") if Path(line).exists() else (match["path"], match["labels"])
        file = Path(name)
        if not file.exists() and (path.parent / name).exists():
            file = path.parent / name
        parts = [part for part in Path(name).with_suffix("").parts if part not in ("..", "/")]
        yield Source(file, "/".join(parts), labels.strip())
