"""A picture as SVG 1.1, of rectangles, paths and text alone."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

from drml.draw.layered import Point
from drml.draw.picture import (
    BORDER,
    Curve,
    Part,
    Picture,
    Polygon,
    Rectangle,
    Shape,
    Text,
)

# Substitutes of DejaVu Sans are no wider, so that text stays in its box.
FONTS = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def svg_text(picture: Picture) -> str:
    """The file's text."""
    width, height = (_number(size) for size in picture.size)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family={quoteattr(FONTS)}>',
        f"<title>{clean(picture.title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *(_part(part) for part in picture.parts),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def clean(text: str) -> str:
    """Text as XML may hold it; letters that it may not hold become U+FFFD."""
    return escape(_NOT_XML.sub("\ufffd", text))


def _part(part: Part) -> str:
    title = f"<title>{clean(part.text)}</title>" if part.text else ""
    shapes = "\n".join(_shape(shape) for shape in part.shapes)
    return f'<g class="{part.kind}">{title}\n{shapes}\n</g>'


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _point(point: Point) -> str:
    return f"{_number(point[0])},{_number(point[1])}"


def _shape(shape: Shape) -> str:
    match shape:
        case Rectangle((x, y), (width, height), fill, border):
            stroke = f' stroke="{BORDER}"' if border else ""
            return (
                f'<rect x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" '
                f'height="{_number(height)}" fill="{fill}"{stroke}/>'
            )
        case Text((x, y), text, size, bold, color):
            weight = ' font-weight="bold"' if bold else ""
            return (
                f'<text x="{_number(x)}" y="{_number(y)}" font-size="{_number(size)}"{weight} '
                f'fill="{color}" xml:space="preserve">{clean(text)}</text>'
            )
        case Curve(start, parts):
            steps = " ".join(
                ("L" if len(part) == 1 else "C") + " ".join(map(_point, part)) for part in parts
            )
            return f'<path d="M{_point(start)} {steps}" fill="none" stroke="{BORDER}"/>'
        case Polygon(points):
            return f'<polygon points="{" ".join(map(_point, points))}" fill="{BORDER}"/>'
