"""The mean image of a data set, which Caffe's transform subtracts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drml.data.image_list import read_list
from drml.data.images import resize
from drml.data.kinds import Kind, kind_of
from drml.data.lmdb_source import LmdbSource
from drml.data.prefetch import Prefetcher
from drml.data.samples import ImageSource, Shape
from drml.errors import DataError

_PART = 64  # images that one thread adds up at a time


def open_images(path: Path, root: str = "") -> ImageSource:
    """The images of an LMDB or list, whatever its labels mean.

    Raises:
        DataError: it cannot be read, or holds no images.
    """
    kind = kind_of(path)
    if kind is Kind.HDF5_LIST:
        raise DataError(f"{path}: lists HDF5 files; a mean image needs an LMDB or a list of images")
    # Labels 0 and 1 are no reason to refuse where only pixels count.
    if kind is Kind.LMDB:
        return LmdbSource(path, zero_is_negative=True)
    return read_list(path, root=root, zero_is_negative=True)


def compute_mean(
    source: ImageSource,
    *,
    size: tuple[int, int] | None = None,
    threads: int = 2,
    progress: Callable[[int], object] | None = None,
) -> npt.NDArray[np.float32]:
    """The mean over all images of a source, summed in float64.

    Args:
        source: of the images.
        size: (height, width) to resize them to first; None needs images of one size.
        threads: background threads; the result does not depend on them.
        progress: called with the number of images that were added.

    Returns:
        (C, H, W) float32.

    Raises:
        DataError: an image cannot be read, or is not of the size of the first.
    """

    def read(index: int) -> npt.NDArray[Any]:
        pixels = source.read(index).pixels
        return pixels if size is None else resize(pixels, size)

    shape = read(0).shape

    def add_up(part: int) -> npt.NDArray[np.float64]:
        total = np.zeros(shape)
        for index in range(part * _PART, min((part + 1) * _PART, len(source))):
            pixels = read(index)
            if pixels.shape != shape:
                raise DataError(
                    f"{source.name(index)}: the image is {_size(pixels.shape)}, but the first is "
                    f"{_size(shape)} (height x width x channels); resize to one size"
                )
            total += pixels
        return total

    parts = -(-len(source) // _PART)
    prefetcher = Prefetcher(add_up, threads=threads, depth=2 * threads, count=parts, name="mean")
    total = np.zeros(shape)
    try:
        for part in range(parts):
            total += prefetcher.get(part)
            if progress is not None:
                progress(min(_PART, len(source) - part * _PART))
    finally:
        prefetcher.close()
    return (total / len(source)).transpose(2, 0, 1).astype(np.float32)


def _size(shape: Shape) -> str:
    return "x".join(str(size) for size in shape)
