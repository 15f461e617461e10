"""Where each field of a net or solver file is written, and what is wrong with it.

protobuf's text_format turns the text into a message but forgets the lines. This reader walks the
same text beside the schema: it records the line of every field, and meets unknown names, wrong
kinds of value and unmatched braces first, so that each can be told with its line and a near match.
"""

from __future__ import annotations

import re
from typing import cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from drml.errors import PrototxtError
from drml.nearest import LONGEST_NAME, nearest

_TOKEN = re.compile(
    r"""(?P<skip>(?:\s|\#[^\n]*)+)
    | (?P<word>[A-Za-z_][\w+-]*)
    | (?P<number>(?:[0-9+-]|\.[0-9])[\w.+-]*)
    | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<open>["'][^\n]*)
    | (?P<mark>.)""",
    re.VERBOSE | re.ASCII,
)
# All that text_format and Caffe's own reader take alike.
_ESCAPE = re.compile(
    r"""\\(?:[abfnrtv"'\\]|[0-3]?[0-7]{1,2}|x[0-9a-fA-F]{1,2}|(?P<bad>.|\Z))""", re.ASCII
)
_PATH_PART = re.compile(r"(\w+)(?:\[(\d+)\])?")
_CLOSING = {"{": "}", "<": ">"}

_BOOL_WORDS = frozenset({"true", "false", "True", "False", "t", "f"})
_FLOAT_WORD = re.compile(r"-?(?:inf|infinity|nan)f?", re.IGNORECASE)
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fF]?", re.ASCII)
_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|\d+)", re.ASCII)
_INTEGER_RANGE = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether a field may be given many times."""
    # The attributes that say so changed between protobuf's versions; the default did not.
    return bool(field.default_value == [])


def descriptor_of(kind: type[Message]) -> Descriptor:
    """The description of a message's fields."""
    return cast(Descriptor, kind.DESCRIPTOR)


class Place:
    """A field of a text file: the line it starts on, and the places of the fields inside it."""

    __slots__ = ("fields", "line")

    def __init__(self, line: int, fields: dict[str, list[Place]] | None = None) -> None:
        self.line = line
        self.fields: dict[str, list[Place]] = {} if fields is None else fields

    def find(self, field_path: str) -> tuple[Place, bool]:
        """The place of `a.b[2].c`, and whether all of the path is in the file.

        Where a part has no index it is 0. Where a part is not in the file, the place is that of the
        innermost part that is.
        """
        place = self
        for name, index in _PATH_PART.findall(field_path):
            found = place.fields.get(name, ())
            position = int(index or 0)
            if position >= len(found):
                return place, False
            place = found[position]
        return place, True


def locate(text: str, kind: type[Message], name: str, mistaken: type[Message]) -> Place:
    """The place of every field of a message in protobuf's text format.

    Args:
        text: the file's text, lines ended by newlines.
        kind: the message that the text should hold.
        name: the file's name, for errors.
        mistaken: a message that a user might give in its stead, a solver's for a net's.

    Raises:
        PrototxtError: one line with file:line, for the first thing that is not of this message.
    """
    return _Reader(text, name, descriptor_of(mistaken)).read(descriptor_of(kind))


