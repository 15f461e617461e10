"""`gradcheck NET.prototxt`: checks a net's gradients by differences, layer by layer."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from drml.commands.options import (
    add_no_fuse,
    add_phase,
    chosen_device,
    existing_file,
    non_negative_int,
    positive_float,
    positive_int,
)

if TYPE_CHECKING:
    from drml.gradcheck import LayerCheck

EXIT_FAILED = 1

_DESCRIPTION = """\
Runs every layer alone on random data and compares the gradients that backward computes with
differences of forward, for random elements of each bottom and learned parameter. Elements at a kink
(ReLU at zero, a maximum that changes place) and those that rounding hides are skipped and counted.
The kernels compute in float32, so errors below about a thousandth of the gradient cannot be seen
this way; wrong signs, factors, indices and forgotten terms can. Exit status 1 if a layer fails.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "gradcheck", help="check a net's gradients by differences", description=_DESCRIPTION
    )
    parser.add_argument("net", type=existing_file, metavar="NET.prototxt", help="a net file")
    parser.add_argument("--layer", metavar="NAME", help="check this layer alone")
    add_phase(parser, "TRAIN")
    add_no_fuse(parser)
    parser.add_argument(
        "--batch-size",
        type=positive_int,
        default=2,
        metavar="N",
        help="images per batch (default: %(default)s)",
    )
    parser.add_argument(
        "--samples",
        type=positive_int,
        default=10,
        metavar="N",
        help="elements to check of each array (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="of data, weights and choice of elements (default: %(default)s)",
    )
    parser.add_argument(
        "--tolerance",
        type=positive_float,
        default=1e-2,
        metavar="X",
        help="greatest error allowed, as a share of the gradient (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Checks the net and prints a line per layer."""
    from drml.commands.nets import synthetic_net
    from drml.errors import UsageError
    from drml.gradcheck import check_net
    from drml.nearest import nearest

    with synthetic_net(
        args.net,
        args.phase,
        args.batch_size,
        seed=args.seed,
        device=chosen_device(args),
        fuse=args.fuse,
    ) as net:
        names = [node.name for node in net.layers if node.bottom]
        if args.layer is not None and args.layer not in names:
            hint = nearest(args.layer, names) or f"; layers: {', '.join(names)}"
            raise UsageError(f"{args.net}: no layer '{args.layer}' to check{hint}")
        width = max([len(name) for name in names], default=0)
        failed: list[str] = []
        for check in check_net(
            net,
            layer=args.layer,
            samples=args.samples,
            seed=args.seed,
            tolerance=args.tolerance,
        ):
            print(_line(check, width, args.tolerance), flush=True)
            if not check.passed(args.tolerance):
                failed.append(check.name)
    if failed:
        print(f"FAIL: {', '.join(failed)}")
        return EXIT_FAILED
    print(f"PASS: no gradient differs by more than {args.tolerance:g}")
    return 0


def _line(check: LayerCheck, width: int, tolerance: float) -> str:
    start = f"{check.name:<{width}}  {check.type:<28}"
    if not check.arrays:
        return f"{start}  has no gradient"
    verdict = "PASS" if check.passed(tolerance) else "FAIL"
    checked = sum(array.checked for array in check.arrays)
    skipped = sum(array.skipped for array in check.arrays)
    line = (
        f"{start}  {verdict}  max relative error {check.worst.max_error:.1e} ({check.worst.name}), "
        f"{checked} checked, {skipped} skipped"
    )
    unjudged = [a.name for a in check.arrays if 2 * a.checked < a.wanted]
    return f"{line}; too few could be judged of {', '.join(unjudged)}" if unjudged else line
