"""The command line: `python -m drml.run COMMAND ...` and `python -m drml.run FILE.prototxt ...`.

Each module of drml/commands is a command, found by its name and imported only when it is asked
for. Here is the one place where an error becomes a line on stderr and an exit status: 2 for an
error of the user's input or surroundings, 130 for an interrupt, 141 for a pipe closed early.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import keyword
import os
import pkgutil
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from drml import commands
from drml.commands.options import Parser, add_common, file_problem, near_option
from drml.errors import DrmlError, UsageError
from drml.nearest import nearest

EXIT_OK = 0
EXIT_ERROR = 2
EXIT_INTERRUPT = 130
EXIT_PIPE = 141

_NOT_COMMANDS = frozenset({"bare", "nets", "options"})
_WITH_VALUE = frozenset({"--threads", "--device"})
_WITHOUT_VALUE = frozenset({"--debug", "--version", "--help", "-h"})

_DESCRIPTION = """\
Trains, tests and times DRML and other Caffe nets from their prototxt files.

  drml COMMAND [options]        one of the commands below
  drml FILE.prototxt [options]  a solver: trains; a net with data layers: trains by the paper's
                                settings, then tests; a deploy net: runs forward and prints its
                                outputs ('drml FILE.prototxt --help' lists the options)
"""


def command_names() -> list[str]:
    """Names of the commands, sorted: the modules of drml/commands that are not helpers.

    A command's `-` is `_` in its module's name, and one that is a word of Python's ends in `_`.
    """
    names = {module.name for module in pkgutil.iter_modules(commands.__path__)}
    return sorted(name.rstrip("_").replace("_", "-") for name in names - _NOT_COMMANDS)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line, without the program's name, and returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name that is not valid text must not stop its being printed.
            stream.reconfigure(errors="backslashreplace")
    status = EXIT_OK
    try:
        # argparse leaves with SystemExit after --help.
        with contextlib.suppress(SystemExit):
            status = _dispatch(words)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        _drop_stdout()
        return EXIT_PIPE
    except KeyboardInterrupt:
        return _fail(words, "interrupted", EXIT_INTERRUPT)
    except DrmlError as error:
        return _fail(words, str(error))
    except MemoryError as error:
        return _fail(words, f"not enough memory{f': {error}' if str(error) else ''}")
    except OSError as error:
        return _fail(words, _describe(error))


def entry() -> NoReturn:
    """The program: `main`, then the end of the process with its exit status."""
    sys.unraisablehook = _repeat_interrupt
    status = main()
    if status == EXIT_INTERRUPT:
        # Where the interrupt passed through an exec() of text, as imports have them, CPython would
        # remember it and end by SIGINT instead of the status.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status)
    sys.exit(status)


def _repeat_interrupt(unraisable: sys.UnraisableHookArgs) -> None:
    """Interrupts again where the interrupt met a callback, such as an import's, and was dropped."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        threading.Timer(0.01, os.kill, [os.getpid(), signal.SIGINT]).start()
    else:
        sys.__unraisablehook__(unraisable)


def _dispatch(words: list[str]) -> int:
    front, command, rest = _split(words)
    if command is None:
        return _without_command(front)
    module, parser = _command_parser(command)
    args = parser.parse_all([*front, *rest])
    from drml import _core

    _core.set_threads(args.threads)
    status: int = module.run(args)
    return status


