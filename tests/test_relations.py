"""AU relation tables against the formulas, counted frame by frame, and the command."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from cli_testing import contents, refused, write_faces
from report_testing import write_prepared

from drml.errors import UsageError
from drml.relations import (
    Relations,
    common_aus,
    distance,
    read_relations,
    relation_table,
)
from drml.run import main

pytestmark = pytest.mark.cpu_only


def phi(x: list[int], y: list[int]) -> float:
    """Pearson's correlation of two lists of 0 and 1; NaN where one is constant."""
    if len(set(x)) < 2 or len(set(y)) < 2:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def reference(labels: npt.NDArray[np.int8]) -> npt.NDArray[np.float64]:
    """The table, pair by pair and frame by frame."""
    count = labels.shape[1]
    table = np.full((count, count), math.nan)
    for i in range(count):
        if len({value for value in labels[:, i].tolist() if value}) == 2:
            table[i, i] = 1
        for j in range(i + 1, count):
            known = [(a > 0, b > 0) for a, b in labels[:, [i, j]].tolist() if a and b]
            either = [(a, b) for a, b in known if a or b]
            table[i, j] = phi([int(a) for a, _ in known], [int(b) for _, b in known])
            table[j, i] = phi([int(a) for a, _ in either], [int(b) for _, b in either])
    return table


@pytest.mark.parametrize("seed", range(20))
def test_table_is_the_formulas(seed: int) -> None:
    random = np.random.default_rng(seed)
    mood = random.normal(size=(60, 1))
    labels = np.where(mood + random.normal(size=(60, 6)) > 0.4, 1, -1).astype(np.int8)
    labels[random.random(labels.shape) < 0.2] = 0
    np.testing.assert_allclose(relation_table(labels), reference(labels), atol=1e-12)


def test_below_the_diagonal_is_never_positive() -> None:
    labels = np.where(np.random.default_rng(0).random((500, 8)) < 0.4, 1, -1)
    below = relation_table(labels)[np.tril_indices(8, -1)]
    assert (below <= 0).all()
    assert below.min() < -0.3


def test_a_case_by_hand() -> None:
    """3 frames with both, 2 and 1 with one alone, 4 with neither, and one that is unknown."""
    both, first, second = [(1, 1)] * 3, [(1, -1)] * 2, [(-1, 1)]
    labels = np.array([*both, *first, *second, *[(-1, -1)] * 4, (0, 1)])
    table = relation_table(labels)
    assert table[0, 1] == pytest.approx((3 * 4 - 2 * 1) / math.sqrt(5 * 5 * 4 * 6))
    assert table[1, 0] == pytest.approx((3 * 0 - 2 * 1) / math.sqrt(5 * 1 * 4 * 2))


def test_what_is_not_defined_is_nan() -> None:
    labels = np.array([[1, 1, 0], [1, -1, 0], [1, 1, 0], [-1, -1, 0]])
    table = relation_table(labels)
    assert math.isnan(table[0, 2])
    assert math.isnan(table[2, 2])
    # AU 1 is in all frames that show AU 0 or AU 1.
    assert math.isnan(table[1, 0])
    assert table[0, 1] == pytest.approx(1 / math.sqrt(3))
    with pytest.raises(UsageError, match=r"labels of shape \(3,\)"):
        relation_table([1, -1, 1])


def test_distance_of_twelve_aus_is_the_norm_over_144() -> None:
    random = np.random.default_rng(1)
    one, other = random.uniform(-1, 1, (2, 12, 12))
    found = distance(one, other)
    assert found.value == pytest.approx(math.sqrt(((one - other) ** 2).sum()) / 144)
    assert (found.cells, found.left_out) == (144, 0)
    assert distance(one, one).value == 0


