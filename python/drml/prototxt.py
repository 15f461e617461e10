"""Reads net and solver files (`.prototxt`), remembers the line of every field, and checks fields.

Messages are protobuf's; old formats are upgraded on reading, so the rest of the program meets
`layer` and `type` only. All errors are PrototxtError: one line that names file and line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import text_format
from google.protobuf.message import Message

from drml.errors import PrototxtError
from drml.locate import Place, is_repeated, locate
from drml.proto import caffe_pb2 as pb
from drml.upgrade import (
    MOVED_TO_TRANSFORM,
    kept_layers,
    older_paths,
    upgrade_net,
    upgrade_solver,
)
from drml.upgrade_error import UpgradeError

if TYPE_CHECKING:
    from drml.layers.base import Layer

__all__ = [
    "LayerSource",
    "NetFile",
    "SolverFile",
    "check_layer_fields",
    "check_supported",
    "parse_net",
    "parse_solver",
    "read_net",
    "read_solver",
]

# The longest published net files hold a megabyte.
_LARGEST = 8 << 20

# Fields of LayerParameter that the net itself reads, whatever the layer's type.
_NET_FIELDS = frozenset(
    {
        *("name", "type", "bottom", "top", "phase", "include", "exclude"),
        *("param", "loss_weight", "propagate_down"),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class LayerSource:
    """A layer of a net file and where it is written.

    Attributes:
        param: the layer, in today's form whatever the file's.
        path: the file's name as the user gave it.
        place: where the layer and its fields stand in the file.
    """

    param: pb.LayerParameter
    path: str
    place: Place

    def where(self, field_path: str = "") -> str:
        """`file:line` of a field, `bottom[1]` or `convolution_param.stride`; of the layer for ''.

        A field that the file does not give is answered by the block that it would stand in.
        """
        place, complete = self.place.find(field_path)
        if not complete:
            for older in older_paths(field_path):
                older_place, complete = self.place.find(older)
                if complete:
                    place = older_place
                    break
        return f"{self.path}:{place.line}"

    def replaced(self, param: pb.LayerParameter) -> LayerSource:
        """Another layer that errors place where this one is written."""
        return replace(self, param=param)

    def label(self, field_path: str = "") -> str:
        """How errors begin: `net.prototxt:12: layer 'conv4' (Convolution)`."""
        return f"{self.where(field_path)}: layer '{self.param.name}' ({self.param.type})"


class NetFile:
    """A net as its file describes it.

    Attributes:
        message: the net, in today's form.
        path: the file's name as the user gave it.
        layers: the layers with their places, parallel to `message.layer`.
    """

    def __init__(
        self, message: pb.NetParameter, path: str, places: Sequence[Place], place: Place
    ) -> None:
        self.message = message
        self.path = path
        self.layers = [
            LayerSource(param, path, layer_place)
            for param, layer_place in zip(message.layer, places, strict=True)
        ]
        self._place = place

    def where(self, field_path: str = "") -> str:
        """`file:line` of a field of the net, such as `force_backward` or `state.stage[1]`."""
        return f"{self.path}:{self._place.find(field_path)[0].line}"

    def with_layers(self, layers: Sequence[LayerSource]) -> NetFile:
        """The same net with other layers; what is changed in the copy stays in the copy."""
        message = pb.NetParameter()
        for field, value in self.message.ListFields():
            if field.name == "layer":
                continue
            if field.message_type is not None:
                getattr(message, field.name).CopyFrom(value)
            else:
                setattr(message, field.name, value)
        message.layer.extend(source.param for source in layers)
        file = NetFile(message, self.path, [source.place for source in layers], self._place)
        file.layers = [
            source.replaced(param) for source, param in zip(layers, message.layer, strict=True)
        ]
        return file


class SolverFile:
    """A solver as its file describes it.

    Attributes:
        message: the solver; the old `solver_type` has become `type`.
        path: the file's name as the user gave it.
    """

    def __init__(self, message: pb.SolverParameter, path: str, place: Place) -> None:
        self.message = message
        self.path = path
        self._place = place

    def where(self, field_path: str = "") -> str:
        """`file:line` of a field such as `stepvalue[1]` or `train_state.stage`."""
        return f"{self.path}:{self._place.find(field_path)[0].line}"

    def net(self, field_path: str) -> NetFile:
        """The net written inside the solver, in `net_param` or `test_net_param[0]`."""
        name, _, index = field_path.rstrip("]").partition("[")
        message = getattr(self.message, name)
        if not isinstance(message, pb.NetParameter):
            message = message[int(index or 0)]
        return _net_file(message, self.path, self._place.find(field_path)[0])


def read_net(path: str | PathLike[str]) -> NetFile:
    """Reads a net file and upgrades it to today's form.

    Raises:
        PrototxtError: the file cannot be read, or is not a net.
    """
    return parse_net(_read_text(path, "net"), str(path))


def parse_net(text: str, name: str = "<text>") -> NetFile:
    """A net from its text; `name` stands for the file in errors."""
    message = pb.NetParameter()
    place = _parse(text, message, name, pb.SolverParameter)
    if not (message.layer or message.layers or message.input):
        raise PrototxtError(f"{name}: there is no layer in this net file")
    return _net_file(message, name, place)


def read_solver(path: str | PathLike[str]) -> SolverFile:
    """Reads a solver file.

    Raises:
        PrototxtError: the file cannot be read, or is not a solver.
    """
    return parse_solver(_read_text(path, "solver"), str(path))


def parse_solver(text: str, name: str = "<text>") -> SolverFile:
    """A solver from its text; `name` stands for the file in errors."""
    message = pb.SolverParameter()
    place = _parse(text, message, name, pb.NetParameter)
    if not message.ListFields():
        raise PrototxtError(f"{name}: the solver file is empty")
    try:
        upgrade_solver(message)
    except UpgradeError as error:
        line = place.find(error.field_path)[0].line
        raise PrototxtError(f"{name}:{line}: {error}") from error
    return SolverFile(message, name, place)


def _read_text(path: str | PathLike[str], wanted: str) -> str:
    file = Path(path)
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise PrototxtError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise PrototxtError(f"{path}: this is a folder; a {wanted} file is wanted") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PrototxtError(f"{path}: cannot be read: {reason}") from error
    if len(content) > _LARGEST:
        raise PrototxtError(f"{path}: larger than any {wanted} file ({_LARGEST >> 20} MB)")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PrototxtError(
            f"{path}:{line}: not a text in UTF-8; a {wanted} file (.prototxt) is wanted"
        ) from error
    if "\0" in text:
        raise PrototxtError(f"{path}: a binary file; a {wanted} file (.prototxt) is wanted")
    return text


def _parse(text: str, message: Message, name: str, mistaken: type[Message]) -> Place:
    """Fills `message` from `text` and returns where its fields are."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    place = locate(text, type(message), name, mistaken)
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        # Of "line:column : 'the line': reason" the reason alone.
        reason = re.sub(r"^\d+:\d+ : (?:'.*': )?", "", str(error), flags=re.DOTALL)
        line = error.GetLine() or 1
        raise PrototxtError(f"{name}:{line}: {' '.join(reason.split())}") from error
    return place


