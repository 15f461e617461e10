"""Reads what `drml prepare` wrote: registered faces, labels, landmarks and folds of a data set."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drml.data.text_list import read_lines
from drml.errors import DataError
from drml.faces.landmarks import COUNT
from drml.nearest import nearest
from drml.prepare.folds import Folds, read_folds

FORMAT = 1
"""Of the folder's files; goes up when a reader of before could not read them."""

MANIFEST = "manifest.json"
FACES = "faces.lmdb"
FRAMES = "frames.csv"
LANDMARKS = "landmarks.npy"
FOLDS = "folds.json"
EXCLUDED = "excluded.csv"
MEAN = "mean.binaryproto"
LISTS = ("train", "val", "test")
FRAME_COLUMNS = ("key", "subject", "video", "frame")


@dataclass(frozen=True)
class Fold:
    """A fold's frames.

    Attributes:
        number: from 1.
        train, val, test: keys, sorted; train may be a sample of its subjects' frames.
        folder: of the lists and the mean.
        mean: path of the mean image of the train list.
    """

    number: int
    train: list[str]
    val: list[str]
    test: list[str]
    folder: Path
    mean: Path


class Prepared:
    """A prepared folder; small files are read at once, landmarks and lists when asked for.

    Args:
        path: the folder.

    Attributes:
        path: the folder.
        manifest: of manifest.json.
        dataset: `bp4d`, `disfa`, `ckplus` or `list`.
        name: what the data set is called in tables.
        size: side of the faces, pixels.
        aus: names of the label columns.
        keys: of the frames, sorted; `subjects`, `videos` and `frames` are their parts.
        labels: (frames, AUs) int8 of -1, 0 and 1.
        faces: the LMDB's folder; a record per key.

    Raises:
        DataError: no prepared folder, not finished, or damaged.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self.manifest = self._read_manifest()
        self.dataset: str = self.manifest["dataset"]
        self.name: str = self.manifest["name"]
        self.size: int = self.manifest["size"]
        self.aus: list[str] = self.manifest["aus"]
        self.faces = self.path / FACES
        self._read_frames()

    @cached_property
    def landmarks(self) -> npt.NDArray[np.float32]:
        """The 49 landmarks of each frame in pixels of its face: (frames, 49, 2), read as needed.

        Raises:
            DataError: the file is missing or does not fit the frames.
        """
        path = self.path / LANDMARKS
        try:
            points: npt.NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        if points.shape != (len(self.keys), COUNT, 2):
            raise DataError(
                f"{path}: landmarks of shape {points.shape} for {len(self.keys)} frames"
            )
        return points

    @cached_property
    def folds(self) -> Folds:
        """Test and validation subjects of each fold."""
        return read_folds(self.path / FOLDS, self.dataset)

    def fold(self, number: int) -> Fold:
        """The frames of a fold, counted from 1.

        Raises:
            DataError: there is no such fold, or a list cannot be read.
        """
        if not 1 <= number <= len(self.folds):
            raise DataError(f"{self.path}: no fold {number}; there are {len(self.folds)}")
        folder = self.path / "folds" / str(number)
        train, val, test = (_read_keys(folder / f"{name}.txt") for name in LISTS)
        return Fold(number, train, val, test, folder, folder / MEAN)

    def rows(self, keys: Iterable[str]) -> npt.NDArray[np.int64]:
        """Where the frames of some keys stand in `keys`, `labels` and `landmarks`.

        Raises:
            DataError: a key that the folder does not hold.
        """
        rows = []
        for key in keys:
            row = self._row_of.get(key)
            if row is None:
                raise DataError(f"{self.path}: no frame '{key}'{nearest(key, self.keys)}")
            rows.append(row)
        return np.array(rows, np.int64)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}

    def _read_manifest(self) -> dict[str, Any]:
        path = self.path / MANIFEST
        if not path.is_file():
            if not self.path.is_dir():
                raise DataError(f"{self.path}: no such folder")
            raise DataError(
                f"{self.path}: is no prepared folder, or not finished: there is no {MANIFEST} in it"
            )
        try:
            manifest = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
            raise DataError(f"{path}: is not a manifest that `drml prepare` wrote")
        if manifest["format"] != FORMAT:
            raise DataError(
                f"{path}: has format {manifest['format']}; this version of drml reads {FORMAT}"
            )
        return manifest

    def _read_frames(self) -> None:
        path = self.path / FRAMES
        header = [*FRAME_COLUMNS, *(f"AU{au}" for au in self.aus)]
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.reader(file))
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        if not rows or rows[0] != header:
            raise DataError(f"{path}: its header is not {','.join(header)}")
        del rows[0]
        if len(rows) != self.manifest["counts"]["frames"]:
            raise DataError(
                f"{path}: has {len(rows)} frames, but {MANIFEST} counts "
                f"{self.manifest['counts']['frames']}"
            )
        self.keys = [row[0] for row in rows]
        self.subjects = [row[1] for row in rows]
        self.videos = [row[2] for row in rows]
        self.frames = [row[3] for row in rows]
        try:
            labels = np.array([row[len(FRAME_COLUMNS) :] for row in rows], np.int8)
        except (ValueError, OverflowError) as error:
            raise DataError(f"{path}: a label is no number, or a row is cut short") from error
        self.labels: npt.NDArray[np.int8] = labels.reshape(len(rows), len(self.aus))


def _read_keys(path: Path) -> list[str]:
    """The keys of a list, which may be empty: a fold need not validate."""
    if path.is_file() and path.stat().st_size == 0:
        return []
    return [line for _, line in read_lines(path, "keys")]
