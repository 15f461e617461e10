"""Lists in the authors' format: whose the images are, their labels and landmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from prepare_testing import face, keys, options, points_68

from drml.errors import DataError, DrmlError
from drml.prepare.job import prepare, scan
from drml.prepared import Prepared

pytestmark = pytest.mark.cpu_only


def write_pictures(folder: Path, names: list[str], labels: str = "1 -1 0") -> Path:
    """A list of pictures with these names, all with the same labels."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), face(number))
    path = folder / "list.txt"
    path.write_text("".join(f"{name} {labels}\n" for name in names))
    return path


def listed(path: Path, **changed: Any) -> Any:
    given = {"landmarks": "none", "points": None, "aus": ("1", "2", "12")}
    return options("list", path, **given | changed)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("images/F001_T1_0001.jpg", "F001/T1/0001"),
        ("F001/T1/0001.jpg", "F001/T1/0001"),
        ("S005/001/S005_001_00000011.png", "S005/001/00000011"),
        ("SN001/12.png", "SN001/images/12"),
        ("x/M012_smile_b_7.png", "M012/smile_b/7"),
    ],
)
def test_list_names_subject_video_and_frame(tmp_path: Path, name: str, key: str) -> None:
    data = scan(listed(write_pictures(tmp_path, [name])))
    assert keys(data) == [key]
    assert data.clips[0].labels.tolist() == [[1, -1, 0]]


def test_list_by_rule_and_by_file(tmp_path: Path) -> None:
    names = ["anna/happy1.png", "anna/happy2.png", "ben/sad1.png"]
    path = write_pictures(tmp_path, names)
    with pytest.raises(DataError, match=r"list.txt:1: no subject in anna/happy1.png; --subject is"):
        scan(listed(path))
    rule = r"(?P<subject>\w+)/(?P<video>[a-z]+)(?P<frame>\d)"
    wanted = ["anna/happy/1", "anna/happy/2", "ben/sad/1"]
    assert keys(scan(listed(path, subject=rule))) == wanted
    assert scan(listed(path, subject=r"(\w+)/")).subjects == ["anna", "ben"]
    (tmp_path / "who.txt").write_text("".join(f"{name} {name[0]}\n" for name in reversed(names)))
    assert scan(listed(path, subjects=tmp_path / "who.txt")).subjects == ["a", "b"]
    (tmp_path / "who.txt").write_text("x\ny\nz\n")
    assert scan(listed(path, subjects=tmp_path / "who.txt")).subjects == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"subject": "("}, "--subject '(': is no regular expression"),
        ({"subject": "x"}, "--subject 'x': has no group that is the subject"),
        ({"subject": "(y?)"}, "list.txt:1: no subject in a/x.png"),
        (
            {"subject": r"(?P<subject>x)(?P<video>\.)"},
            "list.txt:2: has the key x/./x as line 1 has; --subject with groups subject, video and",
        ),
        ({"aus": ("1",)}, "--aus names 1 AUs, but"),
        ({"aus": ()}, "has 3 labels a line, not those of the paper's 12 AUs"),
        ({"subjects": "two.txt"}, "two.txt: 1 subjects for the 2 images of a list"),
        ({"subjects": "gap.txt"}, "gap.txt: does not say whose b/x.png is"),
        ({"subjects": "bad.txt"}, "bad.txt:2: is not `path subject`: 'b/x.png'"),
        ({"subjects": "cross.txt"}, "cross.txt:2: a/x.png is B, and A before"),
    ],
)
def test_bad_lists(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = write_pictures(tmp_path, ["a/x.png", "b/x.png"])
    (tmp_path / "two.txt").write_text("A\n")
    (tmp_path / "gap.txt").write_text("a/x.png A\n")
    (tmp_path / "bad.txt").write_text("a/x.png A\nb/x.png\n")
    (tmp_path / "cross.txt").write_text("a/x.png A\na/x.png B\n")
    if "subjects" in changed:
        changed = changed | {"subjects": tmp_path / changed["subjects"]}
    with pytest.raises(DrmlError) as error:
        scan(listed(path, **changed))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_list_labels_0_and_1(tmp_path: Path) -> None:
    path = write_pictures(tmp_path, ["F001_1.png", "F002_1.png"], "1 0 0")
    with pytest.raises(DataError, match="holds labels 0 and 1 but no -1"):
        scan(listed(path))
    data = scan(listed(path, unknown="negative"))
    assert data.clips[0].labels.tolist() == [[1, -1, -1]]


def test_list_with_landmarks(tmp_path: Path) -> None:
    names = ["F001_1.png", "F001_2.png", "F002_1.png", "F002_2.png"]
    path = write_pictures(tmp_path, names)
    points = tmp_path / "points"
    points.mkdir()
    np.save(points / "F001_1.npy", points_68())
    np.savetxt(points / "F001_2.txt", points_68())
    text = "\n".join(f"{x} {y}" for x, y in points_68() + 1)
    (points / "F002_1.pts").write_text(f"version: 1\nn_points: 68\n{{\n{text}\n}}\n")
    (points / "F002_2.txt").write_text("1 2\nnothing\n")
    prepare(tmp_path / "out", listed(path, landmarks="given", points=points))
    prepared = Prepared(tmp_path / "out")
    assert prepared.keys == ["F001/images/1", "F001/images/2", "F002/images/1"]
    np.testing.assert_allclose(prepared.landmarks[0], prepared.landmarks[2], atol=1e-3)
    line = (tmp_path / "out" / "excluded.csv").read_text().splitlines()[1]
    assert "F002_2.txt:2: 'nothing' is no number" in line
