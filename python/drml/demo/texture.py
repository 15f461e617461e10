"""The demo photograph made into the textures that every demo face is drawn from.

The photograph smiles with open lips. Here its folds are softened and its mouth is relaxed, once
with closed and once with parted lips, so that a muscle which is at rest leaves no trace. Masks of
skin, hair, brows, lips, clothes and background let a person have colors of his or her own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from drml.demo.landmarks import PARTED, REST, SMILE, TO_FRAME, Points
from drml.demo.warp import Array, ThinPlate, dense_map
from drml.errors import DrmlError
from drml.faces.names import FRAME
from drml.faces.register import transform

Image = NDArray[np.uint8]

# A texture shows the aligned frame and MARGIN more pixels on each side, SCALE times enlarged.
MARGIN = 40
SCALE = 1.5
SIDE = int((FRAME + 2 * MARGIN) * SCALE)

UPPER_LIP = (49, 50, 51, 52, 53, 61, 62, 63)
LOWER_LIP = (55, 56, 57, 58, 59, 65, 66, 67)
SEAM = (60, 61, 62, 63, 64)
# Points of the photograph on the edges of the open mouth near its corners, which 60 to 67 are too
# few to follow, and where along the seam of the closed mouth they come to lie.
UPPER_EDGE = np.array([(204.0, 139.0), (207.5, 140.2), (237.5, 140.6), (243.0, 139.9)])
LOWER_EDGE = np.array([(204.2, 141.5), (208.5, 146.0), (237.5, 145.4), (242.8, 141.9)])
ALONG_SEAM = np.array([74.0, 80.0, 120.0, 126.0])

# fmt: off
FOLDS = (
    [(76, 106), (70, 112), (62, 121), (55.5, 128), (53, 134), (54, 141)],
    [(122, 103), (128, 110), (136, 118), (144, 126), (148, 133), (147.5, 141)],
)
SKIN = [
    (24, 100), (26, 80), (28, 60), (31, 24), (35, 22), (45, 31), (57, 36), (75, 38), (95, 37),
    (120, 36), (137, 39), (152, 44), (170, 50), (174, 60), (177, 80), (178, 116), (182, 117),
    (199, 103), (198, 113), (192, 122), (180, 127), (174, 127), (170, 147), (161, 166),
    (158, 204), (150, 216), (120, 221), (100, 217), (55, 214), (42, 210), (37, 198), (36, 156),
    (29, 127), (16, 123), (9, 112), (7, 102),
]
HAIR = [
    (24, 103), (7, 103), (-6, 95), (-18, 80), (-22, 60), (-27, 20), (-16, 0), (15, -20), (38, -40),
    (200, -40), (226, 10), (229, 40), (215, 80), (200, 103), (182, 117), (178, 116), (100, 90),
]
SUIT = (
    [(-40, 166), (0, 157), (38, 154), (38, 200), (45, 213), (100, 217), (100, 240), (-40, 240)],
    [(100, 217), (120, 221), (150, 216), (156, 190), (200, 212), (240, 238), (100, 240)],
)
# fmt: on


def canvas(points: Points) -> Points:
    """Points of the aligned frame in pixels of a texture."""
    return (points + MARGIN) * SCALE


def _edge() -> Points:
    low, high = -MARGIN, FRAME + MARGIN
    marks = np.linspace(low, high, 6)
    sides = [(x, y) for x in marks for y in (low, high)]
    return np.array(sides + [(x, y) for y in marks[1:-1] for x in (low, high)], np.float64)


EDGE = _edge()
"""Points on the border of the textures, which every warp leaves in place."""


def area(polygon: ArrayLike, blur: float) -> Array:
    """A texture-sized mask of a polygon of the aligned frame: 1 inside, 0 outside, soft border."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    corners = np.round(canvas(np.asarray(polygon, np.float64)) * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), blur * SCALE) / np.float32(255), np.float32)


def line(points: ArrayLike, width: float, blur: float) -> Array:
    """A texture-sized soft line through points of the aligned frame: 1 on the line, 0 far off."""
    mask = np.zeros((SIDE, SIDE), np.float32)
    corners = np.round(canvas(np.asarray(points, np.float64)) * 16).astype(np.int32)
    cv2.polylines(mask, [corners], False, 1.0, max(1, round(width * SCALE)), cv2.LINE_8, 4)
    soft = cv2.GaussianBlur(mask, (0, 0), blur * SCALE)
    return np.asarray(soft / soft.max(), np.float32)


