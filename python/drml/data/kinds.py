"""Tells what a path on the command line holds: an LMDB, an image list, or a list of HDF5 files."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from drml.errors import DataError

_LOOKED_AT = 1 << 16


class Kind(Enum):
    """What a data path holds, by the layer type that reads it."""

    LMDB = "Data"
    IMAGE_LIST = "MultilabelImageData"
    HDF5_LIST = "HDF5Data"


def kind_of(path: Path) -> Kind:
    """What a path holds: a folder with data.mdb, or a text whose first line tells.

    Raises:
        DataError: it does not exist, or is none of these.
    """
    if path.is_dir():
        if (path / "data.mdb").exists():
            return Kind.LMDB
        raise DataError(f"{path}: is a folder without a data.mdb; give an LMDB or a list")
    try:
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    if path.name == "data.mdb":
        raise DataError(f"{path}: give the folder of the LMDB, {path.parent}")
    if b"\0" in start:
        raise DataError(f"{path}: is neither an LMDB nor a text list")
    line = start.lstrip().split(b"\n", 1)[0].strip()
    if not line:
        raise DataError(f"{path}: the list is empty")
    return Kind.HDF5_LIST if line.endswith((b".h5", b".hdf5")) else Kind.IMAGE_LIST
