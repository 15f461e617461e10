"""`draw NET.prototxt --output FILE`: a net as a picture, SVG or PNG."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from drml.commands.options import (
    add_level_and_stage,
    add_no_fuse,
    existing_file,
    output_file,
    stages,
)
from drml.commands.options import phase as one_phase

if TYPE_CHECKING:
    from drml.draw.diagram import Diagram

SUFFIXES = (".svg", ".png")

_DESCRIPTION = """\
Draws a net: a box for each layer with its type, settings, top shapes and parameters, colored by
what it does; layers that work in place stand below the one on whose top they work. The data that
the net names need not exist; where only they tell their shape, shapes are left out, which a note
says. Graphviz's program 'dot' lays the picture out where it is on PATH; without it drml does.
"""


def _output(text: str) -> Path:
    path = output_file(text)
    if path.suffix not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"{path}: must end in {' or '.join(SUFFIXES)}")
    return path


def _phases(text: str) -> tuple[str, ...]:
    phase = one_phase(text, also=("ALL",))
    return ("TRAIN", "TEST") if phase == "ALL" else (phase,)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "draw", help="draw a net as SVG or PNG", description=_DESCRIPTION
    )
    parser.add_argument("net", type=existing_file, metavar="NET.prototxt", help="a net file")
    parser.add_argument(
        "--output",
        type=_output,
        required=True,
        metavar="FILE",
        help=f"the picture to write: {' or '.join(SUFFIXES)}",
    )
    parser.add_argument(
        "--phase",
        type=_phases,
        dest="phases",
        metavar="TRAIN|TEST|ALL",
        default="ALL",
        help="the layers of one phase, or of both in one picture (default: %(default)s)",
    )
    add_level_and_stage(parser)
    parser.add_argument(
        "--rankdir",
        type=str.upper,
        choices=("TB", "LR"),
        default="TB",
        help="from top to bottom or from left to right (default: %(default)s)",
    )
    parser.add_argument(
        "--layout",
        choices=("auto", "dot", "own"),
        default="auto",
        help="who lays it out: Graphviz's dot, or drml (default: dot where there is one)",
    )
    add_no_fuse(parser)
    parser.add_argument(
        "--expand",
        dest="collapse",
        action="store_false",
        help="draw each of branches that differ in names alone; four or more are one box otherwise",
    )


def run(args: argparse.Namespace) -> int:
    """Draws the net and says what was drawn."""
    from drml.draw.diagram import make_diagram
    from drml.prototxt import read_net
    from drml.weights import atomic_write

    diagram = make_diagram(
        read_net(args.net),
        args.phases,
        level=args.level,
        stages=stages(args),
        fuse=args.fuse,
        collapse=args.collapse,
    )
    notes = list(diagram.notes)
    content, by = _by_dot(diagram, args, notes) if args.layout != "own" else (None, "")
    if content is None:
        content, by = _by_drml(diagram, args), "drml"
    atomic_write(args.output, content)
    for note in notes:
        print(f"note: {note}")
    print(
        f"wrote {args.output}: {diagram.layers} layers in {len(diagram.boxes)} boxes, "
        f"laid out by {by}"
    )
    return 0


def _by_dot(
    diagram: Diagram, args: argparse.Namespace, notes: list[str]
) -> tuple[bytes | None, str]:
    """The picture that `dot` makes; None where there is none, or it fails and need not be used."""
    from drml.draw.graphviz import dot_text, find_dot, run_dot
    from drml.errors import UsageError

    program = find_dot()
    if program is None:
        if args.layout == "dot":
            raise UsageError("--layout dot: Graphviz's program 'dot' is not on PATH")
        return None, ""
    try:
        return run_dot(program, dot_text(diagram, args.rankdir), args.output.suffix), program
    except UsageError as error:
        if args.layout == "dot":
            raise
        notes.append(str(error))
        return None, ""


def _by_drml(diagram: Diagram, args: argparse.Namespace) -> bytes:
    from drml.draw.picture import make_picture

    picture = make_picture(diagram, args.rankdir)
    if args.output.suffix == ".png":
        from drml.draw.png import png_bytes

        return png_bytes(picture)
    from drml.draw.svg import svg_text

    return svg_text(picture).encode()
