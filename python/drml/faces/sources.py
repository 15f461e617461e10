"""What `align` is given: pictures and videos by name, in folders and in lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from drml.data.images import IMAGE_SUFFIXES
from drml.data.text_list import read_lines
from drml.errors import DataError
from drml.faces.video import SUFFIXES as VIDEO_SUFFIXES

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
    """The pictures and videos that files, folders (with those below) and lists name, in that order.

    Args:
        words: what was given.
        out: a folder that is not looked into.

    Raises:
        DataError: a name stands for nothing, a folder holds nothing, a file is of another kind, or
            two files would be written under one name.
    """
    found: list[Source] = []
    for word in words:
        found += _of(Path(word), out)
    by_name: dict[str, Source] = {}
    for source in found:
        other = by_name.setdefault(source.name, source)
        if other is not source:
            raise DataError(f"{source.path}: would be written as {source.name}, as {other.path}")
    return found


def _of(path: Path, out: Path | None) -> list[Source]:
    suffix = path.suffix.lower()
    if path.is_dir():
        files = sorted(_below(path, out))
        if not files:
            raise DataError(f"{path}: no picture and no video in this folder")
        return [Source(file, file.relative_to(path).with_suffix("").as_posix()) for file in files]
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
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
