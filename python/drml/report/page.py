"""The page of a report: one HTML file, its style and pictures in it, for any width of screen."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from dataclasses import dataclass, field

from drml.report.tables import Table

_STYLE = """
:root { color-scheme: light dark; --text: #1c1e21; --soft: #5a6069; --line: #d5d9de;
  --paper: #ffffff; --tint: #f3f5f7; --mark: #0b5cad; --warn: #fff4d6; --warn-line: #d9a400; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e6e9; --soft: #a2a9b2; --line: #3a4048; --paper: #16181b; --tint: #202429;
    --mark: #7db8f5; --warn: #3a2f10; --warn-line: #a88412; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem clamp(0.8rem, 3vw, 2rem) 4rem; max-width: 76rem;
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  color: var(--text); background: var(--paper); overflow-wrap: break-word; }
h1 { font-size: clamp(1.4rem, 4vw, 2rem); line-height: 1.2; margin: 0.6rem 0; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 0.6rem; padding-top: 0.6rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.6rem 0 0.4rem; }
p, li { max-width: 46rem; }
a { color: var(--mark); }
nav { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; margin: 0.8rem 0; font-size: 0.92rem; }
.soft { color: var(--soft); font-size: 0.92rem; }
.banner { background: var(--warn); border-left: 4px solid var(--warn-line); border-radius: 4px;
  padding: 0.6rem 0.9rem; max-width: 48rem; margin: 0.8rem 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 0.6rem;
  margin: 1rem 0; }
.facts div { background: var(--tint); border-radius: 8px; padding: 0.6rem 0.8rem; }
.facts b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: 0.8rem 0 1.2rem; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; font-size: 0.86rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.55rem; text-align: right; white-space: nowrap; }
thead th { border-bottom: 1px solid var(--text); vertical-align: bottom; font-weight: 600; }
th.group { text-align: center; border-bottom: 1px solid var(--line); font-weight: 600;
  white-space: normal; min-width: 12rem; }
tbody th, thead th:first-child { text-align: left; font-weight: 600; position: sticky; left: 0;
  background: var(--paper); }
td.start, th.start { border-left: 1px solid var(--line); }
tbody tr:nth-child(even) td { background: var(--tint); }
tr.rule th, tr.rule td { border-top: 1px solid var(--text); }
table tbody tr:last-child th, table tbody tr:last-child td { border-bottom: 1px solid var(--text); }
figure { margin: 0.8rem 0 1.6rem; }
figure.table figcaption { margin: 0 0 0.5rem; }
figure:not(.table) .scroll { margin: 0; background: #ffffff; border: 1px solid var(--line);
  border-radius: 8px; padding: 0.4rem; width: fit-content; max-width: 100%; }
figure img { display: block; max-width: 100%; height: auto; }
figure img.wide { max-width: none; width: max(100%, 44rem); }
figcaption { color: var(--soft); font-size: 0.92rem; max-width: 46rem; margin-top: 0.4rem; }
details { margin: 0.8rem 0; }
summary { cursor: pointer; color: var(--mark); }
ul { padding-left: 1.2rem; }
@media print { nav { display: none; } details:not([open]) > *:not(summary) { display: block; } }
"""


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        name: of its file, with ending: .png or .jpg.
        content: the file's bytes.
        caption: what it shows.
        wide: whether it stays wide, and scrolls, on a narrow screen.
    """

    name: str
    content: bytes
    caption: str
    wide: bool = False

    def to_html(self) -> str:
        """A `<figure>` with the picture in it."""
        kind = "jpeg" if self.name.endswith(".jpg") else "png"
        data = base64.b64encode(self.content).decode()
        alt = html.escape(self.caption.split(". ")[0], quote=True)
        wide = ' class="wide"' if self.wide else ""
        return (
            f'<figure><div class="scroll"><img{wide} alt="{alt}" '
            f'src="data:image/{kind};base64,{data}"></div>\n'
            f"<figcaption>{html.escape(self.caption)}</figcaption></figure>"
        )


@dataclass
class Section:
    """A part of the page; its blocks are HTML.

    Attributes:
        name: anchor of the section.
        title: its heading.
        blocks: what is in it, in order.
        tables, pictures: what of it is written as files too.
    """

    name: str
    title: str
    blocks: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    def text(self, paragraph: str) -> None:
        """Adds a paragraph."""
        self.blocks.append(f"<p>{html.escape(paragraph)}</p>")

    def note(self, paragraph: str) -> None:
        """Adds a paragraph in soft letters: what is missing, and why."""
        self.blocks.append(f'<p class="soft">{html.escape(paragraph)}</p>')

    def items(self, lines: Iterable[str]) -> None:
        """Adds a list."""
        items = "\n".join(f"<li>{html.escape(line)}</li>" for line in lines)
        if items:
            self.blocks.append(f"<ul>\n{items}\n</ul>")

    def heading(self, title: str) -> None:
        """Adds a heading below the section's."""
        self.blocks.append(f"<h3>{html.escape(title)}</h3>")

    def table(self, table: Table | None, *, folded: str = "") -> None:
        """Adds a table, behind a line to be opened where `folded` names it; None adds nothing."""
        if table is None:
            return
        self.tables.append(table)
        block = table.to_html()
        if folded:
            block = f"<details><summary>{html.escape(folded)}</summary>\n{block}</details>"
        self.blocks.append(block)

    def picture(self, picture: Picture) -> None:
        """Adds a figure."""
        self.pictures.append(picture)
        self.blocks.append(picture.to_html())


def render(
    title: str,
    subtitle: str,
    banner: str,
    facts: Iterable[tuple[str, str]],
    sections: Iterable[Section],
) -> str:
    """The page.

    Args:
        title, subtitle: the heading, and the line below it.
        banner: what the reader must know first; '' for nothing.
        facts: figures and what they are, shown large on top.
        sections: those without a block are left out.
    """
    shown = [section for section in sections if section.blocks]
    links = "".join(f'<a href="#{s.name}">{html.escape(s.title)}</a>' for s in shown)
    cards = "".join(
        f"<div><b>{html.escape(value)}</b>{html.escape(what)}</div>" for value, what in facts
    )
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        "</head>",
        "<body>",
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="soft">{html.escape(subtitle)}</p>',
    ]
    if banner:
        parts.append(f'<p class="banner">{html.escape(banner)}</p>')
    parts += [f'<div class="facts">{cards}</div>', f"<nav>{links}</nav>"]
    for section in shown:
        parts += [f'<h2 id="{section.name}">{html.escape(section.title)}</h2>', *section.blocks]
    return "\n".join([*parts, "</body>", "</html>", ""])
