"""Figures per AU against scikit-learn, their formulas, and a bootstrap that resamples frames."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from drml import au_metrics

pytestmark = pytest.mark.cpu_only

Array = npt.NDArray[Any]


def label_set(number: int) -> tuple[Array, Array]:
    """Scores, many of them tied, and labels with unknowns, of a length and prevalence by number."""
    rng = np.random.default_rng(number)
    count, rate = rng.integers(1, 60), rng.random()
    labels = np.where(rng.random(count) < rate, 1, -1)
    labels[rng.random(count) < rng.random() / 2] = 0
    scores = rng.integers(-3, 4, count) if number % 2 else rng.standard_normal(count)
    return scores.astype(np.float32), labels.astype(np.int8)


def test_equals_scikit_learn_on_a_thousand_label_sets() -> None:
    compared = 0
    for number in range(1000):
        scores, labels = label_set(number)
        known = labels != 0
        truth, score = labels[known] > 0, scores[known]
        if truth.any() or (score > 0).any():
            assert au_metrics.f1(scores, labels) == pytest.approx(f1_score(truth, score > 0))
        else:
            assert math.isnan(au_metrics.f1(scores, labels))
        if not truth.any():
            assert math.isnan(au_metrics.pr_auc(scores, labels))
            assert math.isnan(au_metrics.f1_norm(scores, labels))
        else:
            wanted = average_precision_score(truth, score)
            assert au_metrics.pr_auc(scores, labels) == pytest.approx(wanted)
            weights = np.where(truth, 1, (~truth).sum() / truth.sum())
            wanted = f1_score(truth, score > 0, sample_weight=weights)
            assert au_metrics.f1_norm(scores, labels) == pytest.approx(wanted)
        if not truth.any() or truth.all():
            assert math.isnan(au_metrics.roc_auc(scores, labels))
            continue
        compared += 1
        assert au_metrics.roc_auc(scores, labels) == pytest.approx(roc_auc_score(truth, score))
        yes = f1_score(truth, np.ones_like(truth))
        assert au_metrics.all_positive_f1(labels) == pytest.approx(yes)
    assert compared > 700


def test_figures_worked_out_by_hand() -> None:
    #                  TP  TP  FN  FP  TN  TN  TN  TN  TN  unknown
    scores = np.array([+3, +1, -1, +2, -2, -3, -4, -5, -6, +9], float)
    labels = np.array([+1, +1, +1, -1, -1, -1, -1, -1, -1, 0])
    assert au_metrics.f1(scores, labels) == pytest.approx(4 / (4 + 1 + 1))
    # Skew 6 / 3: the false positive counts twice.
    assert au_metrics.f1_norm(scores, labels) == pytest.approx(4 / (4 + 2 + 1))
    assert au_metrics.roc_auc(scores, labels) == pytest.approx((6 + 5 + 5) / 18)
    assert au_metrics.pr_auc(scores, labels) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert au_metrics.all_positive_f1(labels) == pytest.approx(6 / 12)


def test_constant_scores_are_worth_half_the_area_and_the_prevalence() -> None:
    labels = np.array([1, -1, -1, -1, 0])
    scores = np.full(5, 0.25)
    assert au_metrics.roc_auc(scores, labels) == 0.5
    assert au_metrics.pr_auc(scores, labels) == 0.25
    assert au_metrics.f1(scores, labels) == au_metrics.all_positive_f1(labels) == 0.4


def frames_of_subjects() -> tuple[list[str], Array, Array]:
    rng = np.random.default_rng(3)
    subjects = [f"S{number}" for number in rng.integers(0, 6, 80)]
    labels = rng.choice([-1, 0, 1], 80, p=[0.5, 0.1, 0.4])
    return subjects, (labels + rng.integers(-2, 3, 80)).astype(float), labels


def test_resamples_equal_the_figures_of_their_frames() -> None:
    subjects, scores, labels = frames_of_subjects()
    count = len(set(subjects))
    drawn = np.random.default_rng(7).multinomial(count, np.full(count, 1 / count), 50)
    names = sorted(set(subjects))
    resamples = au_metrics.Subjects(subjects, 50, 7)
    f1s, aucs = resamples.f1(scores, labels), resamples.roc_auc(scores, labels)
    for row, times in enumerate(drawn):
        frames = np.repeat(np.arange(80), [times[names.index(name)] for name in subjects])
        assert f1s[row] == pytest.approx(au_metrics.f1(scores[frames], labels[frames]))
        assert aucs[row] == pytest.approx(au_metrics.roc_auc(scores[frames], labels[frames]))


def test_resamples_without_a_class_are_not_defined_and_left_out_of_the_interval() -> None:
    scores, labels = np.array([1.0, -1.0]), np.array([1, -1])
    aucs = au_metrics.Subjects(["A", "B"], 200, 0).roc_auc(scores, labels)
    assert np.isnan(aucs).any()
    assert set(aucs[~np.isnan(aucs)]) == {1.0}
    assert au_metrics.interval(aucs) == au_metrics.Interval(1.0, 1.0)
    assert au_metrics.interval(np.full(3, math.nan)) == au_metrics.Interval(None, None)


def test_interval_is_the_central_share() -> None:
    values = np.arange(101, dtype=float)
    found = au_metrics.interval(values)
    assert (found.low, found.high) == pytest.approx((2.5, 97.5))
    found = au_metrics.interval(values, 0.8)
    assert (found.low, found.high) == pytest.approx((10, 90))


def test_same_seed_draws_the_same_subjects() -> None:
    subjects, scores, labels = frames_of_subjects()
    first = au_metrics.Subjects(subjects, 20, 1).f1(scores, labels)
    np.testing.assert_array_equal(first, au_metrics.Subjects(subjects, 20, 1).f1(scores, labels))
    assert (first != au_metrics.Subjects(subjects, 20, 2).f1(scores, labels)).any()
