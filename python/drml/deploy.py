"""Runs a deploy net, whose data come through Input layers, on images or on random numbers."""

from __future__ import annotations

import glob
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drml.blob import Array
from drml.data.images import IMAGE_SUFFIXES, Channels, Pixels, decode, resize
from drml.errors import DataError, NetError, WeightsError
from drml.metrics import au_names
from drml.net import Net

_ACTIVATIONS = frozenset({"Sigmoid"})
_LOGITS = frozenset({"InnerProduct", "Convolution"})


def find_images(words: Sequence[str]) -> list[Path]:
    """The image files that files, folders and glob patterns name, in that order, sorted in each.

    Raises:
        DataError: a name stands for nothing, or a folder holds no image.
    """
    found: list[Path] = []
    for word in words:
        path = Path(word)
        if path.is_dir():
            images = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            if not images:
                raise DataError(f"{word}: no image in this folder")
            found += images
        elif path.exists():
            found.append(path)
        else:
            matches = sorted(Path(match) for match in glob.glob(word, recursive=True))
            if not matches:
                what = "no file matches" if glob.has_magic(word) else "no such file or folder"
                raise DataError(f"{word}: {what}")
            found += [match for match in matches if match.is_file()]
    return found


def image_input(net: Net) -> str:
    """Name of the one input that takes images.

    Raises:
        NetError: the net has another number of inputs, or its input is no image.
    """
    if len(net.inputs) != 1:
        names = ", ".join(net.inputs) or "none"
        raise NetError(f"{net.path}: images need a net with one input, this one has {names}")
    shape = net.blobs[net.inputs[0]].shape
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise NetError(
            f"{net.path}: input '{net.inputs[0]}' has shape {shape}; images are (N, 3, H, W), or "
            "(N, 1, H, W) in gray"
        )
    return net.inputs[0]


