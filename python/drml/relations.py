"""AU relation tables (paper, figure 1 and section 4.3): how AUs go together, in labels or answers.

Of AUs i and j, i above j in the table, the cell above the diagonal is Pearson's phi over all frames

    phi = (a d - b c) / sqrt((a + b) (c + d) (a + c) (b + d)),

a frames with both, b with i alone, c with j alone, d with neither. The cell below the diagonal is
the same over the frames where at least one of the two is present: with d = 0 it is never positive.
A frame counts for a pair where both labels are known.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from drml.errors import DataError, UsageError
from drml.metrics import au_names
from drml.prepared import MANIFEST, Prepared
from drml.text_table import align

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Matrix = npt.NDArray[np.float64]


def relation_table(labels: npt.ArrayLike) -> Matrix:
    """The relation table of labels.

    Args:
        labels: (frames, AUs) of -1 absent, 0 unknown, 1 present.

    Returns:
        (AUs, AUs); 1 on the diagonal; NaN where phi is not defined, since one of the two AUs is
        present in all of the frames or in none.
    """
    array = np.asarray(labels)
    if array.ndim != 2:
        raise UsageError(f"labels of shape {array.shape} must be (frames, AUs)")
    present, absent = (array > 0).astype(np.float64), (array < 0).astype(np.float64)
    a, b, d = present.T @ present, present.T @ absent, absent.T @ absent
    over_all = _phi(a, b, b.T, d)
    over_either = _phi(a, b, b.T, np.zeros_like(d))
    table = np.triu(over_all, 1) + np.tril(over_either, -1)
    np.fill_diagonal(table, np.where((array > 0).any(0) & (array < 0).any(0), 1.0, math.nan))
    return table


def _phi(a: Matrix, b: Matrix, c: Matrix, d: Matrix) -> Matrix:
    product = (a + b) * (c + d) * (a + c) * (b + d)
    phi = np.full(a.shape, math.nan)
    np.divide(a * d - b * c, np.sqrt(product), out=phi, where=product > 0)
    return phi


@dataclass(frozen=True)
class Distance:
    """How far two relation tables are from each other.

    Attributes:
        value: Frobenius norm of the difference over the number of cells compared: 144 where all
            cells of 12 AUs are defined. NaN where none is.
        cells: cells compared, the diagonal included.
        left_out: cells that are not defined in one of the tables.
    """

    value: float
    cells: int
    left_out: int


def distance(first: npt.ArrayLike, second: npt.ArrayLike) -> Distance:
    """The distance between two relation tables of the same AUs.

    Raises:
        UsageError: the tables differ in shape.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape:
        raise UsageError(f"tables of {one.shape} and {other.shape} cells cannot be compared")
    difference = one - other
    defined = ~np.isnan(difference)
    cells = int(defined.sum())
    value = float(np.linalg.norm(difference[defined])) / cells if cells else math.nan
    return Distance(value, cells, difference.size - cells)


