"""dlib's frontal face detector and its 68-point regression trees (Kazemi and Sullivan 2014)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from drml.data.images import Pixels
from drml.faces.find import Face, NotInstalledError, distinct

INSTALL = "pip install dlib-bin face-recognition-models"
_PACKAGE, _FILE = "face_recognition_models", "models/shape_predictor_68_face_landmarks.dat"

# Larger pictures are shrunk for the detector, whose time grows with the pixels; it finds faces of
# 80 pixels and more.
_LONGER_SIDE = 1024
# Above 0 dlib takes noise for faces now and then; the least sure face of openau has 0.4.
_LEAST_SCORE = 0.3


def model_file() -> Path:
    """The file of the regression trees.

    Raises:
        NotInstalledError: the package that holds it is not there.
    """
    # Importing the package would need setuptools, for the path alone.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / _FILE
        if path.is_file():
            return path
    raise NotInstalledError(f"finder 'dlib' needs dlib and its model: {INSTALL} (105 MB)")


class DlibFinder:
    """Finds faces by dlib.

    Raises:
        NotInstalledError: dlib or its model is not there.
    """

    name = "dlib"

    def __init__(self) -> None:
        path = model_file()
        try:
            import dlib
        except ImportError as error:
            raise NotInstalledError(f"finder 'dlib' needs dlib: {INSTALL}") from error
        self._rectangle = dlib.rectangle
        self._detector = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(str(path))

    def find(self, image: Pixels) -> list[Face]:
        """The faces of a BGR picture (H, W, 3), the largest first; none is an empty list."""
        import cv2

        pixels = np.ascontiguousarray(image[:, :, ::-1])
        height, width = pixels.shape[:2]
        shrink = max(1.0, max(height, width) / _LONGER_SIDE)
        small = pixels
        if shrink > 1:
            size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
            small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        boxes, scores, _ = self._detector.run(small, 0, _LEAST_SCORE)
        if not boxes:
            # Twice as large: faces of 40 pixels, in four times the time.
            boxes, scores, _ = self._detector.run(small, 1, _LEAST_SCORE)
        faces = []
        for box, score in zip(boxes, scores, strict=True):
            sides = (box.left(), box.top(), box.right(), box.bottom())
            shape = self._predictor(pixels, self._rectangle(*(round(shrink * v) for v in sides)))
            points = np.array([(part.x, part.y) for part in shape.parts()], np.float32)
            faces.append(Face(points, float(score)))
        return distinct(faces)
