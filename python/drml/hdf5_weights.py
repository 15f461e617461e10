"""Reads and writes Caffe's HDF5 files: .caffemodel.h5 and .solverstate.h5.

Weights lie at /data/LAYER/INDEX (gradients at /diff/LAYER/INDEX), a blob that shares another's
values only with its owner. A solver state has /iter, /current_step, /learned_net and
/history/INDEX; ours adds /drml, which stock Caffe does not look for. A layer's name with a `/`,
which stock Caffe cannot write, becomes groups inside groups. All errors are WeightsError.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from drml.errors import WeightsError
from drml.proto import caffe_pb2 as pb
from drml.weights import AnyPath, atomic_write

if TYPE_CHECKING:
    import h5py

Array = npt.NDArray[np.float32]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MOST_AXES = 32


def has_hdf5_name(path: AnyPath) -> bool:
    """Whether a file's name asks for HDF5, as in Caffe."""
    return str(path).endswith(".h5")


def is_hdf5(path: AnyPath) -> bool:
    """Whether a file holds HDF5, whatever its name; False where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False


# ------------------------------------------------------------------------------------------------
# Weights


def write_layers(
    path: AnyPath,
    layers: Sequence[tuple[str, Sequence[npt.ArrayLike | None]]],
    diffs: Sequence[Sequence[npt.ArrayLike]] | None = None,
) -> None:
    """Writes a .caffemodel.h5.

    Args:
        path: the file, which appears whole or not at all.
        layers: every layer's name and the values of its blobs; None for one that shares another's.
        diffs: gradients to store beside them, in the same order.

    Raises:
        WeightsError: the file cannot be written.
    """

    def fill(file: h5py.File) -> None:
        data = file.create_group("data")
        for name, arrays in layers:
            _add_blobs(data.require_group(name), arrays)
        if diffs is not None:
            diff = file.create_group("diff")
            for (name, _), arrays in zip(layers, diffs, strict=True):
                _add_blobs(diff.require_group(name), arrays)

    write_hdf5(path, fill)


def _add_blobs(group: h5py.Group, arrays: Sequence[npt.ArrayLike | None]) -> None:
    for index, array in enumerate(arrays):
        if array is not None:
            group.create_dataset(str(index), data=np.asarray(array, np.dtype("<f4")))


def read_layers(path: AnyPath) -> list[tuple[str, list[Array | None]]]:
    """The layers of a .caffemodel.h5 with their weights, in the order of their names.

    A blob that is not stored, since it shares the values of another, is None.

    Raises:
        WeightsError: the file cannot be read, is damaged, or holds no weights.
    """
    with _reading(path) as file:
        data = _group(file, "data")
        if data is None:
            what = "it holds a solver state" if "history" in file else "it has no group /data"
            raise WeightsError(f"{what}, not weights (.caffemodel.h5)")
        layers = [(name, _blobs(group, f"layer '{name}'")) for name, group in _layer_groups(data)]
        if not layers:
            raise WeightsError("there are no weights in it")
        return layers


def _layer_groups(group: h5py.Group, name: str = "") -> Iterator[tuple[str, h5py.Group]]:
    """The groups that hold blobs, by their layers' names."""
    children = {key: group[key] for key in group}
    inner = {key: child for key, child in children.items() if _is_group(child)}
    if name and len(inner) < len(children):
        yield name, group
    for key, child in inner.items():
        yield from _layer_groups(child, f"{name}/{key}" if name else key)


def _blobs(group: h5py.Group, what: str) -> list[Array | None]:
    """The datasets 0, 1... of a group; what stands beside them is not looked at."""
    found: dict[int, Array] = {}
    for key in group:
        if not _is_group(group[key]):
            if not key.isdecimal() or len(key) > 6:
                raise WeightsError(f"{what}: a blob is called '{key}', which is no number")
            found[int(key)] = _array(group[key], f"{what}, blob {key}")
    return [found.get(index) for index in range(max(found, default=-1) + 1)]


def _array(dataset: h5py.Dataset, what: str) -> Array:
    shape = dataset.shape
    if shape is None or len(shape) > _MOST_AXES or dataset.dtype.kind not in "fiu":
        raise WeightsError(f"{what} holds no array of numbers")
    # What no file holds would be read as zeros, however many.
    if dataset.chunks is None and dataset.id.get_storage_size() < dataset.nbytes:
        raise WeightsError(f"{what}: {dataset.nbytes} bytes of shape {shape} are not in the file")
    array = np.asarray(dataset[()], np.float32)
    array.flags.writeable = False
    return array


