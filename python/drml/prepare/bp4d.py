"""BP4D as it comes: frames `F001/T1/0001.jpg`, coding `AUCoding/AU_OCC/F001_T1.csv`.

Frames have three or four digits and are JPEG or PNG files; the folders of the subjects may lie at
any depth. A coding file has the header 0 and then the AUs' numbers; a row is a frame's number and
0, absent, 1, present, or 9, unknown, for each AU.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from drml.data.labels import ABSENT, PRESENT, UNKNOWN
from drml.errors import DataError
from drml.prepare.clip import Dataset, ImageFiles, Labels, numbered_images, walk
from drml.prepare.coding import chosen, rows, whole
from drml.prepare.join import Joiner, check_without
from drml.prepare.options import Options
from drml.prepare.points import find_points

_VIDEO = re.compile(r"(?:^|[/\\])([FM]\d{3})[/\\](T\d+)$", re.IGNORECASE)
_CODING = re.compile(r"([FM]\d{3})_(T\d+)\.csv", re.IGNORECASE)
_VALUES = {"0": ABSENT, "1": PRESENT, "9": UNKNOWN}
_DIGITS = 4


def scan(options: Options) -> Dataset:
    """Finds videos, reads their coding and joins the two by frame number.

    Raises:
        DataError: no frames, no coding, or a coding file that cannot be read; names file and line.
    """
    images, codings = _find(options)
    aus = list(options.aus)
    coded: dict[str, tuple[list[int], Labels]] = {}
    for name in sorted(images.keys() & codings.keys()):
        aus, numbers, labels = read_coding(codings[name], aus)
        coded[name] = numbers, labels
    joiner = Joiner("bp4d", aus, options, _DIGITS)
    for name, (numbers, labels) in coded.items():
        source = ImageFiles(tuple(images[name].values()))
        places = {number: place for place, number in enumerate(images[name])}
        stems = (name.replace("/", "_"), name)
        points = find_points(options, stems, len(places), str(source))
        joiner.add(name, numbers, labels, places, source, points)
    joiner.note_unmatched(set(images), set(codings))
    return joiner.finish()


def _find(options: Options) -> tuple[dict[str, dict[int, str]], dict[str, Path]]:
    """`F001/T1` -> frame number -> path, and `F001/T1` -> coding file."""
    root = options.root
    images: dict[str, dict[int, str]] = {}
    codings: dict[str, Path] = {}
    for folder, files in walk(root):
        for file in files:
            coding = _CODING.fullmatch(file)
            if coding is not None:
                _take(codings, f"{coding[1]}/{coding[2]}".upper(), Path(folder, file))
        video = _VIDEO.search(folder)
        frames = numbered_images(folder, files) if video else {}
        if video and frames:
            name = f"{video[1]}/{video[2]}".upper()
            if name in images:
                other = os.path.dirname(next(iter(images[name].values())))
                raise DataError(f"{folder}: holds frames of {name}, and so does {other}")
            images[name] = frames
    if not images:
        raise DataError(f"{root}: no images of BP4D in it, such as F001/T1/0001.jpg")
    if not codings:
        raise DataError(f"{root}: no coding of BP4D in it, such as AUCoding/AU_OCC/F001_T1.csv")
    check_without(options, images)
    return (
        {name: frames for name, frames in images.items() if options.keeps(name)},
        {name: path for name, path in codings.items() if options.keeps(name)},
    )


def _take(codings: dict[str, Path], name: str, path: Path) -> None:
    """Of two files for one video, that of occurrence, for there are files of intensities too."""
    other = codings.get(name)
    if other is None or _is_occurrence(path) > _is_occurrence(other):
        codings[name] = path
    elif _is_occurrence(path) == _is_occurrence(other):
        raise DataError(f"{path}: codes {name}, and so does {other}")


def _is_occurrence(path: Path) -> bool:
    return "AU_OCC" in path.parent.name.upper()


def read_coding(path: Path, wanted: list[str]) -> tuple[list[str], list[int], Labels]:
    """Reads a coding file.

    Args:
        path: of the file.
        wanted: AUs; empty for all that the file codes.

    Returns:
        The AUs, the frames' numbers, rising, and labels (frames, AUs) of -1, 0 and 1.

    Raises:
        DataError: names file and line: no text, empty, no such AU, a row that is short or holds
            anything but 0, 1 and 9, a frame that comes twice.
    """
    lines = rows(path, "frames", ",")
    where, header = next(lines)
    columns = {str(whole(cell, where, "an AU")): i for i, cell in enumerate(header) if i}
    if header[0] not in ("0", "") or len(columns) != len(header) - 1 or not columns:
        raise DataError(f"{where}: the header is not 0 and then the AUs' numbers")
    aus = chosen(wanted, columns, str(path))
    taken = [(au, columns[au]) for au in aus]
    found: dict[int, list[int]] = {}
    for where, cells in lines:
        if len(cells) != len(header):
            raise DataError(f"{where}: {len(cells)} values, but the header has {len(header)}")
        number = whole(cells[0], where, "the frame's number")
        if number in found:
            raise DataError(f"{where}: frame {number} comes twice")
        try:
            found[number] = [_VALUES[cells[column]] for _, column in taken]
        except KeyError:
            au, column = next(pair for pair in taken if cells[pair[1]] not in _VALUES)
            raise DataError(
                f"{where}: AU {au} is {cells[column][:40]!r}, but 0, 1 and 9 are known"
            ) from None
    if not found:
        raise DataError(f"{path}: codes no frame")
    numbers = sorted(found)
    return aus, numbers, np.array([found[number] for number in numbers], np.int8)
