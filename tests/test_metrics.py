"""Scores per AU against scikit-learn and cases worked out by hand."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score, roc_auc_score

from drml.errors import NetError, UsageError
from drml.metrics import AuTable, au_names

pytestmark = pytest.mark.cpu_only

Floats = npt.NDArray[np.float32]
label_sets = st.tuples(st.integers(1, 40), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.float32, shape, elements=st.sampled_from([-1.0, 0.0, 1.0])),
        hnp.arrays(np.float32, shape, elements=st.floats(-3, 3, width=16)),
    )
)


@settings(deadline=None)
@given(label_sets)
def test_equals_scikit_learn_on_known_labels(case: tuple[Floats, Floats]) -> None:
    labels, scores = case
    table = AuTable(scores, labels, [str(i) for i in range(labels.shape[1])])
    f1s, aucs = [], []
    for index, row in enumerate(table.rows):
        known = labels[:, index] != 0
        truth, score = labels[known, index] > 0, scores[known, index]
        assert (row.positives, row.negatives) == (truth.sum(), (~truth).sum())
        assert row.unknown == (~known).sum()
        if truth.any() or (score > 0).any():
            assert row.f1 == pytest.approx(f1_score(truth, score > 0))
        else:
            assert math.isnan(row.f1)
        if truth.any() and not truth.all():
            assert row.auc == pytest.approx(roc_auc_score(truth, score))
            assert row.all_positive_f1 == pytest.approx(f1_score(truth, np.ones_like(truth)))
            f1s.append(row.f1)
            aucs.append(row.auc)
        else:
            assert math.isnan(row.auc)
            assert row.name in table.left_out
    if f1s:
        assert table.mean_f1 == pytest.approx(np.mean(f1s))
        assert table.mean_auc == pytest.approx(np.mean(aucs))
    else:
        assert math.isnan(table.mean_f1)


SCORES = np.array([[2, 1, -1], [-1, 1, -1], [3, 1, 1], [1, -1, 1]], np.float32)
LABELS = np.array([[1, 1, 0], [1, 1, -1], [-1, 1, -1], [0, 1, 0]], np.float32)


def test_hand_made_case() -> None:
    table = AuTable(SCORES, LABELS, ["1", "2", "4"])
    first, second, third = table.rows
    assert (first.positives, first.negatives, first.unknown) == (2, 1, 1)
    assert first.f1 == pytest.approx(0.5)
    assert first.auc == pytest.approx(0.0)
    assert first.all_positive_f1 == pytest.approx(0.8)
    assert second.f1 == pytest.approx(6 / 7)
    assert second.all_positive_f1 == 1
    assert (third.positives, third.f1, third.all_positive_f1) == (0, 0, 0)
    assert table.left_out == ["2", "4"]
    assert (table.mean_f1, table.mean_all_positive_f1) == pytest.approx((0.5, 0.8))


def test_text_shows_every_au_the_means_and_what_was_left_out() -> None:
    lines = AuTable(SCORES, LABELS, ["1", "2", "4"]).text().splitlines()
    assert lines[0].split() == [
        "AU",
        "positives",
        "negatives",
        "unknown",
        "F1",
        "ROC-AUC",
        "all-positive",
        "F1",
    ]
    assert lines[1].split() == ["1", "2", "1", "1", "0.500", "0.000", "0.800"]
    assert lines[2].split() == ["2", "4", "0", "0", "0.857", "-", "1.000"]
    assert lines[4].split() == ["mean", "6", "3", "3", "0.500", "0.000", "0.800"]
    assert lines[-1] == "one class only, so left out of the mean: 2, 4"


def test_csv_and_json_hold_the_same_figures() -> None:
    table = AuTable(SCORES, LABELS, ["1", "2", "4"])
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [row["au"] for row in rows] == ["1", "2", "4", "mean"]
    assert rows[0]["f1"] == "0.500000"
    assert rows[1]["roc_auc"] == ""
    data = json.loads(table.to_json())
    assert data["aus"][1] == {
        "au": "2",
        "positives": 4,
        "negatives": 0,
        "unknown": 0,
        "f1": pytest.approx(6 / 7),
        "roc_auc": None,
        "all_positive_f1": 1.0,
    }
    assert data["mean"]["f1"] == pytest.approx(0.5)
    assert data["left_out_of_mean"] == ["2", "4"]


def test_default_names() -> None:
    assert au_names(12) == ["1", "2", "4", "6", "7", "10", "12", "14", "15", "17", "23", "24"]
    assert au_names(8) == ["1", "2", "4", "6", "9", "12", "25", "26"]
    assert au_names(2) == ["output 0", "output 1"]
    assert au_names(2, ["AU4", " 17"]) == ["4", "17"]


def test_wrong_names_and_shapes() -> None:
    with pytest.raises(UsageError, match="names 2 AUs, but the net has 3 outputs"):
        au_names(3, ["1", "2"])
    with pytest.raises(UsageError, match="twice: 1,1"):
        au_names(2, ["1", "1"])
    with pytest.raises(UsageError, match=r"scores \(4, 3\) and labels \(4, 2\)"):
        AuTable(SCORES, LABELS[:, :2])
    with pytest.raises(NetError, match="nan"):
        AuTable(SCORES * np.nan, LABELS)
