"""`drml DEPLOY.prototxt --find-faces`: every face of pictures and videos, scored by a net."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from cli_testing import enter_small, refused

from drml.data.images import Pixels
from drml.faces import find
from drml.faces.find import Face
from drml.faces.landmarks import OF_68
from drml.faces.register import MEAN_FACE, align
from drml.faces.sources import Source, collect, count_pictures
from drml.faces.stream import FaceStream
from drml.net import Net
from drml.run import main
from drml.weights import write_mean

Array = npt.NDArray[Any]


class Marks:
    """A finder that finds as many faces as the first pixel says, each 20 pixels below the other."""

    name = "marks"

    def find(self, image: Pixels) -> list[Face]:
        faces = []
        for index in range(int(image[0, 0, 0])):
            points = np.full((68, 2), 60, np.float32)
            points[list(OF_68)] = points_at(index)
            faces.append(Face(points, 1.0))
        return faces


def points_at(index: int) -> Array:
    points: Array = (MEAN_FACE / 2 + (10, 20 * index)).astype(np.float32)
    return points


def picture(faces: int, seed: int = 0) -> Pixels:
    pixels = np.random.default_rng(seed).integers(0, 256, (160, 130, 3), np.uint8)
    pixels[0, 0] = faces
    return pixels


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(find, "FINDERS", {"marks": Marks})
    enter_small(tmp_path, monkeypatch)
    with Net("deploy.prototxt", seed=7) as net:
        net.save("small.caffemodel")
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, faces in enumerate((1, 0, 2)):
        assert cv2.imwrite(str(folder / f"{index}.png"), picture(faces, index))
    (folder / "3.jpg").write_bytes(b"no picture")
    write_video(tmp_path / "clip.avi")
    return tmp_path


def write_video(path: Path) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 25, (130, 160))
    for index in range(5):
        writer.write(picture(int(index != 1), 10 + index))
    writer.release()


NAMES = ["photos/0.png", "photos/2.png#1", "photos/2.png#2"] + [
    f"clip.avi:{i}" for i in (1, 3, 4, 5)
]
PLACES = [(1, 0, 0), (2, 2, 0), (2, 2, 1), (1, 10, 0), (1, 12, 0), (1, 13, 0), (1, 14, 0)]


def faces_of(size: int) -> list[Pixels]:
    """What NAMES stand for."""
    return [align(picture(faces, seed), points_at(i), size)[0] for faces, seed, i in PLACES]


def test_stream(small: Path) -> None:
    sources = collect(["photos", "clip.avi"])
    assert count_pictures(sources) == 9
    looked: list[int] = []
    stream = FaceStream(sources, Marks(), 64, workers=3, progress=looked.append)
    names, faces = zip(*stream, strict=True)
    assert list(names) == NAMES
    for face, wanted in zip(faces, faces_of(64), strict=True):
        np.testing.assert_array_equal(face, wanted)
    assert [(skip.where, skip.reason) for skip in stream.skipped] == [
        ("photos/1.png", "no face"),
        ("photos/3.jpg", "the image cannot be decoded"),
        ("clip.avi:2", "no face"),
    ]
    assert len(looked) == 9


def test_stream_says_what_cannot_be_read(small: Path) -> None:
    (small / "bad.avi").write_bytes(b"no video")
    sources = [Source(Path("bad.avi"), "bad"), Source(Path("gone.png"), "gone")]
    assert count_pictures(sources) == 1
    stream = FaceStream(sources, Marks(), 64)
    assert list(stream) == []
    assert [(skip.where, skip.reason) for skip in stream.skipped] == [
        ("bad.avi", "cannot be decoded as a video"),
        ("gone.png", "No such file or directory"),
    ]


@pytest.mark.parametrize("with_mean", [False, True])
def test_scores(small: Path, capsys: pytest.CaptureFixture[str], with_mean: bool) -> None:
    """Registered to 200/170 of the net's input, or to the mean's size, and cut from the middle."""
    mean = np.zeros((3, 12, 12), np.float32)
    words = ["deploy.prototxt", "--weights", "small.caffemodel", "--find-faces"]
    words += ["--input", "photos", "clip.avi", "--output", "scores.csv"]
    size = 12
    if with_mean:
        size = 14
        mean = np.random.default_rng(1).random((3, size, size), np.float32) * 200
        write_mean("m.binaryproto", mean)
        words += ["--mean", "m.binaryproto"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "note: photos/1.png: no face\n" in shown
    assert "note: photos/3.jpg: the image cannot be decoded\n" in shown
    table = list(csv.reader(Path("scores.csv").read_text().splitlines()))
    assert [row[0] for row in table[1:]] == NAMES
    edge = (size - 10) // 2
    data = np.stack([face.transpose(2, 0, 1) - mean for face in faces_of(size)])
    with Net("deploy.prototxt", weights="small.caffemodel") as net:
        net.blobs["data"].reshape(len(data), 3, 10, 10)
        wanted = net.forward(data=data[:, :, edge : edge + 10, edge : edge + 10])["prob"]
    got = np.array([row[1:] for row in table[1:]], float)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


def test_bad_use(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deploy = ["deploy.prototxt", "--weights", "small.caffemodel"]
    cv2.imwrite("plain.png", np.zeros((60, 60, 3), np.uint8))
    write_mean("wide.binaryproto", np.zeros((3, 12, 14), np.float32))
    for words, said in (
        (["--find-faces"], "--find-faces needs --input, pictures or videos"),
        (
            ["--input", "plain.png", "--finder", "marks"],
            "--finder has a use with --find-faces only",
        ),
        (
            ["--input", "plain.png", "photos/1.png", "photos/3.jpg", "--find-faces"],
            "no face to score: plain.png: no face, and 2 more",
        ),
        (["--input", "plain.png", "--find-faces"], "no face to score: plain.png: no face"),
        (["--input", "none.png", "--find-faces"], "none.png: no such file or folder"),
        (
            ["--input", "photos", "--find-faces", "--mean", "wide.binaryproto"],
            "wide.binaryproto: registered faces are square, and this mean image is not",
        ),
        (
            ["--input", "photos", "--find-faces", "--finder", "marx"],
            "unknown finder of faces 'marx'; did you mean 'marks'?",
        ),
    ):
        assert refused(capsys, *deploy, *words) == said
    error = refused(capsys, "solver.prototxt", "--find-faces")
    assert error == "solver.prototxt: is a solver, for which --find-faces has no use"
