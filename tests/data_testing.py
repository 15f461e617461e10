"""What the tests of data share: pictures, lists and data bases in a temporary folder."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import numpy.typing as npt
from google.protobuf import text_format

from drml.blob import Blob
from drml.commands.options import Parser, add_common
from drml.data.samples import make_record, record_key
from drml.layers import find
from drml.layers.base import Context, Layer
from drml.proto import caffe_pb2 as pb

Array = npt.NDArray[Any]


class Where:
    """Stands for the file that a layer was written in."""

    def where(self, field_path: str = "") -> str:
        return f"net.prototxt:7[{field_path}]"


def picture(number: int, height: int = 12, width: int = 10, channels: int = 3) -> Array:
    """A picture of random pixels, its own for each number."""
    rng = np.random.default_rng([number, height, width])
    pixels: Array = rng.integers(0, 256, (height, width, channels), np.uint8)
    return pixels


def png(pixels: Array) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def jpg(pixels: Array) -> bytes:
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def labels_of(number: int, count: int = 3) -> list[int]:
    """Labels of -1, 0 and 1; the first three pictures hold all of them."""
    return [(number + column) % 3 - 1 for column in range(count)]


def write_list(
    folder: Path, count: int = 7, *, name: str = "list.txt", labels: int = 3, **size: int
) -> Path:
    """A list of `count` PNG files beside it: picture(i) with labels_of(i)."""
    lines = []
    for number in range(count):
        (folder / f"{number}.png").write_bytes(png(picture(number, **size)))
        lines.append(f"{number}.png {' '.join(map(str, labels_of(number, labels)))}\n")
    path = folder / name
    path.write_text("".join(lines))
    return path


def write_lmdb(path: Path, records: Iterable[bytes] | dict[str, bytes]) -> Path:
    """An LMDB of serialized records; their keys are 00000000_0 and so on unless given."""
    if not isinstance(records, dict):
        values = list(records)
        records = {record_key(i, str(i)).decode(): value for i, value in enumerate(values)}
    with (
        lmdb.open(str(path), map_size=1 << 26) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in records.items():
            transaction.put(key.encode(), value)
    return path


def our_record(number: int, labels: Sequence[int] | None = None, **size: int) -> bytes:
    """A record of ours: picture(number) as PNG, labels_of(number) unless given."""
    pixels = picture(number, **size)
    return make_record(png(pixels), pixels.shape, labels_of(number) if labels is None else labels)


class DataRunner:
    """A data layer run by itself.

    Args:
        text: the layer's prototxt; the name is `data` unless given.
    """

    def __init__(
        self,
        text: str,
        *,
        phase: int = pb.TRAIN,
        seed: int = 1,
        threads: int = 2,
        folder: Path = Path(),
    ) -> None:
        param = pb.LayerParameter(name="data")
        text_format.Merge(text, param)
        if not param.top:
            param.top.extend(["data", "label"])
        layer_class = find(param.type)
        assert layer_class is not None, f"no layer type {param.type}"
        context = Context(phase=phase, seed=seed, threads=threads, folder=folder)
        self.layer: Layer = layer_class(param, Where(), context)
        self.top = [Blob(name) for name in param.top]
        try:
            self.layer.setup([], self.top)
            self.layer.reshape([], self.top)
        except BaseException:
            self.layer.close()
            raise

    def __enter__(self) -> DataRunner:
        return self

    def __exit__(self, *error: object) -> None:
        self.layer.close()

    def shapes(self) -> list[tuple[int, ...]]:
        return [blob.shape for blob in self.top]

    def forward(self) -> list[Array]:
        self.layer.forward([], self.top)
        return [blob.data.copy() for blob in self.top]

    def stream(self, batches: int) -> list[list[Array]]:
        return [self.forward() for _ in range(batches)]


def assert_same_stream(got: list[list[Array]], wanted: list[list[Array]]) -> None:
    assert len(got) == len(wanted)
    for arrays, others in zip(got, wanted, strict=True):
        for array, other in zip(arrays, others, strict=True):
            np.testing.assert_array_equal(array, other)


def run_command(module: Any, *words: object, threads: int = 2) -> int:
    """Runs `name words...` as the command line does, in this process."""
    name = module.__name__.rpartition(".")[2]
    parser = Parser()
    module.add_parser(parser.add_subparsers(parser_class=Parser))
    add_common(parser)
    args = parser.parse_all(["--threads", str(threads), name, *map(str, words)])
    status: int = module.run(args)
    return status


def thread_names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}
