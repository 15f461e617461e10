"""What a trained net says of held-out faces: a picture to look at and a page of figures to read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drml.errors import UsageError
from drml.metrics import AuTable
from drml.runlog import METRICS_NAME, read_metrics
from drml.weights import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE_NAME = "predictions.png"
TEXT_NAME = "summary.txt"

COLUMNS, ROWS = 6, 4
AUS_PER_LINE = 6
# What becomes of an AU: (text color, box color).
HIT = ("white", "#2a9d4a")
MISSED = ("#b35a00", "#ffe3c2")
WRONG = ("white", "#d1342f")
QUIET = ("#b9b9b9", "white")
UNSURE = ("#666666", "#e2e2e2")


def write_report(
    run_dir: Path,
    images: Sequence[NDArray[np.uint8]],
    labels: NDArray[np.integer],
    scores: NDArray[np.floating],
    au_names: Sequence[str],
) -> list[Path]:
    """Writes `run_dir`/predictions.png and `run_dir`/summary.txt.

    Args:
        run_dir: the run's folder, which exists. The fall of the loss is read from its metrics.jsonl
            where there is one.
        images: held-out faces, (H, W, 3) BGR.
        labels: (faces, AUs) of -1, 0 and 1.
        scores: (faces, AUs) logits; above 0 means present.
        au_names: one name per AU.

    Returns:
        The files written.

    Raises:
        UsageError: the numbers of images, labels, scores and names differ, or there are none.
        NetError: a score is not finite.
        WeightsError: a file cannot be written.
    """
    if not len(images) or len(images) != len(labels):
        raise UsageError(f"a report needs faces with labels; got {len(images)} and {len(labels)}")
    table = AuTable(scores, labels, au_names)
    files = {
        run_dir / PICTURE_NAME: draw_predictions(images, labels, scores, au_names),
        run_dir / TEXT_NAME: (summary(table, run_dir / METRICS_NAME) + "\n").encode(),
    }
    for path, content in files.items():
        atomic_write(path, content)
    return list(files)


def summary(table: AuTable, metrics: Path) -> str:
    """The table of the AUs and how the loss fell, on one screen; no newline at the end."""
    lines = [table.text(), ""]
    losses = _losses(metrics)
    if losses:
        window = max(1, len(losses) // 10)
        first, last = np.mean(losses[:window]), np.mean(losses[-window:])
        lines.append(f"training loss: {first:.2f} at first, {last:.2f} at last")
    lines.append(
        f"mean ROC-AUC {table.mean_auc:.3f} (guessing: 0.500), "
        f"mean F1 {table.mean_f1:.3f} (always yes: {table.mean_all_positive_f1:.3f})"
    )
    return "\n".join(lines)


def _losses(metrics: Path) -> list[float]:
    if not metrics.is_file():
        return []
    entries = (entry for entry in read_metrics(metrics) if entry.get("event") == "train")
    return [float(entry["loss"]) for entry in entries if entry.get("loss") is not None]


def draw_predictions(
    images: Sequence[NDArray[np.uint8]],
    labels: NDArray[np.integer],
    scores: NDArray[np.floating],
    au_names: Sequence[str],
) -> bytes:
    """A PNG of up to 24 of the faces, evenly picked, each above what the net says of its AUs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = np.unique(np.linspace(0, len(images) - 1, COLUMNS * ROWS).round().astype(int))
    rows = -(-len(shown) // COLUMNS)
    lines = -(-len(au_names) // AUS_PER_LINE)
    height = rows * (2.0 + 0.25 * lines) + 0.6
    figure = Figure(figsize=(COLUMNS * 2.0, height), dpi=100)
    FigureCanvasAgg(figure)
    _legend(figure.add_axes((0.01, 1 - 0.45 / height, 0.98, 0.4 / height)))
    grid = figure.add_gridspec(
        rows, COLUMNS, left=0.01, right=0.99, bottom=(0.05 + 0.25 * lines) / height,
        top=1 - 0.5 / height, wspace=0.06, hspace=0.04 + 0.12 * lines,
    )  # fmt: skip
    for place, face in enumerate(shown):
        axes = figure.add_subplot(grid[place // COLUMNS, place % COLUMNS])
        axes.imshow(images[face][..., ::-1])
        axes.set_axis_off()
        for column, name in enumerate(au_names):
            line, at = divmod(column, AUS_PER_LINE)
            color, box = _fate(int(labels[face, column]), float(scores[face, column]))
            x, y = (at + 0.5) / AUS_PER_LINE, -0.06 - 0.115 * line
            _chip(axes, x, y, name, color, box)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _fate(label: int, score: float) -> tuple[str, str]:
    if label == 0:
        return UNSURE
    if label > 0:
        return HIT if score > 0 else MISSED
    return WRONG if score > 0 else QUIET


def _chip(axes: Axes, x: float, y: float, text: str, color: str, box: str) -> None:
    axes.text(
        x, y, text, color=color, fontsize=8, ha="center", va="center", transform=axes.transAxes,
        bbox={"boxstyle": "round,pad=0.22", "facecolor": box, "edgecolor": "none"},
    )  # fmt: skip


def _legend(axes: Axes) -> None:
    axes.set_axis_off()
    meanings = {
        "there, and found": HIT,
        "there, but missed": MISSED,
        "not there, but claimed": WRONG,
        "not there, not claimed": QUIET,
        "label unknown": UNSURE,
    }
    for place, (meaning, (color, box)) in enumerate(meanings.items()):
        x = 0.02 + 0.2 * place
        _chip(axes, x, 0.5, "AU", color, box)
        axes.text(x + 0.018, 0.5, meaning, fontsize=9, va="center", transform=axes.transAxes)
