"""Data: stock Caffe's and our own LMDB records, resume, and bad data bases."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from data_testing import (
    DataRunner,
    assert_same_stream,
    jpg,
    labels_of,
    our_record,
    picture,
    png,
    thread_names,
    write_lmdb,
)
from google.protobuf import text_format

from drml.data.lmdb_source import LmdbSource
from drml.data.samples import make_record
from drml.errors import DataError, NetError
from drml.layers import find
from drml.proto import caffe_pb2 as pb
from drml.weights import write_mean


def layer_text(path: Path | str, options: str = "", more: str = "", batch: int = 3) -> str:
    return (
        f'type: "Data" data_param {{ source: "{path}" backend: LMDB batch_size: {batch} '
        f"{options} }} {more}"
    )


def ours(path: Path, count: int = 7) -> Path:
    return write_lmdb(path / "db", [our_record(number) for number in range(count)])


def stock_record(number: int, **size: int) -> bytes:
    """As Caffe's convert_imageset writes it: raw pixels, channels first, one label."""
    pixels = picture(number, **size)
    height, width, channels = pixels.shape
    data = pixels.transpose(2, 0, 1).tobytes()
    datum = pb.Datum(channels=channels, height=height, width=width, data=data, label=10 + number)
    return datum.SerializeToString()


def test_our_records(tmp_path: Path) -> None:
    with DataRunner(layer_text(ours(tmp_path))) as run:
        assert run.shapes() == [(3, 3, 12, 10), (3, 3)]
        for batch, (data, label) in enumerate(run.stream(4)):
            for row in range(3):
                number = (3 * batch + row) % 7
                np.testing.assert_array_equal(data[row], picture(number).transpose(2, 0, 1))
                np.testing.assert_array_equal(label[row], labels_of(number))


def test_stock_raw_records(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "db", [stock_record(number) for number in range(4)])
    with DataRunner(layer_text(path)) as run:
        assert run.shapes() == [(3, 3, 12, 10), (3,)]
        data, label = run.forward()
        np.testing.assert_array_equal(label, [10, 11, 12])
        np.testing.assert_array_equal(data[2], picture(2).transpose(2, 0, 1))