def test_distance_leaves_out_what_is_not_defined() -> None:
    one, other = np.zeros((2, 2)), np.array([[3.0, 4.0], [0.0, math.nan]])
    assert distance(one, other).value == pytest.approx(5 / 3)
    assert distance(one, other).left_out == 1
    assert math.isnan(distance(one, np.full((2, 2), math.nan)).value)
    with pytest.raises(UsageError, match="cannot be compared"):
        distance(one, np.zeros((3, 3)))


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the same labels in every form, for AUs 1, 4 and 12."""
    monkeypatch.chdir(tmp_path)
    keys, labels = write_prepared(tmp_path / "prepared", ("1", "4", "12"))
    scores = np.where(labels == 0, 0.5, -labels).astype(np.float32)
    np.savez("p.npz", keys=keys, labels=labels, scores=scores)
    write_faces(tmp_path, 1)
    lines = [f"images/0.png {' '.join(map(str, row))}\n" for row in labels.tolist()]
    (tmp_path / "list.txt").write_text("".join(lines))
    return tmp_path


def test_every_source_gives_the_same_table(sources: Path) -> None:
    names = ["1", "4", "12"]
    (prepared,) = read_relations(Path("prepared"))
    assert prepared.aus == names
    (listed,) = read_relations(Path("list.txt"), names)
    (lmdb,) = read_relations(Path("prepared/faces.lmdb"), names)
    labels, predictions = read_relations(Path("p.npz"), names)
    for other in (listed, lmdb, labels):
        np.testing.assert_array_equal(other.labels, prepared.labels)
    # What is unknown among the labels is left out of the predictions.
    np.testing.assert_array_equal(predictions.labels, -prepared.labels)


def test_command_writes_and_tells(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["relations", "prepared", "p.npz", "--aus", "1,4,12", "--csv", "t.csv"]
    assert main([*words, "--png", "t.png"]) == 0
    shown = capsys.readouterr().out
    tables = [*read_relations(Path("prepared")), *read_relations(Path("p.npz"), ["1", "4", "12"])]
    assert "distance of labels of p.npz to labels of prepared: 0.00000 (over 9 cells)" in shown
    far = distance(tables[0].table, tables[2].table).value
    assert f"distance of predictions of p.npz to labels of prepared: {far:.5f}" in shown
    for table, path in zip(tables, ("t.csv", "t_2.csv", "t_3.csv"), strict=True):
        with open(path, newline="") as file:
            header, *rows = csv.reader(file)
        assert header == ["au", "1", "4", "12"]
        read = np.array([[float(cell) if cell else math.nan for cell in row[1:]] for row in rows])
        np.testing.assert_allclose(read, table.table, atol=1e-6)
    image = cv2.imread("t.png")
    assert image is not None
    assert image.shape[1] > 2 * image.shape[0]


def test_tables_of_different_aus_are_compared_where_they_meet(
    sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prepared(sources / "other", ("4", "12", "25"))
    assert main(["relations", "prepared", "other"]) == 0
    shown = capsys.readouterr().out
    assert "not in all of them, so left out: 1, 25" in shown
    assert "(over 4 cells)" in shown
    empty = np.zeros((0, 1), np.int8)
    with pytest.raises(UsageError, match="a and b have no AU in common"):
        common_aus([Relations("a", ["1"], empty), Relations("b", ["2"], empty)])


def test_bad_input(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sources / "no.npz").write_bytes(b"PK no archive")
    np.savez("short.npz", labels=np.zeros((3, 2), np.int8))
    np.savez("shape.npz", labels=np.zeros((3, 2), np.int8), scores=np.zeros((3, 1)))
    frames = (sources / "prepared" / "frames.csv").read_text()
    (sources / "prepared" / "frames.csv").write_text(frames.replace(",1\n", ",x\n", 1))
    before = contents(sources)
    assert refused(capsys, "relations", "none") == "none: no such file or folder"
    assert "is no .npz file of predictions" in refused(capsys, "relations", "no.npz")
    assert "no arrays 'labels' and 'scores'" in refused(capsys, "relations", "short.npz")
    assert "must both be (frames, AUs)" in refused(capsys, "relations", "shape.npz")
    assert "a label is no number" in refused(capsys, "relations", "prepared")
    assert "--aus names 2 AUs" in refused(capsys, "relations", "p.npz", "--aus", "1,2")
    assert "must end in .png" in refused(capsys, "relations", "p.npz", "--png", "t.jpg")
    assert contents(sources) == before
