"""Input: blobs whose values the user sets, such as an image to predict."""

from __future__ import annotations

from typing import ClassVar

from drml.blob import Blob
from drml.layers.base import register
from drml.layers.base_data import DataLayer
from drml.proto import caffe_pb2 as pb


@register
class Input(DataLayer):
    """Tops of the shapes in input_param: one shape for all of them, or one each."""

    type: ClassVar[str] = "Input"
    param_field: ClassVar[str] = "input_param"
    supported: ClassVar[frozenset[str]] = frozenset({"shape"})
    tops: ClassVar[tuple[int, int | None]] = (1, None)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        shapes = self.param.shape
        if len(shapes) not in (0, 1, len(top)):
            raise self.error(
                f"input_param has {len(shapes)} shapes for {len(top)} tops; give one, or one each",
                "input_param.shape",
            )
        for index, shape in enumerate(shapes):
            if any(size < 1 for size in shape.dim):
                raise self.error(
                    f"every dim must be 1 or more, not {list(shape.dim)}",
                    f"input_param.shape[{index}]",
                )
        # In setup, not in reshape: the user may give an input another shape, and that shape stays.
        for blob, dims in zip(top, self.stated_shapes(self.layer_param) or [], strict=False):
            blob.reshape(*dims)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Keeps the shapes."""

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Keeps the values."""

    @classmethod
    def stated_shapes(cls, param: pb.LayerParameter) -> list[tuple[int, ...]] | None:
        shapes = [tuple(shape.dim) for shape in param.input_param.shape]
        if not shapes:
            return None
        return shapes if len(shapes) > 1 else shapes * len(param.top)
