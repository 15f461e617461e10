"""CK+ as it comes: the peak frame of each sequence, with the AUs that it shows.

`FACS/S005/001/S005_001_00000011_facs.txt` has a line `AU intensity` for each AU that is present in
the frame `cohn-kanade-images/S005/001/S005_001_00000011.png`, whatever its intensity: 0 says that
it was not graded. All other AUs are absent, and no other frame of a sequence is coded. Landmarks,
where they are given, are `S005_001_00000011_landmarks.txt` in folders of the same names.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from drml.data.labels import ABSENT, PRESENT
from drml.errors import DataError
from drml.prepare.clip import Clip, Dataset, ImageFiles, in_order, is_image, walk
from drml.prepare.coding import in_number_order, rows
from drml.prepare.join import check_without
from drml.prepare.options import Options
from drml.prepare.points import find_frame_points

_FRAME = re.compile(r"(S\d{3})_(\d{3})_(\d{8})", re.IGNORECASE)
_CODING = re.compile(rf"{_FRAME.pattern}_facs\.txt", re.IGNORECASE)


def scan(options: Options) -> Dataset:
    """Reads the coding of every peak frame and finds its image.

    Raises:
        DataError: no coding, no images, or a coding file that cannot be read; names file and line.
    """
    images, codings = _find(options)
    present = {key: read_facs(path) for key, path in codings.items()}
    aus = list(options.aus) or in_number_order(au for shown in present.values() for au in shown)
    data = Dataset("ckplus", aus, [])
    by_subject: dict[str, list[str]] = {}
    for key in sorted(present):
        if key in images:
            by_subject.setdefault(key.partition("/")[0], []).append(key)
        else:
            data.excluded.append((key, "no image"))
    for subject, keys in by_subject.items():
        labels = [[PRESENT if au in present[key] else ABSENT for au in aus] for key in keys]
        data.clips.append(
            Clip(
                subject,
                tuple(keys),
                tuple(range(len(keys))),
                np.array(labels, np.int8),
                ImageFiles(tuple(images[key] for key in keys)),
                _points(options, keys),
            )
        )
    if not data.clips:
        raise DataError(f"{options.root}: no coded frame has an image")
    if data.excluded:
        data.notes.append(f"{len(data.excluded)} coded frames have no image and are left out")
    data.clips = in_order(data.clips)
    return data


def _find(options: Options) -> tuple[dict[str, str], dict[str, Path]]:
    """Key -> image, and key -> coding file."""
    images: dict[str, str] = {}
    codings: dict[str, Path] = {}
    for folder, files in walk(options.root):
        for file in files:
            path = os.path.join(folder, file)
            coding = _CODING.fullmatch(file)
            frame = _FRAME.fullmatch(os.path.splitext(file)[0])
            if coding is not None:
                key = "/".join(coding.groups()).upper()
                if codings.setdefault(key, Path(path)) != Path(path):
                    raise DataError(f"{path}: codes what {codings[key]} codes")
            elif frame is not None and is_image(file):
                key = "/".join(frame.groups()).upper()
                if images.setdefault(key, path) != path:
                    raise DataError(f"{path}: is the frame that {images[key]} is")
    if not images:
        raise DataError(
            f"{options.root}: no images of CK+ in it, such as "
            "cohn-kanade-images/S005/001/S005_001_00000001.png"
        )
    if not codings:
        raise DataError(
            f"{options.root}: no coding of CK+ in it, such as "
            "FACS/S005/001/S005_001_00000011_facs.txt"
        )
    check_without(options, images)
    return images, {key: path for key, path in codings.items() if options.keeps(key)}


def _points(options: Options, keys: list[str]) -> tuple[str, ...] | None:
    paths = []
    for key in keys:
        stem = f"{key.rpartition('/')[0]}/{key.replace('/', '_')}"
        path = find_frame_points(options, [f"{stem}_landmarks", stem], key)
        if path is None:
            return None
        paths.append(path)
    return tuple(paths)


def read_facs(path: Path) -> dict[str, float]:
    """AU -> intensity, 0 where it was not graded, of the AUs that a peak frame shows.

    Raises:
        DataError: names file and line: no text, empty, a line that is not an AU and an intensity,
            an AU that comes twice.
    """
    found: dict[str, float] = {}
    for where, cells in rows(path, "AUs", None):
        try:
            au, intensity = map(float, cells)
        except ValueError:
            au, intensity = -1.0, 0.0
        if not (au == int(au) if 0 < au < 100 else False) or not 0 <= intensity <= 5:
            raise DataError(f"{where}: is not an AU and its intensity: {' '.join(cells)[:60]!r}")
        name = str(int(au))
        if name in found:
            raise DataError(f"{where}: AU {name} comes twice")
        found[name] = intensity
    return found
