"""Figures of one action unit (AU): F1-frame, F1-norm, ROC-AUC, PR-AUC, and intervals by bootstrap.

Labels are -1 (absent), 0 (unknown) and 1 (present); unknown ones are left out of every figure. A
score above 0 says present. A figure that the labels do not define is NaN. F1: DRML (CVPR 2016),
section 4, 2PR / (P + R) over frames.

The bootstrap draws subjects, not frames: frames of one face are far from independent. Every figure
of a resample follows from counts per subject or per pair of subjects, so that a resample is a
matrix product and nothing is sorted twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


def f1(scores: Array, labels: Array) -> float:
    """F1-frame of "score > 0", 2 TP / (2 TP + FP + FN); NaN where all three are 0."""
    return float(_f1(*_outcomes(scores, labels)))


def f1_norm(scores: Array, labels: Array) -> float:
    """F1 in which false positives count skew times, skew = negatives / positives.

    NaN where no label is positive, which leaves the skew undefined.
    """
    return float(_f1_norm(*_outcomes(scores, labels), *_classes(labels)))


def all_positive_f1(labels: Array) -> float:
    """F1 of saying present of every frame: 2p / (1 + p) for a share p of positives."""
    positives, negatives = _classes(labels)
    return 2 * positives / (2 * positives + negatives) if positives + negatives else math.nan


def roc_auc(scores: Array, labels: Array) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties counting half.

    NaN where a class is lacking.
    """
    positive, negative = scores[labels > 0], scores[labels < 0]
    if not len(positive) or not len(negative):
        return math.nan
    return float(_wins(positive, np.sort(negative)).mean() / len(negative))


def pr_auc(scores: Array, labels: Array) -> float:
    """Average precision: sum over thresholds of (recall - recall before) * precision.

    Frames of one score pass the threshold together. NaN where no label is positive.
    """
    known = labels != 0
    score, present = scores[known], labels[known] > 0
    if not present.any():
        return math.nan
    order = np.argsort(-score, kind="stable")
    score, hits = score[order], np.cumsum(present[order])
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    precision = hits[last] / (last + 1)
    return float(np.sum(np.diff(hits[last], prepend=0) * precision) / hits[-1])


def _classes(labels: Array) -> tuple[int, int]:
    return int((labels > 0).sum()), int((labels < 0).sum())


def _outcomes(scores: Array, labels: Array) -> tuple[int, int, int]:
    """True positives, false positives, false negatives."""
    said, present = scores > 0, labels > 0
    hits = int((said & present).sum())
    return hits, int((said & (labels < 0)).sum()), int(present.sum()) - hits


def _f1(hits: Any, false: Any, missed: Any) -> Floats:
    return _divide(2 * hits, 2 * hits + false + missed)


def _f1_norm(hits: Any, false: Any, missed: Any, positives: Any, negatives: Any) -> Floats:
    return _f1(hits, false * _divide(negatives, positives), missed)


def _divide(above: Any, below: Any) -> Floats:
    """The quotient, NaN where the divisor is 0."""
    above, below = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    quotient: Floats = np.full(above.shape, math.nan)
    np.divide(above, below, out=quotient, where=below != 0)
    return quotient


def _wins(positive: Array, negative: Array) -> Floats:
    """How many negatives, which are sorted, each positive scores above; ties are half."""
    below = np.searchsorted(negative, positive, "left")
    return (below + np.searchsorted(negative, positive, "right")) / 2


class Subjects:
    """Resamples of the subjects of some frames.

    Args:
        subjects: of each frame, in the order of the scores that will be given.
        samples: how many resamples.
        seed: of the draws.
    """

    def __init__(self, subjects: Sequence[str], samples: int, seed: int) -> None:
        names, self._of = np.unique(np.asarray(subjects), return_inverse=True)
        self._count = len(names)
        rng = np.random.default_rng(seed)
        share = np.full(self._count, 1 / max(self._count, 1))
        self._times: Floats = rng.multinomial(self._count, share, samples).astype(float)

    def f1(self, scores: Array, labels: Array) -> Floats:
        """F1 of each resample; NaN where it is not defined."""
        said, present = scores > 0, labels > 0
        return _f1(
            self._sum(said & present), self._sum(said & (labels < 0)), self._sum(~said & present)
        )

    def roc_auc(self, scores: Array, labels: Array) -> Floats:
        """ROC-AUC of each resample; NaN where it is not defined."""
        positive, negative = labels > 0, labels < 0
        owner, score = self._of[positive], scores[positive]
        wins = np.zeros((self._count, self._count))
        for other in range(self._count):
            ranked = np.sort(scores[negative & (self._of == other)])
            wins[:, other] = np.bincount(owner, _wins(score, ranked), self._count)
        won = ((self._times @ wins) * self._times).sum(axis=1)
        return _divide(won, self._sum(positive) * self._sum(negative))

    def _sum(self, frames: Array) -> Floats:
        """How many of some frames each resample holds."""
        counted: Floats = self._times @ np.bincount(self._of[frames], minlength=self._count)
        return counted


@dataclass(frozen=True)
class Interval:
    """A central interval of a bootstrap; None where no resample defines the figure."""

    low: float | None
    high: float | None


def interval(values: Array, level: float = 0.95) -> Interval:
    """The central share `level` of resampled values; those that are NaN are left out."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Interval(None, None)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
