"""Bad nets, data, weights and disks: each ends in one line, status 2, and nothing written."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_testing import (
    TRAIN,
    command,
    contents,
    enter_small,
    only_error,
    refused,
    write_faces,
    write_image,
)

from drml.data.lmdb_writer import LmdbWriter
from drml.data.samples import make_record, record_key
from drml.net import Net
from drml.run import main

Prepare = Callable[[Path], object]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_small(tmp_path, monkeypatch)


def edit(old: str, new: str, file: str = "train.prototxt") -> Prepare:
    """Replaces text in a file; the text must be there."""

    def apply(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return apply


def write(name: str, content: str | bytes) -> Prepare:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data)


ELTWISE = 'layer { name: "add" type: "Eltwise" bottom: "conv1" bottom: "pool3" top: "add" }\n'


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (write("train.prototxt", os.urandom(500) + b"\xff\0"), r"train.prototxt"),
        (write("train.prototxt", ""), r"train.prototxt"),
        (write("train.prototxt", "Dear Sir or Madam,\nhello"), r"train.prototxt:1: "),
        (write("train.prototxt", TRAIN[: len(TRAIN) // 2]), r"train.prototxt:\d+: "),
        (
            edit('"Convolution"', '"Convoluton"'),
            r"train.prototxt:6: layer 'conv1': unknown layer type 'Convoluton'; "
            r"did you mean 'Convolution'\?",
        ),
        (
            edit("convolution_param", "convolution_parm"),
            r"train.prototxt:8: .*'convolution_parm'; did you mean 'convolution_param'\?",
        ),
        (edit("pool: MAX", "pool: MAXX"), r"train.prototxt:\d+: .*MAXX.*did you mean 'MAX'\?"),
        (edit('bottom: "conv1"', 'bottom: "conv"'), r"train.prototxt:\d+: .*'conv'.*'conv1'"),
        (
            edit("grid_h: 2", "grid_h: 3"),
            r"train.prototxt:\d+: layer 'region2' \(Region\): .*3 x 2.*8 x 8",
        ),
        (edit("batch_size: 2", "batch_size: 0"), r"train.prototxt:\d+: layer 'data' .* 1 or more"),
        (edit("batch_size: 2", "batch_size: -2"), r"train.prototxt:\d+: .*batch_size.*-2"),
        (edit("num_output: 4", "num_output: 0"), r"train.prototxt:\d+: layer 'conv1'.*num_output"),
        (edit("kernel_size: 3", "kernel_size: 30"), r"train.prototxt:\d+: layer 'conv1' .*30"),
        (
            edit('layer { name: "output"', ELTWISE + 'layer { name: "output"'),
            r"train.prototxt:\d+: layer 'add' \(Eltwise\): .*\(2, 4, 4, 4\).*\(2, 4, 8, 8\)",
        ),
        (edit("num_output: 12", "num_output: 7"), r"train.prototxt:\d+: .*\(2, 7\).*\(2, 12\)"),
    ],
)
def test_bad_nets(
    small: Path, capsys: pytest.CaptureFixture[str], prepare: Prepare, message: str
) -> None:
    prepare(small)
    before = contents(small)
    line = refused(capsys, "summary", "train.prototxt")
    assert re.match(message, line), line
    assert re.match(message, refused(capsys, "train", "--solver", "solver.prototxt"))
    assert contents(small) == before


LABELS = "1 -1 0 1 -1 0 1 -1 0 1 -1 0"


def to_lmdb(folder: Path) -> None:
    """Makes the data layer read an LMDB, `db`."""
    edit('"MultilabelImageData"', '"Data"')(folder)
    edit(
        'image_data_param { source: "faces.txt" batch_size: 2 multilabel_num: 12 }',
        'data_param { source: "db" backend: LMDB batch_size: 2 }',
    )(folder)


def broken_lmdb(folder: Path) -> None:
    to_lmdb(folder)
    image = folder / "face.png"
    write_image(image)
    data = image.read_bytes()
    image.unlink()
    with LmdbWriter(folder / "db") as writer:
        for index, content in enumerate((data, data[: len(data) // 2])):
            record = make_record(content, (12, 12, 3), [1, -1, 0] * 4)
            writer.put(record_key(index, f"{index}.png"), record)


def lmdb_with(content: Prepare) -> Prepare:
    def apply(folder: Path) -> None:
        to_lmdb(folder)
        content(folder)

    return apply


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (edit('"faces.txt"', '"none.txt"'), r"train.prototxt:\d+: .*none.txt"),
        (edit("crop_size: 10", "crop_size: 20"), r"train.prototxt:\d+: .*20.*12x12"),
        (write("faces.txt", ""), r".*faces.txt: the list is empty"),
        (
            write("faces.txt", f"images/0.png {LABELS}\nnone.png {LABELS}\n"),
            r".*faces.txt:2: .*none.png",
        ),
        (
            write("faces.txt", f"images/0.png {LABELS}\nimages/1.png 1 -1\n"),
            r".*faces.txt:2: 2 labels",
        ),
        (write("faces.txt", f"images/0.png {LABELS[:-1]}2\n"), r".*faces.txt:1: .*2"),
        (lambda folder: write_faces(folder, line="1 0 " * 6), r".*faces.txt: .*0 and 1"),
        (lambda folder: write_faces(folder, line="0 0 " * 6), r".*faces.txt: .*nothing to learn"),
        (write("images/1.png", b"\x89PNG no"), r".*images/1.png"),
        (to_lmdb, r"train.prototxt:\d+: .*db"),
        (lmdb_with(write("db", "text")), r"train.prototxt:\d+: .*db"),
        (lmdb_with(lambda folder: (folder / "db").mkdir()), r"train.prototxt:\d+: .*db"),
        (broken_lmdb, r".*00000001_1.png"),
        (edit("base_lr", "base_rate", "solver.prototxt"), r"solver.prototxt:3: .*base_rate"),
        (
            edit('"fixed"', '"fixd"', "solver.prototxt"),
            r"solver.prototxt:3: .*did you mean 'fixed'\?",
        ),
        (edit("train.prototxt", "none", "solver.prototxt"), r"solver.prototxt:2: .*none"),
        (
            edit("max_iter: 2", "max_iter: -2", "solver.prototxt"),
            r"solver.prototxt:3: max_iter.*-2",
        ),
    ],
)
def test_bad_data_and_solvers(
    small: Path, capsys: pytest.CaptureFixture[str], prepare: Prepare, message: str
) -> None:
    prepare(small)
    before = contents(small)
    done = command("train", "--solver", "solver.prototxt", cwd=small)
    assert done.returncode == 2, done.stderr
    line = only_error(done.stderr)
    assert re.match(message, line), line
    # A record that breaks in the middle of the training leaves a run folder, with its log.
    after = {name: data for name, data in contents(small).items() if not name.startswith("runs/")}
    assert after == before


def renamed(weights: bytes) -> bytes:
    """The weights of a net none of whose layers has a name of ours."""
    for name in (b"conv1", b"region2", b"output"):
        weights = weights.replace(name, name[:-1] + b"x")
    return weights


@pytest.mark.parametrize(
    "content",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: os.urandom(len(data)),
        lambda data: b"",
        renamed,
    ],
    ids=["half", "one byte short", "random", "empty", "another net"],
)
def test_bad_weights(
    small: Path, capsys: pytest.CaptureFixture[str], content: Callable[[bytes], bytes]
) -> None:
    with Net("deploy.prototxt") as net:
        net.save("good.caffemodel")
    assert main(["test", "--model", "train.prototxt", "--weights", "good.caffemodel"]) == 0
    (small / "bad.caffemodel").write_bytes(content((small / "good.caffemodel").read_bytes()))
    before = contents(small)
    for words in (
        "test --model train.prototxt --weights bad.caffemodel",
        "time --model train.prototxt --weights bad.caffemodel",
        "train --solver solver.prototxt --weights bad.caffemodel",
        "deploy.prototxt --weights bad.caffemodel",
        "train --solver solver.prototxt --snapshot bad.caffemodel",
    ):
        line = refused(capsys, *words.split())
        assert "bad.caffemodel" in line
        assert contents(small) == before


def test_weights_of_another_shape(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Net("deploy.prototxt") as net:
        net.save("good.caffemodel")
    edit("kernel_size: 3", "kernel_size: 5")(small)
    line = refused(capsys, "time", "--model", "train.prototxt", "--weights", "good.caffemodel")
    assert "(4, 3, 3, 3)" in line
    assert "(4, 3, 5, 5)" in line


def test_a_disk_that_is_full_at_snapshot_time(small: Path) -> None:
    edit("max_iter: 2", "max_iter: 2 snapshot: 1", "solver.prototxt")(small)

    def no_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    words = ("train", "--solver", "solver.prototxt", "--run-dir", "run")
    done = command(*words, cwd=small, preexec_fn=no_large_files)
    assert done.returncode == 2, done.stderr
    assert "small_iter_2" in only_error(done.stderr)
    assert not list(small.glob("*.caffemodel"))
    assert not list(small.glob(".*.part"))
