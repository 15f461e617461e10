"""Reads and writes Caffe's binary files: .caffemodel, .solverstate and .binaryproto.

What is written here stock Caffe reads, and the reverse; V0 and V1 weights are upgraded on reading.
Files appear whole or not at all. The HDF5 forms of weights and states are those of
`drml.hdf5_weights`. All errors are WeightsError: one line that names the file.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy.typing as npt
from google.protobuf.message import Message

from drml import wire
from drml.errors import WeightsError
from drml.locate import descriptor_of
from drml.proto import caffe_pb2 as pb
from drml.upgrade import upgrade_net, upgrade_v1_layer
from drml.upgrade_error import UpgradeError
from drml.wire import Array, WireError

AnyPath = str | PathLike[str]
LayerArrays = tuple[str, list[Array | None]]
"""A layer's name and the values of its parameter blobs; None for a blob that is not stored, since
it shares the values of another (in HDF5 files alone)."""

# protobuf's limit for one message, in Caffe and everywhere.
_LARGEST = 2**31 - 1

_LAYER = pb.NetParameter.LAYER_FIELD_NUMBER
_V1_LAYERS = pb.NetParameter.LAYERS_FIELD_NUMBER
_BLOBS = pb.LayerParameter.BLOBS_FIELD_NUMBER
_V1_BLOBS = pb.V1LayerParameter.BLOBS_FIELD_NUMBER
_V0_LAYER = pb.V1LayerParameter.LAYER_FIELD_NUMBER
_V0_BLOBS = pb.V0LayerParameter.BLOBS_FIELD_NUMBER
_HISTORY = pb.SolverState.HISTORY_FIELD_NUMBER

_WEIGHTS = "weights (.caffemodel)"
_STATE = "a solver state (.solverstate)"
_MEAN = "a mean image (.binaryproto)"
_BLOB = "a blob (.binaryproto)"
_KINDS: dict[str, type[Message]] = {
    _WEIGHTS: pb.NetParameter,
    _STATE: pb.SolverState,
    _MEAN: pb.BlobProto,
    _BLOB: pb.BlobProto,
}


def atomic_write(
    path: AnyPath, content: bytes | Callable[[BinaryIO], None], *, durable: bool = True
) -> None:
    """Writes a file so that it is seen whole or not at all, whatever happens meanwhile.

    Args:
        path: the file, which is replaced if it exists.
        content: its bytes, or a function that writes them to the open file it is given.
        durable: waits until the disk has it. False is for many small files that can be made again:
            they are seen whole or not at all while the machine runs, but a power cut may empty
            those of the last seconds.

    Raises:
        WeightsError: the file cannot be written (folder missing or read-only, disk full); what was
            there before is untouched.
    """
    # Through a link, so that the file that it points to is replaced and not the link.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{os.urandom(8).hex()}.part")
    try:
        try:
            with open(temporary, "x+b") as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        if durable:
            _sync_folder(target.parent)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written: {error.strerror or error}") from error


def _sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` outlive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# ------------------------------------------------------------------------------------------------
# Weights


def read_net_weights(path: AnyPath) -> pb.NetParameter:
    """A .caffemodel as one message, in today's form; see `arrays_of_layers` for the fast way.

    Raises:
        WeightsError: the file cannot be read, is damaged, or holds no layers.
    """
    arrays_of_layers(path)
    with _reading(path, _WEIGHTS) as content:
        return upgrade_net(wire.parse(pb.NetParameter(), content))


def arrays_of_layers(source: AnyPath | pb.NetParameter) -> list[LayerArrays]:
    """The layers of a .caffemodel, or of a message, with their weights.

    The arrays are read-only; those of a file are views of it, which is read where they are used.
    V0 and V1 weights are read as well. Legacy blobs have four axes, however few the layer's has.

    Raises:
        WeightsError: the file cannot be read, is damaged, or holds no layers.
    """
    if isinstance(source, pb.NetParameter):
        content = memoryview(source.SerializeToString())
        with _naming("weights"):
            return _layers(content)
    with _reading(source, _WEIGHTS) as content:
        return _layers(content)


def _layers(content: memoryview) -> list[LayerArrays]:
    result: list[LayerArrays] = []
    numbers = set()
    for field in wire.fields(content):
        if field.number in (_LAYER, _V1_LAYERS) and field.wire == wire.BYTES:
            numbers.add(field.number)
            result.append(_layer(field.content, field.number == _V1_LAYERS))
    if not result:
        raise WireError("there is no layer in it")
    if len(numbers) > 1:
        raise WireError("it holds both `layer` and the old `layers`")
    return result


def _layer(content: memoryview, is_v1: bool) -> LayerArrays:
    v0, _ = _take(content, _V0_LAYER) if is_v1 else ([], b"")
    if v0:
        blobs, rest = _take(v0[-1], _V0_BLOBS)
        name = wire.parse(pb.V0LayerParameter(), rest).name
        return name, [*_arrays(blobs, f"layer '{name}', blob")]
    blobs, rest = _take(content, _V1_BLOBS if is_v1 else _BLOBS)
    if is_v1:
        param = upgrade_v1_layer(wire.parse(pb.V1LayerParameter(), rest))
    else:
        param = wire.parse(pb.LayerParameter(), rest)
    return param.name, [*_arrays(blobs, f"layer '{param.name}', blob")]


def _take(content: memoryview, number: int) -> tuple[list[memoryview], bytes]:
    """The fields `number` of an encoded message, and the message without them."""
    taken, rest = [], []
    for field in wire.fields(content):
        if field.number == number and field.wire == wire.BYTES:
            taken.append(field.content)
        else:
            rest.append(field.raw)
    return taken, b"".join(rest)


def _arrays(blobs: Sequence[memoryview], what: str) -> list[Array]:
    arrays = []
    for index, blob in enumerate(blobs):
        try:
            arrays.append(wire.decode_blob(blob))
        except WireError as error:
            raise WireError(f"{what} {index}: {error}") from None
    return arrays


def write_layers(
    path: AnyPath,
    name: str,
    layers: Sequence[tuple[pb.LayerParameter, Sequence[npt.ArrayLike]]],
    diffs: Sequence[Sequence[npt.ArrayLike]] | None = None,
) -> None:
    """Writes a .caffemodel without gathering it in memory first.

    Args:
        path: the file.
        name: the net's name.
        layers: every layer's definition, without blobs, and the values of its parameter blobs.
        diffs: gradients to store beside them, in the same order.

    Raises:
        WeightsError: the file cannot be written, or would pass the 2 GB that Caffe can read.
    """
    pieces: list[bytes | memoryview] = [pb.NetParameter(name=name).SerializeToString()]
    for index, (param, arrays) in enumerate(layers):
        body: list[bytes | memoryview] = [param.SerializeToString()]
        gradients = diffs[index] if diffs is not None else [None] * len(arrays)
        for array, gradient in zip(arrays, gradients, strict=True):
            body += _framed(_BLOBS, *wire.encode_blob(array, gradient))
        pieces += _framed(_LAYER, wire.total(body), body)
    _write_pieces(path, pieces)


def _framed(number: int, length: int, pieces: list[bytes | memoryview]) -> list[bytes | memoryview]:
    return [wire.encode_header(number, length), *pieces]


def _write_pieces(path: AnyPath, pieces: Sequence[bytes | memoryview]) -> None:
    size = wire.total(pieces)
    if size > _LARGEST:
        raise WeightsError(
            f"{path}: would hold {size / 2**30:.1f} GB; files in Caffe's format end at 2 GB"
        )
    atomic_write(path, lambda file: file.writelines(pieces))


# ------------------------------------------------------------------------------------------------
# Blobs, mean images and solver states


def blob_to_array(blob: pb.BlobProto) -> Array:
    """The value of a BlobProto as a read-only float32 array; a legacy blob has four axes.

    Raises:
        WeightsError: the count of its numbers is not that of its shape.
    """
    with _naming("blob"):
        return wire.decode_blob(memoryview(blob.SerializeToString()))


def array_to_blob(array: npt.ArrayLike, diff: npt.ArrayLike | None = None) -> pb.BlobProto:
    """A BlobProto that holds a float32 copy of `array`, and of its gradient if one is given."""
    _, pieces = wire.encode_blob(array, diff)
    return pb.BlobProto.FromString(b"".join(pieces))


def read_blob(path: AnyPath) -> Array:
    """The value of a file with one BlobProto: float32, read-only; a legacy blob has four axes.

    Raises:
        WeightsError: the file cannot be read, or holds no blob.
    """
    with _reading(path, _BLOB) as content:
        return wire.decode_blob(content)


def read_mean(path: AnyPath) -> Array:
    """A mean image, as Caffe's compute_image_mean writes it: float32 (C, H, W), read-only.

    Raises:
        WeightsError: the file cannot be read, or holds no single image.
    """
    with _reading(path, _MEAN) as content:
        mean = wire.decode_blob(content)
        if mean.ndim == 4 and mean.shape[0] == 1:
            mean = mean[0]
        if mean.ndim != 3 or not mean.size:
            raise WireError(
                f"a mean image of shape {mean.shape}; (channels, height, width) is needed"
            )
        return mean


def write_mean(path: AnyPath, mean: npt.ArrayLike) -> None:
    """Writes a mean image of shape (C, H, W) as Caffe does: a legacy blob of one image.

    Raises:
        WeightsError: another shape, or the file cannot be written.
    """
    blob = array_to_blob(mean)
    if len(blob.shape.dim) != 3:
        raise WeightsError(
            f"{path}: a mean image has three axes, not shape {tuple(blob.shape.dim)}"
        )
    channels, height, width = blob.shape.dim
    blob.ClearField("shape")
    blob.num, blob.channels, blob.height, blob.width = 1, channels, height, width
    atomic_write(path, blob.SerializeToString())


def read_state(path: AnyPath) -> tuple[pb.SolverState, list[Array]]:
    """A .solverstate: its message without the history, and the history's arrays, read-only.

    Raises:
        WeightsError: the file cannot be read, is damaged, or is no solver state.
    """
    with _reading(path, _STATE) as content:
        history, rest = _take(content, _HISTORY)
        return wire.parse(pb.SolverState(), rest), _arrays(history, "history blob")


def write_state(path: AnyPath, state: pb.SolverState, history: Sequence[npt.ArrayLike]) -> None:
    """Writes a .solverstate: a message without history, and the history's arrays.

    Raises:
        WeightsError: the file cannot be written, or would pass the 2 GB that Caffe can read.
    """
    pieces: list[bytes | memoryview] = [state.SerializeToString()]
    for array in history:
        pieces += _framed(_HISTORY, *wire.encode_blob(array))
    _write_pieces(path, pieces)


# ------------------------------------------------------------------------------------------------
# Files


@contextlib.contextmanager
def _naming(what: AnyPath) -> Iterator[None]:
    """Puts `what`, the file's name, before the message of an error inside."""
    try:
        yield
    except (WireError, UpgradeError) as error:
        raise WeightsError(f"{what}: {error}") from error


