"""`align`: videos, and landmarks that come with the data."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_testing import command, only_error, refused
from faces_testing import Marks, picture, pictures_of, points_at, rows, run, write, write_video

from drml.faces import find
from drml.faces.given import read_landmarks
from drml.faces.register import align
from drml.faces.video import Video

pytestmark = pytest.mark.cpu_only


@pytest.fixture(autouse=True)
def marks(monkeypatch: pytest.MonkeyPatch) -> type[Marks]:
    monkeypatch.setattr(find, "FINDERS", {"marks": Marks})
    Marks.looked = 0
    return Marks


# Videos -----------------------------------------------------------------------------------------


def test_a_video_follows_its_face(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second person comes in at frame 3 and is the first that the finder names."""
    frames = [
        picture(0, [(0, 0), (90, 0)]),
        picture(1, [(10, 0)]),
        picture(2, [(90, 0), (14, 0)]),
        picture(3, []),
        picture(4, [(90, 0), (20, 0)]),
    ]
    video = write_video(tmp_path / "clip.avi", frames)
    run(video, tmp_path / "out", "--encode", "png")
    assert pictures_of(tmp_path / "out") == [f"clip/0000{i}.png" for i in (2, 3, 5)]
    for frame, left in ((2, 10), (3, 14), (5, 20)):
        wanted, _ = align(frames[frame - 1], points_at(left))
        got = cv2.imread(str(tmp_path / "out" / "clip" / f"0000{frame}.png"))
        np.testing.assert_array_equal(got, wanted)
    assert [(row["frame"], row["reason"]) for row in rows(tmp_path / "out" / "skipped.csv")] == [
        ("1", "2 faces"),
        ("4", "no face"),
    ]
    assert "3 faces of 200 x 200 written" in capsys.readouterr().out


def test_a_video_goes_on_with_the_face_that_it_had(tmp_path: Path, marks: type[Marks]) -> None:
    video = write_video(tmp_path / "clip.avi", [picture(i, [(90, 0), (9, 0)]) for i in range(4)])
    run(video, tmp_path / "out", "--largest")
    marks.looked = 0
    for frame in (2, 4):
        (tmp_path / "out" / "clip" / f"0000{frame}.jpg").unlink()
    # Without --largest, what was written decides who is followed.
    run(video, tmp_path / "out")
    assert len(pictures_of(tmp_path / "out")) == 4
    assert marks.looked == 2


def test_videos_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_video(tmp_path / "in" / "good.avi", [picture(i) for i in range(20)])
    (tmp_path / "in" / "bad.mp4").write_bytes(b"no video at all")
    data = good.read_bytes()
    (tmp_path / "in" / "cut.avi").write_bytes(data[: len(data) * 2 // 3])
    run(tmp_path / "in", tmp_path / "out")
    shown, noise = capsys.readouterr()
    assert noise == ""
    lines = shown.splitlines()
    assert lines[1] == f"{tmp_path}/in/bad.mp4: cannot be decoded as a video"
    assert len(lines) == 3
    assert lines[2].startswith(f"{tmp_path}/in/cut.avi: ends early: ")
    read = int(lines[2].split()[-7])
    assert 0 < read < 20
    assert len(pictures_of(tmp_path / "out")) == 20 + read


def test_one_bad_video_is_an_error(tmp_path: Path) -> None:
    """In a process of its own: FFmpeg's own lines go to its stderr."""
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    np.save(tmp_path / "bad.npy", points_at())
    done = command("align", "bad.mp4", "out", "--landmarks", "bad.npy", cwd=tmp_path)
    assert done.returncode == 2
    assert only_error(done.stderr) == "bad.mp4: cannot be decoded as a video"


def test_video_says_how_many_frames_it_has(tmp_path: Path) -> None:
    video = Video(write_video(tmp_path / "a.avi", [picture(i) for i in range(3)]))
    assert video.promised == 3
    frames = list(video)
    np.testing.assert_array_equal(frames[2], picture(2))
    assert (video.read, video.problem) == (3, None)


# Given landmarks --------------------------------------------------------------------------------


def test_landmarks_in_the_order_of_the_pictures(tmp_path: Path, marks: type[Marks]) -> None:
    for index in range(3):
        write(tmp_path / "in" / f"{index}.png", picture(index))
    given = np.stack([points_at(10 * index) for index in range(3)])
    given[1] = np.nan
    np.save(tmp_path / "given.npy", given)
    run(tmp_path / "in", tmp_path / "out", "--landmarks", tmp_path / "given.npy")
    assert marks.looked == 0
    assert pictures_of(tmp_path / "out") == ["0.jpg", "2.jpg"]
    np.testing.assert_allclose(
        read_landmarks(tmp_path / "out" / "source_landmarks.csv").points, given[[0, 2]], atol=1e-3
    )
    (skip,) = rows(tmp_path / "out" / "skipped.csv")
    assert skip["reason"] == "no landmarks given"


def test_landmarks_by_the_pictures_names(tmp_path: Path) -> None:
    for index in range(3):
        write(tmp_path / "in" / f"{index}.png", picture(index, [(10 * index, 0)]))
    run(tmp_path / "in", tmp_path / "found")
    table = tmp_path / "found" / "source_landmarks.csv"
    write(tmp_path / "in" / "3.png", picture(3))
    run(tmp_path / "in", tmp_path / "again", "--landmarks", table)
    for name in ("0.jpg", "1.jpg", "2.jpg"):
        wanted = (tmp_path / "found" / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == wanted
    assert len(pictures_of(tmp_path / "again")) == 3


def test_a_folder_of_landmarks(tmp_path: Path) -> None:
    write(tmp_path / "in" / "s1" / "a.png", picture())
    write(tmp_path / "in" / "s2" / "a.png", picture())
    write_video(tmp_path / "in" / "clip.avi", [picture(i) for i in range(3)])
    write_video(tmp_path / "in" / "other.avi", [picture(i) for i in range(2)])
    marks = tmp_path / "marks"
    for name in ("s1", "s2", "other"):
        (marks / name).mkdir(parents=True)
    np.save(marks / "s1" / "a.npy", points_at(10))
    np.savetxt(marks / "s2" / "a.txt", points_at(20))
    np.save(marks / "clip.npy", np.stack([points_at(1), points_at(2)]))
    for frame in (0, 1):
        np.savetxt(marks / "other" / f"{frame}.txt", points_at(30 + frame))
    run(tmp_path / "in", tmp_path / "out", "--landmarks", marks)
    found = {
        row["picture"]: float(row["x_0"]) - points_at()[0, 0]
        for row in rows(tmp_path / "out" / "source_landmarks.csv")
    }
    assert {name: round(x) for name, x in found.items()} == {
        "clip/00001.jpg": 1,
        "clip/00002.jpg": 2,
        "other/00001.jpg": 30,
        "other/00002.jpg": 31,
        "s1/a.jpg": 10,
        "s2/a.jpg": 20,
    }
    (skip,) = rows(tmp_path / "out" / "skipped.csv")
    assert (Path(skip["source"]).name, skip["frame"]) == ("clip.avi", "3")


def test_landmarks_that_are_no_face_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "a.png", picture())
    np.savetxt(tmp_path / "a.txt", points_at()[::-1])
    error = refused(capsys, "align", source, tmp_path / "out", "--landmarks", tmp_path / "a.txt")
    assert error.startswith(f"{source}: the landmarks are no face's, or not in their order")
