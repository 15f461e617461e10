"""`align`: pictures, lists, videos, given and found landmarks, and what stops or spoils a run."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from cli_testing import command, contents, only_error, refused

from drml.data.images import Pixels
from drml.errors import WeightsError
from drml.faces import aligner, find, record
from drml.faces.find import Face
from drml.faces.given import read_landmarks
from drml.faces.landmarks import OF_68
from drml.faces.register import MEAN_FACE, align
from drml.faces.video import Video
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


@pytest.fixture(autouse=True)
def marks(monkeypatch: pytest.MonkeyPatch) -> type[Marks]:
    monkeypatch.setattr(find, "FINDERS", {"marks": Marks})
    Marks.looked = 0
    return Marks


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


# Pictures ---------------------------------------------------------------------------------------


def test_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "in" / "a.png", picture(1))
    write(tmp_path / "in" / "deep" / "b.png", picture(2, [(30, 0)]))
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    write(tmp_path / "in" / ".hidden" / "c.png", picture(3))
    out = tmp_path / "out"
    run(tmp_path / "in", out, "--encode", "png")
    shown, noise = capsys.readouterr()
    assert shown == f"{out}: 2 faces of 200 x 200 written (landmarks of finder marks)\n"
    assert noise == ""
    assert pictures_of(out) == ["a.png", "deep/b.png"]
    for name, pixels, left in (("a.png", picture(1), 0), ("deep/b.png", picture(2, [(30, 0)]), 30)):
        wanted, points = align(pixels, points_at(left))
        np.testing.assert_array_equal(cv2.imread(str(out / name)), wanted)
        (found,) = (row for row in rows(out / "landmarks.csv") if row["picture"] == name)
        assert float(found["x_13"]) == pytest.approx(points[13, 0], abs=1e-3)
        assert float(found["y_48"]) == pytest.approx(points[48, 1], abs=1e-3)
        assert (found["frame"], found["score"]) == ("", "0.9000")
    given = read_landmarks(out / "source_landmarks.csv")
    assert given.names == ("a.png", "deep/b.png")
    np.testing.assert_allclose(given.points[1], points_at(30), atol=1e-3)
    sheet = cv2.imread(str(out / "contact.png"))
    assert sheet.shape == (128, 256, 3)
    assert (sheet == (80, 255, 80)).all(axis=2).sum() > 60
    assert rows(out / "skipped.csv") == []
    assert json.loads((out / "align.json").read_text())["settings"]["size"] == 200


def test_size_fit_and_quality(tmp_path: Path) -> None:
    source = write(tmp_path / "a.png", picture())
    run(source, tmp_path / "one", "--size", 96)
    run(source, tmp_path / "two", "--size", 96, "--quality", 10, "--fit", "nose-eyes")
    assert cv2.imread(str(tmp_path / "one" / "a.jpg")).shape == (96, 96, 3)
    sizes = [(tmp_path / name / "a.jpg").stat().st_size for name in ("one", "two")]
    assert sizes[1] < sizes[0]
    assert json.loads((tmp_path / "two" / "align.json").read_text())["settings"] == {
        "size": 96,
        "fit": "nose-eyes",
        "encoding": "jpg",
        "landmarks": "of finder marks",
    }


def test_what_is_left_out_is_listed_and_never_fatal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    write(folder / "1.png", picture())
    write(folder / "2.png", picture(0, []))
    write(folder / "3.png", picture(0, [(0, 0), (90, 0)]))
    write(folder / "4.png", picture(0, []))
    (folder / "5.jpg").write_bytes(b"no picture")
    (folder / "6.jpg").write_bytes(b"")
    run(folder, tmp_path / "out")
    assert [
        (Path(row["source"]).name, row["reason"]) for row in rows(tmp_path / "out/skipped.csv")
    ] == [
        ("2.png", "no face"),
        ("3.png", "2 faces"),
        ("4.png", "no face"),
        ("5.jpg", "the image cannot be decoded"),
        ("6.jpg", "the image is empty"),
    ]
    assert capsys.readouterr().out.splitlines()[1] == (
        "left out: no face 2, 2 faces 1, the image cannot be decoded 1, the image is empty 1 "
        f"(see {tmp_path}/out/skipped.csv)"
    )
    assert pictures_of(tmp_path / "out") == ["1.jpg"]


def test_the_largest_face(tmp_path: Path) -> None:
    source = write(tmp_path / "a.png", picture(0, [(90, 0), (0, 0)]))
    run(source, tmp_path / "out", "--largest", "--encode", "png")
    wanted, _ = align(picture(0, [(90, 0), (0, 0)]), points_at(90))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out" / "a.png")), wanted)


def test_lists_and_their_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "faces" / "a b.png", picture())
    write(tmp_path / "faces" / "c.png", picture(0, []))
    write(tmp_path / "faces" / "d 1.png", picture())
    list_file = tmp_path / "faces" / "list.txt"
    list_file.write_text("a b.png 1 -1 0\nc.png -1 -1 -1\n\nd 1.png 0 +1 1\nnone.png 1 1 1\n")
    monkeypatch.chdir(tmp_path)
    run("faces/list.txt", "out")
    assert (tmp_path / "out" / "list.txt").read_text() == "a b.jpg 1 -1 0\nd 1.jpg 0 +1 1\n"
    assert [row["reason"] for row in rows(Path("out/skipped.csv"))] == [
        "no face",
        "No such file or directory",
    ]
    list_file.write_text("a b.png\nd 1.png\n")
    run("faces/list.txt", "plain")
    assert sorted(contents(Path("plain"))) == [
        "a b.jpg",
        "align.json",
        "contact.png",
        "d 1.jpg",
        "landmarks.csv",
        "skipped.csv",
        "source_landmarks.csv",
    ]


def test_out_may_lie_in_the_folder_that_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.png", picture())
    run(tmp_path, tmp_path / "out")
    write(tmp_path / "b.png", picture())
    run(tmp_path, tmp_path / "out")
    assert pictures_of(tmp_path / "out") == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("workers", [1, 5])
def test_results_do_not_depend_on_workers(tmp_path: Path, workers: int) -> None:
    for index in range(12):
        write(tmp_path / "in" / f"{index}.png", picture(index))
    run(tmp_path / "in", tmp_path / "a", "--workers", workers)
    run(tmp_path / "in", tmp_path / "b", "--workers", 3)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


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


# Going on, and stopping -------------------------------------------------------------------------


def test_what_is_there_is_kept(
    tmp_path: Path, marks: type[Marks], capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(3):
        write(tmp_path / "in" / f"{index}.png", picture(index))
    run(tmp_path / "in", tmp_path / "out")
    before = contents(tmp_path / "out")
    kept = tmp_path / "out" / "1.jpg"
    time = kept.stat().st_mtime_ns
    # As a power cut may leave one.
    (tmp_path / "out" / "0.jpg").write_bytes(b"")
    (tmp_path / "out" / "2.jpg").unlink()
    write(tmp_path / "in" / "3.png", picture(3))
    marks.looked = 0
    capsys.readouterr()
    run(tmp_path / "in", tmp_path / "out")
    assert marks.looked == 3
    assert kept.stat().st_mtime_ns == time
    after = contents(tmp_path / "out")
    assert {name: after[name] for name in ("0.jpg", "1.jpg", "2.jpg")} == {
        name: before[name] for name in ("0.jpg", "1.jpg", "2.jpg")
    }
    assert "3 faces of 200 x 200 written, and 1 from before" in capsys.readouterr().out
    assert pictures_of(tmp_path / "out") == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


@pytest.mark.parametrize("cut", [0, 40])
def test_a_run_that_was_stopped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marks: type[Marks], cut: int
) -> None:
    """It stops in the middle, at worst within a row of its journal."""
    for index in range(12):
        write(tmp_path / "in" / f"{index:02}.png", picture(index))
    run(tmp_path / "in", tmp_path / "whole")
    real, written = aligner.atomic_write, []

    def write_seven(path: Path, content: bytes, *, durable: bool) -> None:
        if len(written) == 7:
            raise WeightsError(f"{path}: cannot be written: No space left on device")
        real(path, content, durable=durable)
        written.append(path)

    monkeypatch.setattr(aligner, "atomic_write", write_seven)
    assert main(["align", str(tmp_path / "in"), str(tmp_path / "out"), "--workers", "1"]) == 2
    journal = tmp_path / "out" / ".align.journal"
    if cut:
        journal.write_bytes(journal.read_bytes()[:-cut])
    assert not (tmp_path / "out" / "landmarks.csv").exists()
    monkeypatch.setattr(aligner, "atomic_write", real)
    marks.looked = 0
    run(tmp_path / "in", tmp_path / "out")
    assert marks.looked == 12 - 7 + bool(cut)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_full_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "a.png", picture())

    def full(path: Path, content: bytes, *, durable: bool) -> None:
        raise WeightsError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr(aligner, "atomic_write", full)
    error = refused(capsys, "align", source, tmp_path / "out")
    assert error == f"{tmp_path}/out/a.jpg: cannot be written: No space left on device"


def test_the_journal_stays_until_all_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "a.png", picture())

    def fail(*_: object) -> None:
        raise WeightsError("stopped")

    monkeypatch.setattr(record, "contact_sheet", fail)
    assert main(["align", str(source), str(tmp_path / "out")]) == 2
    monkeypatch.undo()
    assert (tmp_path / "out" / ".align.journal").exists()


# Bad input --------------------------------------------------------------------------------------


def test_other_settings_need_another_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "a.png", picture())
    run(source, tmp_path / "out")
    error = refused(capsys, "align", source, tmp_path / "out", "--size", 100)
    assert error == f"{tmp_path}/out: was filled with size 200, not 100; choose another folder"
    table = tmp_path / "out" / "source_landmarks.csv"
    table.write_text(table.read_text()[:-5] + "none\n")
    error = refused(capsys, "align", source, tmp_path / "out")
    assert error == f"{tmp_path}/out: the row of a.jpg is not 'align's"
    (tmp_path / "out" / "align.json").write_text("[]")
    error = refused(capsys, "align", source, tmp_path / "out")
    assert error == f"{tmp_path}/out/align.json: is not what 'align' writes there"


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in" / "a.png", picture())
    error = refused(capsys, "align", source, tmp_path / "in")
    assert error == f"{tmp_path}/in: is there, and is no empty folder, nor one of 'align'"
    error = refused(capsys, "align", source, source)
    assert error.startswith(f"{source}: is there")


def test_bad_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    write(tmp_path / "in" / "a.png", picture())
    write(tmp_path / "in" / "a.jpg", picture())
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.doc").write_text("x")
    (tmp_path / "a.txt").write_text("")
    write(tmp_path / "none.png", picture(0, []))
    write(tmp_path / "blank" / "1.png", picture(0, []))
    write(tmp_path / "blank" / "2.png", picture(0, []))
    np.save(tmp_path / "two.npy", np.stack([points_at()] * 2))
    np.save(tmp_path / "70.npy", np.zeros((70, 2)))
    single = write(tmp_path / "b.png", picture())
    cases: list[tuple[list[object], str]] = [
        ([tmp_path / "nothing"], f"{tmp_path}/nothing: no such file or folder"),
        ([tmp_path / "empty"], f"{tmp_path}/empty: no picture and no video in this folder"),
        (
            [tmp_path / "a.doc"],
            f"{tmp_path}/a.doc: is no picture, video or list (.txt), by its ending",
        ),
        ([tmp_path / "a.txt"], f"{tmp_path}/a.txt: the list is empty"),
        (
            [tmp_path / "in"],
            f"{tmp_path}/in/a.png: would be written as a, as {tmp_path}/in/a.jpg",
        ),
        ([tmp_path / "none.png"], f"{tmp_path}/none.png: no face"),
        (
            [tmp_path / "blank"],
            f"no face was aligned; of 2 pictures: no face (2); see {out}/skipped.csv",
        ),
        (
            [single, "--landmarks", tmp_path / "two.npy"],
            f"{tmp_path}/two.npy: landmarks of 2 frames, for 1 files; give as many, or their names "
            "in a column 'picture'",
        ),
        (
            [single, "--landmarks", tmp_path / "70.npy"],
            f"{tmp_path}/70.npy: 70 landmarks; 68, 66, 51 or 49 are understood",
        ),
        ([single, "--landmarks", "no.npy"], "no.npy: no such file or folder"),
        ([single, "--finder", "mark"], "unknown finder of faces 'mark'; did you mean 'marks'?"),
        (
            [single, "--landmarks", tmp_path / "two.npy", "--finder", "marks"],
            "--finder has no use with --landmarks",
        ),
        (
            [single, "--encode", "png", "--quality", 5],
            "--quality has a use for JPEG files only, not with --encode png",
        ),
        ([single, "--size", 8], "argument --size: must be 16 to 4096, got '8'"),
    ]
    for words, said in cases:
        assert refused(capsys, "align", words[0], out, *words[1:]) == said
        if out.exists() and not any(out.glob("*.csv")):
            pytest.fail(f"{said}: {contents(out)}")


def test_a_missing_finder_names_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> Marks:
        raise find.NotInstalledError("finder 'marks' needs marks: pip install marks")

    monkeypatch.setattr(find, "FINDERS", {"marks": missing})
    source = write(tmp_path / "a.png", picture())
    error = refused(capsys, "align", source, tmp_path / "out")
    assert error.endswith("finder 'marks' needs marks: pip install marks")
    assert not (tmp_path / "out").exists()
