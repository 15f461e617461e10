"""`mean`: against NumPy, for lists and data bases, and its errors."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_testing import (
    our_record,
    picture,
    png,
    run_command,
    thread_names,
    write_list,
    write_lmdb,
)

from drml.commands import mean
from drml.data.image_list import read_list
from drml.data.mean import compute_mean
from drml.errors import DataError
from drml.weights import read_mean

run = functools.partial(run_command, mean)


def reference(count: int) -> np.ndarray:
    """Mean over the pictures, (C, H, W), in float64."""
    return np.mean([picture(number).transpose(2, 0, 1) for number in range(count)], axis=0)


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("count", [1, 64, 150])
def test_list(tmp_path: Path, threads: int, count: int) -> None:
    path = write_list(tmp_path, count, labels=8)
    if count == 1:
        path.write_text("0.png 1 -1\n")
    done: list[int] = []
    got = compute_mean(read_list(path), threads=threads, progress=done.append)
    np.testing.assert_array_equal(got, reference(count).astype(np.float32))
    assert sum(done) == count
    assert not any(name.startswith("mean") for name in thread_names())


def test_command_for_list_and_data_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = reference(7)
    write_list(tmp_path)
    write_lmdb(tmp_path / "db", [our_record(number) for number in range(7)])
    for source in ("list.txt", "db"):
        out = tmp_path / f"{source}.binaryproto"
        assert run(tmp_path / source, out) == 0
        np.testing.assert_allclose(read_mean(out), wanted, rtol=1e-6)
        shown, noise = capsys.readouterr()
        lines = shown.splitlines()
        assert lines[0] == f"{out}: mean of 7 images, 3x12x10"
        assert [float(line.removeprefix("mean_value: ")) for line in lines[1:]] == pytest.approx(
            wanted.mean(axis=(1, 2)), abs=1e-4
        )
        assert noise == ""


def test_resize(tmp_path: Path) -> None:
    path = write_list(tmp_path)
    (tmp_path / "3.png").write_bytes(png(picture(3, 20, 20)))
    with pytest.raises(DataError) as error:
        run(path, tmp_path / "out")
    assert "list.txt:4: " in str(error.value)
    assert "the image is 20x20x3, but the first is 12x10x3 (height x width x channels)" in str(
        error.value
    )
    assert not (tmp_path / "out").exists()
    run(path, tmp_path / "out", "--resize", "6x8")
    pictures = [picture(number, *((20, 20) if number == 3 else (12, 10))) for number in range(7)]
    wanted = np.mean([cv2.resize(pixels, (8, 6)) for pixels in pictures], axis=0)
    np.testing.assert_allclose(read_mean(tmp_path / "out"), wanted.transpose(2, 0, 1), rtol=1e-6)


def test_labels_do_not_matter(tmp_path: Path) -> None:
    path = write_list(tmp_path)
    path.write_text("0.png 0 1\n1.png 1 0\n")
    run(path, tmp_path / "out")
    np.testing.assert_array_equal(read_mean(tmp_path / "out"), reference(2).astype(np.float32))
    write_lmdb(tmp_path / "db", [our_record(0, [0, 1]), our_record(1, [1, 0])])
    run(tmp_path / "db", tmp_path / "out")
    np.testing.assert_array_equal(read_mean(tmp_path / "out"), reference(2).astype(np.float32))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere", None, "No such file or directory"),
        ("list", b"", "the list is empty"),
        ("list", b"\0\0", "is neither an LMDB nor a text list"),
        (
            "list",
            b"a.h5\nb.h5\n",
            "lists HDF5 files; a mean image needs an LMDB or a list of images",
        ),
        ("data.mdb", b"x", "give the folder of the LMDB"),
        (".", None, "is a folder without a data.mdb"),
    ],
)
def test_bad_sources(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        run(tmp_path / name, tmp_path / "out")
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()
