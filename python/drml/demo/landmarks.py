"""Where the features of the demo photograph are, and where they lie when the face is at rest.

The photograph is scikit-image's `astronaut` (NASA, public domain). `PHOTO_68` is its common
68-point mark-up, written down by hand from enlarged crops: jaw 0-16, brows 17-26, nose 27-35,
eyes 36-47, outer lips 48-59, inner lips 60-67, the left of the picture first. `PHOTO_EXTRA` adds
points that the mark-up lacks and that muscles move: forehead, cheeks, nasolabial fold, chin.

All other coordinates are in the aligned frame: 200 x 200 pixels, eye centers at (62, 72) and
(138, 72), the frame that the paper's images are registered to.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drml.faces.register import similarity, transform

Points = NDArray[np.float64]

PHILTRUM = 0.52
EYES = np.array([[62.0, 72.0], [138.0, 72.0]])

# fmt: off
PHOTO_68: Points = np.array([
    (180.5, 102.0), (180.5, 113.0), (181.3, 125.0), (182.0, 137.0), (185.0, 149.0),
    (191.0, 159.5), (200.0, 168.5), (210.5, 175.5), (222.0, 178.3), (233.0, 176.0),
    (243.0, 171.0), (251.5, 164.5), (258.0, 157.5), (263.5, 148.0), (266.5, 135.5),
    (268.5, 121.0), (269.5, 106.0),
    (190.0, 90.0), (194.0, 88.7), (199.0, 88.2), (206.0, 89.8), (212.5, 92.0),
    (238.0, 92.9), (244.5, 92.1), (251.0, 91.9), (257.0, 92.8), (262.0, 95.5),
    (224.3, 102.0), (223.7, 110.0), (223.0, 118.5), (222.5, 126.8),
    (213.7, 130.0), (218.3, 131.2), (223.5, 132.6), (228.5, 131.8), (233.3, 130.6),
    (193.0, 100.8), (198.3, 98.3), (206.0, 98.2), (213.0, 103.0), (206.3, 104.0), (199.0, 103.8),
    (236.3, 104.5), (242.5, 100.6), (250.0, 100.3), (257.8, 103.5), (251.0, 106.0), (243.5, 106.0),
    (202.2, 139.0), (210.0, 139.2), (218.0, 139.0), (223.0, 139.9), (228.0, 139.3),
    (237.0, 139.8), (244.2, 140.3),
    (236.0, 149.6), (229.5, 153.4), (222.3, 154.8), (215.3, 153.3), (208.5, 148.8),
    (204.5, 139.9), (213.0, 141.6), (222.3, 143.0), (231.5, 142.3), (242.0, 140.9),
    (231.0, 148.6), (222.3, 149.6), (214.0, 148.3),
])

EXTRA_NAMES = (
    "forehead_l", "forehead_m", "forehead_r", "glabella",
    "over_brow_l", "over_brow_il", "over_brow_ir", "over_brow_r",
    "iris_l", "iris_r", "under_eye_l", "under_eye_r", "cheek_l", "cheek_r",
    "fold_top_l", "fold_top_r", "fold_low_l", "fold_low_r", "wing_l", "wing_r",
    "philtrum", "corner_out_l", "corner_out_r", "crease", "chin_l", "chin", "chin_r",
    "lid_out_l", "lid_l", "lid_in_l", "lid_in_r", "lid_r", "lid_out_r",
)
PHOTO_EXTRA: Points = np.array([
    (197.0, 80.5), (223.0, 81.0), (250.0, 86.0), (224.8, 92.5),
    (195.0, 84.3), (209.0, 86.0), (241.5, 87.3), (255.0, 88.8),
    (203.0, 100.8), (246.5, 103.3), (202.0, 111.5), (248.5, 114.0), (194.5, 123.0), (255.0, 125.0),
    (208.0, 122.5), (238.0, 123.5), (197.0, 135.0), (249.3, 137.0), (210.8, 127.0), (236.0, 127.8),
    (222.8, 136.3), (196.5, 147.0), (251.5, 148.5), (222.3, 159.5),
    (210.5, 166.0), (222.0, 168.5), (234.0, 166.0),
    (194.5, 95.2), (202.0, 94.4), (209.7, 96.0), (239.7, 98.2), (247.0, 97.0), (254.8, 98.6),
])
# fmt: on


def eye_centers(points: Points) -> Points:
    """The means of the six points of each eye of a 68-point mark-up: (2, 2), left eye first."""
    return np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0)])


def _rest(photo: Points) -> Points:
    """The points of the smiling photograph, in the aligned frame, moved to where they rest."""
    rest = photo.copy()
    mouth = {
        48: (71.5, 143.5), 49: (84.0, 138.4), 50: (93.5, 136.0), 51: (100.0, 137.2),
        52: (106.5, 136.0), 53: (116.0, 138.4), 54: (128.5, 143.5),
        55: (117.5, 149.6), 56: (108.5, 153.2), 57: (100.0, 154.2), 58: (91.5, 153.2),
        59: (82.5, 149.6),
        60: (74.0, 143.5), 61: (88.0, 143.2), 62: (100.0, 143.9), 63: (112.0, 143.2),
        64: (126.0, 143.5), 65: (112.0, 143.2), 66: (100.0, 143.9), 67: (88.0, 143.2),
    }  # fmt: skip
    for point, place in mouth.items():
        rest[point] = place
    moves: dict[int | str, tuple[float, float]] = {
        31: (1.5, -0.5), 35: (-1.5, -0.5), 40: (0, 0.8), 41: (0, 0.8), 46: (0, 0.8), 47: (0, 0.8),
        6: (0, -1), 7: (0, -2), 8: (0, -2.5), 9: (0, -2), 10: (0, -1),
        "wing_l": (2, 0), "wing_r": (-2, 0), "fold_low_l": (3.5, 3), "fold_low_r": (-3.5, 3),
        "cheek_l": (1, 3), "cheek_r": (-1, 3), "under_eye_l": (0, 1.5), "under_eye_r": (0, 1.5),
        "fold_top_l": (1, 1), "fold_top_r": (-1, 1),
        "corner_out_l": (2.5, 3), "corner_out_r": (-2.5, 3),
        "crease": (-0.6, -7.5), "chin_l": (0, -4), "chin": (-0.8, -4), "chin_r": (0, -4),
    }  # fmt: skip
    for name, move in moves.items():
        rest[index(name)] += move
    place_philtrum(rest)
    return rest


def _parted(rest: Points) -> Points:
    """The points at rest, but with the jaw a little lower and the teeth in view."""
    parted = rest.copy()
    drops: dict[int | str, float] = {
        49: -0.8, 50: -1.2, 51: -1.2, 52: -1.2, 53: -0.8, 61: -1.4, 62: -1.5, 63: -1.4,
        55: 2.4, 56: 4, 57: 4, 58: 4, 59: 2.4, 65: 4.5, 66: 5, 67: 4.5,
        7: 1, 8: 1.5, 9: 1, "crease": 3, "chin_l": 2, "chin": 2, "chin_r": 2,
    }  # fmt: skip
    for name, drop in drops.items():
        parted[index(name), 1] += drop
    place_philtrum(parted)
    return parted


def place_philtrum(points: Points) -> None:
    """Puts the philtrum's point at its height between the nose and the upper lip."""
    nose, lip = points[33, 1], points[51, 1]
    points[index("philtrum"), 1] = nose + PHILTRUM * (lip - nose)


def index(name: int | str) -> int:
    """The row of a point: 0 to 67 of the mark-up, or 68 onwards for a name of `EXTRA_NAMES`."""
    return name if isinstance(name, int) else 68 + EXTRA_NAMES.index(name)


TO_FRAME = similarity(eye_centers(PHOTO_68), EYES)
SMILE: Points = transform(TO_FRAME, np.vstack([PHOTO_68, PHOTO_EXTRA]))
REST: Points = _rest(SMILE)
PARTED: Points = _parted(REST)
