"""A diagram laid out and painted by Graphviz's program `dot`."""

from __future__ import annotations

import shutil
import subprocess

from drml.draw.diagram import Box, Cell, Diagram, Edge
from drml.draw.picture import BORDER, COLORS, INK, QUIET, full_text
from drml.draw.svg import clean
from drml.errors import UsageError

SECONDS = 120
"""How long `dot` may take; it is slow for graphs of thousands of boxes."""


def find_dot() -> str | None:
    """The program, if it is on PATH."""
    return shutil.which("dot")


def dot_text(diagram: Diagram, rankdir: str = "TB") -> str:
    """The diagram in Graphviz's language; rankdir as its own: TB, LR."""
    font = 'fontname="DejaVu Sans,Verdana,Helvetica"'
    lines = [
        "digraph {",
        f'graph [rankdir={rankdir} {font} fontsize=11 fontcolor="{QUIET}" labelloc=t labeljust=l '
        f"ranksep=0.35 nodesep=0.3 label=<{_heading(diagram)}>]",
        f'node [shape=plain {font} fontsize=11 fontcolor="{INK}"]',
        f'edge [{font} fontsize=9 fontcolor="{QUIET}" color="{BORDER}" arrowsize=0.6]',
        *(_node(number, box) for number, box in enumerate(diagram.boxes)),
        *(_edge(edge) for edge in diagram.edges),
        "}",
    ]
    return "\n".join(lines) + "\n"


def run_dot(program: str, text: str, suffix: str) -> bytes:
    """What `dot` makes of a graph.

    Args:
        program: path of `dot`.
        text: the graph.
        suffix: `.svg` or `.png`.

    Raises:
        UsageError: it fails, or takes longer than SECONDS.
    """
    words = [program, f"-T{suffix[1:]}"]
    if suffix == ".png":
        words.append("-Gdpi=144")
    try:
        done = subprocess.run(
            words, input=text.encode(), capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"{program}: took more than {SECONDS} s") from error
    except OSError as error:
        raise UsageError(f"{program}: cannot be run: {error.strerror}") from error
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").split("\n")[0].strip()
        raise UsageError(f"{program}: status {done.returncode}: {said or 'nothing was written'}")
    return done.stdout


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _heading(diagram: Diagram) -> str:
    rows = []
    if diagram.name:
        name = f'<font point-size="15" color="{INK}"><b>{clean(diagram.name)}</b></font>'
        rows.append(f'<tr><td align="left">{name}</td></tr>')
    if diagram.facts:
        rows.append(f'<tr><td align="left">{clean(diagram.facts)}</td></tr>')
    drawn = {cell.kind for box in diagram.boxes for cell in box.cells}
    kinds = "".join(
        f'<td border="1" bgcolor="{color}">{kind}</td>'
        for kind, color in COLORS.items()
        if kind in drawn
    )
    table = f'<table border="0" cellspacing="4" cellpadding="3"><tr>{kinds}</tr></table>'
    rows.append(f'<tr><td align="left">{table}</td></tr>')
    return f'<table border="0" cellspacing="0" cellpadding="2">{"".join(rows)}</table>'


def _node(number: int, box: Box) -> str:
    cells = "".join(_cell(cell) for cell in box.cells)
    table = f'<table border="0" cellborder="1" cellspacing="0" color="{BORDER}">{cells}</table>'
    tooltip = "\n".join(full_text(cell) for cell in box.cells)
    return f"n{number} [label=<{table}> tooltip={_quoted(tooltip)}]"


def _cell(cell: Cell) -> str:
    words = [f"<b>{clean(cell.title)}</b>"] if cell.title else []
    words += [clean(word) for word in (cell.type, cell.remark) if word]
    lines = "".join(f'<br/><font color="{QUIET}">{clean(line)}</font>' for line in cell.lines)
    return f'<tr><td bgcolor="{COLORS[cell.kind]}">{"&nbsp;&nbsp;".join(words)}{lines}</td></tr>'


def _edge(edge: Edge) -> str:
    tooltip = _quoted(edge.text)
    label = f"label={_quoted(edge.label)} " if edge.label else ""
    return f"n{edge.tail} -> n{edge.head} [{label}tooltip={tooltip} labeltooltip={tooltip}]"
