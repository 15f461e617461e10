"""`drml FILE.prototxt`: what it takes a file for, and deploy nets on images and random data."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_testing import DEPLOY, SOLVER, TRAIN, contents, enter_small, refused, write_image

from drml.commands.bare import is_solver
from drml.deploy import Preparation, find_images
from drml.errors import DataError, WeightsError
from drml.net import Net
from drml.run import main
from drml.weights import write_mean

AUS = ["1", "2", "4", "6", "7", "10", "12", "14", "15", "17", "23", "24"]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    enter_small(tmp_path, monkeypatch)
    with Net("deploy.prototxt", seed=7) as net:
        net.save("small.caffemodel")
    return tmp_path


def rows_of(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


@pytest.mark.parametrize(
    ("text", "solver"),
    [
        (SOLVER, True),
        (TRAIN, False),
        (DEPLOY, False),
        ('net: "a.prototxt"', True),
        ('name: "net: base_lr: max_iter: lr_policy:" layer { name: "x" }', False),
        ("# net: base_lr: max_iter:\nlayer { }", False),
        ('net_param { name: "x" layer { } layer { } layer { } } base_lr: 1', True),
        ('train_net_param < layer < > layer < > > type: "SGD"', True),
        ("debug_info: true layer { }", False),
        ('input: "data" input_dim: 1', False),
        ("", False),
    ],
)
def test_solvers_are_told_from_nets(tmp_path: Path, text: str, solver: bool) -> None:
    path = tmp_path / "file.prototxt"
    path.write_text(text)
    assert is_solver(path) == solver


# Training ---------------------------------------------------------------------------------------


def test_a_solver_trains(small: Path) -> None:
    (small / "solver.prototxt").write_text(SOLVER.replace('snapshot_prefix: "small"', ""))
    assert main(["solver.prototxt", "--iterations", "3", "--run-dir", "run"]) == 0
    entries = [
        json.loads(line) for line in (small / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert sum(entry["event"] == "train" for entry in entries) == 3
    assert (small / "run" / "solver_iter_3.caffemodel").exists()


def test_a_net_with_data_trains_and_is_tested(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train.prototxt", "--iterations", "2", "--run-dir", "run", "--seed", "1"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "ROC-AUC" in out
    assert "4 samples" in out
    assert (small / "run" / "train_iter_2.caffemodel").exists()


@pytest.mark.parametrize(
    ("file", "option", "what"),
    [
        ("solver.prototxt", ["--input", "images"], "a solver"),
        ("train.prototxt", ["--output", "o.csv"], "a net with data layers"),
        ("deploy.prototxt", ["--run-dir", "x"], "a deploy net"),
        ("deploy.prototxt", ["--train-data", "faces.txt"], "a deploy net"),
        ("deploy.prototxt", ["--zero-is-negative"], "a deploy net"),
        ("deploy.prototxt", ["--mean", "faces.txt"], "a deploy net"),
        ("deploy.prototxt", ["--input", "images", "--iterations", "3"], "a deploy net"),
    ],
)
def test_options_without_use_are_refused(
    small: Path, capsys: pytest.CaptureFixture[str], file: str, option: list[str], what: str
) -> None:
    before = contents(small)
    line = refused(capsys, file, *option)
    assert line.startswith(f"{file}: is {what}, for which --")
    assert line.endswith(" has no use")
    assert contents(small) == before


# Deploy nets ------------------------------------------------------------------------------------


def test_random_data_are_said_to_be_random(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy.prototxt"]) == 0
    out = capsys.readouterr().out
    assert "sees random data" in out
    assert "the weights are random" in out
    assert re.search(r"image\s+AU1\s+AU2\s+AU4\s+AU6", out)
    assert re.search(r"random 1(\s+[01]\.\d{3}){12}\n", out)
    assert re.search(r"[\d.]+ ms per frame \(forward, batch size 2, ", out)


def test_images_give_the_scores_of_the_net(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(small / "images" / "3.png", (20, 30), seed=9)
    words = "deploy.prototxt --weights small.caffemodel --input images/*.png --output out.json"
    assert main(words.split()) == 0
    out = capsys.readouterr().out
    assert "random" not in out
    document = json.loads((small / "out.json").read_text())
    names = [entry["image"] for entry in document["images"]]
    assert names == [f"images/{index}.png" for index in range(4)]
    assert document["ms_per_frame"] > 0
    images = [cv2.resize(cv2.imread(name), (10, 10)) for name in names]
    batch = np.stack(images).astype(np.float32).transpose(0, 3, 1, 2)
    with Net("deploy.prototxt", "small.caffemodel") as net:
        wanted = np.concatenate(
            [net.forward(data=part)["prob"].copy() for part in (batch[:2], batch[2:])]
        )
    for entry, row in zip(document["images"], wanted, strict=True):
        assert list(entry["scores"]) == [f"AU{name}" for name in AUS]
        np.testing.assert_allclose(list(entry["scores"].values()), row, rtol=1e-6)
        np.testing.assert_allclose(entry["outputs"]["prob"], row, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_batch_size_changes_nothing_but_speed(
    small: Path, capsys: pytest.CaptureFixture[str], batch_size: int
) -> None:
    words = ["deploy.prototxt", "--weights", "small.caffemodel", "--input", "images", "--output"]
    assert main([*words, "one.csv"]) == 0
    capsys.readouterr()
    assert main([*words, "other.csv", "--batch-size", str(batch_size)]) == 0
    out = capsys.readouterr().out
    assert f"ms per frame (forward, batch size {batch_size}, " in out
    assert "note:" not in out
    one, other = (rows_of(small / name) for name in ("one.csv", "other.csv"))
    assert len(other) == 5
    assert other[0] == ["image", *(f"AU{name}" for name in AUS)]
    assert [row[0] for row in other] == [row[0] for row in one]
    values = [np.array([row[1:] for row in rows[1:]], float) for rows in (one, other)]
    np.testing.assert_allclose(*values, atol=1e-5)


def test_logits_become_scores(small: Path) -> None:
    text = DEPLOY[: DEPLOY.index('layer { name: "prob"')]
    (small / "logits.prototxt").write_text(text)
    for net in ("deploy", "logits"):
        words = f"{net}.prototxt --weights small.caffemodel --input images/0.png --output {net}.csv"
        assert main(words.split()) == 0
    logits, deploy = (rows_of(small / f"{net}.csv") for net in ("logits", "deploy"))
    assert logits[0] == deploy[0]
    got, wanted = (np.array(rows[1][1:], float) for rows in (logits, deploy))
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_layers_without_weights_are_noted(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = DEPLOY.replace('name: "output"', 'name: "scores"')
    (small / "other.prototxt").write_text(text)
    assert main(["other.prototxt", "--weights", "small.caffemodel"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^note: small.caffemodel: .*output", out, re.MULTILINE)
    assert re.search(r"^note: small.caffemodel: .*scores", out, re.MULTILINE)


def test_aus_can_be_named(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "two.prototxt").write_text(DEPLOY.replace("num_output: 12", "num_output: 2"))
    assert main(["two.prototxt", "--aus", "12,25"]) == 0
    assert re.search(r"image\s+AU12\s+AU25\n", capsys.readouterr().out)
    assert main(["two.prototxt"]) == 0
    assert re.search(r"random 0\s+prob\s+2\s+[01]", capsys.readouterr().out)
    assert "names 3 AUs" in refused(capsys, "two.prototxt", "--aus", "1,2,4")


def test_other_outputs_are_shown_and_written(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small / "maps.prototxt").write_text(DEPLOY[: DEPLOY.index('layer { name: "output"')])
    assert main(["maps.prototxt", "--input", "images/0.png", "--output", "out.csv"]) == 0
    assert re.search(r"images/0.png\s+pool3\s+4 x 4 x 4\s+.* \.\.\.\n", capsys.readouterr().out)
    rows = rows_of(small / "out.csv")
    assert rows[0] == ["image", *(f"pool3/{index}" for index in range(64))]
    assert len(rows) == 2
    line = refused(capsys, "maps.prototxt", "--aus", "1")
    assert line == "--aus: no output of maps.prototxt scores action units"


def test_the_mean_is_subtracted_at_its_own_size(small: Path) -> None:
    rng = np.random.default_rng(3)
    mean = rng.uniform(0, 255, (3, 12, 14)).astype(np.float32)
    write_image(small / "same.png", (12, 14), seed=4)
    write_image(small / "other.png", (40, 50), seed=5)
    prepare = Preparation((3, 10, 10), mean)
    got = prepare(small / "same.png")
    image = cv2.imread(str(small / "same.png")).astype(np.float32).transpose(2, 0, 1)
    np.testing.assert_array_equal(got, (image - mean)[:, 1:11, 2:12])
    image = cv2.resize(cv2.imread(str(small / "other.png")), (14, 12)).astype(np.float32)
    wanted = (image.transpose(2, 0, 1) - mean)[:, 1:11, 2:12]
    np.testing.assert_array_equal(prepare(small / "other.png"), wanted)
    write_mean(small / "mean.binaryproto", mean)
    assert main(["deploy.prototxt", "--input", "same.png", "--mean", "mean.binaryproto"]) == 0
    for shape in [(3, 9, 14), (3, 12, 9), (1, 12, 14)]:
        with pytest.raises(WeightsError, match="x".join(map(str, shape))):
            Preparation((3, 10, 10), np.zeros(shape, np.float32))


def test_gray_inputs_take_gray_images(small: Path) -> None:
    prepare = Preparation((1, 12, 12))
    wanted = cv2.imread(str(small / "images" / "0.png"), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(prepare(small / "images" / "0.png")[0], wanted)


def test_find_images(small: Path) -> None:
    (small / "images" / "notes.txt").write_text("none")
    write_image(small / "odd[1].png")
    found = find_images(["images", "odd[1].png", "images/[01].png"])
    assert [str(path) for path in found] == [
        *(f"images/{index}.png" for index in range(4)),
        "odd[1].png",
        "images/0.png",
        "images/1.png",
    ]
    (small / "empty").mkdir()
    for word in ("empty", "none.png", "none*.png"):
        with pytest.raises(DataError, match=re.escape(word)):
            find_images([word])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--input none.jpg", "none.jpg: no such file or folder"),
        ("--input *.jpg", r"\*.jpg: no file matches"),
        ("--input faces.txt", "faces.txt: the image cannot be decoded"),
        ("--input images/0.png broken.png", "broken.png: the image is cut short"),
        ("--input images --mean faces.txt", "faces.txt: .*mean image"),
        ("--input images --weights none", "argument --weights: none: no such file"),
        ("--weights faces.txt", "faces.txt: .*caffemodel"),
        ("--output out.txt", r"argument --output: out.txt: must end in .csv or .json"),
        ("--output none/out.csv", "argument --output: none/out.csv: no such folder"),
        ("--batch-size 0", "argument --batch-size: must be a positive integer, got '0'"),
        ("--input", "argument --input: expected at least one argument"),
        ("--inptu x", "unknown option '--inptu'; did you mean '--input'?"),
    ],
)
def test_bad_input(
    small: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    whole = (small / "images" / "0.png").read_bytes()
    (small / "broken.png").write_bytes(whole[: len(whole) // 2])
    before = contents(small)
    line = refused(capsys, "deploy.prototxt", *words.split())
    assert re.match(message, line), line
    assert contents(small) == before


def test_images_need_one_image_input(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "flat.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 5 } } }'
    )
    line = refused(capsys, "flat.prototxt", "--input", "images")
    assert line.startswith("flat.prototxt: input 'x' has shape (2, 5)")
    (small / "two.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" top: "y" '
        "input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }"
    )
    line = refused(capsys, "two.prototxt", "--input", "images")
    assert line == "two.prototxt: images need a net with one input, this one has x, y"
    assert main(["two.prototxt"]) == 0
