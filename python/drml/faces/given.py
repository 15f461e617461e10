"""Landmarks that come with the data, read from files.

* `.npy`: (frames, n, 2), or (n, 2) of one frame.
* `.csv`, `.txt`: with a header, columns x_0 .. and y_0 .., as OpenFace and `drml align` write them;
  without one, a row per point (x y) of one frame, or a row per frame (x0 y0 x1 y1 ...), which may
  begin with the frame's number. Commas, semicolons, tabs and blanks separate.
* `.pts`: one frame of 300-W's form, whose first pixel is 1.
* `.mat`: one frame, the only array of (n, 2) in it, as DISFA has them.
* a folder: a file of these per frame, in the order of their names.

n is 68, 66, 51 or 49 everywhere.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drml.data.images import read_bytes
from drml.data.text_list import read_lines
from drml.errors import DataError
from drml.faces.landmarks import COUNT, COUNTS, KNOWN, Points, to_49

SUFFIXES = (".npy", ".csv", ".txt", ".pts", ".mat")
_NAMES = ("picture", "image", "file", "filename", "name")
_SEPARATOR = re.compile(r"[,;\s]\s*")


def find_landmarks(folder: Path, stems: Iterable[str], *, folders: bool) -> Path | None:
    """What holds landmarks in a folder: the first of the stems that is a file but for its ending.

    Args:
        folder: to look in.
        stems: paths in it, without ending.
        folders: whether a folder of that name, with a file per frame, will do as well.
    """
    for stem in stems:
        for suffix in SUFFIXES:
            file = folder / f"{stem}{suffix}"
            if file.is_file():
                return file
        if folders and (folder / stem).is_dir():
            return folder / stem
    return None


@dataclass(frozen=True)
class Given:
    """Landmarks that were read.

    Attributes:
        path: where they were read from.
        points: (frames, 49, 2) float32, NaN where the file says that a frame has none.
        names: of the frames' pictures, where the file has them.
    """

    path: Path
    points: Points
    names: tuple[str, ...] | None = None


def read_landmarks(path: Path) -> Given:
    """Reads the landmarks of one frame or many; see above for the forms.

    Raises:
        DataError: the file cannot be read, or holds something else; in one line, with the line of a
            text file, what was found and what would fit.
    """
    if path.is_dir():
        files = landmark_files(path)
        if not files:
            raise DataError(f"{path}: no landmarks ({', '.join(SUFFIXES)}) in this folder")
        frames = [_one_frame(file) for file in files]
        return Given(path, np.stack(frames), tuple(file.stem for file in files))
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _of_array(path, _read_npy(path))
    if suffix == ".mat":
        return _of_array(path, _read_mat(path))
    if suffix == ".pts":
        return _of_array(path, _read_pts(path))
    if suffix in SUFFIXES:
        return _read_table(path)
    raise DataError(f"{path}: landmarks are read from {', '.join(SUFFIXES)}")


def landmark_files(folder: Path) -> list[Path]:
    """The files of a folder that may hold landmarks, sorted."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)


def _one_frame(path: Path) -> Points:
    points = read_landmarks(path).points
    if len(points) != 1:
        raise DataError(f"{path}: landmarks of {len(points)} frames, in a folder of single ones")
    frame: Points = points[0]
    return frame


def _of_array(path: Path, values: npt.NDArray[np.floating]) -> Given:
    frames = values[np.newaxis] if values.ndim == 2 else values
    if frames.ndim != 3 or frames.shape[2] != 2 or not len(frames):
        shape = " x ".join(map(str, values.shape))
        raise DataError(f"{path}: an array of {shape}; landmarks are (frames, {KNOWN}, 2)")
    return Given(path, np.stack([_frame(frame, f"{path}") for frame in frames]))


def _frame(points: npt.ArrayLike, where: str) -> Points:
    """The 49 points of a frame; NaN for all of them if all are NaN."""
    given = np.asarray(points, np.float32)
    if len(given) in COUNTS and np.isnan(given).all():
        return np.full((COUNT, 2), np.nan, np.float32)
    return to_49(given, where)


def _read_npy(path: Path) -> npt.NDArray[np.floating]:
    try:
        values = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is no .npy file of numbers") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise DataError(f"{path}: is no .npy file of numbers")
    return values.astype(np.float32)