def test_stock_float_records(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    datum = pb.Datum(channels=2, height=3, width=4, float_data=pixels.ravel().tolist(), label=1)
    path = write_lmdb(tmp_path / "db", [datum.SerializeToString()])
    with DataRunner(layer_text(path, batch=2)) as run:
        data, label = run.forward()
        np.testing.assert_array_equal(data, np.stack([pixels, pixels]))
        np.testing.assert_array_equal(label, [1, 1])


def encoded(data: bytes) -> bytes:
    return pb.Datum(data=data, encoded=True, label=2).SerializeToString()


@pytest.mark.parametrize(
    ("option", "channels", "shape"),
    [
        ("", 3, (1, 3, 12, 10)),
        ("", 1, (1, 1, 12, 10)),
        ("", 4, (1, 4, 12, 10)),
        ("transform_param { force_color: true }", 1, (1, 3, 12, 10)),
        ("transform_param { force_color: true }", 4, (1, 3, 12, 10)),
        ("transform_param { force_gray: true }", 3, (1, 1, 12, 10)),
        ("data_param { force_encoded_color: true }", 1, (1, 3, 12, 10)),
    ],
)
def test_encoded_records_and_channels(
    tmp_path: Path, option: str, channels: int, shape: tuple[int, ...]
) -> None:
    pixels = picture(0, channels=channels)
    path = write_lmdb(tmp_path / "db", [encoded(png(pixels))])
    with DataRunner(layer_text(path, more=option, batch=1)) as run:
        assert run.shapes() == [shape, (1,)]
        data, _ = run.forward()
        if shape[1] == channels:
            np.testing.assert_array_equal(data[0], pixels.transpose(2, 0, 1))


def test_transform(tmp_path: Path) -> None:
    more = "transform_param { crop_size: 4 mean_value: 9 scale: 0.25 }"
    with DataRunner(layer_text(ours(tmp_path), more=more), phase=pb.TEST) as run:
        wanted = (picture(1).transpose(2, 0, 1)[:, 4:8, 3:7].astype(float) - 9) / 4
        np.testing.assert_array_equal(run.forward()[0][1], wanted)


AUGMENTED = "transform_param { mirror: true crop_size: 8 }"


@pytest.mark.parametrize("threads", [2, 8])
def test_stream_does_not_depend_on_threads(tmp_path: Path, threads: int) -> None:
    text = layer_text(ours(tmp_path), "rand_skip: 5 prefetch: 7", AUGMENTED)
    with DataRunner(text, threads=1) as one, DataRunner(text, threads=threads) as many:
        assert_same_stream(many.stream(9), one.stream(9))


def test_position_resumes_exactly(tmp_path: Path) -> None:
    text = layer_text(ours(tmp_path), "rand_skip: 5", AUGMENTED)
    with DataRunner(text) as whole:
        wanted = whole.stream(8)
    with DataRunner(text) as resumed:
        resumed.layer.position = 5
        assert_same_stream(resumed.stream(3), wanted[5:])


def test_two_nets_read_one_data_base_from_a_read_only_folder(tmp_path: Path) -> None:
    path = ours(tmp_path)
    (path / "lock.mdb").unlink()
    path.chmod(0o555)
    try:
        first = DataRunner(layer_text(path))
        with DataRunner(layer_text(f"{path.parent}/./db")) as second:
            assert_same_stream([second.forward()], [first.forward()])
        first.forward()
        first.layer.close()
        assert os.listdir(path) == ["data.mdb"]
    finally:
        path.chmod(0o755)
    # Closed by all, it can be opened to write.
    lmdb.open(str(path)).close()


def test_zero_is_negative(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "db", [our_record(0, [0, 1, 1]), our_record(1, [1, 0, -1])])
    with DataRunner(layer_text(path, "zero_is_negative: true", batch=2)) as run:
        np.testing.assert_array_equal(run.forward()[1], [[-1, 1, 1], [1, -1, -1]])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0, 1], [1, 0]], "holds labels 0 and 1 but no -1"),
        ([[0, 0], [0, 0]], "all labels are 0"),
        ([[1, -1], [1, 3]], "record '00000001_1': label 2 is 3, but labels are"),
        (
            [[1, -1], [1]],
            "record '00000001_1': has a label of shape (1,), but the first record's is (2,)",
        ),
    ],
)
def test_bad_labels(tmp_path: Path, labels: list[list[int]], message: str) -> None:
    records = [our_record(number, label) for number, label in enumerate(labels)]
    path = write_lmdb(tmp_path / "db", records)
    with pytest.raises(DataError) as error:
        DataRunner(layer_text(path))
    assert message in str(error.value)
    assert str(error.value).startswith("net.prototxt:7[data_param.source]: layer 'data' (Data): ")


def test_labels_beyond_the_first_records_are_checked_when_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drml.data.lmdb_source._CHECKED", 2)
    path = write_lmdb(tmp_path / "db", [our_record(0), our_record(1), our_record(2, [1, 0, 9])])
    with (
        DataRunner(layer_text(path)) as run,
        pytest.raises(DataError, match=r"record '00000002_2': label 3 is 9"),
    ):
        run.forward()


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            make_record(half(jpg(picture(0, 50, 50))), (50, 50, 3), [1, 0, -1]),
            "the image is cut short",
        ),
        (make_record(b"nothing", (50, 50, 3), [1, 0, -1]), "the image cannot be decoded"),
        (encoded(b""), "the image is empty"),
        (b"\xff\xff nothing", "is not a Datum"),
        (b"", "holds 0 pixel values, which is not its shape (0, 0, 0)"),
        (half(stock_record(0)), "is not a Datum"),
        (
            pb.Datum(channels=3, height=2, width=2, data=bytes(11)).SerializeToString(),
            "holds 11 pixel values, which is not its shape (3, 2, 2)",
        ),
        (
            encoded(cv2.imencode(".png", np.zeros((4, 4), np.uint16))[1].tobytes()),
            "the image has 16 bits a channel; 8 are needed",
        ),
    ],
)
def test_broken_records_are_named_by_key(tmp_path: Path, record: bytes, message: str) -> None:
    path = write_lmdb(tmp_path / "db", {"the key": record})
    with pytest.raises(DataError) as error:
        DataRunner(layer_text(path))
    assert f"{path}: record 'the key': {message}" in str(error.value)


