"""Splice: puts patches together to maps, the DRML authors' layer that ends a region layer."""

from __future__ import annotations

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register
from drml.layers.box import INDEXING, Corner, read_corners


@register
class Splice(Layer):
    """Maps of shape (N, C, H, W) from patches, one per bottom; all bottoms have one shape.

    `splice_param`: for each bottom the first column, xcoord, and first row, ycoord, of its place.
    The patches have to tile the map, H x W, that they reach over, without gaps or overlaps.
    """

    type = "Splice"
    param_field = "splice_param"
    supported = frozenset({"xcoord", "ycoord"})
    bottoms = (1, None)
    remark = INDEXING

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self.corners = read_corners(self, self.param, self.param_field, len(bottom), "bottom")

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4:
            raise self.error(f"bottoms need shape (N, C, H, W), got {shape}")
        for blob in bottom[1:]:
            if blob.shape != shape:
                raise self.error(
                    f"bottom '{blob.name}' has shape {blob.shape}, bottom '{bottom[0].name}' "
                    f"{shape}; they must be equal"
                )
        size = shape[2:]
        self._check_tiles(size)
        height, width = (max(corner[axis] for corner in self.corners) for axis in (0, 1))
        top[0].reshape(*shape[:2], height + size[0], width + size[1])

    def _check_tiles(self, size: tuple[int, ...]) -> None:
        """Checks that patches of one size lie on a grid and fill it."""
        first: dict[Corner, int] = {}
        for index, corner in enumerate(self.corners):
            field = f"splice_param.ycoord[{index}]"
            if corner in first:
                raise self.error(
                    f"bottoms {first[corner]} and {index} have the same place, row {corner[0]}, "
                    f"column {corner[1]}",
                    field,
                )
            first[corner] = index
            if any(place % length for place, length in zip(corner, size, strict=True)):
                raise self.error(
                    f"bottom {index} at row {corner[0]}, column {corner[1]} is not on a grid of "
                    f"{size[0]} x {size[1]} patches",
                    field,
                )
        rows, columns = (
            max(corner[axis] for corner in self.corners) // size[axis] + 1 for axis in (0, 1)
        )
        if rows * columns != len(self.corners):
            raise self.error(
                f"{len(self.corners)} bottoms do not fill a map of {rows} x {columns} patches"
            )

    def _place(self, map_: _core.Tensor, corner: Corner, blob: Blob) -> _core.Tensor:
        return map_.narrow(2, corner[0], blob.height).narrow(3, corner[1], blob.width)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        for corner, blob in zip(self.corners, bottom, strict=True):
            _core.copy(blob.value, self._place(top[0].value, corner, blob))

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        for corner, blob, wanted in zip(self.corners, bottom, propagate_down, strict=True):
            if wanted:
                _core.copy(self._place(top[0].grad, corner, blob), blob.grad)
