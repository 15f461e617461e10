"""The lines and swellings that each action unit (AU) makes in the skin of a face."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from drml.demo.muscles import AUS
from drml.demo.texture import MARGIN, SCALE, line, textures
from drml.demo.warp import Array
from drml.faces.names import FRAME

# Lines that a muscle draws on the left half of the face at rest, mirrored to the right one:
# (points, width, blur, logarithm of the change in brightness).
Line = tuple[list[tuple[float, float]], float, float, float]
LINES: dict[int, list[Line]] = {
    1: [
        ([(80, 43), (90, 41.5), (100, 41.5)], 1, 1.2, -0.2),
        ([(78, 48), (90, 46.5), (100, 46.8)], 1, 1.2, -0.2),
        ([(80, 45.5), (100, 44.2)], 1, 1.2, 0.09),
    ],
    2: [
        ([(36, 46), (45, 42), (56, 40.5), (66, 42)], 1, 1.2, -0.2),
        ([(45, 60), (56, 57.5), (68, 59)], 3, 2.6, 0.09),
    ],
    4: [
        ([(93.5, 46), (92.3, 52), (93.5, 58)], 1.3, 1.4, -0.38),
        ([(84, 52), (92, 56)], 6, 3.6, -0.12),
        ([(92, 66), (100, 65), (100, 65)], 1, 1.3, -0.22),
    ],
    6: [
        ([(40, 73), (34, 70), (29, 66)], 1, 1, -0.25),
        ([(40, 75), (34, 76), (28.5, 76)], 1, 1, -0.29),
        ([(41, 78), (36, 82), (31, 86)], 1, 1, -0.25),
        ([(44, 84), (54, 89), (66, 90), (75, 86)], 1.2, 1.4, -0.22),
        ([(43, 100), (52, 103), (62, 100)], 8, 5.8, 0.12),
    ],
    7: [
        ([(48, 79), (56, 82), (67, 82), (76, 79)], 1, 1.2, -0.23),
        ([(50, 77.8), (60, 79.3), (72, 78)], 1, 0.9, 0.1),
    ],
    10: [
        ([(78, 107), (72, 113), (67, 121)], 1.6, 1.6, -0.4),
        ([(84, 96), (88, 90)], 1.2, 1.3, -0.22),
        ([(82, 128), (90, 127), (97, 129)], 3, 2.9, 0.09),
    ],
    12: [([(62, 122), (56, 130), (54.5, 138)], 1.4, 1.7, -0.22)],
    14: [
        ([(65, 139), (63, 144), (65.5, 149)], 2.4, 1.7, -0.54),
        ([(59, 137), (56.5, 144), (59, 151)], 3, 2.9, 0.14),
    ],
    15: [
        ([(71, 146), (66, 153), (63.5, 161)], 2, 1.9, -0.43),
        ([(76, 152), (71, 160)], 4, 2.9, 0.1),
    ],
    17: [
        ([(84, 163.5), (92, 160), (100, 159.2)], 2.4, 2, -0.36),
        ([(90, 172), (100, 171)], 5, 4.3, 0.1),
    ],
    23: [
        ([(70, 138), (69, 143.5), (70.5, 149)], 1.2, 1.2, -0.25),
        ([(86, 136), (86.4, 133)], 0.7, 0.9, -0.22),
        ([(92, 134), (92.2, 131)], 0.7, 0.9, -0.22),
        ([(97.5, 134), (97.6, 131)], 0.7, 0.9, -0.22),
        ([(88, 155), (87.5, 159)], 0.7, 0.9, -0.18),
        ([(95, 156), (94.8, 160)], 0.7, 0.9, -0.18),
    ],
    24: [
        ([(73, 143.6), (86, 143.4), (100, 144)], 1.2, 1, -0.36),
        ([(82, 134), (91, 131.5), (100, 132)], 3.5, 2.6, 0.12),
        ([(84, 157), (92, 159.5), (100, 160)], 4, 2.9, 0.12),
    ],
}
CHIN_PEBBLES = 0.9


@lru_cache(maxsize=1)
def _shading() -> Array:
    """Logarithm of the brightness that each AU adds to the face at rest: (12, 200, 200)."""
    maps = np.zeros((len(AUS), FRAME, FRAME), np.float32)
    for row, number in enumerate(AUS):
        for points, width, blur, depth in LINES[number]:
            mirrored = [(FRAME - x, y) for x, y in points]
            both = np.maximum(line(points, width, blur), line(mirrored, width, blur))
            maps[row] += depth * _to_frame(both)
    maps[AUS.index(12)] += 1.3 * _to_frame(textures().folds)
    maps[AUS.index(10)] += 0.6 * _to_frame(textures().folds)
    grain = np.random.default_rng(17).standard_normal((FRAME, FRAME)).astype(np.float32)
    dimples = cv2.GaussianBlur(grain, (0, 0), 1.6) - cv2.GaussianBlur(grain, (0, 0), 3.2)
    y, x = np.mgrid[:FRAME, :FRAME]
    chin = np.exp(-(((x - 100) / 17) ** 2) - ((y - 177) / 10) ** 2)
    maps[AUS.index(17)] += CHIN_PEBBLES * dimples * chin
    return maps


def shade(strength: NDArray[np.float64]) -> Array:
    """Logarithm of the brightness that AUs of `strength` (12,) add to a face at rest."""
    total = np.zeros((FRAME, FRAME), np.float32)
    for weight, lines in zip(strength, _shading(), strict=True):
        if weight:
            total += np.float32(weight) * lines
    return total


def _to_frame(texture: Array) -> Array:
    """A texture-sized map sampled at the pixels of the aligned frame."""
    matrix = np.array([[SCALE, 0, MARGIN * SCALE], [0, SCALE, MARGIN * SCALE]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(texture, matrix, (FRAME, FRAME), flags=flags), np.float32)
