"""Gives every reader of a shared blob a copy of its own, so that gradients can be summed."""

from __future__ import annotations

from collections import Counter

from drml.errors import NetError
from drml.nearest import nearest
from drml.proto import caffe_pb2 as pb
from drml.prototxt import LayerSource, NetFile

Top = tuple[int, int]
"""A version of a blob: the layer that makes it, and which of its tops it is."""


def insert_splits(net_file: NetFile) -> NetFile:
    """The net with a Split layer after every top that is read more than once.

    Names are Caffe's: top `t` number `i` of layer `l` is split by layer `t_l_i_split` into
    `t_l_i_split_0`, `t_l_i_split_1`... A layer that works in place makes a new version of its blob,
    and readers count for the version that they see. A loss_weight counts as a reader, and moves to
    the Split's first top. (Caffe clears the layer's other loss weights too, which is not copied.)

    Raises:
        NetError: a bottom that no layer makes, or a top that two layers make; file, line and layer.
    """
    readers, sources_of = count_readers(net_file)
    layers: list[LayerSource] = []
    producers: dict[str, LayerSource] = {}
    used: Counter[Top] = Counter()
    for index, source in enumerate(net_file.layers):
        param = pb.LayerParameter()
        param.CopyFrom(source.param)
        for position, name in enumerate(source.param.bottom):
            top = sources_of[index, position]
            if readers[top] > 1:
                split = _split_name(net_file, top, name)
                param.bottom[position] = f"{split}_{used[top]}"
                used[top] += 1
        layers.append(source.replaced(param))
        for position, name in enumerate(source.param.top):
            _check_top(source, param, position, producers)
            producers[name] = source
            top = (index, position)
            if readers[top] > 1:
                weight = _loss_weight(param, position)
                if weight:
                    # Written as 0: with none at all, a loss layer's own default would count twice.
                    param.loss_weight[position] = 0
                    used[top] += 1
                split = _split_name(net_file, top, name)
                layers.append(source.replaced(_split_layer(split, name, readers[top], weight)))
    return net_file.with_layers(layers)


def count_readers(net_file: NetFile) -> tuple[Counter[Top], dict[tuple[int, int], Top]]:
    """How often every top is read, and which top every bottom (layer, position) is.

    Raises:
        NetError: a bottom that no layer makes.
    """
    newest: dict[str, Top] = {}
    readers: Counter[Top] = Counter()
    sources_of: dict[tuple[int, int], Top] = {}
    for index, source in enumerate(net_file.layers):
        for position, name in enumerate(source.param.bottom):
            if name not in newest:
                raise NetError(_unknown_bottom(net_file, source, position, newest))
            sources_of[index, position] = newest[name]
            readers[newest[name]] += 1
        for position, name in enumerate(source.param.top):
            newest[name] = (index, position)
            if _loss_weight(source.param, position):
                readers[index, position] += 1
    return readers, sources_of


def _loss_weight(param: pb.LayerParameter, position: int) -> float:
    return param.loss_weight[position] if position < len(param.loss_weight) else 0.0


def _split_name(net_file: NetFile, top: Top, name: str) -> str:
    index, position = top
    return f"{name}_{net_file.layers[index].param.name}_{position}_split"


def _split_layer(name: str, bottom: str, count: int, loss_weight: float) -> pb.LayerParameter:
    layer = pb.LayerParameter(name=name, type="Split", bottom=[bottom])
    layer.top.extend(f"{name}_{index}" for index in range(count))
    if loss_weight:
        layer.loss_weight.extend([loss_weight] + [0.0] * (count - 1))
    return layer


def _unknown_bottom(
    net_file: NetFile, source: LayerSource, position: int, made: dict[str, Top]
) -> str:
    name = source.param.bottom[position]
    message = f"{source.label(f'bottom[{position}]')}: no layer makes bottom '{name}'"
    for other in net_file.layers:
        if name in other.param.top:
            line = other.where().rpartition(":")[2]
            return f"{message} before this one; layer '{other.param.name}' of line {line} does"
    return message + nearest(name, made)


def _check_top(
    source: LayerSource,
    param: pb.LayerParameter,
    position: int,
    producers: dict[str, LayerSource],
) -> None:
    """Refuses a top that another layer has made, unless the layer works on it in place."""
    name = param.top[position]
    if name not in producers or (position < len(param.bottom) and param.bottom[position] == name):
        return
    first = producers[name]
    line = first.where().rpartition(":")[2]
    made = f"layer '{first.param.name}' of line {line}"
    if name in source.param.bottom:
        message = f"works in place on '{name}' of {made}, but another layer reads that blob before"
        raise NetError(
            f"{source.label(f'top[{position}]')}: {message}; give the top a name of its own"
        )
    raise NetError(f"{source.label(f'top[{position}]')}: top '{name}' is made by {made} already")
