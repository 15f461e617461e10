"""`convert`: records that equal the list, whole data bases or none, and its errors."""

from __future__ import annotations

import functools
import io
import os
import sys
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest
from data_testing import (
    DataRunner,
    jpg,
    labels_of,
    picture,
    png,
    run_command,
    thread_names,
    write_list,
)

from drml.commands import convert
from drml.data import lmdb_writer
from drml.data.convert import QUALITY
from drml.data.lmdb_source import LmdbSource
from drml.errors import DataError, UsageError
from drml.proto import caffe_pb2 as pb

pytestmark = pytest.mark.cpu_only

run = functools.partial(run_command, convert)


def records(path: Path) -> list[tuple[str, pb.Datum]]:
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as txn:
        return [(key.decode(), pb.Datum.FromString(value)) for key, value in txn.cursor()]


def test_records_equal_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, db = write_list(tmp_path), tmp_path / "db"
    assert run(path, db) == 0
    source = LmdbSource(db)
    assert [source.key(index) for index in (0, 6)] == ["00000000_0.png", "00000006_6.png"]
    for index in range(7):
        sample = source.read(index)
        np.testing.assert_array_equal(sample.pixels, picture(index))
        np.testing.assert_array_equal(sample.label, labels_of(index))
    source.close()
    shown, noise = capsys.readouterr()
    assert shown.startswith(f"{db}: 7 images of 12x10, 3 labels each, ")
    assert [line.split() for line in shown.splitlines()[2:]] == [
        ["1", "2", "3", "2"],
        ["2", "2", "2", "3"],
        ["3", "3", "2", "2"],
    ]
    assert noise == ""
    assert sorted(os.listdir(tmp_path / "db")) == ["data.mdb"]
    assert not any(name.startswith("convert") for name in thread_names())


def test_layers_give_the_same_from_list_and_data_base(tmp_path: Path) -> None:
    path = write_list(tmp_path)
    run(path, tmp_path / "db")
    more = "transform_param { mirror: true crop_size: 8 mean_value: 4 }"
    listed = (
        f'type: "MultilabelImageData" image_data_param {{ source: "{path}" batch_size: 5 }} {more}'
    )
    stored = (
        f'type: "Data" data_param {{ source: "{tmp_path}/db" backend: LMDB batch_size: 5 }} {more}'
    )
    with DataRunner(listed) as one, DataRunner(stored) as other:
        for (a, b), (c, d) in zip(one.stream(4), other.stream(4), strict=True):
            np.testing.assert_array_equal(a, c)
            np.testing.assert_array_equal(b, d)


