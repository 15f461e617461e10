"""Makes the records of a list's images, and a data base of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drml.data.image_list import ImageList
from drml.data.images import Channels, Pixels, decode, encode, image_format, resize
from drml.data.lmdb_writer import LmdbWriter
from drml.data.prefetch import Prefetcher
from drml.data.samples import Shape, make_record, record_key
from drml.errors import DataError

QUALITY = 95
"""Of JPEG files, where nothing else is said."""


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
            data = encode(image, wanted, self.quality or QUALITY)
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
