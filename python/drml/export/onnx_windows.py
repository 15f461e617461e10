"""ONNX operators for the layers that look at windows: convolutions, pooling, LRN, regions."""

from __future__ import annotations

import numpy as np

from drml.export.onnx_graph import OnnxGraph
from drml.export.onnx_layers import Emitter, normalized, parameter, running_statistics
from drml.layer_node import LayerNode
from drml.layers.base_convolution import BaseConvolution
from drml.layers.local import LocallyConnected
from drml.layers.pooling import Pooling
from drml.layers.region import Region
from drml.proto import caffe_pb2 as pb


def convolution(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    layer = node.layer
    assert isinstance(layer, BaseConvolution)
    weights = [parameter(graph, node, index) for index in range(len(layer.blobs))]
    operator = "ConvTranspose" if node.type == "Deconvolution" else "Conv"
    return [
        graph.op(
            operator,
            name,
            *weights,
            kernel_shape=list(layer.kernel),
            strides=list(layer.stride),
            pads=[*layer.pad, *layer.pad],
            dilations=list(layer.dilation),
            group=layer.group,
        )
        for name in x
    ]


def locally_connected(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    """Windows are gathered by a convolution with filters of a single 1, one for each number of a
    window, then multiplied by the matrix of their place."""
    layer = node.layer
    assert isinstance(layer, LocallyConnected)
    (rows, columns), group = layer.locations, layer.group
    places, channels, outputs = rows * columns, layer.channels, layer.num_output
    area = layer.kernel[0] * layer.kernel[1]
    picks = np.tile(
        np.eye(area, dtype=np.float32).reshape(area, 1, *layer.kernel), (channels, 1, 1, 1)
    )
    pick = graph.constant(picks, f"{node.name}/windows")
    inputs = channels // group * area
    # (place, group, input, output)
    weight = layer.blobs[0].read_data().reshape(places, group, outputs // group, inputs)
    factors = parameter(graph, node, 0, np.ascontiguousarray(weight.transpose(0, 1, 3, 2)))
    bias = None
    if len(layer.blobs) > 1:
        values = layer.blobs[1].read_data()
        per_place = values.T.reshape(outputs, rows, columns) if values.ndim == 2 else None
        bias = parameter(
            graph, node, 1, values.reshape(-1, 1, 1) if per_place is None else per_place
        )
    tops = []
    for name, top in zip(x, node.top, strict=True):
        windows = graph.op(
            "Conv",
            name,
            pick,
            kernel_shape=list(layer.kernel),
            strides=list(layer.stride),
            pads=[*layer.pad, *layer.pad],
            group=channels,
        )
        num = top.shape[0]
        shape = (num, channels * area, rows, columns)
        y = graph.reshape(windows, shape, (num, group, inputs, places))
        y = graph.op("MatMul", graph.op("Transpose", y, perm=[3, 1, 0, 2]), factors)
        y = graph.op("Transpose", y, perm=[2, 1, 3, 0])
        y = graph.reshape(y, (num, group, outputs // group, places), top.shape)
        tops.append(y if bias is None else graph.op("Add", y, bias))
    return tops


def region(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    """Every patch becomes channels of its own, for a convolution with a group per patch."""
    layer = node.layer
    assert isinstance(layer, Region)
    num, channels, height, width = node.bottom[0].shape
    (grid_h, grid_w), kernel = layer.grid, layer.kernel
    patches = grid_h * grid_w
    cut = (num, channels, grid_h, height // grid_h, grid_w, width // grid_w)
    size = (height // grid_h, width // grid_w)
    y = graph.reshape(x[0], (num, channels, height, width), cut)
    y = graph.op("Transpose", y, perm=[0, 2, 4, 1, 3, 5])
    y = graph.reshape(y, (num, grid_h, grid_w, channels, *size), (num, patches * channels, *size))
    given = running_statistics(node, 2) if layer.statistics.frozen else None
    y = graph.op("Relu", normalized(graph, y, given, layer.statistics.eps, 4))
    weight, bias = (blob.read_data() for blob in layer.blobs[:2])
    y = graph.op(
        "Conv",
        y,
        parameter(graph, node, 0, weight.reshape(patches * channels, channels, kernel, kernel)),
        parameter(graph, node, 1, bias.reshape(-1)),
        kernel_shape=[kernel, kernel],
        pads=[layer.pad] * 4,
        group=patches,
    )
    y = graph.reshape(y, (num, patches * channels, *size), (num, grid_h, grid_w, channels, *size))
    y = graph.op("Transpose", y, perm=[0, 3, 1, 4, 2, 5])
    y = graph.reshape(y, cut, (num, channels, height, width))
    return [graph.op("Add", x[0], y)]


def pooling(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    """Caffe's number of windows is stated by the padding at the far border.

    AVE divides by windows that end with Caffe's own padding; where ONNX' go on, a constant factor
    makes up for it.
    """
    layer = node.layer
    assert isinstance(layer, Pooling)
    size, windows = node.bottom[0].shape[2:], node.top[0].shape[2:]
    ends = [
        max(0, (windows[i] - 1) * layer.stride[i] + layer.kernel[i] - size[i] - layer.pad[i])
        for i in (0, 1)
    ]
    attributes = {
        "kernel_shape": list(layer.kernel),
        "strides": list(layer.stride),
        "pads": [*layer.pad, *ends],
    }
    if layer.max:
        return [graph.op("MaxPool", x[0], **attributes)]
    y = graph.op("AveragePool", x[0], count_include_pad=1, **attributes)
    counts = [_window_sizes(layer, size[i], windows[i], i) for i in (0, 1)]
    factor = layer.kernel[0] * layer.kernel[1] / np.outer(*counts)
    return [y if np.all(factor == 1) else graph.op("Mul", y, graph.constant(factor))]


def _window_sizes(
    layer: Pooling, size: int, windows: int, i: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Rows or columns of each window, up to the end of Caffe's padding."""
    starts = np.arange(windows) * layer.stride[i] - layer.pad[i]
    return np.minimum(starts + layer.kernel[i], size + layer.pad[i]) - starts


def lrn(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    param = node.layer.param
    size = int(param.local_size)
    if param.norm_region == pb.LRNParameter.ACROSS_CHANNELS:
        return [graph.op("LRN", x[0], size=size, alpha=param.alpha, beta=param.beta, bias=param.k)]
    square = graph.op("Mul", x[0], x[0])
    mean = graph.op(
        "AveragePool",
        square,
        kernel_shape=[size, size],
        pads=[size // 2] * 4,
        count_include_pad=1,
    )
    strength = graph.op("Mul", mean, graph.number(param.alpha))
    strength = graph.op("Add", strength, graph.number(1))
    return [graph.op("Mul", x[0], graph.op("Pow", strength, graph.number(-param.beta)))]


EMITTERS: dict[str, Emitter] = {
    "Convolution": convolution,
    "Deconvolution": convolution,
    "LocallyConnected": locally_connected,
    "LRN": lrn,
    "Pooling": pooling,
    "Region": region,
}
