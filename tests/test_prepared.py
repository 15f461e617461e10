"""The reader of a prepared folder: what it gives, and folders that are not one or are damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from drml.errors import DataError
from drml.prepared import Prepared

pytestmark = pytest.mark.cpu_only

KEYS = ["F001/T1/0001", "F001/T1/0002", "F002/T1/0001", "M001/T2/0007"]
LABELS = [[1, -1], [0, 1], [-1, -1], [1, 0]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prepared folder without its pictures."""
    counts = {"frames": 4}
    manifest = {"format": 1, "dataset": "bp4d", "name": "BP4D", "size": 200, "aus": ["1", "12"]}
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "counts": counts}))
    rows = ["key,subject,video,frame,AU1,AU12"]
    for key, labels in zip(KEYS, LABELS, strict=True):
        rows.append(",".join([key, *key.split("/"), *map(str, labels)]))
    (tmp_path / "frames.csv").write_text("\n".join(rows) + "\n")
    points = np.arange(4 * 49 * 2, dtype=np.float32).reshape(4, 49, 2)
    np.save(tmp_path / "landmarks.npy", points)
    folds = {"test": [["F002"]], "validation": [[]]}
    (tmp_path / "folds.json").write_text(json.dumps(folds))
    (tmp_path / "folds" / "1").mkdir(parents=True)
    for name, keys in {"train": [*KEYS[:2], KEYS[3]], "val": [], "test": KEYS[2:3]}.items():
        (tmp_path / "folds" / "1" / f"{name}.txt").write_text("".join(f"{k}\n" for k in keys))
    return tmp_path


def test_what_it_gives(folder: Path) -> None:
    prepared = Prepared(folder)
    assert prepared.aus == ["1", "12"]
    assert (prepared.dataset, prepared.name, prepared.size) == ("bp4d", "BP4D", 200)
    assert prepared.keys == KEYS
    assert prepared.subjects == ["F001", "F001", "F002", "M001"]
    assert prepared.videos == ["T1", "T1", "T1", "T2"]
    assert prepared.frames == ["0001", "0002", "0001", "0007"]
    assert prepared.labels.dtype == np.int8
    assert prepared.labels.tolist() == LABELS
    assert prepared.landmarks.shape == (4, 49, 2)
    assert prepared.landmarks[1, 0].tolist() == [98, 99]
    assert prepared.folds.test == (("F002",),)
    assert prepared.rows(["M001/T2/0007", "F001/T1/0001"]).tolist() == [3, 0]


def test_fold(folder: Path) -> None:
    fold = Prepared(str(folder)).fold(1)
    assert fold.train == [*KEYS[:2], KEYS[3]]
    assert fold.val == []
    assert fold.test == KEYS[2:3]
    assert fold.mean == folder / "folds" / "1" / "mean.binaryproto"


@pytest.mark.parametrize("number", [0, 2, -1])
def test_no_such_fold(folder: Path, number: int) -> None:
    with pytest.raises(DataError, match=f"no fold {number}; there are 1"):
        Prepared(folder).fold(number)


def test_no_such_frame(folder: Path) -> None:
    with pytest.raises(DataError, match="no frame 'F001/T1/002'; did you mean 'F001/T1/0002'"):
        Prepared(folder).rows(["F001/T1/002"])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("manifest.json", "{", "", "manifest.json: cannot be read"),
        ("manifest.json", '"format": 1', '"format": "x"', "is not a manifest that `drml prepare`"),
        ("manifest.json", '"format": 1', '"format": 2', "has format 2; this version of drml reads"),
        ("frames.csv", "AU12", "AU2", "its header is not key,subject,video,frame,AU1,AU12"),
        ("frames.csv", "F002/T1/0001,F002,T1,0001,-1,-1\n", "", "has 3 frames, but manifest.json"),
        ("frames.csv", "-1,-1", "-1,x", "a label is no number, or a row is cut short"),
        ("frames.csv", "-1,-1", "-1,999", "a label is no number, or a row is cut short"),
        ("frames.csv", ",-1,-1", ",-1", "a label is no number, or a row is cut short"),
    ],
)
def test_damaged(folder: Path, name: str, old: str, new: str, message: str) -> None:
    edit(folder / name, old, new)
    with pytest.raises(DataError) as error:
        Prepared(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_landmarks_that_do_not_fit(folder: Path) -> None:
    np.save(folder / "landmarks.npy", np.zeros((3, 49, 2), np.float32))
    with pytest.raises(DataError, match=r"landmarks of shape \(3, 49, 2\) for 4 frames"):
        _ = Prepared(folder).landmarks
    (folder / "landmarks.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"landmarks.npy: cannot be read"):
        _ = Prepared(folder).landmarks


def test_not_a_prepared_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        Prepared(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is no prepared folder, or not finished"):
        Prepared(tmp_path)
