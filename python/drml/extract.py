"""Writes blobs of a net, sample by sample, to a file or data base; Caffe's extract_features.

Rows go to the file batch by batch, so that memory does not grow with them. All but LMDBs also hold
the samples' names. What is written appears whole or not at all.
"""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from drml.blob import Array
from drml.data.lmdb_writer import LmdbWriter
from drml.errors import NetError, UsageError
from drml.evaluate import sample_count
from drml.hdf5_weights import write_hdf5
from drml.layers.base_data import DataLayer
from drml.nearest import nearest
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.weights import atomic_write

if TYPE_CHECKING:
    import h5py

NAMES = "names"
_ROW_AXES = 3


@dataclass(frozen=True)
class Part:
    """Rows of one batch: the samples' names, and an array per blob."""

    names: list[str]
    arrays: list[Array]


class Features:
    """Rows of blobs, from a net that runs as they are asked for.

    Args:
        net: a net with data layers, from where its data stands.
        blobs: names of the blobs; axis 0 of each is that of the samples.
        count: of rows, which begin the data anew where it ends; None: every sample once.
        progress: called with the rows of each batch.

    Attributes:
        shapes: of one row of each blob.

    Raises:
        UsageError: there is no such blob, or one is named twice.
        NetError: the net has inputs that no data layer fills, a blob has not a row per sample, or
            no data layer knows how many samples there are and `count` is None.
    """

    def __init__(
        self,
        net: Net,
        blobs: Sequence[str],
        count: int | None = None,
        progress: Callable[[int], Any] | None = None,
    ) -> None:
        self.net = net
        self.blobs = list(blobs)
        self._progress = progress
        for index, name in enumerate(self.blobs):
            if name not in net.blobs:
                raise UsageError(f"{net.path}: no blob is named '{name}'{nearest(name, net.blobs)}")
            if name in self.blobs[:index]:
                raise UsageError(f"blob '{name}' is named twice")
        self._data = self._data_layer()
        total = sample_count(net) if count is None else count
        if total is None:
            raise NetError(
                f"{net.path}: no data layer knows how many samples there are; give their number"
            )
        self.count = total
        self._batch = next(n.top[0].shape[0] for n in net.layers if n.layer is self._data)
        self.shapes = [self._row_shape(name) for name in self.blobs]

    def _data_layer(self) -> DataLayer:
        """The layer that the samples come from."""
        if self.net.inputs:
            raise NetError(
                f"{self.net.path}: no data layer fills the input '{self.net.inputs[0]}'; this "
                "needs a net that reads its data"
            )
        layers = [n.layer for n in self.net.layers if isinstance(n.layer, DataLayer)]
        if not layers:
            raise NetError(f"{self.net.path}: there is no data layer")
        return next((layer for layer in layers if layer.sample_count is not None), layers[0])

    def _row_shape(self, name: str) -> tuple[int, ...]:
        shape = self.net.blobs[name].shape
        if shape[:1] != (self._batch,):
            raise NetError(
                f"{self.net.path}: blob '{name}' of shape {shape} has not one row for each of the "
                f"{self._batch} samples of a batch"
            )
        return shape[1:]

    def __iter__(self) -> Iterator[Part]:
        """Runs the net, batch by batch; the last one is cut to the number of rows.

        Raises:
            NetError: images differ in size, and with them the shapes of rows.
        """
        number = (self._data.position or 0) * self._batch
        left = self.count
        while left > 0:
            self.net.forward()
            taken = min(left, self._batch)
            for name, shape in zip(self.blobs, self.shapes, strict=True):
                if self._row_shape(name) != shape:
                    raise NetError(
                        f"{self.net.path}: blob '{name}' has rows of shape "
                        f"{self._row_shape(name)} now, and {shape} in the first batch"
                    )
            arrays = [
                np.ascontiguousarray(self.net.blobs[name].read_data()[:taken])
                for name in self.blobs
            ]
            names = [_text(self._data.sample_name(number + row)) for row in range(taken)]
            yield Part(names, arrays)
            number += taken
            left -= taken
            if self._progress is not None:
                self._progress(taken)


def _text(name: str) -> str:
    """A name as text that every file can hold, whatever bytes a file's name was made of."""
    return name.encode("utf-8", "backslashreplace").decode()


def _check_names(features: Features, taken: str) -> None:
    if taken in features.blobs:
        raise UsageError(f"blob '{taken}' has the name under which the samples' names are written")


