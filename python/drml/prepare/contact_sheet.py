"""A subject's registered faces on one sheet, to look at: does the registration hold, and do the
labels say what one sees?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drml.data.images import Pixels, decode, encode, resize
from drml.data.labels import PRESENT
from drml.faces.landmarks import Points

COLUMNS, ROWS = 8, 4
_SIDE, _TEXT, _GAP = 125, 30, 5  # pixels of a face, of the text below it, and between two
_FONT, _FONT_SIZE = 0, 0.36  # FONT_HERSHEY_SIMPLEX
_POINT = (90, 220, 90)
_CROSS = np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)])


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
    high, wide = _SIDE + _TEXT, _SIDE + _GAP
    sheet = np.full((rows * high, COLUMNS * wide - _GAP, 3), 255, np.uint8)
    for number, face in enumerate(faces):
        row, column = divmod(number, COLUMNS)
        top, left = row * high, column * wide
        sheet[top : top + _SIDE, left : left + _SIDE] = _picture(face)
        present = [au for au, label in zip(aus, face.labels, strict=True) if label == PRESENT]
        texts = (face.key.partition("/")[2], " ".join(["AU", *present]) if present else "no AU")
        for line, text in enumerate(texts, 1):
            width, _ = cv2.getTextSize(text, _FONT, _FONT_SIZE, 1)[0]
            size = _FONT_SIZE * min(1, _SIDE / width)
            baseline = (left, top + _SIDE + 12 * line)
            cv2.putText(sheet, text, baseline, _FONT, size, (0, 0, 0), 1, cv2.LINE_AA)
    return encode(sheet, "png")


def _picture(face: Face) -> Pixels:
    image = decode(face.image)
    small = resize(image, (_SIDE, _SIDE))
    if np.isfinite(face.points).all():
        # Pixel 0 has its middle at 0.
        middles = (face.points + 0.5) * (_SIDE / image.shape[0]) - 0.5
        crosses = np.rint(middles).astype(int)[:, np.newaxis] + _CROSS
        left, top = np.clip(crosses, 0, _SIDE - 1).reshape(-1, 2).T
        small[top, left] = _POINT
    return small