# ------------------------------------------------------------------------------------------------
# Solver states


def write_state(path: AnyPath, state: pb.SolverState, history: Sequence[npt.ArrayLike]) -> None:
    """Writes a .solverstate.h5: a message without history, and the history's arrays.

    Raises:
        WeightsError: the file cannot be written.
    """

    def fill(file: h5py.File) -> None:
        for name in ("iter", "current_step"):
            file.create_dataset(name, data=np.array([getattr(state, name)], np.int32))
        _add_text(file, "learned_net", state.learned_net)
        if state.HasField("drml"):
            runtime = np.frombuffer(state.drml.SerializeToString(), np.uint8)
            file.create_dataset("drml", data=runtime)
        _add_blobs(file.create_group("history"), history)

    write_hdf5(path, fill)


def _add_text(file: h5py.File, name: str, text: str) -> None:
    """A string as Caffe's readers want it: of fixed length, with a zero at its end."""
    import h5py

    encoded = text.encode() + b"\0"
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(encoded))
    kind.set_strpad(h5py.h5t.STR_NULLTERM)
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    dataset = h5py.h5d.create(file.id, name.encode(), kind, space)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(encoded, f"S{len(encoded)}"), kind)


def read_state(path: AnyPath) -> tuple[pb.SolverState, list[Array]]:
    """A .solverstate.h5: its message without the history, and the history's arrays.

    Raises:
        WeightsError: the file cannot be read, is damaged, or is no solver state.
    """
    with _reading(path) as file:
        history = _group(file, "history")
        if history is None:
            what = "it holds weights" if "data" in file else "it has no group /history"
            raise WeightsError(f"{what}, not a solver state (.solverstate.h5)")
        state = pb.SolverState()
        for name in ("iter", "current_step"):
            if name in file:
                setattr(state, name, int(np.asarray(file[name][()]).reshape(-1)[0]))
        if "learned_net" in file:
            state.learned_net = _text(file["learned_net"][()])
        if "drml" in file:
            state.drml.ParseFromString(np.asarray(file["drml"][()], np.uint8).tobytes())
        arrays = _blobs(history, "history")
        present = [array for array in arrays if array is not None]
        if len(present) < len(arrays):
            raise WeightsError(f"history blob {arrays.index(None)} is missing")
        return state, present


def _text(stored: Any) -> str:
    if isinstance(stored, bytes):
        return stored.decode()
    if isinstance(stored, str):
        return stored
    raise WeightsError("its learned_net is no text")


# ------------------------------------------------------------------------------------------------
# Files


def _is_group(item: Any) -> bool:
    import h5py

    return isinstance(item, h5py.Group)


def _group(file: h5py.File, name: str) -> h5py.Group | None:
    item = file.get(name)
    return item if _is_group(item) else None


@contextlib.contextmanager
def _reading(path: AnyPath) -> Iterator[h5py.File]:
    """An open file; what the block raises gets the file's name."""
    import h5py

    try:
        with h5py.File(Path(path), "r") as file:
            yield file
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file") from error
    except Exception as error:
        # h5py and protobuf report damage as OSError, RuntimeError, KeyError and others.
        reason = " ".join(str(error).split())
        raise WeightsError(f"{path}: damaged, or no HDF5 file: {reason}") from error


class _Unfailing(io.RawIOBase):
    """A file as HDF5 sees it: writing never fails, the failure is kept for afterwards.

    Told of a full disk, the library leaves its objects half closed and crashes later.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.failure: OSError | None = None

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._try(self._file.seek, offset, whence)

    def tell(self) -> int:
        return self._try(self._file.tell)

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        self._try(self._file.write, data)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        return self._try(self._file.truncate, size)

    def flush(self) -> None:
        self._try(self._file.flush)

    def _try(self, call: Any, *arguments: Any) -> int:
        if self.failure is None:
            try:
                return call(*arguments) or 0
            except OSError as error:
                self.failure = error
        return 0


def write_hdf5(path: AnyPath, fill: Callable[[h5py.File], None]) -> None:
    """Writes a file that `fill` fills; it appears whole or not at all."""
    import h5py

    def write(file: BinaryIO) -> None:
        sink = _Unfailing(file)
        try:
            with h5py.File(sink, "w") as target:
                fill(target)
        except Exception as error:
            # Such as a layer `a/0` beside the first blob of a layer `a`.
            if sink.failure is None:
                reason = " ".join(str(error).split())
                raise WeightsError(f"{path}: cannot be written as HDF5: {reason}") from error
        if sink.failure is not None:
            raise sink.failure

    atomic_write(path, write)
