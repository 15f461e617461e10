"""`align`: pictures and lists, what is left out, going on after a stop, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_testing import contents, refused
from faces_testing import Marks, picture, pictures_of, points_at, rows, run, write

from drml.errors import WeightsError
from drml.faces import aligner, find, record
from drml.faces.given import read_landmarks
from drml.faces.register import align
from drml.run import main

pytestmark = pytest.mark.cpu_only


@pytest.fixture(autouse=True)
def marks(monkeypatch: pytest.MonkeyPatch) -> type[Marks]:
    monkeypatch.setattr(find, "FINDERS", {"marks": Marks})
    Marks.looked = 0
    return Marks


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
