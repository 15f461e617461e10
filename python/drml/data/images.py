"""Image files: reading, decoding, resizing and encoding, by OpenCV: 8 bits, BGR, (H, W, C)."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drml.errors import DataError

Pixels = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Endings, in lower case, of the files in a folder that are taken for images."""

_JPEG_START = b"\xff\xd8"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
# A JPEG marker with a length after it, or the end of the image; restart markers and stuffed bytes
# belong to the compressed data.
_JPEG_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")


class Channels(Enum):
    """What to make of an image's channels.

    COLOR and GRAY convert; NATIVE keeps what the file holds, as Caffe does for encoded records. The
    orientation that a camera noted in a JPEG is applied in all of them.
    """

    COLOR = 3
    GRAY = 1
    NATIVE = 0


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: the file cannot be read; the message names it.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        # ValueError: a path with a null character.
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def image_format(data: bytes) -> str:
    """`jpg`, `png`, or '' for any other kind of image file."""
    if data.startswith(_JPEG_START):
        return "jpg"
    return "png" if data.startswith(_PNG_START) else ""


def is_whole(data: bytes) -> bool:
    """Whether a JPEG or PNG file has its end; some decoders fill what is missing with gray."""
    if data.startswith(_PNG_START):
        return _PNG_END in data
    if not data.startswith(_JPEG_START):
        return True
    at = 2
    while (marker := _JPEG_MARKER.search(data, at)) is not None:
        if marker[1] == b"\xd9":
            return True
        at = marker.end() + max(int.from_bytes(data[marker.end() : marker.end() + 2], "big"), 2)
    return False


def decode(data: bytes, channels: Channels = Channels.COLOR) -> Pixels:
    """Decodes the bytes of an image file to (H, W, C).

    Raises:
        DataError: empty, cut short, not an image, or more than 8 bits a channel.
    """
    import cv2

    if not data:
        raise DataError("the image is empty")
    if not is_whole(data):
        raise DataError("the image is cut short")
    if channels is Channels.COLOR:
        flags = cv2.IMREAD_COLOR
    elif channels is Channels.GRAY:
        flags = cv2.IMREAD_GRAYSCALE
    elif data.startswith(_JPEG_START):
        # A JPEG has no more than colors, and IMREAD_UNCHANGED would not turn it.
        flags = cv2.IMREAD_ANYCOLOR
    else:
        flags = cv2.IMREAD_UNCHANGED
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DataError(f"the image cannot be decoded ({error.err})") from error
    if image is None:
        raise DataError("the image cannot be decoded")
    if image.dtype != np.uint8:
        raise DataError(f"the image has {8 * image.itemsize} bits a channel; 8 are needed")
    return _three_axes(image)


def resize(image: Pixels, size: tuple[int, int]) -> Pixels:
    """The image at (height, width), bilinear as in Caffe."""
    import cv2

    return _three_axes(cv2.resize(image, (size[1], size[0])))


def _three_axes(image: npt.ArrayLike) -> Pixels:
    pixels = np.asarray(image, np.uint8)
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels


def encode(image: Pixels, kind: str, quality: int = 95) -> bytes:
    """The image as the bytes of a `jpg` (of that quality, 1 to 100) or `png` file."""
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == "jpg" else []
    written, data = cv2.imencode(f".{kind}", image, options)
    if not written:
        raise DataError(f"an image of shape {image.shape} cannot be written as {kind}")
    return data.tobytes()
