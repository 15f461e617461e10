"""`FILE.prototxt` without a command: does with a file what its contents call for."""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import re
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drml.commands.align import add_finder
from drml.commands.options import add_cuda_graph, chosen_device, output_file, positive_int
from drml.commands.train import add_data_options, add_run_options, weight_files
from drml.errors import UsageError

if TYPE_CHECKING:
    from drml.blob import Array
    from drml.deploy import Predictions
    from drml.net import Net
    from drml.prototxt import NetFile

PAPER_ITERATIONS = 20_000
_RANDOM_PASSES = 10
_SHOWN_VALUES = 6
_SHOWN_NOTES = 10

_DESCRIPTION = """\
A solver trains, as with 'drml train'. A net with data layers trains by the paper's settings for
--iterations N and is then tested. A deploy net, whose data come through Input layers, runs forward
on the images of --input, or on random data, and prints its outputs and ms per frame.
"""

# Of a quoted string, a comment, a bracket or a field's name, the first that comes.
_TOKEN = re.compile(
    r"""\#[^\n]* | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | [{}<>] | [A-Za-z_]\w*(?=\s*[:{<])""",
    re.VERBOSE,
)


class Kind(Enum):
    """What a prototxt is; the value is how messages call it."""

    SOLVER = "a solver"
    TRAINING = "a net with data layers"
    DEPLOY = "a deploy net"


