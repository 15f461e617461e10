"""Brings V0 layers, `layers { layer { ... } bottom: ... }`, to V1, `layers { ... }`.

The rules are those of Caffe 1.0's upgrade_proto: every field moves into the message of its layer's
type, and a padding layer becomes the `pad` of the convolution or pooling that reads it. A field
that means nothing to its layer, which Caffe drops with a warning, is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drml.locate import is_repeated
from drml.nearest import nearest
from drml.proto import caffe_pb2 as pb
from drml.upgrade_error import UpgradeError

V1 = pb.V1LayerParameter

_TYPES: dict[str, pb.V1LayerParameter.LayerType] = {
    "accuracy": V1.ACCURACY,
    "bnll": V1.BNLL,
    "concat": V1.CONCAT,
    "conv": V1.CONVOLUTION,
    "data": V1.DATA,
    "dropout": V1.DROPOUT,
    "euclidean_loss": V1.EUCLIDEAN_LOSS,
    "flatten": V1.FLATTEN,
    "hdf5_data": V1.HDF5_DATA,
    "hdf5_output": V1.HDF5_OUTPUT,
    "im2col": V1.IM2COL,
    "images": V1.IMAGE_DATA,
    "infogain_loss": V1.INFOGAIN_LOSS,
    "innerproduct": V1.INNER_PRODUCT,
    "lrn": V1.LRN,
    "multinomial_logistic_loss": V1.MULTINOMIAL_LOGISTIC_LOSS,
    "pool": V1.POOLING,
    "relu": V1.RELU,
    "sigmoid": V1.SIGMOID,
    "softmax": V1.SOFTMAX,
    "softmax_loss": V1.SOFTMAX_LOSS,
    "split": V1.SPLIT,
    "tanh": V1.TANH,
    "window_data": V1.WINDOW_DATA,
}

_ANY = ""
_WEIGHTED = {"conv": "convolution_param", "innerproduct": "inner_product_param"}
_WINDOWED = {"conv": "convolution_param", "pool": "pooling_param"}
_SOURCES = {
    "data": "data_param",
    "hdf5_data": "hdf5_data_param",
    "images": "image_data_param",
    "window_data": "window_data_param",
}


def _in(messages: dict[str, str], field: str) -> dict[str, str]:
    return {layer: f"{message}.{field}" for layer, message in messages.items()}


# Where a field goes, by the V0 type of the layer.
_FIELDS: dict[str, dict[str, str]] = {
    "num_output": _in(_WEIGHTED, "num_output"),
    "biasterm": _in(_WEIGHTED, "bias_term"),
    "weight_filler": _in(_WEIGHTED, "weight_filler"),
    "bias_filler": _in(_WEIGHTED, "bias_filler"),
    "pad": _in(_WINDOWED, "pad"),
    "kernelsize": _in(_WINDOWED, "kernel_size"),
    "stride": _in(_WINDOWED, "stride"),
    "group": {"conv": "convolution_param.group"},
    "pool": {"pool": "pooling_param.pool"},
    "dropout_ratio": {"dropout": "dropout_param.dropout_ratio"},
    "local_size": {"lrn": "lrn_param.local_size"},
    "alpha": {"lrn": "lrn_param.alpha"},
    "beta": {"lrn": "lrn_param.beta"},
    "k": {"lrn": "lrn_param.k"},
    "source": _in(_SOURCES | {"infogain_loss": "infogain_loss_param"}, "source"),
    "batchsize": _in(_SOURCES, "batch_size"),
    "scale": {_ANY: "transform_param.scale"},
    "meanfile": {_ANY: "transform_param.mean_file"},
    "cropsize": {_ANY: "transform_param.crop_size"},
    "mirror": {_ANY: "transform_param.mirror"},
    "rand_skip": {"data": "data_param.rand_skip", "images": "image_data_param.rand_skip"},
    "shuffle_images": {"images": "image_data_param.shuffle"},
    "new_height": {"images": "image_data_param.new_height"},
    "new_width": {"images": "image_data_param.new_width"},
    "concat_dim": {"concat": "concat_param.concat_dim"},
    "det_fg_threshold": {"window_data": "window_data_param.fg_threshold"},
    "det_bg_threshold": {"window_data": "window_data_param.bg_threshold"},
    "det_fg_fraction": {"window_data": "window_data_param.fg_fraction"},
    "det_context_pad": {"window_data": "window_data_param.context_pad"},
    "det_crop_mode": {"window_data": "window_data_param.crop_mode"},
    "hdf5_output_param": {"hdf5_output": "hdf5_output_param"},
}
_KEPT = ("name", "blobs", "blobs_lr", "weight_decay")


def older_v0_paths(field_path: str) -> list[str]:
    """Where a V0 layer wrote a field of today's LayerParameter."""
    if field_path in ("name", "type"):
        return [f"layer.{field_path}"]
    return [f"layer.{old}" for old, homes in _FIELDS.items() if field_path in homes.values()]


