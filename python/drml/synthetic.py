"""Random inputs in place of data layers, to look at a net and time it without its data."""

from __future__ import annotations

import numpy as np

from drml.blob import Array, Blob
from drml.fillers import Fill
from drml.layers import find
from drml.layers.base import Context
from drml.proto import caffe_pb2 as pb
from drml.prototxt import LayerSource, NetFile

Shape = tuple[int, ...]


def random_values(array: Array) -> None:
    """Normal numbers of deviation 50, about what mean subtraction leaves of an image."""
    random = np.random.Generator(np.random.Philox(array.size))
    array[...] = random.standard_normal(array.shape, dtype=np.float32)
    array *= np.float32(50)


def random_labels(array: Array) -> None:
    """Fills labels with 0 and 1, which every loss takes, and most layers that read row numbers."""
    array[...] = np.random.Generator(np.random.Philox(array.size)).integers(0, 2, array.shape)


def top_shapes(source: LayerSource, context: Context) -> list[Shape]:
    """A data layer's top shapes: from the file alone where it tells, else from its data."""
    layer_class = find(source.param.type)
    assert layer_class is not None
    stated = layer_class.stated_shapes(source.param)
    # A size of zero is for the layer itself to refuse, with its own words.
    if stated is not None and all(min(shape) > 0 for shape in stated):
        return stated
    layer = layer_class(source.param, source, context)
    tops = [Blob(name) for name in source.param.top]
    try:
        layer.setup([], tops)
        layer.reshape([], tops)
    finally:
        layer.close()
    return [top.shape for top in tops]


def replace_data_layers(file: NetFile, context: Context) -> tuple[NetFile, dict[str, Fill]]:
    """The net with every data layer replaced by an Input layer.

    Returns:
        The net, and for each input blob what fills it: 0 and 1 for labels and numbers of rows, else
        random numbers.
    """
    numbered = {name for source in file.layers for name in _numbered(source.param)}
    fills: dict[str, Fill] = {}
    layers: list[LayerSource] = []
    for source in file.layers:
        layer_class = find(source.param.type)
        if layer_class is not None and layer_class.is_data:
            for name in source.param.top:
                fills[name] = random_labels if name in numbered else random_values
            if source.param.type != "Input":
                source = source.replaced(_input_layer(source, top_shapes(source, context)))
        layers.append(source)
    return file.with_layers(layers), fills


def _numbered(param: pb.LayerParameter) -> list[str]:
    """The bottoms that hold labels or numbers of rows."""
    layer_class = find(param.type)
    if layer_class is None:
        return []
    bottoms = range(-len(param.bottom), len(param.bottom))
    return [param.bottom[index] for index in layer_class.numbered if index in bottoms]


def _input_layer(source: LayerSource, shapes: list[Shape]) -> pb.LayerParameter:
    param = pb.LayerParameter(name=source.param.name, type="Input", top=source.param.top)
    for shape in shapes:
        param.input_param.shape.add(dim=shape)
    return param
