"""`extract`: exactly as many rows as asked for, in every format, or nothing at all."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest
from cli_testing import contents, refused
from data_testing import our_record, write_lmdb
from training_testing import BATCH, IMAGES, NET, write_training

from drml import extract
from drml.blob import Array
from drml.errors import NetError
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.run import main

NAMES = [f"{number}.png" for number in range(IMAGES)]
BLOBS = ["fc1", "data", "bn", "label"]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a net, its data, and weights, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    write_training(tmp_path)
    with Net("net.prototxt", phase=pb.TEST, seed=3) as net:
        for index, value in enumerate((0.1, 1.3, 0.9)):
            net.params["bn"][index].data[...] = value
        net.save("w.caffemodel")
    return tmp_path


def expected(rows: int = IMAGES) -> dict[str, Array]:
    """Rows of all blobs, from batches that run by themselves."""
    parts: dict[str, list[Array]] = {name: [] for name in BLOBS}
    with Net("net.prototxt", "w.caffemodel", pb.TEST) as net:
        for _ in range(-(-rows // BATCH)):
            for name, value in net.forward(blobs=BLOBS).items():
                parts.get(name, []).append(value)
    return {name: np.concatenate(values)[:rows] for name, values in parts.items()}


def run(out: str, *words: str, blobs: list[str] = BLOBS) -> None:
    line = ["extract", "net.prototxt", "w.caffemodel", "--blobs", ",".join(blobs), "--out", out]
    assert main([*line, *words]) == 0


def read_npz(path: str) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def read_h5(path: str) -> dict[str, Array]:
    with h5py.File(path) as file:
        found = {name: np.array(file[name]) for name in BLOBS}
        return found | {"names": np.array(file["names"].asstr())}


def read_csv(path: str) -> dict[str, Array]:
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    shapes = {"fc1": (16,), "data": (3, 8, 8), "bn": (3, 8, 8), "label": (3,)}
    assert header[0] == "sample"
    found = {"names": np.array([row[0] for row in rows])}
    for name, shape in shapes.items():
        columns = [header.index(f"{name}/{index}") for index in range(int(np.prod(shape)))]
        values = np.array([[row[c] for c in columns] for row in rows], np.float32)
        found[name] = values.reshape(-1, *shape)
    return found


READERS = {".npz": read_npz, ".h5": read_h5, ".csv": read_csv}


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("count", [None, 1, BATCH, IMAGES - 1, 2 * IMAGES + 3])
def test_rows_are_the_nets(trained: Path, suffix: str, count: int | None) -> None:
    rows = count or IMAGES
    run(f"out{suffix}", *([] if count is None else ["-n", str(count)]))
    found = READERS[suffix](f"out{suffix}")
    assert found.pop("names").tolist() == [NAMES[row % IMAGES] for row in range(rows)]
    wanted = expected(rows)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], value)


def read_datums(path: str) -> dict[str, pb.Datum]:
    with lmdb.open(path, readonly=True, lock=False) as environment, environment.begin() as txn:
        return {bytes(k).decode(): pb.Datum.FromString(bytes(v)) for k, v in txn.cursor()}


@pytest.mark.parametrize("count", [3, IMAGES])
def test_lmdb_as_extract_features_writes_it(trained: Path, count: int) -> None:
    run("fc1_db,data.lmdb", "-n", str(count), blobs=["fc1", "data"])
    wanted = expected(count)
    for path, name, shape in (("fc1_db", "fc1", (16, 1, 1)), ("data.lmdb", "data", (3, 8, 8))):
        datums = read_datums(path)
        assert list(datums) == [f"{row:010d}" for row in range(count)]
        for datum, row in zip(datums.values(), wanted[name], strict=True):
            assert (datum.channels, datum.height, datum.width) == shape
            assert not datum.data
            np.testing.assert_array_equal(np.float32(datum.float_data), row.reshape(-1))


def test_our_data_layer_reads_what_was_written(trained: Path) -> None:
    run("fc1_db", blobs=["fc1"])
    (trained / "read.prototxt").write_text("""
    layer { name: "d" type: "Data" top: "x" data_param { source: "fc1_db" batch_size: 11
      backend: LMDB } }""")
    with Net("read.prototxt", phase=pb.TEST) as net:
        rows = net.forward()["x"]
    np.testing.assert_array_equal(rows.reshape(IMAGES, 16), expected()["fc1"])


def test_names_of_records_and_of_numbered_rows(trained: Path) -> None:
    write_lmdb(trained / "db", [our_record(number) for number in range(5)])
    run("out.npz", "--data", "db", "--batch-size", "2", blobs=["label"])
    assert read_npz("out.npz")["names"].tolist() == [f"{i:08d}_{i}" for i in range(5)]
    with h5py.File("rows.h5", "w") as file:
        file["x"] = np.arange(6, dtype=np.float32).reshape(3, 2)
    (trained / "rows.txt").write_text("rows.h5\n")
    (trained / "net.prototxt").write_text("""
    layer { name: "d" type: "HDF5Data" top: "x" hdf5_data_param { source: "rows.txt"
      batch_size: 2 } }
    layer { name: "bn" type: "BatchNorm" bottom: "x" top: "bn" }""")
    with Net("net.prototxt", phase=pb.TEST) as net:
        net.save("w.caffemodel")
    run("out.npz", blobs=["x"])
    found = read_npz("out.npz")
    assert found["names"].tolist() == ["0", "1", "2"]
    np.testing.assert_array_equal(found["x"], np.arange(6).reshape(3, 2))


def test_shuffled_names_stay_with_their_rows(trained: Path) -> None:
    shuffled = NET.replace('source: "test.txt"', 'source: "test.txt" shuffle: true')
    run("plain.npz", blobs=["data"])
    (trained / "net.prototxt").write_text(shuffled)
    run("out.npz", "-n", str(2 * IMAGES), blobs=["data"])
    plain, found = read_npz("plain.npz"), read_npz("out.npz")
    rows = dict(zip(plain["names"].tolist(), plain["data"], strict=True))
    names = found["names"].tolist()
    assert sorted(names) == sorted(2 * NAMES)
    assert names[:IMAGES] != NAMES
    for name, row in zip(names, found["data"], strict=True):
        np.testing.assert_array_equal(row, rows[name])


def test_one_number_per_sample_is_one_column(trained: Path) -> None:
    (trained / "net.prototxt").write_text(
        NET + 'layer { name: "s" type: "Reduction" bottom: "fc2" top: "s" '
        "reduction_param { axis: 1 } }"
    )
    run("out.csv", blobs=["s"])
    rows = [line.split(",") for line in (trained / "out.csv").read_text().splitlines()]
    assert rows[0] == ["sample", "s"]
    assert len(rows) == IMAGES + 1


@pytest.mark.parametrize("out", ["out.npz", "out.h5", "out.csv", "out_db"])
def test_nothing_is_left_of_a_run_that_fails(
    trained: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "9.png").write_bytes(b"no image")
    if "." in out:
        (trained / out).write_bytes(b"what was there")
    before = contents(trained)
    message = refused(
        capsys, "extract", "net.prototxt", "w.caffemodel", "--blobs", "fc1", "--out", out
    )
    assert "test.txt:10: 9.png" in message
    assert contents(trained) == before


def test_an_lmdb_is_replaced_only_by_force(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("db", blobs=["fc1"])
    line = ("extract", "net.prototxt", "w.caffemodel", "--blobs", "fc2", "--out", "db")
    assert refused(capsys, *line) == "db: exists already; --force replaces it"
    run("db", "--force", blobs=["fc2"])
    assert len(read_datums("db")["0000000000"].float_data) == 3


def test_memory_does_not_grow_with_the_rows(trained: Path) -> None:
    """Of 600 rows, 0.9 MB, no more than a third is held at any time."""
    import tracemalloc

    def peak(write: Callable[[extract.Features, Path], None], path: str, count: int) -> int:
        with Net("net.prototxt", "w.caffemodel", pb.TEST, device="cpu") as net:
            features = extract.Features(net, ["data", "bn"], count)
            tracemalloc.start()
            write(features, Path(path))
            result = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return result

    for write, path in (
        (extract.write_npz, "out.npz"),
        (extract.write_h5, "out.h5"),
        (extract.write_csv, "out.csv"),
    ):
        peak(write, path, 8)
        few, many = peak(write, path, 8), peak(write, path, 600)
        rows = 592 * 2 * 3 * 8 * 8 * 4
        assert many - few < rows / 3, path


def test_bad_input(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(trained)
    line = ("extract", "net.prototxt", "w.caffemodel", "--blobs")
    assert "no blob is named 'fc3'; did you mean" in refused(capsys, *line, "fc3", "--out", "o.npz")
    assert refused(capsys, *line, "fc1,fc1", "--out", "o.npz") == "blob 'fc1' is named twice"
    assert refused(capsys, *line, "loss", "--out", "o.npz") == (
        "net.prototxt: blob 'loss' of shape () has not one row for each of the 4 samples of a batch"
    )
    assert "must end in .npz, .h5, .csv or .lmdb" in refused(capsys, *line, "fc1", "--out", "o.npy")
    assert "2 blobs need as many folders" in refused(capsys, *line, "fc1,fc2", "--out", "db")
    assert "a folder is named twice" in refused(capsys, *line, "fc1,fc2", "--out", "db,./db")
    assert "must be a positive integer" in refused(
        capsys, *line, "fc1", "--out", "o.npz", "-n", "0"
    )
    renamed = NET.replace('"fc1"', '"names"')
    (trained / "names.prototxt").write_text(renamed)
    for out in ("o.npz", "o.h5"):
        assert "'names' has the name under which" in refused(
            capsys, "extract", "names.prototxt", "w.caffemodel", "--blobs", "names", "--out", out
        )
    (trained / "names.prototxt").write_text(NET.replace('"fc1"', '"fc2/a"'))
    assert refused(
        *(capsys, "extract", "names.prototxt", "w.caffemodel", "--blobs", "fc2,fc2/a"),
        *("--out", "o.h5"),
    ) == ("HDF5 cannot hold 'fc2/a' beside 'fc2'")
    (trained / "names.prototxt").unlink()
    assert contents(trained) == before


def test_nets_without_data(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = 'layer { name: "d" type: "%s" top: "data" %s }'
    body = NET[NET.index('layer { name: "bn"') : NET.index('layer { name: "loss"')]
    shape = "shape { dim: 4 dim: 3 dim: 8 dim: 8 }"
    line = ("extract", "other.prototxt", "w.caffemodel", "--blobs", "fc1", "--out", "o.npz")
    other = trained / "other.prototxt"
    other.write_text(head % ("Input", f"input_param {{ {shape} }}") + body)
    assert "no data layer fills the input 'data'" in refused(capsys, *line)
    other.write_text(head % ("DummyData", f"dummy_data_param {{ {shape} }}") + body)
    assert refused(capsys, *line) == (
        "other.prototxt: no data layer knows how many samples there are; give their number"
    )
    assert main([*line, "-n", "5"]) == 0
    assert read_npz("o.npz")["fc1"].shape == (5, 16)


def test_images_that_change_their_size(trained: Path) -> None:
    from data_testing import picture, png

    data = NET[: NET.index('layer { name: "bn"')]
    (trained / "net.prototxt").write_text(
        data.replace("crop_size: 8", "").replace("batch_size: 4", "batch_size: 1")
    )
    (trained / "3.png").write_bytes(png(picture(3, height=5, width=4)))
    with Net("net.prototxt", phase=pb.TEST) as net:
        features = extract.Features(net, ["data"], 5)
        with pytest.raises(NetError, match=r"rows of shape \(3, 5, 4\) now, and"):
            for _ in features:
                pass
