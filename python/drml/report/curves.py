"""Loss curves of training runs: read from run folders and Caffe's logs, drawn in one picture."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drml.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = list[tuple[int, float]]

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?nan|[-+]?inf"
_LOSS = re.compile(rf"\] Iteration (\d+)(?: \([^)]*\))?, loss = ({_NUMBER})")
_TESTING = re.compile(r"\] Iteration (\d+), Testing net \(#(\d+)\)")
_TEST_OUTPUT = re.compile(rf"\]\s+Test net output #\d+: .*\(\* \S+ = ({_NUMBER}) loss\)")
_GLOG = re.compile(r"[IWEF]\d{4,8} \d\d:\d\d:\d\d\.\d+ +\d+ [^\]]+\]")


@dataclass
class Curve:
    """The losses of one run; iterations rise.

    Attributes:
        name: what the run is called.
        train: iteration and training loss.
        tests: number of the test net -> iteration and loss.
    """

    name: str
    train: Points = field(default_factory=list)
    tests: dict[int, Points] = field(default_factory=dict)


def of_metrics(entries: Iterable[dict[str, Any]], name: str = "") -> Curve:
    """The curve of the entries of a metrics.jsonl, see drml.runlog.read_metrics."""
    curve = Curve(name)
    for entry in entries:
        if entry.get("loss") is None:
            continue
        point = (int(entry["iteration"]), float(entry["loss"]))
        if entry.get("event") == "train":
            curve.train.append(point)
        elif entry.get("event") == "test":
            curve.tests.setdefault(int(entry["net"]), []).append(point)
    return curve


def of_log(text: str, name: str = "") -> Curve:
    """The curve of a log of ours or of Caffe's.

    The loss of a test is the sum of the weighted losses that it prints. Where a resumed run counts
    iterations again, the later ones stand.
    """
    curve = Curve(name)
    at = 0
    test: Points | None = None
    for line in text.splitlines():
        if match := _TESTING.search(line):
            at, test = int(match[1]), curve.tests.setdefault(int(match[2]), [])
            _forget(test, at)
        elif test is not None and (match := _TEST_OUTPUT.search(line)):
            before = test.pop()[1] if test and test[-1][0] == at else 0.0
            test.append((at, before + float(match[1])))
        elif match := _LOSS.search(line):
            test, at = None, int(match[1])
            _forget(curve.train, at)
            curve.train.append((at, float(match[2])))
            for points in curve.tests.values():
                _forget(points, at + 1)
    curve.train = [point for point in curve.train if math.isfinite(point[1])]
    curve.tests = {net: points for net, points in curve.tests.items() if points}
    return curve


def _forget(points: Points, iteration: int) -> None:
    """Drops what comes at an iteration or later: the run began anew before it."""
    while points and points[-1][0] >= iteration:
        points.pop()


def read_curve(path: Path) -> Curve:
    """The losses of a run folder, a metrics.jsonl, or a log in glog's format.

    Raises:
        DataError: it cannot be read, is none of these, or holds no loss.
    """
    from drml.runlog import METRICS_NAME, read_metrics

    file = path / METRICS_NAME if path.is_dir() else path
    name = path.name if path.is_dir() else path.stem
    if path.is_dir() and not file.is_file():
        raise DataError(f"{path}: is no run folder: there is no {METRICS_NAME} in it")
    try:
        if file.suffix == ".jsonl":
            curve = of_metrics(read_metrics(file), name)
        else:
            text = file.read_text(encoding="utf-8", errors="replace")
            if not _GLOG.search(text):
                raise DataError(f"{path}: is no training log: no line begins as glog's do")
            curve = of_log(text, name)
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is no text file") from error
    if not curve.train and not curve.tests:
        raise DataError(f"{path}: holds no loss of any iteration")
    return curve


def smooth(values: Sequence[float], window: int | None = None) -> tuple[list[float], int]:
    """Means over windows of `window` values, about a fiftieth of the curve unless given.

    Returns:
        The means, as many as the values, and the window's length.
    """
    length = max(1, len(values) // 50) if window is None else window
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    means = []
    for index in range(len(values)):
        first = max(0, index - length // 2)
        last = min(len(values), index + length // 2 + 1)
        means.append((sums[last] - sums[first]) / (last - first))
    return means, length


def draw_single(curve: Curve, axes: Axes) -> None:
    """One run: raw and smoothed training loss in blue, test points."""
    if curve.train:
        at, raw = [p[0] for p in curve.train], [p[1] for p in curve.train]
        means, window = smooth(raw)
        axes.plot(at, raw, color="#9ecae1", linewidth=0.8, label="train")
        axes.plot(at, means, color="#08519c", label=f"train, mean of {window}")
    for net, points in sorted(curve.tests.items()):
        name = "test" if len(curve.tests) == 1 else f"test net {net}"
        axes.plot([p[0] for p in points], [p[1] for p in points], "o-", label=name)
    if curve.train or curve.tests:
        axes.legend()


def draw_several(curves: Sequence[Curve], axes: Axes, window: int | None = None) -> None:
    """Several runs, a color each: raw loss thin, smoothed loss thick, tests as points."""
    for index, curve in enumerate(curves):
        color = f"C{index % 10}"
        if curve.train:
            at, raw = [p[0] for p in curve.train], [p[1] for p in curve.train]
            axes.plot(at, raw, color=color, linewidth=0.6, alpha=0.25)
            axes.plot(at, smooth(raw, window)[0], color=color, linewidth=1.8, label=curve.name)
        for net, points in sorted(curve.tests.items()):
            what = "test" if len(curve.tests) == 1 else f"test net {net}"
            axes.plot(
                [p[0] for p in points],
                [p[1] for p in points],
                "o--",
                color=color,
                linewidth=0.8,
                markersize=4,
                label=f"{curve.name}, {what}",
            )
    if curves:
        axes.legend(fontsize=8)


def draw(
    curves: Sequence[Curve],
    *,
    window: int | None = None,
    log_scale: bool = False,
    kind: str = "png",
    size: tuple[float, float] = (8, 4.5),
    dpi: int = 120,
) -> bytes:
    """A picture of the curves.

    Args:
        curves: a single one is drawn in blue, several in a color each.
        window: values that a point of the smoothed curve is the mean of; None: a fiftieth.
        log_scale: logarithmic losses.
        kind: `png`, `svg` or `pdf`.
        size: in inches.
        dpi: pixels per inch of a PNG.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if len(curves) == 1 and window is None:
        draw_single(curves[0], axes)
    else:
        draw_several(curves, axes, window)
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss")
    if log_scale:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    # Dates and random names of SVG's parts would make files of the same curves differ.
    dates: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with rc_context({"svg.hashsalt": "drml"}):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=dates.get(kind))
    return buffer.getvalue()