def test_broken_record_in_the_middle_reaches_the_consumer(tmp_path: Path) -> None:
    broken = make_record(half(jpg(picture(0, 50, 50))), (50, 50, 3), [1, 0, -1])
    path = write_lmdb(tmp_path / "db", [our_record(0), our_record(1), broken])
    with DataRunner(layer_text(path, batch=1)) as run:
        run.stream(2)
        with pytest.raises(DataError, match="record '00000002_2': the image is cut short"):
            run.forward()
        assert run.layer.position == 2


def test_raw_records_are_not_converted(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "db", [stock_record(0)])
    with DataRunner(layer_text(path, more="transform_param { force_color: true }")) as run:
        assert run.shapes()[0] == (3, 3, 12, 10)
    with pytest.raises(DataError, match="raw pixels of 3 channels; force_color and force_gray"):
        DataRunner(layer_text(path, more="transform_param { force_gray: true }"))


def test_crop_larger_than_the_image(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        DataRunner(layer_text(ours(tmp_path), more="transform_param { crop_size: 99 }"))
    assert "record '00000000_0': crop_size 99 is larger than the image, 12x10" in str(error.value)


def bad_paths(folder: Path) -> dict[str, Path]:
    (folder / "file").write_bytes(b"text")
    (folder / "empty").mkdir()
    for name, content in {"zero": b"", "text": b"text" * 4000, "random": os.urandom(40000)}.items():
        (folder / name).mkdir()
        (folder / name / "data.mdb").write_bytes(content)
    lmdb.open(str(folder / "none")).close()
    return {
        "no such data base": folder / "nowhere",
        "is a file, not the folder of an LMDB": folder / "file",
        "is no LMDB: there is no data.mdb in it": folder / "empty",
        "is no LMDB: its data.mdb is empty": folder / "zero",
        "is no LMDB that can be read": folder / "text",
        "is no LMDB that can be read (MDB_INVALID": folder / "random",
        "the data base holds no records": folder / "none",
    }


@pytest.mark.parametrize("index", range(7))
def test_bad_data_bases(tmp_path: Path, index: int) -> None:
    message, path = list(bad_paths(tmp_path).items())[index]
    with pytest.raises(DataError) as error:
        DataRunner(layer_text(path))
    assert f"{path}: {message}" in str(error.value)
    assert "\n" not in str(error.value)


def test_data_file_given_for_its_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give its folder"):
        LmdbSource(ours(tmp_path) / "data.mdb")


def test_data_base_cut_short(tmp_path: Path) -> None:
    path = ours(tmp_path, 60)
    data = (path / "data.mdb").read_bytes()
    (path / "data.mdb").write_bytes(half(data))
    with pytest.raises(DataError, match="the data base is cut short"):
        LmdbSource(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('data_param { source: "x" batch_size: 1 }', "backend LEVELDB (the default where none"),
        (
            'data_param { source: "x" batch_size: 1 backend: LEVELDB }',
            "backend LEVELDB is not supp",
        ),
        ('data_param { source: "x" backend: LMDB }', "batch_size must be 1 or more"),
        ("data_param { batch_size: 1 backend: LMDB }", "data_param.source is missing"),
    ],
)
def test_bad_options(text: str, message: str) -> None:
    with pytest.raises(NetError) as error:
        DataRunner('type: "Data" ' + text)
    assert message in str(error.value)


