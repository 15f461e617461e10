"""Saliency: how strongly each pixel of a face moves one AU's score ("active region" of the poster).

The map of an AU is the magnitude of the gradient of its logit with respect to each input pixel, the
greatest over the color channels. It is the logit's and not the probability's, whose gradient
vanishes for faces of which the net is sure, and no loss or label comes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from drml.blob import Array
from drml.data.images import Pixels
from drml.deploy import image_input
from drml.errors import NetError, UsageError
from drml.layer_node import LayerNode
from drml.metrics import au_names
from drml.nearest import nearest
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import read_net
from drml.running_statistics import RunningStatistics

BATCH = 8
_LOGITS = frozenset({"InnerProduct", "Convolution"})
_BRIGHTEST = 99.5  # percentile of a map that is drawn as its greatest value


class LogitGradients:
    """Gradients of a deploy net's logits, in phase TEST.

    The net is built with force_backward, and backward starts at the layer that makes the logits:
    the bottom of the Sigmoid, or the output of an InnerProduct or Convolution.

    Args:
        net: path of a deploy prototxt, with one input that takes images.
        weights: its .caffemodel; None: initial weights.
        aus: names of the outputs; None: BP4D's for 12 and DISFA's for 8, else `output 0` ...
        device: where to compute; None: the default device.
        learn: names of layers whose parameter gradients are wanted too, see `param_gradient`.

    Attributes:
        net: the net.
        aus: names of the outputs.
        shape: (C, H, W) of an image.

    Raises:
        NetError: the net takes no images, or none of its outputs scores AUs.
        UsageError: `aus` are not as many as the outputs.
    """

    def __init__(
        self,
        net: str | PathLike[str],
        weights: str | PathLike[str] | None = None,
        *,
        aus: Sequence[str] | None = None,
        device: str | None = None,
        learn: Sequence[str] = (),
    ) -> None:
        file = read_net(net)
        file.message.force_backward = True
        self.net = Net(file, weights, pb.TEST, device=device)
        try:
            self._input = self.net.blobs[image_input(self.net)]
            self._maker, self._logits = _logits(self.net)
            count = self.net.blobs[self._logits].count // self._input.num
            self.aus = au_names(count, aus)
            # Gradients of parameters would cost as much as all else, and much memory.
            for node in self.net.layers:
                if node.name not in learn:
                    node.layer.propagate_to_params = [False] * len(node.layer.blobs)
        except BaseException:
            self.close()
            raise
        _, channels, height, width = self._input.shape
        self.shape = (channels, height, width)
        self._mixes = any(_normalizes_by_batch(node) for node in self.net.layers)

    def close(self) -> None:
        """Closes the net."""
        self.net.close()

    def __enter__(self) -> LogitGradients:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def columns(self, aus: Sequence[str] | None = None) -> list[int]:
        """The places of AUs among the outputs; of all where `aus` is None.

        Raises:
            UsageError: the net has no such output.
        """
        if aus is None:
            return list(range(len(self.aus)))
        names = [name.strip().removeprefix("AU") for name in aus]
        for name in names:
            if name not in self.aus:
                hint = nearest(name, self.aus) or f"; it has {', '.join(self.aus)}"
                raise UsageError(f"{self.net.path}: has no output for AU '{name}'{hint}")
        return [self.aus.index(name) for name in names]

    def forward(self, images: npt.ArrayLike) -> Array:
        """The logits, (N, AUs), of images (N, C, H, W) as the net takes them, mean subtracted."""
        batch = np.asarray(images, np.float32)
        if batch.shape[1:] != self.shape:
            raise NetError(f"{self.net.path}: takes images {self.shape}, not {batch.shape[1:]}")
        self._input.reshape(*batch.shape)
        self._input.data = batch
        self.net.forward(end=self._maker.name)
        values = self.net.blobs[self._logits].read_data()
        return values.reshape(len(batch), len(self.aus)).copy()

    def gradient(self, column: int) -> Array:
        """The gradient of one logit, (N, C, H, W), at the images of the last `forward`.

        Where the net normalizes by the batch's own statistics, in TEST too, it is that of the
        logit's sum over the batch: `maps` gives such a net one image at a time.
        """
        logits = self.net.blobs[self._logits]
        top = np.zeros((self._input.num, len(self.aus)), np.float32)
        top[:, column] = 1
        logits.diff = top.reshape(logits.shape)
        return self.net.backward(start=self._maker.name)[self._input.name]

    def param_gradient(self, layer: str, index: int = 0) -> Array:
        """The gradient of a parameter blob of a layer of `learn`, added up by `gradient` so far."""
        return self.net.params[layer][index].read_diff().copy()

    def maps(self, images: npt.ArrayLike, aus: Sequence[str] | None = None) -> Array:
        """Saliency maps.

        Args:
            images: (N, C, H, W) as the net takes them, mean subtracted.
            aus: names of the AUs; None: all.

        Returns:
            (N, AUs, H, W): magnitude of the gradient of the AU's logit with respect to each pixel,
            the greatest over the channels.

        Raises:
            UsageError: the net has no output for an AU.
        """
        given = np.asarray(images, np.float32)
        columns = self.columns(aus)
        result = np.empty((len(given), len(columns), *self.shape[1:]), np.float32)
        step = 1 if self._mixes else BATCH
        for start in range(0, len(given), step):
            self.forward(given[start : start + step])
            for place, column in enumerate(columns):
                result[start : start + step, place] = np.abs(self.gradient(column)).max(axis=1)
        return result


def _logits(net: Net) -> tuple[LayerNode, str]:
    """The layer that makes the logits, and their blob."""
    for name in net.outputs:
        maker = _last_maker(net, name, len(net.layers))
        if maker is None:
            continue
        if maker.type == "Sigmoid":
            name = maker.bottom_names[0]
            # In place, the Sigmoid itself is the last to write its bottom.
            maker = _last_maker(net, name, maker.index)
            if maker is not None and not maker.layer.is_data:
                return maker, name
        elif maker.type in _LOGITS:
            return maker, name
    raise NetError(
        f"{net.path}: no output scores action units: that takes a Sigmoid, InnerProduct or "
        "Convolution at the end"
    )


def _last_maker(net: Net, blob: str, before: int) -> LayerNode | None:
    nodes = [node for node in net.layers[:before] if blob in node.top_names]
    return nodes[-1] if nodes else None


def _normalizes_by_batch(node: LayerNode) -> bool:
    statistics = getattr(node.layer, "statistics", None)
    return isinstance(statistics, RunningStatistics) and not statistics.frozen


def energy_share(saliency: npt.ArrayLike, region: npt.ArrayLike) -> float:
    """The share of a saliency map's energy, the sum of its squares, that lies in a region.

    Args:
        saliency: (H, W), or (..., H, W) of several maps, whose shares are averaged.
        region: (H, W) of bool.

    Raises:
        UsageError: the shapes differ.
    """
    maps, inside = np.asarray(saliency, np.float64), np.asarray(region, bool)
    if maps.shape[-2:] != inside.shape:
        raise UsageError(f"a region of {inside.shape} does not fit maps of {maps.shape[-2:]}")
    energy = maps.reshape(-1, *inside.shape) ** 2
    total = energy.sum(axis=(1, 2))
    shares = energy[:, inside].sum(axis=1)[total > 0] / total[total > 0]
    return float(shares.mean()) if len(shares) else float("nan")


def half(shape: tuple[int, int], part: str, row: float | None = None) -> npt.NDArray[np.bool_]:
    """The upper or lower half of a picture as a region for `energy_share`.

    Args:
        shape: (H, W) of the picture.
        part: `upper` or `lower`.
        row: where they meet, H / 2 unless given: the middle of the nose of a registered face.
    """
    above = np.arange(shape[0])[:, np.newaxis] + 0.5 < (shape[0] / 2 if row is None else row)
    inside = above if part == "upper" else ~above
    return np.broadcast_to(inside, shape).copy()


# Pictures ---------------------------------------------------------------------------------------


def overlay(face: Pixels, saliency: Array, *, smooth: float = 2.0) -> Pixels:
    """A map in heat colors over the gray face.

    Args:
        face: (H, W, 3) BGR or (H, W, 1).
        saliency: (H, W), of which the 99.5th percentile and above are drawn brightest.
        smooth: standard deviation in pixels of a blur, for the eye alone; 0: none.

    Returns:
        (H, W, 3) BGR.
    """
    import cv2

    values = saliency if smooth <= 0 else cv2.GaussianBlur(saliency, (0, 0), smooth)
    top = float(np.percentile(values, _BRIGHTEST))
    strength = np.clip(values / top, 0, 1) if top > 0 else np.zeros_like(values)
    colors = cv2.applyColorMap((255 * strength).astype(np.uint8), cv2.COLORMAP_INFERNO)
    gray = face if face.shape[2] == 1 else cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    base = cv2.cvtColor(np.ascontiguousarray(gray), cv2.COLOR_GRAY2BGR).astype(np.float32)
    weight = np.sqrt(strength)[..., np.newaxis]
    mixed = (1 - weight) * base * 0.9 + weight * colors
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)


def grid(
    pictures: Sequence[Sequence[Pixels]],
    columns: Sequence[str],
    rows: Sequence[str],
    *,
    tile: int = 132,
) -> Pixels:
    """Pictures in rows and columns under their names.

    Args:
        pictures: rows of (H, W, 3) BGR, each as many as `columns`.
        columns, rows: names, written above and at the left.
        tile: side of a picture in the grid, in pixels.

    Returns:
        (H, W, 3) BGR, on white.
    """
    import cv2
    from matplotlib import font_manager
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), max(9, tile // 10))
    gap, top = 4, 2 * int(font.size)
    left = 2 * gap + int(max((font.getlength(name) for name in rows), default=0))
    size = (left + len(columns) * (tile + gap), top + len(rows) * (tile + gap))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(columns):
        middle = left + column * (tile + gap) + tile / 2
        draw.text((middle, top / 2), name, "#222222", font, anchor="mm")
    for row, name in enumerate(rows):
        y = top + row * (tile + gap)
        draw.text((left - gap, y + tile / 2), name, "#222222", font, anchor="rm")
        for column, picture in enumerate(pictures[row]):
            small = picture.shape[0] < tile
            how = cv2.INTER_CUBIC if small else cv2.INTER_AREA
            shown = cv2.resize(picture, (tile, tile), interpolation=how)
            sheet.paste(Image.fromarray(shown[..., ::-1]), (left + column * (tile + gap), y))
    return np.asarray(sheet)[..., ::-1].copy()


def file_stem(image: str | Path, taken: set[str]) -> str:
    """A file name without ending for an image, such as no other in `taken`, which it joins."""
    stem = Path(image).stem or "image"
    name, count = stem, 1
    while name in taken:
        count += 1
        name = f"{stem}_{count}"
    taken.add(name)
    return name
