"""`convert LIST DB`: images and label vectors of a list, as an LMDB that Data layers read."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from drml.commands.options import existing_file, non_negative_int, positive_int
from drml.errors import UsageError

if TYPE_CHECKING:
    from drml.data.image_list import ImageList
    from drml.data.samples import Shape

_DESCRIPTION = """\
Makes an LMDB of the images of a list with lines `path l1 ... lK`, in the order of the list. A
record holds the image as a JPEG or PNG file, which stock Caffe decodes too, and the labels: -1
absent, 0 unknown, 1 present. The data base appears when it is complete, and not at all after an
error.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "convert", help="make an LMDB of a list of images and labels", description=_DESCRIPTION
    )
    parser.add_argument("list", type=existing_file, metavar="LIST", help="the list")
    parser.add_argument("db", type=Path, metavar="DB", help="folder of the data base to make")
    add_list_options(parser)
    parser.add_argument(
        "--zero-is-negative", action="store_true", help="read label 0 as -1, absent"
    )
    parser.add_argument("--shuffle", action="store_true", help="write the records in random order")
    parser.add_argument(
        "--seed", type=non_negative_int, metavar="N", help="of --shuffle (default: 0)"
    )
    parser.add_argument(
        "--encode",
        choices=("keep", "jpg", "png"),
        default="keep",
        help="how images are stored; keep stores a color JPEG or PNG file of the right size as it "
        "is (default: %(default)s)",
    )
    parser.add_argument(
        "--quality",
        type=quality,
        metavar="1-100",
        help="of the JPEG files that are written (default: 95)",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace a data base that is there already"
    )


def add_list_options(parser: argparse.ArgumentParser) -> None:
    """Adds --root DIR and --resize HxW."""
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="folder that the paths of a list are relative to (default: the working folder, or the "
        "list's folder when the images are there)",
    )
    parser.add_argument(
        "--resize", type=image_size, metavar="HxW", help="height and width to resize the images to"
    )


def image_size(text: str) -> tuple[int, int]:
    """(height, width) from text such as `200x200`."""
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    if match is None or 0 in (size := (int(match[1]), int(match[2]))):
        raise argparse.ArgumentTypeError(
            f"must be height x width, such as 200x200, got {text[:80]!r}"
        )
    return size


def quality(text: str) -> int:
    """A JPEG quality, 1 to 100."""
    value = positive_int(text)
    if value > 100:
        raise argparse.ArgumentTypeError(f"must be 100 or less, got {text[:80]!r}")
    return value


def run(args: argparse.Namespace) -> int:
    """Makes the data base and prints what it holds."""
    from drml.data.convert import Encoder, write_records
    from drml.data.image_list import read_list
    from drml.data.keyed import permutation, stream_key

    if args.seed is not None and not args.shuffle:
        raise UsageError("--seed has a use with --shuffle only")
    if args.quality is not None and args.encode == "png":
        raise UsageError("--quality has a use for JPEG files only, not with --encode png")
    images = read_list(
        args.list,
        root=str(args.root or ""),
        size=args.resize,
        zero_is_negative=args.zero_is_negative,
    )
    order = range(len(images))
    if args.shuffle:
        order = permutation(stream_key(args.seed or 0, "convert"), len(images)).tolist()
    encoder = Encoder(images, args.encode, args.quality)
    shapes, size = write_records(args.db, encoder, order, threads=args.threads, force=args.force)
    print("\n".join(_summary(args.db, images, shapes, size)))
    return 0


def _summary(db: Path, images: ImageList, shapes: set[Shape], size: int) -> list[str]:
    from drml.data.labels import LabelCounts

    sizes = sorted({f"{height}x{width}" for height, width, _ in shapes})
    shown = ", ".join(sizes[:3]) + (f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else "")
    lines = [
        f"{db}: {len(images)} images of {shown}, {images.label_shape[0]} labels each, "
        f"{size / 1e6:.1f} MB",
        f"{'column':>6} {'positive':>9} {'negative':>9} {'unknown':>9}",
    ]
    for row in LabelCounts.of(images.labels).rows():
        lines.append("{:>6} {:>9} {:>9} {:>9}".format(*row))
    return lines
