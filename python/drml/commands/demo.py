"""`demo OUT`: makes a small set of AU-labelled faces and trains DRML on it."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from drml.commands.options import non_negative_int, positive_float, positive_int
from drml.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TRAIN, TEST = 1500, 400
MINUTES = 2.0

_DESCRIPTION = """\
Makes faces that show twelve AUs from the astronaut photograph of scikit-image, many people, each in
many lights and poses, and trains DRML on them for some minutes by the paper's settings in batches
of 32. OUT gets the log, the loss curve, the weights, the table of the AUs on people that the
training has not seen, and pictures; OUT/data the faces, lists and data bases. Two minutes on two
cores bring the loss down to what the rates of the AUs alone explain; to tell AUs apart on strangers
takes some hundred updates, and so a longer --minutes.
"""
_NEEDED = "aligned/train_1.txt, aligned/test_1.txt and their images"
_MARK = "README.txt"
_MADE_BY = "Made by `drml demo`, which replaces this folder when it runs again."
_ABOUT = f"""\
{_MADE_BY}

These faces are semi-synthetic: one photograph, warped, shaded and colored by a program. The labels
are what the program was told to show; no FACS coder looked at them. The photograph is the astronaut
of scikit-image, by NASA, in the public domain.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "demo", help="train DRML on a small set of faces made for it", description=_DESCRIPTION
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make")
    parser.add_argument(
        "--minutes",
        type=positive_float,
        default=MINUTES,
        metavar="M",
        help="train for so long (default: %(default)g)",
    )
    parser.add_argument("--data-only", action="store_true", help="make the data, train nothing")
    parser.add_argument(
        "--train",
        type=positive_int,
        metavar="N",
        help=f"training pictures (default: {TRAIN}; with --data, all of the list)",
    )
    parser.add_argument(
        "--test",
        type=positive_int,
        metavar="N",
        help=f"test pictures, of other people (default: {TEST}; with --data, all of the list)",
    )
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, metavar="N", help="another set (default: 0)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="take the faces of DIR/aligned/train_1.txt and test_1.txt instead of making some",
    )


def run(args: argparse.Namespace) -> int:
    """Makes the data, trains, and names what there is to look at."""
    if args.data is None:
        claim(args.out, _ABOUT)
    else:
        given_lists(args.data)
        claim(args.out, f"{_MADE_BY}\n\nThe data bases hold the faces of {args.data}.\n")
    folder = args.out / "data"
    train_db, test_db = make_data(args, folder)
    shown = [folder / "contact_sheet.png"] if args.data is None else []
    if not args.data_only:
        from drml.demo.train import train

        pictures = train(
            train_db,
            test_db,
            args.out,
            minutes=args.minutes,
            seed=args.seed,
            threads=args.threads,
        )
        shown += [args.out / "loss.png", *pictures] if pictures else []
    for path in shown:
        print(path)
    return 0


def make_data(args: argparse.Namespace, folder: Path) -> list[Path]:
    """Makes the training and the test data base in `folder` and prints what they hold."""
    from drml.data.convert import Encoder, write_records
    from drml.data.image_list import read_list
    from drml.data.keyed import permutation, stream_key
    from drml.demo.make_data import LISTS, make_faces
    from drml.demo.muscles import AUS

    if args.data is None:
        train, test = args.train or TRAIN, args.test or TEST
        lists = make_faces(folder, train, test, args.seed, args.threads)
    else:
        lists = given_lists(args.data)
    made = []
    for name, path, size in zip(LISTS, lists, (args.train, args.test), strict=True):
        images = read_list(path, label_count=len(AUS), root=str(path.parent), learning=True)
        order = list(range(len(images)))
        if args.data is not None:
            key = stream_key(args.seed, f"demo {name}")
            order = permutation(key, len(images))[:size].tolist()
        db = folder / f"{name}_lmdb"
        write_records(db, Encoder(images), order, threads=args.threads, force=True)
        print(_summary(db, AUS, images.labels[order]), flush=True)
        made.append(db)
    return made


def given_lists(data: Path) -> list[Path]:
    """The training and test list of fold 1 in a folder of registered faces.

    Raises:
        DataError: one of them is not there.
    """
    from drml.demo.make_data import LISTS

    lists = [data / "aligned" / f"{name}_1.txt" for name in LISTS]
    for path in lists:
        if not path.is_file():
            raise DataError(f"{path}: no such file; --data needs a folder that holds {_NEEDED}")
    return lists


def claim(out: Path, about: str) -> None:
    """Makes the folder `out`, empty but for a mark that it is the demo's to replace.

    Raises:
        UsageError: the folder holds other things than an earlier demo.
        DataError: it cannot be made, or is a file.
    """
    from drml.weights import atomic_write

    mark = out / _MARK
    try:
        out.mkdir(parents=True, exist_ok=True)
        ours = mark.is_file() and mark.read_text(errors="replace").startswith(_MADE_BY)
        if not ours and any(out.iterdir()):
            raise UsageError(f"{out}: holds files that the demo did not make; name a new folder")
        for old in out.iterdir():
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            else:
                old.unlink()
        (out / "data").mkdir()
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}") from error
    atomic_write(mark, about.encode())


def _summary(db: Path, aus: tuple[int, ...], labels: npt.NDArray[np.int8]) -> str:
    rates = (
        f"{number}: {100 * rate:.0f}"
        for number, rate in zip(aus, (labels == 1).mean(0), strict=True)
    )
    unknown = 100 * (labels == 0).mean()
    return (
        f"{db}: {len(labels)} faces; AU and % present {', '.join(rates)}; {unknown:.1f} % unknown"
    )
