"""Nets written in Python, as with pycaffe's net_spec.

    from drml import NetSpec, layers as L, params as P
    n = NetSpec()
    n.data, n.label = L.DummyData(shape=[dict(dim=[8, 3, 32, 32]), dict(dim=[8])], ntop=2)
    n.conv1 = L.Convolution(n.data, num_output=16, kernel_size=3, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    net = n.to_proto()

A keyword is a field of the layer's own message (num_output), or of LayerParameter (loss_weight,
include, param, transform_param). Blobs and layers are called by the attributes that they are
assigned to, others by their type and a number. Errors are one line with the nearest name that
exists.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from drml.errors import PrototxtError
from drml.layers import find, unknown_type
from drml.locate import is_repeated, wanted_value
from drml.nearest import nearest
from drml.proto import caffe_pb2 as pb

_LAYER_FIELDS = pb.LayerParameter.DESCRIPTOR.fields_by_name

Names = dict["Top | Function", str]


class UnknownNameError(PrototxtError, AttributeError):
    """A layer type, constant or blob that there is none of."""


class Top:
    """One top of a layer: what other layers take as a bottom.

    Attributes:
        fn: the layer.
        n: the top's number among the layer's.
    """

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> pb.NetParameter:
        """The net of all layers that this top needs."""
        return to_proto(self)


class Function:
    """A layer: its type, its bottoms and its fields.

    Args:
        type_name: the type, as in a prototxt.
        inputs: its bottoms.
        params: its fields by name, with `ntop`, the number of its tops (1), and `in_place`, whether
            its tops are its bottoms (False).

    Raises:
        PrototxtError: an input is no top, or a field is unknown or has a wrong value.
    """

    def __init__(self, type_name: str, inputs: tuple[Any, ...], params: Mapping[str, Any]) -> None:
        for index, top in enumerate(inputs):
            if not isinstance(top, Top):
                hint = "; take one of them" if isinstance(top, tuple | list) else ""
                raise PrototxtError(
                    f"layer {type_name}: input {index} is no top but a {type(top).__name__}{hint}"
                )
        fields = dict(params)
        self.type_name = type_name
        self.inputs: tuple[Top, ...] = inputs
        self.ntop = fields.pop("ntop", 1)
        self.in_place = bool(fields.pop("in_place", False))
        if not isinstance(self.ntop, int) or self.ntop < 0:
            raise PrototxtError(f"layer {type_name}: ntop is 0 or more, not {self.ntop!r}")
        self.tops = tuple(Top(self, n) for n in range(self.ntop))
        self.param = _layer_parameter(type_name, fields)

    def to_proto(self) -> pb.NetParameter:
        """The net of all layers that this layer needs, and itself."""
        return to_proto(self)

    def _write(
        self, layers: OrderedDict[Function, pb.LayerParameter], names: Names, counts: Counter[str]
    ) -> None:
        """Adds this layer, whose inputs are there already, to `layers`."""
        layer = pb.LayerParameter(type=self.type_name)
        layer.bottom.extend(layers[top.fn].top[top.n] for top in self.inputs)
        if self.in_place:
            layer.top.extend(layer.bottom)
        else:
            layer.top.extend(_name(top, names, counts) for top in self.tops)
        if self not in names:
            names[self] = _name(self.tops[0] if self.tops else self, names, counts)
        layer.name = names[self]
        layer.MergeFrom(self.param)
        layers[self] = layer


def _name(item: Top | Function, names: Names, counts: Counter[str]) -> str:
    """What was assigned, or the type and how many of it were named so."""
    if item not in names:
        kind = item.fn.type_name if isinstance(item, Top) else item.type_name
        counts[kind] += 1
        names[item] = f"{kind}{counts[kind]}"
    return names[item]


def _net(items: list[Top | Function], names: Names) -> pb.NetParameter:
    """All layers that the items need: each after those it reads, in the order of its inputs."""
    layers: OrderedDict[Function, pb.LayerParameter] = OrderedDict()
    counts: Counter[str] = Counter()
    for item in items:
        waiting = [item.fn if isinstance(item, Top) else item]
        while waiting:
            function = waiting[-1]
            missing = next((top.fn for top in function.inputs if top.fn not in layers), None)
            if missing is not None:
                waiting.append(missing)
                continue
            waiting.pop()
            if function not in layers:
                function._write(layers, names, counts)
    return pb.NetParameter(layer=layers.values())


def to_proto(*tops: Top | Function) -> pb.NetParameter:
    """The net of all layers that some tops need, named by their types and numbers."""
    return _net(list(tops), {})


class NetSpec:
    """A net whose attributes are its tops, by the names that they get.

    `to_proto` gives the net of all layers that the assigned tops need, in the order in which they
    were assigned. A name that is no Python name goes into brackets: n["fc8-new"] = ...

    Raises:
        PrototxtError: what is assigned is no top, or there is no top of a name.
    """

    tops: OrderedDict[str, Top | Function]

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(value, Top | Function):
            several = isinstance(value, tuple | list) and all(isinstance(v, Top) for v in value)
            hint = f"; its layer has {len(value)}, assign them one by one" if several else ""
            raise PrototxtError(f"{name} is assigned a {type(value).__name__}, no top{hint}")
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "tops":
            raise AttributeError(name)
        if name not in self.tops:
            raise UnknownNameError(f"no top '{name}' was assigned{nearest(name, self.tops)}")
        return self.tops[name]

    def __delattr__(self, name: str) -> None:
        self.__getattr__(name)
        del self.tops[name]

    __setitem__ = __setattr__
    __getitem__ = __getattr__
    __delitem__ = __delattr__

    def to_proto(self) -> pb.NetParameter:
        """The net of all layers that the assigned tops need."""
        return _net(list(self.tops.values()), {top: name for name, top in self.tops.items()})


# ------------------------------------------------------------------------------------------------
# Layers and their fields


def layer_function(type_name: str) -> Callable[..., Any]:
    """What `layers.Convolution` is: makes a layer and returns its tops.

    The function takes the bottoms, and as keywords the fields, `ntop` and `in_place`. It returns
    the layer's one top, a tuple of its tops, or the layer itself where it has none.

    Raises:
        UnknownNameError: there is no such type; the nearest is named.
    """
    if find(type_name) is None:
        raise UnknownNameError(unknown_type(type_name))

    def make(*inputs: Any, **params: Any) -> Any:
        function = Function(type_name, inputs, params)
        if function.ntop == 1:
            return function.tops[0]
        return function.tops or function

    make.__name__ = type_name
    return make


def _own_message(type_name: str) -> str:
    """The field of LayerParameter that holds a type's own fields; '' for none."""
    for field in pb.LayerParameter.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.name == f"{type_name}Parameter":
            return field.name
    layer_class = find(type_name)
    return layer_class.param_field if layer_class is not None else ""


