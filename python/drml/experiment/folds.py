"""The frames of a fold as an experiment uses them; no subject may be in two parts of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drml.errors import DataError
from drml.prepared import LISTS, Prepared

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FoldData:
    """A fold of a prepared folder.

    Attributes:
        number: from 1.
        train, val, test: rows of the folder's frames; val may be empty.
        folder: of the fold's lists, `train.txt` and so on.
        mean: the mean image of the train list.
    """

    number: int
    train: Rows
    val: Rows
    test: Rows
    folder: Path
    mean: Path

    @property
    def rows(self) -> Rows:
        """All rows of the fold, sorted."""
        return np.union1d(np.union1d(self.train, self.val), self.test)

    def keys(self, name: str) -> Path:
        """The list of `train`, `val` or `test`."""
        return self.folder / f"{name}.txt"


def read_fold(data: Prepared, number: int) -> FoldData:
    """A fold, checked.

    Raises:
        DataError: a list cannot be read, train or test is empty, or a subject is in two lists.
    """
    fold = data.fold(number)
    rows = {name: data.rows(getattr(fold, name)) for name in LISTS}
    for name in ("train", "test"):
        if not len(rows[name]):
            raise DataError(f"{fold.folder / f'{name}.txt'}: fold {number} has no {name} frames")
    subjects = {name: {data.subjects[row] for row in rows[name]} for name in LISTS}
    for name, other in (("train", "test"), ("train", "val"), ("val", "test")):
        both = sorted(subjects[name] & subjects[other])
        if both:
            raise DataError(
                f"{data.path}: fold {number}: subject {both[0]} is in {name} and in {other}; no "
                "figure of such a fold tells anything about people who were not seen"
            )
    return FoldData(number, rows["train"], rows["val"], rows["test"], fold.folder, fold.mean)


def check_apart(train: Prepared, learned: FoldData, test: Prepared, tested: FoldData) -> None:
    """Refuses to test, across two folders of one data set, on subjects that were learned from.

    Raises:
        DataError: names such a subject.
    """
    if train.dataset != test.dataset:
        return
    known = {train.subjects[row] for row in (*learned.train, *learned.val)}
    both = sorted(known & {test.subjects[row] for row in tested.test})
    if both:
        raise DataError(
            f"{test.path}: fold {tested.number} tests on subject {both[0]}, from whom the networks "
            f"learn in fold {learned.number} of {train.path}"
        )
