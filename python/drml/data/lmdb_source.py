"""LMDB data bases of Datum records: our own with label vectors, and stock Caffe's."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from drml.data.images import Channels, resize
from drml.data.labels import LabelCounts, check_convention, check_values
from drml.data.samples import Sample, Shape, parse_label, parse_record
from drml.data.text_list import read_lines
from drml.errors import DataError
from drml.nearest import nearest

if TYPE_CHECKING:
    import lmdb

_CHECKED = 2048  # records whose labels are looked at when a data base is opened
_NEIGHBORS = 2000  # keys on either side of a missing one that are compared with it


@dataclass
class _Shared:
    environment: lmdb.Environment
    users: int


# LMDB forbids to open a data base twice in a process, but two nets may read the same one.
_open: dict[tuple[int, int], _Shared] = {}
_open_lock = threading.Lock()


class LmdbSource:
    """The samples of an LMDB in the order of their keys, or those of a list in its order.

    Opened read-only and without a lock file, so the folder may be read-only too. With a list, no
    other record is looked at.

    Args:
        path: the data base's folder.
        channels: what to make of encoded images (force_color, force_gray).
        zero_is_negative: read label 0 as -1.
        learning: whether a net learns from it, so that it needs known labels.
        keys: a text file with a key a line; None reads all records.
        size: (height, width) to resize the images to; None keeps theirs.

    Raises:
        DataError: no such folder, no LMDB in it, cut short, no records, a listed key that it does
            not hold, labels that are not -1, 0 or 1 or 0 and 1 only (in its first records; every
            record is checked when it is read).
    """

    def __init__(
        self,
        path: Path,
        *,
        channels: Channels = Channels.NATIVE,
        zero_is_negative: bool = False,
        learning: bool = False,
        keys: Path | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        listed = None if keys is None else read_lines(keys, "keys")
        self.path = path
        self._channels = channels
        self._size = size
        self._zero_is_negative = zero_is_negative
        self._identity = _identity(path)
        self._environment = _acquire(path, self._identity)
        self._closed = False
        try:
            self._keys = self._all_keys() if listed is None else self._listed(listed, str(keys))
            if not self._keys:
                raise DataError(f"{path}: the data base holds no records")
            self.label_shape: Shape = self._label(0).shape
            self._check_labels(learning)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, index: int) -> str:
        """The key of a record, as text."""
        return self._keys[index].decode("utf-8", "backslashreplace")

    def name(self, index: int) -> str:
        """`path: record 'key'`."""
        return f"{self.path}: record '{self.key(index)}'"

    def read(self, index: int) -> Sample:
        """Reads and decodes a record.

        Raises:
            DataError: broken image, wrong labels; names the record's key.
        """
        try:
            sample = parse_record(
                self._value(index), self._channels, zero_is_negative=self._zero_is_negative
            )
            self._check_label(sample.label)
            return sample if self._size is None else self._resized(sample, self._size)
        except DataError as error:
            raise DataError(f"{self.name(index)}: {error}") from error

    def labels(self) -> npt.NDArray[np.int8]:
        """The labels of all samples (samples, K), without decoding an image.

        Raises:
            DataError: labels that are not -1, 0 or 1, or no label vectors at all.
        """
        if not self.label_shape:
            raise DataError(f"{self.path}: the records have no label vectors")
        labels = np.empty((len(self), *self.label_shape), np.int8)
        for index in range(len(self)):
            labels[index] = self._checked_label(index)
        if self._zero_is_negative:
            labels[labels == 0] = -1
        return labels

    def close(self) -> None:
        """Closes the data base, unless another source still reads it."""
        if not self._closed:
            self._closed = True
            _release(self._identity)

    def _all_keys(self) -> list[bytes]:
        with self._environment.begin() as transaction:
            return list(transaction.cursor().iternext(values=False))

    def _listed(self, lines: Sequence[tuple[int, str]], path: str) -> list[bytes]:
        """The keys of a list, each of which is in the data base."""
        keys = []
        with self._environment.begin() as transaction:
            cursor = transaction.cursor()
            for number, line in lines:
                key = line.encode("utf-8", "surrogateescape")
                if not cursor.set_key(key):
                    near = _near(cursor, key)
                    raise DataError(f"{path}:{number}: no record '{line}' in {self.path}{near}")
                keys.append(key)
        return keys

    @staticmethod
    def _resized(sample: Sample, size: tuple[int, int]) -> Sample:
        if sample.pixels.dtype != np.uint8:
            raise DataError("holds numbers, not pixels of 8 bits, which cannot be resized")
        return Sample(resize(sample.pixels, size), sample.label)

    def _value(self, index: int) -> bytes:
        import lmdb

        try:
            with self._environment.begin() as transaction:
                value: bytes | None = transaction.get(self._keys[index])
        except lmdb.Error as error:
            raise DataError(f"cannot be read ({error})") from error
        if value is None:
            raise DataError("is gone: something else writes to the data base")
        return value

    def _label(self, index: int) -> npt.NDArray[np.float32]:
        try:
            return parse_label(self._value(index))
        except DataError as error:
            raise DataError(f"{self.name(index)}: {error}") from error

    def _checked_label(self, index: int) -> npt.NDArray[np.float32]:
        label = self._label(index)
        try:
            self._check_label(label)
        except DataError as error:
            raise DataError(f"{self.name(index)}: {error}") from error
        return label

    def _check_label(self, label: npt.NDArray[np.float32]) -> None:
        if label.shape != self.label_shape:
            raise DataError(
                f"has a label of shape {label.shape}, but the first record's is {self.label_shape}"
            )
        if label.ndim:
            check_values(label)

    def _check_labels(self, learning: bool) -> None:
        if not self.label_shape:
            return
        checked = min(len(self), _CHECKED)
        labels = np.empty((checked, *self.label_shape), np.float32)
        for index in range(checked):
            labels[index] = self._checked_label(index)
        if not self._zero_is_negative:
            whole = checked == len(self)
            check_convention(LabelCounts.of(labels), str(self.path), learning=learning and whole)


def _near(cursor: lmdb.Cursor, key: bytes) -> str:
    """A hint at the nearest of the keys that sort about where `key` would."""
    found: list[bytes | memoryview[int]] = []
    if cursor.set_range(key):
        found += itertools.islice(cursor.iternext(values=False), _NEIGHBORS)
    # Where no key sorts after it, this leaves the cursor unset, and it goes back from the end.
    cursor.set_range(key)
    found += itertools.islice(cursor.iterprev(values=False), _NEIGHBORS)
    known = [bytes(name).decode("utf-8", "backslashreplace") for name in found]
    return nearest(key.decode("utf-8", "backslashreplace"), known)


def _identity(path: Path) -> tuple[int, int]:
    """Checks that a folder holds what may be an LMDB; device and inode of its data file."""
    data = path / "data.mdb"
    try:
        if path.is_file():
            folder = f"; give its folder {path.parent}" if path.name == "data.mdb" else ""
            raise DataError(f"{path}: is a file, not the folder of an LMDB{folder}")
        if not path.exists():
            raise DataError(f"{path}: no such data base")
        if not data.exists():
            raise DataError(f"{path}: is no LMDB: there is no data.mdb in it")
        status = os.stat(data)
        if status.st_size == 0:
            raise DataError(f"{path}: is no LMDB: its data.mdb is empty")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    return status.st_dev, status.st_ino


def _acquire(path: Path, identity: tuple[int, int]) -> lmdb.Environment:
    with _open_lock:
        shared = _open.get(identity)
        if shared is None:
            shared = _open[identity] = _Shared(_open_environment(path), 0)
        shared.users += 1
        return shared.environment


def _release(identity: tuple[int, int]) -> None:
    with _open_lock:
        shared = _open[identity]
        shared.users -= 1
        if shared.users == 0:
            del _open[identity]
            shared.environment.close()


def _open_environment(path: Path) -> lmdb.Environment:
    import lmdb

    try:
        environment = lmdb.open(
            str(path), readonly=True, create=False, lock=False, max_spare_txns=16
        )
    except lmdb.Error as error:
        detail = str(error).removeprefix(f"{path}: ")
        raise DataError(f"{path}: is no LMDB that can be read ({detail})") from error
    # LMDB maps the file; a page beyond its end would kill the process when it is touched.
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    size = (path / "data.mdb").stat().st_size
    if size < needed:
        environment.close()
        raise DataError(f"{path}: the data base is cut short: {size} bytes of {needed}")
    return environment
