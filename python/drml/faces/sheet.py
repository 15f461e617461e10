"""Contact sheets: many faces in one picture, to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from drml.data.images import Pixels, encode
from drml.faces.landmarks import Points

_COLUMNS = 12
_SIDE = 128
_DOT = (80, 255, 80)


def contact_sheet(
    faces: Sequence[tuple[Pixels, Points | None]], *, columns: int = _COLUMNS, side: int = _SIDE
) -> bytes:
    """A PNG of aligned faces in rows, with dots at their landmarks.

    Args:
        faces: pictures, square and BGR, with their landmarks in pixels (n, 2), or None.
        columns: faces in a row.
        side: of a face on the sheet, in pixels.
    """
    import cv2

    columns = max(1, min(columns, len(faces)))
    rows = math.ceil(len(faces) / columns)
    sheet = np.full((rows * side, columns * side, 3), 255, np.uint8)
    for index, (picture, points) in enumerate(faces):
        top, left = index // columns * side, index % columns * side
        tile = sheet[top : top + side, left : left + side]
        tile[:] = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        if points is not None:
            for x, y in np.rint(points * (side / len(picture))).astype(int):
                if 0 <= x < side and 0 <= y < side:
                    tile[y, x] = _DOT
    return encode(sheet, "png")
