"""ImageData: images and class numbers from a text list, Caffe's layer."""

from __future__ import annotations

from typing import ClassVar

from drml.data.image_list import ImageList, read_class_list
from drml.layers.base import register
from drml.layers.base_image_list import LIST_FIELDS, ImageListLayer, stated_image_shape
from drml.proto import caffe_pb2 as pb


@register
class ImageData(ImageListLayer):
    """Reads the images of a list with lines `path label`, the label a whole number.

    Fields of image_data_param: source, batch_size (1), rand_skip (0: the stream begins at a random
    image below it), shuffle (false: in the order of the list; true: a new order each epoch),
    new_height and new_width (0: images keep their size), is_color (true: BGR; false: gray) and
    root_folder (''); and transform_param. Tops: data (N, C, H, W); label (N,).
    """

    type: ClassVar[str] = "ImageData"
    supported: ClassVar[frozenset[str]] = LIST_FIELDS
    tops: ClassVar[tuple[int, int | None]] = (2, 2)

    def open_source(self) -> ImageList:
        return read_class_list(
            self.find_source(), root=self.root(), channels=self.channels(), size=self.new_size()
        )

    @classmethod
    def stated_shapes(cls, param: pb.LayerParameter) -> list[tuple[int, ...]] | None:
        """Stated by crop_size, or else new_height and new_width."""
        shape = stated_image_shape(param)
        return None if shape is None else [shape, shape[:1]]