def test_stock_caffe_can_decode_the_records(tmp_path: Path) -> None:
    run(write_list(tmp_path), tmp_path / "db")
    for number, (_, datum) in enumerate(records(tmp_path / "db")):
        assert datum.encoded
        assert (datum.channels, datum.height, datum.width, datum.label) == (3, 12, 10, 0)
        pixels = cv2.imdecode(np.frombuffer(datum.data, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(pixels, picture(number))


@pytest.mark.parametrize("threads", [1, 8])
def test_bytes_do_not_depend_on_threads(tmp_path: Path, threads: int) -> None:
    path = write_list(tmp_path, 30)
    run(path, tmp_path / "a", "--shuffle", "--seed", 3)
    run(path, tmp_path / "b", "--shuffle", "--seed", 3, threads=threads)
    run(path, tmp_path / "c", "--shuffle", "--seed", 4)
    a, b, c = (records(tmp_path / name) for name in "abc")
    assert a == b
    assert [key[9:] for key, _ in a] != [key[9:] for key, _ in c]
    assert sorted(key[9:] for key, _ in a) == sorted(key[9:] for key, _ in c)
    assert [int(key[:8]) for key, _ in a] == list(range(30))


def source_files(folder: Path) -> dict[str, bytes]:
    """One image of every kind, and the list of them."""
    pixels = picture(0, 40, 30)
    sixteen = pixels.astype(np.uint16) * 257
    files = {
        "color.jpg": jpg(pixels),
        "gray.jpg": jpg(pixels[:, :, :1]),
        "color.png": png(pixels),
        "gray.png": png(pixels[:, :, :1]),
        "alpha.png": png(np.dstack([pixels, pixels[:, :, :1]])),
        "sixteen.png": cv2.imencode(".png", sixteen)[1].tobytes(),
        "color.bmp": cv2.imencode(".bmp", pixels)[1].tobytes(),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "list.txt").write_text("".join(f"{name} 1 -1\n" for name in files))
    return files


@pytest.mark.parametrize(
    ("options", "kept", "jpegs"),
    [
        ((), {"color.jpg", "color.png"}, {"color.jpg", "gray.jpg"}),
        (("--encode", "png"), {"color.png"}, set()),
        (("--encode", "jpg"), {"color.jpg"}, None),
        (("--encode", "jpg", "--quality", "50"), set(), None),
        (("--resize", "20x24"), set(), {"color.jpg", "gray.jpg"}),
        (("--resize", "40x30"), {"color.jpg", "color.png"}, {"color.jpg", "gray.jpg"}),
    ],
)
def test_encodings(
    tmp_path: Path, options: tuple[str, ...], kept: set[str], jpegs: set[str] | None
) -> None:
    files = source_files(tmp_path)
    run(tmp_path / "list.txt", tmp_path / "db", *options)
    shape = (20, 24, 3) if "20x24" in options else (40, 30, 3)
    for name, datum in ((key[9:], datum) for key, datum in records(tmp_path / "db")):
        assert (datum.data == files[name]) == (name in kept)
        assert datum.data.startswith(b"\xff\xd8") == (jpegs is None or name in jpegs)
        stored = cv2.imdecode(np.frombuffer(datum.data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert stored.shape == shape
        wanted = cv2.imdecode(np.frombuffer(files[name], np.uint8), cv2.IMREAD_COLOR)
        if shape == (20, 24, 3):
            wanted = cv2.resize(wanted, (24, 20))
        if not datum.data.startswith(b"\xff\xd8"):
            np.testing.assert_array_equal(stored, wanted)


def test_zero_is_negative(tmp_path: Path) -> None:
    path = write_list(tmp_path)
    path.write_text("0.png 0 1\n1.png 1 0\n")
    with pytest.raises(DataError, match="--zero-is-negative"):
        run(path, tmp_path / "db")
    assert sorted(os.listdir(tmp_path))[-1] != "db"
    run(path, tmp_path / "db", "--zero-is-negative")
    assert [list(datum.float_data) for _, datum in records(tmp_path / "db")] == [[-1, 1], [1, -1]]


def test_root(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_list(tmp_path / "images").rename(tmp_path / "list.txt")
    run(tmp_path / "list.txt", tmp_path / "db", "--root", tmp_path / "images")
    assert len(records(tmp_path / "db")) == 7


def test_long_names_become_keys_of_lmdb(tmp_path: Path) -> None:
    deep = Path(*["a" * 200] * 3)
    (tmp_path / deep).mkdir(parents=True)
    (tmp_path / deep / "0.png").write_bytes(png(picture(0)))
    (tmp_path / "list.txt").write_text(f"{deep}/0.png 1 -1\n")
    run(tmp_path / "list.txt", tmp_path / "db")
    ((key, _),) = records(tmp_path / "db")
    assert len(key) == 511
    assert key.startswith("00000000_a")
    assert key.endswith("/0.png")


def test_map_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_writer, "_FIRST_MAP_SIZE", 1 << 16)
    monkeypatch.setattr(lmdb_writer, "_GROUP_BYTES", 1 << 17)
    run(write_list(tmp_path, 40, height=60, width=60), tmp_path / "db")
    for number, (_, datum) in enumerate(records(tmp_path / "db")):
        assert datum.data == png(picture(number, 60, 60))


def nothing_left(folder: Path) -> bool:
    return not any(name.endswith((".tmp", ".old")) for name in os.listdir(folder))


def test_nothing_is_written_after_an_error(tmp_path: Path) -> None:
    path, db = write_list(tmp_path), tmp_path / "db"
    (tmp_path / "5.png").write_bytes(png(picture(5))[:50])
    with pytest.raises(DataError, match=r"list\.txt:6: .*5\.png: the image is cut short"):
        run(path, db)
    assert not db.exists()
    assert nothing_left(tmp_path)
    assert not any(name.startswith("convert") for name in thread_names())


def test_nothing_is_left_after_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lmdb_writer.LmdbWriter, "put", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(write_list(tmp_path), tmp_path / "db")
    assert not (tmp_path / "db").exists()
    assert nothing_left(tmp_path)
    assert not any(name.startswith("convert") for name in thread_names())


def test_existing_data_base_needs_force(tmp_path: Path) -> None:
    path, db = write_list(tmp_path), tmp_path / "db"
    run(path, db)
    path.write_text("3.png 1 -1 0\n")
    with pytest.raises(DataError, match="exists already; --force replaces it"):
        run(path, db)
    assert len(records(db)) == 7
    run(path, db, "--force")
    assert [key for key, _ in records(db)] == ["00000000_3.png"]
    assert nothing_left(tmp_path)


def test_force_spares_the_old_data_base_after_an_error(tmp_path: Path) -> None:
    path, db = write_list(tmp_path), tmp_path / "db"
    run(path, db)
    (tmp_path / "5.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"5\.png: the image is empty"):
        run(path, db, "--force")
    assert len(records(db)) == 7
    assert nothing_left(tmp_path)


def test_force_replaces_data_bases_only(tmp_path: Path) -> None:
    path = write_list(tmp_path)
    for db in (tmp_path, path):
        with pytest.raises(DataError, match="is not a data base, so it is not replaced"):
            run(path, db, "--force")
    (tmp_path / "empty").mkdir()
    run(path, tmp_path / "empty", "--force")
    assert len(records(tmp_path / "empty")) == 7


def test_folder_missing_or_read_only(tmp_path: Path) -> None:
    path = write_list(tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        run(path, tmp_path / "nowhere" / "db")
    with pytest.raises(DataError, match="cannot be written"):
        run(path, "/proc/db")


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk:
        def __init__(self, environment: Any) -> None:
            self.close = environment.close

        def begin(self, write: bool) -> None:
            raise lmdb.DiskError("No space left on device")

    path = write_list(tmp_path)
    opened = lmdb.open
    monkeypatch.setattr(lmdb, "open", lambda *args, **options: FullDisk(opened(*args, **options)))
    with pytest.raises(DataError, match=r"db: cannot be written: No space left on device"):
        run(path, tmp_path / "db")
    assert not (tmp_path / "db").exists()
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ("--seed", "1"),
        ("--quality", "50", "--encode", "png"),
    ],
)
def test_options_without_a_use(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="has a use"):
        run(write_list(tmp_path), tmp_path / "db", *words)


@pytest.mark.parametrize(
    "words", [("--resize", "20"), ("--resize", "0x3"), ("--quality", "101"), ("--encode", "gif")]
)
def test_bad_option_values(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=words[0]):
        run(write_list(tmp_path), tmp_path / "db", *words)


def test_progress_on_a_terminal_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    run(write_list(tmp_path), tmp_path / "db")
    assert "7/7" in sys.stderr.getvalue()


def test_help_names_the_quality_that_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    assert f"(default: {QUALITY})" in " ".join(capsys.readouterr().out.split())
