"""`train --solver SOLVER`: trains a net, from the start, from weights or from a snapshot."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from drml.commands.options import (
    add_no_fuse,
    existing_file,
    non_negative_int,
    positive_float,
    positive_int,
)
from drml.errors import UsageError

if TYPE_CHECKING:
    from drml.evaluate import Evaluation
    from drml.training import RunOptions

_DESCRIPTION = """\
Trains as a solver file says. The run folder gets the log, metrics.jsonl, the prototxts used and a
loss curve; snapshots go where snapshot_prefix says, or into the run folder. Ctrl-C takes a snapshot
and stops, a second one stops at once; SIGHUP takes a snapshot and goes on.
"""

_EFFECTS = ("stop", "snapshot", "none")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "train", help="train a net as a solver file says", description=_DESCRIPTION
    )
    parser.add_argument(
        "--solver", type=existing_file, required=True, metavar="FILE", help="the solver prototxt"
    )
    parser.add_argument(
        "--iterations", type=positive_int, metavar="N", help="train up to N, instead of max_iter"
    )
    add_run_options(parser)
    add_data_options(parser)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds --snapshot, --weights, --run-dir, --seed and what signals do."""
    parser.add_argument(
        "--snapshot",
        type=existing_file,
        metavar="STATE",
        help="a .solverstate, or .h5, to go on from",
    )
    parser.add_argument(
        "--weights", metavar="W[,W2]", help=".caffemodel or .h5 files to start from, by layer name"
    )
    parser.add_argument(
        "--minutes",
        type=positive_float,
        metavar="M",
        help="end the training after M minutes, as if its iterations were done",
    )
    add_no_fuse(parser)
    parser.add_argument(
        "--run-dir",
        type=Path,
        metavar="DIR",
        help="the run folder, appended to if it exists (default: that of the snapshot, else "
        "runs/NAME-DATE-TIME)",
    )
    parser.add_argument(
        "--seed", type=non_negative_int, metavar="N", help="random seed, instead of random_seed"
    )
    for name, default in (("sigint", "stop"), ("sighup", "snapshot")):
        parser.add_argument(
            f"--{name}_effect",
            choices=_EFFECTS,
            default=default,
            help=f"what {name.upper()} does (default: %(default)s)",
        )


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that put other data into a net for training."""
    group = parser.add_argument_group("data, instead of what the net file says")
    group.add_argument(
        "--train-data", type=Path, metavar="PATH", help="an LMDB's folder or a list to train on"
    )
    group.add_argument(
        "--test-data", type=Path, metavar="PATH", help="an LMDB's folder or a list to test on"
    )
    add_batch_options(group)


def add_batch_options(group: argparse._ArgumentGroup) -> None:
    """Adds --batch-size, --mean and --zero-is-negative."""
    group.add_argument("--batch-size", type=positive_int, metavar="N", help="images per batch")
    group.add_argument(
        "--mean", type=existing_file, metavar="FILE", help="the mean image, a .binaryproto"
    )
    group.add_argument("--zero-is-negative", action="store_true", help="read labels 0 as -1")


def run_options(args: argparse.Namespace) -> RunOptions:
    """The options of a training run that `add_run_options` and `add_data_options` have parsed.

    Raises:
        UsageError: options exclude each other, or a file is missing.
    """
    from drml.data.options import DataOptions
    from drml.signals import Action
    from drml.training import RunOptions

    if args.snapshot and args.weights:
        raise UsageError(
            "--snapshot and --weights exclude each other: a snapshot has its own weights"
        )
    data = DataOptions(
        train_data=args.train_data,
        test_data=args.test_data,
        batch_size=args.batch_size,
        mean=args.mean,
        zero_is_negative=args.zero_is_negative,
    )
    return RunOptions(
        run_dir=args.run_dir,
        snapshot=args.snapshot,
        weights=weight_files(args),
        minutes=args.minutes,
        data=data,
        device=args.device,
        threads=args.threads,
        seed=args.seed,
        sigint=Action(args.sigint_effect),
        sighup=Action(args.sighup_effect),
        fuse=args.fuse,
    )


def weight_files(args: argparse.Namespace) -> list[Path]:
    """The files of --weights.

    Raises:
        UsageError: one is missing.
    """
    names = args.weights.split(",") if args.weights is not None else []
    try:
        return [existing_file(name) for name in names]
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"argument --weights: {error}") from error


def run(args: argparse.Namespace) -> int:
    """Trains."""
    from drml.prototxt import read_solver
    from drml.training import start

    options = run_options(args)
    file = read_solver(args.solver)
    if args.iterations is not None:
        file.message.max_iter = args.iterations
    if options.snapshot is not None or options.weights:
        # As in Caffe, what the command line says comes before the file's own weights.
        file.message.ClearField("weights")
    with start(file, args.solver.stem, options) as training:
        training.solve()
    return 0


def train_net_with_paper_settings(
    net: Path, iterations: int, options: RunOptions, aus: list[str] | None = None
) -> Evaluation | None:
    """Trains a net by the paper's settings and tests it; see `drml.training.train_and_test`."""
    from drml.training import train_and_test

    return train_and_test(net, iterations, options, aus)
