"""Brings nets and weights of older Caffe formats to today's: `layers` to `layer`, and the like.

The rules are those of Caffe 1.0's upgrade_proto: V0 layers become V1 (`upgrade_v0.py`), data
transformations move to transform_param, V1 `layers` become `layer`, the `input` fields become an
Input layer, the three param blocks of old BatchNorm layers get multipliers of 0, and a solver's
`solver_type` becomes `type`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from drml.proto import caffe_pb2 as pb
from drml.upgrade_error import UpgradeError
from drml.upgrade_v0 import fold_padding, is_padding, older_v0_paths, upgrade_v0_layer

V1 = pb.V1LayerParameter

_TYPE_NAMES: dict[int, str] = {
    V1.NONE: "",
    V1.ABSVAL: "AbsVal",
    V1.ACCURACY: "Accuracy",
    V1.ARGMAX: "ArgMax",
    V1.BNLL: "BNLL",
    V1.CONCAT: "Concat",
    V1.CONTRASTIVE_LOSS: "ContrastiveLoss",
    V1.CONVOLUTION: "Convolution",
    V1.DATA: "Data",
    V1.DECONVOLUTION: "Deconvolution",
    V1.DROPOUT: "Dropout",
    V1.DUMMY_DATA: "DummyData",
    V1.ELTWISE: "Eltwise",
    V1.EUCLIDEAN_LOSS: "EuclideanLoss",
    V1.EXP: "Exp",
    V1.FLATTEN: "Flatten",
    V1.HDF5_DATA: "HDF5Data",
    V1.HDF5_OUTPUT: "HDF5Output",
    V1.HINGE_LOSS: "HingeLoss",
    V1.IM2COL: "Im2col",
    V1.IMAGE_DATA: "ImageData",
    V1.INFOGAIN_LOSS: "InfogainLoss",
    V1.INNER_PRODUCT: "InnerProduct",
    V1.LRN: "LRN",
    V1.MEMORY_DATA: "MemoryData",
    V1.MULTINOMIAL_LOGISTIC_LOSS: "MultinomialLogisticLoss",
    V1.MVN: "MVN",
    V1.POOLING: "Pooling",
    V1.POWER: "Power",
    V1.RELU: "ReLU",
    V1.SIGMOID: "Sigmoid",
    V1.SIGMOID_CROSS_ENTROPY_LOSS: "SigmoidCrossEntropyLoss",
    V1.SILENCE: "Silence",
    V1.SLICE: "Slice",
    V1.SOFTMAX: "Softmax",
    V1.SOFTMAX_LOSS: "SoftmaxWithLoss",
    V1.SPLIT: "Split",
    V1.TANH: "TanH",
    V1.THRESHOLD: "Threshold",
    V1.WINDOW_DATA: "WindowData",
}

_SOLVER_TYPES: dict[int, str] = {
    pb.SolverParameter.SGD: "SGD",
    pb.SolverParameter.NESTEROV: "Nesterov",
    pb.SolverParameter.ADAGRAD: "AdaGrad",
    pb.SolverParameter.RMSPROP: "RMSProp",
    pb.SolverParameter.ADADELTA: "AdaDelta",
    pb.SolverParameter.ADAM: "Adam",
}

# Data layers whose own message held the transformation once, and the fields that moved.
_TRANSFORMED: dict[int, str] = {
    V1.DATA: "data_param",
    V1.IMAGE_DATA: "image_data_param",
    V1.WINDOW_DATA: "window_data_param",
}
MOVED_TO_TRANSFORM = ("scale", "mean_file", "crop_size", "mirror")

# V1 fields that became others; those not listed kept name and message.
_RENAMED = frozenset({"type", "param", "blob_share_mode", "blobs_lr", "weight_decay", "layer"})

_OLD_PARAM_PATHS = {
    "name": "param[{}]",
    "share_mode": "blob_share_mode[{}]",
    "lr_mult": "blobs_lr[{}]",
    "decay_mult": "weight_decay[{}]",
}


def older_paths(field_path: str) -> list[str]:
    """Where an older format wrote a field of LayerParameter, the likeliest first."""
    if match := re.fullmatch(r"param(?:\[(\d+)\])?\.(\w+)", field_path):
        old = _OLD_PARAM_PATHS.get(match[2])
        path = old.format(match[1] or 0) if old else ""
        return [path, f"layer.{path}"] if old else []
    v0 = older_v0_paths(field_path)
    if field_path.startswith("transform_param."):
        field = field_path.partition(".")[2]
        return [*(f"{message}.{field}" for message in _TRANSFORMED.values()), *v0]
    if match := re.fullmatch(r"input_param\.shape(?:\[(\d+)\])?(\.dim.*)?", field_path):
        first = int(match[1] or 0)
        return [f"input_shape[{first}]{match[2] or ''}", f"input_dim[{4 * first}]"]
    if match := re.fullmatch(r"top(\[\d+\])?", field_path):
        return [f"input{match[1] or ''}"]
    return v0


def upgrade_v1_layer(old: pb.V1LayerParameter) -> pb.LayerParameter:
    """A V1 or V0 layer, its weights included, in today's form.

    Raises:
        UpgradeError: it is a V0 layer that cannot be upgraded.
    """
    if old.HasField("layer"):
        old = upgrade_v0_layer(old)
    new = pb.LayerParameter()
    for field, value in old.ListFields():
        if field.name in _RENAMED:
            continue
        target = getattr(new, field.name)
        if field.name in ("blobs", "include", "exclude"):
            for item in value:
                target.add().CopyFrom(item)
        elif field.message_type is not None:
            target.CopyFrom(value)
        elif field.name == "name":
            new.name = value
        else:
            target.extend(value)
    if old.HasField("type"):
        new.type = _TYPE_NAMES[old.type]
    count = max(len(old.param), len(old.blob_share_mode), len(old.blobs_lr), len(old.weight_decay))
    for _ in range(count):
        new.param.add()
    for param, name in zip(new.param, old.param, strict=False):
        param.name = name
    for param, mode in zip(new.param, old.blob_share_mode, strict=False):
        permissive = mode == V1.PERMISSIVE
        param.share_mode = pb.ParamSpec.PERMISSIVE if permissive else pb.ParamSpec.STRICT
    for param, rate in zip(new.param, old.blobs_lr, strict=False):
        param.lr_mult = rate
    for param, decay in zip(new.param, old.weight_decay, strict=False):
        param.decay_mult = decay
    _move_transform(old.type, new)
    return new


def _move_transform(v1_type: int, layer: pb.LayerParameter) -> None:
    message = _TRANSFORMED.get(v1_type)
    if message is None or not layer.HasField(message):
        return
    old = getattr(layer, message)
    for name in MOVED_TO_TRANSFORM:
        if old.HasField(name):
            setattr(layer.transform_param, name, getattr(old, name))
            old.ClearField(name)


def _input_layer(net: pb.NetParameter) -> pb.LayerParameter | None:
    """The Input layer that stands for the net's `input` fields, if there are any with shapes."""
    names, shapes, dims = net.input, net.input_shape, net.input_dim
    if not shapes and not dims:
        return None
    if shapes and dims:
        raise UpgradeError("input_dim and input_shape exclude each other", "input_dim")
    if shapes and len(shapes) != len(names):
        raise UpgradeError(
            f"{len(shapes)} input_shape for {len(names)} input; one each is needed", "input_shape"
        )
    if dims and len(dims) != 4 * len(names):
        raise UpgradeError(
            f"{len(dims)} input_dim for {len(names)} input; four each are needed", "input_dim"
        )
    layer = pb.LayerParameter(name="input", type="Input", top=names)
    for index in range(len(names)):
        shape = layer.input_param.shape.add()
        if shapes:
            shape.CopyFrom(shapes[index])
        else:
            shape.dim.extend(dims[4 * index : 4 * index + 4])
    return layer


