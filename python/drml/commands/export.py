"""`export NET WEIGHTS OUT`: a net as ONNX, or its weights as .npz or .safetensors."""

from __future__ import annotations

import argparse
from pathlib import Path

from drml.commands.options import existing_file, output_file

SUFFIXES = (".onnx", ".npz", ".safetensors")

_DESCRIPTION = """\
Writes a trained net for other programs; the ending of OUT says as what. An .onnx file is the net of
phase TEST for inference, of standard operators alone (opset 17). It takes the input that the deploy
net takes: BGR, mean subtracted, N x C x H x W, of any batch size unless a layer mixes the images of
a batch. An .npz or .safetensors file holds the weights alone, a blob under the name layer/index;
'drml import' makes a .caffemodel of it again.
"""


def _out(text: str) -> Path:
    path = output_file(text)
    if path.suffix not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"{path}: must end in {', '.join(SUFFIXES)}")
    return path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "export", help="write a net as ONNX, or weights as .npz", description=_DESCRIPTION
    )
    parser.add_argument("net", type=existing_file, metavar="NET.prototxt", help="a deploy net")
    parser.add_argument(
        "weights", type=existing_file, metavar="WEIGHTS", help="a .caffemodel, or .h5"
    )
    parser.add_argument("out", type=_out, metavar="OUT", help=f"what to write: {_endings()}")
    parser.add_argument(
        "--outputs",
        metavar="BLOB[,BLOB2]",
        help="ONNX: blobs that the model puts out (default: those that no layer reads)",
    )


def _endings() -> str:
    return ", ".join(SUFFIXES[:-1]) + f" or {SUFFIXES[-1]}"


def run(args: argparse.Namespace) -> int:
    """Writes the file and says what is in it."""
    from drml.errors import UsageError

    if args.out.suffix == ".onnx":
        return _export_onnx(args)
    if args.outputs is not None:
        raise UsageError(f"--outputs is for ONNX, not for {args.out.suffix}")
    from drml.commands.nets import synthetic_net
    from drml.export.arrays import check_complete, named_arrays, write_arrays

    with synthetic_net(args.net, "TEST", weights=args.weights, device="cpu") as net:
        check_complete(net, args.weights)
        arrays = named_arrays(net)
        write_arrays(args.out, arrays)
    count = sum(array.size for array in arrays.values())
    print(f"wrote {args.out}: {len(arrays)} blobs, {count:,} numbers")
    return 0


def _export_onnx(args: argparse.Namespace) -> int:
    from drml.export.arrays import check_complete, missing_package
    from drml.filter import filter_net
    from drml.net import Net
    from drml.proto import caffe_pb2 as pb
    from drml.prototxt import read_net

    try:
        from drml.export.onnx_net import check_types, export_onnx
    except ModuleNotFoundError as error:
        raise missing_package("onnx", "onnx") from error
    file = read_net(args.net)
    check_types(filter_net(file, pb.TEST))
    with Net(file, args.weights, pb.TEST, device="cpu") as net:
        check_complete(net, args.weights)
        graph = export_onnx(net, args.out, args.outputs.split(",") if args.outputs else ())
        notes = net.notes
    for note in notes:
        print(f"note: {note}")
    size = "any batch size"
    if graph.fixed_by is not None:
        size = f"the net's batch size alone, for layer '{graph.fixed_by}' mixes the batch's images"
    print(f"wrote {args.out}: {args.out.stat().st_size / 1e6:.1f} MB, for {size}")
    return 0
