"""`extract NET WEIGHTS --blobs A,B --out FILE`: blobs of a net, for every sample of its data."""

from __future__ import annotations

import argparse
from pathlib import Path

from drml.commands.options import (
    add_no_fuse,
    chosen_device,
    existing_file,
    output_file,
    positive_int,
)
from drml.commands.train import add_batch_options

_DESCRIPTION = """\
Runs the net of phase TEST over its data and writes a row per sample of each blob. The ending of
--out says as what: .npz or .h5 (an array per blob, and the samples' names), .csv (a table), .lmdb
or no ending (Caffe's extract_features: a data base of Datum records for each blob, in folders
separated by commas). What is written appears when it is complete, and not at all after an error.
"""
_FILES = (".npz", ".h5", ".csv")
_LMDB = (".lmdb", "")


def _outputs(text: str) -> list[Path]:
    paths = [Path(word) for word in text.split(",")]
    suffixes = {path.suffix for path in paths}
    if suffixes <= set(_LMDB) and all(path.name for path in paths):
        return paths
    if Path(text).suffix not in _FILES:
        raise argparse.ArgumentTypeError(
            f"{text}: must end in {', '.join(_FILES)} or .lmdb, or be a folder's name without a "
            "dot, for an LMDB"
        )
    return [output_file(text)]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "extract", help="write blobs of a net for every sample", description=_DESCRIPTION
    )
    parser.add_argument(
        "net", type=existing_file, metavar="NET.prototxt", help="a net that reads its data"
    )
    parser.add_argument(
        "weights", type=existing_file, metavar="WEIGHTS", help="a .caffemodel, or .h5"
    )
    parser.add_argument("--blobs", required=True, metavar="A[,B]", help="names of the blobs")
    parser.add_argument(
        "--out", type=_outputs, required=True, metavar="FILE", help="the file or data base to write"
    )
    parser.add_argument(
        "-n",
        dest="count",
        type=positive_int,
        metavar="N",
        help="samples to write; the data begins anew where it ends (default: every sample once)",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace an LMDB that is there already"
    )
    add_no_fuse(parser)
    group = parser.add_argument_group("data, instead of what the net file says")
    group.add_argument("--data", type=Path, metavar="PATH", help="an LMDB's folder or a list")
    add_batch_options(group)


def run(args: argparse.Namespace) -> int:
    """Writes the rows and says how many."""
    from tqdm import tqdm

    from drml import extract
    from drml.data.options import DataOptions
    from drml.net import Net
    from drml.proto import caffe_pb2 as pb
    from drml.prototxt import read_net

    data = DataOptions(
        train_data=args.data,
        test_data=args.data,
        batch_size=args.batch_size,
        mean=args.mean,
        zero_is_negative=args.zero_is_negative,
    )
    file = data.edit(read_net(args.net), pb.TEST)
    with (
        Net(
            file,
            args.weights,
            pb.TEST,
            device=chosen_device(args),
            threads=args.threads,
            fuse=args.fuse,
        ) as net,
        tqdm(unit="sample", disable=None) as bar,
    ):
        features = extract.Features(net, args.blobs.split(","), args.count, bar.update)
        bar.reset(features.count)
        path = args.out[0]
        if path.suffix == ".npz":
            extract.write_npz(features, path)
        elif path.suffix == ".h5":
            extract.write_h5(features, path)
        elif path.suffix == ".csv":
            extract.write_csv(features, path)
        else:
            extract.write_lmdbs(features, args.out, force=args.force)
        notes = net.notes
    for note in notes:
        print(f"note: {note}")
    shapes = [
        f"{name} {'x'.join(map(str, shape)) or 'one number'}"
        for name, shape in zip(features.blobs, features.shapes, strict=True)
    ]
    paths = ", ".join(map(str, args.out))
    print(f"wrote {paths}: {features.count} samples of {', '.join(shapes)}")
    return 0