def _net_file(message: pb.NetParameter, name: str, place: Place) -> NetFile:
    """Upgrades a net and finds the place of each of its layers."""
    old = place.fields.get("layers", [])
    places = [old[index] for index in kept_layers(message)] or place.fields.get("layer", [])
    if message.input:
        if not message.input_dim and not message.input_shape:
            line = place.fields["input"][0].line
            raise PrototxtError(
                f"{name}:{line}: input '{message.input[0]}' has no input_dim or input_shape"
            )
        places = [Place(place.fields["input"][0].line, place.fields), *places]
    try:
        return NetFile(upgrade_net(message), name, places, place)
    except UpgradeError as error:
        line = place.find(error.field_path)[0].line
        raise PrototxtError(f"{name}:{line}: {error}") from error


def check_supported(
    message: Message,
    supported: Collection[str],
    where: Callable[[str], str],
    *,
    prefix: str = "",
    label: str = "",
) -> None:
    """Refuses a field that is set and not in `supported`, unless it is set to its default.

    Args:
        message: a solver, or a layer's sub-message.
        supported: names of the fields of `message` that are honoured.
        where: gives `file:line` of a field, such as SolverFile.where.
        prefix: path of `message` within what `where` knows, such as `convolution_param.`.
        label: what the error says before the field, such as `layer 'conv1' (Convolution): `.

    Raises:
        PrototxtError: names the first such field and its line.
    """
    for field, value in message.ListFields():
        if field.name in supported:
            continue
        is_default = not is_repeated(field) and field.has_default_value
        if is_default and value == field.default_value:
            continue
        raise PrototxtError(
            f"{where(prefix + field.name)}: {label}{prefix or message.DESCRIPTOR.name + '.'}"
            f"{field.name} is not supported"
        )


def check_layer_fields(source: LayerSource, layer_class: type[Layer]) -> list[str]:
    """Checks that a layer's type honours every field that its file sets.

    `layer_class.supported` and `layer_class.hints` name fields of the message `param_field`; those
    of another message are written with its name, as in `transform_param.mirror`.

    Returns:
        Notes, one line each: the type's remark, and fields that change nothing, which are hints for
        Caffe's engines and messages that this type of layer does not read.

    Raises:
        PrototxtError: a field that the layer does not support, with its line.
    """
    own = layer_class.param_field
    supported = _by_message(layer_class.supported, own)
    hints = _by_message(layer_class.hints, own)
    notes = [layer_class.remark] if layer_class.remark else []
    for field, value in source.param.ListFields():
        name = field.name
        if name in _NET_FIELDS:
            continue
        if name == "blobs":
            raise PrototxtError(
                f"{source.label(name)}: weights are read from .caffemodel files only"
            )
        if name not in supported and name not in hints and name != own:
            notes.append(f"{source.label(name)}: {name} is not read by this type of layer")
            continue
        prefix = f"{name}."
        if name.endswith("data_param") and "transform_param" in supported:
            for moved in MOVED_TO_TRANSFORM:
                if any(child.name == moved for child, _ in value.ListFields()):
                    raise PrototxtError(
                        f"{source.label(prefix + moved)}: {prefix}{moved} is not read, "
                        f"nor is it by Caffe; write transform_param {{ {moved}: ... }}"
                    )
        harmless = hints.get(name, set())
        label = f"layer '{source.param.name}' ({source.param.type}): "
        allowed = supported.get(name, set()) | harmless
        check_supported(value, allowed, source.where, prefix=prefix, label=label)
        for child, setting in value.ListFields():
            if child.name in harmless and setting != child.default_value:
                notes.append(
                    f"{source.label(prefix + child.name)}: {prefix}{child.name} chooses among "
                    "Caffe's implementations and changes nothing here"
                )
    return notes


def _by_message(names: Collection[str], own: str) -> dict[str, set[str]]:
    """Field names by the message that they belong to; those without a message belong to `own`."""
    result: dict[str, set[str]] = {}
    for name in names:
        message, _, field = name.rpartition(".")
        result.setdefault(message or own, set()).add(field)
    return result
