"""Lists in the authors' format: one line per image, `path l1 ... lK`, labels -1, 0 and 1.

Whose face an image shows has to be known, for subjects must not cross folds. BP4D's, DISFA's and
CK+'s own names of subjects are found in the paths; a regular expression or a file tells of others.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from drml.data.image_list import ImageList, read_list
from drml.data.text_list import read_lines
from drml.errors import DataError, UsageError
from drml.prepare.clip import Clip, Dataset, ImageFiles, in_order
from drml.prepare.join import check_without, settle_unknown
from drml.prepare.options import NEGATIVE, PAPER_AUS, Options
from drml.prepare.points import find_frame_points

_SUBJECT = r"(?<![A-Za-z])(?P<subject>(?:SN|[FMS])\d{3})(?!\d)"


def scan(options: Options) -> Dataset:
    """Reads a list and tells the subject, video and frame of each image.

    Raises:
        DataError: names list and line: see `drml.data.image_list.read_list`; no subject in a path,
            or two images with one key.
        UsageError: the rule for subjects is no regular expression, or has no group.
    """
    images = read_list(
        options.root, root=options.images, zero_is_negative=options.unknown == NEGATIVE
    )
    aus = _aus(options, images)
    keys = _keys(options, images)
    check_without(options, keys)
    labels, stay = settle_unknown(images.labels, options.unknown)
    data = Dataset("list", aus, [])
    by_video: dict[str, list[int]] = {}
    for index in sorted(range(len(keys)), key=keys.__getitem__):
        if not options.keeps(keys[index]):
            continue
        if stay[index]:
            by_video.setdefault(keys[index].rpartition("/")[0], []).append(index)
        else:
            data.excluded.append((keys[index], "a label is unknown"))
    for name, indices in by_video.items():
        data.clips.append(
            Clip(
                name,
                tuple(keys[index] for index in indices),
                tuple(range(len(indices))),
                labels[indices],
                ImageFiles(tuple(images.image_path(index) for index in indices)),
                _points(options, images, indices),
            )
        )
    if not data.clips:
        raise DataError(f"{options.root}: no image is left")
    data.clips = in_order(data.clips)
    return data


def _aus(options: Options, images: ImageList) -> list[str]:
    count = images.label_shape[0]
    if options.aus and len(options.aus) != count:
        raise UsageError(
            f"--aus names {len(options.aus)} AUs, but {options.root} has {count} labels a line"
        )
    if not options.aus and count != len(PAPER_AUS):
        raise UsageError(
            f"{options.root}: has {count} labels a line, not those of the paper's "
            f"{len(PAPER_AUS)} AUs; --aus says which AUs they are"
        )
    return list(options.aus or PAPER_AUS)


def _keys(options: Options, images: ImageList) -> list[str]:
    """The key of each image, all different."""
    names = images.names
    if options.subjects is not None:
        subjects = _read_subjects(options.subjects, images)
        keys = [_key(name, subject) for name, subject in zip(names, subjects, strict=True)]
    else:
        keys = _keys_by_rule(options, images)
    first: dict[str, int] = {}
    for index, key in enumerate(keys):
        other = first.setdefault(key, index)
        if other != index:
            raise DataError(
                f"{options.root}:{images.lines[index]}: has the key {key} as line "
                f"{images.lines[other]} has; --subject with groups subject, video and frame tells "
                "them apart"
            )
    return keys


def _keys_by_rule(options: Options, images: ImageList) -> list[str]:
    try:
        rule = re.compile(options.subject or _SUBJECT)
    except re.error as error:
        raise UsageError(
            f"--subject {options.subject!r}: is no regular expression: {error}"
        ) from error
    if not rule.groups:
        raise UsageError(f"--subject {options.subject!r}: has no group that is the subject")
    groups = rule.groupindex
    keys = []
    for index, name in enumerate(images.names):
        found = rule.search(name)
        parts = {group: found[group] or "" for group in groups} if found else {}
        subject = (parts.get("subject") or found[1] or "") if found else ""
        if not subject:
            raise DataError(
                f"{options.root}:{images.lines[index]}: no subject in {name}; --subject is a rule "
                "that finds it, --subjects a file that tells it"
            )
        keys.append(_key(name, subject, parts.get("video", ""), parts.get("frame", "")))
    return keys


def _key(name: str, subject: str, video: str = "", frame: str = "") -> str:
    """`SUBJECT/VIDEO/FRAME` of an image's path.

    Where they are not given, the frame is what follows the last underscore of the file's name, and
    the video what stands before it but for the subject, or else the folder.
    """
    path = PurePosixPath(name)
    *front, last = path.stem.split("_")
    words = [word for word in front if word and word != subject]
    if not words and path.parent.name not in ("", subject):
        words = [path.parent.name]
    video = video or "_".join(words) or "images"
    return "/".join(part.replace("/", "-") for part in (subject, video, frame or last))


def _read_subjects(path: Path, images: ImageList) -> list[str]:
    """The subject of each image: a line `subject` for each, in the list's order, or lines
    `path subject`."""
    lines = read_lines(path, "subjects")
    words = [line.rsplit(None, 1) for _, line in lines]
    if all(len(pair) == 1 for pair in words):
        if len(words) != len(images):
            raise DataError(f"{path}: {len(words)} subjects for the {len(images)} images of a list")
        return [pair[0] for pair in words]
    known: dict[str, str] = {}
    for (number, line), pair in zip(lines, words, strict=True):
        if len(pair) != 2:
            raise DataError(f"{path}:{number}: is not `path subject`: {line[:60]!r}")
        if known.setdefault(pair[0], pair[1]) != pair[1]:
            raise DataError(f"{path}:{number}: {pair[0]} is {pair[1]}, and {known[pair[0]]} before")
    for index, name in enumerate(images.names):
        if name not in known:
            raise DataError(f"{path}: does not say whose {name} is ({images.name(index)})")
    return [known[name] for name in images.names]


def _points(options: Options, images: ImageList, indices: list[int]) -> tuple[str, ...] | None:
    paths = []
    for index in indices:
        stem = str(PurePosixPath(images.names[index]).with_suffix(""))
        stems = [stem.lstrip("/"), PurePosixPath(stem).name]
        path = find_frame_points(options, stems, images.names[index])
        if path is None:
            return None
        paths.append(path)
    return tuple(paths)
