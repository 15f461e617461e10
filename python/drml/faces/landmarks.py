"""The 49 landmarks of the paper, and the mark-ups that they are taken from.

They are the 68 points of the common mark-up (Multi-PIE, 300-W) without the jaw, 0-16, and without
the two inner mouth corners, 60 and 64, in their order: brows 0-9, nose 10-18, eyes 19-30, outer
lips 31-42, inner lips 43-48, each from the left of the picture.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drml.errors import DataError

Points = npt.NDArray[np.float32]

COUNT = 49
BROWS, NOSE, EYES, MOUTH = slice(0, 10), slice(10, 19), slice(19, 31), slice(31, 49)
LEFT_EYE, RIGHT_EYE = slice(19, 25), slice(25, 31)
EYE_CORNERS = (19, 22, 25, 28)
"""Of the left eye the outer and the inner corner, of the right one the inner and the outer."""

_INNER_CORNERS = (60, 64)
OF_68 = tuple(point for point in range(17, 68) if point not in _INNER_CORNERS)
"""Which of the 68 points the 49 are."""

_MARK_UPS: dict[int, tuple[int, ...]] = {
    68: OF_68,
    # 68 without the inner mouth corners, as DISFA and UNBC-McMaster give them.
    66: tuple(range(17, 66)),
    # 68 without the jaw.
    51: tuple(point - 17 for point in OF_68),
    49: tuple(range(49)),
}
COUNTS = frozenset(_MARK_UPS)
KNOWN = "68, 66, 51 or 49"

MESH_COUNT = 478
"""Points of MediaPipe's face mesh, irises included."""

# fmt: off
MESH_TO_68 = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,
)
# fmt: on
"""Which points of the mesh stand for the 68: mirrored pairs, chosen by their distance to openau's
given landmarks (benchmarks/mesh_points.py shows how near they and the next best ones lie)."""


def to_49(points: npt.ArrayLike, where: str) -> Points:
    """The 49 points of a mark-up of 68, 66, 51 or 49 points, in pixels (x, y).

    Args:
        points: (n, 2).
        where: what the points belong to, such as a file and line, for messages.

    Returns:
        (49, 2) float32.

    Raises:
        DataError: another number of points, or one of them is not finite.
    """
    given = np.asarray(points, np.float32)
    if given.ndim != 2 or given.shape[1] != 2:
        shape = " x ".join(map(str, given.shape))
        raise DataError(f"{where}: landmarks of shape {shape}; they are (points, 2), x and y")
    chosen = _MARK_UPS.get(len(given))
    if chosen is None:
        raise DataError(f"{where}: {len(given)} landmarks; {KNOWN} are understood")
    found = given[list(chosen)]
    if not np.isfinite(found).all():
        raise DataError(f"{where}: a landmark is not a finite number")
    return found


def mesh_to_68(mesh: npt.NDArray[np.floating]) -> Points:
    """The 68 points that a mesh of MediaPipe's, (478, 2 or more), stands for: (68, 2) float32."""
    return np.asarray(mesh[list(MESH_TO_68), :2], np.float32)


def eye_centers(points: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """The means of the six points of each eye, of 49 points: (2, 2), the left one first."""
    centers: npt.NDArray[np.floating] = np.stack(
        [points[LEFT_EYE].mean(axis=0), points[RIGHT_EYE].mean(axis=0)]
    )
    return centers