@contextlib.contextmanager
def _reading(path: AnyPath, kind: str) -> Iterator[memoryview]:
    """The bytes of a file that should be of `kind`; what the block raises gets the file's name."""
    content = _map(path)
    with _naming(path):
        _check_kind(content, kind)
        yield content


def _map(path: AnyPath) -> memoryview:
    """A file's bytes, mapped into memory: only what is looked at is read."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > _LARGEST:
                raise WeightsError(
                    f"{path}: {size / 2**30:.1f} GB; files in Caffe's format end at 2 GB"
                )
            if size == 0:
                raise WeightsError(f"{path}: the file is empty")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise WeightsError(f"{path}: this is a folder, not a file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"{path}: cannot be read: {reason}") from error


def is_text(start: bytes) -> bool:
    """Whether a file that starts so can be a prototxt, and not one of Caffe's binary files."""
    return all(byte in b"\t\n\r" or byte >= 32 for byte in start)


def _check_kind(content: memoryview, wanted: str) -> None:
    """Raises WireError where the bytes are not of the kind that is wanted, and says of which."""
    start = bytes(content[:512])
    if start.startswith(b"\x89HDF\r\n"):
        raise WireError(f"an HDF5 file, not {wanted}")
    if is_text(start):
        raise WireError(f"a text file, not {wanted}")
    found: set[tuple[int, int]] = set()
    damage = None
    try:
        found.update((field.number, field.wire) for field in wire.fields(content))
    except WireError as error:
        damage = error
    if _fits(found, _KINDS[wanted]):
        if damage is not None:
            raise damage
        return
    for kind, message in _KINDS.items():
        if damage is None and _fits(found, message):
            raise WireError(f"it holds {kind}, not {wanted}")
    raise WireError(f"damaged, or not {wanted}")


def _fits(found: Collection[tuple[int, int]], message: type[Message]) -> bool:
    """Whether fields (number, encoding) can be those of a message; unknown numbers are let pass."""
    known = descriptor_of(message).fields_by_number
    fitting = [encoding in wire.encodings(known[key]) for key, encoding in found if key in known]
    return bool(fitting) and all(fitting)
