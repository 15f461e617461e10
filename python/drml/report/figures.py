"""The figures of a report that need predictions or losses alone; each is the bytes of a PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from drml.experiment.results import Answers
from drml.relations import Matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 110
_COLORS = 256
LEAST_FRAMES = 10
"""A pair of AUs with fewer frames of the one without the other tells nothing."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG of few colors."""
    plain = io.BytesIO()
    figure.savefig(plain, format="png", dpi=_DPI)
    return few_colors(plain.getvalue())


def few_colors(picture: bytes) -> bytes:
    """A PNG with a palette, a third of the size of one without."""
    from PIL import Image

    out = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        reduced = image.convert("RGB").quantize(_COLORS, Image.Quantize.MAXCOVERAGE)
        reduced.save(out, format="png", optimize=True)
    return out.getvalue()


def roc(methods: Mapping[str, Answers], aus: Sequence[str]) -> tuple[bytes, list[str]]:
    """ROC curves per AU, a line per method, of all folds' answers pooled.

    Returns:
        The picture, and the AUs without any curve: their labels are of one class, or no method
        says anything of them.
    """
    from sklearn.metrics import roc_curve

    columns = 4 if len(aus) > 6 else 3
    rows = -(-len(aus) // columns)
    figure = new_figure(2.3 * columns, 2.35 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    left_out = []
    for index, axes in enumerate(grid):
        if index >= len(aus):
            axes.set_axis_off()
            continue
        axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=0.8, linestyle=":")
        drawn = False
        for place, (name, answers) in enumerate(methods.items()):
            label = answers.labels[:, index]
            known = (label != 0) & ~np.isnan(answers.scores[:, index])
            if len(np.unique(label[known])) < 2:
                continue
            wrong, right, _ = roc_curve(label[known] > 0, answers.scores[known, index])
            axes.plot(wrong, right, color=f"C{place % 10}", linewidth=1.2, label=name)
            drawn = True
        if not drawn:
            left_out.append(aus[index])
        axes.set_title(f"AU {aus[index]}", fontsize=9)
        axes.set_aspect("equal")
        axes.tick_params(labelsize=7)
        axes.set_xticks([0, 0.5, 1])
        axes.set_yticks([0, 0.5, 1])
    handles = {
        text: line
        for axes in grid
        for line, text in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(
            handles.values(), handles.keys(), loc="outside upper center",
            ncols=min(6, len(handles)), fontsize=8, frameon=False,
        )  # fmt: skip
    figure.supxlabel("false positive rate", fontsize=8)
    figure.supylabel("true positive rate", fontsize=8)
    return png(figure), left_out


def confusion(answers: Answers) -> tuple[Matrix, npt.NDArray[np.float64]]:
    """How often AUs are said to be present that are not, by which other AU is there.

    Args:
        answers: labels and scores.

    Returns:
        (AUs, AUs): of the frames where AU i is present and AU j is absent, the share in which j is
        said to be present; NaN on the diagonal and where there are few such frames. And (AUs,):
        the same over all frames where j is absent.
    """
    present = (answers.labels > 0).astype(np.float64)
    absent = ((answers.labels < 0) & ~np.isnan(answers.scores)).astype(np.float64)
    wrong = absent * (answers.scores > 0)
    frames = present.T @ absent
    rate = np.full(frames.shape, math.nan)
    np.divide(present.T @ wrong, frames, out=rate, where=frames >= LEAST_FRAMES)
    np.fill_diagonal(rate, math.nan)
    overall = np.full(len(frames), math.nan)
    np.divide(wrong.sum(0), absent.sum(0), out=overall, where=absent.sum(0) > 0)
    return rate, overall


@dataclass(frozen=True)
class Confusion:
    """AU `said` is often said where it is absent and AU `present` is there.

    Attributes:
        share: of those frames in which it is said.
        usual: the same share of all frames where it is absent.
    """

    said: str
    present: str
    share: float
    usual: float


def confused_pairs(answers: Answers, aus: Sequence[str], count: int = 5) -> list[Confusion]:
    """The pairs of AUs whose one raises false alarms of the other most, the worst first."""
    rate, overall = confusion(answers)
    lift = np.where(np.isnan(rate), -np.inf, rate - overall)
    pairs = []
    for flat in np.argsort(-lift, axis=None, kind="stable")[:count].tolist():
        i, j = divmod(flat, len(aus))
        if lift[i, j] > 0:
            pairs.append(Confusion(aus[j], aus[i], float(rate[i, j]), float(overall[j])))
    return pairs


def draw_confusion(methods: Mapping[str, Answers], aus: Sequence[str]) -> bytes:
    """Heat maps of how much AU i raises the false alarms of AU j, a map per method."""
    columns = min(3, len(methods))
    rows = -(-len(methods) // columns)
    figure = new_figure(3.1 * columns + 0.7, 3.2 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(methods) :]:
        axes.set_axis_off()
    for axes, (name, answers) in zip(grid, methods.items(), strict=False):
        rate, overall = confusion(answers)
        image = axes.imshow(100 * (rate - overall), cmap="RdBu_r", vmin=-75, vmax=75)
        axes.set_facecolor("#d9d9d9")
        _ticks(axes, aus)
        axes.set_title(name, fontsize=9)
    figure.supxlabel("absent AU that is said to be present", fontsize=8)
    figure.supylabel("AU that is present", fontsize=8)
    bar = figure.colorbar(image, ax=list(grid), shrink=0.8, pad=0.01)
    bar.set_label("false alarms above usual, percentage points", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return png(figure)


def _ticks(axes: Axes, aus: Sequence[str]) -> None:
    for ticks in (axes.set_xticks, axes.set_yticks):
        ticks(range(len(aus)), labels=list(aus), fontsize=7)
    axes.tick_params(length=0)


def patches(maps: Mapping[str, Matrix], columns: int = 5) -> bytes:
    """Maps of one number per patch, each scaled by its greatest.

    Args:
        maps: title -> (grid rows, grid columns), 0 or more.
        columns: maps in a row.
    """
    columns = min(columns, len(maps))
    rows = -(-len(maps) // columns)
    figure = new_figure(1.75 * columns + 0.6, 1.95 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, (title, values) in zip(grid, maps.items(), strict=False):
        top = float(values.max())
        image = axes.imshow(values / top if top > 0 else values, cmap="viridis", vmin=0, vmax=1)
        axes.set_title(title, fontsize=8)
    bar = figure.colorbar(image, ax=list(grid), shrink=0.8, pad=0.01)
    bar.set_label("over the greatest", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return png(figure)
