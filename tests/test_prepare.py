"""`prepare` as a whole: what the folder holds, and the command line."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from cli_testing import contents, refused
from prepare_testing import face, label_of, options, points_68, write_bp4d

from drml.commands.prepare import summary
from drml.data.lmdb_source import LmdbSource
from drml.errors import DrmlError
from drml.faces.find import Face
from drml.faces.landmarks import to_49
from drml.faces.register import align
from drml.prepare.job import prepare
from drml.prepared import Prepared
from drml.run import main
from drml.weights import read_mean

pytestmark = pytest.mark.cpu_only


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_bp4d(tmp_path / "BP4D")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_what_the_folder_holds(tree: Path, out: Path) -> None:
    manifest, complete = prepare(out, options("bp4d", tree))
    assert not complete
    prepared = Prepared(out)
    assert prepared.manifest == manifest
    assert prepared.aus == ["1", "2", "12"]
    assert len(prepared.keys) == 48
    assert prepared.keys == sorted(prepared.keys)
    assert prepared.keys[:7:6] == ["F001/T1/0001", "F001/T2/0001"]
    wanted = [[label_of(frame, column) for column in range(3)] for frame in range(6)]
    assert prepared.labels.tolist() == 8 * wanted
    source = LmdbSource(out / "faces.lmdb")
    assert [source.key(index) for index in range(48)] == prepared.keys
    for index in range(48):
        sample = source.read(index)
        picture, points = align(face(index), to_49(points_68(turn=index), "here"))
        assert np.abs(sample.pixels.astype(int) - picture).mean() < 2
        np.testing.assert_allclose(prepared.landmarks[index], points, atol=1e-3)
        assert sample.label.tolist() == prepared.labels[index].tolist()
    source.close()
    assert not (out / "parts").exists()
    assert sorted(path.name for path in (out / "contact").iterdir()) == [
        f"{subject}.png" for subject in ("F001", "F002", "M001", "M002")
    ]
    assert cv2.imread(str(out / "contact" / "F001.png")) is not None
    assert (out / "excluded.csv").read_text() == "key,reason\n"


def test_counts_and_checksums(tree: Path, out: Path) -> None:
    manifest, _ = prepare(out, options("bp4d", tree))
    counts = manifest["counts"]
    assert (counts["frames"], counts["subjects"], counts["videos"]) == (48, 4, 8)
    assert counts["aus"]["12"] == {"positives": 16, "negatives": 16, "unknown": 16}
    assert manifest["folds"][0]["test"] == {"frames": 24, "of": 24, "subjects": 2}
    files = {name for name in contents(out) if not name.endswith("/")} - {"manifest.json"}
    assert set(manifest["sha256"]) == files
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest


def test_folds_share_no_subject_and_have_their_own_mean(tree: Path, out: Path) -> None:
    prepare(out, options("bp4d", tree))
    prepared = Prepared(out)
    tested: set[str] = set()
    for number in (1, 2):
        fold = prepared.fold(number)
        owners = [{key[:4] for key in keys} for keys in (fold.train, fold.val, fold.test)]
        assert len(set.union(*owners)) == sum(map(len, owners)) == 4
        tested |= owners[2]
        source = LmdbSource(out / "faces.lmdb", keys=fold.folder / "train.txt")
        images = [source.read(index).pixels for index in range(len(source))]
        source.close()
        mean = np.mean(images, axis=0).transpose(2, 0, 1)
        np.testing.assert_allclose(read_mean(fold.mean), mean, rtol=1e-6)
    assert tested == {"F001", "F002", "M001", "M002"}


def test_sampling_thins_out_the_train_lists_alone(tmp_path: Path) -> None:
    tree = write_bp4d(tmp_path / "BP4D", frames=12, tasks=["T1"])
    prepare(tmp_path / "all", options("bp4d", tree))
    prepare(tmp_path / "some", options("bp4d", tree, sampling=(1, 1)))
    prepare(tmp_path / "tests", options("bp4d", tree, sampling=(1, 1), sample_test=True))
    whole, some, tests = (Prepared(tmp_path / name) for name in ("all", "some", "tests"))
    assert some.keys == whole.keys
    assert set(some.fold(1).train) < set(whole.fold(1).train)
    assert some.fold(1).test == whole.fold(1).test
    assert tests.fold(1).train == some.fold(1).train
    assert set(tests.fold(1).test) < set(whole.fold(1).test)
    assert tests.fold(1).val


def test_frames_that_cannot_be_used_are_listed(tree: Path, out: Path) -> None:
    points = np.load(tree / "landmarks" / "F001_T1.npy")
    points[0] = np.nan
    points[1] = 0
    points[2] += 1000
    points[3] = 50
    np.save(tree / "landmarks" / "F001_T1.npy", points)
    frames = tree / "2D" / "F001" / "T1"
    (frames / "0005.jpg").write_bytes((frames / "0005.jpg").read_bytes()[:300])
    (frames / "0006.jpg").write_bytes(b"no picture")
    manifest, _ = prepare(out, options("bp4d", tree))
    assert "F001/T1/0001" not in Prepared(out).keys
    with (out / "excluded.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == [f"F001/T1/{frame:04d}" for frame in range(1, 7)]
    assert [row["reason"] for row in rows] == [
        "no landmarks",
        "the landmarks lie on one spot or are not finite",
        "the landmarks do not lie in the picture, which is 120 x 120",
        "the landmarks lie on one spot or are not finite",
        "the image is cut short",
        "the image cannot be decoded",
    ]
    assert manifest["counts"]["frames"] == 42
    assert manifest["counts"]["excluded"]["the image is cut short"] == 1
    text = "\n".join(summary(out, manifest))
    assert "6 coded frames are left out (excluded.csv): 1 no landmarks, 1 the image" in text


def test_nothing_is_left(tree: Path, out: Path) -> None:
    for path in (tree / "landmarks").iterdir():
        np.save(path, np.full((6, 68, 2), np.nan, np.float32))
    with pytest.raises(DrmlError, match="no frame is left; of the first, no landmarks"):
        prepare(out, options("bp4d", tree))
    assert not (out / "manifest.json").exists()


def test_a_fold_without_frames(tree: Path, out: Path) -> None:
    for path in (tree / "landmarks").glob("F001*"):
        np.save(path, np.full((6, 68, 2), np.nan, np.float32))
    folds = tree / "folds.json"
    folds.write_text('{"test": [["F001"]]}')
    with pytest.raises(DrmlError, match="fold 1: no frame of its test subjects is left"):
        prepare(out, options("bp4d", tree, folds=str(folds)))


class Faces:
    """Finds as many faces as the lists of `found` have, one list for each picture."""

    name = "faces"

    def __init__(self, found: list[list[int]]) -> None:
        self.found = found

    def find(self, image: Any) -> list[Face]:
        return [Face(np.float32(points_68(turn)), 1.0) for turn in self.found.pop(0)]


def test_landmarks_are_found(tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [[], [1, 2], [3]] + [[0]] * 45

    def open_finder(name: str) -> Faces:
        return Faces(found)

    monkeypatch.setattr("drml.prepare.job.open_finder", open_finder)
    monkeypatch.setattr("drml.prepare.run.open_finder", open_finder)
    manifest, _ = prepare(out, options("bp4d", tree, landmarks="find", points=None))
    assert (out / "excluded.csv").read_text().splitlines()[1:] == [
        "F001/T1/0001,no face found",
        "F001/T1/0002,2 faces found",
    ]
    assert manifest["options"]["finder"] == "faces"
    _, points = align(face(2), to_49(points_68(turn=3), "here"))
    np.testing.assert_allclose(Prepared(out).landmarks[0], points, atol=1e-3)


def test_no_finder(tree: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["prepare", "bp4d", tree, out, "--landmarks", "find", "--finder"]
    assert "unknown finder of faces 'mediapip'" in refused(capsys, *words, "mediapip")
    assert not out.exists()


def test_pictures_that_are_registered_already(tree: Path, out: Path) -> None:
    prepare(out, options("bp4d", tree, landmarks="none", points=None, size=60))
    prepared = Prepared(out)
    assert np.isnan(prepared.landmarks).all()
    source = LmdbSource(out / "faces.lmdb")
    small = cv2.resize(face(5), (60, 60))
    assert np.abs(source.read(5).pixels.astype(int) - small).mean() < 3
    source.close()
    assert (out / "contact" / "F001.png").is_file()


# The command line


def test_command(tree: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["prepare", "bp4d", str(tree), str(out), "--aus", "AU01,12", "--folds", "2"]
    assert main([*words, "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    assert "48 frames of 4 subjects in 8 videos, 200 x 200" in printed
    assert "12        16        16       16  50.0 %" in printed
    assert main([*words, "--threads", "1"]) == 0
    assert f"{out}: is complete already" in capsys.readouterr().out
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["options"]["aus"] == "1,12"
    assert manifest["options"]["sampling"] == "100,200"
    assert manifest["options"]["landmarks"] == "given"
    assert manifest["name"] == "BP4D"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bp4"], "invalid choice: 'bp4'"),
        (["bp4d", "--threshold", "2"], "--threshold has no use for bp4d, only for disfa"),
        (["bp4d", "--camera", "left"], "--camera has no use for bp4d, only for disfa"),
        (["disfa", "--root", "x"], "--root has no use for disfa, only for list"),
        (["ckplus", "--unknown", "drop"], "--unknown has no use for ckplus, only for bp4d and"),
        (["list", "--subject", "x", "--subjects", "y"], "give one"),
        (["disfa", "--threshold", "6"], "must be 1 to 5, got '6'"),
        (["bp4d", "--aus", "1,x"], "'x' is no AU"),
        (["bp4d", "--aus", "1,01"], "must be AUs, each once"),
        (["bp4d", "--aus", "1,"], "must be names, each once"),
        (["bp4d", "--sampling", "100"], "must be paper, all or P+N"),
        (["list", "--sampling", "paper"], "the paper samples BP4D and DISFA, not list"),
        (["bp4d", "--validation", "1"], "must be 0 or more and below 1"),
        (["bp4d", "--size", "8"], "must be 16 to 4096"),
        (["bp4d", "--finder", "dlib"], "--finder has a use with --landmarks find only"),
        (["bp4d", "--fold", "2"], "unknown option '--fold'; did you mean '--folds'?"),
        (["bp4d", "--landmarks", "nowhere"], "nowhere: no such folder of landmarks"),
        (["bp4d", "--folds", "nowhere.json", "--aus", "all"], "nowhere.json: No such file"),
        (["bp4d", "--folds", "0", "--aus", "all"], "0 folds; two or more are needed"),
        (
            ["bp4d", "--folds", "9", "--aus", "all"],
            "9 folds need as many subjects; the data hold 4",
        ),
        (["bp4d", "--without", "F009", "--aus", "all"], "has no subject F009 to leave out"),
        (["bp4d", "--aus", "all"], "--folds drml: fold 1 names F008 and 10 more, whom the data"),
        (["bp4d"], "F001_T1.csv: codes no AU 4; coded are 1, 2, 12"),
    ],
)
def test_bad_command_lines(
    tree: Path, out: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    line = refused(capsys, "prepare", words[0], tree, out, *words[1:], "--threads", "1")
    assert message in line
    assert not out.exists()
