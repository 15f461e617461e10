"""`prepare bp4d|disfa|ckplus|list ROOT OUT`: a face data set as the experiment reads it."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drml.commands.convert import quality
from drml.commands.options import non_negative_int, positive_int
from drml.errors import UsageError

if TYPE_CHECKING:
    from drml.prepare.options import Options

_DATASETS = ("bp4d", "disfa", "ckplus", "list")
_LARGEST_SIZE = 4096
_SHOWN_FOLDS = 10
_COUNTS = re.compile(r"([0-9]{1,9})\+([0-9]{1,9})")

# Options that belong to some data sets alone.
_ONLY = {
    "threshold": ("disfa",),
    "camera": ("disfa",),
    "unknown": ("bp4d", "disfa", "list"),
    "root": ("list",),
    "subject": ("list",),
    "subjects": ("list",),
}
_DEST = {"root": "images"}

_DESCRIPTION = """\
Registers the faces of a data set to 200 x 200 by their 49 landmarks and stores them in an LMDB with
labels -1 absent, 0 unknown and 1 present; writes the folds, a mean image for each, a contact sheet
for each subject, and a manifest. Reads BP4D, DISFA and CK+ as they come, or a list with lines
`path l1 ... lK`. What was interrupted goes on when the same command is given again. --threads says
how many processes work.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "prepare", help="prepare a face data set: faces, labels, folds", description=_DESCRIPTION
    )
    parser.add_argument(
        "dataset", choices=_DATASETS, metavar="|".join(_DATASETS), help="its layout"
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="its folder; a list's file")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to make")
    parser.add_argument("--name", help="what tables call the data set (default: BP4D and so on)")
    parser.add_argument(
        "--force", action="store_true", help="begin anew where OUT was made with other options"
    )
    _add_labels(parser.add_argument_group("labels"))
    _add_faces(parser.add_argument_group("faces"))
    _add_folds(parser.add_argument_group("frames and folds"))
    group = parser.add_argument_group("lists")
    group.add_argument(
        "--root",
        dest="images",
        metavar="DIR",
        help="folder that the list's paths are relative to (default: the working folder, or the "
        "list's folder when the images are there)",
    )
    group.add_argument(
        "--subject",
        metavar="REGEX",
        help="finds the subject in a path: its first group, or the groups named subject, video and "
        "frame (default: names such as F001, S005 and SN001)",
    )
    group.add_argument(
        "--subjects",
        type=Path,
        metavar="FILE",
        help="says whose the images are: lines `path subject`, or a subject for each line of the "
        "list",
    )


def _add_labels(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--aus",
        type=_aus,
        metavar="A,A2|all",
        help="AUs, in this order (default: the 12 of the paper's nets; of DISFA, the paper's 8)",
    )
    group.add_argument(
        "--threshold",
        type=_intensity,
        metavar="1-5",
        help="least intensity that counts as present (DISFA; default: 3, as the paper)",
    )
    group.add_argument(
        "--unknown",
        choices=("mask", "negative", "drop"),
        help="what an unknown label (BP4D's 9, a list's 0) becomes: mask keeps it as 0, negative "
        "takes it for -1, drop leaves the frame out (default: mask)",
    )
    group.add_argument(
        "--zero-is-negative",
        dest="unknown",
        action="store_const",
        const="negative",
        help="the same as --unknown negative",
    )
    group.add_argument("--camera", choices=("left", "right"), help="of DISFA's two (default: left)")


def _add_faces(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--landmarks",
        metavar="DIR|find|none",
        help="folder of given landmarks; find finds them; none takes the pictures as registered "
        "(default: ROOT/landmarks where it exists, else find)",
    )
    group.add_argument(
        "--finder",
        metavar="NAME",
        help="what finds landmarks, as for align (default: the first that is installed)",
    )
    group.add_argument(
        "--fit",
        choices=("all", "nose-eyes"),
        default="all",
        help="the landmarks that the similarity transform fits (default: all 49, as the paper)",
    )
    group.add_argument(
        "--size", type=_size, metavar="N", help="side of the faces in pixels (default: 200)"
    )
    group.add_argument(
        "--quality",
        type=quality,
        metavar="1-100",
        default=95,
        help="of the JPEG files (default: 95)",
    )


def _add_folds(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--sampling",
        type=_sampling,
        metavar="paper|all|P+N",
        help="frames to learn from: P where an AU is present and N where it is absent, of each AU "
        "and video; paper is 100+200 for BP4D and 800+1600 for DISFA (default: paper for these "
        "two, all for others)",
    )
    group.add_argument(
        "--sample-test", action="store_true", help="sample the validation and test lists as well"
    )
    group.add_argument(
        "--folds",
        metavar="drml|loso|K|FILE",
        help="drml are the DRML authors' for BP4D and JAA-Net's for DISFA; loso leaves one subject "
        "out; K subject-exclusive folds by the seed; or a JSON file (default: drml for these two, "
        "3 for others)",
    )
    group.add_argument(
        "--validation",
        type=_share,
        metavar="SHARE",
        default=0.2,
        help="of the subjects that are not tested on, held out by the seed where the folds name no "
        "validation subjects (default: 0.2)",
    )
    group.add_argument(
        "--without", type=_names, metavar="SUBJECT[,...]", default=(), help="subjects to leave out"
    )
    group.add_argument(
        "--seed",
        type=non_negative_int,
        metavar="N",
        default=0,
        help="of sampling, folds and validation subjects (default: 0)",
    )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"must be names, each once, got {text[:80]!r}")
    return names


