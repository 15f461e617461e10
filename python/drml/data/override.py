"""Puts other data into a net: the command line's --train-data and --test-data."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from google.protobuf.message import Message

from drml.data.kinds import Kind, kind_of
from drml.errors import UsageError
from drml.locate import descriptor_of
from drml.proto import caffe_pb2 as pb
from drml.prototxt import NetFile

_REPLACED = ("Data", "ImageData", "MultilabelImageData", "HDF5Data")
_PARAMS = ("data_param", "image_data_param", "hdf5_data_param")
_SIZE = ("new_height", "new_width")


def with_sources(
    net: pb.NetParameter,
    phase: int,
    path: str | PathLike[str],
    batch_size: int | None = None,
    mean_file: str | PathLike[str] | None = None,
    zero_is_negative: bool = False,
) -> pb.NetParameter:
    """A copy of the net whose data layer of `phase` reads `path`.

    The layer gets the type that reads the path: Data for an LMDB, MultilabelImageData for an image
    list, HDF5Data for a list of HDF5 files. Name, tops, rules and transform stay, and so do the
    options that the new type has too. A list is shuffled in TRAIN unless the net's own layer reads
    a list and says otherwise, because lists are mostly sorted by person. A layer of both phases
    becomes two.

    Args:
        net: the net, with `layer` only.
        phase: pb.TRAIN or pb.TEST.
        path: an LMDB's folder, or a list.
        batch_size: replaces the layer's.
        mean_file: replaces the transform's mean.
        zero_is_negative: read label 0 as -1.

    Raises:
        DataError: the path does not exist, or is no data.
        UsageError: the net has no data layer of that phase, or more than one, or the new type
            cannot do what the layer asks for.
    """
    index, layers = _replace(net, phase, path, batch_size, mean_file, zero_is_negative)
    result = pb.NetParameter()
    result.CopyFrom(net)
    del result.layer[index:]
    result.layer.extend([*layers, *net.layer[index + 1 :]])
    return result


def with_sources_in_file(
    file: NetFile,
    phase: int,
    path: str | PathLike[str],
    batch_size: int | None = None,
    mean_file: str | PathLike[str] | None = None,
    zero_is_negative: bool = False,
) -> NetFile:
    """As `with_sources`, for a net file: errors go on to name the lines of the layer as written."""
    index, new = _replace(file.message, phase, path, batch_size, mean_file, zero_is_negative)
    layers = list(file.layers)
    layers[index : index + 1] = [layers[index].replaced(layer) for layer in new]
    return file.with_layers(layers)


def _replace(
    net: pb.NetParameter,
    phase: int,
    path: str | PathLike[str],
    batch_size: int | None,
    mean_file: str | PathLike[str] | None,
    zero_is_negative: bool,
) -> tuple[int, list[pb.LayerParameter]]:
    """The index of the layer to replace, and what stands for it."""
    kind = kind_of(Path(path))
    index = _data_layer(net, phase)
    old = net.layer[index]
    new = _replacement(old, kind, phase, str(path), batch_size, zero_is_negative)
    if mean_file is not None:
        if kind is Kind.HDF5_LIST:
            raise UsageError(f"{path}: HDF5 data is not transformed, so a mean has no use")
        new.transform_param.ClearField("mean_value")
        new.transform_param.mean_file = str(mean_file)
    if not _in_phase(old, _other(phase)):
        return index, [new]
    kept = pb.LayerParameter()
    kept.CopyFrom(old)
    _restrict(kept, _other(phase))
    _restrict(new, phase)
    return index, [kept, new]


def _other(phase: int) -> int:
    return pb.TEST if phase == pb.TRAIN else pb.TRAIN


def _in_phase(layer: pb.LayerParameter, phase: int) -> bool:
    """Whether a layer may be part of a net of the phase, by the phases its rules name."""
    if layer.HasField("phase") and layer.phase != phase:
        return False
    if layer.include:
        return any(not rule.HasField("phase") or rule.phase == phase for rule in layer.include)
    only = (rule for rule in layer.exclude if len(rule.ListFields()) == 1)
    return not any(rule.HasField("phase") and rule.phase == phase for rule in only)


def _restrict(layer: pb.LayerParameter, phase: int) -> None:
    """Leaves of the layer's rules what holds in the phase, and makes them hold only there."""
    rules = [rule for rule in layer.include if not rule.HasField("phase") or rule.phase == phase]
    del layer.include[:]
    layer.include.extend(rules)
    for rule in layer.include:
        rule.MergeFrom(_rule(phase))
    if layer.exclude:
        layer.exclude.append(_rule(_other(phase)))
    elif not rules:
        layer.include.append(_rule(phase))