@dataclass(frozen=True)
class Textures:
    """The face at rest, BGR, with closed and with parted lips, and the masks of its parts."""

    closed: Image
    parted: Image
    folds: Array
    """Natural logarithm of how much the softened smile folds darken the skin."""
    skin: Array
    hair: Array
    suit: Array
    background: Array
    lips: Array
    eyes: Array


def photograph() -> Image:
    """The demo photograph, 512 x 512 BGR. It is part of scikit-image: nothing is downloaded."""
    try:
        from skimage import data
    except ImportError as error:
        raise DrmlError(
            "the demo faces need scikit-image, which is not installed: pip install drml[demo]"
        ) from error
    picture: Image = data.astronaut()  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(picture[..., ::-1])


def _relax(image: Image, source: Points, target: Points) -> Array:
    """The texture whose points `source` are moved to `target`."""
    plate = ThinPlate(np.vstack([target, EDGE]), np.vstack([source, EDGE]), stiffness=1e-4)
    x, y = dense_map(plate, -MARGIN, 1 / SCALE, SIDE)
    return np.asarray(sample(image, x, y), np.float32)


def sample(texture: Image, x: Array, y: Array) -> Image:
    """A texture read at the points (x, y) of the aligned frame."""
    at_x, at_y = ((axis + MARGIN) * np.float32(SCALE) for axis in (x, y))
    read = cv2.remap(texture, at_x, at_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(read, np.uint8)


def _without_folds(image: Image) -> Image:
    """The photograph with its nasolabial folds filled from the skin beside them."""
    mask = np.max([line(fold, 7, 1.5) for fold in FOLDS], axis=0) > 0.35
    filled = cv2.inpaint(image, mask.astype(np.uint8), 6, cv2.INPAINT_TELEA)
    share = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3)[..., None]
    smooth = cv2.GaussianBlur(filled, (0, 0), 4)
    return _bytes(filled * (1 - share) + smooth * share)


def _without(points: Points, gone: tuple[int, ...]) -> Points:
    return np.delete(points, gone, axis=0)


def _closed(image: Image) -> Array:
    """The face with its lips together: all above the seam from one warp, all below from another."""
    seam = REST[list(SEAM)]
    ends = np.stack([ALONG_SEAM, np.interp(ALONG_SEAM, seam[:, 0], seam[:, 1])], axis=1)
    halves = []
    for other_lip, edge in ((LOWER_LIP, UPPER_EDGE), (UPPER_LIP, LOWER_EDGE)):
        gone = (*other_lip, 60, 64)
        source = np.vstack([_without(SMILE, gone), transform(TO_FRAME, edge)])
        halves.append(_relax(image, source, np.vstack([_without(REST, gone), ends])))
    drawn = canvas(seam)
    height = np.interp(np.arange(SIDE), drawn[:, 0], drawn[:, 1])
    below = np.clip((np.arange(SIDE)[:, None] - height) / SCALE + 0.5, 0, 1)[..., None]
    face = halves[0] * (1 - below) + halves[1] * below
    dark = line(seam, 1.0, 0.7)[..., None] * (1 - np.array([0.16, 0.16, 0.35]))
    return np.asarray(face * (1 - 0.7 * dark), np.float32)


def _bytes(values: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _gray(values: Array) -> Array:
    return np.asarray(cv2.GaussianBlur(values.mean(axis=2), (0, 0), SCALE) + 1, np.float32)


@lru_cache(maxsize=1)
def textures() -> Textures:
    """The textures of the demo photograph, made once.

    Raises DrmlError when scikit-image is not installed.
    """
    matrix = TO_FRAME.copy()
    matrix[:, 2] += MARGIN
    picture = photograph()
    smile = np.asarray(
        cv2.warpAffine(picture, matrix * SCALE, (SIDE, SIDE), flags=cv2.INTER_CUBIC), np.uint8
    )
    plain = _without_folds(smile)
    mouth = tuple(range(48, 68))
    skin_only = _without(SMILE, mouth), _without(REST, mouth)
    folds = np.log(_gray(_relax(smile, *skin_only)) / _gray(_relax(plain, *skin_only)))
    skin = area(SKIN, 1.0)
    hair = area(HAIR, 1.5) * (1 - skin)
    suit = np.maximum(*(area(part, 1.0) for part in SUIT)) * (1 - skin)
    eyes = np.maximum(area(REST[36:42], 0.7), area(REST[42:48], 0.7))
    return Textures(
        closed=_bytes(_closed(plain)),
        parted=_bytes(_relax(plain, SMILE, PARTED)),
        folds=np.asarray(folds, np.float32),
        skin=skin,
        hair=hair,
        suit=suit,
        background=np.clip(1 - skin - hair - suit, 0, 1),
        lips=area(REST[48:60], 1.2),
        eyes=eyes,
    )
