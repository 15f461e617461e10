"""`summary NET.prototxt`: layers, shapes, parameters, multiply-adds and memory of a net."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from drml.commands.options import add_batch_size, add_no_fuse, add_phase, existing_file, output_file

if TYPE_CHECKING:
    from drml.prototxt import LayerSource
    from drml.summary import NetSummary

_DESCRIPTION = """\
Prints what a net is made of and what it will need. The data that the net names need not exist, and
no memory is taken. Parameters that are not learned (running statistics, layers with lr_mult 0) are
counted apart. Memory is that of blobs; the kernels' scratch memory comes on top.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "summary",
        help="print a net's layers, shapes, parameters, multiply-adds and memory",
        description=_DESCRIPTION,
    )
    parser.add_argument("net", type=existing_file, metavar="NET.prototxt", help="a net file")
    add_phase(parser, "TRAIN")
    add_batch_size(parser)
    add_no_fuse(parser)
    parser.add_argument(
        "--json", type=output_file, metavar="FILE", help="write the figures as JSON too"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the summary."""
    from drml.commands.nets import synthetic_net
    from drml.filter import filter_net
    from drml.proto import caffe_pb2 as pb
    from drml.prototxt import read_net
    from drml.summary import summarize
    from drml.weights import atomic_write

    phase = pb.Phase.Value(args.phase)
    file = read_net(args.net)
    sources = filter_net(file, phase).layers
    types = {source.param.name: source.param.type for source in sources if _is_data(source)}
    with synthetic_net(file, args.phase, args.batch_size, fuse=args.fuse) as net:
        figures = summarize(net, types)
        notes = net.notes
    if args.json is not None:
        import json

        text = json.dumps({"phase": args.phase, **figures.to_dict()}, indent=1)
        atomic_write(args.json, f"{text}\n".encode())
    print(_text(figures, args.phase, args.net))
    for note in notes:
        print(f"note: {note}")
    return 0


def _is_data(source: LayerSource) -> bool:
    from drml.layers import find

    layer_class = find(source.param.type)
    return layer_class is not None and layer_class.is_data


def _text(figures: NetSummary, phase: str, path: Path) -> str:
    from drml.text_table import align, amount_text, shape_text, size_text

    rows = []
    for layer in figures.layers:
        parameters = f"{layer.learned:,}" if layer.learned else "-"
        if layer.not_learned:
            parameters += f" (+ {layer.not_learned:,} not learned)"
        row = (layer.name, layer.type, parameters, amount_text(layer.multiply_adds))
        shapes = [shape_text(shape) for shape in layer.tops.values()] or ["-"]
        rows.append((row[0], row[1], shapes[0], row[2], row[3]))
        rows += [("", "", shape, "", "") for shape in shapes[1:]]
    header = ("layer", "type", "top", "parameters", "multiply-adds per image")
    parts = [
        f"{figures.name or path.stem}, phase {phase}, batch size {figures.batch_size}",
        "",
        align(header, rows, left=3),
        "",
        f"{figures.learned:,} learned parameters",
    ]
    if figures.not_learned:
        parts.append(f"{figures.not_learned:,} parameters that are not learned")
    parts += [
        f"{amount_text(figures.multiply_adds)} multiply-adds per image, forward",
        f"memory, forward:  {size_text(figures.forward_bytes)} "
        f"(parameters {size_text(figures.parameter_bytes)}, "
        f"activations {size_text(figures.activation_bytes)})",
    ]
    if figures.has_backward:
        parts.append(
            f"memory, training: {size_text(figures.training_bytes)} "
            f"(and gradients {size_text(figures.gradient_bytes)}, parameter gradients and "
            f"velocities {size_text(2 * figures.learned_bytes)})"
        )
    return "\n".join(parts)
