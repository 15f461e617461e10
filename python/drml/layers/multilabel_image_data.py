"""MultilabelImageData: images and label vectors from a text list, the DRML authors' data layer."""

from __future__ import annotations

from typing import ClassVar

from drml.data.image_list import ImageList, read_list
from drml.data.images import Channels
from drml.layers.base import register
from drml.layers.base_data import TRANSFORM_FIELDS, ImageDataLayer
from drml.proto import caffe_pb2 as pb


@register
class MultilabelImageData(ImageDataLayer):
    """Reads the images of a list with lines `path l1 ... lK`, labels in {-1, 0, 1}.

    Options are those of Caffe's ImageData layer, `multilabel_num` (K, else taken from the first
    line) and `zero_is_negative`. Tops: data (N, C, H, W), BGR or gray; label (N, K).
    """

    type: ClassVar[str] = "MultilabelImageData"
    param_field: ClassVar[str] = "image_data_param"
    supported: ClassVar[frozenset[str]] = TRANSFORM_FIELDS | {
        "data_param.prefetch",
        "source",
        "batch_size",
        "rand_skip",
        "shuffle",
        "new_height",
        "new_width",
        "is_color",
        "root_folder",
        "multilabel_num",
        "zero_is_negative",
    }

    def open_source(self) -> ImageList:
        param = self.param
        if bool(param.new_height) != bool(param.new_width):
            raise self.error("new_height and new_width must be given together", "image_data_param")
        return read_list(
            self.find_source(),
            label_count=param.multilabel_num or None,
            root=str(self.context.find(param.root_folder)) if param.root_folder else "",
            channels=Channels.COLOR if param.is_color else Channels.GRAY,
            size=(param.new_height, param.new_width) if param.new_height else None,
            zero_is_negative=param.zero_is_negative,
            learning=self.context.phase == pb.TRAIN,
        )

    @classmethod
    def stated_shapes(cls, param: pb.LayerParameter) -> list[tuple[int, ...]] | None:
        """Stated by multilabel_num, and crop_size or else new_height and new_width."""
        images, crop = param.image_data_param, param.transform_param.crop_size
        height, width = crop or images.new_height, crop or images.new_width
        labels = images.multilabel_num
        if not height or not width or (len(param.top) > 1 and not labels):
            return None
        channels = 3 if images.is_color else 1
        shapes = [(images.batch_size, channels, height, width), (images.batch_size, labels)]
        return shapes[: len(param.top)]
