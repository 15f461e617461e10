"""Text files that list the files of a data set, one a line."""

from __future__ import annotations

from pathlib import Path

from drml.data.images import read_bytes
from drml.errors import DataError


def read_lines(path: Path, what: str) -> list[tuple[int, str]]:
    """The lines that are not blank, stripped, with their numbers.

    Args:
        path: of the list.
        what: is listed, for messages.

    Raises:
        DataError: the list cannot be read, is no text, or is empty.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not a list of {what}")
    data = read_bytes(path)
    if b"\0" in data:
        raise DataError(f"{path}: is not a text file that lists {what}")
    # Paths may be in any encoding; what is not UTF-8 goes back to the file system unchanged.
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    stripped = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    lines = [(number, line) for number, line in stripped if line]
    if not lines:
        raise DataError(f"{path}: the list is empty")
    return lines
