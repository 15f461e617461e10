"""Tables as aligned text for the terminal, and the figures in them."""

from __future__ import annotations

from collections.abc import Sequence


def align(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """The rows under their header, columns two spaces apart.

    Args:
        header: names of the columns.
        rows: cells, as many as columns in each row.
        left: how many columns, from the first, stand on the left edge; the others on the right.
    """
    lines = [header, *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def size_text(count: float) -> str:
    """Bytes in a unit that suits them, such as `1.2 GB` (10^9 bytes)."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def amount_text(count: float) -> str:
    """A count in a unit that suits it, such as `236 M`; '-' for zero."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}" if count else "-"


def shape_text(shape: Sequence[int]) -> str:
    """A shape such as `128 x 32 x 160 x 160`; `scalar` for ()."""
    return " x ".join(map(str, shape)) or "scalar"
