"""`align INPUT... OUT`: the faces of pictures and videos, registered to a mean face."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drml.commands.convert import quality
from drml.commands.options import positive_int
from drml.errors import DataError, UsageError
from drml.faces.names import FINDER_NAMES, FIT_NAMES, FRAME

if TYPE_CHECKING:
    from drml.faces.record import Record, Skip

_DESCRIPTION = """\
Finds the face of each picture or video frame, turns, scales and moves it so that its 49 landmarks
lie near a mean face's, as in the paper, and writes it as a square picture below OUT: for a picture
a/b.png of a folder OUT/a/b.jpg, for a video clip.mp4 OUT/clip/00001.jpg and so on. OUT also gets
landmarks.csv (in the pictures that were written), source_landmarks.csv (in those that were read),
skipped.csv (what was left out, and why) and contact.png, to look at; of a list with labels, also
list.txt, to train on. A run that was stopped goes on where it was; what is in OUT is kept.
"""
_MAX_SIZE = 4096


def _size(text: str) -> int:
    value = positive_int(text)
    if not 16 <= value <= _MAX_SIZE:
        raise argparse.ArgumentTypeError(f"must be 16 to {_MAX_SIZE}, got {text[:80]!r}")
    return value


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "align",
        help="find faces in pictures and videos and register them",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="pictures, videos, folders of them, or lists (.txt) with a path on each line",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to")
    parser.add_argument(
        "--size",
        type=_size,
        default=FRAME,
        metavar="N",
        help="side of the pictures, in pixels (default: %(default)s, the paper's)",
    )
    add_finder(parser)
    parser.add_argument(
        "--landmarks",
        type=Path,
        metavar="PATH",
        help="take these landmarks instead of finding faces: a file for all pictures or for the "
        "video, or a folder with a file for each (.npy, .csv, .txt, .pts, .mat)",
    )
    parser.add_argument(
        "--largest",
        action="store_true",
        help="of several faces take the largest; without it, such a picture is left out. In a "
        "video, the face nearest to the one before is taken in any case",
    )
    parser.add_argument(
        "--fit",
        choices=FIT_NAMES,
        default="all",
        help="the landmarks to fit: all 49 as in the paper, or those of nose and eyes, which brows "
        "and mouth do not move (default: %(default)s)",
    )
    parser.add_argument(
        "--encode", choices=("jpg", "png"), default="jpg", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--quality", type=quality, metavar="1-100", help="of JPEG files (default: 95)"
    )
    parser.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="pictures that are worked on at once (default: --threads)",
    )


def add_finder(parser: argparse._ActionsContainer) -> None:
    """Adds --finder NAME."""
    parser.add_argument(
        "--finder",
        metavar="NAME",
        help=f"what finds faces: {' or '.join(FINDER_NAMES)} (default: the first that is "
        "installed)",
    )


def run(args: argparse.Namespace) -> int:
    """Aligns the faces and says how many, and why others were left out."""
    from tqdm import tqdm

    from drml.faces.aligner import Aligner, Options
    from drml.faces.find import AUTO, PerThread
    from drml.faces.lookup import Lookup
    from drml.faces.record import Record
    from drml.faces.sources import check_names, collect, count_pictures

    if args.quality is not None and args.encode == "png":
        raise UsageError("--quality has a use for JPEG files only, not with --encode png")
    if args.landmarks is not None and args.finder is not None:
        raise UsageError("--finder has no use with --landmarks")
    sources = collect(args.inputs, args.out)
    check_names(sources)
    if args.landmarks is not None:
        given, finder = Lookup(args.landmarks, sources), None
        by = f"of {args.landmarks}"
    else:
        given, finder = None, PerThread(args.finder or AUTO)
        by = f"of finder {finder.name}"
    options = Options(
        size=args.size,
        fit=args.fit,
        kind=args.encode,
        quality=args.quality or Options.quality,
        largest=args.largest,
        workers=args.workers or args.threads,
    )
    settings = {"size": args.size, "fit": args.fit, "encoding": args.encode, "landmarks": by}
    record = Record(args.out, settings)
    aligner = Aligner(record, options, finder, given)
    with tqdm(total=count_pictures(sources), unit="picture", disable=None) as bar:
        aligner.run(sources, bar.update)
    labels = [(f"{source.name}.{options.kind}", source.labels) for source in sources]
    record.finish(aligner.skipped, labels)
    if not record.kept:
        raise DataError(_nothing(aligner.skipped, args.out))
    print("\n".join(_summary(args, record, aligner.written, aligner.skipped, by)))
    return 0


def _nothing(skipped: Sequence[Skip], out: Path) -> str:
    if len(skipped) == 1:
        return f"{skipped[0].source}: {skipped[0].reason}"
    reasons = Counter(skip.reason for skip in skipped)
    most, count = reasons.most_common(1)[0]
    return (
        f"no face was aligned; of {len(skipped)} pictures: {most} ({count}); see {out}/skipped.csv"
    )


def _summary(
    args: argparse.Namespace, record: Record, written: int, skipped: Sequence[Skip], by: str
) -> list[str]:
    earlier = len(record.kept) - written
    kept = f", and {earlier} from before" if earlier else ""
    faces = "1 face" if written == 1 else f"{written} faces"
    size = f"{args.size} x {args.size}"
    lines = [f"{args.out}: {faces} of {size} written{kept} (landmarks {by})"]
    whole = [skip for skip in skipped if skip.frame == "" and _is_video(skip)]
    lines += [f"{skip.source}: {skip.reason}" for skip in whole]
    rest = Counter(skip.reason for skip in skipped if skip not in whole)
    if rest:
        text = ", ".join(f"{reason} {count}" for reason, count in rest.most_common())
        lines.append(f"left out: {text} (see {args.out}/skipped.csv)")
    return lines


def _is_video(skip: Skip) -> bool:
    from drml.faces.video import SUFFIXES

    return Path(skip.source).suffix.lower() in SUFFIXES