def upgrade_v0_layer(old: pb.V1LayerParameter) -> pb.V1LayerParameter:
    """A V0 layer, its weights included, as V1.

    Raises:
        UpgradeError: the type is unknown, a field means nothing to it, or V1 fields stand beside.
    """
    new = V1(bottom=old.bottom, top=old.top)
    for field, _ in old.ListFields():
        if field.name not in ("bottom", "top", "layer"):
            raise UpgradeError(
                f"{field.name} stands beside the old `layer {{ }}`; write it inside, or the whole "
                "layer in today's form",
                field.name,
            )
    v0_type = old.layer.type
    for field, value in old.layer.ListFields():
        if field.name == "type":
            new.type = _v1_type(v0_type)
        elif field.name in _KEPT:
            _assign(new, field.name, value)
        else:
            homes = _FIELDS.get(field.name, {})
            target = homes.get(v0_type) or homes.get(_ANY)
            if target is None:
                raise UpgradeError(
                    f"{field.name} means nothing to a layer of type '{v0_type}'",
                    f"layer.{field.name}",
                )
            message, _, name = target.rpartition(".")
            _assign(getattr(new, message) if message else new, name, value)
    return new


def _v1_type(name: str) -> pb.V1LayerParameter.LayerType:
    if name not in _TYPES:
        hint = nearest(name, _TYPES)
        raise UpgradeError(f"unknown V0 layer type '{name}'{hint}", "layer.type")
    return _TYPES[name]


def _assign(message: Any, name: str, value: Any) -> None:
    field = message.DESCRIPTOR.fields_by_name[name]
    if is_repeated(field):
        # A single number, such as stride, became a list.
        getattr(message, name).extend([value] if isinstance(value, int | float) else value)
    elif field.message_type is not None:
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)


def is_padding(layer: pb.V1LayerParameter) -> bool:
    """Whether a layer only pads the bottom of another."""
    return bool(layer.layer.type == "padding")


def fold_padding(
    layers: Sequence[pb.V1LayerParameter], inputs: Sequence[str]
) -> list[tuple[int, pb.V1LayerParameter]]:
    """The layers but padding layers, whose `pad` the layers that read them have got.

    Args:
        layers: V0 layers, perhaps among V1 layers.
        inputs: the net's input blobs.

    Returns:
        The layers that are left, each with its number in `layers`.

    Raises:
        UpgradeError: another layer than a convolution or pooling reads a padding layer, or a blob
            comes from nowhere.
    """
    folded = []
    writers: dict[str, pb.V1LayerParameter | None] = dict.fromkeys(inputs)
    for index, layer in enumerate(layers):
        copy = V1()
        copy.CopyFrom(layer)
        for at, name in enumerate(layer.bottom):
            if layer.HasField("layer") and name not in writers:
                raise UpgradeError(
                    f"bottom '{name}' is no top of a layer before{nearest(name, writers)}",
                    f"layers[{index}].bottom[{at}]",
                )
            padding = writers.get(name)
            if padding is not None and is_padding(padding):
                _check_padding(padding, layer, f"layers[{index}]")
                copy.layer.pad = padding.layer.pad
                copy.bottom[at] = padding.bottom[0]
        if not is_padding(layer):
            folded.append((index, copy))
        writers |= dict.fromkeys(layer.top, layer)
    return folded


def _check_padding(padding: pb.V1LayerParameter, reader: pb.V1LayerParameter, where: str) -> None:
    name, kind = padding.layer.name, reader.layer.type
    if kind not in _WINDOWED:
        raise UpgradeError(
            f"padding layer '{name}' is read by a layer of type '{kind}'; conv and pool may", where
        )
    if len(reader.bottom) != 1 or len(padding.bottom) != 1 or len(padding.top) != 1:
        raise UpgradeError(
            f"padding layer '{name}' and the layer that reads it take one bottom each", where
        )
