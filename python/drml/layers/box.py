"""Box: cuts patches out of maps, the DRML authors' layer before the branches of a region layer."""

from __future__ import annotations

from typing import Any

from drml import _core
from drml.blob import Blob
from drml.layers.base import Layer, register

Corner = tuple[int, int]

INDEXING = (
    "Box and Splice: the layers that DRML's authors released take plane (n + 1) * c for channel c "
    "of image n, which is right for batches of one only; here it is n * C + c"
)


def read_corners(layer: Layer, param: Any, field: str, blobs: int, what: str) -> list[Corner]:
    """Row and column of each patch of a Box or Splice, from its xcoord (columns) and ycoord (rows).

    Args:
        layer: the layer, for errors.
        param: its message.
        field: the message's name.
        blobs: how many patches the layer has.
        what: what has the patches, for errors: 'top' or 'bottom'.

    Raises:
        NetError: not one xcoord and one ycoord for each.
    """
    for name in ("xcoord", "ycoord"):
        given = len(getattr(param, name))
        if given != blobs:
            raise layer.error(
                f"{name} is given {given} times for {blobs} {what}s", f"{field}.{name}"
            )
    return list(zip(param.ycoord, param.xcoord, strict=True))


@register
class Box(Layer):
    """Patches of x of shape (N, C, H, W), one per top, each of shape (N, C, height, width).

    `box_param`: width (20), height (20), and for each top the patch's first column, xcoord, and
    first row, ycoord. Patches may overlap or leave gaps; the gradient of x adds up what the patches
    give.
    """

    type = "Box"
    param_field = "box_param"
    supported = frozenset({"width", "height", "xcoord", "ycoord"})
    tops = (1, None)
    remark = INDEXING

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        self.size = (int(self.param.height), int(self.param.width))
        if min(self.size) < 1:
            raise self.error(
                f"patches of {self.size[0]} x {self.size[1]} are empty", self.param_field
            )
        self.corners = read_corners(self, self.param, self.param_field, len(top), "top")

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4:
            raise self.error(f"bottom needs shape (N, C, H, W), got {shape}")
        for index, (row, column) in enumerate(self.corners):
            if row + self.size[0] > shape[2] or column + self.size[1] > shape[3]:
                raise self.error(
                    f"patch {index}, {self.size[0]} x {self.size[1]} at row {row}, column "
                    f"{column}, leaves the map of {shape[2]} x {shape[3]}",
                    f"box_param.ycoord[{index}]",
                )
        for blob in top:
            blob.reshape(*shape[:2], *self.size)

    def _cut(self, map_: _core.Tensor, corner: Corner) -> _core.Tensor:
        rows = map_.narrow(2, corner[0], self.size[0])
        return rows.narrow(3, corner[1], self.size[1])

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        for corner, blob in zip(self.corners, top, strict=True):
            _core.copy(self._cut(bottom[0].value, corner), blob.value)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if not propagate_down[0]:
            return
        _core.fill(bottom[0].grad, 0)
        for corner, blob in zip(self.corners, top, strict=True):
            if blob.has_grad:
                _core.add(blob.grad, self._cut(bottom[0].grad, corner))
