"""DISFA as it comes: a video or a folder of frames per subject, a file of intensities per AU.

Videos are `Videos_LeftCamera/LeftVideoSN001_comp.avi`; extracted frames are numbered images in a
folder that has the subject's name somewhere in its path. A file
`ActionUnit_Labels/SN001/SN001_au1.txt` has a line `frame,intensity` for each frame, from 0 to 5.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from drml.data.labels import ABSENT, PRESENT, UNKNOWN
from drml.errors import DataError
from drml.faces.video import SUFFIXES, Video
from drml.prepare.clip import (
    Dataset,
    ImageFiles,
    Labels,
    VideoFile,
    numbered_images,
    walk,
)
from drml.prepare.coding import chosen, rows, whole
from drml.prepare.join import Joiner, Tally, check_without
from drml.prepare.options import Options
from drml.prepare.points import find_points, find_video_points

_SUBJECT = re.compile(r"SN\d{3}(?!\d)", re.IGNORECASE)
_CODING = re.compile(r"(SN\d{3})_au(\d+)\.txt", re.IGNORECASE)
_LARGEST = 5
_DIGITS = 5

_Frames = dict[int, str]


def scan(options: Options) -> Dataset:
    """Finds videos or frames of one camera, reads intensities and joins the two by frame number.

    Raises:
        DataError: no videos and no frames, no coding, a video that cannot be decoded, or a coding
            file that cannot be read; names file and line.
    """
    sources, codings = _find(options)
    aus = _chosen(options, codings)
    joiner = Joiner("disfa", aus, options, _DIGITS)
    gaps = Tally(
        "{count} frames of {where} have no line for some AU, which is unknown there",
        "{total} frames of {files} subjects have no line for some AU, which is unknown there "
        "({where}: {count}, ...)",
    )
    for subject in sorted(sources.keys() & codings.keys()):
        numbers, labels, missing = read_subject(codings[subject], aus, options.threshold)
        gaps.add(subject, missing)
        found = sources[subject]
        base = min(numbers[0], 1)
        coded = numbers[-1] - base + 1
        stems = (subject, f"{subject}_{options.camera}")
        source: ImageFiles | VideoFile
        if isinstance(found, str):
            stated = Video(Path(found)).promised
            source = VideoFile(found)
            points = find_video_points(options, stems, stated, coded, found)
            # A video need not say truly how long it is; reading it will tell.
            places = {base + place: place for place in range(max(stated, coded))}
        else:
            source = ImageFiles(tuple(found.values()))
            points = find_points(options, stems, len(found), str(source))
            # Images, too, may be counted from 0 or from 1.
            first = min(min(found), 1)
            places = {number - first + base: place for place, number in enumerate(found)}
        joiner.add(f"{subject}/{options.camera}", numbers, labels, places, source, points)
    joiner.note_unmatched(set(sources), set(codings))
    data = joiner.finish()
    data.notes += gaps.notes()
    return data


def _find(options: Options) -> tuple[dict[str, str | _Frames], dict[str, dict[str, Path]]]:
    """Subject -> the camera's video or frames, and subject -> AU -> coding file."""
    root = options.root
    sources: dict[str, str | _Frames] = {}
    codings: dict[str, dict[str, Path]] = {}
    for folder, files in walk(root):
        below = os.path.relpath(folder, root)
        named = _SUBJECT.findall(below)
        frames = numbered_images(folder, files) if named else {}
        if frames and _camera(below) == options.camera:
            _take(sources, named[-1].upper(), frames, folder)
        for file in files:
            path = os.path.join(folder, file)
            coding = _CODING.fullmatch(file)
            if coding is not None:
                aus = codings.setdefault(coding[1].upper(), {})
                other = aus.setdefault(str(int(coding[2])), Path(path))
                if str(other) != path:
                    raise DataError(f"{path}: codes what {other} codes")
            subject = _SUBJECT.search(file) if Path(file).suffix.lower() in SUFFIXES else None
            if subject and _camera(os.path.join(below, file)) == options.camera:
                _take(sources, subject[0].upper(), path, path)
    if not sources:
        raise DataError(
            f"{root}: no videos or frames of DISFA's {options.camera} camera in it, such as "
            "Videos_LeftCamera/LeftVideoSN001_comp.avi"
        )
    if not codings:
        raise DataError(
            f"{root}: no coding of DISFA in it, such as ActionUnit_Labels/SN001/SN001_au1.txt"
        )
    check_without(options, sources)
    return (
        {subject: source for subject, source in sources.items() if options.keeps(subject)},
        {subject: files for subject, files in codings.items() if options.keeps(subject)},
    )


def _camera(path: str) -> str:
    """`right` where a path says so, else `left`."""
    return "right" if "right" in path.lower() else "left"


def _take(
    sources: dict[str, str | _Frames], subject: str, source: str | _Frames, where: str
) -> None:
    """Frames go before the video that they were extracted from."""
    other = sources.get(subject)
    if other is not None and isinstance(other, str) == isinstance(source, str):
        place = other if isinstance(other, str) else os.path.dirname(next(iter(other.values())))
        raise DataError(f"{where}: is of {subject}, and so is {place}")
    if other is None or isinstance(other, str):
        sources[subject] = source


def _chosen(options: Options, codings: Mapping[str, Mapping[str, Path]]) -> list[str]:
    """The AUs to read, for each of which every subject has a file."""
    coded = {au for files in codings.values() for au in files}
    aus = chosen(options.aus, coded, str(options.root))
    for subject, files in sorted(codings.items()):
        for au in aus:
            if au not in files:
                folder = next(iter(files.values())).parent
                raise DataError(f"{folder}: no coding of AU {au}, {subject}_au{au}.txt")
    return aus


def read_subject(
    files: Mapping[str, Path], aus: list[str], threshold: int
) -> tuple[list[int], Labels, int]:
    """Reads the coding of a subject.

    Args:
        files: AU -> its file.
        aus: those to read.
        threshold: the least intensity that counts as present.

    Returns:
        The frames' numbers, rising, labels (frames, AUs), and how many frames lack a line in some
        file; such a label is 0.

    Raises:
        DataError: see `read_intensities`.
    """
    coded = [read_intensities(files[au]) for au in aus]
    numbers = sorted(set().union(*coded))
    labels = np.full((len(numbers), len(aus)), UNKNOWN, np.int8)
    for column, intensities in enumerate(coded):
        for row, number in enumerate(numbers):
            intensity = intensities.get(number)
            if intensity is not None:
                labels[row, column] = PRESENT if intensity >= threshold else ABSENT
    gaps = sum(any(number not in intensities for intensities in coded) for number in numbers)
    return numbers, labels, gaps


def read_intensities(path: Path) -> dict[int, int]:
    """Frame -> intensity of one AU, 0 to 5.

    Raises:
        DataError: names file and line: no text, empty, a line that is not `frame,intensity`, a
            frame that comes twice.
    """
    found: dict[int, int] = {}
    for where, cells in rows(path, "intensities", ","):
        if len(cells) != 2:
            raise DataError(f"{where}: is not `frame,intensity`: {','.join(cells)[:60]!r}")
        number = whole(cells[0], where, "the frame's number")
        intensity = whole(cells[1], where, "the intensity")
        if intensity > _LARGEST:
            raise DataError(f"{where}: the intensity is {intensity}, but 0 to {_LARGEST} are known")
        if number in found:
            raise DataError(f"{where}: frame {number} comes twice")
        found[number] = intensity
    return found
