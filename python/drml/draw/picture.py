"""A diagram as shapes: boxes with text in them, edges as curves, and a legend of the colors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from drml.draw.diagram import Box, Cell, Diagram, Edge
from drml.draw.layered import Layout, Link, Point, Size, lay_out

COLORS = {
    "data": "#cfe8cf",
    "learned": "#c9dcf4",
    "neuron": "#fdeab8",
    "pooling": "#e3d5ee",
    "normalization": "#d5ecec",
    "loss": "#f7cfcd",
    "other": "#e9e9e9",
}
"""Fill of each of drml.draw.labels.KINDS."""

BORDER = "#5f6b76"
INK = "#1d2329"
QUIET = "#5f6b76"
FONT_SIZE = 11.0
TITLE_SIZE = 15.0
LINE = 14.5
MARGIN = 14.0
_PAD = 6.0
_ARROW = 7.0
_SMALL = 9.0  # size of labels
_CARD = 4.0
# Widths of the letters from ' ' to '~' in DejaVu Sans, in thousandths of the font's size.
# fmt: off
_WIDTHS = (
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632,
    575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685,
    611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579,
    278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
)
# fmt: on
_BOLD = 1.13


@dataclass(frozen=True)
class Text:
    """A line of text; `at` is where it begins on its base line."""

    at: Point
    text: str
    size: float = FONT_SIZE
    bold: bool = False
    color: str = INK

    @property
    def width(self) -> float:
        """What DejaVu Sans takes; its usual substitutes take no more."""
        return text_width(self.text, self.size, bold=self.bold)


@dataclass(frozen=True)
class Rectangle:
    """A rectangle; `at` is its left top corner."""

    at: Point
    size: Size
    fill: str
    border: bool = True


@dataclass(frozen=True)
class Curve:
    """A line that turns: each part is a point to go straight to, or two handles and a point."""

    start: Point
    parts: tuple[tuple[Point, ...], ...]


@dataclass(frozen=True)
class Polygon:
    """A filled head of an arrow."""

    points: tuple[Point, ...]


Shape = Text | Rectangle | Curve | Polygon


@dataclass(frozen=True)
class Part:
    """Shapes that belong together: a layer, an edge, or the heading.

    Attributes:
        kind: `layer`, `edge`, `label` or `heading`.
        text: what it is, in full.
        shapes: in the order in which they are painted.
    """

    kind: str
    text: str
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Picture:
    """Parts, painted in their order, and the size of the whole."""

    title: str
    parts: tuple[Part, ...]
    size: Size


def text_width(text: str, size: float = FONT_SIZE, *, bold: bool = False) -> float:
    """The width of a line; letters beyond ASCII count as wide as the widest."""
    units = sum(_WIDTHS[ord(c) - 32] if " " <= c <= "~" else 1000 for c in text)
    return units * size * (_BOLD if bold else 1) / 1000


def make_picture(diagram: Diagram, rankdir: str = "TB") -> Picture:
    """The diagram laid out, from top to bottom (TB) or from left to right (LR)."""
    sizes = [_box_size(box) for box in diagram.boxes]
    across = rankdir == "LR"
    links = [
        Link(edge.tail, edge.head, edge.blobs, _turned(_label_size(edge), across)[0])
        for edge in diagram.edges
    ]
    layout = lay_out([_turned(size, across) for size in sizes], links)
    heading, (least, top) = _heading(diagram)
    width, height = _turned(layout.size, across)
    # A net that is narrower than its heading stands in the middle.
    shift = (MARGIN + max(0.0, (least - width) / 2), MARGIN + top)
    parts = [heading]
    labels: dict[tuple[int, tuple[str, ...]], Part] = {}
    for edge, way in zip(diagram.edges, layout.ways, strict=True):
        points = [_moved(point, shift, across) for point in way]
        curve = _curve(points, across)
        parts.append(Part("edge", edge.text, (curve, _arrow(points[-1], across))))
        if edge.label:
            labels.setdefault((edge.tail, edge.blobs), _label(edge, curve))
    # After all edges, so that none runs over them.
    parts += labels.values()
    parts += _box_parts(diagram, layout, sizes, shift, across)
    size = (max(width, least) + 2 * MARGIN, height + top + 2 * MARGIN)
    return Picture(diagram.name, tuple(parts), size)


def _turned(pair: tuple[float, float], across: bool) -> tuple[float, float]:
    return pair[::-1] if across else pair


def _moved(point: Point, shift: Point, across: bool) -> Point:
    x, y = _turned(point, across)
    return x + shift[0], y + shift[1]


def _heading(diagram: Diagram) -> tuple[Part, Size]:
    """Name, facts and legend, and the room that they take."""
    y = MARGIN + TITLE_SIZE
    shapes: list[Shape] = []
    width = 0.0
    for text, size, color in ((diagram.name, TITLE_SIZE, INK), (diagram.facts, FONT_SIZE, QUIET)):
        if text:
            line = Text((MARGIN, y), text, size, bold=size == TITLE_SIZE, color=color)
            shapes.append(line)
            width = max(width, line.width)
            y += 1.4 * LINE
    drawn = {cell.kind for box in diagram.boxes for cell in box.cells}
    x = MARGIN
    for kind in (kind for kind in COLORS if kind in drawn):
        word = Text((x + 16, y), kind, color=QUIET)
        shapes += [Rectangle((x, y - 9), (11, 11), COLORS[kind]), word]
        x += 16 + word.width + 14
    return Part("heading", diagram.name, tuple(shapes)), (max(width, x - MARGIN), y + LINE - MARGIN)


# A line of a box: its texts, each bold or not.
Line = tuple[tuple[str, bool], ...]


def _lines(cell: Cell) -> list[Line]:
    head = [(cell.title, True), (f"  {cell.type}" if cell.title else cell.type, False)]
    if cell.remark:
        head.append((f"  {cell.remark}", False))
    return [tuple(head), *(((line, False),) for line in cell.lines)]


def _line_width(line: Line) -> float:
    return sum(text_width(text, bold=bold) for text, bold in line)


def _cell_height(cell: Cell) -> float:
    return LINE * len(_lines(cell)) + _PAD


def _cards(box: Box) -> float:
    """What the cards behind a box of several layers take."""
    return 2 * _CARD if box.count > 1 else 0.0


def _box_size(box: Box) -> Size:
    width = max(_line_width(line) for cell in box.cells for line in _lines(cell)) + 2 * _PAD
    return width + _cards(box), sum(_cell_height(cell) for cell in box.cells) + _cards(box)


def _box_parts(
    diagram: Diagram, layout: Layout, sizes: Sequence[Size], shift: Point, across: bool
) -> list[Part]:
    parts = []
    for box, place, size in zip(diagram.boxes, layout.places, sizes, strict=True):
        x, y = _moved(place, shift, across)
        width = size[0] - _cards(box)
        cards: list[Shape] = []
        if box.count > 1:
            height = size[1] - _cards(box)
            fill = COLORS[box.cells[0].kind]
            cards = [
                Rectangle((x + step, y + step), (width, height), fill)
                for step in (2 * _CARD, _CARD)
            ]
        for cell in box.cells:
            parts.append(_cell_part(cell, (x, y), width, cards))
            cards = []
            y += _cell_height(cell)
    return parts


def _cell_part(cell: Cell, at: Point, width: float, behind: list[Shape]) -> Part:
    x, y = at
    shapes = [*behind, Rectangle(at, (width, _cell_height(cell)), COLORS[cell.kind])]
    for number, line in enumerate(_lines(cell)):
        start = x + (width - _line_width(line)) / 2
        for text, bold in line:
            base = y + _PAD / 2 + LINE * number + FONT_SIZE
            shapes.append(Text((start, base), text, bold=bold, color=QUIET if number else INK))
            start += text_width(text, bold=bold)
    return Part("layer", full_text(cell), tuple(shapes))


def full_text(cell: Cell) -> str:
    """All that a cell stands for, by name."""
    lines = [f"{name} ({cell.type})" for name in cell.names]
    if cell.members:
        lines.append(f"runs as one: {', '.join(cell.members)}")
    return "\n".join([*lines, *cell.lines])


def _curve(way: Sequence[Point], across: bool) -> Curve:
    parts: list[tuple[Point, ...]] = []
    for number, (before, point) in enumerate(pairwise(way)):
        if number % 2 == 0:
            parts.append((point,))
        elif across:
            middle = (before[0] + point[0]) / 2
            parts.append(((middle, before[1]), (middle, point[1]), point))
        else:
            middle = (before[1] + point[1]) / 2
            parts.append(((before[0], middle), (point[0], middle), point))
    return Curve(way[0], tuple(parts))


def _arrow(tip: Point, across: bool) -> Polygon:
    x, y = tip
    back, half = _ARROW, _ARROW / 2.4
    if across:
        return Polygon((tip, (x - back, y - half), (x - back, y + half)))
    return Polygon((tip, (x - half, y - back), (x + half, y - back)))


def _label(edge: Edge, curve: Curve) -> Part:
    """The label on its edge, where the edge has left its tail's rank."""
    width, height = _label_size(edge)
    x, y = _on_curve(curve.parts[0][0], *curve.parts[1])
    return Part(
        "label",
        "",
        (
            Rectangle((x - width / 2, y - height / 2), (width, height), "#ffffff", border=False),
            Text((x - width / 2 + 2, y + _SMALL / 3), edge.label, size=_SMALL, color=QUIET),
        ),
    )


def _label_size(edge: Edge) -> Size:
    return text_width(edge.label, _SMALL) + 4, _SMALL + 2


def _on_curve(start: Point, first: Point, second: Point, end: Point) -> Point:
    """The point of a curve that is reached first of those that leave room for a label."""
    t = 0.4
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    points = (start, first, second, end)
    x = sum(weight * point[0] for weight, point in zip(weights, points, strict=True))
    y = sum(weight * point[1] for weight, point in zip(weights, points, strict=True))
    return x, y
