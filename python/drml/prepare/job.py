"""The whole of `drml prepare`: from options to a prepared folder, or on from where it stopped."""

from __future__ import annotations

import contextlib
import importlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from drml import __version__
from drml.data.labels import LabelCounts
from drml.errors import DataError, UsageError, WeightsError
from drml.faces.find import AUTO, open_finder
from drml.prepare import finish
from drml.prepare.clip import Clip, Dataset
from drml.prepare.folds import (
    Folds,
    by_seed,
    check,
    leave_one_out,
    read_folds,
    shipped,
    with_validation,
    without,
)
from drml.prepare.options import FIND, Options, difference
from drml.prepare.parts import Parts
from drml.prepare.run import prepare_clips
from drml.prepared import EXCLUDED, FACES, FOLDS, FRAMES, LANDMARKS, MANIFEST, Prepared

_SCANS = {"bp4d": "bp4d", "disfa": "disfa", "ckplus": "ckplus", "list": "listed"}
_MADE = (MANIFEST, finish.PARTS, FACES, FRAMES, LANDMARKS, FOLDS, EXCLUDED, "folds", finish.CONTACT)


def prepare(
    out: Path, options: Options, *, processes: int = 1, force: bool = False
) -> tuple[dict[str, Any], bool]:
    """Prepares a data set.

    All labels, folds and the names of all files are checked before the first frame is read. Each
    finished clip is kept in `out`/parts until the folder is complete, so the same call goes on
    after an interruption, whatever it was; the manifest is written last.

    Args:
        out: the folder to make.
        options: how.
        processes: that read frames.
        force: begin anew where the folder was made, or begun, with other options.

    Returns:
        The manifest, and whether the folder was complete before.

    Raises:
        UsageError: the folder is something else, or was begun with other options.
        DrmlError: the data cannot be used, or the folder cannot be written.
    """
    if options.landmarks == FIND:
        # The name that stands for `auto`; and what is not installed shall be missed now.
        options = replace(options, finder=open_finder(options.finder or AUTO).name)
    parts = Parts(out / finish.PARTS)
    manifest = None if force else _finished(out, options)
    if manifest is not None:
        return manifest, True
    words = options.early_words() | {"drml": __version__}
    _check_out(out, parts, words, force)
    data = scan(options)
    folds = choose_folds(options, data)
    _note_labels(data)
    if force:
        _clear(out)
    parts.begin(words)
    left = [clip for clip in data.clips if not parts.has(clip)]
    try:
        with _bar("prepare", left) as bar:
            failures = prepare_clips(left, options, parts, processes, bar.update)
        if failures:
            raise DataError(_failed(failures, len(data.clips)))
        with _bar("write", data.clips) as bar:
            manifest = finish.finish(out, data, options, folds, parts, processes, bar.update)
    except WeightsError as error:
        # Of a file that could not be written, whatever it holds.
        raise WeightsError(
            f"{error}; what is finished stays, and the same command goes on"
        ) from error
    parts.remove()
    return manifest, False


def scan(options: Options) -> Dataset:
    """Finds the clips of a data set and reads their labels; see the module of its name."""
    module = importlib.import_module(f"drml.prepare.{_SCANS[options.dataset]}")
    if options.points is not None and not options.points.is_dir():
        raise DataError(f"{options.points}: no such folder of landmarks")
    data: Dataset = module.scan(options)
    return data


def choose_folds(options: Options, data: Dataset) -> Folds:
    """The folds that the options ask for, with validation subjects, fit for the data.

    Adds a note where somebody is tested in no fold.

    Raises:
        DataError: see `drml.prepare.folds`.
    """
    subjects = data.subjects
    where = f"--folds {options.folds}"
    if options.folds == "loso":
        folds = leave_one_out(subjects)
    elif options.folds.isdigit():
        folds = by_seed(subjects, int(options.folds), options.seed)
    elif options.folds == "drml":
        folds = without(shipped(options.dataset), options.without)
    else:
        where = options.folds
        folds = without(read_folds(Path(options.folds), options.dataset), options.without)
    folds = with_validation(folds, subjects, options.validation, options.seed)
    check(folds, subjects, where)
    tested = {subject for names in folds.test for subject in names}
    untested = [subject for subject in subjects if subject not in tested]
    if untested:
        data.notes.append(
            f"{len(untested)} of {len(subjects)} subjects are in no test list of {where}, so they "
            f"are never tested on ({', '.join(untested[:3])}{', ...' if len(untested) > 3 else ''})"
        )
    return folds


def _note_labels(data: Dataset) -> None:
    counts = LabelCounts.of(np.concatenate([clip.labels for clip in data.clips]))
    for au, (_, positives, negatives, _unknown) in zip(data.aus, counts.rows(), strict=True):
        for count, what in ((positives, "has"), (negatives, "lacks")):
            if not count:
                data.notes.append(
                    f"AU {au}: no frame {what} it, so it can be neither learned nor scored"
                )


def _finished(out: Path, options: Options) -> dict[str, Any] | None:
    """The manifest of a complete folder of the same options; None where it is not complete."""
    if not (out / MANIFEST).is_file():
        return None
    manifest = Prepared(out).manifest
    changed = difference(manifest["options"], options.words())
    if changed:
        raise UsageError(f"{out}: was made with {changed}; name another folder, or give --force")
    return manifest


def _check_out(out: Path, parts: Parts, words: dict[str, str], force: bool) -> None:
    """Refuses to write where something else is, or to mix the parts of two sets of options."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is not a folder")
    begun = parts.options()
    if begun is not None and not force:
        changed = difference(begun, words)
        if changed:
            raise UsageError(
                f"{out}: was begun with {changed}; name another folder, or give --force"
            )
    if begun is None and not (out / MANIFEST).is_file() and out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out}: holds other things; name a new folder")


def _clear(out: Path) -> None:
    """Removes what an earlier run made, the manifest first."""
    for name in _MADE:
        path = out / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def _bar(what: str, clips: Sequence[Clip]) -> Any:
    from tqdm import tqdm

    total = sum(len(clip.keys) for clip in clips)
    return tqdm(total=total, desc=what, unit="frame", disable=None)


def _failed(failures: Sequence[str], clips: int) -> str:
    more = f" (and {len(failures) - 1} more videos failed)" if len(failures) > 1 else ""
    return (
        f"{failures[0]}{more}; {clips - len(failures)} of {clips} videos are finished and stay: "
        "mend it and run again, or leave the subject out by --without"
    )