def _split(words: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Options before the command, the command or file, and what follows it."""
    front: list[str] = []
    left = iter(range(len(words)))
    for index in left:
        word = words[index]
        if not word.startswith("-") or word == "-":
            return front, word, words[index + 1 :]
        front.append(word)
        name = word.partition("=")[0]
        if name not in _WITH_VALUE | _WITHOUT_VALUE:
            hint = near_option(name, _WITH_VALUE | _WITHOUT_VALUE)
            raise UsageError(
                f"unknown option '{name}'{hint or '; options of a command come after its name'}"
            )
        if name in _WITH_VALUE and "=" not in word:
            front.extend(words[i] for i in [next(left, None)] if i is not None)
    return front, None, []


def _without_command(front: list[str]) -> int:
    parser = Parser(
        prog="drml",
        description=_DESCRIPTION,
        usage="drml [--threads N] [--device cpu|cuda[:n]] [--debug] COMMAND | FILE.prototxt ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common(parser)
    parser.add_argument(
        "--version", action="store_true", help="print versions, instruction sets and devices"
    )
    if {"-h", "--help"} & set(front):
        # Only here is every command imported, for its line of help.
        subparsers = parser.add_subparsers(title="commands", metavar="")
        for name in command_names():
            _module(name).add_parser(subparsers)
    args = parser.parse_all(front)
    if not args.version:
        raise UsageError(
            "a command or a FILE.prototxt is missing; 'drml --help' lists the commands"
        )
    print(_versions(args.threads))
    return 0


def _module(name: str) -> ModuleType:
    module = name.replace("-", "_") + "_" * keyword.iskeyword(name)
    return importlib.import_module(f"drml.commands.{module}")


def _command_parser(command: str) -> tuple[ModuleType, Parser]:
    """The module that does `command`, which may be a file, and the parser of its options."""
    name = command if command in command_names() else "bare"
    if name == "bare":
        _check_file(command)
    module = _module(name)
    parser = Parser(prog="drml")
    subparsers = parser.add_subparsers(parser_class=Parser)
    module.add_parser(subparsers)
    chosen: Parser = subparsers.choices[name]
    add_common(chosen)
    if name == "bare":
        chosen.prog = f"drml {command}"
        chosen.set_defaults(file=Path(command))
    return module, chosen


def _check_file(word: str) -> None:
    """Refuses a word that is neither a command nor a readable file.

    Raises:
        UsageError: names the nearest command, or the nearest file, in one line.
    """
    problem = file_problem(Path(word))
    looks_like_a_file = os.sep in word or "." in word or Path(word).exists()
    if not looks_like_a_file:
        names = command_names()
        known = nearest(word, names) or f"; known are {', '.join(names)}"
        raise UsageError(f"unknown command '{word}'{known}")
    if problem:
        raise UsageError(problem)


def _versions(threads: int) -> str:
    import platform

    import numpy as np

    from drml import __version__, _core

    _core.set_threads(threads)
    return "\n".join(
        (
            f"drml {__version__}",
            f"oneDNN {_core.onednn_version()}, instruction set {_core.onednn_isa()}",
            f"kernels of drml: instruction set {_core.isa()}",
            f"threads: {_core.get_threads()}",
            f"devices: {_devices()}",
            f"Python {platform.python_version()}, numpy {np.__version__}",
        )
    )


def _devices() -> str:
    from drml import cuda

    names = ["cpu"]
    for index in range(cuda.device_count()):
        try:
            info = cuda.device_info(index)
        except (ValueError, RuntimeError, MemoryError) as error:
            names.append(f"cuda:{index} (not usable: {error})")
        else:
            major, minor = info.compute_capability
            names.append(
                f"cuda:{index} ({info.name}, compute capability {major}.{minor}, "
                f"{info.free_bytes / 1e9:.1f} of {info.total_bytes / 1e9:.1f} GB free)"
            )
    why = cuda.why_unavailable()
    return ", ".join(names) + (f" (cuda: {why})" if why else "")


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename is not None else reason


def _fail(words: list[str], message: str, status: int = EXIT_ERROR) -> int:
    if "--debug" in words:
        traceback.print_exc()
    _drop_unwritable_stdout()
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in message)
    with contextlib.suppress(OSError):
        print(f"drml: error: {line}", file=sys.stderr, flush=True)
    return status


def _drop_unwritable_stdout() -> None:
    """Flushes what was printed before the error, or keeps Python from trying again at exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        _drop_stdout()


def _drop_stdout() -> None:
    with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


if __name__ == "__main__":
    entry()
