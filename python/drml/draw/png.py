"""A picture as PNG, painted by matplotlib."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

from drml.draw.picture import BORDER, Curve, Picture, Polygon, Rectangle, Shape, Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 144  # two pixels per unit: text of the size that screens show stays sharp
_UNITS = 72  # per inch, matplotlib's point
_LARGEST = 32_000  # pixels; Agg takes less than 2^16 a side
_AREA = 2e8


def png_bytes(picture: Picture) -> bytes:
    """The file's bytes; a picture that is too large for pixels is painted smaller."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = picture.size
    figure = Figure(figsize=(width / _UNITS, height / _UNITS), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for part in picture.parts:
        for shape in part.shapes:
            _paint(axes, shape)
    scale = _DPI / _UNITS
    scale = min(scale, _LARGEST / max(width, height), (_AREA / (width * height)) ** 0.5)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name may hold letters that the font does not: they become boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, format="png", dpi=scale * _UNITS)
    return buffer.getvalue()


def _paint(axes: Axes, shape: Shape) -> None:
    from matplotlib import patches
    from matplotlib.path import Path

    match shape:
        case Rectangle(at, (width, height), fill, border):
            edge = BORDER if border else "none"
            axes.add_patch(patches.Rectangle(at, width, height, facecolor=fill, edgecolor=edge))
        case Text((x, y), text, size, bold, color):
            axes.text(
                x,
                y,
                text,
                fontsize=size,
                fontweight="bold" if bold else "normal",
                fontfamily="DejaVu Sans",
                color=color,
                parse_math=False,
            )
        case Curve(start, parts):
            points, codes = [start], [Path.MOVETO]
            for part in parts:
                points += part
                codes += [Path.LINETO] if len(part) == 1 else [Path.CURVE4] * 3
            line = Path(points, codes)
            axes.add_patch(patches.PathPatch(line, fill=False, edgecolor=BORDER, linewidth=1))
        case Polygon(points):
            axes.add_patch(patches.Polygon(points, facecolor=BORDER, edgecolor="none"))
