"""What the commands share: option types that check a value, and a parser that raises."""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from drml.errors import UsageError
from drml.nearest import nearest

MAX_INT = 2**31 - 1
"""The largest count that Caffe's int32 fields hold."""

_SINGLE_DASH = re.compile(r"-([A-Za-z][\w-]+)(=.*)?", re.DOTALL)


def near_option(word: str, known: Iterable[str]) -> str:
    """`; did you mean '--x'?` for the option nearest to `word`, or '' when none is near."""
    by_name = {option.lstrip("-"): option for option in known}
    match = difflib.get_close_matches(word.lstrip("-"), by_name, n=1)
    return f"; did you mean '{by_name[match[0]]}'?" if match else ""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError, in one line, where argparse prints and leaves.

    Long options may be written with one dash, as Caffe's own flags are: `-solver FILE`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs | {"allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)

    def parse_all(self, words: Sequence[str]) -> argparse.Namespace:
        """Parses `words`; what is left over is an error that names the nearest option.

        Raises:
            UsageError: an option is unknown, lacks its value, or has one that it cannot take.
        """
        args, left = self.parse_known_args([self._two_dashes(word) for word in words])
        if not left:
            return args
        word = left[0]
        if word.startswith("-"):
            name = word.partition("=")[0]
            raise UsageError(
                f"unknown option '{name}'{near_option(name, self._option_string_actions)}"
            )
        raise UsageError(f"unexpected argument '{word}'")

    def _two_dashes(self, word: str) -> str:
        match = _SINGLE_DASH.fullmatch(word)
        known = match is not None and f"--{match[1]}" in self._option_string_actions
        return f"-{word}" if known else word


def _integer(text: str, least: int, wanted: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"must be {wanted}, got {text[:80]!r}")
    if value > MAX_INT:
        raise argparse.ArgumentTypeError(f"must be at most {MAX_INT}, got {text[:80]!r}")
    return value


def positive_int(text: str) -> int:
    """An integer of 1 or more."""
    return _integer(text, 1, "a positive integer")


def non_negative_int(text: str) -> int:
    """An integer of 0 or more."""
    return _integer(text, 0, "zero or a positive integer")


def positive_float(text: str) -> float:
    """A finite number greater than 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text[:80]!r}")
    return value


def thread_count(text: str) -> int:
    """A number of threads, from 1 to what an OpenMP run time can be expected to start."""
    value = positive_int(text)
    limit = max(256, os.cpu_count() or 1)
    if value > limit:
        raise argparse.ArgumentTypeError(f"must be at most {limit}, got {text!r}")
    return value


def default_threads() -> int:
    """How many CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device(text: str) -> str:
    """A device on which nets run, under its full name: `cpu` or `cuda:N`."""
    from drml.device import check_device

    try:
        return check_device(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def chosen_device(args: argparse.Namespace) -> str:
    """What --device says, else DRML_DEVICE, else `cpu`."""
    from drml.device import check_device, default_device

    return args.device or check_device(default_device())


def phase(text: str, also: Sequence[str] = ()) -> str:
    """`TRAIN` or `TEST`, or a word of `also`, in any case."""
    known = ("TRAIN", "TEST", *also)
    if text.upper() in known:
        return text.upper()
    hint = nearest(text.upper(), known) or f"; known are {', '.join(known[:-1])} and {known[-1]}"
    raise argparse.ArgumentTypeError(f"unknown phase {text[:80]!r}{hint}")


def existing_file(text: str) -> Path:
    """A file that can be opened for reading; a missing one names its nearest neighbor."""
    path = Path(text)
    problem = file_problem(path)
    if problem:
        raise argparse.ArgumentTypeError(problem)
    return path


def file_problem(path: Path) -> str:
    """Why `path` cannot be read, in one line that begins with the path; '' when it can."""
    try:
        # Opening a pipe would wait for its other end.
        if path.is_dir():
            return f"{path}: is a folder, not a file"
        if path.exists() and not path.is_file():
            return f"{path}: is not a regular file"
        with path.open("rb"):
            return ""
    except FileNotFoundError:
        return f"{path}: no such file{_neighbor(path)}"
    except ValueError as error:
        return f"{str(path)!r}: {error}"
    except OSError as error:
        return f"{path}: {error.strerror}"


def _neighbor(path: Path) -> str:
    try:
        names = os.listdir(path.parent)
    except OSError:
        return ""
    match = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean '{path.parent / match[0]}'?" if match else ""


def output_file(text: str) -> Path:
    """A file to write: its folder must exist and the path must not be a folder."""
    path = Path(text)
    if "\0" in text or not text:
        raise argparse.ArgumentTypeError(f"not a file name: {text!r}")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: is a folder, not a file")
    if path.exists() and not path.is_file():
        # Files are replaced when they are complete, and a device or pipe must not be.
        raise argparse.ArgumentTypeError(f"{path}: is not a regular file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: no such folder '{path.parent}'")
    if not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{path}: folder '{path.parent}' cannot be written")
    return path


def add_common(parser: argparse.ArgumentParser) -> None:
    """Adds the options that stand before or after every command: --threads, --device, --debug."""
    group = parser.add_argument_group("common options")
    group.add_argument(
        "--threads",
        type=thread_count,
        metavar="N",
        default=default_threads(),
        help="CPU threads (default: the CPUs this process may use, %(default)s)",
    )
    group.add_argument(
        "--device",
        type=device,
        metavar="cpu|cuda[:n]",
        help="where nets run (default: DRML_DEVICE, else cpu; in training, what the solver file "
        "says)",
    )
    group.add_argument(
        "--debug", action="store_true", help="show the traceback of an error, not one line"
    )


def add_phase(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds --phase TRAIN|TEST."""
    parser.add_argument(
        "--phase",
        type=phase,
        metavar="TRAIN|TEST",
        default=default,
        help="which layers are in, by their include and exclude rules (default: %(default)s)",
    )


def add_level_and_stage(parser: argparse.ArgumentParser) -> None:
    """Adds --level N and --stage S[,S2]."""
    parser.add_argument(
        "--level",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="the net's level (default: 0)",
    )
    parser.add_argument("--stage", default="", metavar="S[,S2]", help="the net's stages")


def stages(args: argparse.Namespace) -> tuple[str, ...]:
    """The stages that --stage names."""
    return tuple(stage for stage in args.stage.split(",") if stage)


def add_cuda_graph(parser: argparse._ActionsContainer) -> None:
    """Adds --cuda-graph."""
    parser.add_argument(
        "--cuda-graph",
        action="store_true",
        help="on a CUDA device: launch all kernels of a forward pass in phase TEST as one graph",
    )


def add_no_fuse(parser: argparse._ActionsContainer) -> None:
    """Adds --no-fuse."""
    parser.add_argument(
        "--no-fuse",
        dest="fuse",
        action="store_false",
        help="run a region layer that is written as Box, branches, Splice and Eltwise as written",
    )


def add_batch_size(parser: argparse.ArgumentParser) -> None:
    """Adds --batch-size N."""
    parser.add_argument(
        "--batch-size",
        type=positive_int,
        metavar="N",
        help="images per batch, instead of what the file says",
    )
