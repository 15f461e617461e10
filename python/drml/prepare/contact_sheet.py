"""A subject's registered faces on one sheet, to look at: does the registration hold, and do the
labels say what one sees?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drml.data.images import Pixels, decode, encode
from drml.data.labels import PRESENT
from drml.faces.landmarks import Points

COLUMNS, ROWS = 8, 4
_SIDE, _TEXT = 125, 30  # pixels of a face, and of the text below it
_POINT = (90, 220, 90)


@dataclass(frozen=True)
class Face:
    """A face on the sheet.

    Attributes:
        image: JPEG file.
        points: its landmarks, in its pixels.
        key: `SUBJECT/VIDEO/FRAME`.
        labels: -1, 0 and 1 per AU.
    """

    image: bytes
    points: Points
    key: str
    labels: npt.NDArray[np.int8]


def spread(count: int) -> npt.NDArray[np.int64]:
    """Which of `count` frames are shown: as many as a sheet holds, evenly spread."""
    shown = min(count, COLUMNS * ROWS)
    return np.linspace(0, count - 1, shown).round().astype(np.int64)


def contact_sheet(faces: Sequence[Face], aus: Sequence[str]) -> bytes:
    """The sheet as a PNG file: each face with its landmarks, its video and frame, its AUs.

    Args:
        faces: of one subject; at least one, as many as `spread` chooses.
        aus: names of the labels.
    """
    import cv2

    rows = -(-len(faces) // COLUMNS)
    sheet = np.full((rows * (_SIDE + _TEXT), COLUMNS * _SIDE, 3), 255, np.uint8)
    for number, face in enumerate(faces):
        row, column = divmod(number, COLUMNS)
        top, left = row * (_SIDE + _TEXT), column * _SIDE
        sheet[top : top + _SIDE, left : left + _SIDE] = _picture(face)
        present = [au for au, label in zip(aus, face.labels, strict=True) if label == PRESENT]
        texts = (face.key.partition("/")[2], f"AU {' '.join(present)}" if present else "no AU")
        for line, text in enumerate(texts, 1):
            baseline = (left + 3, top + _SIDE + 12 * line)
            cv2.putText(
                sheet, text, baseline, cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA
            )
    return encode(sheet, "png")


def _picture(face: Face) -> Pixels:
    import cv2

    image = decode(face.image)
    scale = _SIDE / image.shape[0]
    small = np.asarray(cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    # To the middle of pixels, of which the first lies at 0.
    for x, y in (face.points + 0.5) * scale - 0.5:
        if np.isfinite([x, y]).all():
            cv2.circle(small, (round(float(x)), round(float(y))), 1, _POINT, -1, cv2.LINE_AA)
    return small
