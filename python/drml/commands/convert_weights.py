"""`convert-weights W --from NET --to NET2 OUT`: weights for a net that is written otherwise."""

from __future__ import annotations

import argparse

from drml.commands.options import add_phase, existing_file, output_file

_DESCRIPTION = """\
Writes the weights of one net as those of another that computes the same: a region layer in the long
form of DRML's authors (Box, branches, Splice, Eltwise) and one Region layer, either way. Layers are
paired by name, the others in their order; parameters have to agree in shape.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "convert-weights",
        help="rewrite weights for the same net in another form",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "weights", type=existing_file, metavar="W.caffemodel", help="the weights to convert"
    )
    parser.add_argument("output", type=output_file, metavar="OUT.caffemodel", help="what to write")
    parser.add_argument(
        "--from",
        dest="source",
        type=existing_file,
        required=True,
        metavar="NET.prototxt",
        help="the net that the weights are of",
    )
    parser.add_argument(
        "--to",
        dest="target",
        type=existing_file,
        required=True,
        metavar="NET2.prototxt",
        help="the net that they are to be for",
    )
    add_phase(parser, "TRAIN")


def run(args: argparse.Namespace) -> int:
    """Converts, and prints which layers were paired under different names."""
    from drml.commands.nets import synthetic_net
    from drml.convert_weights import convert_weights
    from drml.errors import WeightsError
    from drml.net_weights import read_weights

    held = {name for name, arrays in read_weights(args.weights) if arrays}
    with (
        synthetic_net(args.source, args.phase, weights=args.weights, device="cpu") as source,
        synthetic_net(args.target, args.phase, device="cpu") as target,
    ):
        missing = [name for name in source.params if name not in held]
        if missing:
            raise WeightsError(
                f"{args.weights} has no weights for {len(missing)} of {len(source.params)} layers "
                f"of {args.source}, such as '{missing[0]}'"
            )
        pairs = convert_weights(source, target)
        target.save(args.output)
    for ours, theirs in pairs:
        if ours.name != theirs.name:
            print(f"'{ours.name}' became '{theirs.name}'")
    for note in source.notes:
        print(f"note: {note}")
    print(f"wrote {args.output}: parameters of {len(pairs)} layers")
    return 0