def _layer_parameter(type_name: str, fields: Mapping[str, Any]) -> pb.LayerParameter:
    layer = pb.LayerParameter()
    own = _own_message(type_name)
    own_fields = getattr(layer, own).DESCRIPTOR.fields_by_name if own else {}
    for name, value in fields.items():
        if name in own_fields and not name.endswith("param"):
            _assign(getattr(layer, own), name, value, f"layer {type_name}")
        elif name in _LAYER_FIELDS and name not in ("name", "type", "bottom", "top"):
            _assign(layer, name, value, f"layer {type_name}")
        else:
            hint = nearest(name, [*own_fields, *_LAYER_FIELDS])
            raise PrototxtError(f"layer {type_name} has no field '{name}'{hint}")
    return layer


def _assign(message: Any, name: str, value: Any, where: str) -> None:
    """Puts a Python value into a field: dicts are messages, lists repeat, one value is a list."""
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        hint = nearest(name, message.DESCRIPTOR.fields_by_name)
        raise PrototxtError(f"{where} has no field '{name}'{hint}")
    where = f"{where}: {name}"
    if hasattr(value, "tolist"):
        value = value.tolist()  # NumPy's arrays and numbers as Python's
    values = list(value) if isinstance(value, list | tuple) else [value]
    if len(values) != 1 and not is_repeated(field):
        raise PrototxtError(f"{where} takes one value, not {len(values)}")
    for item in values:
        try:
            if field.message_type is not None:
                _assign_message(message, field, item, where)
            elif is_repeated(field):
                getattr(message, name).append(_scalar(field, item))
            else:
                setattr(message, name, _scalar(field, item))
        except (TypeError, ValueError) as error:
            raise PrototxtError(f"{where} wants {wanted_value(field)}, not {item!r}") from error


def _assign_message(message: Any, field: Any, item: Any, where: str) -> None:
    target = getattr(message, field.name)
    if is_repeated(field):
        target = target.add()
    if isinstance(item, Message) and item.DESCRIPTOR is target.DESCRIPTOR:
        target.CopyFrom(item)
    elif isinstance(item, Mapping):
        target.SetInParent()
        for key, inner in item.items():
            _assign(target, key, inner, where)
    else:
        raise PrototxtError(f"{where} wants dict(...) of its fields, not {item!r}")


def _scalar(field: Any, item: Any) -> Any:
    """A value as protobuf takes it: names of an enum as their numbers."""
    if field.enum_type is not None and isinstance(item, str):
        if item not in field.enum_type.values_by_name:
            raise ValueError(item)
        return field.enum_type.values_by_name[item].number
    return item


class Constants:
    """The constants of a message: `params.Pooling.MAX`."""

    def __init__(self, name: str) -> None:
        message = getattr(pb, f"{name}Parameter", None)
        if message is None:
            known = [key[: -len("Parameter")] for key in dir(pb) if key.endswith("Parameter")]
            raise UnknownNameError(f"no parameters are called '{name}'{nearest(name, known)}")
        self._name = name
        self._values: Mapping[str, Any] = message.DESCRIPTOR.enum_values_by_name

    def __getattr__(self, name: str) -> int:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._values:
            raise UnknownNameError(
                f"{self._name} has no constant '{name}'{nearest(name, self._values)}"
            )
        return int(self._values[name].number)
