"""`upgrade IN OUT`: writes a net, weights or a solver of an older Caffe in today's form."""

from __future__ import annotations

import argparse
from pathlib import Path

from drml.commands.bare import is_solver
from drml.commands.options import existing_file, output_file
from drml.errors import UsageError

_DESCRIPTION = """\
Writes a file of an older Caffe in today's form: a net's text (V0 and V1 `layers`, `input` fields,
transformations in data layers, padding layers), a net's binary form with or without weights, or a
solver's text (`solver_type`). Text stays text, binary stays binary; comments are lost. OUT may be
IN.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "upgrade", help="write a file of an older Caffe in today's form", description=_DESCRIPTION
    )
    parser.add_argument(
        "file", type=existing_file, metavar="IN", help="a net, weights (.caffemodel) or a solver"
    )
    parser.add_argument("out", type=output_file, metavar="OUT", help="the file to write")


def run(args: argparse.Namespace) -> int:
    """Upgrades one file."""
    from drml.weights import atomic_write

    kind, content = upgraded(args.file)
    atomic_write(args.out, content)
    print(f"{args.out}: {kind} in today's form")
    return 0


def upgraded(path: Path) -> tuple[str, bytes]:
    """What a file is, and its content in today's form.

    Raises:
        DrmlError: it is neither net nor solver, or cannot be upgraded.
    """
    from google.protobuf import text_format

    from drml.hdf5_weights import is_hdf5
    from drml.prototxt import read_net, read_solver
    from drml.weights import is_text, read_net_weights

    if is_hdf5(path):
        raise UsageError(f"{path}: an HDF5 file; of these Caffe has one form only")
    with path.open("rb") as file:
        binary = not is_text(file.read(512))
    if binary:
        return "a binary net", read_net_weights(path).SerializeToString()
    if not is_solver(path):
        net = read_net(path).message
        return "a net", text_format.MessageToString(net, as_utf8=True).encode()
    solver = read_solver(path)
    for field, value in solver.message.ListFields():
        if field.name in ("net_param", "train_net_param"):
            value.CopyFrom(solver.net(field.name).message)
        elif field.name == "test_net_param":
            for index, net in enumerate(value):
                net.CopyFrom(solver.net(f"{field.name}[{index}]").message)
    return "a solver", text_format.MessageToString(solver.message, as_utf8=True).encode()
