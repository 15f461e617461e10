"""Parameters of a net as named arrays: NumPy's .npz and .safetensors, there and back.

A blob's name is `layer/index`, such as `conv1/0` for weights and `conv1/1` for bias.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from drml.blob import Array
from drml.errors import UsageError, WeightsError
from drml.nearest import nearest
from drml.net import Net
from drml.net_weights import read_weights
from drml.weights import atomic_write

AnyPath = str | PathLike[str]
_SHOWN = 5
# What NumPy and zipfile raise for files that they cannot read.
_DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, NotImplementedError)


def missing_package(name: str, extra: str) -> UsageError:
    """The error for an optional package that is not installed."""
    return UsageError(f"this needs the package {name}: pip install 'drml[{extra}]'")


def check_complete(net: Net, weights: AnyPath) -> None:
    """Raises WeightsError unless a weights file has every layer of the net that has parameters."""
    held = {name for name, arrays in read_weights(weights) if arrays}
    missing = [name for name in net.params if name not in held]
    if missing:
        raise WeightsError(
            f"{weights} has no weights for {len(missing)} of {len(net.params)} layers of "
            f"{net.path}, such as '{missing[0]}'"
        )


def named_arrays(net: Net) -> dict[str, Array]:
    """All parameter blobs of a net by name."""
    return {
        f"{layer}/{index}": blob.read_data()
        for layer, blobs in net.params.items()
        for index, blob in enumerate(blobs)
    }


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes float32 arrays as .npz or .safetensors, by the ending; whole or not at all.

    Raises:
        UsageError: the package safetensors is not installed.
        WeightsError: the file cannot be written.
    """
    if path.suffix == ".npz":
        # The names all hold a `/`, so none is one of savez' own arguments.
        named: dict[str, Any] = dict(arrays)
        atomic_write(path, lambda file: np.savez(file, **named))
        return
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise missing_package("safetensors", "safetensors") from error
    content = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    atomic_write(path, save(content))


def read_arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of an .npz or .safetensors file, by the ending.

    Raises:
        UsageError: the package safetensors is not installed.
        WeightsError: the file cannot be read, is damaged, or holds what is no plain array.
    """
    return _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)


def _read_npz(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    try:
        with open(path, "rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, NpzFile):
                raise WeightsError(f"{path}: not an .npz file but one array, as .npy files hold")
            with file:
                return {name: np.asarray(file[name]) for name in file.files}
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"{path}: not an .npz file, or damaged: {reason}") from error


def _read_safetensors(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise missing_package("safetensors", "safetensors") from error
    try:
        return dict(load_file(path))
    except (SafetensorError, TypeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"{path}: not a .safetensors file, damaged, or of numbers that NumPy has not: {reason}"
        ) from error


def load_arrays(net: Net, path: Path, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Sets every parameter of a net from arrays by name.

    Args:
        net: the net.
        path: of the arrays, for messages.
        arrays: real numbers of any kind; what float32 cannot hold is rounded.

    Raises:
        WeightsError: names or shapes differ from the net's, or an array is not of real numbers:
            all of it is listed, and nothing is loaded.
    """
    blobs = {
        f"{layer}/{index}": blob
        for layer, own in net.params.items()
        for index, blob in enumerate(own)
    }
    wrong = []
    for name, blob in blobs.items():
        array = arrays.get(name)
        if array is None:
            wrong.append(f"'{name}' is not in it{nearest(name, arrays)}")
        elif array.shape != blob.shape:
            wrong.append(f"'{name}' is {array.shape} in the file, {blob.shape} in the net")
        elif array.dtype.kind not in "fiu":
            wrong.append(f"'{name}' is of type {array.dtype}, not of real numbers")
    wrong += [
        f"'{name}' is not in the net{nearest(name, blobs)}" for name in arrays if name not in blobs
    ]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise WeightsError(f"{path} does not fit {net.path}: {'; '.join(wrong[:_SHOWN])}{more}")
    for name, blob in blobs.items():
        with np.errstate(over="ignore"):
            blob.data = arrays[name].astype(np.float32)