def _aus(text: str) -> tuple[str, ...]:
    if text == "all":
        return ()
    names = tuple(re.sub(r"^(AU)?0*(?=\d)", "", name, flags=re.I) for name in _names(text))
    for name in names:
        if not re.fullmatch(r"[0-9]{1,2}", name):
            raise argparse.ArgumentTypeError(f"{name[:40]!r} is no AU; AUs are numbers")
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"must be AUs, each once, got {text[:80]!r}")
    return names


def _intensity(text: str) -> int:
    value = positive_int(text)
    if value > 5:
        raise argparse.ArgumentTypeError(f"must be 1 to 5, got {text[:80]!r}")
    return value


def _size(text: str) -> int:
    value = positive_int(text)
    if not 16 <= value <= _LARGEST_SIZE:
        raise argparse.ArgumentTypeError(f"must be 16 to {_LARGEST_SIZE}, got {text[:80]!r}")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be 0 or more and below 1, got {text[:80]!r}")
    return value


def _sampling(text: str) -> str:
    if text not in ("paper", "all") and not _COUNTS.fullmatch(text):
        raise argparse.ArgumentTypeError(f"must be paper, all or P+N, got {text[:80]!r}")
    return text


def run(args: argparse.Namespace) -> int:
    """Prepares the data set and prints what it holds."""
    from drml.prepare.job import prepare

    manifest, complete = prepare(
        args.out, make_options(args), processes=args.threads, force=args.force
    )
    if complete:
        print(f"{args.out}: is complete already")
    print("\n".join(summary(args.out, manifest)))
    return 0


def make_options(args: argparse.Namespace) -> Options:
    """The options of a command line, with the defaults that depend on the data set.

    Raises:
        UsageError: an option has no use for the data set.
    """
    from drml.faces.names import FRAME
    from drml.prepare import options as o
    from drml.prepare.points import default_folder

    dataset = args.dataset
    for name, of in _ONLY.items():
        if dataset not in of and getattr(args, _DEST.get(name, name)) is not None:
            raise UsageError(f"--{name} has no use for {dataset}, only for {' and '.join(of)}")
    if args.subject is not None and args.subjects is not None:
        raise UsageError("--subject and --subjects both say whose the images are; give one")
    own_folds = dataset in o.SAMPLING
    landmarks, points = args.landmarks, None
    if landmarks is None:
        points = default_folder(args.root)
        landmarks = o.FIND if points is None else o.GIVEN
    elif landmarks not in (o.FIND, o.NONE):
        landmarks, points = o.GIVEN, Path(landmarks)
    if args.finder is not None and landmarks != o.FIND:
        raise UsageError("--finder has a use with --landmarks find only")
    aus = args.aus
    if aus is None:
        # A list says only how many there are.
        aus = {"disfa": o.DISFA_AUS, "list": ()}.get(dataset, o.PAPER_AUS)
    return o.Options(
        dataset=dataset,
        root=args.root.absolute(),
        name=args.name or o.NAMES.get(dataset, args.root.stem),
        aus=aus,
        threshold=args.threshold or o.THRESHOLD,
        unknown=args.unknown or o.MASK,
        landmarks=landmarks,
        points=points,
        finder=args.finder or "",
        fit=args.fit,
        size=args.size or FRAME,
        quality=args.quality,
        sampling=_counts(args.sampling or ("paper" if own_folds else "all"), dataset),
        sample_test=args.sample_test,
        seed=args.seed,
        folds=args.folds or ("drml" if own_folds else "3"),
        validation=args.validation,
        without=args.without,
        camera=args.camera or "left",
        images=args.images or "",
        subject=args.subject or "",
        subjects=args.subjects,
    )


def _counts(sampling: str, dataset: str) -> tuple[int, int] | None:
    from drml.prepare.options import SAMPLING

    if sampling == "all":
        return None
    if sampling == "paper":
        if dataset not in SAMPLING:
            raise UsageError(f"--sampling paper: the paper samples BP4D and DISFA, not {dataset}")
        return SAMPLING[dataset]
    match = _COUNTS.fullmatch(sampling)
    assert match is not None
    return int(match[1]), int(match[2])


def summary(out: Path, manifest: dict[str, Any]) -> list[str]:
    """What a prepared folder holds, in lines to print."""
    from drml.text_table import align

    counts = manifest["counts"]
    lines = [f"note: {note}" for note in manifest["notes"]]
    lines.append(
        f"{out}: {counts['frames']:,} frames of {counts['subjects']} subjects in "
        f"{counts['videos']} videos, {manifest['size']} x {manifest['size']}"
    )
    if counts["excluded"]:
        total = sum(counts["excluded"].values())
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts["excluded"].items())
        lines.append(f"{total:,} coded frames are left out (excluded.csv): {reasons}")
    rows = []
    for au, count in counts["aus"].items():
        known = count["positives"] + count["negatives"]
        rate = f"{100 * count['positives'] / known:.1f} %" if known else "-"
        rows.append([au, *(f"{value:,}" for value in count.values()), rate])
    lines += ["", align(["AU", "positive", "negative", "unknown", "rate"], rows), ""]
    rows = []
    for number, fold in enumerate(manifest["folds"][:_SHOWN_FOLDS], 1):
        rows.append(
            [
                str(number),
                *(f"{part['frames']:,} of {part['subjects']}" for part in fold.values()),
                f"{fold['train']['of']:,}",
            ]
        )
    header = ["fold", "train", "validation", "test", "train before sampling"]
    lines.append(align(header, rows))
    if len(manifest["folds"]) > _SHOWN_FOLDS:
        lines.append(f"... {len(manifest['folds'])} folds")
    lines.append("(frames of subjects)")
    return lines