def _rule(phase: int) -> pb.NetStateRule:
    return pb.NetStateRule(phase=_phase_name(phase))


def _phase_name(phase: int) -> str:
    return pb.Phase.Name(pb.Phase.ValueType(phase))


def _data_layer(net: pb.NetParameter, phase: int) -> int:
    found = [
        index
        for index, layer in enumerate(net.layer)
        if layer.type in _REPLACED and _in_phase(layer, phase)
    ]
    name = _phase_name(phase)
    if not found:
        raise UsageError(f"the net has no data layer in phase {name} that could read other data")
    if len(found) > 1:
        names = ", ".join(f"'{net.layer[index].name}'" for index in found)
        raise UsageError(f"the net has {len(found)} data layers in phase {name} ({names}), not one")
    return found[0]


def _replacement(
    old: pb.LayerParameter,
    kind: Kind,
    phase: int,
    path: str,
    batch_size: int | None,
    zero_is_negative: bool,
) -> pb.LayerParameter:
    new = pb.LayerParameter()
    new.CopyFrom(old)
    for field in _PARAMS:
        new.ClearField(field)
    new.type = kind.value
    own = getattr(old, _param_of(old.type))
    size = batch_size or own.batch_size
    gray = old.transform_param.force_gray or not old.image_data_param.is_color
    if kind is Kind.IMAGE_LIST:
        if old.type in ("ImageData", "MultilabelImageData"):
            new.image_data_param.CopyFrom(old.image_data_param)
            new.image_data_param.ClearField("root_folder")
            new.image_data_param.ClearField("zero_is_negative")
        else:
            new.image_data_param.shuffle = phase == pb.TRAIN
            _keep(old.data_param, new.image_data_param, _SIZE)
            if gray:
                new.image_data_param.is_color = False
        new.image_data_param.source = path
        new.image_data_param.batch_size = size
        if zero_is_negative:
            new.image_data_param.zero_is_negative = True
        new.transform_param.ClearField("force_color")
        new.transform_param.ClearField("force_gray")
    elif kind is Kind.LMDB:
        # The names of one data base's records are not those of another, so `keys` goes.
        _keep(own, new.data_param, _SIZE if old.type != "Data" else (*_SIZE, "shuffle", "balance"))
        new.data_param.source = path
        new.data_param.backend = pb.DataParameter.LMDB
        new.data_param.batch_size = size
        if zero_is_negative:
            new.data_param.zero_is_negative = True
        if gray:
            new.transform_param.force_gray = True
    else:
        if old.HasField("transform_param"):
            raise UsageError(
                f"{path}: layer '{old.name}' transforms its images, which HDF5 data cannot be"
            )
        new.hdf5_data_param.source = path
        new.hdf5_data_param.batch_size = size
        new.hdf5_data_param.shuffle = phase == pb.TRAIN
    if old.data_param.HasField("prefetch"):
        new.data_param.prefetch = old.data_param.prefetch
    return new


def _keep(old: Message, new: Message, names: Sequence[str]) -> None:
    """Copies the fields of `names` that `old` has and sets."""
    for name in names:
        if name in descriptor_of(type(old)).fields_by_name and old.HasField(name):
            setattr(new, name, getattr(old, name))


def _param_of(layer_type: str) -> str:
    return {"Data": "data_param", "HDF5Data": "hdf5_data_param"}.get(layer_type, "image_data_param")
