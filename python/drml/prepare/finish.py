"""Joins finished clips into the prepared folder; `drml.prepared` reads it."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from drml.data.labels import LabelCounts
from drml.data.lmdb_writer import LmdbWriter
from drml.data.samples import make_record
from drml.errors import DataError
from drml.faces.landmarks import Points
from drml.prepare.clip import Clip, Dataset
from drml.prepare.contact_sheet import Face, contact_sheet, spread
from drml.prepare.folds import Folds, check_lists
from drml.prepare.options import Options
from drml.prepare.parts import Parts
from drml.prepare.sampling import sample
from drml.prepared import (
    EXCLUDED,
    FACES,
    FOLDS,
    FORMAT,
    FRAME_COLUMNS,
    FRAMES,
    LANDMARKS,
    LISTS,
    MANIFEST,
    MEAN,
)
from drml.weights import atomic_write, write_mean

CONTACT = "contact"
PARTS = "parts"


@dataclass
class _Subject:
    """A subject's frames that were kept.

    Attributes:
        name: the subject.
        keys, labels, landmarks, sampled: of the frames.
        total: sum of the sampled faces, uint32 (size, size, 3).
    """

    name: str
    keys: list[str]
    labels: npt.NDArray[np.int8]
    landmarks: Points
    sampled: npt.NDArray[np.bool_]
    total: npt.NDArray[np.uint32]


def finish(
    out: Path,
    data: Dataset,
    options: Options,
    folds: Folds,
    parts: Parts,
    threads: int,
    progress: Callable[[int], object],
) -> dict[str, Any]:
    """Writes everything but the parts; the manifest comes last.

    Args:
        out: the folder.
        data: whose clips are all finished.
        options, folds: how.
        parts: of the clips.
        threads: that draw contact sheets.
        progress: called with a number of frames that are written.

    Returns:
        The manifest.

    Raises:
        DrmlError: no frame was kept, a fold has none, or the files cannot be written.
    """
    _remove_leftovers(out)
    excluded = list(data.excluded)
    kept = _write_faces(out, data, options, parts, excluded, threads, progress)
    keys = [key for item in kept for key in item.keys]
    labels = np.concatenate([item.labels for item in kept])
    _write_frames(out / FRAMES, data.aus, keys, labels)
    points = np.concatenate([item.landmarks for item in kept])
    atomic_write(out / LANDMARKS, lambda file: np.save(file, points))
    _write_table(out / EXCLUDED, ["key", "reason"], sorted(excluded))
    _write_json(out / FOLDS, folds.to_json())
    counts_of_folds = [
        _write_fold(out, fold, folds, kept, options) for fold in range(1, len(folds) + 1)
    ]
    manifest = {
        "format": FORMAT,
        "dataset": options.dataset,
        "name": options.name,
        "size": options.size,
        "aus": data.aus,
        "counts": _counts(data.aus, kept, labels, excluded),
        "folds": counts_of_folds,
        "notes": data.notes,
        "options": options.words(),
        "versions": _versions(),
        "sha256": _digests(out),
    }
    _write_json(out / MANIFEST, manifest)
    return manifest


def _remove_leftovers(out: Path) -> None:
    """Removes what a run that was killed had not finished writing."""
    for path in out.glob(".*"):
        if path.suffix == ".part":
            path.unlink(missing_ok=True)
        elif path.suffix in (".tmp", ".old") and path.name.startswith(f".{FACES}."):
            shutil.rmtree(path, ignore_errors=True)


def _write_faces(
    out: Path,
    data: Dataset,
    options: Options,
    parts: Parts,
    excluded: list[tuple[str, str]],
    threads: int,
    progress: Callable[[int], object],
) -> list[_Subject]:
    """Writes the LMDB and the contact sheets; adds to `excluded`."""
    kept = []
    _make_anew(out / CONTACT)
    with LmdbWriter(out / FACES, force=True) as writer, ThreadPoolExecutor(threads) as pool:
        sheets = []
        for name, clips in itertools.groupby(data.clips, lambda clip: clip.subject):
            subject, images = _write_subject(
                name, clips, options, parts, writer, excluded, progress
            )
            if subject is not None:
                kept.append(subject)
                faces = [
                    Face(images[i], subject.landmarks[i], subject.keys[i], subject.labels[i])
                    for i in spread(len(images)).tolist()
                ]
                path = out / CONTACT / f"{quote(name)}.png"
                sheets.append(pool.submit(_draw, path, faces, data.aus))
        for sheet in sheets:
            sheet.result()
        if not kept:
            reason = excluded[0][1]
            raise DataError(f"{options.root}: no frame is left; of the first, {reason}")
    return kept


def _draw(path: Path, faces: Sequence[Face], aus: Sequence[str]) -> None:
    atomic_write(path, contact_sheet(faces, aus))


def _write_subject(
    name: str,
    clips: Iterable[Clip],
    options: Options,
    parts: Parts,
    writer: LmdbWriter,
    excluded: list[tuple[str, str]],
    progress: Callable[[int], object],
) -> tuple[_Subject | None, list[bytes]]:
    """Puts a subject's faces into the LMDB; gives what was kept, and the faces' JPEG files."""
    shape = (options.size, options.size, 3)
    keys: list[str] = []
    images: list[bytes] = []
    labels, landmarks, sampled = [], [], []
    total = np.zeros(shape, np.uint32)
    for clip in clips:
        part = parts.read(clip)
        excluded += part.excluded
        keys += [clip.keys[row] for row in part.rows]
        images += part.images
        labels.append(clip.labels[part.rows])
        landmarks.append(part.landmarks)
        sampled.append(sample(clip, options.sampling, options.seed)[part.rows])
        total += part.total
        progress(len(clip.keys))
    if not keys:
        return None, []
    subject = _Subject(
        name,
        keys,
        np.concatenate(labels),
        np.concatenate(landmarks),
        np.concatenate(sampled),
        total,
    )
    for key, image, label in zip(keys, images, subject.labels, strict=True):
        writer.put(key.encode(), make_record(image, shape, label))
    return subject, images


def _make_anew(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made: {error.strerror}") from error


def _write_frames(
    path: Path, aus: Sequence[str], keys: Sequence[str], labels: npt.NDArray[np.int8]
) -> None:
    rows = (
        [key, *key.split("/"), *values] for key, values in zip(keys, labels.tolist(), strict=True)
    )
    _write_table(path, [*FRAME_COLUMNS, *(f"AU{au}" for au in aus)], rows)


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    atomic_write(path, text.getvalue().encode())


def _write_json(path: Path, content: object) -> None:
    atomic_write(path, f"{json.dumps(content, indent=1)}\n".encode())


def _write_fold(
    out: Path, fold: int, folds: Folds, kept: Sequence[_Subject], options: Options
) -> dict[str, Any]:
    """Writes the lists and the mean of a fold; how many frames and subjects each list has."""
    test, validation = set(folds.test[fold - 1]), set(folds.validation[fold - 1])
    lists: dict[str, list[str]] = {name: [] for name in LISTS}
    available = dict.fromkeys(LISTS, 0)
    total = np.zeros((options.size, options.size, 3))
    for item in kept:
        name = "test" if item.name in test else "val" if item.name in validation else "train"
        whole = name != "train" and not options.sample_test
        lists[name] += [
            key for key, drawn in zip(item.keys, item.sampled, strict=True) if whole or drawn
        ]
        available[name] += len(item.keys)
        if name == "train":
            total += item.total
    # Of the frames themselves, whatever the code above took them for.
    subjects = {name: sorted({key.partition("/")[0] for key in lists[name]}) for name in LISTS}
    check_lists(subjects, fold)
    for name in ("train", "test"):
        if not lists[name]:
            raise DataError(f"fold {fold}: no frame of its {name} subjects is left")
    folder = out / "folds" / str(fold)
    _make_anew(folder)
    for name, keys in lists.items():
        atomic_write(folder / f"{name}.txt", "".join(f"{key}\n" for key in keys).encode())
    mean = (total / len(lists["train"])).transpose(2, 0, 1).astype(np.float32)
    write_mean(folder / MEAN, mean)
    return {
        name: {
            "frames": len(lists[name]),
            "of": available[name],
            "subjects": len(subjects[name]),
        }
        for name in LISTS
    }


def _counts(
    aus: Sequence[str],
    kept: Sequence[_Subject],
    labels: npt.NDArray[np.int8],
    excluded: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    per_au = {
        au: {"positives": positives, "negatives": negatives, "unknown": unknown}
        for au, (_, positives, negatives, unknown) in zip(
            aus, LabelCounts.of(labels).rows(), strict=True
        )
    }
    videos = {key.rpartition("/")[0] for item in kept for key in item.keys}
    return {
        "frames": len(labels),
        "subjects": len(kept),
        "videos": len(videos),
        "excluded": dict(sorted(Counter(reason for _, reason in excluded).items())),
        "aus": per_au,
    }


def _versions() -> dict[str, str]:
    import cv2
    import lmdb

    from drml import __version__

    return {
        "drml": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "lmdb": lmdb.__version__,
    }


def _digests(out: Path) -> dict[str, str]:
    """SHA-256 of every file of the folder but the parts and the manifest."""
    digests = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and name != MANIFEST and not name.startswith(f"{PARTS}/"):
            digests[name] = _digest(path)
    return digests


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
