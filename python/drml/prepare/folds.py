"""Folds: which subjects are tested on, which choose the iteration, and which are learned from.

A subject's frames look alike, so a subject is in one of the three lists only. Test subjects come
from the authors' folds, from a file, or by seed; validation subjects are held out from the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from drml.data.images import read_bytes
from drml.data.keyed import permutation, stream_key
from drml.errors import DataError
from drml.nearest import nearest

VALIDATION_SHARE = 0.2
"""Of a fold's other subjects, how many are held out to choose the iteration."""

Lists = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Folds:
    """The subjects of each fold; who is in neither list is learned from.

    Attributes:
        test: subjects of each fold, sorted.
        validation: as `test`; empty until some are held out or given.
    """

    test: Lists
    validation: Lists = ()

    def __len__(self) -> int:
        return len(self.test)

    def train(self, fold: int, subjects: Iterable[str]) -> list[str]:
        """The subjects that fold `fold`, from 1, learns from: all others of `subjects`."""
        others = {*self.test[fold - 1], *self.validation[fold - 1]}
        return [subject for subject in subjects if subject not in others]

    def to_json(self) -> dict[str, list[list[str]]]:
        """As folds.json holds it."""
        return {
            "test": [list(subjects) for subjects in self.test],
            "validation": [list(subjects) for subjects in self.validation],
        }


def by_seed(subjects: Sequence[str], count: int, seed: int) -> Folds:
    """`count` folds of about as many test subjects each, drawn at random by the seed.

    Raises:
        DataError: fewer than two folds, or fewer subjects than folds.
    """
    if count < 2:
        raise DataError(
            f"{count} folds; two or more are needed, to test on one subject and learn from another"
        )
    if len(subjects) < count:
        raise DataError(f"{count} folds need as many subjects; the data hold {len(subjects)}")
    order = permutation(stream_key(seed, "folds"), len(subjects)).tolist()
    return Folds(
        tuple(tuple(sorted(subjects[i] for i in order[fold::count])) for fold in range(count))
    )


def leave_one_out(subjects: Sequence[str]) -> Folds:
    """A fold per subject, which is tested on it alone."""
    return Folds(tuple((subject,) for subject in subjects))


def shipped(dataset: str) -> Folds:
    """The folds that come with the package: BP4D's of the DRML authors, DISFA's of JAA-Net's.

    Raises:
        DataError: there are none for the data set.
    """
    text = resources.files("drml").joinpath("folds.json").read_bytes()
    content = json.loads(text)
    if dataset not in content:
        known = " and ".join(content)
        raise DataError(f"no folds come with drml for {dataset}, only for {known}")
    return _parse(content[dataset], f"drml's folds of {dataset}")


def read_folds(path: Path, dataset: str) -> Folds:
    """The folds of a JSON file: `{"test": [[subject, ...], ...], "validation": [...]}`.

    The object may stand under the data set's name, in any case, where a file has several.

    Raises:
        DataError: the file cannot be read, is no JSON, or holds no such lists.
    """
    try:
        content = json.loads(read_bytes(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: is no JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no JSON: it is not text in UTF-8") from error
    if isinstance(content, dict) and "test" not in content:
        named = {name.lower(): value for name, value in content.items()}
        if dataset not in named:
            hint = nearest(dataset, named) or f"; it has {', '.join(named) or 'nothing'}"
            raise DataError(f"{path}: has neither 'test' nor '{dataset}'{hint}")
        content = named[dataset]
    return _parse(content, str(path))


def _parse(content: Any, where: str) -> Folds:
    if not isinstance(content, Mapping):
        raise DataError(f"{where}: the folds are not an object with the list 'test'")
    test = _lists(content.get("test"), f"{where}: 'test'")
    if not test:
        raise DataError(f"{where}: 'test' has no folds")
    validation: Lists = ()
    if content.get("validation") is not None:
        validation = _lists(content["validation"], f"{where}: 'validation'")
        if len(validation) != len(test):
            raise DataError(
                f"{where}: {len(validation)} lists of validation subjects for {len(test)} folds"
            )
    return Folds(test, validation)


def _lists(value: Any, where: str) -> Lists:
    if not isinstance(value, list):
        raise DataError(f"{where} is not a list with a list of subjects for each fold")
    for number, subjects in enumerate(value, 1):
        if not isinstance(subjects, list) or not all(isinstance(name, str) for name in subjects):
            raise DataError(f"{where} is not a list of subjects in fold {number}")
        for subject in subjects:
            if subjects.count(subject) > 1:
                raise DataError(f"{where} repeats {subject} in fold {number}")
    return tuple(tuple(sorted(subjects)) for subjects in value)


def without(folds: Folds, subjects: Iterable[str]) -> Folds:
    """The folds where some subjects are not in the data."""
    gone = set(subjects)

    def left(lists: Lists) -> Lists:
        return tuple(tuple(name for name in names if name not in gone) for names in lists)

    return Folds(left(folds.test), left(folds.validation))


def with_validation(folds: Folds, subjects: Sequence[str], share: float, seed: int) -> Folds:
    """Folds in which a share of the subjects who are not tested is held out, by the seed.

    At least one is, unless the share is 0 or no two are left. Folds that have validation subjects
    keep them.
    """
    if folds.validation:
        return folds
    validation = []
    for fold, tested in enumerate(folds.test, 1):
        others = [subject for subject in subjects if subject not in tested]
        count = min(max(1, round(share * len(others))), len(others) - 1) if share else 0
        order = permutation(stream_key(seed, "validation"), len(others), fold)
        validation.append(tuple(sorted(others[i] for i in order[: max(count, 0)])))
    return Folds(folds.test, tuple(validation))


def check(folds: Folds, subjects: Sequence[str], where: str) -> None:
    """Refuses folds that do not fit the data or let a subject cross from one list to another.

    Args:
        folds: with validation subjects.
        subjects: of the data.
        where: the folds come from, for messages.

    Raises:
        DataError: a subject that the data do not hold, or in two test lists, or both tested on and
            validated on; no subjects to test on or to learn from.
    """
    known = set(subjects)
    tested: dict[str, int] = {}
    for fold, (test, validation) in enumerate(zip(folds.test, folds.validation, strict=True), 1):
        unknown = [name for name in (*test, *validation) if name not in known]
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise DataError(
                f"{where}: fold {fold} names {unknown[0]}{more}, whom the data do not hold"
                f"{nearest(unknown[0], known)}"
            )
        for name in test:
            if name in tested:
                raise DataError(f"{where}: folds {tested[name]} and {fold} both test on {name}")
            tested[name] = fold
        both = sorted(set(test) & set(validation))
        if both:
            raise DataError(f"{where}: fold {fold} has {both[0]} in test and in validation")
        if not test:
            raise DataError(f"{where}: fold {fold} has no subject to test on")
        if not folds.train(fold, subjects):
            raise DataError(f"{where}: fold {fold} leaves no subject to learn from")


def check_lists(lists: Mapping[str, Sequence[str]], fold: int) -> None:
    """Checks once more, on the subjects of the frames that were listed, that none crosses.

    Args:
        lists: name of a list, `train`, `val` or `test` -> the subject of each of its frames.
        fold: number, for messages.

    Raises:
        DataError: a subject is in two lists.
    """
    owner: dict[str, str] = {}
    for name, subjects in lists.items():
        for subject in set(subjects):
            if owner.setdefault(subject, name) != name:
                raise DataError(f"fold {fold}: {subject} is in {owner[subject]} and in {name}")
