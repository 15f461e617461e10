"""Caffe's DataTransformer: crop, mirror, mean and scale, from stored pixels to the net's input.

    out = scale * (pixel - mean)

The mean image belongs to the uncropped picture: each pixel loses the mean of its own place, also
when it is cropped or mirrored. A crop is random in TRAIN and central in TEST; `mirror` turns every
second sample at random, in both phases, as Caffe does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from drml.data.keyed import Draws
from drml.data.samples import Shape
from drml.errors import DataError
from drml.proto import caffe_pb2 as pb

Array = npt.NDArray[np.float32]
_MOST_FLIPPED = 4  # channels up to which OpenCV's flip is asked


class Transformer:
    """Transforms samples as a layer's transform_param says.

    Args:
        param: mirror, crop_size, mean_value and scale are read here.
        phase: pb.TRAIN or pb.TEST.
        mean: mean image (C, H, W) of the size of the uncropped images, or None.

    Raises:
        DataError: a mean image and mean values together, or force_color and force_gray.
    """

    def __init__(
        self, param: pb.TransformationParameter, phase: int, mean: npt.ArrayLike | None = None
    ) -> None:
        if mean is not None and param.mean_value:
            raise DataError("mean_file and mean_value cannot both be set")
        if param.force_color and param.force_gray:
            raise DataError("force_color and force_gray cannot both be set")
        self._crop = param.crop_size
        self._mirror = param.mirror
        self._scale = np.float32(param.scale)
        self._random_crop = phase == pb.TRAIN
        self._values = np.array(param.mean_value, np.float32)
        self._mean: Array | None = None
        if mean is not None:
            image = np.asarray(mean, np.float32)
            self._mean = np.ascontiguousarray(image.transpose(1, 2, 0))

    def output_shape(self, shape: Shape) -> tuple[int, int, int]:
        """(H, W, C) of the net's input for pixels of `shape` (H, W, C).

        Raises:
            DataError: the crop is larger than the image, or the mean does not fit it.
        """
        height, width, channels = shape
        if self._crop > min(height, width):
            raise DataError(
                f"crop_size {self._crop} is larger than the image, {height}x{width} "
                "(height x width)"
            )
        if self._mean is not None and self._mean.shape != shape:
            raise DataError(
                f"the mean image is {_chw(self._mean.shape)}, but the image is {_chw(shape)} "
                "(channels x height x width)"
            )
        if len(self._values) not in (0, 1, channels):
            raise DataError(
                f"{len(self._values)} mean_values for {channels} channels; give one, or one each"
            )
        return (self._crop or height, self._crop or width, channels)

    def apply(self, pixels: npt.NDArray[Any], out: Array, draws: Draws) -> None:
        """Transforms one sample.

        Args:
            pixels: (H, W, C), uint8 or float32.
            out: receives the result; of `output_shape(pixels.shape)`, row-major.
            draws: the sample's random numbers.

        Raises:
            DataError: as `output_shape`.
        """
        height, width, channels = self.output_shape(pixels.shape)
        mirror = self._mirror and draws.below(2) == 1
        spare = (pixels.shape[0] - height, pixels.shape[1] - width)
        if self._random_crop and self._crop:
            top, left = draws.below(spare[0] + 1), draws.below(spare[1] + 1)
        else:
            top, left = spare[0] // 2, spare[1] // 2
        window = (slice(top, top + height), slice(left, left + width))
        if self._mean is not None:
            np.subtract(pixels[window], self._mean[window], out=out)
        elif len(self._values):
            # One row of mean values, not one pixel: long inner loops are ten times faster.
            row = np.tile(self._values, (width, channels // len(self._values)))
            np.subtract(pixels[window], row, out=out)
        else:
            out[...] = pixels[window]
        if self._scale != 1:
            out *= self._scale
        if mirror:
            _flip(out)


def _flip(image: Array) -> None:
    """Mirrors (H, W, C) left to right, in place."""
    if image.shape[2] <= _MOST_FLIPPED:
        import cv2

        cv2.flip(image, 1, dst=image)
    else:
        image[...] = image[:, ::-1].copy()


def _chw(shape: Shape) -> str:
    height, width, channels = shape
    return f"{channels}x{height}x{width}"
