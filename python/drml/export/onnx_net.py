"""A net as an ONNX model for inference, of standard operators alone."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from drml.errors import NetError, UsageError, WeightsError
from drml.export import onnx_layers, onnx_windows
from drml.export.onnx_graph import OnnxGraph
from drml.layers import find
from drml.nearest import nearest
from drml.net import Net
from drml.prototxt import NetFile
from drml.weights import atomic_write

EMITTERS = onnx_layers.EMITTERS | onnx_windows.EMITTERS
# protobuf's limit for a message, less room for what is not constants.
_LARGEST = 2**31 - 2**24


def check_types(file: NetFile) -> None:
    """Raises NetError for the first layer of a net file that ONNX cannot hold."""
    for source in file.layers:
        kind = source.param.type
        layer_class = find(kind)
        if layer_class is not None and layer_class.is_data and kind != "Input":
            raise NetError(
                f"{source.where('type')}: layer '{source.param.name}' ({kind}): ONNX holds no data "
                "layers; export the deploy form of the net"
            )


def onnx_model(net: Net, outputs: Sequence[str] = ()) -> tuple[OnnxGraph, bytes]:
    """The net of phase TEST as an ONNX model.

    Blobs keep their names. Axis 0 takes any batch size unless a layer mixes the images of a batch
    (`fixed_by` of the graph that is returned). Dropout and Split leave no trace.

    Args:
        net: the net, with its weights.
        outputs: blobs to be the model's outputs; those that no layer reads if empty.

    Returns:
        The graph, and the model serialized.

    Raises:
        NetError: a layer has a type, or parameters, that are not exported.
        UsageError: there is no blob of a name in `outputs`.
        WeightsError: the model would pass the 2 GB that a file of ONNX can have.
    """
    graph = OnnxGraph()
    wanted = list(outputs or net.outputs)
    for name in wanted:
        if name not in net.blobs:
            raise UsageError(f"{net.path}: no blob is named '{name}'{nearest(name, net.blobs)}")
    values = {name: graph.fresh(name) for name in net.inputs}
    last_writer = _last_writers(net)
    if len({net.blobs[name].shape[:1] for name in net.inputs}) > 1:
        graph.begin(net.layers[0].name)
        graph.fix_batch()
    for node in net.layers:
        if node.type == "Input":
            continue
        emit = EMITTERS.get(node.type)
        if emit is None:
            raise node.layer.error("is not exported to ONNX", "type")
        graph.begin(node.name)
        tops = emit(graph, node, [values[name] for name in node.bottom_names])
        for name, top in zip(node.top_names, tops, strict=True):
            if top in values.values():
                values[name] = top
            elif last_writer[name] == node.index and name not in net.inputs:
                values[name] = graph.rename(top, name)
            else:
                values[name] = graph.rename(top, f"{name}@{node.name}")
    for name in wanted:
        if values[name] != name and name not in net.inputs:
            graph.begin(name)
            values[name] = graph.rename(graph.op("Identity", values[name]), name)
    if graph.bytes() > _LARGEST:
        raise WeightsError(
            f"{net.path}: {graph.bytes() / 2**30:.1f} GB of weights; ONNX files end at 2 GB"
        )
    model = graph.model(
        net.name,
        [(name, net.blobs[name].shape) for name in net.inputs],
        [(values[name], net.blobs[name].shape) for name in wanted],
    )
    return graph, model.SerializeToString()


def export_onnx(net: Net, path: str | PathLike[str], outputs: Sequence[str] = ()) -> OnnxGraph:
    """Writes `onnx_model` of the net to a file, whole or not at all."""
    graph, content = onnx_model(net, outputs)
    atomic_write(path, content)
    return graph


def _last_writers(net: Net) -> dict[str, int]:
    """The layer, by index, that writes a blob's final value; layers that pass it on aside."""
    found: dict[str, int] = {}
    for node in net.layers:
        for name in node.top_names:
            if not (node.type == "Dropout" and name in node.bottom_names):
                found[name] = node.index
    return found