def _read_mat(path: Path) -> npt.NDArray[np.floating]:
    from scipy.io import loadmat

    data = read_bytes(path)
    try:
        content = loadmat(io.BytesIO(data))
    except Exception as error:
        # scipy raises whatever a broken file leads it to; files of version 7.3 are not its own.
        raise DataError(f"{path}: is no .mat file, or one of version 7.3") from error
    arrays = [
        value
        for value in content.values()
        if isinstance(value, np.ndarray)
        and value.dtype.kind in "fiu"
        and value.shape in {(count, 2) for count in COUNTS}
    ]
    if len(arrays) != 1:
        raise DataError(f"{path}: {len(arrays)} arrays of landmarks in it; one of {KNOWN} x 2 fits")
    return np.asarray(arrays[0], np.float32)


def _read_pts(path: Path) -> npt.NDArray[np.floating]:
    lines = read_lines(path, "landmarks")
    marks = [line for _, line in lines]
    try:
        inside = lines[marks.index("{") + 1 : marks.index("}")]
    except ValueError as error:
        raise DataError(f"{path}: no points between {{ and }}, as a .pts file has them") from error
    return np.array(_numbers(path, inside, 2), np.float32) - 1


def _numbers(path: Path, lines: Sequence[tuple[int, str]], count: int) -> list[list[float]]:
    """The numbers of lines that must hold `count` each."""
    rows = []
    for number, line in lines:
        cells = _SEPARATOR.split(line)
        row = [_number(cell, f"{path}:{number}") for cell in cells if cell]
        if len(row) != count:
            raise DataError(f"{path}:{number}: {len(row)} numbers; {count} are needed")
        rows.append(row)
    return rows


def _number(cell: str, where: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise DataError(f"{where}: {cell[:80]!r} is no number") from None


# Tables -----------------------------------------------------------------------------------------


def _read_table(path: Path) -> Given:
    lines = read_lines(path, "landmarks")
    first = [cell for cell in _SEPARATOR.split(lines[0][1]) if cell]
    if any(re.fullmatch(r"[xy]_\d+", cell) for cell in first):
        return _read_columns(path, lines)
    width = len(first)
    rows = np.array(_numbers(path, lines, width), np.float32)
    if width == 2:
        return Given(path, _frame(rows, str(path))[np.newaxis])
    # A row that begins with the frame's number has an odd count.
    values = rows[:, width % 2 :].reshape(len(rows), width // 2, 2)
    points = [
        _frame(row, f"{path}:{number}") for row, (number, _) in zip(values, lines, strict=True)
    ]
    return Given(path, np.stack(points))


def _read_columns(path: Path, lines: Sequence[tuple[int, str]]) -> Given:
    """A table whose header names the columns x_i and y_i."""
    header, *rows = ((number, [cell.strip() for cell in row]) for number, row in _cells(lines))
    names = header[1]
    columns = {name: index for index, name in enumerate(names)}
    count = sum(1 for name in columns if re.fullmatch(r"x_\d+", name))
    wanted = [f"{axis}_{index}" for index in range(count) for axis in "xy"]
    missing = next((name for name in wanted if name not in columns), None)
    if missing is not None:
        raise DataError(f"{path}:{header[0]}: {count} columns x_, but no column '{missing}'")
    if count not in COUNTS:
        raise DataError(f"{path}:{header[0]}: {count} landmarks; {KNOWN} are understood")
    if not rows:
        raise DataError(f"{path}: a header, and no landmarks below it")
    chosen = [columns[name] for name in wanted]
    success = columns.get("success")
    points = []
    for number, row in rows:
        where = f"{path}:{number}"
        if len(row) != len(names):
            raise DataError(f"{where}: {len(row)} cells; the header has {len(names)}")
        if success is not None and not _number(row[success], where):
            points.append(np.full((COUNT, 2), np.nan, np.float32))
            continue
        values = np.array([_number(row[index], where) for index in chosen], np.float32)
        points.append(_frame(values.reshape(count, 2), where))
    name = next((columns[name] for name in _NAMES if name in columns), None)
    pictures = None if name is None else tuple(row[name] for _, row in rows)
    return Given(path, np.stack(points), pictures)


def _cells(lines: Sequence[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """The lines of a table as cells, which may be quoted where commas separate them."""
    for number, line in lines:
        if "," in line:
            yield number, next(csv.reader([line]))
        else:
            yield number, line.split()
