"""What the readers of label files share: cells that name file and line, and the AUs to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from drml.data.text_list import read_lines
from drml.errors import DataError


def rows(path: Path, what: str, separator: str | None) -> Iterator[tuple[str, list[str]]]:
    """`path:line` and the cells of each line that is not blank.

    Raises:
        DataError: the file cannot be read, is empty or is no text.
    """
    try:
        lines = read_lines(path, what)
    except DataError as error:
        raise DataError(str(error).replace("the list is empty", "the file is empty")) from error
    for number, line in lines:
        yield f"{path}:{number}", [cell.strip() for cell in line.split(separator)]


def whole(cell: str, where: str, what: str) -> int:
    """A whole number of 0 or more.

    Raises:
        DataError: it is none.
    """
    # The digits alone, for int() takes underscores and other alphabets' digits too.
    if not (cell.isascii() and cell.isdigit() and len(cell) < 10):
        raise DataError(f"{where}: {what} is {cell[:40]!r}, not a whole number")
    return int(cell)


def chosen(wanted: Sequence[str], coded: Iterable[str], where: str) -> list[str]:
    """The AUs that are wanted, or all that are coded in the order of their numbers.

    Raises:
        DataError: one is not coded.
    """
    known = in_number_order(coded)
    for au in wanted:
        if au not in known:
            raise DataError(f"{where}: codes no AU {au}; coded are {', '.join(known) or 'none'}")
    return list(wanted) or known


def in_number_order(aus: Iterable[str]) -> list[str]:
    """AUs, each once, in the order of their numbers."""
    return sorted(set(aus), key=lambda au: (len(au), au))
