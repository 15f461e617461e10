"""What the layers share that read the images of a text list: the fields of image_data_param."""

from __future__ import annotations

from typing import ClassVar

from drml.data.images import Channels
from drml.layers.base_data import TRANSFORM_FIELDS, ImageDataLayer
from drml.proto import caffe_pb2 as pb

LIST_FIELDS = TRANSFORM_FIELDS | {
    "data_param.prefetch",
    "source",
    "batch_size",
    "rand_skip",
    "shuffle",
    "new_height",
    "new_width",
    "is_color",
    "root_folder",
}


class ImageListLayer(ImageDataLayer):
    """Base of the layers that read a list of images."""

    param_field: ClassVar[str] = "image_data_param"

    def root(self) -> str:
        """The folder that the list's paths are relative to; '' for the list to tell."""
        return str(self.context.find(self.param.root_folder)) if self.param.root_folder else ""

    def channels(self) -> Channels:
        """COLOR, or GRAY where is_color is false."""
        return Channels.COLOR if self.param.is_color else Channels.GRAY


def stated_image_shape(param: pb.LayerParameter) -> tuple[int, ...] | None:
    """(N, C, H, W) where crop_size, or else new_height and new_width, states it."""
    images, crop = param.image_data_param, param.transform_param.crop_size
    height, width = crop or images.new_height, crop or images.new_width
    if not height or not width:
        return None
    return (images.batch_size, 3 if images.is_color else 1, height, width)
