"""BP4D and CK+ as they come, label files that are refused, and what all layouts share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prepare_testing import (
    edit,
    keys,
    label_of,
    options,
    points_68,
    write_bp4d,
    write_ckplus,
    write_disfa,
)

from drml.errors import DataError, DrmlError
from drml.prepare.bp4d import read_coding
from drml.prepare.ckplus import read_facs
from drml.prepare.clip import ImageFiles
from drml.prepare.job import choose_folds, prepare, scan
from drml.prepared import Prepared

pytestmark = pytest.mark.cpu_only

# BP4D


@pytest.mark.parametrize(
    ("folder", "digits", "ending"),
    [("2D", 4, ".jpg"), (".", 3, ".png"), ("Sequences(2D+3D)", 4, ".JPG"), ("2D", 1, ".png")],
)
def test_bp4d(tmp_path: Path, folder: str, digits: int, ending: str) -> None:
    tree = write_bp4d(
        tmp_path / "x", ["M002", "F001"], ["T1"], 12, folder=folder, digits=digits, ending=ending
    )
    data = scan(options("bp4d", tree))
    assert data.aus == ["1", "2", "12"]
    assert data.subjects == ["F001", "M002"]
    assert [clip.name for clip in data.clips] == ["F001/T1", "M002/T1"]
    assert data.clips[0].keys == tuple(f"F001/T1/{frame:04d}" for frame in range(1, 13))
    assert data.clips[0].places == tuple(range(12))
    wanted = [[label_of(frame, column) for column in range(3)] for frame in range(12)]
    assert data.clips[0].labels.tolist() == wanted
    source = data.clips[0].source
    assert isinstance(source, ImageFiles)
    # In the order of the numbers, with 2 before 10.
    assert [int(Path(path).stem) for path in source.paths] == list(range(1, 13))
    assert data.notes == []
    assert data.excluded == []


def test_keys_are_in_the_order_of_a_data_base(tmp_path: Path) -> None:
    tree = write_bp4d(tmp_path / "x", ["F001"], ["T1", "T2", "T10"], 2)
    names = keys(scan(options("bp4d", tree)))
    assert names == sorted(names)
    assert names[2] == "F001/T10/0001"


def test_aus_and_their_order(tmp_path: Path) -> None:
    tree = write_bp4d(tmp_path / "x", ["F001"], ["T1"])
    data = scan(options("bp4d", tree, aus=("12", "1")))
    assert data.aus == ["12", "1"]
    assert data.clips[0].labels[0].tolist() == [label_of(0, 2), label_of(0, 0)]


@pytest.mark.parametrize(
    ("policy", "labels", "left_out"),
    [
        ("mask", [[-1, 0], [0, 1], [1, -1]], 0),
        ("negative", [[-1, -1], [-1, 1], [1, -1]], 0),
        ("drop", [[1, -1]], 2),
    ],
)
def test_unknown_labels(
    tmp_path: Path, policy: str, labels: list[list[int]], left_out: int
) -> None:
    tree = write_bp4d(tmp_path / "x", ["F001"], ["T1"], 3)
    data = scan(options("bp4d", tree, aus=("1", "2"), unknown=policy))
    assert data.clips[0].labels.tolist() == labels
    assert data.excluded == [
        (f"F001/T1/{frame:04d}", "a label is unknown") for frame in range(1, left_out + 1)
    ]


def test_bp4d_frames_without_partners(tmp_path: Path) -> None:
    tree = write_bp4d(tmp_path / "x", tasks=["T1"])
    coding = tree / "AUCoding" / "AU_OCC"
    # A coded frame without its image, images without coding, a video without, a coding without.
    (tree / "2D" / "F001" / "T1" / "0003.jpg").unlink()
    np.save(tree / "landmarks" / "F001_T1.npy", np.float32([points_68()] * 5))
    edit(coding / "F002_T1.csv", lambda text: text[: text.index("\n3,")] + "\n")
    edit(coding / "M001_T1.csv", lambda text: text[: text.index("\n6,")] + "\n7,1,1,1\n")
    (coding / "M002_T1.csv").unlink()
    (coding / "M003_T1.csv").write_text("0,1,2,12\n1,0,0,0\n")
    data = scan(options("bp4d", tree))
    assert len(keys(data)) == 5 + 2 + 5
    assert data.excluded == [("F001/T1/0003", "no image"), ("M001/T1/0007", "no image")]
    # The landmarks are those of the images, one of which is missing.
    assert data.clips[0].places == (0, 1, 2, 3, 4)
    assert sorted(data.notes) == [
        "2 coded frames of 2 videos have no image and are left out (F001/T1: 1, ...)",
        "5 frames of 2 videos are not coded and left out (F002/T1: 4, ...)",
        "M002/T1 (1 in all): no coding; left out",
        "M003/T1 (1 in all): coding but no images; left out",
    ]


def test_occurrence_goes_before_other_codings(tmp_path: Path) -> None:
    tree = write_bp4d(tmp_path / "x", ["F001"], ["T1"])
    other = tree / "AUCoding" / "A_INT"
    other.mkdir()
    (other / "F001_T1.csv").write_text("0,6\n1,5\n")
    assert scan(options("bp4d", tree)).aus == ["1", "2", "12"]
    second = tree / "copy" / "AU_OCC"
    second.mkdir(parents=True)
    shutil.copy(tree / "AUCoding" / "AU_OCC" / "F001_T1.csv", second)
    with pytest.raises(DataError, match="codes F001/T1, and so does"):
        scan(options("bp4d", tree))


def test_one_video_in_two_places(tmp_path: Path) -> None:
    tree = write_bp4d(tmp_path / "x", ["F001"], ["T1"])
    shutil.copytree(tree / "2D" / "F001", tree / "copy" / "F001")
    with pytest.raises(DataError, match="holds frames of F001/T1, and so does"):
        scan(options("bp4d", tree))
    shutil.rmtree(tree / "copy")
    shutil.copy(tree / "2D/F001/T1/0001.jpg", tree / "2D/F001/T1/001.jpg")
    with pytest.raises(DataError, match=r"001.jpg: has the same number as 0001.jpg"):
        scan(options("bp4d", tree))


GOOD = "0,1,2\n1,0,1\n2,9,0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": the file is empty"),
        ("\0\1", ": is not a text file"),
        ("hello world", ":1: the header is not 0 and then the AUs' numbers"),
        ("frame,1,2\n1,0,1\n", ":1: the header is not 0 and then the AUs' numbers"),
        ("0,one\n", ":1: an AU is 'one', not a whole number"),
        ("0,1,1\n", ":1: the header is not 0 and then the AUs' numbers"),
        ("0,1,2\n", ": codes no frame"),
        ("0,1,2\n1,0\n", ":2: 2 values, but the header has 3"),
        ("0,1,2\n\n1,0,1\nx,0,0\n", ":4: the frame's number is 'x', not a whole number"),
        ("0,1,2\n1,0,1\n1,0,1\n", ":3: frame 1 comes twice"),
        ("0,1,2\n1,0,1\n2,0,3\n", ":3: AU 2 is '3', but 0, 1 and 9 are known"),
        ("0,1,2\n1,0,1\n2,,0\n", ":3: AU 1 is '', but 0, 1 and 9 are known"),
    ],
)
def test_bad_coding_of_bp4d(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "F001_T1.csv"
    path.write_text(GOOD)
    assert read_coding(path, [])[2].tolist() == [[-1, 1], [0, -1]]
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_coding(path, [])
    assert str(error.value).startswith(f"{path}{message}")
    assert "\n" not in str(error.value)


def test_au_that_is_not_coded(tmp_path: Path) -> None:
    tree = write_bp4d(tmp_path / "x", ["F001"], ["T1"])
    with pytest.raises(DataError, match=r"F001_T1.csv: codes no AU 99; coded are 1, 2, 12"):
        scan(options("bp4d", tree, aus=("1", "99")))


def test_au_that_no_frame_has(tmp_path: Path) -> None:
    tree = write_bp4d(tmp_path / "x", tasks=["T1"])
    for path in (tree / "AUCoding" / "AU_OCC").iterdir():
        lines = path.read_text().splitlines()
        changed = [line.rpartition(",")[0] + ",0" for line in lines[1:]]
        path.write_text("\n".join([lines[0], *changed]) + "\n")
    manifest, _ = prepare(tmp_path / "out", options("bp4d", tree))
    assert manifest["notes"] == ["AU 12: no frame has it, so it can be neither learned nor scored"]


# CK+


def test_ckplus(tmp_path: Path) -> None:
    tree = write_ckplus(tmp_path / "x")
    data = scan(options("ckplus", tree))
    assert data.aus == ["1", "12"]
    assert [clip.name for clip in data.clips] == ["S005", "S010", "S011"]
    assert data.clips[1].keys == ("S010/001/00000003", "S010/002/00000003")
    # Intensity 0 says that AU 1 was not graded, not that it is absent.
    assert data.clips[0].labels.tolist() == [[-1, 1], [-1, 1]]
    assert data.clips[1].labels.tolist() == [[1, 1], [1, 1]]
    prepare(tmp_path / "out", options("ckplus", tree))
    prepared = Prepared(tmp_path / "out")
    assert len(prepared.keys) == 6
    assert prepared.videos[:2] == ["001", "002"]
    with pytest.raises(DrmlError, match="no folds come with drml for ckplus"):
        choose_folds(options("ckplus", tree, folds="drml"), data)


def test_ckplus_au_that_nobody_shows_is_absent(tmp_path: Path) -> None:
    tree = write_ckplus(tmp_path / "x")
    data = scan(options("ckplus", tree, aus=("12", "24")))
    assert data.clips[0].labels.tolist() == [[1, -1], [1, -1]]


def test_ckplus_without_an_image_or_landmarks(tmp_path: Path) -> None:
    tree = write_ckplus(tmp_path / "x")
    (tree / "cohn-kanade-images/S005/001/S005_001_00000003.png").unlink()
    data = scan(options("ckplus", tree))
    assert data.excluded == [("S005/001/00000003", "no image")]
    assert data.notes == ["1 coded frames have no image and are left out"]
    (tree / "Landmarks/S010/001/S010_001_00000003_landmarks.txt").unlink()
    with pytest.raises(DataError, match="no landmarks of S010/001/00000003"):
        scan(options("ckplus", tree))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": the file is empty"),
        ("happy", ":1: is not an AU and its intensity: 'happy'"),
        ("1 2 3", ":1: is not an AU and its intensity: '1 2 3'"),
        ("1 0\n2.5 0", ":2: is not an AU and its intensity: '2.5 0'"),
        ("1 0\nnan 0", ":2: is not an AU and its intensity: 'nan 0'"),
        ("1 6", ":1: is not an AU and its intensity: '1 6'"),
        ("1 0\n1 2", ":2: AU 1 comes twice"),
    ],
)
def test_bad_coding_of_ckplus(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "S005_001_00000011_facs.txt"
    path.write_text("   9.0000000e+00   0.0000000e+00\n")
    assert read_facs(path) == {"9": 0.0}
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_facs(path)
    assert str(error.value) == f"{path}{message}"


# What all layouts share


@pytest.mark.parametrize("dataset", ["bp4d", "disfa", "ckplus"])
def test_trees_with_nothing_in_them(tmp_path: Path, dataset: str) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        scan(options(dataset, tmp_path / "nowhere", points=None, landmarks="find"))
    (tmp_path / "2D" / "F001" / "T1").mkdir(parents=True)
    (tmp_path / "2D" / "F001" / "T1" / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"no (images|videos or frames) of"):
        scan(options(dataset, tmp_path, points=None, landmarks="find"))
    file = tmp_path / "2D" / "F001" / "T1" / "notes.txt"
    with pytest.raises(DataError, match="is not a folder"):
        scan(options(dataset, file, points=None, landmarks="find"))


@pytest.mark.parametrize(
    ("dataset", "write", "folder"),
    [
        ("bp4d", write_bp4d, "AUCoding"),
        ("disfa", write_disfa, "ActionUnit_Labels"),
        ("ckplus", write_ckplus, "FACS"),
    ],
)
def test_trees_without_coding(
    tmp_path: Path, dataset: str, write: Callable[[Path], Path], folder: str
) -> None:
    tree = write(tmp_path / "x")
    shutil.rmtree(tree / folder)
    with pytest.raises(DataError, match="no coding of"):
        scan(options(dataset, tree))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((5, 68, 2)), "landmarks of 5 frames, but"),
        (np.zeros((7, 68, 2)), "landmarks of 7 frames, but"),
        (np.zeros((6, 67, 2)), "67 landmarks; 68, 66, 51 or 49 are understood"),
        (np.zeros((6, 136)), "an array of 6 x 136; landmarks are (frames, 68, 66, 51 or 49, 2)"),
        (np.array(["x"] * 6), "is no .npy file of numbers"),
        (None, "is no .npy file of numbers"),
    ],
)
@pytest.mark.parametrize("dataset", ["bp4d", "disfa"])
def test_landmarks_that_do_not_fit(
    tmp_path: Path, dataset: str, points: np.ndarray[Any, Any] | None, message: str
) -> None:
    tree = (write_bp4d if dataset == "bp4d" else write_disfa)(tmp_path / "x")
    path = next(iter(sorted((tree / "landmarks").iterdir())))
    if points is None:
        path.write_bytes(b"nothing")
    else:
        np.save(path, points)
    with pytest.raises(DataError) as error:
        scan(options(dataset, tree))
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    path.unlink()
    with pytest.raises(DataError, match=f"no landmarks of .*; there is no {path.stem} "):
        scan(options(dataset, tree))


@pytest.mark.parametrize("count", [66, 51, 49])
def test_landmarks_of_other_mark_ups(tmp_path: Path, count: int) -> None:
    tree = write_bp4d(tmp_path / "x")
    prepare(tmp_path / "a", options("bp4d", tree))
    for path in (tree / "landmarks").iterdir():
        points = np.load(path)
        taken = {
            66: [*range(60), *range(61, 64), *range(65, 68)],
            51: list(range(17, 68)),
            49: [point for point in range(17, 68) if point not in (60, 64)],
        }[count]
        np.save(path, points[:, taken])
    prepare(tmp_path / "b", options("bp4d", tree))
    one, other = Prepared(tmp_path / "a"), Prepared(tmp_path / "b")
    np.testing.assert_array_equal(one.landmarks, other.landmarks)


def test_without_a_subject_nobody_has(tmp_path: Path) -> None:
    tree = write_disfa(tmp_path / "x")
    with pytest.raises(DataError, match="no subject SN01 to leave out; did you mean 'SN001'"):
        scan(options("disfa", tree, without=("SN01",)))


def test_subjects_in_no_fold_are_noted(tmp_path: Path) -> None:
    tree = write_bp4d(tmp_path / "x")
    (tmp_path / "folds.json").write_text('{"test": [["F001"], ["F002"]]}')
    given = options("bp4d", tree, folds=str(tmp_path / "folds.json"))
    data = scan(given)
    choose_folds(given, data)
    assert data.notes == [
        f"2 of 4 subjects are in no test list of {tmp_path / 'folds.json'}, so they are never "
        "tested on (M001, M002)"
    ]
