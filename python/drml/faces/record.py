"""The folder that `align` fills: what is in it already, and the tables that are written at the end.

While it works, each face that was written gets a row in a journal; a run that was stopped, by
whatever, goes on after the last whole row. The tables appear when everything was looked at.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from drml.data.images import decode, is_whole, read_bytes
from drml.errors import DataError, UsageError, WeightsError
from drml.faces.landmarks import COUNT, Points
from drml.faces.sheet import contact_sheet
from drml.weights import atomic_write

LANDMARKS, SOURCE_LANDMARKS = "landmarks.csv", "source_landmarks.csv"
SKIPPED, SHEET, LIST = "skipped.csv", "contact.png", "list.txt"
_SETTINGS, _JOURNAL = "align.json", ".align.journal"
_COLUMNS = [f"{axis}_{point}" for axis in "xy" for point in range(COUNT)]
_HEADER = ["picture", "source", "frame", "score"]
_ON_SHEET = 120


@dataclass(frozen=True, eq=False)
class Row:
    """A face that was written.

    Attributes:
        picture: its file, relative to the folder.
        source: the picture or video that it is from.
        frame: its number in the video, from 1; '' of a picture.
        score: of the finder; '' where the landmarks were given.
        points, source_points: the 49 landmarks in the file and in the source, in pixels.
    """

    picture: str
    source: str
    frame: str
    score: str
    points: Points
    source_points: Points

    def cells(self, points: Points) -> list[str]:
        """The row of a table that has these of its landmarks."""
        numbers = [f"{value:.3f}" for value in points.T.reshape(-1)]
        return [self.picture, self.source, self.frame, self.score, *numbers]


@dataclass(frozen=True)
class Skip:
    """A picture or frame of which no face was written, and why; of a video as a whole, frame ''."""

    source: str
    frame: str
    reason: str

    @property
    def where(self) -> str:
        """The picture, or the video and after a colon the frame's number."""
        return f"{self.source}:{self.frame}" if self.frame else self.source


class Record:
    """What is known of a folder of aligned faces.

    Args:
        folder: is made if it does not exist.
        settings: what the faces are made by; kept in the folder.

    Raises:
        UsageError: the folder was filled by other settings, or is not one of `align`'s.
        DataError: a table in it is not as `align` wrote it.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.kept: dict[str, Row] = {}
        path = folder / _SETTINGS
        if path.exists():
            _compare(path, settings)
            self._read()
        else:
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise UsageError(f"{folder}: is there, and is no empty folder, nor one of 'align'")
            folder.mkdir(parents=True, exist_ok=True)
            content = json.dumps({"format": 1, "settings": settings}, indent=1)
            atomic_write(path, f"{content}\n".encode())

    def _read(self) -> None:
        """The rows of an earlier run whose pictures are still there."""
        tables = [_rows(self.folder / name) for name in (LANDMARKS, SOURCE_LANDMARKS)]
        others = {row[0]: row for row in tables[1]}
        lines = [[*row, *others[row[0]][4:]] for row in tables[0] if row[0] in others]
        _drop_part_of_a_line(self.folder / _JOURNAL)
        for line in [*lines, *_rows(self.folder / _JOURNAL)]:
            picture, source, frame, score = line[:4]
            try:
                numbers = np.array(line[4:], np.float32).reshape(2, 2, COUNT)
            except ValueError as error:
                raise DataError(f"{self.folder}: the row of {picture} is not 'align's") from error
            if _is_picture(self.folder / picture):
                row = Row(picture, source, frame, score, numbers[0].T, numbers[1].T)
                self.kept[picture] = row

    def add(self, row: Row) -> None:
        """Notes a face that was written.

        Raises:
            WeightsError: the journal cannot be written.
        """
        cells = [*row.cells(row.points), *row.cells(row.source_points)[4:]]
        path = self.folder / _JOURNAL
        try:
            with open(path, "a", encoding="utf-8", errors="surrogateescape", newline="") as file:
                csv.writer(file, lineterminator="\n").writerow(cells)
        except OSError as error:
            raise WeightsError(f"{path}: cannot be written: {error.strerror or error}") from error
        self.kept[row.picture] = row

    def finish(self, skipped: Sequence[Skip], labels: Iterable[tuple[str, str]]) -> None:
        """Writes the tables, the contact sheet and the list, and removes the journal.

        Args:
            skipped: what was looked at in vain.
            labels: picture and labels of those that came from a list with labels.
        """
        rows = [row for _, row in sorted(self.kept.items())]
        header = [*_HEADER, *_COLUMNS]
        self._write(LANDMARKS, [header, *(row.cells(row.points) for row in rows)])
        self._write(SOURCE_LANDMARKS, [header, *(row.cells(row.source_points) for row in rows)])
        reasons = [[skip.source, skip.frame, skip.reason] for skip in skipped]
        self._write(SKIPPED, [["source", "frame", "reason"], *reasons])
        lines = [f"{name} {text}\n" for name, text in labels if text and name in self.kept]
        if lines:
            atomic_write(self.folder / LIST, "".join(lines).encode("utf-8", "surrogateescape"))
        if rows:
            chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, _ON_SHEET).astype(int)]
            chosen = list({row.picture: row for row in chosen}.values())
            faces = [(decode(read_bytes(self.folder / row.picture)), row.points) for row in chosen]
            atomic_write(self.folder / SHEET, contact_sheet(faces))
        (self.folder / _JOURNAL).unlink(missing_ok=True)

    def _write(self, name: str, rows: Iterable[Sequence[str]]) -> None:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(rows)
        atomic_write(self.folder / name, out.getvalue().encode("utf-8", "surrogateescape"))


def _compare(path: Path, settings: dict[str, Any]) -> None:
    try:
        before = json.loads(read_bytes(path))["settings"]
        differing = [name for name in settings if before.get(name) != settings[name]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is not what 'align' writes there") from error
    if differing:
        name = differing[0]
        raise UsageError(
            f"{path.parent}: was filled with {name} {before.get(name)}, not {settings[name]}; "
            "choose another folder"
        )


def _is_picture(path: Path) -> bool:
    """Whether there is a whole image file; a power cut may leave an empty one."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return bool(data) and is_whole(data)


def _drop_part_of_a_line(path: Path) -> None:
    """Cuts off the line at which a run was stopped, which has no end."""
    if path.exists():
        with open(path, "r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _rows(path: Path) -> list[list[str]]:
    """The whole rows of a table of ours, without its header; none where there is no such file."""
    if not path.exists():
        return []
    text = read_bytes(path).decode("utf-8", "surrogateescape")
    width = len(_HEADER) + len(_COLUMNS)
    rows = csv.reader(io.StringIO(text, newline=""))
    return [row for row in rows if len(row) >= width and row[0] != _HEADER[0]]
