"""HDF5Data: Caffe's order of rows, shuffled windows, memory, resume, and bad files."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from data_testing import DataRunner, assert_same_stream, thread_names

from drml.data import hdf5_source
from drml.data.hdf5_source import Hdf5Source
from drml.errors import DataError, NetError

Array = npt.NDArray[Any]
ROWS = (5, 1, 8)


def rows_of(first: int, count: int) -> dict[str, Array]:
    """Rows numbered from `first`: the number is in every value of the row."""
    numbers = np.arange(first, first + count)
    data = numbers[:, None, None, None] + np.linspace(0, 0.5, 12).reshape(2, 2, 3)
    return {"data": data.astype(np.float32), "label": np.stack([numbers, -numbers], axis=1)}


def write_files(folder: Path, rows: tuple[int, ...] = ROWS, **options: Any) -> Path:
    """A list of HDF5 files beside it whose rows are numbered through."""
    first = 0
    names = []
    for number, count in enumerate(rows):
        with h5py.File(folder / f"{number}.h5", "w") as file:
            for name, array in rows_of(first, count).items():
                file.create_dataset(name, data=array, **(options if count else {}))
        names.append(f"{number}.h5\n")
        first += count
    path = folder / "list.txt"
    path.write_text("".join(names))
    return path


def layer_text(path: Path | str, options: str = "", batch: int = 4) -> str:
    return f'type: "HDF5Data" hdf5_data_param {{ source: "{path}" batch_size: {batch} {options} }}'


def numbers_of(stream: list[list[Array]]) -> list[int]:
    """The rows' numbers, after a check that data and label belong together."""
    numbers = []
    for data, label in stream:
        for row, (number, negative) in zip(data, label, strict=True):
            wanted = rows_of(int(number), 1)
            np.testing.assert_array_equal(row, wanted["data"][0])
            assert negative == -number
            numbers.append(int(number))
    return numbers


def test_rows_come_in_the_order_of_the_files(tmp_path: Path) -> None:
    with DataRunner(layer_text(write_files(tmp_path))) as run:
        assert run.shapes() == [(4, 2, 2, 3), (4, 2)]
        assert numbers_of(run.stream(10)) == [n % 14 for n in range(40)]


def test_batch_larger_than_all_rows(tmp_path: Path) -> None:
    with DataRunner(layer_text(write_files(tmp_path), batch=33)) as run:
        assert numbers_of(run.stream(2)) == [n % 14 for n in range(66)]