def write_npz(features: Features, path: Path) -> None:
    """Writes an .npz: an array per blob, and `names`."""
    _check_names(features, NAMES)

    def write(file: BinaryIO) -> None:
        with ExitStack() as stack:
            # The arrays lie one behind the other in the file, but come row by row, all of them.
            folder = path.parent
            spools = [
                stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in features.blobs
            ]
            names: list[str] = []
            for part in features:
                names += part.names
                for spool, array in zip(spools, part.arrays, strict=True):
                    spool.write(array.data)
            archive = stack.enter_context(zipfile.ZipFile(file, "w", allowZip64=True))
            for name, shape, spool in zip(features.blobs, features.shapes, spools, strict=True):
                header = {
                    "descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)),
                    "fortran_order": False,
                    "shape": (features.count, *shape),
                }
                spool.seek(0)
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_1_0(member, header)
                    shutil.copyfileobj(spool, member, 1 << 16)
            with archive.open(zipfile.ZipInfo(f"{NAMES}.npy"), "w") as member:
                np.lib.format.write_array(member, np.array(names), allow_pickle=False)

    atomic_write(path, write)


def write_h5(features: Features, path: Path) -> None:
    """Writes an HDF5 file: a dataset per blob, and `names`."""
    _check_names(features, NAMES)
    for name in features.blobs:
        for other in (*features.blobs, NAMES):
            if name.startswith(f"{other}/"):
                raise UsageError(f"HDF5 cannot hold '{name}' beside '{other}'")

    def fill(file: h5py.File) -> None:
        import h5py

        count = features.count
        datasets = [
            file.create_dataset(name, (count, *shape), np.float32)
            for name, shape in zip(features.blobs, features.shapes, strict=True)
        ]
        names = file.create_dataset(NAMES, (count,), h5py.string_dtype())
        row = 0
        for part in features:
            end = row + len(part.names)
            names[row:end] = part.names
            for dataset, array in zip(datasets, part.arrays, strict=True):
                dataset[row:end] = array
            row = end

    write_hdf5(path, fill)


def write_csv(features: Features, path: Path) -> None:
    """Writes a table: a sample's name, then its numbers in columns `blob/index`, exact."""
    columns = [
        f"{name}/{index}" if shape else name
        for name, shape in zip(features.blobs, features.shapes, strict=True)
        for index in range(prod(shape))
    ]

    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        try:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(("sample", *columns))
            for part in features:
                tables = [array.reshape(len(array), -1).tolist() for array in part.arrays]
                for row, name in enumerate(part.names):
                    numbers = (number for table in tables for number in table[row])
                    writer.writerow((name, *(f"{number:.9g}" for number in numbers)))
            text.flush()
        finally:
            text.detach()

    atomic_write(path, write)


def write_lmdbs(features: Features, folders: Sequence[Path], *, force: bool = False) -> None:
    """Writes an LMDB per blob as extract_features: keys 0000000000 ..., Datum with float_data.

    Args:
        features: what to write.
        folders: one for each blob.
        force: replace data bases that are there already.

    Raises:
        UsageError: there are not as many folders as blobs.
        NetError: a row has more than three axes, which a Datum cannot tell.
        DataError: a data base exists already, or cannot be written.
    """
    if len(folders) != len(features.blobs):
        raise UsageError(
            f"an LMDB holds one blob: {len(features.blobs)} blobs need as many folders, separated "
            f"by commas, not {len(folders)}"
        )
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("an LMDB holds one blob, and a folder is named twice")
    for name, shape in zip(features.blobs, features.shapes, strict=True):
        if len(shape) > _ROW_AXES:
            raise NetError(f"rows of blob '{name}', shape {shape}, have too many axes for a Datum")
    with ExitStack() as stack:
        writers = [stack.enter_context(LmdbWriter(folder, force=force)) for folder in folders]
        number = 0
        for part in features:
            for writer, array in zip(writers, part.arrays, strict=True):
                for index, row in enumerate(array):
                    writer.put(f"{number + index:010d}".encode(), _datum(row))
            number += len(part.names)


def _datum(row: Array) -> bytes:
    channels, height, width = row.shape + (1,) * (_ROW_AXES - row.ndim)
    datum = pb.Datum(channels=channels, height=height, width=width)
    datum.float_data.extend(row.reshape(-1).tolist())
    return datum.SerializeToString()