class _Reader:
    """Walks the tokens of one text; `self._at` is the next token."""

    def __init__(self, text: str, name: str, mistaken: Descriptor) -> None:
        self._name = name
        self._mistaken = mistaken
        self._kinds: list[str] = []
        self._texts: list[str] = []
        self._lines: list[int] = []
        self._at = 0
        line = 1
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or ""
            if kind == "skip":
                line += match.group().count("\n")
                continue
            self._kinds.append(kind)
            self._texts.append(match.group())
            self._lines.append(line)
        self._kinds.append("end")
        self._texts.append("")
        self._lines.append(line)

    def read(self, descriptor: Descriptor) -> Place:
        place = Place(1)
        self._message(descriptor, place, "")
        return place

    def _error(self, line: int, message: str) -> PrototxtError:
        return PrototxtError(f"{self._name}:{line}: {message}")

    def _found(self) -> str:
        """The next token as an error shows it."""
        text = self._texts[self._at]
        if self._kinds[self._at] == "end":
            return "the end of the file"
        if self._kinds[self._at] == "open":
            return "a string without its closing quote"
        if len(text) > LONGEST_NAME:
            text = text[:LONGEST_NAME] + "..."
        return text if text[0] in "\"'" else repr(text)

    def _message(
        self,
        descriptor: Descriptor,
        place: Place,
        closing: str,
        outer: Descriptor | None = None,
        opened: str = "",
    ) -> None:
        """Reads fields up to and including `closing` ('' for the end of the file)."""
        known = descriptor.fields_by_name
        while True:
            kind, text, line = self._kinds[self._at], self._texts[self._at], self._lines[self._at]
            if kind == "end":
                if closing:
                    raise self._error(place.line, f"the block of '{opened}' is never closed")
                return
            if kind == "mark" and text == closing:
                self._at += 1
                return
            if kind != "word":
                if text in ("}", ">") and not closing:
                    raise self._error(line, f"'{text}' closes a block that was never opened")
                raise self._error(line, f"a field name should stand here, not {self._found()}")
            field = known.get(text)
            if field is None:
                raise self._error(line, self._unknown_field(text, descriptor, outer, place.line))
            self._at += 1
            self._field(field, line, place)
            if self._texts[self._at] in (",", ";"):
                self._at += 1

    def _unknown_field(
        self, name: str, descriptor: Descriptor, outer: Descriptor | None, opened_line: int
    ) -> str:
        """Says that the message has no such field, and what may have been meant."""
        shown = name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "..."
        message = f"{descriptor.name} has no field '{shown}'"
        if outer is None and name in self._mistaken.fields_by_name:
            return f"{message}, but {self._mistaken.name} has; is this the right file?"
        hint = nearest(name, descriptor.fields_by_name)
        if hint:
            return message + hint
        if outer is not None and name in outer.fields_by_name:
            return f"{message}; is the block of line {opened_line} never closed?"
        homes = [
            field.name
            for field in descriptor.fields
            if field.message_type is not None and name in field.message_type.fields_by_name
        ]
        if homes:
            more = " and others" if len(homes) > 3 else ""
            return f"{message}; it is one of {', '.join(homes[:3])}{more}"
        return message

    def _field(self, field: FieldDescriptor, line: int, place: Place) -> None:
        """Reads what follows a field's name: one value or block, or a list of them."""
        found = place.fields.setdefault(field.name, [])
        repeated = is_repeated(field)
        if found and not repeated:
            raise self._error(
                line,
                f"'{field.name}' is given twice in one {_owner(field)}, first on line "
                f"{found[0].line}",
            )
        colon = self._texts[self._at] == ":"
        if colon:
            self._at += 1
        is_block = field.message_type is not None
        if not colon and not is_block:
            if self._texts[self._at] in _CLOSING:
                raise self._error(line, f"'{field.name}' takes {wanted_value(field)}, not a block")
            raise self._error(line, f"a ':' and a value should follow '{field.name}'")
        one = self._block if is_block else self._value
        if self._texts[self._at] != "[" or not repeated:
            found.append(one(field))
            return
        self._at += 1
        while self._texts[self._at] != "]":
            found.append(one(field))
            if self._texts[self._at] == ",":
                self._at += 1
            elif self._texts[self._at] != "]":
                raise self._error(
                    self._lines[self._at],
                    f"',' or ']' should stand in the list of '{field.name}', not {self._found()}",
                )
        self._at += 1

    def _block(self, field: FieldDescriptor) -> Place:
        bracket, line = self._texts[self._at], self._lines[self._at]
        if bracket not in _CLOSING:
            raise self._error(
                line, f"a block {{ ... }} should follow '{field.name}', not {self._found()}"
            )
        assert field.message_type is not None
        place = Place(self._lines[self._at - 1])
        self._at += 1
        self._message(
            field.message_type, place, _CLOSING[bracket], field.containing_type, field.name
        )
        return place

    def _value(self, field: FieldDescriptor) -> Place:
        kind, text, line = self._kinds[self._at], self._texts[self._at], self._lines[self._at]
        if not _fits(field, kind, text):
            enum = field.enum_type
            message = (
                f"{_owner(field)}.{field.name} wants {wanted_value(field)}, not {self._found()}"
            )
            if enum is not None and kind == "string" and text[1:-1] in enum.values_by_name:
                message += "; write it without quotes"
            elif enum is not None:
                message += nearest(text.upper(), enum.values_by_name)
            raise self._error(line, message)
        self._at += 1
        if kind == "string":
            self._check_escapes(text, line)
            # Strings in a row are one string.
            while self._kinds[self._at] == "string":
                self._check_escapes(self._texts[self._at], self._lines[self._at])
                self._at += 1
        return Place(line)

    def _check_escapes(self, text: str, line: int) -> None:
        for match in _ESCAPE.finditer(text) if "\\" in text else ():
            if match["bad"]:
                raise self._error(
                    line,
                    f"'{match.group()}' means nothing in a string; a backslash is written '\\\\'",
                )


def _owner(field: FieldDescriptor) -> str:
    assert field.containing_type is not None
    return str(field.containing_type.name)


def _fits(field: FieldDescriptor, kind: str, text: str) -> bool:
    """Whether one token can be a value of the field."""
    if field.enum_type is not None:
        enum: EnumDescriptor = field.enum_type
        if kind == "word":
            return text in enum.values_by_name
        return kind == "number" and text.isdigit() and int(text) in enum.values_by_number
    if field.type in _INTEGER_RANGE:
        low, high = _INTEGER_RANGE[field.type]
        return (
            kind == "number"
            and _INTEGER.fullmatch(text) is not None
            # Longer ones are out of range, and int() is slow on a very long one.
            and len(text) < 30
            and low <= _integer(text) <= high
        )
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return (_FLOAT.fullmatch(text) or _FLOAT_WORD.fullmatch(text)) is not None
    if field.type == FieldDescriptor.TYPE_BOOL:
        return text in _BOOL_WORDS or text in ("0", "1")
    return kind == "string"


def _integer(text: str) -> int:
    """The number that `text` means: 0x is hexadecimal, a leading 0 octal, as in C."""
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits.strip("01234567") == ""
    value = int(digits, 8 if octal else 16 if digits[:2] in ("0x", "0X") else 10)
    return -value if text[0] == "-" else value


def wanted_value(field: FieldDescriptor) -> str:
    """What a value of the field looks like, in words."""
    if field.enum_type is not None:
        names = [value.name for value in field.enum_type.values]
        return " or ".join(names) if len(names) <= 4 else f"a name such as {names[1]}, no quotes"
    if field.type in _INTEGER_RANGE:
        low, high = _INTEGER_RANGE[field.type]
        return f"a whole number from {low} to {high}"
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return "a number"
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "true or false"
    return "text in quotes"