class Preparation:
    """Makes of images what a net's input takes: BGR, mean subtracted, cropped from the center.

    Args:
        shape: (C, H, W) of the input.
        mean: mean image (C, H', W'), at least as large; None subtracts nothing.
        size: (height, width) that images are resized to where there is no mean, at least the
            input's and by default just that; with a mean it is the mean's.

    Raises:
        WeightsError: the mean image does not fit.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        mean: Array | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        self._shape = shape
        if mean is not None and (
            mean.shape[0] != shape[0] or mean.shape[1] < shape[1] or mean.shape[2] < shape[2]
        ):
            raise WeightsError(
                f"the mean image is {_by(mean.shape)}, too small or of other channels than the "
                f"net's input, {_by(shape)} (channels x height x width)"
            )
        self._mean = None if mean is None else mean.transpose(1, 2, 0)
        self.size: tuple[int, int] = (shape[1], shape[2]) if size is None else size
        if mean is not None:
            self.size = (mean.shape[1], mean.shape[2])

    def __call__(self, path: Path) -> Array:
        """The image of a file, float32 (C, H, W).

        Raises:
            DataError: the file cannot be read or decoded; names it.
        """
        channels = Channels.COLOR if self._shape[0] == 3 else Channels.GRAY
        try:
            return self.of_pixels(decode(path.read_bytes(), channels))
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    def of_pixels(self, image: Pixels) -> Array:
        """An image (H, W, 3), or of as many channels as the input has, as float32 (C, H, W)."""
        import cv2

        if self._shape[0] == 1 and image.shape[2] == 3:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[:, :, np.newaxis].astype(np.uint8)
        pixels = resize(image, self.size).astype(np.float32)
        if self._mean is not None:
            pixels -= self._mean
        return self._crop(pixels).transpose(2, 0, 1)

    def picture(self, prepared: Array) -> Pixels:
        """The image (H, W, C) behind what a net takes: the mean added, 8 bits."""
        pixels = prepared.transpose(1, 2, 0)
        if self._mean is not None:
            pixels = pixels + self._crop(self._mean)
        return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)

    def _crop(self, pixels: Array) -> Array:
        _, height, width = self._shape
        top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
        return pixels[top : top + height, left : left + width]


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


@dataclass(frozen=True)
class Predictions:
    """What a net said.

    Attributes:
        names: of the images.
        outputs: output blob -> its values, the images on axis 0.
        frame_ms: mean time of forward per image; memory was allocated before.
    """

    names: list[str]
    outputs: dict[str, Array]
    frame_ms: float


def predict_images(
    net: Net,
    images: Sequence[Path],
    prepare: Callable[[Path], Array],
    progress: Callable[[int], object] | None = None,
) -> Predictions:
    """Runs forward on image files, as `predict_arrays` does.

    Raises:
        DataError: an image cannot be read.
    """
    return predict_arrays(net, ((str(path), prepare(path)) for path in images), progress)


def predict_arrays(
    net: Net,
    images: Iterable[tuple[str, Array]],
    progress: Callable[[int], object] | None = None,
) -> Predictions:
    """Runs forward on images, in batches of the input's size; the last one may be smaller.

    Args:
        net: a net with one input.
        images: name and array (C, H, W) of each; at least one.
        progress: is told the size of each batch.
    """
    blob = net.blobs[image_input(net)]
    size = blob.shape[0]
    names: list[str] = []
    collected: list[dict[str, Array]] = []
    seconds = 0.0
    left = iter(images)
    while batch := list(itertools.islice(left, size)):
        arrays = np.stack([array for _, array in batch])
        blob.reshape(*arrays.shape)
        blob.data = arrays
        if not names:
            net.forward()
        outputs, spent = _timed_forward(net)
        names += [name for name, _ in batch]
        collected.append(outputs)
        seconds += spent
        if progress is not None:
            progress(len(batch))
    joined = {
        name: np.concatenate([np.atleast_1d(outputs[name]) for outputs in collected])
        for name in collected[0]
    }
    return Predictions(names, joined, 1000 * seconds / len(names))


def predict_random(net: Net, iterations: int) -> Predictions:
    """Runs forward on what the net's inputs hold, several times for the clock."""
    net.forward()
    seconds = 0.0
    outputs: dict[str, Array] = {}
    for _ in range(iterations):
        outputs, spent = _timed_forward(net)
        seconds += spent
    size = net.blobs[net.inputs[0]].shape[0] if net.inputs else 1
    frame_ms = 1000 * seconds / iterations / max(size, 1)
    return Predictions([f"random {index}" for index in range(size)], outputs, frame_ms)


def _timed_forward(net: Net) -> tuple[dict[str, Array], float]:
    started = time.perf_counter()
    outputs = net.forward()
    return outputs, time.perf_counter() - started


def au_scores(
    net: Net, predictions: Predictions, names: Sequence[str] | None = None
) -> tuple[list[str], Array] | None:
    """Names and probabilities (images, AUs) of the first output that scores action units.

    That is an output with one number per AU and image, by a Sigmoid, or logits of an InnerProduct
    or Convolution, to which the sigmoid is applied.

    Args:
        net: the net that was run.
        predictions: what it said.
        names: AU numbers; None takes BP4D's for 12 outputs and DISFA's for 8, no AUs for others.

    Returns:
        None when no output scores AUs.

    Raises:
        UsageError: `names` are not as many as the outputs.
    """
    for blob, values in predictions.outputs.items():
        maker = next((n.type for n in reversed(net.layers) if blob in n.top_names), "")
        count = len(predictions.names)
        if maker not in _ACTIVATIONS | _LOGITS or values.ndim < 2 or len(values) != count:
            continue
        scores = values.reshape(count, -1)
        chosen = au_names(scores.shape[1], names)
        if names is None and not all(name.isdigit() for name in chosen):
            continue
        if maker in _LOGITS:
            # Bounded so that exp cannot overflow; float32 is 0 or 1 long before.
            bounded = np.clip(scores.astype(np.float64), -500, 500)
            scores = (1 / (1 + np.exp(-bounded))).astype(np.float32)
        return [f"AU{name}" for name in chosen], scores
    return None
