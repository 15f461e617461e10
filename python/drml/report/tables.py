"""Tables of a report, and how they are written: HTML, CSV, and LaTeX with booktabs."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

MISSING = "-"
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    char: f"\\{char}" for char in "&%$#_{}"
}


@dataclass(frozen=True)
class Cell:
    """What stands in a cell: one text, or one for each part of its column.

    Attributes:
        parts: the texts, such as F1 and AUC.
        best: of each part, whether it is the best of its row.
    """

    parts: tuple[str, ...]
    best: tuple[bool, ...] = ()

    def is_best(self, index: int) -> bool:
        """Whether a part is printed bold."""
        return index < len(self.best) and self.best[index]


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: its head.
        group: the head over it and its neighbors of the same group; '' for none.
        parts: names of the parts of its cells, such as ("F1", "AUC"); () where there is one.
    """

    name: str
    group: str = ""
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A row: its name, a cell for each column, and whether a rule stands above it."""

    name: str
    cells: list[Cell]
    rule: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: of its files, without ending.
        caption: what it shows, of which data.
        corner: head of the column of row names.
        columns, rows: its contents.
    """

    name: str
    caption: str
    corner: str
    columns: list[Column]
    rows: list[Row] = field(default_factory=list)

    def _groups(self) -> list[tuple[str, int]]:
        groups = groupby(self.columns, key=lambda column: column.group)
        return [(name, len(list(columns))) for name, columns in groups]

    @property
    def _grouped(self) -> bool:
        return any(column.group for column in self.columns)

    def to_html(self) -> str:
        """A `<figure>`: the caption, and a `<table>` that scrolls where the screen is narrow."""
        lines = [
            '<figure class="table">',
            f"<figcaption>{html.escape(self.caption)}</figcaption>",
            '<div class="scroll"><table>',
            "<thead>",
        ]
        if self._grouped:
            heads = "".join(
                f'<th colspan="{count}" class="group">{html.escape(name)}</th>'
                for name, count in self._groups()
            )
            lines.append(f"<tr><td></td>{heads}</tr>")
        starts = self._starts()
        heads = "".join(
            f'<th scope="col"{_start(index in starts)}>{html.escape(column.name)}</th>'
            for index, column in enumerate(self.columns)
        )
        lines += [f'<tr><th scope="col">{html.escape(self.corner)}</th>{heads}</tr>', "</thead>"]
        lines.append("<tbody>")
        for row in self.rows:
            cells = "".join(
                f"<td{_start(index in starts)}>{_html_cell(cell)}</td>"
                for index, cell in enumerate(row.cells)
            )
            kind = ' class="rule"' if row.rule else ""
            lines.append(f'<tr{kind}><th scope="row">{html.escape(row.name)}</th>{cells}</tr>')
        return "\n".join([*lines, "</tbody>", "</table></div>", "</figure>"])

    def _starts(self) -> set[int]:
        """The columns at which a group begins, the first left out."""
        starts, at = set(), 0
        for _, count in self._groups():
            starts.add(at)
            at += count
        return starts - {0} if self._grouped else set()

    def to_csv(self) -> str:
        """CSV with a column for each part; what is missing stays empty."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        head = [self.corner]
        for column in self.columns:
            name = f"{column.group}: {column.name}" if column.group else column.name
            head += [f"{name} {part}" for part in column.parts] if column.parts else [name]
        writer.writerow(head)
        for row in self.rows:
            line = [row.name]
            for column, cell in zip(self.columns, row.cells, strict=True):
                wanted = max(1, len(column.parts))
                parts = (cell.parts + ("",) * wanted)[:wanted]
                line += ["" if part == MISSING else part for part in parts]
            writer.writerow(line)
        return out.getvalue()

    def to_latex(self) -> str:
        """A `table` of a `tabular` with booktabs' rules, to be \\input."""
        lines = [
            "% needs \\usepackage{booktabs}",
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{latex(self.caption)}}}",
            f"\\label{{tab:{self.name}}}",
            f"\\begin{{tabular}}{{l{'r' * len(self.columns)}}}",
            "\\toprule",
        ]
        if self._grouped:
            at, heads, rules = 2, [], []
            for name, count in self._groups():
                heads.append(f"\\multicolumn{{{count}}}{{c}}{{{latex(name)}}}")
                if name:
                    rules.append(f"\\cmidrule(lr){{{at}-{at + count - 1}}}")
                at += count
            lines += [f" & {' & '.join(heads)} \\\\", " ".join(rules)]
        heads = [latex(self.corner), *(latex(column.name) for column in self.columns)]
        lines += [f"{' & '.join(heads)} \\\\", "\\midrule"]
        for row in self.rows:
            if row.rule:
                lines.append("\\midrule")
            lines.append(f"{' & '.join([latex(row.name), *map(_latex_cell, row.cells)])} \\\\")
        return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def _start(starts: bool) -> str:
    return ' class="start"' if starts else ""


def _html_cell(cell: Cell) -> str:
    parts = [html.escape(part) for part in cell.parts]
    return "/".join(
        f"<b>{part}</b>" if cell.is_best(index) else part for index, part in enumerate(parts)
    )


def _latex_cell(cell: Cell) -> str:
    parts = [latex(part) for part in cell.parts]
    return "/".join(
        f"\\textbf{{{part}}}" if cell.is_best(index) else part for index, part in enumerate(parts)
    )


def latex(text: str) -> str:
    """Text with LaTeX's own characters escaped."""
    return re.sub(r"[\\~^&%$#_{}]", lambda match: _LATEX[match[0]], text)


def percent(value: float | None) -> str:
    """A fraction times 100 with one decimal, as the paper prints it."""
    return MISSING if value is None or value != value else f"{100 * value:.1f}"


def mark_best(rows: Sequence[Row], places: Sequence[int]) -> list[Row]:
    """The rows with the best of each part among the columns `places` marked, ties together."""
    marked = []
    for row in rows:
        cells = list(row.cells)
        width = max((len(cells[place].parts) for place in places), default=0)
        flags = {place: [False] * len(cells[place].parts) for place in places}
        for part in range(width):
            values = {
                place: float(cells[place].parts[part])
                for place in places
                if part < len(cells[place].parts) and cells[place].parts[part] != MISSING
            }
            if len(values) < 2:
                continue
            top = max(values.values())
            for place, value in values.items():
                flags[place][part] = value == top
        for place in places:
            cells[place] = Cell(cells[place].parts, tuple(flags[place]))
        marked.append(Row(row.name, cells, row.rule))
    return marked
