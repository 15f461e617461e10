"""`convert LIST DB`: images and label vectors of a list, as an LMDB that Data layers read."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drml.commands.options import existing_file, non_negative_int, positive_int
from drml.data.image_list import ImageList, read_list
from drml.data.images import Channels, Pixels, decode, encode, image_format, resize
from drml.data.keyed import permutation, stream_key
from drml.data.labels import LabelCounts
from drml.data.lmdb_writer import LmdbWriter
from drml.data.prefetch import Prefetcher
from drml.data.samples import Shape, make_record, record_key
from drml.errors import DataError, UsageError

_DESCRIPTION = """\
Makes an LMDB of the images of a list with lines `path l1 ... lK`, in the order of the list. A
record holds the image as a JPEG or PNG file, which stock Caffe decodes too, and the labels: -1
absent, 0 unknown, 1 present. The data base appears when it is complete, and not at all after an
error.
"""
_QUALITY = 95


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
        help=f"of the JPEG files that are written (default: {_QUALITY})",
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


@dataclass(frozen=True)
class Encoder:
    """Makes the records of a list, in any number of threads.

    Attributes:
        images: the list, and the size that its images are resized to.
        encode: `keep`, `jpg` or `png`: how images are stored. A file that is so already, in color
            and of the right size, is not encoded anew.
        quality: of the JPEG files that are written; if it is given, all of them are.
    """

    images: ImageList
    encode: str = "keep"
    quality: int | None = None

    def record(self, index: int) -> tuple[bytes, Shape]:
        """The record of an image of the list, serialized, and the image's (H, W, C).

        Raises:
            DataError: the image cannot be read or decoded; names the list's line.
        """
        data = self.images.file(index)
        try:
            data, shape = self._stored(data)
        except DataError as error:
            raise DataError(f"{self.images.name(index)}: {error}") from error
        return make_record(data, shape, self.images.labels[index]), shape

    def _stored(self, data: bytes) -> tuple[bytes, Shape]:
        """The image file to store, and the shape of its image."""
        image, kind = _in_color(data)
        if self.images.size is not None and image.shape[:2] != self.images.size:
            image, kind = resize(image, self.images.size), ""
        wanted = (image_format(data) or "png") if self.encode == "keep" else self.encode
        if kind != wanted or (wanted == "jpg" and self.quality is not None):
            data = encode(image, wanted, self.quality or _QUALITY)
        return data, image.shape


def _in_color(data: bytes) -> tuple[Pixels, str]:
    """The image in color, and the format of the file if a Data layer would read it just so."""
    try:
        image = decode(data, Channels.NATIVE)
        if image.shape[2] == Channels.COLOR.value:
            return image, image_format(data)
    except DataError:
        # More than 8 bits a channel can be converted; what is broken fails once more.
        pass
    return decode(data, Channels.COLOR), ""


def run(args: argparse.Namespace) -> int:
    """Makes the data base and prints what it holds."""
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


def write_records(
    db: Path, encoder: Encoder, order: Sequence[int], *, threads: int = 2, force: bool = False
) -> tuple[set[Shape], int]:
    """Writes the records of the list's images, in that order, with a progress bar on a terminal.

    Returns:
        The shapes of the images, and the size of all records in bytes.

    Raises:
        DataError: an image cannot be read, or the data base cannot be written.
    """
    from tqdm import tqdm

    shapes: set[Shape] = set()
    size = 0
    prefetcher = Prefetcher(
        lambda place: encoder.record(order[place]),
        threads=threads,
        depth=8 * threads,
        count=len(order),
        name="convert",
    )
    with LmdbWriter(db, force=force) as writer:
        try:
            for place in tqdm(range(len(order)), unit="image", disable=None):
                record, shape = prefetcher.get(place)
                writer.put(record_key(place, encoder.images.names[order[place]]), record)
                shapes.add(shape)
                size += len(record)
        finally:
            prefetcher.close()
    return shapes, size


def _summary(db: Path, images: ImageList, shapes: set[Shape], size: int) -> list[str]:
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
