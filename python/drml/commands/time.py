"""`time`: ms per layer and per frame, in training and in test, on random data."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from drml.commands.options import (
    add_batch_size,
    add_cuda_graph,
    add_no_fuse,
    chosen_device,
    existing_file,
    non_negative_int,
    output_file,
    phase,
    positive_int,
)

if TYPE_CHECKING:
    from drml.timing import NetTime

_DESCRIPTION = """\
Times a net on random data in place of its data layers, so that neither files nor decoding count.
Training is forward, backward and the SGD update, on the net of phase TRAIN; test is forward, on the
net of phase TEST. The iterations are split into trials: ms per frame is their mean, with the
standard deviation between them. The paper's table is 20 trials of 1,000 iterations:
--iterations 20000 --trials 20.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "time", help="time a net per layer and per frame", description=_DESCRIPTION
    )
    parser.add_argument(
        "--model", type=existing_file, metavar="FILE", required=True, help="a net file"
    )
    parser.add_argument(
        "--weights",
        type=existing_file,
        metavar="FILE",
        help="a .caffemodel, or .h5 (default: random)",
    )
    parser.add_argument(
        "--phase",
        type=phase,
        metavar="TRAIN|TEST",
        help="time this phase alone (default: both; only TEST for a net without a loss)",
    )
    add_batch_size(parser)
    add_cuda_graph(parser)
    add_no_fuse(parser)
    parser.add_argument(
        "--iterations",
        type=positive_int,
        default=50,
        metavar="N",
        help="iterations timed, in all trials together (default: %(default)s)",
    )
    parser.add_argument(
        "--trials",
        type=positive_int,
        default=5,
        metavar="N",
        help="parts that the iterations are split into (default: %(default)s)",
    )
    parser.add_argument(
        "--warm-up",
        type=non_negative_int,
        default=2,
        metavar="N",
        help="iterations that run first and are not timed (default: %(default)s)",
    )
    parser.add_argument("--csv", type=output_file, metavar="FILE", help="write the times as CSV")
    parser.add_argument("--json", type=output_file, metavar="FILE", help="write the times as JSON")


def run(args: argparse.Namespace) -> int:
    """Times the net and prints, phase by phase."""
    from drml.weights import atomic_write

    print(f"{args.model}: random data stand in for what the net would read")
    times = []
    for name in [args.phase] if args.phase else ["TRAIN", "TEST"]:
        measured = _time(args, name)
        if measured is not None:
            times.append(measured)
            print(f"\n{text(measured)}", flush=True)
    if args.csv is not None:
        atomic_write(args.csv, to_csv(times).encode())
    if args.json is not None:
        document = {"model": str(args.model), "times": [entry.to_dict() for entry in times]}
        atomic_write(args.json, (json.dumps(document, indent=1) + "\n").encode())
    return 0


def _time(args: argparse.Namespace, phase_name: str) -> NetTime | None:
    """Times one phase; None where both were asked for and the net has no loss to train on."""
    from drml.commands.nets import synthetic_net
    from drml.errors import UsageError
    from drml.timing import can_train, time_net

    with synthetic_net(
        args.model,
        phase_name,
        args.batch_size,
        weights=args.weights,
        device=chosen_device(args),
        fuse=args.fuse,
    ) as net:
        train = phase_name == "TRAIN"
        if args.cuda_graph and not train:
            net.use_cuda_graph()
        if train and not can_train(net):
            if args.phase:
                raise UsageError(
                    f"{args.model}: no loss to train on, so --phase TRAIN has no times"
                )
            return None
        with _progress(phase_name, args.warm_up + args.iterations) as advance:
            return time_net(
                net,
                train=train,
                iterations=args.iterations,
                trials=args.trials,
                warm_up=args.warm_up,
                progress=advance,
            )


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], object] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit="iter", leave=False) as bar:
        yield bar.update


def text(measured: NetTime) -> str:
    """The times of one phase as an aligned table and the figures per frame."""
    from drml.text_table import align

    rows = [
        (layer.name, layer.type, f"{layer.forward_ms:.3f}", _figure(layer.backward_ms))
        for layer in measured.layers
    ]
    rows.append(("all", "", f"{measured.forward_ms:.3f}", _figure(measured.backward_ms)))
    if measured.update_ms is not None:
        rows.append(("update", "SGD", "", f"{measured.update_ms:.3f}"))
    trials = len(measured.trial_ms)
    where = f"{measured.threads} threads" if measured.device == "cpu" else measured.device
    return "\n".join(
        (
            f"{measured.mode}: batch size {measured.batch_size}, {where}, "
            f"mean of {measured.iterations} iterations",
            align(("layer", "type", "forward ms", "backward ms"), rows, left=2),
            f"{measured.mode}: {measured.frame_ms:.3f} ms per frame, standard deviation "
            f"{measured.deviation_ms:.3f} over {trials} trial{'s' * (trials > 1)}",
        )
    )


def to_csv(times: list[NetTime]) -> str:
    """All times as CSV: a row per layer, then rows `all`, `update` and `frame`, of each mode."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ("mode", "batch_size", "layer", "type", "forward_ms", "backward_ms", "ms", "sd")
    )
    for one in times:
        start = (one.mode, one.batch_size)
        for layer in one.layers:
            figures = (_cell(layer.forward_ms), _cell(layer.backward_ms))
            writer.writerow((*start, layer.name, layer.type, *figures, "", ""))
        writer.writerow((*start, "all", "", _cell(one.forward_ms), _cell(one.backward_ms), "", ""))
        if one.update_ms is not None:
            writer.writerow((*start, "update", "SGD", "", "", _cell(one.update_ms), ""))
        frame = (_cell(one.frame_ms), _cell(one.deviation_ms))
        writer.writerow((*start, "per frame", "", "", "", *frame))
    return out.getvalue()


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