def _images_file(text: str) -> Path:
    path = output_file(text)
    if path.suffix.lower() not in (".csv", ".json"):
        raise argparse.ArgumentTypeError(f"{path}: must end in .csv or .json")
    return path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the bare form to the command line, under the name `bare`."""
    parser = subparsers.add_parser("bare", description=_DESCRIPTION)
    parser.add_argument(
        "--iterations",
        type=positive_int,
        metavar="N",
        help="a solver: train up to N instead of max_iter; a net with data layers: train N "
        f"iterations (default: {PAPER_ITERATIONS}, the paper's); a deploy net: forward passes on "
        f"random data (default: {_RANDOM_PASSES})",
    )
    parser.add_argument("--aus", metavar="A[,A2]", help="names of the AUs, such as 1,2,4")
    group = parser.add_argument_group("deploy nets")
    group.add_argument(
        "--input",
        nargs="+",
        action="extend",
        metavar="IMAGE",
        help="image files, folders or patterns; images are resized to the size of the --mean "
        "image, or else of the net's input, and cropped from the center",
    )
    group.add_argument(
        "--find-faces",
        action="store_true",
        help="find the faces in the --input, which may also be videos and lists, register them as "
        "'drml align' does, and score each of them; docs/faces.md says what to install for it",
    )
    add_finder(group)
    add_cuda_graph(group)
    group.add_argument(
        "--output",
        type=_images_file,
        metavar="FILE",
        help="write the outputs too, as .csv or .json",
    )
    add_run_options(parser)
    add_data_options(parser)


def run(args: argparse.Namespace) -> int:
    """Finds out what the file is and does it."""
    from drml.filter import filter_net
    from drml.layers import find
    from drml.proto import caffe_pb2 as pb
    from drml.prototxt import read_net

    if is_solver(args.file):
        return _train_by_solver(args)
    file = read_net(args.file)
    for source in filter_net(file, pb.TRAIN).layers:
        layer_class = find(source.param.type)
        reads = layer_class is not None and layer_class.is_data and source.param.type != "Input"
        if reads:
            return _train_net(args)
    return _deploy(args, file)


def is_solver(path: Path) -> bool:
    """Whether a prototxt is a solver rather than a net, by the names of its outermost fields."""
    from drml.proto import caffe_pb2 as pb

    depth = 0
    solver, net = 0, 0
    for match in _TOKEN.finditer(path.read_text(encoding="utf-8", errors="replace")):
        token = match[0]
        if token in "{<":
            depth += 1
        elif token in "}>":
            depth -= 1
        elif depth == 0:
            solver += token in pb.SolverParameter.DESCRIPTOR.fields_by_name
            net += token in pb.NetParameter.DESCRIPTOR.fields_by_name
    return solver > net


def _refuse(args: argparse.Namespace, kind: Kind, *names: str) -> None:
    """Refuses options that a file of this kind has no use for."""
    for name in names:
        if getattr(args, name) not in (None, False):
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{args.file}: is {kind.value}, for which {option} has no use")


def _train_by_solver(args: argparse.Namespace) -> int:
    from drml.commands import train

    _refuse(args, Kind.SOLVER, "input", "find_faces", "finder", "output", "aus", "cuda_graph")
    args.solver = args.file
    return train.run(args)


def _train_net(args: argparse.Namespace) -> int:
    from drml.commands.train import run_options, train_net_with_paper_settings

    _refuse(args, Kind.TRAINING, "input", "find_faces", "finder", "output", "cuda_graph")
    train_net_with_paper_settings(
        args.file, args.iterations or PAPER_ITERATIONS, run_options(args), _aus(args)
    )
    return 0


def _aus(args: argparse.Namespace) -> list[str] | None:
    return args.aus.split(",") if args.aus is not None else None


# Deploy nets ------------------------------------------------------------------------------------


def _deploy(args: argparse.Namespace, file: NetFile) -> int:
    from drml.deploy import au_scores
    from drml.weights import atomic_write

    unused = ["snapshot", "run_dir", "train_data", "test_data", "zero_is_negative"]
    if args.input is None:
        unused.append("mean")
    else:
        unused.append("iterations")
    _refuse(args, Kind.DEPLOY, *unused)
    if args.find_faces and args.input is None:
        raise UsageError("--find-faces needs --input, pictures or videos")
    if args.finder is not None and not args.find_faces:
        raise UsageError("--finder has a use with --find-faces only")
    with _open(args, file) as net:
        # The last batch of images may be smaller.
        size = net.blobs[net.inputs[0]].shape[0] if net.inputs else 1
        found = _predict(args, net)
        scores = au_scores(net, found, _aus(args))
        if args.aus is not None and scores is None:
            raise UsageError(f"--aus: no output of {args.file} scores action units")
        if args.output is not None:
            write = to_csv if args.output.suffix.lower() == ".csv" else to_json
            atomic_write(args.output, write(found, scores).encode())
        print(text(found, scores))
        where = f"{args.threads} threads" if net.device == "cpu" else net.device
        setting = f"forward, batch size {size}, {where}"
        print(f"{found.frame_ms:.2f} ms per frame ({setting})")
    return 0


def _open(args: argparse.Namespace, file: NetFile) -> Net:
    from drml.commands.nets import set_batch_size
    from drml.net import Net
    from drml.proto import caffe_pb2 as pb

    if args.batch_size is not None:
        set_batch_size(file, args.batch_size)
    weights = weight_files(args)
    net = Net(
        file,
        phase=pb.TEST,
        seed=args.seed or 0,
        device=chosen_device(args),
        synthetic_data=args.input is None,
        fuse=args.fuse,
    )
    try:
        for path in weights:
            net.copy_from(path)
        if args.cuda_graph:
            net.use_cuda_graph()
    except BaseException:
        net.close()
        raise
    for note in net.notes:
        print(f"note: {note}")
    if net.params and not weights:
        print(f"{args.file}: no --weights given, so the weights are random")
    return net


def _predict(args: argparse.Namespace, net: Net) -> Predictions:
    from tqdm import tqdm

    from drml.deploy import Preparation, find_images, image_input, predict_images, predict_random
    from drml.weights import read_mean

    if args.input is None:
        print(f"{args.file}: no --input given, so the net sees random data")
        return predict_random(net, args.iterations or _RANDOM_PASSES)
    _, channels, height, width = net.blobs[image_input(net)].shape
    mean = None if args.mean is None else read_mean(args.mean)
    shape = (channels, height, width)
    if args.find_faces:
        return _predict_faces(args, net, shape, mean)
    prepare = Preparation(shape, mean)
    images = find_images(args.input)
    with tqdm(total=len(images), unit="image", disable=None, file=sys.stderr) as bar:
        return predict_images(net, images, prepare, bar.update)


def _predict_faces(
    args: argparse.Namespace, net: Net, shape: tuple[int, int, int], mean: Array | None
) -> Predictions:
    """Runs the net on the faces of pictures and videos, and says what had none."""
    from tqdm import tqdm

    from drml.deploy import Preparation, predict_arrays
    from drml.errors import DataError
    from drml.faces.find import AUTO, PerThread
    from drml.faces.sources import collect, count_pictures
    from drml.faces.stream import FaceStream

    # The paper cuts 170 pixels from the middle of a registered face of 200.
    side = round(max(shape[1:]) * 200 / 170)
    prepare = Preparation(shape, mean, (side, side))
    if prepare.size[0] != prepare.size[1]:
        raise UsageError(f"{args.mean}: registered faces are square, and this mean image is not")
    sources = collect(args.input)
    finder = PerThread(args.finder or AUTO)
    with tqdm(total=count_pictures(sources), unit="picture", disable=None, file=sys.stderr) as bar:
        faces = FaceStream(sources, finder, prepare.size[0], args.threads, bar.update)
        arrays = ((name, prepare.of_pixels(face)) for name, face in faces)
        first = next(arrays, None)
        if first is not None:
            found = predict_arrays(net, itertools.chain([first], arrays))
    notes = [f"{skip.where}: {skip.reason}" for skip in faces.skipped]
    more = len(notes) - _SHOWN_NOTES
    if first is None:
        others = f", and {len(notes) - 1} more" if len(notes) > 1 else ""
        raise DataError(f"no face to score: {notes[0]}{others}")
    for note in notes[:_SHOWN_NOTES]:
        print(f"note: {note}")
    if more > 0:
        print(f"note: {more} more pictures without a face")
    return found


Scores = tuple[list[str], "Array"] | None


def text(found: Predictions, scores: Scores) -> str:
    """The outputs as a table: a row per image of AU scores, or of each output's first values."""
    from drml.text_table import align, shape_text

    if scores is not None:
        names, values = scores
        rows = [
            (image, *(f"{score:.3f}" for score in row))
            for image, row in zip(found.names, values, strict=True)
        ]
        return align(("image", *names), rows)
    rows = []
    for name, values in found.outputs.items():
        for image, value in _per_image(found, values):
            flat = value.reshape(-1)
            first = " ".join(f"{number:.4g}" for number in flat[:_SHOWN_VALUES])
            more = " ..." if flat.size > _SHOWN_VALUES else ""
            rows.append((image, name, shape_text(value.shape), first + more))
    return align(("image", "output", "shape", "values"), rows, left=4)


