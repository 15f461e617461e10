"""What the tests of alignment share: pictures whose corner says what a finder finds in them."""

from __future__ import annotations

import csv
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from drml.data.images import Pixels
from drml.faces.find import Face
from drml.faces.landmarks import OF_68
from drml.faces.register import MEAN_FACE
from drml.run import main

Array = npt.NDArray[Any]

SIDE = 120
SCALE = 0.5
PLACE = np.array((6, 8))


def points_at(x: float = 0.0, y: float = 0.0) -> Array:
    """The 49 landmarks of a face of half the frame's size, moved by (x, y)."""
    moved: Array = (MEAN_FACE * SCALE + PLACE + np.array((x, y))).astype(np.float32)
    return moved


def picture(number: int = 0, faces: Sequence[tuple[float, float]] = ((0, 0),)) -> Pixels:
    """A soft colored picture with a white square where the nose of each face is.

    The top left pixels say which it is, for the finder below: (faces' number, then x of each).
    """
    y, x = np.mgrid[:SIDE, : SIDE * 2]
    pixels = np.stack([x, y, (x + y + 13 * number) % 200], axis=2).astype(np.uint8)
    for left, top in faces:
        nose = (points_at(left, top)[13]).round().astype(int)
        pixels[nose[1] - 2 : nose[1] + 3, nose[0] - 2 : nose[0] + 3] = 255
    pixels[0, 0] = len(faces)
    for index, (left, _) in enumerate(faces, 1):
        pixels[0, index] = left
    return np.ascontiguousarray(pixels)


class Marks:
    """A finder that finds what `picture` wrote into the top left pixels."""

    name = "marks"
    looked = 0
    lock = threading.Lock()

    def find(self, image: Pixels) -> list[Face]:
        with Marks.lock:
            Marks.looked += 1
        faces = []
        for index in range(1, int(image[0, 0, 0]) + 1):
            points = np.zeros((68, 2), np.float32)
            points[list(OF_68)] = points_at(float(image[0, index, 0]))
            points[:17] = points[60] = points[64] = points[30]
            faces.append(Face(points, 0.9))
        return faces


def write(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def write_video(path: Path, frames: Sequence[Pixels]) -> Path:
    """A lossless video."""
    height, width = frames[0].shape[:2]
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 25, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def run(*words: object) -> None:
    assert main(["align", *map(str, words)]) == 0


def pictures_of(folder: Path) -> list[str]:
    return [row["picture"] for row in rows(folder / "landmarks.csv")]
