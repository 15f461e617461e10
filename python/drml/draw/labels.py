"""What a layer's box says: settings, shapes and parameters, each line in a few words."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from drml.layers import Layer
from drml.locate import is_repeated
from drml.proto import caffe_pb2 as pb
from drml.text_table import shape_text

KINDS = ("data", "learned", "neuron", "pooling", "normalization", "loss", "other")
"""What the colors of boxes tell apart."""

WIDTH = 40
"""Letters of a line of settings, more or less."""

_NORMALIZING = frozenset({"BatchNorm", "Batch", "LRN", "MVN"})
_POOLING = frozenset({"Pooling", "SPP"})
# Sizes that a file gives once for both axes or for each, and how a box names them.
_PAIRS = {"kernel": "kernel_size", "grid": "", "stride": "stride", "pad": "pad"}
_SUFFIXES = ("_h", "_w")
# The fields that are worth a word where the file leaves them at their default.
_ALWAYS = frozenset({"pool", "operation", "stride", "pad"})
_MOST_TOPS = 4


def kind_of(layer_class: type[Layer]) -> str:
    """Which of KINDS a layer is."""
    if layer_class.is_data:
        return "data"
    if layer_class.is_loss:
        return "loss"
    if layer_class.type in _POOLING:
        return "pooling"
    if layer_class.type in _NORMALIZING:
        return "normalization"
    if any("filler" in field for field in layer_class.supported):
        return "learned"
    return "neuron" if layer_class.in_place and layer_class.bottoms == (1, 1) else "other"


def settings_lines(param: pb.LayerParameter, layer_class: type[Layer]) -> list[str]:
    """The settings of a layer that decide what it computes, in lines of about WIDTH letters."""
    words: list[str] = []
    own = layer_class.param_field
    if own and own != "input_param":
        words = _settings(getattr(param, own), layer_class)
    words += [f"loss_weight {weight:g}" for weight in param.loss_weight if weight != 1]
    return _wrapped(words)


def _settings(message: Any, layer_class: type[Layer]) -> list[str]:
    fields = {field.name: field for field in message.DESCRIPTOR.fields}
    # Fields of another message are written with its name.
    read = [name for name in fields if name in layer_class.supported]
    words = []
    for name, both in _PAIRS.items():
        pair = _pair(message, name, both if both in read else "", fields)
        if pair and not getattr(message, "global_pooling", False):
            words.append(f"{name} {pair}")
    handled = {*_PAIRS.values(), *(name + end for name in _PAIRS for end in _SUFFIXES)}
    for name in read:
        if name not in handled:
            words += _word(message, name, fields[name])
    return words


def _pair(message: Any, name: str, both: str, fields: Collection[str]) -> str:
    """`11 x 11` of a size that is given once or for each axis; '' of one that is not given."""
    ends = [name + end for end in _SUFFIXES]
    if ends[0] in fields and (any(message.HasField(end) for end in ends) or name == "grid"):
        return " x ".join(str(getattr(message, end)) for end in ends)
    if not both:
        return ""
    value = getattr(message, both)
    values = value if isinstance(value, Sequence) or hasattr(value, "append") else [value]
    if not values:
        default = {"stride": "1", "pad": "0"}
        return default.get(name, "")
    if name == "kernel" or len(set(values)) > 1:
        return f"{values[0]} x {values[-1]}"
    return str(values[0])


def _word(message: Any, name: str, field: Any) -> list[str]:
    """A field as `name value`; nothing where the file does not give it, or it is a message."""
    value = getattr(message, name)
    if field.message_type is not None:
        return []
    if is_repeated(field):
        most = [_value(field, item) for item in value[:4]]
        return [f"{name} {', '.join(most)}{', ...' * (len(value) > 4)}"] if most else []
    if not message.HasField(name) and name not in _ALWAYS:
        return []
    if name == "num_output":
        return [f"{value} output{'s' * (value != 1)}"]
    if field.cpp_type == field.CPPTYPE_BOOL:
        return [name if value else f"{name} false"]
    if field.enum_type is not None and name in _ALWAYS:
        return [_value(field, value)]
    return [f"{name} {_value(field, value)}"]


def _value(field: Any, value: Any) -> str:
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return text if len(text) <= WIDTH else f"...{os.sep}{os.path.basename(text)[-WIDTH:]}"


def _wrapped(words: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(word) + 2 <= WIDTH:
            lines[-1] += f", {word}"
        else:
            lines.append(word)
    return lines


def shape_lines(name: str, tops: Mapping[str, str]) -> list[str]:
    """The tops' shapes, each named unless the layer's only top has the layer's name.

    Args:
        name: the layer's; '' names no single top.
        tops: top -> its shape as text, '' where it is not known.
    """
    if len(tops) <= 1:
        return [
            shape if top == name or not name else f"{top}: {shape}"
            for top, shape in tops.items()
            if shape
        ]
    if len(tops) <= _MOST_TOPS:
        return [f"{top}: {shape}" if shape else top for top, shape in tops.items()]
    shapes = set(tops.values())
    same = shapes.pop() if len(shapes) == 1 else ""
    return [f"{len(tops)} tops{f', each {same}' if same else ''}"]


def merged_shape(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """A shape that may differ between phases: `N x 3 x 170 x 170` where the batch alone does.

    Args:
        shapes: phase -> shape.
    """
    found = list(dict.fromkeys(shapes.values()))
    if not found:
        return ""
    if len(found) == 1:
        return shape_text(found[0])
    if all(found) and len({shape[1:] for shape in found}) == 1:
        return " x ".join(["N", *map(str, found[0][1:])])
    return ", ".join(f"{phase} {shape_text(shape)}" for phase, shape in shapes.items())


def parameter_lines(learned: int, not_learned: int) -> list[str]:
    """How many parameters a layer has."""
    lines = []
    if learned:
        lines.append(f"{learned:,} parameter{'s' * (learned != 1)}")
    if not_learned:
        lines.append(f"{not_learned:,} not learned")
    return [", ".join(lines)] if lines else []