@dataclass(frozen=True)
class Relations:
    """A relation table with the names that belong to it.

    Attributes:
        name: what the labels are and where they come from.
        aus: names of the AUs.
        labels: (frames, AUs) of -1, 0 and 1.
    """

    name: str
    aus: list[str]
    labels: npt.NDArray[np.int8]

    @property
    def table(self) -> Matrix:
        """The relation table."""
        return relation_table(self.labels)

    def select(self, aus: Sequence[str]) -> Relations:
        """The same of some AUs alone, in the order given."""
        columns = [self.aus.index(name) for name in aus]
        return Relations(self.name, list(aus), self.labels[:, columns])

    def text(self) -> str:
        """The table as aligned text; no newline at the end."""
        table = self.table
        rows = [(name, *map(_figure, row)) for name, row in zip(self.aus, table, strict=True)]
        head = f"{self.name}: {len(self.labels)} frames"
        return f"{head}\n{align(('AU', *self.aus), rows)}"

    def to_csv(self) -> str:
        """The table as CSV; cells that are not defined stay empty."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("au", *self.aus))
        for name, row in zip(self.aus, self.table, strict=True):
            writer.writerow((name, *("" if math.isnan(v) else f"{v:.6f}" for v in row)))
        return out.getvalue()


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def common_aus(tables: Sequence[Relations]) -> list[str]:
    """The AUs that all tables have, in the order of the first.

    Raises:
        UsageError: there is none.
    """
    shared = [au for au in tables[0].aus if all(au in other.aus for other in tables[1:])]
    if not shared:
        names = " and ".join(table.name for table in tables)
        raise UsageError(f"{names} have no AU in common")
    return shared


# Reading ----------------------------------------------------------------------------------------


def read_relations(path: Path, aus: Sequence[str] | None = None) -> list[Relations]:
    """The labels, and predictions if there are, that a file or folder holds.

    Args:
        path: an image list of the authors' form, an LMDB, a folder that `prepare` made, or the
            predictions of an experiment (.npz of labels and scores): of these two tables are made,
            the second of "score > 0", over the frames whose label is known.
        aus: names of the labels; a prepared folder tells its own.

    Raises:
        DataError: it cannot be read, or is none of these.
        UsageError: `aus` are not as many as the labels.
    """
    if path.suffix == ".npz":
        return _read_predictions(path, aus)
    if (path / MANIFEST).is_file():
        return [_read_prepared(path, aus)]
    if path.is_dir():
        labels = _read_lmdb(path)
    elif path.is_file():
        from drml.data.image_list import read_list

        labels = read_list(path).labels
    else:
        raise DataError(f"{path}: no such file or folder")
    return [Relations(f"labels of {path}", au_names(labels.shape[1], aus), labels)]


def _read_lmdb(path: Path) -> npt.NDArray[np.int8]:
    from drml.data.lmdb_source import LmdbSource

    source = LmdbSource(path)
    try:
        return source.labels()
    finally:
        source.close()


def _read_prepared(path: Path, aus: Sequence[str] | None) -> Relations:
    prepared = Prepared(path)
    names = prepared.aus if aus is None else au_names(len(prepared.aus), aus)
    return Relations(f"labels of {path}", names, prepared.labels)


def _read_predictions(path: Path, aus: Sequence[str] | None) -> list[Relations]:
    try:
        with np.load(path, allow_pickle=False) as file:
            labels, scores = np.asarray(file["labels"], np.int8), np.asarray(file["scores"])
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except KeyError as error:
        raise DataError(f"{path}: holds no arrays 'labels' and 'scores'") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is no .npz file of predictions ({error})") from error
    if labels.ndim != 2 or labels.shape != scores.shape:
        raise DataError(
            f"{path}: labels {labels.shape} and scores {scores.shape} must both be (frames, AUs)"
        )
    names = au_names(labels.shape[1], aus)
    return [
        Relations(f"labels of {path}", names, labels),
        Relations(f"predictions of {path}", names, answers(labels, scores)),
    ]


def answers(labels: npt.NDArray[np.int8], scores: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    """What "score > 0" says, -1 or 1.

    0 where the label is unknown, to cover the same frames, and where the score is NaN.
    """
    said = np.where(scores > 0, 1, -1)
    return np.where((labels == 0) | np.isnan(scores), 0, said).astype(np.int8)


# Drawing ----------------------------------------------------------------------------------------


def draw(tables: Sequence[Relations], *, titles: Sequence[str] | None = None) -> bytes:
    """A PNG of the tables side by side, three in a row, red for together and blue for apart."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(tables))
    rows = -(-len(tables) // columns)
    figure = Figure(figsize=(4.4 * columns + 0.5, 4.3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes_of = figure.subplots(rows, columns, squeeze=False).ravel()
    for index, axes in enumerate(axes_of):
        if index >= len(tables):
            axes.set_axis_off()
            continue
        table = tables[index]
        _draw_one(axes, table.table, table.aus, titles[index] if titles else table.name)
    figure.colorbar(axes_of[0].images[0], ax=list(axes_of), shrink=0.8, pad=0.01, label="phi")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()


def _draw_one(axes: Axes, table: Matrix, aus: Sequence[str], title: str) -> None:
    shown = table.copy()
    np.fill_diagonal(shown, math.nan)
    axes.imshow(shown, cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_facecolor("#d9d9d9")
    size = max(3.5, min(8.0, 72.0 / len(aus)))
    for (row, column), value in np.ndenumerate(shown):
        if not math.isnan(value):
            text = f"{value:.2f}".replace("0.", ".")
            color = "white" if abs(value) > 0.6 else "black"
            label = axes.text(column, row, text, ha="center", va="center", fontsize=size)
            label.set(color=color, in_layout=False)
    for ticks in (axes.set_xticks, axes.set_yticks):
        ticks(range(len(aus)), labels=list(aus), fontsize=8)
    axes.tick_params(length=0)
    axes.set_title(title, fontsize=9)
