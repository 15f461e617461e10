"""MultilabelImageData: images and label vectors from a text list, the DRML authors' data layer."""

from __future__ import annotations

from typing import ClassVar

from drml.data.image_list import ImageList, read_list
from drml.layers.base import register
from drml.layers.base_image_list import LIST_FIELDS, ImageListLayer, stated_image_shape
from drml.proto import caffe_pb2 as pb


@register
class MultilabelImageData(ImageListLayer):
    """Reads the images of a list with lines `path l1 ... lK`, labels in {-1, 0, 1}.

    Options are those of Caffe's ImageData layer, `multilabel_num` (K, else taken from the first
    line) and `zero_is_negative`. Tops: data (N, C, H, W), BGR or gray; label (N, K).
    """

    type: ClassVar[str] = "MultilabelImageData"
    supported: ClassVar[frozenset[str]] = LIST_FIELDS | {"multilabel_num", "zero_is_negative"}

    def open_source(self) -> ImageList:
        param = self.param
        return read_list(
            self.find_source(),
            label_count=param.multilabel_num or None,
            root=self.root(),
            channels=self.channels(),
            size=self.new_size(),
            zero_is_negative=param.zero_is_negative,
            learning=self.context.phase == pb.TRAIN,
        )

    @classmethod
    def stated_shapes(cls, param: pb.LayerParameter) -> list[tuple[int, ...]] | None:
        """Stated by multilabel_num, and crop_size or else new_height and new_width."""
        shape, labels = stated_image_shape(param), param.image_data_param.multilabel_num
        if shape is None or (len(param.top) > 1 and not labels):
            return None
        return [shape, (shape[0], labels)][: len(param.top)]
