"""`import NET WEIGHTS.npz OUT.caffemodel`: named arrays as weights of a net."""

from __future__ import annotations

import argparse
from pathlib import Path

from drml.commands.options import existing_file, output_file

SUFFIXES = (".npz", ".safetensors")

_DESCRIPTION = """\
Makes a .caffemodel of arrays that are named layer/index, as 'drml export' writes them. Every
parameter blob of the net has to be there in its shape, and nothing else.
"""


def _arrays(text: str) -> Path:
    path = existing_file(text)
    if path.suffix not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"{path}: must end in {' or '.join(SUFFIXES)}")
    return path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "import", help="make weights of an .npz or .safetensors file", description=_DESCRIPTION
    )
    parser.add_argument("net", type=existing_file, metavar="NET.prototxt", help="the net")
    parser.add_argument(
        "arrays", type=_arrays, metavar="WEIGHTS", help="an .npz or .safetensors file"
    )
    parser.add_argument(
        "out", type=output_file, metavar="OUT.caffemodel", help="what to write; HDF5 if .h5"
    )


def run(args: argparse.Namespace) -> int:
    """Reads, checks and writes the weights."""
    from drml.commands.nets import synthetic_net
    from drml.export.arrays import load_arrays, read_arrays

    arrays = read_arrays(args.arrays)
    with synthetic_net(args.net, "TEST", device="cpu") as net:
        load_arrays(net, args.arrays, arrays)
        net.save(args.out)
    print(f"wrote {args.out}: {len(arrays)} blobs")
    return 0
