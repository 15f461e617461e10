"""Tile: repeats a blob along one axis; Caffe's Tile layer."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register


@register
class Tile(Layer):
    """The bottom several times, one behind the other along an axis.

    `tile_param`: axis (1; negative counts from the back), tiles: how many times.
    """

    type = "Tile"
    param_field = "tile_param"
    supported = frozenset({"axis", "tiles"})

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        if self.param.tiles < 1:
            raise self.error("tiles must be given, and be 1 or more", "tile_param.tiles")

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape = list(bottom[0].shape)
        self.axis = self.canonical_axis(self.param.axis, shape, "tile_param.axis")
        self._size = shape[self.axis]
        shape[self.axis] *= self.param.tiles
        top[0].reshape(*shape)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        y = top[0].value
        _core.copy(bottom[0].value, y.narrow(self.axis, 0, self._size))
        # What is there already is copied behind itself, so that few kernels do for many tiles.
        done, wanted = self._size, top[0].shape[self.axis]
        while done < wanted:
            length = min(done, wanted - done)
            _core.copy(y.narrow(self.axis, 0, length), y.narrow(self.axis, done, length))
            done += length

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].grad, bottom[0].grad
        _core.copy(dy.narrow(self.axis, 0, self._size), dx)
        for tile in range(1, self.param.tiles):
            _core.add(dy.narrow(self.axis, tile * self._size, self._size), dx)
