"""What has been done is found again: results lie in files named by all that they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drml.errors import DataError
from drml.prepared import MANIFEST, Prepared
from drml.weights import atomic_write

Arrays = dict[str, npt.NDArray[Any]]

_DIGITS = 12


def digest(content: Any) -> str:
    """The start of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def digest_of(data: Prepared) -> str:
    """Of a prepared folder's faces, labels, landmarks and lists, wherever it lies.

    Raises:
        DataError: the manifest has no checksums.
    """
    sums = data.manifest.get("sha256")
    if not isinstance(sums, Mapping) or not sums:
        raise DataError(f"{data.path / MANIFEST}: has no checksums ('sha256')")
    return digest({"aus": data.aus, "sha256": dict(sums)})


def make_folder(path: Path) -> Path:
    """Makes a folder and those above it; returns it.

    Raises:
        DataError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {path}: {error.strerror}") from error
    return path


def write_json(path: Path, content: Any) -> None:
    """Writes a value as JSON, whole or not at all; its folder is made if it is missing."""
    make_folder(path.parent)
    atomic_write(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The value of a JSON file that `write_json` wrote; None where there is no such file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; delete it to begin anew") from error


def write_arrays(path: Path, arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Writes arrays as .npz, whole or not at all; the folder is made if it is missing."""
    make_folder(path.parent)
    atomic_write(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def read_arrays(path: Path) -> Arrays | None:
    """The arrays of a file that `write_arrays` wrote; None where there is no such file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}; delete it to begin anew") from error
