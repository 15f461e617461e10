"""Scores per AU from predictions: of each fold, of all test frames pooled, and mean of the folds.

An AU that has one class in a fold, or of which a method says nothing, keeps its row with a note and
is in no mean. The same resamples of subjects serve all methods and AUs, so that intervals of means
see how AUs and methods move together.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drml import au_metrics
from drml.au_metrics import Subjects
from drml.experiment.config import Bootstrap
from drml.experiment.results import MEAN, POOLED, Answers, Score

Floats = npt.NDArray[np.float64]

_FIGURES = ("f1", "f1_norm", "roc_auc", "pr_auc")
_RESAMPLED = ("f1", "roc_auc")


@dataclass
class _Figures:
    """Figures of one AU in one part of the test frames, and those of the resamples."""

    counts: tuple[int, int, int]
    values: dict[str, float]
    resamples: dict[str, Floats]
    note: str | None = None

    @property
    def in_mean(self) -> bool:
        """Whether both classes occur and the method says something."""
        return not math.isnan(self.values["roc_auc"])


class Scorer:
    """Scores the methods of an experiment.

    Args:
        aus: names of the columns.
        bootstrap: how the test subjects are resampled.
    """

    def __init__(self, aus: Sequence[str], bootstrap: Bootstrap) -> None:
        self._aus = list(aus)
        self._bootstrap = bootstrap
        self._drawn: dict[bytes, Subjects] = {}

    def rows(
        self, method: str, seed: int, folds: dict[int, Answers], why_silent: str
    ) -> list[Score]:
        """All rows of a method.

        Args:
            method: its name.
            seed: of its networks.
            folds: predictions by fold.
            why_silent: the note of an AU of which the method says nothing.
        """
        parts: dict[int | str, list[_Figures]] = {
            fold: self._figures(part, why_silent) for fold, part in folds.items()
        }
        parts[POOLED] = self._figures(_pooled(list(folds.values())), why_silent)
        parts[MEAN] = [
            _mean_of_folds({fold: parts[fold][au] for fold in folds})
            for au in range(len(self._aus))
        ]
        scores = []
        for fold, figures in parts.items():
            for au, row in zip(self._aus, figures, strict=True):
                scores.append(_score(method, seed, fold, au, row))
            scores.append(_score(method, seed, fold, MEAN, self._mean(figures)))
        return scores

    def _figures(self, part: Answers, why_silent: str) -> list[_Figures]:
        subjects = self._subjects(part.subjects)
        return [
            _figures_of(part.scores[:, au], part.labels[:, au], subjects, why_silent)
            for au in range(len(self._aus))
        ]

    def _subjects(self, subjects: npt.NDArray[np.str_]) -> Subjects | None:
        """Resamples of the subjects, the same for all who ask with the same frames."""
        if not self._bootstrap.samples:
            return None
        key = subjects.tobytes()
        if key not in self._drawn:
            self._drawn[key] = Subjects(
                subjects.tolist(), self._bootstrap.samples, self._bootstrap.seed
            )
        return self._drawn[key]

    def _mean(self, figures: Sequence[_Figures]) -> _Figures:
        """The unweighted mean over the AUs that have both classes; counts are sums."""
        kept = [row for row in figures if row.in_mean]
        left_out = [au for au, row in zip(self._aus, figures, strict=True) if not row.in_mean]
        counts = tuple(sum(row.counts[index] for row in figures) for index in range(3))
        note = f"left out of the mean: AU {', '.join(left_out)}" if left_out else None
        return _Figures((counts[0], counts[1], counts[2]), *_averages(kept), note)


def _figures_of(
    scores: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int8],
    subjects: Subjects | None,
    why_silent: str,
) -> _Figures:
    positives, negatives = int((labels > 0).sum()), int((labels < 0).sum())
    counts = (positives, negatives, len(labels) - positives - negatives)
    silent = np.isnan(scores)
    # What the method says nothing of is left out as an unknown label is.
    labels = np.where(silent, np.int8(0), labels)
    scores = np.where(silent, np.float32(-1), scores)
    if silent.all():
        return _Figures(counts, dict.fromkeys(_FIGURES, math.nan), {}, why_silent)
    values = {name: getattr(au_metrics, name)(scores, labels) for name in _FIGURES}
    resamples: dict[str, Floats] = {}
    note = f"{why_silent} in a part of the frames, which are left out" if silent.any() else None
    if math.isnan(values["roc_auc"]):
        lacking = "no label is known"
        if positives or negatives:
            lacking = f"one class only: no {'negative' if positives else 'positive'} label"
        note = f"{lacking}; left out of the mean"
    elif subjects is not None:
        resamples = {
            "f1": subjects.f1(scores, labels),
            "roc_auc": subjects.roc_auc(scores, labels),
        }
    return _Figures(counts, values, resamples, note)


def _pooled(parts: Sequence[Answers]) -> Answers:
    return Answers(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.subjects for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def _mean_of_folds(folds: dict[int, _Figures]) -> _Figures:
    """The mean of an AU's figures over the folds in which it has both classes; counts are sums."""
    kept = [row for row in folds.values() if row.in_mean]
    without = [str(fold) for fold, row in folds.items() if not row.in_mean]
    counts = tuple(sum(row.counts[index] for row in folds.values()) for index in range(3))
    note = f"the mean is without fold {', '.join(without)}" if without else None
    return _Figures((counts[0], counts[1], counts[2]), *_averages(kept), note)


def _averages(rows: Sequence[_Figures]) -> tuple[dict[str, float], dict[str, Floats]]:
    """Means of figures and of resamples, resample by resample; NaN of no rows."""
    if not rows:
        return dict.fromkeys(_FIGURES, math.nan), {}
    values = {name: float(np.mean([row.values[name] for row in rows])) for name in _FIGURES}
    resamples: dict[str, Floats] = {}
    for name in _RESAMPLED if rows[0].resamples else ():
        stacked = np.stack([row.resamples[name] for row in rows])
        with warnings.catch_warnings():
            # A resample in which no AU is defined has no mean, which NaN says.
            warnings.filterwarnings("ignore", "Mean of empty slice")
            resamples[name] = np.nanmean(stacked, axis=0)
    return values, resamples


def _score(method: str, seed: int, fold: int | str, au: str, row: _Figures) -> Score:
    ends: dict[str, float | None] = {}
    for name, values in row.resamples.items():
        found = au_metrics.interval(values)
        ends |= {f"{name}_low": found.low, f"{name}_high": found.high}
    positives, negatives, unknown = row.counts
    return Score(
        method=method,
        seed=seed,
        fold=fold,
        au=au,
        positives=positives,
        negatives=negatives,
        unknown=unknown,
        **{name: None if math.isnan(v) else v for name, v in row.values.items()},
        **ends,
        note=row.note,
    )
