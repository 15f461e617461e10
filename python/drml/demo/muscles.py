"""How each action unit (AU) moves the points of a face.

The directions follow the Facial Action Coding System's descriptions. Sizes are in pixels of the
aligned frame at full strength, and are large on purpose: the demo is to be learned in minutes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from drml.demo.landmarks import EXTRA_NAMES, REST, Points, index, place_philtrum

AUS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)

# For points of the left half of the picture and of the middle line: (towards the middle, down).
# The right half moves as its mirror image.
Moves = dict[int | str, tuple[float, float]]
MOVES: dict[int, Moves] = {
    1: {  # inner brow raiser
        21: (0.5, -9), 20: (0, -7.5), 19: (0, -3), 18: (0, -1), "over_brow_il": (0, -6),
        "glabella": (0, -4), "forehead_m": (0, -3), "over_brow_l": (0, -1),
        "lid_in_l": (0, -2.5), "lid_l": (0, -1.5),
    },
    2: {  # outer brow raiser
        17: (0, -7), 18: (0, -8.5), 19: (0, -7), 20: (0, -2.5), "over_brow_l": (0, -6),
        "forehead_l": (0, -4), 36: (0, -0.7), 37: (0, -0.7),
        "lid_out_l": (0, -2.5), "lid_l": (0, -1.5),
    },
    4: {  # brow lowerer
        21: (5, 6.5), 20: (4, 6), 19: (2.5, 4.5), 18: (1.5, 2.5), 17: (0.5, 1.5),
        "over_brow_il": (3.5, 6), "over_brow_l": (1, 3), "glabella": (0, 5), 27: (0, 1.5),
        37: (0, 0.8), 38: (0, 1.2), "lid_in_l": (1, 2.5), "lid_l": (0.5, 2), "lid_out_l": (0, 1),
    },
    6: {  # cheek raiser
        40: (0, -2.4), 41: (0, -2.6), 36: (1.5, 0), 37: (0, 0.8), "under_eye_l": (0.5, -5),
        "cheek_l": (0, -7), "fold_top_l": (0, -1.5), 17: (0, 1), 18: (0, 0.8),
    },
    7: {  # lid tightener
        37: (0, 2.6), 38: (0, 2.2), 40: (0, -2.4), 41: (0, -2.2), "under_eye_l": (0, -1.5),
        "lid_l": (0, 1),
    },
    10: {  # upper lip raiser
        49: (0.5, -4.5), 50: (-0.5, -5.7), 51: (0, -5.2), 60: (0, -0.5), 61: (0, -3.4), 62: (0, -4),
        48: (0, -0.5), 65: (0, -1), 66: (0, -1.4), 67: (0, -1), 57: (0, -1), 58: (0, -1),
        "wing_l": (-2.5, -3.5), 31: (-2.5, -2.5), 32: (-1, -1.5), 33: (0, -0.5),
        "fold_top_l": (-1, -3.5), "fold_low_l": (-1, -2.5),
        "cheek_l": (0, -2),
    },
    12: {  # lip corner puller
        48: (-9, -9), 60: (-9, -9), 49: (-5.5, -3), 50: (-1.5, 0), 51: (0, 0.5),
        61: (-4, -1.2), 62: (0, 0.8), 67: (-4, -1), 66: (0, 0.8),
        59: (-5.5, -4), 58: (-2.5, -1), 57: (0, 0), "fold_low_l": (-4, -5), "fold_top_l": (-2, -2),
        "corner_out_l": (-4.5, -5), "cheek_l": (-1, -4), "wing_l": (-1.5, -0.5), 31: (-1, 0),
        3: (-1.5, -1), 4: (-2, -1),
    },
    14: {  # dimpler
        48: (-5.5, 0.3), 60: (-6, 0.3), 49: (-2, 1), 59: (-2.5, -1), 61: (-2, 0.3), 67: (-2, 0),
        "corner_out_l": (3.5, -2), "fold_low_l": (1.5, 1), 4: (-1, 0),
    },
    15: {  # lip corner depressor
        48: (1, 9), 60: (1, 9), 49: (0.5, 3), 61: (0, 2.5), 67: (0, 2.5), 59: (-0.5, 5),
        58: (0, 1.2), "corner_out_l": (0.5, 6), "fold_low_l": (1, 3), "chin_l": (0, 1.5),
    },
    17: {  # chin raiser
        57: (0, -5), 58: (0, -4.5), 59: (0, -2), 66: (0, -3), 67: (0, -2.2), 62: (0, -2.5),
        61: (0, -1.8), 51: (0, -1.2), 50: (0, -1), 49: (0, -0.5), 48: (0, 1.2), 60: (0, 1),
        "crease": (0, -6), "chin": (0, -8), "chin_l": (1, -6), 8: (0, -4), 7: (0, -3),
    },
    23: {  # lip tightener
        48: (7, 0), 60: (7, 0), 49: (3, 0.6), 59: (3.5, -0.6), 61: (2.5, 0), 67: (2.5, 0),
        50: (1, 0), 58: (1, 0), "corner_out_l": (3, 0),
    },
    24: {  # lip presser
        48: (-0.5, 0.8), 60: (-0.5, 0.8), "crease": (0, -3.5),
        "corner_out_l": (-0.5, 0),
    },
}  # fmt: skip

# What is left of the lips' visible height at full strength.
LIP_HEIGHT = {23: 0.62, 24: 0.3}
OUTER_TO_INNER = {
    49: 61, 50: 61, 51: 62, 52: 63, 53: 63, 55: 65, 56: 65, 57: 66, 58: 67, 59: 67,
}  # fmt: skip
LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))
NARROWEST_EYE = 2.8
LEAST_TEETH = 2.5
LEAST_PHILTRUM = 5.0
UPPER_LIP = (49, 50, 51, 52, 53)

_MIRROR_68 = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
)  # fmt: skip
_SWAP = {"l": "r", "il": "ir", "r": "l", "ir": "il"}
_INNER_PAIRS = ((61, 67), (62, 66), (63, 65))
CLOSED = [point for point in range(len(REST)) if point not in (65, 66, 67)]
"""The points of a face with closed lips, each place once."""


def mirror(point: int) -> int:
    """The point on the other side of the face; a point of the middle line is its own."""
    if point < len(_MIRROR_68):
        return int(_MIRROR_68[point])
    stem, _, side = EXTRA_NAMES[point - 68].rpartition("_")
    return index(f"{stem}_{_SWAP[side]}") if side in _SWAP else point


@lru_cache(maxsize=1)
def _pulls() -> NDArray[np.float64]:
    """Displacement of every point by AU and side at full strength: (12, 2, points, 2)."""
    pulls = np.zeros((len(AUS), 2, len(REST), 2))
    for row, number in enumerate(AUS):
        for name, (inward, down) in MOVES[number].items():
            point = index(name)
            other = mirror(point)
            share = 0.5 if other == point else 1.0
            pulls[row, 0, point] += (share * inward, share * down)
            pulls[row, 1, other] += (-share * inward, share * down)
    return pulls


def move(points: Points, strength: NDArray[np.float64], parted: bool) -> Points:
    """The points (n, 2) of a face at rest, with closed or parted lips, after its muscles pulled.

    `strength` (12, 2) is 0 to 1 for each AU of `AUS` on the left and right side of the picture.
    Closed lips stay closed; parted ones, the eyes, and nose and lip keep a gap.
    """
    moved = points + np.tensordot(strength, _pulls(), axes=2)
    for upper, lower in _INNER_PAIRS:
        if parted:
            _keep_gap(moved, upper, lower, LEAST_TEETH)
        else:
            moved[[upper, lower]] = (moved[upper] + moved[lower]) / 2
    height = 1.0
    for number, left in LIP_HEIGHT.items():
        height *= 1 - (1 - left) * float(strength[AUS.index(number)].mean())
    for outer, inner in OUTER_TO_INNER.items():
        moved[outer, 1] = moved[inner, 1] + height * (moved[outer, 1] - moved[inner, 1])
    short = LEAST_PHILTRUM - (moved[51, 1] - moved[33, 1])
    moved[list(UPPER_LIP), 1] += max(short, 0.0)
    place_philtrum(moved)
    for upper, lower in LIDS:
        _keep_gap(moved, upper, lower, NARROWEST_EYE)
    return moved


def _keep_gap(points: Points, upper: int, lower: int, gap: float) -> None:
    missing = gap - (points[lower, 1] - points[upper, 1])
    if missing > 0:
        points[upper, 1] -= missing / 2
        points[lower, 1] += missing / 2
