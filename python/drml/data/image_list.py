"""Image lists: the authors', `path l1 ... lK` per line with labels in {-1, 0, 1}, and Caffe's,
`path label` with the number of a class."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drml.data.images import Channels, decode, resize
from drml.data.labels import LabelCounts, check_convention, parse_labels
from drml.data.samples import Sample, Shape
from drml.data.text_list import read_lines
from drml.errors import DataError

# float32 holds every whole number of seven digits.
_WHOLE = re.compile(r"[+-]?[0-9]{1,7}")


@dataclass(frozen=True, eq=False)
class ImageList:
    """A list that was read and checked; a source of samples by index.

    Attributes:
        path: of the list.
        folder: what the images' paths are relative to.
        names: the images' paths as the list has them.
        lines: line number of each image.
        labels: (images, columns) of -1, 0 and 1; (images,) of class numbers.
        channels: COLOR or GRAY.
        size: (height, width) that images are resized to; None keeps theirs.
    """

    path: Path
    folder: str
    names: list[str]
    lines: list[int]
    labels: npt.NDArray[Any]
    channels: Channels = Channels.COLOR
    size: tuple[int, int] | None = None

    @property
    def label_shape(self) -> Shape:
        """(K,): the number of labels of an image; () of a class number."""
        return self.labels.shape[1:]

    def __len__(self) -> int:
        return len(self.names)

    def image_path(self, index: int) -> str:
        """Path of an image as it is opened."""
        return _join(self.folder, self.names[index])

    def name(self, index: int) -> str:
        """`list:line: image path`."""
        return f"{self.path}:{self.lines[index]}: {self.image_path(index)}"

    def key(self, index: int) -> str:
        """The image's path as the list has it."""
        return self.names[index]

    def file(self, index: int) -> bytes:
        """The bytes of an image's file.

        Raises:
            DataError: the file cannot be read; names the list's line.
        """
        try:
            with open(self.image_path(index), "rb") as file:
                return file.read()
        except OSError as error:
            raise DataError(f"{self.name(index)}: {error.strerror or error}") from error

    def read(self, index: int) -> Sample:
        """Reads, decodes and resizes an image.

        Raises:
            DataError: the image cannot be read or decoded; names the list's line.
        """
        data = self.file(index)
        try:
            image = decode(data, self.channels)
        except DataError as error:
            raise DataError(f"{self.name(index)}: {error}") from error
        if self.size is not None:
            image = resize(image, self.size)
        return Sample(image, np.asarray(self.labels[index], np.float32))

    def close(self) -> None:
        """Nothing stays open."""


def _join(folder: str, name: str) -> str:
    # Caffe joins the two as text, so a leading slash does not leave the root folder.
    return f"{folder.rstrip('/')}/{name.lstrip('/')}" if folder else name


def read_list(
    path: Path,
    *,
    label_count: int | None = None,
    root: str = "",
    channels: Channels = Channels.COLOR,
    size: tuple[int, int] | None = None,
    zero_is_negative: bool = False,
    learning: bool = False,
) -> ImageList:
    """Reads and checks a list: every label, and that every image is there.

    Args:
        path: of the list.
        label_count: labels per line; None takes the number of the first line.
        root: folder that the images' paths are relative to; '' takes the working folder, or the
            list's own folder when the first image is only there.
        channels: COLOR or GRAY.
        size: (height, width) to resize the images to.
        zero_is_negative: read label 0 as -1.
        learning: whether a net learns from the list, so that it needs known labels.

    Raises:
        DataError: names list and line: not a text, empty, a short or long line, a label that is
            not -1, 0 or 1, labels 0 and 1 only, a missing image.
    """
    names: list[str] = []
    lines: list[int] = []
    rows: list[list[int]] = []
    folder: str | None = None
    for number, line in read_lines(path, "images"):
        tokens = line.split()
        where = f"{path}:{number}"
        if label_count is None:
            label_count = _count_labels(tokens, where)
        name, row = _parse(line, tokens, label_count, where)
        if folder is None:
            folder = _folder(name, root, path, where)
        if not os.path.isfile(_join(folder, name)):
            raise DataError(f"{where}: no image {_join(folder, name)}")
        names.append(name)
        lines.append(number)
        rows.append(row)
    labels = np.array(rows, np.int8)
    if zero_is_negative:
        labels[labels == 0] = -1
    check_convention(LabelCounts.of(labels), str(path), learning=learning)
    return ImageList(path, folder or "", names, lines, labels, channels, size)


def read_class_list(
    path: Path,
    *,
    root: str = "",
    channels: Channels = Channels.COLOR,
    size: tuple[int, int] | None = None,
) -> ImageList:
    """Reads and checks a list of Caffe's ImageData layer: a path and a whole number a line.

    Args:
        path: of the list.
        root, channels, size: as for `read_list`.

    Raises:
        DataError: names list and line: not a text, empty, no label or none that is a whole number,
            a missing image.
    """
    names: list[str] = []
    lines: list[int] = []
    labels: list[float] = []
    folder: str | None = None
    for number, line in read_lines(path, "images"):
        where = f"{path}:{number}"
        # The path may have spaces in it.
        name, *rest = line.rsplit(None, 1)
        if not rest:
            raise DataError(f"{where}: no label; a line is `path label`: {line!r}")
        label = rest[0]
        if not _WHOLE.fullmatch(label):
            raise DataError(f"{where}: label {label!r} is no whole number of seven digits")
        if folder is None:
            folder = _folder(name, root, path, where)
        if not os.path.isfile(_join(folder, name)):
            raise DataError(f"{where}: no image {_join(folder, name)}")
        names.append(name)
        lines.append(number)
        labels.append(float(label))
    return ImageList(path, folder or "", names, lines, np.array(labels, np.float32), channels, size)


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _count_labels(tokens: list[str], where: str) -> int:
    count = 0
    while count < len(tokens) - 1 and _is_number(tokens[-1 - count]):
        count += 1
    if count == 0:
        raise DataError(f"{where}: no labels; a line is `path l1 ... lK`")
    return count


def _parse(line: str, tokens: list[str], count: int, where: str) -> tuple[str, list[int]]:
    """Path and labels of a line; the path may have spaces in it."""
    given = len(tokens) - 1
    if given < count:
        raise DataError(f"{where}: {given} labels, but {count} are needed: {line!r}")
    name = tokens[0] if given == count else line.rsplit(None, count)[0]
    if given > count and _is_number(name.rsplit(None, 1)[-1]):
        given = _count_labels(tokens, where)
        raise DataError(f"{where}: {given} labels, but {count} are needed: {line!r}")
    try:
        return name, parse_labels(tokens[len(tokens) - count :])
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _folder(name: str, root: str, path: Path, where: str) -> str:
    """Where the list's first image is, which holds for all of them."""
    folders = [root] if root else ["", str(path.parent)]
    for folder in folders:
        if os.path.isfile(_join(folder, name)):
            return folder
    tried = " or ".join(dict.fromkeys(_join(folder, name) for folder in folders))
    raise DataError(f"{where}: no image {tried}")
