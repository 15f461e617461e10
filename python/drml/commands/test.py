"""`test --model NET --weights W`: means of a net's outputs over its data, and scores per AU."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from drml.commands.options import (
    add_level_and_stage,
    add_no_fuse,
    add_phase,
    chosen_device,
    existing_file,
    output_file,
    positive_int,
    stages,
)
from drml.commands.train import add_batch_options

if TYPE_CHECKING:
    from drml.net import Net

_DESCRIPTION = """\
Runs a net forward over its data, every sample once unless --iterations says how many batches, and
prints the mean of every output. Where the net has a multi-label loss, prints per AU how many labels
are positive, negative and unknown, the F1 of "logit > 0", the ROC-AUC, and beside them the F1 that
saying yes to every frame would reach. An AU with one class only is left out of the means.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "test", help="score a trained net on its test data", description=_DESCRIPTION
    )
    parser.add_argument(
        "--model", type=existing_file, required=True, metavar="FILE", help="the net prototxt"
    )
    parser.add_argument(
        "--weights", type=existing_file, required=True, metavar="FILE", help="a .caffemodel, or .h5"
    )
    parser.add_argument(
        "--iterations", type=positive_int, metavar="N", help="batches (default: all samples once)"
    )
    add_phase(parser, "TEST")
    add_no_fuse(parser)
    add_level_and_stage(parser)
    parser.add_argument("--aus", metavar="A[,A2]", help="names of the AUs, such as 1,2,4")
    parser.add_argument("--csv", type=output_file, metavar="FILE", help="write the AU table as CSV")
    parser.add_argument(
        "--json", type=output_file, metavar="FILE", help="write all figures as JSON"
    )
    group = parser.add_argument_group("data, instead of what the net file says")
    group.add_argument("--data", type=Path, metavar="PATH", help="an LMDB's folder or a list")
    add_batch_options(group)


def run(args: argparse.Namespace) -> int:
    """Prints the means and the table."""
    import json

    from tqdm import tqdm

    from drml.errors import UsageError
    from drml.evaluate import batches_to_run, evaluate
    from drml.metrics import au_names
    from drml.weights import atomic_write

    with _net(args) as net:
        names = args.aus.split(",") if args.aus else None
        if names is not None:
            width = _outputs(net)
            if width is None:
                raise UsageError(
                    "--aus: the net has no multi-label loss whose outputs it could name"
                )
            au_names(width, names)
        with tqdm(total=batches_to_run(net, args.iterations), unit="batch", disable=None) as bar:
            result = evaluate(net, args.iterations, progress=bar.update)
    table = result.table(names)
    if args.csv is not None:
        if table is None:
            raise UsageError("--csv: the net has no multi-label loss, so there is no table per AU")
        atomic_write(args.csv, table.to_csv().encode())
    if args.json is not None:
        figures = result.to_dict() | ({"per_au": table.to_dict()} if table is not None else {})
        atomic_write(args.json, f"{json.dumps(figures, indent=1)}\n".encode())
    print("\n".join(result.lines()))
    if table is not None:
        print(f"\n{table.text()}")
    return 0


def _net(args: argparse.Namespace) -> Net:
    from drml.data.options import DataOptions
    from drml.net import Net
    from drml.proto import caffe_pb2 as pb
    from drml.prototxt import read_net

    phase = pb.Phase.Value(args.phase)
    data = DataOptions(
        train_data=args.data,
        test_data=args.data,
        batch_size=args.batch_size,
        mean=args.mean,
        zero_is_negative=args.zero_is_negative,
    )
    return Net(
        data.edit(read_net(args.model), phase),
        args.weights,
        phase,
        level=args.level,
        stages=stages(args),
        device=chosen_device(args),
        threads=args.threads,
        fuse=args.fuse,
    )


def _outputs(net: Net) -> int | None:
    """How many logits the multi-label loss reads; None where there is none."""
    from drml.evaluate import multi_label_loss

    node = multi_label_loss(net)
    return None if node is None else node.bottom[0].count // node.bottom[0].shape[0]
