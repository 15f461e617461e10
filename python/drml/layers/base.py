"""The contract of a layer, in Caffe's words: setup, reshape, forward, backward.

`setup` reads the parameters and makes the parameter blobs, `reshape` is the only place that
computes top shapes, `forward` writes top values, `backward` overwrites bottom gradients and
adds to parameter gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from drml.blob import Blob
from drml.device import default_device
from drml.errors import NetError
from drml.fillers import make_filler
from drml.proto import caffe_pb2 as pb

registry: dict[str, type[Layer]] = {}
LayerClass = TypeVar("LayerClass", bound="type[Layer]")


def register(cls: LayerClass) -> LayerClass:
    """Class decorator: makes `cls` the layer of type `cls.type`."""
    registry[cls.type] = cls
    return cls


class Source(Protocol):
    """Where a layer was written: names file and line of the layer, or of one of its fields."""

    def where(self, field_path: str = "") -> str:
        """`file:line` of a field such as `convolution_param.stride`; of the layer for ''."""
        ...


@dataclass(frozen=True)
class Context:
    """What a layer knows of the net that it is part of.

    Attributes:
        phase: pb.TRAIN or pb.TEST.
        seed: the net's random seed; with the layer's name it fixes every random number.
        device: where the blobs live.
        folder: folder of the net's file: where a relative path that does not exist below the
            working directory is looked for next.
        threads: background threads of each data layer.
    """

    phase: int = pb.TEST
    seed: int = 0
    device: str = field(default_factory=default_device)
    folder: Path = field(default_factory=Path)
    threads: int = 2

    def find(self, path: str) -> Path:
        """The path as the user meant it: from the working directory, else beside the net's file."""
        given = Path(path)
        beside = self.folder / given
        return beside if not given.exists() and beside.exists() else given


class Layer:
    """Base of all layers.

    Class attributes describe the layer to the net:
        type: the name in a prototxt.
        param_field: the sub-message of LayerParameter that it reads, '' for none.
        supported: the fields of that sub-message that it honors; any other that is set is refused.
            A field of another message is written with its name: `transform_param.mirror`.
        hints: fields that choose an implementation in Caffe and change no result; accepted with a
            note.
        bottoms, tops: least and greatest number of each (None: no limit).
        is_loss: whether the first top is a loss (loss_weight 1 unless the file says otherwise).
        is_data: whether the tops come from outside the net.
        in_place: whether a top may be the same blob as a bottom.
        remark: what users of a net with such a layer should know; told once among the net's notes.
        numbered: the bottoms, negative ones from the end, that hold labels or numbers of rows.
        on_host: whether forward reads or writes numbers on the host, which no CUDA graph records.
    """

    type: ClassVar[str]
    param_field: ClassVar[str] = ""
    supported: ClassVar[frozenset[str]] = frozenset()
    hints: ClassVar[frozenset[str]] = frozenset()
    bottoms: ClassVar[tuple[int, int | None]] = (1, 1)
    tops: ClassVar[tuple[int, int | None]] = (1, 1)
    is_loss: ClassVar[bool] = False
    is_data: ClassVar[bool] = False
    in_place: ClassVar[bool] = False
    remark: ClassVar[str] = ""
    numbered: ClassVar[tuple[int, ...]] = ()
    on_host: ClassVar[bool] = False

    def __init__(self, param: pb.LayerParameter, source: Source, context: Context) -> None:
        self.layer_param = param
        self.name = param.name
        self.source = source
        self.context = context
        self.blobs: list[Blob] = []
        self.propagate_to_params: list[bool] = []
        """Per parameter blob, whether backward computes its gradient (lr_mult is not 0)."""
        self.position: int | None = None
        """For layers that draw random numbers or samples: how many batches were drawn. A snapshot
        stores it and sets it, and the layer goes on from there."""

    @property
    def param(self) -> Any:
        """The sub-message named by `param_field`."""
        return getattr(self.layer_param, self.param_field)

    def error(self, message: str, field_path: str = "") -> NetError:
        """An error that names file, line, layer and type; `raise self.error(...)`."""
        return NetError(
            f"{self.source.where(field_path)}: layer '{self.name}' ({self.type}): {message}"
        )

    def canonical_axis(self, axis: int, shape: Sequence[int], field_path: str = "") -> int:
        """The axis counted from the front; a negative one counts from the back, as in Caffe."""
        if not -len(shape) <= axis < len(shape):
            raise self.error(f"shape {tuple(shape)} has no axis {axis}", field_path)
        return axis % len(shape)

    def add_param(
        self,
        shape: Sequence[int],
        filler: pb.FillerParameter | Callable[[Any], None] | None = None,
        *,
        banks: bool = False,
    ) -> Blob:
        """Makes the next parameter blob; `filler` (None: zeros) fills it when first touched.

        With `banks`, each index of axis 0 has parameters of its own, which a FillerParameter fills
        as if they stood alone.
        """
        index = len(self.blobs)
        fill: Callable[[Any], None] | None
        if isinstance(filler, pb.FillerParameter):
            try:
                key = (self.context.seed, self.name, index)
                fill = make_filler(filler, shape, key, banks=banks)
            except ValueError as error:
                raise self.error(str(error)) from error
        else:
            fill = filler
        blob = Blob(
            f"{self.name}/{index}",
            shape,
            channels_last=False,
            device=self.context.device,
            fill=fill,
        )
        self.blobs.append(blob)
        self.propagate_to_params.append(True)
        return blob

    def members(self) -> list[tuple[pb.LayerParameter, list[Blob]]]:
        """The layers of the file that this one computes, with their parameter blobs.

        That is the layer itself, unless it stands for several (see drml.fuse_regions), whose blobs
        are parts of its own.
        """
        return [(self.layer_param, self.blobs)]

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Reads the layer's parameters and makes its parameter blobs; runs once, before reshape."""

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Checks the bottom shapes and sets the top shapes."""
        raise NotImplementedError

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Computes the top values from the bottom values."""
        raise NotImplementedError

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        """Overwrites the bottom gradients asked for and adds to the parameter gradients."""
        raise NotImplementedError

    def multiply_adds(self, bottom: list[Blob], top: list[Blob]) -> int:
        """Multiply-adds of one forward pass over the whole batch; 0 where they do not count."""
        return 0

    @classmethod
    def stated_shapes(cls, param: pb.LayerParameter) -> list[tuple[int, ...]] | None:
        """For data layers: the top shapes, if the prototxt alone tells them; nothing is opened."""
        return None

    def can_backward_to(self, index: int) -> bool:
        """Whether force_backward may ask for this bottom's gradient; labels, say, have none."""
        return True

    def example(
        self, index: int, bottom: list[Blob], random: np.random.Generator
    ) -> npt.NDArray[np.generic] | None:
        """Values that fit a bottom, to try the layer; None where normal numbers or any label do.

        For bottoms that hold numbers of rows or samples, of which not all exist, or probabilities.
        """
        return None

    def close(self) -> None:
        """Stops background threads and closes files; the layer is not used afterwards."""