def test_no_thread_is_left(tmp_path: Path) -> None:
    with DataRunner(layer_text(ours(tmp_path))) as run:
        run.forward()
        assert any(name.startswith("data") for name in thread_names())
    assert not any(name.startswith("data") for name in thread_names())


def test_stated_shapes() -> None:
    layer_class = find("Data")
    assert layer_class is not None

    def stated(text: str) -> list[tuple[int, ...]] | None:
        return layer_class.stated_shapes(text_format.Parse(text, pb.LayerParameter()))

    color = "data_param { batch_size: 4 } transform_param { crop_size: 9 force_color: true }"
    assert stated(f'top: "data" {color}') == [(4, 3, 9, 9)]
    assert stated(f'top: "data" top: "label" {color}') is None
    assert stated('top: "data" transform_param { crop_size: 9 }') is None
    resized = "data_param { batch_size: 4 new_height: 9 new_width: 7 }"
    assert stated(f'top: "data" {resized} transform_param {{ force_gray: true }}') == [(4, 1, 9, 7)]
    assert stated(f'top: "data" {resized}') is None


# The fields of our own: keys, shuffle, new_height and new_width, balance.


def named(path: Path, labels: dict[str, list[int]], **size: int) -> Path:
    """A data base with these keys; record i is picture(i)."""
    records = {
        key: our_record(number, label, **size) for number, (key, label) in enumerate(labels.items())
    }
    return write_lmdb(path / "db", records)


def of_subjects(path: Path, count: int = 7) -> Path:
    return named(path, {f"F{n // 3:03d}/T1/{n:04d}": labels_of(n) for n in range(count)})


def test_keys_are_read_in_the_order_of_their_list(tmp_path: Path) -> None:
    path = of_subjects(tmp_path)
    (tmp_path / "keys.txt").write_text("F001/T1/0004\n\nF000/T1/0001\nF001/T1/0004\n")
    text = layer_text(path, 'keys: "keys.txt"')
    with DataRunner(text, folder=tmp_path) as run:
        assert run.layer.sample_count == 3
        assert [run.layer.sample_name(number) for number in range(2)] == [
            "F001/T1/0004",
            "F000/T1/0001",
        ]
        for data, label in run.stream(2):
            for row, number in enumerate([4, 1, 4]):
                np.testing.assert_array_equal(data[row], picture(number).transpose(2, 0, 1))
                np.testing.assert_array_equal(label[row], labels_of(number))


def test_records_that_are_not_listed_are_not_looked_at(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "db", {"a": b"nothing", "b": our_record(1), "c": b"nothing"})
    (tmp_path / "keys.txt").write_text("b\n")
    source = LmdbSource(path, keys=tmp_path / "keys.txt")
    assert len(source) == 1
    np.testing.assert_array_equal(source.read(0).pixels, picture(1))
    source.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "F000/T1/0000\nF001/T1/004\n",
            "keys.txt:2: no record 'F001/T1/004' in {db}; did you mean 'F001/T1/0004'?",
        ),
        ("F002/T1/00006", "in {db}; did you mean 'F002/T1/0006'?"),
        ("zzz", "keys.txt:1: no record 'zzz' in {db}"),
        ("\xe9" * 600, "in {db}"),
        ("", "keys.txt: the list is empty"),
        ("F000/T1/0000\0", "keys.txt: is not a text file that lists keys"),
        (None, "keys.txt: No such file or directory"),
    ],
)
def test_bad_keys(tmp_path: Path, text: str | None, message: str) -> None:
    path = of_subjects(tmp_path)
    if text is not None:
        (tmp_path / "keys.txt").write_text(text)
    with pytest.raises(DataError) as error:
        DataRunner(layer_text(path, 'keys: "keys.txt"'), folder=tmp_path)
    assert str(error.value).endswith(message.format(db=path))
    assert str(error.value).startswith("net.prototxt:7[data_param.source]: layer 'data' (Data): ")


