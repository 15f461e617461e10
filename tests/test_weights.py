"""Caffe's binary files: what is written reads back, here and by protobuf, and damage is named."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drml import weights, wire
from drml.errors import WeightsError
from drml.proto import caffe_pb2 as pb
from drml.weights import (
    array_to_blob,
    arrays_of_layers,
    atomic_write,
    blob_to_array,
    read_mean,
    read_net_weights,
    read_state,
    write_layers,
    write_mean,
    write_state,
)

Array = npt.NDArray[np.float32]

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


def array_of(shape: tuple[int, ...]) -> Array:
    size = int(np.prod(shape))
    return (np.arange(size, dtype=np.float32) - np.float32(1.5)).reshape(shape)


def error_of(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.fixture
def net() -> pb.NetParameter:
    """Two layers with weights and one without, as protobuf itself makes them."""
    net = pb.NetParameter(name="n")
    first = net.layer.add(name="conv1", type="Convolution", bottom=["data"], top=["conv1"])
    for shape in ((2, 3, 1, 2), (2,)):
        first.blobs.add(shape=pb.BlobShape(dim=shape), data=array_of(shape).ravel().tolist())
    net.layer.add(name="relu", type="ReLU", phase=pb.TEST)
    last = net.layer.add(name="ip", type="InnerProduct")
    last.blobs.add(shape=pb.BlobShape(dim=[3]), data=[1, 2, 3], diff=[4, 5, 6])
    return net


@pytest.fixture
def file(net: pb.NetParameter, tmp_path: Path) -> Path:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(net.SerializeToString())
    return path


# ------------------------------------------------------------------------------------------------
# Blobs


@given(shapes)
def test_blob_round_trip(shape: tuple[int, ...]) -> None:
    array = array_of(shape)
    blob = array_to_blob(array, -array)
    assert tuple(blob.shape.dim) == shape
    assert list(blob.data) == array.ravel().tolist()
    assert list(blob.diff) == (-array).ravel().tolist()
    back = blob_to_array(blob)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, array)
    assert not back.flags.writeable


def test_any_array_can_be_written() -> None:
    for array in (
        np.arange(6).reshape(2, 3).T,
        [[1, 2], [3, 4]],
        np.float64(2),
        np.arange(4)[::-2],
    ):
        np.testing.assert_array_equal(blob_to_array(array_to_blob(array)), array)


def test_legacy_blob_has_four_axes() -> None:
    blob = pb.BlobProto(num=1, channels=1, height=2, width=3, data=range(6))
    assert blob_to_array(blob).shape == (1, 1, 2, 3)
    # Caffe prefers the legacy fields where both are given.
    blob.shape.dim.extend([6])
    assert blob_to_array(blob).shape == (1, 1, 2, 3)


def test_doubles_are_rounded() -> None:
    blob = pb.BlobProto(shape=pb.BlobShape(dim=[2]), double_data=[0.1, 1e-300])
    array = blob_to_array(blob)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, np.array([0.1, 0], np.float32))


def test_numbers_that_are_not_packed() -> None:
    # Two numbers, each with its own key, and then a packed pair: all are legal.
    encoded = bytes.fromhex(
        "2d0000803f 2d00000040 2a08 0000404000008040 3a03 0a01 04".replace(" ", "")
    )
    np.testing.assert_array_equal(wire.decode_blob(memoryview(encoded)), [1, 2, 3, 4])


@pytest.mark.parametrize("encoded", ["2801", "2d0000803f 2801", "410000000000000000 4500000000"])
def test_numbers_that_are_no_floats(encoded: str) -> None:
    with pytest.raises(wire.WireError, match="no floats"):
        wire.decode_blob(memoryview(bytes.fromhex(encoded)))


def test_packed_numbers_in_pieces() -> None:
    encoded = bytes.fromhex("2a04 0000803f 3a03 0a01 02 2a04 00000040".replace(" ", ""))
    np.testing.assert_array_equal(wire.decode_blob(memoryview(encoded)), [1, 2])


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (
            pb.BlobProto(shape=pb.BlobShape(dim=[2, 2]), data=[1, 2, 3]),
            "3 numbers for a blob of shape (2, 2)",
        ),
        (pb.BlobProto(), "0 numbers for a blob of shape ()"),
        (
            pb.BlobProto(shape=pb.BlobShape(dim=[2**40])),
            "0 numbers for a blob of shape (1099511627776,)",
        ),
        (pb.BlobProto(num=-1, data=[1]), "a blob of impossible shape (-1, 0, 0, 0)"),
        (
            pb.BlobProto(shape=pb.BlobShape(dim=[1] * 33), data=[1]),
            "a blob of impossible shape (1, 1, ",
        ),
    ],
)
def test_blobs_that_are_wrong(blob: pb.BlobProto, message: str) -> None:
    with pytest.raises(WeightsError) as caught:
        blob_to_array(blob)
    assert str(caught.value).startswith(f"blob: {message}")


@given(st.integers(0, 2**63))
def test_varint(value: int) -> None:
    encoded = wire.encode_varint(value)
    (field,) = wire.fields(memoryview(b"\x08" + encoded))
    assert (field.number, field.wire, bytes(field.raw)) == (1, wire.VARINT, b"\x08" + encoded)
    assert encoded == pb.RuntimeState(seed=value).SerializeToString()[1:]


# ------------------------------------------------------------------------------------------------
# Weights


def test_arrays_of_a_file_and_of_a_message(net: pb.NetParameter, file: Path) -> None:
    for source in (file, str(file), net):
        layers = arrays_of_layers(source)
        assert [name for name, _ in layers] == ["conv1", "relu", "ip"]
        first, second = layers[0][1]
        np.testing.assert_array_equal(first, array_of((2, 3, 1, 2)))
        np.testing.assert_array_equal(second, array_of((2,)))
        assert layers[1][1] == []
        np.testing.assert_array_equal(layers[2][1][0], [1, 2, 3])


def test_read_net_weights_is_the_message(net: pb.NetParameter, file: Path) -> None:
    assert read_net_weights(file) == net


def test_arrays_outlive_the_file(file: Path) -> None:
    array = arrays_of_layers(file)[0][1][0]
    file.unlink()
    np.testing.assert_array_equal(array, array_of((2, 3, 1, 2)))


def test_write_layers_is_what_protobuf_writes(net: pb.NetParameter, tmp_path: Path) -> None:
    path = tmp_path / "out.caffemodel"
    layers = []
    for (_, arrays), layer in zip(arrays_of_layers(net), net.layer, strict=True):
        param = pb.LayerParameter()
        param.CopyFrom(layer)
        param.ClearField("blobs")
        layers.append((param, arrays))
    write_layers(path, "n", layers)
    net.layer[2].blobs[0].ClearField("diff")
    assert pb.NetParameter.FromString(path.read_bytes()) == net

    diffs = [[-array for array in arrays] for _, arrays in layers]
    write_layers(path, "n", layers, diffs)
    written = pb.NetParameter.FromString(path.read_bytes())
    assert list(written.layer[2].blobs[0].diff) == [-1, -2, -3]
    assert os.listdir(tmp_path) == ["out.caffemodel"]


def test_v1_weights(tmp_path: Path) -> None:
    old = pb.V1LayerParameter(name="conv1", type=pb.V1LayerParameter.CONVOLUTION, blobs_lr=[1])
    old.blobs.add(num=1, channels=1, height=1, width=2, data=[3, 4])
    path = tmp_path / "old.caffemodel"
    # Old files keep the shape of the inputs as well.
    path.write_bytes(
        pb.NetParameter(
            name="n", layers=[old], input=["data"], input_dim=[1, 3, 8, 8]
        ).SerializeToString()
    )
    ((name, arrays),) = arrays_of_layers(path)
    assert name == "conv1"
    np.testing.assert_array_equal(arrays[0], [[[[3, 4]]]])
    upgraded = read_net_weights(path)
    assert [layer.type for layer in upgraded.layer] == ["Input", "Convolution"]
    assert upgraded.layer[1].param[0].lr_mult == 1


def test_v0_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    old = pb.V0LayerParameter(name="conv1", type="conv", num_output=2, blobs_lr=[1, 2])
    for shape in ((2, 1, 1, 1), (1, 1, 1, 2)):
        num, channels, height, width = shape
        blob = old.blobs.add(num=num, channels=channels, height=height, width=width)
        blob.data.extend(array_of(shape).ravel().tolist())
    layers = [
        pb.V1LayerParameter(layer=pb.V0LayerParameter(name="pad1", type="padding", pad=3)),
        pb.V1LayerParameter(layer=old),
    ]
    path.write_bytes(pb.NetParameter(layers=layers).SerializeToString())
    (_, none), (name, arrays) = arrays_of_layers(path)
    assert (none, name) == ([], "conv1")
    np.testing.assert_array_equal(arrays[0], array_of((2, 1, 1, 1)))
    np.testing.assert_array_equal(arrays[1], array_of((1, 1, 1, 2)))
    (upgraded,) = read_net_weights(path).layer
    assert (upgraded.name, upgraded.type) == ("conv1", "Convolution")
    assert list(upgraded.blobs) == list(old.blobs)
    assert upgraded.param[1].lr_mult == 2


def test_weights_that_are_wrong(net: pb.NetParameter, tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    content = net.SerializeToString()
    damaged = pb.NetParameter(layer=net.layer[:1])
    del damaged.layer[0].blobs[1].data[0]
    both = pb.NetParameter(layer=net.layer, layers=[pb.V1LayerParameter(name="old")])
    for written, message in [
        (b"", "the file is empty"),
        (content[:-5], "cut short: 5 bytes are missing"),
        (b"name: 'n'\nlayer { }\n", "a text file, not weights (.caffemodel)"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file, not weights (.caffemodel)"),
        (bytes(range(256)), "damaged, or not weights (.caffemodel)"),
        (bytes(1000), "damaged, or not weights (.caffemodel)"),
        (pb.NetParameter(name="n" * 200).SerializeToString(), "there is no layer in it"),
        (
            pb.SolverState(iter=4, learned_net="x").SerializeToString(),
            "it holds a solver state (.solverstate), not weights (.caffemodel)",
        ),
        (
            array_to_blob(array_of((1, 3, 2, 2))).SerializeToString(),
            "it holds a mean image (.binaryproto), not weights (.caffemodel)",
        ),
        (damaged.SerializeToString(), "layer 'conv1', blob 1: 1 numbers for a blob of shape (2,)"),
        (both.SerializeToString(), "it holds both `layer` and the old `layers`"),
        (bytes.fromhex("a20603 0a01ff".replace(" ", "")), "damaged: its name is no text"),
    ]:
        path.write_bytes(written)
        assert error_of(arrays_of_layers, path) == message
        assert error_of(read_net_weights, path) == message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for read in (arrays_of_layers, read_net_weights, read_state, read_mean):
        assert error_of(read, tmp_path / "x") == "no such file"
        assert error_of(read, tmp_path) == "this is a folder, not a file"
        assert error_of(read, Path("a\0b")).startswith("cannot be read: ")


def test_more_than_two_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "large.caffemodel"
    with open(path, "wb") as file:
        file.truncate(2**31)
    assert error_of(arrays_of_layers, path) == "2.0 GB; files in Caffe's format end at 2 GB"
    # One number that fills the shape without filling memory.
    huge = np.broadcast_to(np.float32(1), (2**29,))
    calls: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "encode_blob", lambda *_: (2**31, [memoryview(bytes(0))]))
        patch.setattr(wire, "total", lambda _: 2**31)
        patch.setattr(weights, "atomic_write", lambda *given: calls.append(given))
        message = error_of(lambda p: write_layers(p, "n", [(pb.LayerParameter(), [huge])]), path)
    assert message == "would hold 2.0 GB; files in Caffe's format end at 2 GB"
    assert not calls


@settings(max_examples=300)
@given(st.data())
def test_damaged_weights_give_one_line(tmp_path_factory: Any, data: st.DataObject) -> None:
    net = pb.NetParameter(name="n")
    layer = net.layer.add(name="conv1", type="Convolution")
    layer.blobs.add(shape=pb.BlobShape(dim=[2, 1]), data=[1, 2])
    content = bytearray(net.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    path = tmp_path_factory.getbasetemp() / "damaged.caffemodel"
    path.write_bytes(content)
    for read in (arrays_of_layers, read_net_weights, read_state, read_mean):
        try:
            read(path)
        except WeightsError as error:
            message = str(error)
        else:
            continue
        assert "\n" not in message
        assert message.startswith(f"{path}: ")


def test_golden_weights(golden_dir: Path) -> None:
    for name in ("init.caffemodel", "snap_iter_4.caffemodel"):
        path = golden_dir / "net" / name
        wanted = pb.NetParameter.FromString(path.read_bytes())
        layers = dict(arrays_of_layers(path))
        assert list(layers) == [layer.name for layer in wanted.layer]
        assert layers["conv1"][0].shape == (6, 3, 5, 5)
        for layer in wanted.layer:
            for array, blob in zip(layers[layer.name], layer.blobs, strict=True):
                assert array.shape == tuple(blob.shape.dim)
                assert array.ravel().tolist() == list(blob.data)


# ------------------------------------------------------------------------------------------------
# Mean images and solver states


def test_mean_round_trip(tmp_path: Path) -> None:
    path, mean = tmp_path / "mean.binaryproto", array_of((3, 2, 4))
    write_mean(path, mean)
    np.testing.assert_array_equal(read_mean(path), mean)
    blob = pb.BlobProto.FromString(path.read_bytes())
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 3, 2, 4)
    assert not blob.HasField("shape")


def test_mean_with_a_shape(tmp_path: Path) -> None:
    path = tmp_path / "mean.binaryproto"
    for shape in ((3, 2, 4), (1, 3, 2, 4)):
        path.write_bytes(array_to_blob(array_of(shape)).SerializeToString())
        assert read_mean(path).shape == (3, 2, 4)


def test_means_that_are_wrong(net: pb.NetParameter, tmp_path: Path) -> None:
    path = tmp_path / "mean.binaryproto"
    for content, message in [
        (
            array_to_blob(array_of((2, 3, 2, 4))),
            "a mean image of shape (2, 3, 2, 4); (channels, height, width) is needed",
        ),
        (array_to_blob(array_of((3, 0, 4))), "a mean image of shape (3, 0, 4); "),
        (net, "it holds weights (.caffemodel), not a mean image (.binaryproto)"),
    ]:
        path.write_bytes(content.SerializeToString())
        assert error_of(read_mean, path).startswith(message)
    assert error_of(lambda p: write_mean(p, array_of((3, 2))), path).endswith("not shape (3, 2)")


def test_state_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "x.solverstate"
    state = pb.SolverState(iter=7, learned_net="x.caffemodel", current_step=2)
    state.drml.seed = 2**63
    state.drml.cursor.add(net="train", layer="data", position=9)
    history = [array_of((2, 3)), array_of(())]
    write_state(path, state, history)
    back, arrays = read_state(path)
    assert back == state
    for array, wanted in zip(arrays, history, strict=True):
        np.testing.assert_array_equal(array, wanted)
    state.history.extend(array_to_blob(array) for array in history)
    assert pb.SolverState.FromString(path.read_bytes()) == state


def test_golden_state(golden_dir: Path) -> None:
    path = golden_dir / "net" / "snap_iter_4.solverstate"
    state, history = read_state(path)
    wanted = pb.SolverState.FromString(path.read_bytes())
    assert (state.iter, state.current_step) == (4, 1)
    assert state.learned_net == "snap_iter_4.caffemodel"
    assert not state.HasField("drml")
    assert [array.ravel().tolist() for array in history] == [list(b.data) for b in wanted.history]
    assert error_of(arrays_of_layers, path).startswith("it holds a solver state")
    assert error_of(read_state, path.with_name("init.caffemodel")).startswith("it holds weights")


# ------------------------------------------------------------------------------------------------
# Writing


def test_atomic_write_replaces(tmp_path: Path) -> None:
    path = tmp_path / "f"
    atomic_write(path, b"old")
    atomic_write(str(path), lambda file: file.writelines([b"ne", b"w"]))
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["f"]


def test_atomic_write_follows_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    atomic_write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_new_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    atomic_write(tmp_path / "f", b"")
    assert (tmp_path / "f").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_a_failed_write_leaves_what_was_there(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise failure

    with pytest.raises((WeightsError, KeyboardInterrupt)) as caught:
        atomic_write(path, write)
    if isinstance(failure, OSError):
        assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_full_disk(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")

    def write(_: BinaryIO) -> None:
        with open("/dev/full", "wb") as full:
            full.write(b"x")

    path = tmp_path / "f"
    assert error_of(lambda p: atomic_write(p, write), path) == (
        "cannot be written: No space left on device"
    )
    assert os.listdir(tmp_path) == []


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for name, message in [
        ("missing/f", "No such file or directory"),
        ("file/f", "Not a directory"),
        ("folder", "Is a directory"),
    ]:
        path = tmp_path / name
        assert error_of(lambda p: atomic_write(p, b""), path) == f"cannot be written: {message}"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_read_only_folder(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may write everywhere")
    tmp_path.chmod(0o500)
    message = error_of(lambda p: atomic_write(p, b""), tmp_path / "f")
    tmp_path.chmod(0o700)
    assert message == "cannot be written: Permission denied"
