"""What a source of samples gives, and the records of our data bases (Caffe's Datum)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from drml.data.images import Channels, decode
from drml.errors import DataError
from drml.proto import caffe_pb2 as pb

Shape = tuple[int, ...]
_LONGEST_KEY = 511


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample as it is stored.

    Attributes:
        pixels: (H, W, C), uint8 or float32.
        label: float32 of the source's `label_shape`.
    """

    pixels: npt.NDArray[Any]
    label: npt.NDArray[np.float32]


class ImageSource(Protocol):
    """Samples by index, from any thread."""

    @property
    def label_shape(self) -> Shape:
        """Shape of one sample's label: () for one number, (K,) for a vector."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def read(self, index: int) -> Sample:
        """Reads and decodes a sample; a DataError names it."""
        ...

    def name(self, index: int) -> str:
        """Where the sample comes from, for messages."""
        ...

    def key(self, index: int) -> str:
        """What the source calls the sample: its key in a data base, its path in a list."""
        ...

    def close(self) -> None:
        """Closes files."""
        ...


def make_record(image: bytes, shape: Shape, labels: npt.ArrayLike) -> bytes:
    """The value of a record: an image file's bytes with a label vector.

    Stock Caffe reads the image too; it sees label 0.

    Args:
        image: bytes of a JPEG or PNG file.
        shape: (H, W, C) of the decoded image.
        labels: -1, 0 or 1 per AU.
    """
    datum = pb.Datum(height=shape[0], width=shape[1], channels=shape[2], data=image, encoded=True)
    datum.label = 0
    datum.float_data.extend(np.asarray(labels, np.float32).tolist())
    return datum.SerializeToString()


def record_key(index: int, name: str) -> bytes:
    """The key of record `index`: keys sort in the order of the list, whatever the names."""
    key = f"{index:08d}_{name}".encode("utf-8", "surrogateescape")
    return key if len(key) <= _LONGEST_KEY else key[:9] + key[9 - _LONGEST_KEY :]


def parse_record(
    value: bytes, channels: Channels = Channels.NATIVE, *, zero_is_negative: bool = False
) -> Sample:
    """A sample from a record's value: ours, or any that stock Caffe reads.

    Args:
        value: a serialized Datum.
        channels: what to make of an encoded image's channels (force_color, force_gray).
        zero_is_negative: read label 0 as -1.

    Raises:
        DataError: not a Datum, or pixels that are missing, broken or of the wrong number.
    """
    datum = _datum(value)
    label = _label(datum)
    if zero_is_negative:
        label = np.where(label == 0, np.float32(-1), label)
    return Sample(_pixels(datum, channels), label)


def parse_label(value: bytes) -> npt.NDArray[np.float32]:
    """The label of a record alone, without decoding its image.

    Raises:
        DataError: not a Datum.
    """
    return _label(_datum(value))


def _datum(value: bytes) -> pb.Datum:
    datum = pb.Datum()
    try:
        datum.ParseFromString(value)
    except DecodeError as error:
        raise DataError("is not a Datum") from error
    return datum


def _label(datum: pb.Datum) -> npt.NDArray[np.float32]:
    # Stock Caffe never looks at float_data where there is data, so it is free for the label vector.
    if datum.data and datum.float_data:
        return np.array(datum.float_data, np.float32)
    return np.array(datum.label, np.float32)


def _pixels(datum: pb.Datum, channels: Channels) -> npt.NDArray[Any]:
    if datum.encoded:
        return decode(datum.data, channels)
    shape = (datum.channels, datum.height, datum.width)
    if channels is not Channels.NATIVE and datum.channels != channels.value:
        raise DataError(
            f"holds raw pixels of {datum.channels} channels; force_color and force_gray convert "
            "encoded images only"
        )
    pixels: npt.NDArray[Any]
    if datum.data:
        pixels = np.frombuffer(datum.data, np.uint8)
    else:
        pixels = np.array(datum.float_data, np.float32)
    if min(shape) <= 0 or pixels.size != prod(shape):
        raise DataError(
            f"holds {pixels.size} pixel values, which is not its shape {shape} "
            "(channels, height, width)"
        )
    return pixels.reshape(shape).transpose(1, 2, 0)
