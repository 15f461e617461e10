"""Reads a TOML file against a description of its keys; every mistake is one line with its place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from drml.data.images import read_bytes
from drml.errors import UsageError
from drml.nearest import nearest

Value = TypeVar("Value")

_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?")
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}


class Toml:
    """A TOML file: its tables, and where their keys stand.

    Args:
        path: of the file.

    Raises:
        UsageError: the file cannot be read, or is no TOML.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            raise UsageError(f"{path}: is a folder, not a TOML file")
        try:
            text = read_bytes(path).decode("utf-8-sig")
            self.root: dict[str, Any] = tomllib.loads(text)
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: is no TOML: it is not text in UTF-8") from error
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{path}: is no TOML: {error}") from error
        self._lines = text.splitlines()

    def table(self, *names: str) -> Table:
        """The table `[a.b]`; one that is not in the file is empty."""
        values: Any = self.root
        for depth, name in enumerate(names):
            values = values.get(name, {})
            if not isinstance(values, dict):
                where = self.where(names[:depth], name)
                raise UsageError(f"{where}: {name} is a table, [{'.'.join(names[: depth + 1])}]")
        return Table(self, names, values)

    def where(self, names: tuple[str, ...], key: str) -> str:
        """`file:line` of a key of a table; the file alone where the line is not found."""
        inside = not names
        header = ".".join(names)
        key_line = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]")
        for number, line in enumerate(self._lines, 1):
            if match := _HEADER.fullmatch(line):
                found = re.sub(r"[\s\"']", "", match[1])
                if found == ".".join((*names, key)):
                    return f"{self.path}:{number}"
                inside = found == header
            elif inside and key_line.match(line):
                return f"{self.path}:{number}"
        return str(self.path)


class Table:
    """A table's keys, each read once, by the kind that it must have.

    Args:
        file: the file.
        names: of the table, from the outside; () is the file's own.
        values: its keys.
    """

    def __init__(self, file: Toml, names: tuple[str, ...], values: Mapping[str, Any]) -> None:
        self._file = file
        self._names = names
        self._values = values

    def check_known(self, known: Collection[str]) -> None:
        """Refuses a key that is not known, and names the nearest that is."""
        for key in self._values:
            if key not in known:
                hint = nearest(key, known) or f"; known are {', '.join(sorted(known))}"
                self.fail(key, f"{self._label(key)} is not known{hint}")

    @property
    def names(self) -> list[str]:
        """The keys that the file gives."""
        return list(self._values)

    def has(self, key: str) -> bool:
        """Whether the file gives the key."""
        return key in self._values

    def get(
        self,
        key: str,
        default: Value,
        kind: type[Value],
        *,
        at_least: float | None = None,
        above: float | None = None,
        choices: Collection[str] | None = None,
    ) -> Value:
        """A value of one kind.

        Args:
            key: of the table.
            default: where the file does not give it.
            kind: bool, int, float (which may be written as a whole number) or str.
            at_least, above: limits of a number.
            choices: of a text.

        Raises:
            UsageError: the value is of another kind, or out of range.
        """
        if key not in self._values:
            return default
        return self._checked(key, self._values[key], kind, at_least, above, choices)

    def get_list(
        self,
        key: str,
        default: tuple[Value, ...],
        kind: type[Value],
        *,
        at_least: float | None = None,
        above: float | None = None,
        choices: Collection[str] | None = None,
    ) -> tuple[Value, ...]:
        """A list, not empty and without repeats, of values as `get` reads them."""
        if key not in self._values:
            return default
        values = self._values[key]
        if not isinstance(values, list) or not values:
            self.fail(key, f"{self._label(key)} must be a list, not {values!r}")
        found = tuple(self._checked(key, value, kind, at_least, above, choices) for value in values)
        for value in found:
            if found.count(value) > 1:
                self.fail(key, f"{self._label(key)} holds {value} twice")
        return found

    def get_path(self, key: str, exists: Callable[[Path], str]) -> Path | None:
        """A path, relative to the file's folder; None where it is not given.

        Args:
            key: of the table.
            exists: says why the path cannot be used, '' where it can.
        """
        if key not in self._values:
            return None
        path = self._file.path.parent / self.get(key, "", str)
        problem = exists(path)
        if problem:
            self.fail(key, problem)
        return path

    def fail(self, key: str, message: str) -> NoReturn:
        """Raises UsageError at a key's line."""
        raise UsageError(f"{self._file.where(self._names, key)}: {message}")

    def _label(self, key: str) -> str:
        return f"'{key}' of [{'.'.join(self._names)}]" if self._names else f"'{key}'"

    def _checked(
        self,
        key: str,
        value: Any,
        kind: type[Value],
        at_least: float | None,
        above: float | None,
        choices: Collection[str] | None,
    ) -> Value:
        accepted = (int, float) if kind is float else (kind,)
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            self.fail(key, f"{self._label(key)} must be {_KINDS[kind]}, not {value!r}")
        if isinstance(value, float) and not abs(value) < float("inf"):
            self.fail(key, f"{self._label(key)} must be a finite number, not {value}")
        number: Any = value
        if at_least is not None and number < at_least:
            self.fail(key, f"{self._label(key)} must be {at_least:g} or more, not {value}")
        if above is not None and number <= above:
            self.fail(key, f"{self._label(key)} must be more than {above:g}, not {value}")
        if choices is not None and value not in choices:
            hint = nearest(str(value), choices) or f"; known are {', '.join(choices)}"
            self.fail(key, f"{self._label(key)} does not know '{value}'{hint}")
        return kind(value)  # type: ignore[call-arg]
