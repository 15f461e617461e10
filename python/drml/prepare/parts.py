"""Finished clips, a file each, from which an interrupted run goes on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from drml.data.images import read_bytes
from drml.errors import DataError
from drml.faces.given import landmark_files
from drml.prepare.clip import Clip
from drml.weights import atomic_write

_OPTIONS = "options.json"


@dataclass
class Part:
    """What was made of a clip.

    Attributes:
        rows: which of the clip's frames were kept, rising.
        images: a JPEG file of each kept frame's registered face.
        landmarks: float32 (kept, 49, 2), pixels of the faces.
        total: uint32 (size, size, 3): the sum of the sampled faces, as the JPEG files have them.
        excluded: (key, reason) of the frames that were not.
    """

    rows: list[int]
    images: list[bytes]
    landmarks: npt.NDArray[np.float32]
    total: npt.NDArray[np.uint32]
    excluded: list[tuple[str, str]]


class Parts:
    """The folder of the finished clips.

    Args:
        folder: it is made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def options(self) -> dict[str, str] | None:
        """The options that the parts were made with; None where there are no parts.

        Raises:
            DataError: they cannot be read.
        """
        path = self.folder / _OPTIONS
        if not path.is_file():
            return None
        try:
            words: dict[str, str] = json.loads(read_bytes(path))
        except ValueError as error:
            raise DataError(f"{path}: is damaged: {error}") from error
        return words

    def begin(self, words: dict[str, str]) -> None:
        """Makes the folder and notes the options.

        Raises:
            DataError: the folder cannot be made.
            WeightsError: the disk is full.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.folder}: cannot be made: {error.strerror}") from error
        atomic_write(self.folder / _OPTIONS, json.dumps(words, indent=1).encode())

    def has(self, clip: Clip) -> bool:
        """Whether the clip is finished, and its labels and files are what they were then."""
        try:
            with np.load(self._path(clip), allow_pickle=False) as file:
                return bool(str(file["stamp"]) == stamp(clip))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return False

    def write(self, clip: Clip, part: Part) -> None:
        """Writes a part, whole or not at all.

        Raises:
            WeightsError: it cannot be written, for example because the disk is full.
        """
        arrays: dict[str, Any] = {
            "stamp": np.array(stamp(clip)),
            "rows": np.array(part.rows, np.int64),
            "sizes": np.array([len(image) for image in part.images], np.int64),
            "images": np.frombuffer(b"".join(part.images), np.uint8),
            "landmarks": part.landmarks,
            "total": part.total,
            "excluded": np.array(json.dumps(part.excluded)),
        }
        atomic_write(self._path(clip), lambda file: np.savez(file, **arrays))

    def read(self, clip: Clip) -> Part:
        """The part of a finished clip.

        Raises:
            DataError: it is gone or damaged.
        """
        path = self._path(clip)
        try:
            with np.load(path, allow_pickle=False) as file:
                ends = np.cumsum(file["sizes"]).tolist()
                data = file["images"].tobytes()
                images = [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]
                excluded = [(key, reason) for key, reason in json.loads(str(file["excluded"]))]
                return Part(
                    file["rows"].tolist(), images, file["landmarks"], file["total"], excluded
                )
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: is damaged; delete it and run again: {error}") from error

    def remove(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, clip: Clip) -> Path:
        return self.folder / f"{quote(clip.name, safe='')}.npz"


def _files(path: str) -> list[Path]:
    return landmark_files(Path(path)) if os.path.isdir(path) else [Path(path)]


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


def stamp(clip: Clip) -> str:
    """A digest of all that a clip's part is made from but the pixels of its images."""
    digest = hashlib.sha256()
    given = [clip.points] if isinstance(clip.points, str) else clip.points or []
    files = [_stamp(file) for path in given for file in _files(path)]
    about = [clip.name, clip.keys, clip.places, clip.source.stamp(), files]
    digest.update(json.dumps(about).encode("utf-8", "surrogateescape"))
    digest.update(clip.labels.tobytes())
    return digest.hexdigest()