def _per_image(found: Predictions, values: Array) -> list[tuple[str, Array]]:
    """An output by image; as a whole where it is not one value or array per image."""
    if values.ndim and len(values) == len(found.names):
        return list(zip(found.names, values, strict=True))
    return [("all", values)]


def to_csv(found: Predictions, scores: Scores) -> str:
    """A row per image: AU scores, else every number of every output, in columns `output/index`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if scores is not None:
        names, values = scores
        writer.writerow(("image", *names))
        table = values.tolist()
    else:
        count = len(found.names)
        kept = {k: v for k, v in found.outputs.items() if v.ndim and len(v) == count}
        flat = {name: values.reshape(count, -1) for name, values in kept.items()}
        writer.writerow(
            ("image", *(f"{name}/{i}" for name, v in flat.items() for i in range(v.shape[1])))
        )
        table = [
            [number for values in flat.values() for number in values[index]]
            for index in range(count)
        ]
    for image, row in zip(found.names, table, strict=True):
        writer.writerow((image, *(f"{number:.6g}" for number in row)))
    return out.getvalue()


def to_json(found: Predictions, scores: Scores) -> str:
    """Every output of every image, AU scores by name, and ms per frame."""
    images: list[dict[str, Any]] = [{"image": name, "outputs": {}} for name in found.names]
    document: dict[str, Any] = {"ms_per_frame": found.frame_ms, "images": images}
    for name, values in found.outputs.items():
        if values.ndim and len(values) == len(images):
            for image, value in zip(images, values, strict=True):
                image["outputs"][name] = value.tolist()
        else:
            document.setdefault("outputs", {})[name] = values.tolist()
    if scores is not None:
        for image, row in zip(images, scores[1], strict=True):
            image["scores"] = dict(zip(scores[0], row.tolist(), strict=True))
    return json.dumps(document, indent=1) + "\n"
