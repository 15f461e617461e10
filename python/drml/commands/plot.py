"""`plot RUN ... --out FILE`: loss curves of run folders and logs, in one picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from drml.commands.options import output_file, positive_int
from drml.errors import UsageError

_KINDS = (".png", ".svg", ".pdf")
_DESCRIPTION = """\
Draws the losses of one or several runs against the iteration: training losses raw and smoothed,
test losses as points. A run is a run folder, its metrics.jsonl, or a log in glog's format, ours or
Caffe's.
"""


def _picture(text: str) -> Path:
    path = output_file(text)
    if path.suffix.lower() not in _KINDS:
        raise argparse.ArgumentTypeError(f"{path}: must end in {', '.join(_KINDS)}")
    return path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "plot", help="draw loss curves of runs", description=_DESCRIPTION
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="run folder, metrics.jsonl or log"
    )
    parser.add_argument(
        "--out",
        type=_picture,
        default=Path("loss.png"),
        metavar="FILE",
        help="the picture, .png, .svg or .pdf (default: %(default)s)",
    )
    parser.add_argument(
        "--names", metavar="A[,B]", help="names of the runs (default: those of folders and files)"
    )
    parser.add_argument(
        "--smooth",
        type=positive_int,
        metavar="N",
        help="losses that a point of the smoothed curve is the mean of (default: a fiftieth of "
        "the run's; 1: not smoothed)",
    )
    parser.add_argument("--log-scale", action="store_true", help="logarithmic losses")


def run(args: argparse.Namespace) -> int:
    """Reads the runs, draws, and tells the first and the last loss of each."""
    from drml.report.curves import draw, read_curve
    from drml.weights import atomic_write

    names = args.names.split(",") if args.names is not None else []
    if names and len(names) != len(args.runs):
        raise UsageError(f"--names has {len(names)} names for {len(args.runs)} runs")
    curves = [read_curve(path) for path in args.runs]
    for curve, name in zip(curves, names, strict=False):
        curve.name = name
    kind = args.out.suffix.lower().removeprefix(".")
    atomic_write(args.out, draw(curves, window=args.smooth, log_scale=args.log_scale, kind=kind))
    for curve in curves:
        ends = [
            f"{what} loss {points[0][1]:.4g} at {points[0][0]}, {points[-1][1]:.4g} at "
            f"{points[-1][0]}"
            for what, points in [
                ("training", curve.train),
                *((f"test net {net}", points) for net, points in sorted(curve.tests.items())),
            ]
            if points
        ]
        print(f"{curve.name}: {'; '.join(ends)}")
    print(args.out)
    return 0