def upgrade_net(net: pb.NetParameter) -> pb.NetParameter:
    """A net, with or without weights, in today's form; the very message where little is old.

    Raises:
        UpgradeError: `layer` beside `layers`, `input` fields that do not fit together, or V0 layers
            that cannot be upgraded.
    """
    if net.layers and net.layer:
        raise UpgradeError(
            "`layer` and the old `layers` stand in one file; write them all as `layer`", "layers"
        )
    input_layer = _input_layer(net)
    if net.layers or net.input:
        layers = [*net.layer, *_upgraded_layers(net)]
        if input_layer is not None:
            layers.insert(0, input_layer)
        upgraded = pb.NetParameter(layer=layers)
        for field, value in net.ListFields():
            if field.name == "state":
                upgraded.state.CopyFrom(value)
            elif field.name in ("name", "force_backward", "debug_info"):
                setattr(upgraded, field.name, value)
        net = upgraded
    for layer in net.layer:
        # Caffe's rule: the statistics are never learned, whatever old files say.
        if layer.type == "BatchNorm" and len(layer.param) == 3:
            for param in layer.param:
                param.lr_mult = param.decay_mult = 0
    return net


def kept_layers(net: pb.NetParameter) -> list[int]:
    """The numbers of those `layers` that become a `layer`: all but V0 padding layers."""
    return [index for index, layer in enumerate(net.layers) if not is_padding(layer)]


def _upgraded_layers(net: pb.NetParameter) -> Iterator[pb.LayerParameter]:
    for index, old in fold_padding(net.layers, net.input):
        try:
            yield upgrade_v1_layer(old)
        except UpgradeError as error:
            path = f"layers[{index}].{error.field_path}"
            raise UpgradeError(str(error), path) from None


def upgrade_solver(solver: pb.SolverParameter) -> None:
    """Turns the old `solver_type` into `type`, in place.

    Raises:
        UpgradeError: both are given.
    """
    if not solver.HasField("solver_type"):
        return
    if solver.HasField("type"):
        raise UpgradeError(
            "`type` and the old `solver_type` exclude each other; keep `type`", "solver_type"
        )
    solver.type = _SOLVER_TYPES[solver.solver_type]
    solver.ClearField("solver_type")