@pytest.mark.parametrize("options", [{}, {"chunks": (3, 2, 2, 3)}])
def test_shuffled_epochs_hold_every_row_once(tmp_path: Path, options: dict[str, Any]) -> None:
    path = write_files(tmp_path)
    if options:
        with h5py.File(tmp_path / "2.h5", "a") as file:
            data = file["data"][:]
            del file["data"]
            file.create_dataset("data", data=data, compression="gzip", **options)
    with DataRunner(layer_text(path, "shuffle: true", batch=7)) as run:
        numbers = numbers_of(run.stream(6))
    epochs = [numbers[0:14], numbers[14:28], numbers[28:42]]
    assert all(sorted(epoch) == list(range(14)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.fixture
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    row_bytes = 4 * (12 + 2)
    monkeypatch.setattr(hdf5_source, "BLOCK_BYTES", 3 * row_bytes)
    monkeypatch.setattr(hdf5_source, "WINDOW_BYTES", 7 * row_bytes)


@pytest.mark.usefixtures("_small_windows")
@pytest.mark.parametrize("shuffle", [False, True])
def test_many_windows(tmp_path: Path, shuffle: bool) -> None:
    path = write_files(tmp_path, (11, 20, 4))
    options = "shuffle: true" if shuffle else ""
    with DataRunner(layer_text(path, options, batch=5)) as run:
        numbers = numbers_of(run.stream(14))
    if not shuffle:
        assert numbers == [n % 35 for n in range(70)]
        return
    assert sorted(numbers[:35]) == sorted(numbers[35:]) == list(range(35))
    assert numbers[:35] != numbers[35:]
    # A window mixes blocks from anywhere: the first seven rows come from far apart.
    assert max(numbers[:7]) - min(numbers[:7]) > 7


@pytest.mark.usefixtures("_small_windows")
def test_position_resumes_exactly(tmp_path: Path) -> None:
    text = layer_text(write_files(tmp_path, (11, 20, 4)), "shuffle: true")
    with DataRunner(text) as whole, DataRunner(text, threads=8) as resumed:
        wanted = whole.stream(20)
        assert whole.layer.position == 20
        resumed.layer.position = 13
        assert_same_stream(resumed.stream(7), wanted[13:])
        resumed.layer.position = 2
        assert_same_stream(resumed.stream(3), wanted[2:5])


def test_files_are_not_loaded_whole(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("big.h5\n")
    with h5py.File(tmp_path / "big.h5", "w") as file:
        file.create_dataset("data", (100_000, 256), "f4", chunks=(512, 256))
    source = Hdf5Source(path, ["data"])
    tracemalloc.start()
    try:
        for number in range(0, 100_000, 5000):
            source.read(number, 64)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6  # of 102 MB


@pytest.mark.parametrize("dtype", ["f8", "i4", "u1", ">f4"])
def test_number_types(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text("a.h5\n")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.arange(6).reshape(3, 2).astype(dtype)
    text = f'top: "data" {layer_text(path, batch=3)}'
    with DataRunner(text) as run:
        np.testing.assert_array_equal(run.forward()[0], [[0, 1], [2, 3], [4, 5]])


def test_rows_of_one_number_each(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("a.h5\n")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.arange(3.0)
    with DataRunner(f'top: "data" {layer_text(path)}') as run:
        assert run.shapes() == [(4,)]
        np.testing.assert_array_equal(run.forward()[0], [0, 1, 2, 0])


def test_files_without_rows_are_passed_over(tmp_path: Path) -> None:
    with DataRunner(layer_text(write_files(tmp_path, (0, 3, 0, 2)))) as run:
        assert numbers_of(run.stream(2)) == [0, 1, 2, 3, 4, 0, 1, 2]


def test_source_beside_the_net_file(tmp_path: Path) -> None:
    write_files(tmp_path)
    with DataRunner(layer_text("list.txt"), folder=tmp_path) as run:
        assert numbers_of(run.stream(1)) == [0, 1, 2, 3]


def put(path: Path, name: str, value: Any) -> None:
    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value


BAD_SECOND_FILES: dict[str, tuple[str, Any]] = {
    "1.h5: no dataset 'label'; did you mean 'labels'?": ("labels", np.zeros((1, 2))),
    "1.h5: no dataset 'label'; it holds ['data', 'x']": ("x", np.zeros((1, 2))),
    "1.h5: datasets differ in their number of rows: 'data' 1, 'label' 2": (
        "label",
        np.zeros((2, 2)),
    ),
    "1.h5: rows of dataset 'label' are (3,), but (2,) in the first file": (
        "label",
        np.zeros((1, 3)),
    ),
    "1.h5: dataset 'label' is one number, not rows": ("label", 3.0),
    "1.h5: dataset 'label' is of type |S3, not numbers": ("label", np.array([b"abc"])),
    "1.h5: dataset 'label' is of type complex128, not numbers": ("label", np.array([1j])),
    "1.h5: rows of dataset 'label' are empty: (0,)": ("label", np.zeros((1, 0))),
}


@pytest.mark.parametrize("message", BAD_SECOND_FILES)
def test_bad_datasets(tmp_path: Path, message: str) -> None:
    path = write_files(tmp_path)
    name, value = BAD_SECOND_FILES[message]
    put(tmp_path / "1.h5", "label", None)
    put(tmp_path / "1.h5", name, value)
    with pytest.raises(DataError) as error:
        DataRunner(layer_text(path))
    assert f"list.txt:2: {tmp_path}/{message}" in str(error.value)
    assert str(error.value).startswith("net.prototxt:7[hdf5_data_param.source]: layer 'data'")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("1.h5", None, "list.txt:2: no file 1.h5"),
        ("1.h5", b"text", "list.txt:2: {}/1.h5: is no HDF5 file that can be read"),
        ("1.h5", b"\x89HDF\r\n\x1a\n" + bytes(30), "1.h5: is no HDF5 file that can be read"),
        ("list.txt", b"", "list.txt: the list is empty"),
        ("list.txt", b"\0\1", "list.txt: is not a text file that lists HDF5 files"),
        ("list.txt", b"\x89HDF\r\n\x1a\n\0", "list.txt: is not a text file that lists HDF5 files"),
        ("list.txt", None, "list.txt: No such file or directory"),
        ("list.txt", b"0.h5\nempty.h5\n\n", "list.txt:2: no file empty.h5"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = write_files(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        DataRunner(layer_text(path))
    assert message.format(tmp_path) in str(error.value)


def test_no_rows_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the files hold no rows"):
        DataRunner(layer_text(write_files(tmp_path, (0, 0))))


def test_file_cut_short_while_it_is_read(tmp_path: Path) -> None:
    path = write_files(tmp_path)
    with DataRunner(layer_text(path, batch=5)) as run:
        (tmp_path / "1.h5").write_bytes(b"")
        with pytest.raises(DataError, match=r"list\.txt:2: .*1\.h5: is no HDF5 file"):
            run.stream(2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('hdf5_data_param { source: "x" }', "batch_size must be 1 or more"),
        ("hdf5_data_param { batch_size: 1 }", "hdf5_data_param.source is missing"),
        ("transform_param { scale: 2 }", "HDF5Data does not transform its data"),
    ],
)
def test_bad_options(text: str, message: str) -> None:
    with pytest.raises(NetError) as error:
        DataRunner('type: "HDF5Data" ' + text)
    assert message in str(error.value)


def test_no_thread_is_left(tmp_path: Path) -> None:
    with DataRunner(layer_text(write_files(tmp_path))) as run:
        run.forward()
        assert any(name.startswith("data") for name in thread_names())
    assert not any(name.startswith("data") for name in thread_names())
