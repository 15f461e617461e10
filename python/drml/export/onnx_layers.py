"""ONNX operators for the layers that work number by number, or move and join numbers.

An emitter gets the graph, the layer in its net and the names of its bottoms' values, and returns
those of its tops; a top that is a bottom's value unchanged has the bottom's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from math import prod

import numpy as np

from drml.blob import Array
from drml.export.onnx_graph import OnnxGraph
from drml.layer_node import LayerNode
from drml.proto import caffe_pb2 as pb

Emitter = Callable[[OnnxGraph, LayerNode, list[str]], list[str]]
EMITTERS: dict[str, Emitter] = {}


def emits(*types: str) -> Callable[[Emitter], Emitter]:
    """Decorator: makes a function the emitter of layer types."""

    def register(function: Emitter) -> Emitter:
        EMITTERS.update(dict.fromkeys(types, function))
        return function

    return register


def parameter(graph: OnnxGraph, node: LayerNode, index: int, array: Array | None = None) -> str:
    """A parameter blob as a constant, or `array`, what has become of it."""
    blob = node.layer.blobs[index]
    return graph.constant(blob.read_data() if array is None else array, f"{node.name}/{index}")


# Number by number -------------------------------------------------------------------------------


@emits("Dropout", "Split")
def pass_on(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    return x * len(node.top)


@emits("Silence")
def silence(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    return []


@emits("Sigmoid", "TanH", "AbsVal", "BNLL")
def unary(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    names = {"Sigmoid": "Sigmoid", "TanH": "Tanh", "AbsVal": "Abs", "BNLL": "Softplus"}
    return [graph.op(names[node.type], x[0])]


@emits("ReLU")
def relu(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    slope = float(node.layer.param.negative_slope)
    return [graph.op("LeakyRelu", x[0], alpha=slope) if slope else graph.op("Relu", x[0])]


@emits("PReLU")
def prelu(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    slope = node.layer.blobs[0].read_data()
    axes = len(node.bottom[0].shape)
    shape = (slope.size, *[1] * (axes - 2)) if slope.size > 1 else (1,)
    return [graph.op("PRelu", x[0], parameter(graph, node, 0, slope.reshape(shape)))]


@emits("ELU")
def elu(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    return [graph.op("Elu", x[0], alpha=float(node.layer.param.alpha))]


@emits("Threshold")
def threshold(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    above = graph.op("Greater", x[0], graph.number(node.layer.param.threshold))
    return [graph.op("Cast", above, to=1)]


def _linear(graph: OnnxGraph, x: str, scale: float, shift: float) -> str:
    """scale * x + shift, without what changes nothing."""
    if scale != 1:
        x = graph.op("Mul", x, graph.number(scale))
    return graph.op("Add", x, graph.number(shift)) if shift else x


@emits("Power")
def power(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    param = node.layer.param
    y = _linear(graph, x[0], param.scale, param.shift)
    return [graph.op("Pow", y, graph.number(param.power)) if param.power != 1 else y]


@emits("Exp")
def exponential(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    param = node.layer.param
    rate = 1.0 if param.base == -1 else math.log(param.base)
    return [graph.op("Exp", _linear(graph, x[0], rate * param.scale, rate * param.shift))]


@emits("Log")
def logarithm(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    param = node.layer.param
    y = graph.op("Log", _linear(graph, x[0], param.scale, param.shift))
    return [_linear(graph, y, 1.0 if param.base == -1 else 1 / math.log(param.base), 0)]


@emits("Eltwise")
def eltwise(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    param = node.layer.param
    if param.operation == pb.EltwiseParameter.MAX:
        return [graph.op("Max", *x)]
    if param.operation == pb.EltwiseParameter.PROD:
        y = x[0]
        for factor in x[1:]:
            y = graph.op("Mul", y, factor)
        return [y]
    coeff = list(param.coeff) or [1.0] * len(x)
    terms = [_linear(graph, name, scale, 0) for name, scale in zip(x, coeff, strict=True)]
    return [graph.op("Sum", *terms)]


# Per channel ------------------------------------------------------------------------------------


def normalized(
    graph: OnnxGraph, x: str, statistics: tuple[Array, Array] | None, eps: float, axes: int
) -> str:
    """(x - mean) / sqrt(variance + eps) per channel.

    Args:
        graph: the graph.
        x: a value of `axes` axes, the channels at axis 1.
        statistics: mean and variance of each channel; None for those of the batch itself.
        eps: is added to the variance.
        axes: of x.
    """
    if statistics is not None:
        mean, variance = statistics
        ones, zeros = np.ones_like(mean), np.zeros_like(mean)
        constants = [graph.constant(array) for array in (ones, zeros, mean, variance)]
        return graph.op("BatchNormalization", x, *constants, epsilon=eps)
    over = [axis for axis in range(axes) if axis != 1]
    centered = graph.op("Sub", x, graph.op("ReduceMean", x, axes=over))
    square = graph.op("Mul", centered, centered)
    variance_ = _linear(graph, graph.op("ReduceMean", square, axes=over), 1, eps)
    return graph.op("Div", centered, graph.op("Sqrt", variance_))


def running_statistics(node: LayerNode, first: int) -> tuple[Array, Array]:
    """Mean and variance from the three blobs, from `first` on, of running sums and their factor."""
    mean, variance, factor = (blob.read_data() for blob in node.layer.blobs[first : first + 3])
    # What was never run up has the factor 0, and stands for zeros.
    scale = np.divide(1, factor, out=np.zeros_like(factor), where=factor != 0)
    scale = scale.reshape(-1, *[1] * (mean.ndim - 1))
    return (mean * scale).reshape(-1), (variance * scale).reshape(-1)


@emits("BatchNorm", "Batch")
def batch_norm(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    statistics = node.layer.statistics  # type: ignore[attr-defined]
    given = running_statistics(node, 0) if statistics.frozen else None
    axes = len(node.bottom[0].shape)
    return [normalized(graph, x[0], given, statistics.eps, axes)]


def _broadcast(graph: OnnxGraph, node: LayerNode, axis: int, index: int, fixed: bool) -> str:
    """A parameter that lies along the bottom's axes from `axis` on."""
    array = node.layer.blobs[index].read_data()
    behind = len(node.bottom[0].shape) - axis - array.ndim if array.ndim else 0
    if fixed:
        graph.fix_batch()
    return parameter(graph, node, index, array.reshape((*array.shape, *[1] * behind)))