def test_shuffle_is_a_permutation_each_epoch_and_resumes(tmp_path: Path) -> None:
    text = layer_text(ours(tmp_path), "shuffle: true", batch=7)
    with DataRunner(text) as whole:
        wanted = whole.stream(4)
    images = [{row.tobytes() for row in data} for data, _ in wanted]
    assert images[0] == images[1] == images[2]
    assert not np.array_equal(wanted[0][0], wanted[1][0])
    with DataRunner(text, threads=5) as resumed:
        resumed.layer.position = 2
        assert_same_stream(resumed.stream(2), wanted[2:])


def test_resize_comes_before_the_transform(tmp_path: Path) -> None:
    mean = np.random.default_rng(0).normal(size=(3, 24, 20)).astype(np.float32)
    write_mean(tmp_path / "mean.binaryproto", mean)
    text = layer_text(
        ours(tmp_path),
        "new_height: 24 new_width: 20",
        'transform_param { mean_file: "mean.binaryproto" crop_size: 16 }',
    )
    with DataRunner(text, phase=pb.TEST, folder=tmp_path) as run:
        assert run.shapes()[0] == (3, 3, 16, 16)
        large = cv2.resize(picture(2), (20, 24)).transpose(2, 0, 1) - mean
        np.testing.assert_array_equal(run.forward()[0][2], large[:, 4:20, 2:18])


def test_mean_has_the_size_of_the_resized_images(tmp_path: Path) -> None:
    write_mean(tmp_path / "mean.binaryproto", np.zeros((3, 12, 10), np.float32))
    text = layer_text(
        ours(tmp_path),
        "new_height: 24 new_width: 20",
        'transform_param { mean_file: "mean.binaryproto" }',
    )
    with pytest.raises(DataError, match="the mean image is 3x12x10, but the image is 3x24x20"):
        DataRunner(text, folder=tmp_path)


def test_height_alone(tmp_path: Path) -> None:
    with pytest.raises(NetError, match="new_height and new_width must be given together"):
        DataRunner(layer_text(ours(tmp_path), "new_height: 24"))


def test_numbers_are_not_resized(tmp_path: Path) -> None:
    datum = pb.Datum(channels=1, height=2, width=2, float_data=[1, 2, 3, 4], label=1)
    path = write_lmdb(tmp_path / "db", {"a": datum.SerializeToString()})
    with pytest.raises(DataError, match="record 'a': holds numbers, not pixels of 8 bits"):
        DataRunner(layer_text(path, "new_height: 24 new_width: 20"))


def test_balance(tmp_path: Path) -> None:
    # AU 1 is in 2 of 40 records, AU 2 in 20, neither in 18.
    labels = [[1, -1]] * 2 + [[-1, 1]] * 20 + [[-1, 0]] * 18
    path = named(tmp_path, {f"{n:02d}": label for n, label in enumerate(labels)}, height=2, width=2)
    text = layer_text(path, "balance: true", batch=10)
    with DataRunner(text) as whole:
        wanted = whole.stream(8)
    rates = (np.concatenate([label for _, label in wanted]) == 1).mean(axis=0)
    np.testing.assert_allclose(rates, 1 / 3, atol=0.03)
    with DataRunner(text, threads=5) as resumed:
        resumed.layer.position = 5
        assert_same_stream(resumed.stream(3), wanted[5:])


def test_balance_needs_label_vectors(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "db", [stock_record(0)])
    with pytest.raises(DataError, match="the records have no label vectors"):
        DataRunner(layer_text(path, "balance: true"))
    # Closed after the error, it can be opened to write.
    lmdb.open(str(path)).close()
