"""DummyData: constant or random arrays, for timing and for tests."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from drml.blob import Blob
from drml.fillers import Fill, make_filler
from drml.layers.base import register
from drml.layers.base_data import DataLayer
from drml.proto import caffe_pb2 as pb

_LEGACY = ("num", "channels", "height", "width")


@register
class DummyData(DataLayer):
    """Tops filled by data_filler: constants once, random fillers anew in every forward.

    Shapes and fillers are given once for all tops, or once each; shapes as `shape`, or in the old
    form as num, channels, height and width. `position` counts the forward passes: the values are a
    function of the net's seed, the layer's name and the position.
    """

    type: ClassVar[str] = "DummyData"
    param_field: ClassVar[str] = "dummy_data_param"
    supported: ClassVar[frozenset[str]] = frozenset({"data_filler", "shape", *_LEGACY})
    tops: ClassVar[tuple[int, int | None]] = (1, None)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self._check(len(top))
        fillers = list(self.param.data_filler) or [pb.FillerParameter()]
        self._fillers = fillers if len(fillers) > 1 else fillers * len(top)
        self._filled: dict[int, object] = {}
        self.position = 0
        # In setup, not in reshape: the user may give a top another shape, and that shape stays.
        for blob, dims in zip(top, self._shapes(self.layer_param), strict=True):
            blob.reshape(*dims)
        for index, blob in enumerate(top):
            self._fill(index, blob)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Keeps the shapes."""

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        assert self.position is not None
        for index, blob in enumerate(top):
            if self._fillers[index].type != "constant":
                values = np.empty(blob.shape, np.float32)
                self._fill(index, blob)(values)
                blob.data = values
            elif self._filled.get(index) is not blob.value:
                self._fill(index, blob)(blob.data)
                self._filled[index] = blob.value
        self.position += 1

    def _fill(self, index: int, blob: Blob) -> Fill:
        assert self.position is not None
        number = self.position * len(self._fillers) + index
        key = (self.context.seed, self.name, number)
        try:
            return make_filler(self._fillers[index], blob.shape, key)
        except ValueError as error:
            field = "data_filler" if len(self.param.data_filler) < 2 else f"data_filler[{index}]"
            raise self.error(str(error), f"dummy_data_param.{field}") from error

    def _check(self, tops: int) -> None:
        param = self.param
        if len(param.data_filler) not in (0, 1, tops):
            raise self.error(
                f"{len(param.data_filler)} data_fillers for {tops} tops; give one, or one each",
                "dummy_data_param.data_filler",
            )
        legacy = [name for name in _LEGACY if len(getattr(param, name))]
        if legacy and param.shape:
            raise self.error(
                f"shape and {legacy[0]} cannot both be given", f"dummy_data_param.{legacy[0]}"
            )
        for name in _LEGACY if legacy else ("shape",):
            given = len(getattr(param, name))
            if given not in (1, tops):
                raise self.error(
                    f"{name} is given {given} times for {tops} tops; give it once, or once each",
                    f"dummy_data_param.{name}",
                )
        for dims in self._shapes(self.layer_param):
            if any(size < 1 for size in dims):
                raise self.error(f"every size must be 1 or more, not {dims}", "dummy_data_param")

    @staticmethod
    def _shapes(param: pb.LayerParameter) -> list[tuple[int, ...]]:
        dummy, tops = param.dummy_data_param, len(param.top)
        if dummy.shape:
            shapes = [tuple(shape.dim) for shape in dummy.shape]
            return shapes if len(shapes) > 1 else shapes * tops
        sizes = [list(getattr(dummy, name)) for name in _LEGACY]
        columns = [size if len(size) > 1 else size * tops for size in sizes]
        return list(zip(*columns, strict=False))

    @classmethod
    def stated_shapes(cls, param: pb.LayerParameter) -> list[tuple[int, ...]] | None:
        """Always stated, unless the shapes do not fit the tops."""
        shapes = cls._shapes(param)
        return shapes if len(shapes) == len(param.top) else None