@emits("Scale", "Bias")
def scale(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    shape = node.bottom[0].shape
    other = node.bottom[1] if len(x) > 1 else node.layer.blobs[0]
    axis = node.layer.param.axis % len(shape) if other.shape else 0
    mixes = axis == 0 and bool(other.shape)
    if len(x) > 1:
        behind = len(shape) - axis - len(other.shape)
        factor = x[1]
        if other.shape and behind:
            axes = np.arange(len(other.shape), len(other.shape) + behind)
            factor = graph.op("Unsqueeze", factor, graph.constant(axes))
        if other.shape and not mixes and axis > 0:
            # Its own axis 0 is none of batches, and stays as large as it is.
            graph.fix_batch()
    else:
        factor = _broadcast(graph, node, axis, 0, mixes)
    y = graph.op("Mul" if node.type == "Scale" else "Add", x[0], factor)
    if node.type == "Scale" and node.layer.param.bias_term:
        last = len(node.layer.blobs) - 1
        y = graph.op("Add", y, _broadcast(graph, node, axis, last, mixes))
    return [y]


@emits("MVN")
def mvn(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    param, axes = node.layer.param, len(node.bottom[0].shape)
    over = list(range(min(axes, 1 if param.across_channels else 2), axes))
    if not over:
        raise node.layer.error(f"has one number per mean, shape {node.bottom[0].shape}")
    y = graph.op("Sub", x[0], graph.op("ReduceMean", x[0], axes=over))
    if param.normalize_variance:
        variance = graph.op("ReduceMean", graph.op("Mul", y, y), axes=over)
        y = graph.op("Div", y, _linear(graph, graph.op("Sqrt", variance), 1, param.eps))
    return [y]


@emits("Softmax")
def softmax(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    axis = node.layer.param.axis % len(node.bottom[0].shape)
    if axis == 0:
        graph.fix_batch()
    return [graph.op("Softmax", x[0], axis=axis)]


# Moving numbers ---------------------------------------------------------------------------------


@emits("Concat")
def concat(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    axis: int = node.layer.axis  # type: ignore[attr-defined]
    if axis == 0:
        graph.fix_batch()
    return [graph.op("Concat", *x, axis=axis)]


@emits("Slice")
def slice_(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    axis: int = node.layer.axis  # type: ignore[attr-defined]
    if axis == 0:
        graph.fix_batch()
    if len(node.top) == 1:
        return x
    sizes = graph.constant(np.array([top.shape[axis] for top in node.top]))
    return graph.ops("Split", x[0], sizes, outputs=len(node.top), axis=axis)


@emits("Flatten", "Reshape")
def reshape(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    return [graph.reshape(x[0], node.bottom[0].shape, node.top[0].shape)]


@emits("Tile")
def tile(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    repeats = [1] * len(node.bottom[0].shape)
    axis = node.layer.param.axis % len(repeats)
    repeats[axis] = node.layer.param.tiles
    if axis == 0:
        graph.fix_batch()
    return [graph.op("Tile", x[0], graph.constant(np.array(repeats)))]


@emits("Crop")
def crop(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    first = node.layer.param.axis % len(node.bottom[0].shape)
    size = node.top[0].shape[first:]
    given = [int(offset) for offset in node.layer.param.offset] or [0]
    starts = np.array(given if len(given) == len(size) else given * len(size))
    axes = np.arange(first, first + len(size))
    if first == 0:
        graph.fix_batch()
    bounds = [graph.constant(array) for array in (starts, starts + np.array(size), axes)]
    return [graph.op("Slice", x[0], *bounds)]


@emits("BatchReindex")
def batch_reindex(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    graph.fix_batch()
    return [graph.op("Gather", x[0], graph.op("Cast", x[1], to=7), axis=0)]


@emits("Reduction")
def reduction(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    param, shape = node.layer.param, node.bottom[0].shape
    first = param.axis % len(shape)
    over = list(range(first, len(shape)))
    if first == 0:
        graph.fix_batch()
    kinds = pb.ReductionParameter
    if param.operation == kinds.MEAN:
        y = graph.op("ReduceMean", x[0], axes=over, keepdims=0)
    elif param.operation == kinds.SUM:
        y = graph.op("ReduceSum", x[0], graph.constant(np.array(over)), keepdims=0)
    else:
        kind = "ReduceL1" if param.operation == kinds.ASUM else "ReduceSumSquare"
        y = graph.op(kind, x[0], axes=over, keepdims=0)
    return [_linear(graph, y, param.coeff, 0)]


@emits("InnerProduct")
def inner_product(graph: OnnxGraph, node: LayerNode, x: list[str]) -> list[str]:
    param, shape = node.layer.param, node.bottom[0].shape
    axis = param.axis % len(shape)
    if axis == 0:
        graph.fix_batch()
    inputs = prod(shape[axis:])
    weight = parameter(graph, node, 0)
    bias = [parameter(graph, node, 1)] if param.bias_term else []
    rows = graph.reshape(x[0], shape, (*shape[:axis], inputs))
    if axis == 1:
        return [graph.op("Gemm", rows, weight, *bias, transB=0 if param.transpose else 1)]
    if not param.transpose:
        weight = graph.op("Transpose", weight, perm=[1, 0])
    y = graph.op("MatMul", rows, weight)
    return [graph.op("Add", y, *bias) if bias else y]
