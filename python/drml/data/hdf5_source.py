"""HDF5 files of equal datasets, read block by block: memory does not grow with the files.

Rows come in the order of the files, as in Caffe, or shuffled. To shuffle, each epoch puts all
blocks in random order, takes as many at a time as a window of memory holds, and permutes the rows
of the window; files that fit in one window are permuted as a whole.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from drml.data.keyed import permutation
from drml.data.text_list import read_lines
from drml.errors import DataError

if TYPE_CHECKING:
    import h5py

Array = npt.NDArray[np.float32]
Rows = list[Array]
BLOCK_BYTES = 4 << 20
WINDOW_BYTES = 64 << 20


@dataclass(frozen=True)
class _File:
    path: Path
    where: str
    rows: int
    chunk: int
    """Rows of a compressed or chunked dataset that are stored as one piece."""


@dataclass(frozen=True)
class _Block:
    file: int
    start: int
    stop: int


@dataclass
class _Epoch:
    """The order of one epoch: windows of blocks, and the row at which each window begins."""

    windows: list[list[_Block]]
    starts: list[int]


class Hdf5Source:
    """Rows of the datasets `names` of the files that a list names, as one long stream.

    Used by one thread at a time.

    Args:
        path: text list of HDF5 files, one a line; relative ones are looked for below the working
            folder, then beside the list.
        names: of the datasets, one per top.
        key: of the random numbers, see `keyed.stream_key`.
        shuffle: whether rows come in a new random order each epoch.

    Raises:
        DataError: a list or file that is missing, broken or empty; a dataset that is missing (near
            names are given), is not numeric, or does not fit the others.
    """

    def __init__(
        self, path: Path, names: Sequence[str], *, key: bytes = b"", shuffle: bool = False
    ) -> None:
        self.path = path
        self.names = list(names)
        self._key = key
        self._shuffle = shuffle
        self.shapes: list[tuple[int, ...]] = []
        """Shape of one row of each dataset."""
        self._files = [self._inspect(file, where) for file, where in _listed(path)]
        self._rows = sum(file.rows for file in self._files)
        if self._rows == 0:
            raise DataError(f"{path}: the files hold no rows")
        self._row_bytes = 4 * sum(prod(shape) for shape in self.shapes)
        self._epochs: dict[int, _Epoch] = {}
        self._windows: dict[tuple[int, int], Rows] = {}

    def __len__(self) -> int:
        return self._rows

    def read(self, number: int, count: int) -> Rows:
        """Rows `number` to `number + count - 1` of the endless stream: one array per dataset."""
        parts: list[Rows] = []
        while count > 0:
            epoch, row = divmod(number, self._rows)
            plan = self._plan(epoch)
            window = int(np.searchsorted(plan.starts, row, side="right")) - 1
            rows = self._window(epoch, window)
            offset = row - plan.starts[window]
            taken = min(count, len(rows[0]) - offset)
            parts.append([array[offset : offset + taken] for array in rows])
            number, count = number + taken, count - taken
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]

    def _inspect(self, path: Path, where: str) -> _File:
        """Checks a file's datasets against each other and against the files before."""
        with _open(path, where) as file:
            datasets = [self._dataset(file, name, where) for name in self.names]
            rows = [dataset.shape[0] for dataset in datasets]
            if len(set(rows)) > 1:
                counts = ", ".join(f"'{n}' {r}" for n, r in zip(self.names, rows, strict=True))
                raise DataError(
                    f"{where}: {path}: datasets differ in their number of rows: {counts}"
                )
            shapes = [tuple(dataset.shape[1:]) for dataset in datasets]
            self.shapes = self.shapes or shapes
            for name, shape, first in zip(self.names, shapes, self.shapes, strict=True):
                if shape != first:
                    raise DataError(
                        f"{where}: {path}: rows of dataset '{name}' are {shape}, but {first} in "
                        "the first file"
                    )
            chunk = max(dataset.chunks[0] if dataset.chunks else 1 for dataset in datasets)
        return _File(path, where, rows[0], chunk)

    def _dataset(self, file: h5py.File, name: str, where: str) -> h5py.Dataset:
        import h5py

        dataset = file.get(name)
        if not isinstance(dataset, h5py.Dataset):
            near = difflib.get_close_matches(name, list(file), 1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; it holds {sorted(file)}"
            raise DataError(f"{where}: {file.filename}: no dataset '{name}'{hint}")
        if dataset.dtype.kind not in "fiu":
            raise DataError(
                f"{where}: {file.filename}: dataset '{name}' is of type {dataset.dtype}, not "
                "numbers"
            )
        if not dataset.shape:
            raise DataError(f"{where}: {file.filename}: dataset '{name}' is one number, not rows")
        if 0 in dataset.shape[1:]:
            raise DataError(
                f"{where}: {file.filename}: rows of dataset '{name}' are empty: {dataset.shape[1:]}"
            )
        return dataset

    def _blocks(self) -> list[_Block]:
        blocks: list[_Block] = []
        for index, file in enumerate(self._files):
            # Whole chunks, so that none is decompressed twice.
            step = max(1, BLOCK_BYTES // self._row_bytes // file.chunk) * file.chunk
            for start in range(0, file.rows, step):
                blocks.append(_Block(index, start, min(start + step, file.rows)))
        return blocks

    def _plan(self, epoch: int) -> _Epoch:
        number = epoch if self._shuffle else 0
        if number not in self._epochs:
            self._epochs = {number: self._make_plan(number)}
        return self._epochs[number]

    def _make_plan(self, epoch: int) -> _Epoch:
        blocks = self._blocks()
        if not self._shuffle:
            windows = [[block] for block in blocks]
        else:
            order = permutation(self._key, len(blocks), epoch)
            windows = []
            room = 0
            for block in (blocks[index] for index in order):
                size = (block.stop - block.start) * self._row_bytes
                if size > room:
                    windows.append([])
                    room = WINDOW_BYTES
                windows[-1].append(block)
                room -= size
        starts, start = [], 0
        for window in windows:
            starts.append(start)
            start += sum(block.stop - block.start for block in window)
        return _Epoch(windows, starts)

    def _window(self, epoch: int, window: int) -> Rows:
        place = (epoch, window) if self._shuffle else (0, window)
        if place not in self._windows:
            self._windows.clear()
            blocks = self._plan(epoch).windows[window]
            parts = [self._read_block(block) for block in blocks]
            rows = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
            if self._shuffle:
                order = permutation(self._key, len(rows[0]), epoch, window)
                rows = [array[order] for array in rows]
            self._windows[place] = rows
        return self._windows[place]

    def _read_block(self, block: _Block) -> Rows:
        file = self._files[block.file]
        try:
            with _open(file.path, file.where) as opened:
                return [
                    np.asarray(opened[name][block.start : block.stop], np.float32)
                    for name in self.names
                ]
        except (OSError, KeyError, ValueError) as error:
            raise DataError(
                f"{file.where}: {file.path}: rows {block.start} to {block.stop - 1} cannot be read "
                f"({error})"
            ) from error


def _open(path: Path, where: str) -> h5py.File:
    import h5py

    if not path.exists():
        raise DataError(f"{where}: no file {path}")
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        raise DataError(f"{where}: {path}: is no HDF5 file that can be read") from error


def _listed(path: Path) -> list[tuple[Path, str]]:
    """The files of a list, each with `list:line`."""
    files: list[tuple[Path, str]] = []
    for number, name in read_lines(path, "HDF5 files"):
        beside = path.parent / name
        found = beside if not Path(name).exists() and beside.exists() else Path(name)
        files.append((found, f"{path}:{number}"))
    return files
