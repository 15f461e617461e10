"""Registration: the similarity transform that takes a face's landmarks to a mean face.

As in the paper, a face is turned, scaled and moved, and nothing else, until its 49 landmarks lie as
near as they can to those of a mean face in a picture of 200 x 200 pixels.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from drml.data.images import Pixels
from drml.errors import DataError
from drml.faces.landmarks import EYES, NOSE, Points
from drml.faces.names import FRAME

Matrix = npt.NDArray[np.float64]

# fmt: off
MEAN_FACE: Matrix = np.array([
    (30.1, 54.7), (37.5, 47.2), (49.1, 42.8), (64.5, 42.9), (82.1, 45.4),
    (117.9, 45.4), (135.5, 42.9), (150.9, 42.8), (162.5, 47.2), (169.9, 54.7),
    (100.0, 67.5), (100.0, 85.0), (100.0, 100.2), (100.0, 110.3),
    (82.5, 118.7), (89.4, 124.2), (100.0, 125.0), (110.6, 124.2), (117.5, 118.7),
    (47.1, 72.5), (54.0, 68.0), (66.3, 67.1), (80.2, 74.7), (68.4, 74.8), (56.0, 74.9),
    (119.8, 74.7), (133.7, 67.1), (146.0, 68.0), (152.9, 72.5), (144.0, 74.9), (131.6, 74.8),
    (64.5, 145.8), (77.2, 138.9), (88.6, 136.5), (100.0, 138.2), (111.4, 136.5), (122.8, 138.9),
    (135.5, 145.8), (121.2, 154.8), (111.5, 158.5), (100.0, 160.2), (88.5, 158.5), (78.8, 154.8),
    (88.3, 145.8), (100.0, 146.2), (111.7, 145.8), (110.8, 148.2), (100.0, 149.8), (89.2, 148.2),
])
# fmt: on
"""Where the 49 points lie in the registered picture; the eye centers are (62, 72) and (138, 72).

The mean of the landmarks of openau's 102 people after each was brought to it by `similarity`, made
symmetric (benchmarks/mean_face.py computes it).
"""

# Root mean square, in pixels of the frame. Open mouths come to 10, a face squeezed to a third of
# its width to 22, a mirrored one or shuffled points to 49 and more.
_FARTHEST = 35

FITS: dict[str, tuple[int, ...]] = {
    "all": tuple(range(len(MEAN_FACE))),
    # Brows and mouth move with the action units; a fit without them leaves that movement whole.
    "nose-eyes": (*range(NOSE.start, NOSE.stop), *range(EYES.start, EYES.stop)),
}
"""Name of a fit -> the points that it brings near the mean face's."""


def similarity(source: npt.ArrayLike, target: npt.ArrayLike) -> Matrix:
    """The rotation, scale and shift, without reflection, that take points nearest to others.

    Least squares over all points, as Umeyama (1991) solves it; in the plane, the sums of the inner
    and of the outer products give the rotation's cosine and sine times the scale.

    Args:
        source, target: (n, 2), n of 2 or more.

    Returns:
        (2, 3): x -> M[:, :2] x + M[:, 2].

    Raises:
        DataError: the source points all lie on one spot, or are not finite.
    """
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    center, goal = a.mean(axis=0), b.mean(axis=0)
    moved, aimed = a - center, b - goal
    spread = float((moved**2).sum())
    if not math.isfinite(spread) or spread < 1e-12:
        raise DataError("the landmarks lie on one spot or are not finite")
    cosine = float((moved * aimed).sum()) / spread
    sine = float((moved[:, 0] * aimed[:, 1] - moved[:, 1] * aimed[:, 0]).sum()) / spread
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([linear, goal - linear @ center])


def transform(matrix: Matrix, points: npt.ArrayLike) -> Matrix:
    """Points (n, 2) under a (2, 3) affine map."""
    moved: Matrix = np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return moved


def align(
    image: Pixels, points: Points, size: int = FRAME, *, fit: str = "all"
) -> tuple[Pixels, Points]:
    """Registers a face to the mean face by a similarity transform, as the paper does.

    Pixels are interpolated linearly; where the face is shrunk to less than half, they are averaged
    first. What lies beyond the picture's edge repeats the edge.

    Args:
        image: (H, W, 3), BGR.
        points: the face's 49 landmarks in pixels of `image`, (49, 2).
        size: side of the square result; MEAN_FACE is scaled with it.
        fit: name of the points to fit, one of FITS.

    Returns:
        The face, uint8 (size, size, 3), and its landmarks in it, float32 (49, 2).

    Raises:
        DataError: the landmarks lie on one spot or beyond the picture, or are no face's.
    """
    height, width = image.shape[:2]
    center = points.mean(axis=0)
    if not (0 <= center[0] < width and 0 <= center[1] < height):
        raise DataError(f"the landmarks do not lie in the picture, which is {width} x {height}")
    chosen = list(FITS[fit])
    matrix = similarity(points[chosen], MEAN_FACE[chosen])
    moved = transform(matrix, points)
    distance = math.sqrt(((moved - MEAN_FACE) ** 2).sum(axis=1).mean())
    if distance > _FARTHEST:
        raise DataError(
            "the landmarks are no face's, or not in their order (x before y, brows first)"
        )
    scale = size / FRAME
    return warp(image, matrix * scale, size), (moved * scale).astype(np.float32)


def warp(image: Pixels, matrix: Matrix, size: int, *, repeat_edge: bool = True) -> Pixels:
    """The square of side `size` that an affine map (2, 3) brings from a picture.

    Pixels are interpolated linearly; where the map shrinks to about half or less, they are averaged
    first.

    Args:
        repeat_edge: what lies beyond the picture's edge repeats the edge; else it is black.
    """
    import cv2

    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    shrink = max(1, min(int(1 / scale + 0.2), *image.shape[:2]))
    part, left, top = _part(image, matrix, size, shrink)
    if shrink > 1:
        small = (part.shape[1] // shrink, part.shape[0] // shrink)
        part = np.asarray(cv2.resize(part, small, interpolation=cv2.INTER_AREA), np.uint8)
    # Pixel p of the part was, by centers, pixel shrink * p + (shrink - 1) / 2 of what was averaged.
    to_image = np.array([left, top]) + (shrink - 1) / 2
    shift = matrix[:, :2] @ to_image + matrix[:, 2]
    inner = np.column_stack([matrix[:, :2] * shrink, shift])
    border = cv2.BORDER_REPLICATE if repeat_edge else cv2.BORDER_CONSTANT
    warped = cv2.warpAffine(part, inner, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(warped, np.uint8)


def _part(image: Pixels, matrix: Matrix, size: int, shrink: int) -> tuple[Pixels, int, int]:
    """The part of an image that a warp reads, with sides that `shrink` divides, and its corner.

    A whole picture would be averaged in vain, and cv2.warpAffine takes none of 32,768 pixels.
    """
    height, width = image.shape[:2]
    inverse = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]
    corners = transform(inverse, [(0, 0), (size, 0), (0, size), (size, size)])
    margin = 2 * shrink
    low = np.floor(corners.min(axis=0)).astype(int) - margin
    high = np.ceil(corners.max(axis=0)).astype(int) + margin
    left, top = max(0, min(int(low[0]), width - shrink)), max(0, min(int(low[1]), height - shrink))
    right = max(left + shrink, min(width, int(high[0])))
    bottom = max(top + shrink, min(height, int(high[1])))
    right -= (right - left) % shrink
    bottom -= (bottom - top) % shrink
    return image[top:bottom, left:right], left, top
