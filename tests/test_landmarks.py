"""The 49 landmarks: mark-ups, files that hold them, and registration to the mean face."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from scipy.io import savemat

from drml.errors import DataError
from drml.faces.given import read_landmarks
from drml.faces.landmarks import (
    EYE_CORNERS,
    MESH_COUNT,
    MESH_TO_68,
    OF_68,
    eye_centers,
    mesh_to_68,
    to_49,
)
from drml.faces.names import FIT_NAMES, FRAME
from drml.faces.register import FITS, MEAN_FACE, align, similarity, transform, warp

pytestmark = pytest.mark.cpu_only

Array = npt.NDArray[Any]


# The reference: Umeyama 1991, by singular values, with the sign that forbids reflections.


def umeyama(source: Array, target: Array) -> Array:
    center, goal = source.mean(axis=0), target.mean(axis=0)
    moved, aimed = source - center, target - goal
    u, values, vt = np.linalg.svd(aimed.T @ moved / len(source))
    sign = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ sign @ vt
    scale = (values * np.diag(sign)).sum() / (moved**2).sum(axis=1).mean()
    return np.column_stack([scale * rotation, goal - scale * rotation @ center])


def numbered(count: int, frames: int = 1) -> Array:
    """Points whose coordinates say which they are: frame f, point p is (1000 f + p, 0.5 + p)."""
    points = np.arange(count, dtype=np.float32)
    return np.stack([np.stack([1000 * f + points, 0.5 + points], 1) for f in range(frames)])


def turned(
    degrees: float = 20.0, scale: float = 1.3, shift: tuple[float, float] = (40, 60)
) -> Array:
    """A similarity transform."""
    angle = np.radians(degrees)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


def inverse(matrix: Array) -> Array:
    return np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]


# Mark-ups ---------------------------------------------------------------------------------------


def test_49_points_are_the_68_without_jaw_and_inner_mouth_corners() -> None:
    wanted = [point for point in range(68) if point > 16 and point not in (60, 64)]
    assert to_49(numbered(68)[0], "x")[:, 0].tolist() == wanted
    assert list(OF_68) == wanted


@pytest.mark.parametrize(("count", "skipped"), [(66, 17), (49, 0)])
def test_smaller_mark_ups(count: int, skipped: int) -> None:
    points = to_49(numbered(count)[0], "x")
    assert points.dtype == np.float32
    assert points[:, 0].tolist() == list(range(skipped, count))


def test_51_points_are_68_without_the_jaw() -> None:
    np.testing.assert_array_equal(to_49(numbered(68)[0, 17:], "x"), to_49(numbered(68)[0], "x"))


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (numbered(70)[0], "f.csv:3: 70 landmarks; 68, 66, 51 or 49 are understood"),
        (numbered(68), "f.csv:3: landmarks of shape 1 x 68 x 2; they are (points, 2), x and y"),
        (np.full((49, 2), np.inf), "f.csv:3: a landmark is not a finite number"),
    ],
)
def test_what_is_no_mark_up(points: Array, said: str) -> None:
    with pytest.raises(DataError) as caught:
        to_49(points, "f.csv:3")
    assert str(caught.value) == said


def test_mesh() -> None:
    mesh = np.random.default_rng(0).random((MESH_COUNT, 3))
    points = mesh_to_68(mesh)
    assert points.shape == (68, 2)
    assert len(set(MESH_TO_68)) == 68
    # MediaPipe's documented corners of the eyes: 33 and 133, 362 and 263.
    corners = to_49(points, "x")[list(EYE_CORNERS)]
    np.testing.assert_array_equal(corners, mesh[[33, 133, 362, 263], :2].astype(np.float32))


# Files ------------------------------------------------------------------------------------------


def table(rows: Array, separator: str) -> str:
    return "".join(separator.join(f"{v:g}" for v in row) + "\n" for row in rows)


def openface(points: Array, *, success: list[int] | None = None) -> str:
    """As OpenFace writes it: blanks after commas, 3-D landmarks and gaze beside the points."""
    count = points.shape[1]
    header = ["frame", " face_id", " confidence", " success", " eye_lmk_x_0", " X_0"]
    header += [f" {axis}_{i}" for axis in "xy" for i in range(count)]
    lines = [",".join(header)]
    for index, frame in enumerate(points):
        good = 1 if success is None else success[index]
        numbers = [index + 1, 0, 0.98, good, 5, 5, *frame[:, 0], *frame[:, 1]]
        lines.append(", ".join(f"{number:g}" for number in numbers))
    return "\n".join(lines) + "\n"


def npy(points: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, points)
    return file.getvalue()


def mat(**arrays: Array) -> bytes:
    file = io.BytesIO()
    savemat(file, arrays)
    return file.getvalue()


def pts(points: Array) -> str:
    # The first pixel of a .pts file is 1.
    inside = "".join(f"{x + 1:g} {y + 1:g}\n" for x, y in points)
    return f"version: 1\nn_points: {len(points)}\n{{\n{inside}}}\n"


ONE = numbered(68)
TWO = numbered(66, 2)


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.npy", npy(TWO), TWO),
        ("a.npy", npy(ONE[0].astype(np.float16)), ONE),
        ("a.npy", npy(TWO.astype(int)), np.floor(TWO)),
        ("a.csv", openface(TWO), TWO),
        ("a.csv", table(TWO.reshape(2, -1), ","), TWO),
        ("a.csv", table(np.column_stack([[7, 8], TWO.reshape(2, -1)]), ", "), TWO),
        ("a.csv", table(ONE[0], ","), ONE),
        ("a.txt", table(ONE[0], "   "), ONE),
        ("a.txt", table(TWO.reshape(2, -1), "\t"), TWO),
        ("a.txt", "\n" + table(ONE[0], " ; ") + "\n\n", ONE),
        ("A.TXT", table(ONE[0], " "), ONE),
        ("a.pts", pts(ONE[0]), ONE),
        ("a.mat", mat(pts=ONE[0], other=np.eye(3)), ONE),
    ],
)
def test_files(tmp_path: Path, name: str, content: str | bytes, wanted: Array) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    given = read_landmarks(path)
    np.testing.assert_array_equal(given.points, np.stack([to_49(f, "x") for f in wanted]))
    assert given.names is None


def test_a_frame_without_success_has_no_landmarks(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(openface(numbered(68, 3), success=[1, 0, 1]))
    points = read_landmarks(tmp_path / "a.csv").points
    assert np.isnan(points).all(axis=(1, 2)).tolist() == [False, True, False]


def test_a_frame_of_nan_has_no_landmarks(tmp_path: Path) -> None:
    frames = numbered(68, 3)
    frames[1] = np.nan
    np.save(tmp_path / "a.npy", frames)
    points = read_landmarks(tmp_path / "a.npy").points
    assert np.isnan(points).all(axis=(1, 2)).tolist() == [False, True, False]


def test_names_of_pictures(tmp_path: Path) -> None:
    header = ",".join(["picture", *(f"{axis}_{i}" for i in range(49) for axis in "xy")])
    values = ",".join(map(str, range(98)))
    (tmp_path / "a.csv").write_text(f'{header}\n"a, b.jpg",{values}\nc.jpg,{values}\n')
    given = read_landmarks(tmp_path / "a.csv")
    assert given.names == ("a, b.jpg", "c.jpg")
    assert given.points[1, 2].tolist() == [4, 5]


def test_a_folder_of_frames(tmp_path: Path) -> None:
    for index, frame in enumerate(numbered(68, 3)):
        (tmp_path / f"{index:04}.pts").write_text(pts(frame))
    (tmp_path / "notes.md").write_text("no landmarks")
    given = read_landmarks(tmp_path)
    assert given.points[:, 0, 0].tolist() == [17, 1017, 2017]
    assert given.names == ("0000", "0001", "0002")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.npy", npy(numbered(70, 2)), "a.npy: 70 landmarks; 68, 66, 51 or 49 are understood"),
        (
            "a.npy",
            npy(np.zeros((5, 136))),
            "a.npy: an array of 5 x 136; landmarks are (frames, 68, 66, 51 or 49, 2)",
        ),
        ("a.npy", b"\x93NUMPY\1\0", "a.npy: is no .npy file of numbers"),
        ("a.npy", b"PK\3\4", "a.npy: is no .npy file of numbers"),
        ("a.npy", npy(np.array(["a"])), "a.npy: is no .npy file of numbers"),
        ("a.mat", b"MATLAB 7.3", "a.mat: is no .mat file, or one of version 7.3"),
        ("a.mat", mat(a=np.eye(3)), "a.mat: 0 arrays of landmarks in it; one of 68, 66"),
        ("a.mat", mat(a=ONE[0], b=ONE[0]), "a.mat: 2 arrays of landmarks in it"),
        ("a.pts", "version: 1\n1 2\n", "a.pts: no points between { and }, as a .pts file has them"),
        ("a.pts", "version: 1\n{\n1 2 3\n}\n", "a.pts:3: 3 numbers; 2 are needed"),
        ("a.txt", "1 2\n3 four\n", "a.txt:2: 'four' is no number"),
        ("a.txt", "1 2\n3 4\n5 6\n", "a.txt: 3 landmarks; 68, 66, 51 or 49 are understood"),
        ("a.txt", table(TWO.reshape(2, -1), " ") + "1 2\n", "a.txt:3: 2 numbers; 132 are needed"),
        ("a.txt", "", "a.txt: the list is empty"),
        ("a.csv", "x_0,y_0\n1,2\n", "a.csv:1: 1 landmarks; 68, 66, 51 or 49 are understood"),
        ("a.csv", "x_0,x_1,y_0\n1,2,3\n", "a.csv:1: 2 columns x_, but no column 'y_1'"),
        ("a.csv", openface(ONE).rsplit(",", 2)[0], "a.csv:2: 140 cells; the header has 142"),
        ("a.csv", openface(ONE).split("\n")[0], "a.csv: a header, and no landmarks below it"),
        ("a.jpg", "", "a.jpg: landmarks are read from .npy, .csv, .txt, .pts, .mat"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        read_landmarks(path)
    message = str(caught.value).removeprefix(f"{tmp_path}/")
    assert message.startswith(said)
    assert "\n" not in message


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.npy: No such file or directory"):
        read_landmarks(tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"no landmarks \(\.npy, .*\) in this folder"):
        read_landmarks(tmp_path)


# Registration -----------------------------------------------------------------------------------


def test_mean_face_has_its_eyes_where_the_paper_s_frame_has_them() -> None:
    np.testing.assert_allclose(eye_centers(MEAN_FACE), [(62, 72), (138, 72)], atol=0.05)
    assert MEAN_FACE.shape == (49, 2)


@pytest.mark.parametrize("degrees", [0, 20, -75, 180])
def test_similarity_finds_the_transform_exactly(degrees: float) -> None:
    matrix = turned(degrees)
    points = np.random.default_rng(1).random((49, 2)) * 200
    np.testing.assert_allclose(similarity(points, transform(matrix, points)), matrix, atol=1e-9)


def test_similarity_equals_umeyama_and_never_reflects() -> None:
    random = np.random.default_rng(2)
    for _ in range(20):
        source = random.random((49, 2)) * 300
        target = transform(turned(random.uniform(-180, 180)), source)
        target += random.normal(0, 20, target.shape)
        np.testing.assert_allclose(similarity(source, target), umeyama(source, target), atol=1e-9)
    mirrored = MEAN_FACE * (-1, 1)
    matrix = similarity(mirrored, MEAN_FACE)
    np.testing.assert_allclose(matrix, umeyama(mirrored, MEAN_FACE), atol=1e-9)
    assert np.linalg.det(matrix[:, :2]) > 0


def test_similarity_leaves_the_least_squares() -> None:
    random = np.random.default_rng(3)
    source, target = random.random((2, 49, 2)) * 100
    matrix = similarity(source, target)

    def squares(candidate: Array) -> float:
        return float(((transform(candidate, source) - target) ** 2).sum())

    least = squares(matrix)
    for change in (turned(0.1, 1, (0, 0)), turned(0, 1.001, (0, 0)), turned(0, 1, (0.01, 0.02))):
        moved = change[:, :2] @ matrix
        moved[:, 2] += change[:, 2]
        assert squares(moved) > least


@pytest.mark.parametrize("points", [np.ones((49, 2)), np.full((49, 2), np.nan)])
def test_similarity_of_one_spot(points: Array) -> None:
    with pytest.raises(DataError, match="lie on one spot or are not finite"):
        similarity(points, MEAN_FACE)


def blobs(points: Array, shape: tuple[int, int], radius: float = 6.0) -> Array:
    """A smooth picture: a soft bright spot, in a color of its own, at each point."""
    y, x = (np.arange(side)[:, np.newaxis] for side in shape)
    down, across = (
        np.exp(-((pixels - places) ** 2) / (2 * radius**2))
        for pixels, places in ((y, points[:, 1]), (x, points[:, 0]))
    )
    picture = np.stack([down[:, c::3] @ across[:, c::3].T for c in range(3)], axis=2)
    return np.clip(255 * picture, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [200, 100])
def test_align_brings_a_moved_face_back(size: int) -> None:
    matrix = turned(15, 1.5, (90, 40))
    points = transform(matrix, MEAN_FACE).astype(np.float32)
    picture = blobs(points, (420, 380), 9.0)
    aligned, moved = align(picture, points, size)
    assert (aligned.shape, aligned.dtype, moved.dtype) == ((size, size, 3), np.uint8, np.float32)
    np.testing.assert_allclose(moved, MEAN_FACE * size / 200, atol=1e-3)
    wanted = blobs(MEAN_FACE * size / 200, (size, size), 6.0 * size / 200)
    difference = np.abs(aligned.astype(int) - wanted)
    assert difference.max() <= 25
    assert difference.mean() < 1


def test_align_equals_opencv_s_warp_where_nothing_shrinks() -> None:
    points = transform(turned(-10, 0.8, (70, 50)), MEAN_FACE).astype(np.float32)
    picture = np.random.default_rng(4).integers(0, 256, (300, 280, 3), np.uint8)
    aligned, _ = align(picture, points)
    matrix = umeyama(points.astype(float), MEAN_FACE)
    wanted = cv2.warpAffine(picture, matrix, (200, 200), borderMode=cv2.BORDER_REPLICATE)
    # The picture is cut to what is read first, so the last bits of a coordinate can differ.
    assert np.abs(aligned.astype(int) - wanted).mean() < 0.5


@pytest.mark.parametrize("shrink", [2.0, 3.7, 9.5])
def test_large_faces_are_averaged_not_sampled(shrink: float) -> None:
    """A fine checkerboard is gray when shrunk; single pixels would be black and white."""
    side = round(220 * shrink)
    y, x = np.mgrid[:side, :side]
    picture = np.repeat((255 * ((x + y) % 2)).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)
    aligned, _ = align(picture, (MEAN_FACE * shrink + 5).astype(np.float32))
    assert np.abs(aligned.astype(int) - 127).max() <= 30


def center_of_light(picture: Array) -> Array:
    weights = picture.sum(axis=2, dtype=float)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


@pytest.mark.parametrize("shrink", [2.0, 3.0, 4.5])
def test_shrinking_keeps_places(shrink: float) -> None:
    """The bright spots of a large face come to lie where those of a small one lie."""
    points = (MEAN_FACE * shrink + 30).astype(np.float32)
    aligned, _ = align(blobs(points, (round(200 * shrink) + 60,) * 2, 6.0 * shrink), points)
    wanted = blobs(MEAN_FACE, (200, 200), 6.0)
    assert np.abs(aligned.astype(int) - wanted).max() <= 15
    np.testing.assert_allclose(center_of_light(aligned), center_of_light(wanted), atol=0.02)


def test_pictures_wider_than_opencv_takes() -> None:
    picture = np.zeros((250, 40_000, 3), np.uint8)
    picture[:, 35_000:35_200] = blobs(MEAN_FACE, (250, 200))
    aligned, _ = align(picture, (MEAN_FACE + np.array((35_000, 0))).astype(np.float32))
    assert np.abs(aligned.astype(int) - blobs(MEAN_FACE, (200, 200))).max() <= 2


def test_what_lies_beyond_the_edge() -> None:
    picture = np.full((120, 200, 3), 90, np.uint8)
    picture[:, :, 1] = np.arange(200)
    points = (MEAN_FACE - (0, 40)).astype(np.float32)
    aligned, _ = align(picture, points)
    np.testing.assert_array_equal(aligned[:, :, 0], 90)
    assert (aligned[:30, :, 1] == aligned[60, :, 1]).all()
    black = warp(picture, np.array([[1.0, 0, 0], [0, 1, 40]]), 200, repeat_edge=False)
    assert (black[:40] == 0).all()
    np.testing.assert_array_equal(black[40:160], picture)
    assert (black[160:] == 0).all()


def test_fit_of_nose_and_eyes_is_not_moved_by_the_mouth() -> None:
    points = MEAN_FACE.astype(np.float32).copy()
    points[31:] += (0, 12)
    picture = np.zeros((200, 200, 3), np.uint8)
    _, whole = align(picture, points)
    _, part = align(picture, points, fit="nose-eyes")
    np.testing.assert_allclose(part, points, atol=1e-3)
    assert np.abs(whole - points).max() > 1
    assert len(FITS["nose-eyes"]) == 21
    assert tuple(FITS) == FIT_NAMES


@pytest.mark.parametrize(
    ("move", "said"),
    [
        (lambda p: p * (-1, 1) + (FRAME, 0), "no face's, or not in their order"),
        (lambda p: p[:, ::-1], "no face's, or not in their order"),
        (lambda p: p[::-1], "no face's, or not in their order"),
        (lambda p: p + np.array((300, 0)), "do not lie in the picture, which is 200 x 200"),
        (lambda p: p * 0 + 50, "lie on one spot"),
    ],
)
def test_what_cannot_be_registered(move: Callable[[Array], Array], said: str) -> None:
    with pytest.raises(DataError, match=said):
        align(np.zeros((200, 200, 3), np.uint8), move(MEAN_FACE).astype(np.float32))
