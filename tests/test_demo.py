"""The demo's faces: where points go, what the pictures look like, and that they can be learned."""

from __future__ import annotations

import re
import shutil
import socket
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from drml.data.lmdb_source import LmdbSource
from drml.demo import muscles
from drml.demo.faces import draw, make_person, sitter
from drml.demo.landmarks import EYES, PARTED, REST, eye_centers, index
from drml.demo.make_data import (
    LOADINGS,
    PER_PERSON,
    RATES,
    UNKNOWN_RATE,
    draw_expression,
    draw_person,
    make_faces,
)
from drml.demo.report import write_report
from drml.demo.texture import EDGE, canvas, photograph, textures
from drml.demo.warp import ThinPlate, dense_map, least_area, unfolded
from drml.errors import DataError, DrmlError, NetError, UsageError
from drml.faces.names import FRAME
from drml.faces.register import similarity, transform
from drml.run import main

Labels = NDArray[np.int64]


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 300 training and 120 test pictures."""
    out = tmp_path_factory.mktemp("demo") / "set"
    make_faces(out, 300, 120, seed=1)
    return out


def read_set(out: Path, name: str) -> tuple[list[str], list[NDArray[np.uint8]], Labels]:
    """File names, pictures and labels of a list."""
    rows = [line.split() for line in (out / f"{name}.txt").read_text().splitlines()]
    images = [np.asarray(cv2.imread(str(out / row[0])), np.uint8) for row in rows]
    return [row[0] for row in rows], images, np.array([row[1:] for row in rows], np.int64)


def strength_of(*numbers: int, by: float = 1.0) -> NDArray[np.float64]:
    """Full strength of some AUs, on both sides."""
    strength = np.zeros((len(muscles.AUS), 2))
    for number in numbers:
        strength[muscles.AUS.index(number)] = by
    return strength


# Points and warps


def test_photograph_comes_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the photograph was looked for on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert photograph().shape == (512, 512, 3)


def test_points_are_registered_to_the_eye_centers() -> None:
    eyes = eye_centers(REST)
    np.testing.assert_allclose(eyes, EYES, atol=0.3)
    turned = transform(np.array([[0.6, -0.8, 3.0], [0.8, 0.6, -7.0]]), REST)
    back = similarity(eye_centers(turned), eyes)
    np.testing.assert_allclose(transform(back, turned), REST, atol=1e-9)


def test_eyes_of_the_marked_points_are_dark_in_the_photograph() -> None:
    texture = cv2.cvtColor(textures().closed, cv2.COLOR_BGR2GRAY)
    for name in ("iris_l", "iris_r"):
        x, y = canvas(REST[index(name)]).astype(int)
        pupil, cheek = (
            texture[y - 3 : y + 4, x - 3 : x + 4],
            texture[y + 35 : y + 42, x - 3 : x + 4],
        )
        assert pupil.mean() < 0.6 * cheek.mean()


def test_mirror_swaps_sides_and_undoes_itself() -> None:
    for point in range(len(REST)):
        other = muscles.mirror(point)
        assert muscles.mirror(other) == point
        assert abs(REST[point, 0] + REST[other, 0] - 200) < 14, point
        assert abs(REST[point, 1] - REST[other, 1]) < 14, point


def test_plate_takes_its_values_at_its_points() -> None:
    rng = np.random.default_rng(0)
    points, values = rng.uniform(0, 200, (20, 2)), rng.uniform(0, 200, (20, 2))
    plate = ThinPlate(points, values)
    for point, value in zip(points, values, strict=True):
        np.testing.assert_allclose(plate.grid(point[:1], point[1:])[0, 0], value, atol=0.02)


def test_dense_map_of_points_that_stay_is_the_identity_and_mirrors() -> None:
    plate = ThinPlate(EDGE, EDGE)
    x, y = dense_map(plate, 0, 1, 53)
    np.testing.assert_allclose(x, np.tile(np.arange(53.0), (53, 1)), atol=2e-3)
    np.testing.assert_allclose(y, x.T, atol=4e-3)
    flipped, _ = dense_map(plate, 0, 1, 53, mirror=200)
    np.testing.assert_allclose(flipped, 200 - x, atol=4e-3)


def test_unfolded_stiffens_where_points_cross() -> None:
    target = np.vstack([EDGE, [(100.0, 100.0), (100.0, 104.0)]])
    source = np.vstack([EDGE, [(100.0, 101.0), (100.0, 99.0)]])
    nodes = np.arange(0.0, 201.0, 5.0)
    assert least_area(ThinPlate(target, source, 2e-4).grid(nodes, nodes)) < 0
    assert least_area(unfolded(target, source, 0, FRAME).grid(nodes, nodes)) > 0


# Muscles


@pytest.mark.parametrize(
    ("number", "point", "axis", "sign"),
    [
        (1, 21, 1, -1),  # the inner brow rises
        (2, 18, 1, -1),  # the outer brow rises
        (4, 21, 1, 1),  # the brow falls
        (4, 21, 0, 1),  # and comes to the middle
        (6, "cheek_l", 1, -1),  # the cheek rises
        (6, 41, 1, -1),  # and pushes the lower lid up
        (7, 37, 1, 1),  # the upper lid falls
        (7, 41, 1, -1),  # the lower lid rises
        (10, 50, 1, -1),  # the upper lip rises
        (12, 48, 1, -1),  # the corner of the lips rises
        (12, 48, 0, -1),  # and goes out
        (14, 48, 0, -1),  # the corner is pulled out
        (15, 48, 1, 1),  # the corner falls
        (17, "chin", 1, -1),  # the chin rises
        (17, 57, 1, -1),  # and pushes the lower lip up
        (23, 48, 0, 1),  # the mouth grows narrow
        (24, 57, 1, -1),  # the lips grow thin
        (24, 50, 1, 1),
    ],
)
def test_action_moves_its_points(number: int, point: int | str, axis: int, sign: int) -> None:
    moved = muscles.move(REST, strength_of(number), parted=False) - REST
    left = index(point)
    assert sign * moved[left, axis] > 1.5
    other = moved[muscles.mirror(left), axis]
    assert abs(other - moved[left, axis] * (-1 if axis == 0 else 1)) < 0.5


def test_points_at_rest_stay() -> None:
    for rest, parted in ((REST, False), (PARTED, True)):
        moved = muscles.move(rest, np.zeros((12, 2)), parted)
        np.testing.assert_allclose(moved, rest, atol=1e-9)


def test_one_side_alone_moves_one_side() -> None:
    strength = strength_of(12)
    strength[:, 1] = 0
    moved = np.abs(muscles.move(REST, strength, parted=False) - REST).max(axis=1)
    assert moved[48] > 5
    assert moved[54] == 0


def test_lips_and_eyes_keep_their_order_under_all_muscles_at_once() -> None:
    closed = muscles.move(REST, np.ones((12, 2)), parted=False)
    np.testing.assert_array_equal(closed[[61, 62, 63]], closed[[67, 66, 65]])
    parted = muscles.move(PARTED, np.ones((12, 2)), parted=True)
    assert (parted[[67, 66, 65], 1] - parted[[61, 62, 63], 1] > 2).all()
    for upper, lower in muscles.LIDS:
        assert closed[lower, 1] - closed[upper, 1] > 2.5
    for outer, inner in muscles.OUTER_TO_INNER.items():
        above = outer < 54
        assert (closed[inner, 1] - closed[outer, 1] > 0) == above


# Pictures


def test_each_action_changes_the_picture_where_its_muscle_is() -> None:
    def look(strength: NDArray[np.float64]) -> NDArray[np.float64]:
        picture = draw(sitter(), strength, False, np.random.default_rng(5))
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), 2), np.float64).mean(axis=2)

    rest = look(np.zeros((12, 2)))
    for number in muscles.AUS:
        change = np.abs(look(strength_of(number)) - rest)
        middle = np.average(np.arange(FRAME), weights=change.sum(axis=1) ** 2)
        assert change.max() > 15, number
        assert (middle < 115) == (number in (1, 2, 4, 6, 7)), (number, middle)


def test_pictures_have_no_folds_and_no_black_borders() -> None:
    for number in range(4):
        person = make_person(np.random.default_rng([3, number]))
        for picture in range(5):
            rng = np.random.default_rng([4, number, picture])
            shown = draw_expression(rng)
            rest = PARTED if shown.parted else REST
            keep = slice(None) if shown.parted else muscles.CLOSED
            points = muscles.move(rest + person.offset, shown.strength, shown.parted)
            ends = np.vstack([points[keep], EDGE]), np.vstack([rest[keep], EDGE])
            nodes = np.arange(0.0, FRAME + 1, 5.0)
            assert least_area(unfolded(*ends, 0, FRAME).grid(nodes, nodes)) > 0
            image = draw(person, shown.strength, shown.parted, rng)
            assert image.shape == (FRAME, FRAME, 3)
            assert image.dtype == np.uint8
            assert all(edge.max() > 10 for edge in (image[0], image[:, 0], image[:, -1]))


def test_parted_lips_show_teeth() -> None:
    teeth_x, teeth_y = canvas((PARTED[62] + PARTED[66]) / 2).round().astype(int)
    seam_x, seam_y = canvas(REST[62]).round().astype(int)
    darkest = textures().parted[teeth_y, teeth_x].min()
    assert darkest > 150
    assert textures().closed[seam_y, seam_x].min() < darkest - 50


# The data set


def test_expressions_have_the_rates_and_the_company_asked_for() -> None:
    rng = np.random.default_rng(0)
    shown = [draw_expression(rng) for _ in range(4000)]
    labels = np.array([one.labels for one in shown])
    wanted = np.array(RATES) * (1 - UNKNOWN_RATE)
    np.testing.assert_allclose((labels == 1).mean(axis=0), wanted, atol=0.03)
    assert abs((labels == 0).mean() - UNKNOWN_RATE) < 0.01
    together = np.corrcoef((labels == 1).T)
    row = {number: place for place, number in enumerate(muscles.AUS)}
    assert together[row[6], row[12]] > 0.3
    assert together[row[1], row[2]] > 0.2
    for one in shown[:200]:
        full = one.strength.mean(axis=1)
        assert (full[one.labels == 1] > 0.6).all()
        assert (full[one.labels == -1] == 0).all()
        assert ((full[one.labels == 0] > 0.1) & (full[one.labels == 0] < 0.45)).all()
    assert set(LOADINGS) == set(muscles.AUS)


def test_lists_are_in_the_authors_format_and_share_no_person(small_set: Path) -> None:
    people: dict[str, set[str]] = {}
    for name, count in (("train", 300), ("test", 120)):
        lines = (small_set / f"{name}.txt").read_text().splitlines()
        assert len(set(lines)) == count
        assert all(re.fullmatch(r"images/P\d{3}_\d\d\.jpg( (-1|0|1)){12}", line) for line in lines)
        people[name] = {line[:11] for line in lines}
        assert len(people[name]) == -(-count // PER_PERSON)
    assert not people["train"] & people["test"]
    _, images, labels = read_set(small_set, "train")
    assert {image.shape for image in images} == {(200, 200, 3)}
    present = (labels == 1).mean(axis=0)
    assert present.min() > 0.08
    assert present.max() < 0.7
    sheet = cv2.imread(str(small_set / "contact_sheet.png"))
    assert sheet is not None
    assert min(sheet.shape[:2]) > 800


def test_same_seed_same_bytes_whatever_the_threads(tmp_path: Path) -> None:
    def contents(name: str, seed: int, threads: int) -> dict[str, bytes]:
        make_faces(tmp_path / name, 14, 3, seed, threads)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files}

    first = contents("one", 0, 1)
    assert len(first) == 14 + 3 + 3
    assert contents("two", 0, 3) == first
    other = contents("three", 1, 2)
    assert set(other) == set(first)
    assert all(other[name] != first[name] for name in first)


def test_a_machine_learns_the_labels_of_people_it_never_saw(small_set: Path) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.metrics import roc_auc_score

    def features(images: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
        rows = []
        for image in images:
            gray = cv2.cvtColor(image[15:185, 15:185], cv2.COLOR_BGR2GRAY)
            small = cv2.resize(gray, (42, 42), interpolation=cv2.INTER_AREA).astype(float).ravel()
            rows.append((small - small.mean()) / small.std())
        return np.array(rows)

    _, train_images, train = read_set(small_set, "train")
    _, test_images, test = read_set(small_set, "test")
    seen, unseen = features(train_images), features(test_images)
    scores = Ridge(alpha=300.0).fit(seen, train).predict(unseen)
    areas = [
        roc_auc_score(label[label != 0] > 0, score[label != 0])
        for label, score in zip(test.T, scores.T, strict=True)
    ]
    assert np.mean(areas) > 0.8, np.round(areas, 2)
    assert sum(area > 0.7 for area in areas) >= 10, np.round(areas, 2)


# The command


def run_demo(*words: object) -> int:
    return main(["demo", *map(str, words), "--threads", "2"])


def test_demo_trains_and_shows_what_it_learnt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # An iteration of DRML at full size takes long under the emulator.
    monkeypatch.setattr("drml.demo.train.BATCH_SIZE", 4)
    out = tmp_path / "demo"
    assert run_demo(out, "--train", 16, "--test", 12, "--minutes", 0.01) == 0
    shown = capsys.readouterr().out
    for name in ("data/contact_sheet.png", "loss.png", "predictions.png", "summary.txt"):
        assert (out / name).stat().st_size > 0
        assert str(out / name) in shown
    assert "all-positive" in (out / "summary.txt").read_text()
    assert list(out.glob("*.caffemodel"))


def test_demo_makes_lists_and_data_bases_and_may_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    data = out / "data"
    assert run_demo(out, "--train", 26, "--test", 13, "--data-only") == 0
    for name, count in (("train", 26), ("test", 13)):
        names, images, labels = read_set(data, name)
        source = LmdbSource(data / f"{name}_lmdb", learning=True)
        try:
            assert len(source) == count
            for place in range(count):
                sample = source.read(place)
                assert source.key(place).endswith(names[place])
                np.testing.assert_array_equal(sample.pixels, images[place])
                np.testing.assert_array_equal(sample.label, labels[place])
        finally:
            source.close()
    assert run_demo(out, "--train", 12, "--test", 2, "--seed", 3, "--data-only") == 0
    assert len(list((data / "images").iterdir())) == 14
    assert "train_lmdb: 12 faces" in capsys.readouterr().out


def test_demo_keeps_off_folders_that_it_did_not_make(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.txt").write_text("mine")
    assert run_demo(tmp_path, "--train", 12) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "holds files that the demo did not make" in error
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt"]
    assert run_demo(tmp_path / "train.txt") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_demo_takes_the_lists_of_a_data_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "given" / "aligned"
    (given / "images").mkdir(parents=True)
    lines = []
    for face in draw_person(0, 0, 4):
        cv2.imwrite(str(given / "images" / face.name), face.image)
        lines.append(f"images/{face.name} {' '.join(map(str, face.labels))}\n")
    (given / "train_1.txt").write_text("".join(lines[:3]))
    (given / "test_1.txt").write_text(lines[3])
    out = tmp_path / "out"
    assert run_demo(out, "--train", 12, "--test", 12, "--data-only") == 0
    assert run_demo(out, "--data", given.parent, "--train", 2, "--data-only") == 0
    assert not (out / "data" / "train.txt").exists()
    shown = capsys.readouterr().out
    assert "train_lmdb: 2 faces" in shown
    assert "test_lmdb: 1 faces" in shown
    shutil.rmtree(given)
    assert run_demo(tmp_path / "new", "--data", given.parent) == 2
    assert "train_1.txt: no such file; --data needs a folder" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_demo_without_scikit_image_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    textures.cache_clear()
    with pytest.raises(DrmlError, match=r"pip install drml\[demo\]"):
        make_faces(tmp_path, 12, 12)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(DataError, match=r"images: File exists"):
        make_faces(tmp_path, 12, 12)


# The report


@pytest.fixture(scope="module")
def results() -> tuple[list[NDArray[np.uint8]], Labels, NDArray[np.float64], list[str]]:
    """Thirteen pictures, their labels, logits that are right half of the time, and names."""
    rng = np.random.default_rng(0)
    faces = draw_person(0, 0, 13)
    labels = np.array([face.labels for face in faces])
    scores = labels + rng.normal(0, 1.5, labels.shape)
    return [face.image for face in faces], labels, scores, [str(number) for number in muscles.AUS]


def test_report_draws_faces_and_tells_how_the_loss_fell(
    tmp_path: Path,
    results: tuple[list[NDArray[np.uint8]], Labels, NDArray[np.float64], list[str]],
) -> None:
    entries = (f'{{"event": "train", "iteration": {at}, "loss": {9 - at}}}' for at in range(5))
    (tmp_path / "metrics.jsonl").write_text("\n".join(entries) + "\n")
    files = write_report(tmp_path, *results)
    assert [path.name for path in files] == ["predictions.png", "summary.txt"]
    picture = cv2.imread(str(files[0]))
    assert picture is not None
    assert picture.shape[1] == 1200
    greens = (picture.reshape(-1, 3) == (74, 157, 42)).all(axis=1).sum()
    assert greens > 500
    text = files[1].read_text()
    assert "training loss: 9.00 at first, 5.00 at last" in text
    assert "mean ROC-AUC 0." in text
    assert len(text.splitlines()) < 24
    assert max(map(len, text.splitlines())) <= 80


def test_report_works_without_metrics_and_with_one_face(
    tmp_path: Path,
    results: tuple[list[NDArray[np.uint8]], Labels, NDArray[np.float64], list[str]],
) -> None:
    images, labels, scores, names = results
    files = write_report(tmp_path, images[:1], labels[:1], scores[:1], names)
    assert "training loss" not in files[1].read_text()


def test_report_refuses_what_does_not_belong_together(
    tmp_path: Path,
    results: tuple[list[NDArray[np.uint8]], Labels, NDArray[np.float64], list[str]],
) -> None:
    images, labels, scores, names = results
    with pytest.raises(UsageError, match="13"):
        write_report(tmp_path, images[:2], labels, scores, names)
    with pytest.raises(UsageError, match="must both be"):
        write_report(tmp_path, images, labels, scores[:, :3], names)
    with pytest.raises(NetError):
        write_report(tmp_path, images, labels, scores * np.nan, names)
    assert not list(tmp_path.iterdir())
