"""The data options of `train`, `test` and the bare form: which data a net's data layers read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drml.data.override import with_sources_in_file
from drml.errors import UsageError
from drml.filter import filter_net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import NetFile

_IMAGE_LAYERS = {
    "Data": "data_param",
    "ImageData": "image_data_param",
    "MultilabelImageData": "image_data_param",
}
_LAYERS = _IMAGE_LAYERS | {"HDF5Data": "hdf5_data_param"}


@dataclass(frozen=True)
class DataOptions:
    """What stands in for the data of a net file.

    Attributes:
        train_data, test_data: an LMDB's folder or a list, for the data layer of TRAIN or TEST; None
            keeps the file's.
        batch_size: replaces that of every data layer.
        mean: a .binaryproto that replaces the mean of every image layer.
        zero_is_negative: labels 0 are read as -1.
    """

    train_data: Path | None = None
    test_data: Path | None = None
    batch_size: int | None = None
    mean: Path | None = None
    zero_is_negative: bool = False

    def __str__(self) -> str:
        given = {name: value for name, value in vars(self).items() if value not in (None, False)}
        return ", ".join(f"{name} {value}" for name, value in given.items()) or "none"

    def edit(self, file: NetFile, phase: int) -> NetFile:
        """The net file as it shall be built for `phase`.

        Raises:
            UsageError: the net has no data layer that the options could apply to.
            DataError: there is no data at a path.
        """
        path = self.train_data if phase == pb.TRAIN else self.test_data
        if path is not None:
            return with_sources_in_file(
                file, phase, path, self.batch_size, self.mean, self.zero_is_negative
            )
        if self.batch_size is None and self.mean is None and not self.zero_is_negative:
            return file
        return self._edit_in_place(file)

    def _edit_in_place(self, file: NetFile) -> NetFile:
        """The same data sources with other options."""
        wanted = _LAYERS if self.mean is None and not self.zero_is_negative else _IMAGE_LAYERS
        if not any(source.param.type in wanted for source in file.layers):
            raise UsageError(f"{file.path}: has no data layer that the data options could apply to")
        layers = []
        for source in file.layers:
            param = pb.LayerParameter()
            param.CopyFrom(source.param)
            if param.type in _LAYERS and self.batch_size is not None:
                getattr(param, _LAYERS[param.type]).batch_size = self.batch_size
            if param.type in _IMAGE_LAYERS:
                if self.mean is not None:
                    param.transform_param.ClearField("mean_value")
                    param.transform_param.mean_file = str(self.mean)
                if self.zero_is_negative:
                    getattr(param, _IMAGE_LAYERS[param.type]).zero_is_negative = True
            layers.append(source.replaced(param))
        return file.with_layers(layers)


@dataclass(frozen=True)
class MeanWish:
    """That a net subtracts a mean image, and the size to which it resizes its images first."""

    size: tuple[int, int] | None


def wanted_mean(file: NetFile) -> MeanWish | None:
    """Whether the image layer of the TRAIN net subtracts a mean image; None where it does not.

    A layer that subtracts constants (mean_value), or nothing, is left as its author wrote it.
    """
    for source in filter_net(file, pb.TRAIN).layers:
        param = source.param
        if param.type in _IMAGE_LAYERS and param.transform_param.HasField("mean_file"):
            images = getattr(param, _IMAGE_LAYERS[param.type])
            size = (images.new_height, images.new_width) if images.new_height else None
            return MeanWish(size)
    return None
