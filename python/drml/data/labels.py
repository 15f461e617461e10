"""Labels: -1 absent, 0 unknown, 1 present, and the checks that keep other conventions out.

The multi-label loss ignores 0. A data set that writes 0 for absent would lose all its negatives
without a word, so it is refused, with the option that reads 0 as absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drml.errors import DataError

ABSENT, UNKNOWN, PRESENT = -1, 0, 1
_OPTION = "`zero_is_negative: true` (--zero-is-negative)"
_WANTED = "labels are -1 (absent), 0 (unknown) or 1 (present)"
_TOKENS = {"-1": ABSENT, "0": UNKNOWN, "1": PRESENT, "+1": PRESENT}


def parse_labels(tokens: Sequence[str]) -> list[int]:
    """Labels from text.

    Raises:
        DataError: one is no number, or none of -1, 0 and 1.
    """
    try:
        return [_TOKENS[token] for token in tokens]
    except KeyError:
        return [_parse_label(token, column) for column, token in enumerate(tokens, 1)]


def _parse_label(token: str, column: int) -> int:
    try:
        value = float(token)
    except ValueError:
        raise DataError(f"label {column} is '{token}', not a number") from None
    if value not in (ABSENT, UNKNOWN, PRESENT):
        raise DataError(f"label {column} is {token}, but {_WANTED}")
    return int(value)


def check_values(labels: npt.NDArray[np.float32]) -> None:
    """Raises DataError unless all labels are -1, 0 or 1."""
    for column, value in enumerate(labels.tolist(), 1):
        if value not in (ABSENT, UNKNOWN, PRESENT):
            raise DataError(f"label {column} is {value:g}, but {_WANTED}")


@dataclass(frozen=True)
class LabelCounts:
    """How often each label value occurs, per column; arrays of shape (columns,)."""

    positives: npt.NDArray[np.int64]
    negatives: npt.NDArray[np.int64]
    unknown: npt.NDArray[np.int64]

    @classmethod
    def of(cls, labels: npt.ArrayLike) -> LabelCounts:
        """Counts of an array (samples, columns) of -1, 0 and 1."""
        array = np.asarray(labels)
        counts = ((array == value).sum(axis=0) for value in (PRESENT, ABSENT, UNKNOWN))
        return cls(*(count.astype(np.int64) for count in counts))

    def rows(self) -> Iterable[tuple[int, int, int, int]]:
        """(column from 1, positives, negatives, unknown) per column."""
        columns = zip(self.positives, self.negatives, self.unknown, strict=True)
        for column, (positives, negatives, unknown) in enumerate(columns, 1):
            yield column, int(positives), int(negatives), int(unknown)


def check_convention(counts: LabelCounts, origin: str, *, learning: bool = False) -> None:
    """Refuses a data set whose labels look like 0 and 1, where 0 means absent.

    Only positives is fine, and so is all unknown where nothing is learned: pictures to predict.

    Args:
        counts: of the data set, or of a good part of it.
        origin: names the data set in the error.
        learning: whether a net will learn from all that was counted, so that it needs known labels.

    Raises:
        DataError: 0 and 1 occur but -1 does not, or nothing but 0 does and `learning`.
    """
    positives, unknown = int(counts.positives.sum()), int(counts.unknown.sum())
    if counts.negatives.any() or not unknown:
        return
    if positives:
        raise DataError(
            f"{origin}: holds labels 0 and 1 but no -1; 0 means unknown here, so all "
            f"negatives would be lost; if 0 means absent, set {_OPTION}"
        )
    if learning:
        raise DataError(
            f"{origin}: all labels are 0, which means unknown, so there is nothing to learn; "
            f"if 0 means absent, set {_OPTION}"
        )
