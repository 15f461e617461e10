"""`mean DB_OR_LIST OUT`: the mean image that a net's transform subtracts, as a .binaryproto."""

from __future__ import annotations

import argparse
from pathlib import Path

from drml.commands.convert import add_list_options
from drml.commands.options import output_file

_DESCRIPTION = """\
Computes the mean over all images of an LMDB, or of a list with lines `path l1 ... lK`, and writes
it as Caffe's .binaryproto, for mean_file in transform_param. Use training images only. Prints the
mean of each channel (blue, green, red), for mean_value.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "mean", help="compute the mean image of an LMDB or list", description=_DESCRIPTION
    )
    parser.add_argument(
        "source", type=Path, metavar="DB_OR_LIST", help="an LMDB's folder, or a list"
    )
    parser.add_argument("out", type=output_file, metavar="OUT", help="the .binaryproto to write")
    add_list_options(parser)


def run(args: argparse.Namespace) -> int:
    """Computes and writes the mean, and prints its channels."""
    from tqdm import tqdm

    from drml.data.mean import compute_mean, open_images
    from drml.weights import write_mean

    source = open_images(args.source, root=str(args.root or ""))
    try:
        with tqdm(total=len(source), unit="image", disable=None) as bar:
            mean = compute_mean(source, size=args.resize, threads=args.threads, progress=bar.update)
    finally:
        source.close()
    write_mean(args.out, mean)
    channels, height, width = mean.shape
    print(f"{args.out}: mean of {len(source)} images, {channels}x{height}x{width}")
    for value in mean.mean(axis=(1, 2), dtype=float):
        print(f"mean_value: {value:.4f}")
    return 0
