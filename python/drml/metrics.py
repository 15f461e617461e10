"""Scores per action unit (AU): F1-frame, ROC-AUC, and the F1 of saying yes to every frame.

Labels are -1 (absent), 0 (unknown) and 1 (present). Unknown labels are left out of every figure.
Definitions: DRML (CVPR 2016), section 4; ROC-AUC is the plain area under the ROC curve.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from drml import au_metrics
from drml.errors import NetError, UsageError
from drml.text_table import align

BP4D_AUS = ("1", "2", "4", "6", "7", "10", "12", "14", "15", "17", "23", "24")
DISFA_AUS = ("1", "2", "4", "6", "9", "12", "25", "26")

_COLUMNS = ("AU", "positives", "negatives", "unknown", "F1", "ROC-AUC", "all-positive F1")


@dataclass(frozen=True)
class AuScore:
    """The scores of one AU; a figure that the labels do not define is NaN.

    Attributes:
        name: the AU's number, or the index of the output.
        positives, negatives, unknown: counts of labels 1, -1 and 0.
        f1: F1-frame of "score > 0", from 0 to 1.
        auc: area under the ROC curve, from 0 to 1; NaN where only one class occurs.
        all_positive_f1: the F1 of a predictor that always says yes, 2p / (1 + p).
    """

    name: str
    positives: int
    negatives: int
    unknown: int
    f1: float
    auc: float
    all_positive_f1: float

    @property
    def one_class(self) -> bool:
        """Whether positives or negatives are lacking, so that the AU is left out of the means."""
        return self.positives == 0 or self.negatives == 0


def au_names(count: int, given: Sequence[str] | None = None) -> list[str]:
    """Names of `count` outputs: those given, else BP4D's for 12 and DISFA's for 8, else 0, 1, 2...

    Raises:
        UsageError: the number of names given is not `count`, or a name comes twice.
    """
    if given is not None:
        names = [name.strip().removeprefix("AU") for name in given]
        if len(names) != count:
            raise UsageError(f"--aus names {len(names)} AUs, but the net has {count} outputs")
        if len(set(names)) != count:
            raise UsageError(f"--aus names an AU twice: {','.join(names)}")
        return names
    known = {len(BP4D_AUS): BP4D_AUS, len(DISFA_AUS): DISFA_AUS}.get(count)
    return list(known) if known else [f"output {index}" for index in range(count)]


def _score(name: str, scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> AuScore:
    positives, negatives = int((labels > 0).sum()), int((labels < 0).sum())
    return AuScore(
        name,
        positives,
        negatives,
        int(labels.size) - positives - negatives,
        au_metrics.f1(scores, labels),
        au_metrics.roc_auc(scores, labels),
        au_metrics.all_positive_f1(labels),
    )


class AuTable:
    """Scores of all AUs over a set of samples.

    Args:
        scores: (samples, AUs) logits; above 0 means present.
        labels: (samples, AUs) of -1, 0 and 1.
        names: one name per AU; None: see `au_names`.

    Raises:
        UsageError: the shapes differ or the number of names is wrong.
        NetError: a score is not a finite number.
    """

    def __init__(
        self, scores: npt.ArrayLike, labels: npt.ArrayLike, names: Sequence[str] | None = None
    ) -> None:
        score, label = np.asarray(scores), np.asarray(labels)
        if score.ndim != 2 or score.shape != label.shape:
            raise UsageError(
                f"scores {score.shape} and labels {label.shape} must both be (samples, AUs)"
            )
        if not np.isfinite(score).all():
            raise NetError("the scores of the net hold a nan or an infinite number")
        chosen = au_names(score.shape[1], names)
        self.samples: int = score.shape[0]
        self.rows: list[AuScore] = [
            _score(name, score[:, index], label[:, index]) for index, name in enumerate(chosen)
        ]

    @property
    def left_out(self) -> list[str]:
        """Names of the AUs that have one class only and are left out of the means."""
        return [row.name for row in self.rows if row.one_class]

    def _mean(self, attribute: str) -> float:
        values = [getattr(row, attribute) for row in self.rows if not row.one_class]
        return float(np.mean(values)) if values else math.nan

    @property
    def mean_f1(self) -> float:
        """Unweighted mean of F1 over the AUs that have both classes."""
        return self._mean("f1")

    @property
    def mean_auc(self) -> float:
        """Unweighted mean of ROC-AUC over the AUs that have both classes."""
        return self._mean("auc")

    @property
    def mean_all_positive_f1(self) -> float:
        """Unweighted mean of the all-positive F1 over the AUs that have both classes."""
        return self._mean("all_positive_f1")

    def _notes(self) -> list[str]:
        if not self.left_out:
            return []
        return [
            f"one class only, so left out of the mean: {', '.join(self.left_out)}",
        ]

    def text(self) -> str:
        """The table as aligned text, one AU a line, then the means; no newline at the end."""
        body: list[tuple[str, ...]] = [
            (
                row.name,
                str(row.positives),
                str(row.negatives),
                str(row.unknown),
                _figure(row.f1),
                _figure(row.auc),
                _figure(row.all_positive_f1),
            )
            for row in self.rows
        ]
        means = (self.mean_f1, self.mean_auc, self.mean_all_positive_f1)
        totals = [sum(getattr(row, key) for row in self.rows) for key in _COLUMNS[1:4]]
        body.append(("mean", *map(str, totals), *map(_figure, means)))
        table = align(_COLUMNS, body)
        note = f"{self.samples} samples; F1 of 'logit > 0'; counts in the last row are sums"
        return "\n".join([table, note, *self._notes()])

    def to_csv(self) -> str:
        """The table as CSV, with a last row of means; figures that are not defined stay empty."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(
            ("au", "positives", "negatives", "unknown", "f1", "roc_auc", "all_positive_f1")
        )
        for row in self.rows:
            figures = map(_cell, (row.f1, row.auc, row.all_positive_f1))
            writer.writerow((row.name, row.positives, row.negatives, row.unknown, *figures))
        means = map(_cell, (self.mean_f1, self.mean_auc, self.mean_all_positive_f1))
        writer.writerow(("mean", "", "", "", *means))
        return out.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """The table as plain values for JSON; figures that are not defined are None."""
        return {
            "samples": self.samples,
            "threshold": "logit > 0",
            "aus": [
                {
                    "au": row.name,
                    "positives": row.positives,
                    "negatives": row.negatives,
                    "unknown": row.unknown,
                    "f1": _plain(row.f1),
                    "roc_auc": _plain(row.auc),
                    "all_positive_f1": _plain(row.all_positive_f1),
                }
                for row in self.rows
            ],
            "mean": {
                "f1": _plain(self.mean_f1),
                "roc_auc": _plain(self.mean_auc),
                "all_positive_f1": _plain(self.mean_all_positive_f1),
            },
            "left_out_of_mean": self.left_out,
        }

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1) + "\n"


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
