"""Labels: parsing, counts, and which data sets are refused."""

from __future__ import annotations

import numpy as np
import pytest

from drml.data.labels import LabelCounts, check_convention, check_values, parse_labels
from drml.errors import DataError

pytestmark = pytest.mark.cpu_only


@pytest.mark.parametrize(
    ("token", "label"),
    [("1", 1), ("-1", -1), ("0", 0), ("+1", 1), ("1.0", 1), ("-0", 0), ("-1.", -1)],
)
def test_parse(token: str, label: int) -> None:
    assert parse_labels([token, "1"]) == [label, 1]


@pytest.mark.parametrize("token", ["2", "9", "0.5", "nan", "inf", "x", "", "1e9"])
def test_parse_refuses(token: str) -> None:
    with pytest.raises(DataError, match=r"label 2 is .*(not a number|labels are -1 \(absent\))"):
        parse_labels(["1", token])


def test_values() -> None:
    check_values(np.array([1, -1, 0], np.float32))
    for bad in (2, np.nan, 0.5):
        with pytest.raises(DataError, match="label 2 is"):
            check_values(np.array([1, bad], np.float32))


def test_counts_equal_a_loop() -> None:
    labels = np.random.default_rng(0).integers(-1, 2, (50, 4))
    counts = LabelCounts.of(labels)
    for column, positives, negatives, unknown in counts.rows():
        values = labels[:, column - 1].tolist()
        assert (positives, negatives, unknown) == tuple(values.count(v) for v in (1, -1, 0))


@pytest.mark.parametrize(
    ("labels", "learning", "refused"),
    [
        ([[1, 0, -1]], True, False),
        ([[1, -1]], True, False),
        ([[1, 1]], True, False),
        ([[-1, 0]], True, False),
        ([[1, 0]], True, True),
        ([[1, 0]], False, True),
        ([[0, 0]], True, True),
        ([[0, 0]], False, False),
    ],
)
def test_convention(labels: list[list[int]], learning: bool, refused: bool) -> None:
    counts = LabelCounts.of(labels)
    if not refused:
        check_convention(counts, "list", learning=learning)
        return
    with pytest.raises(DataError, match="--zero-is-negative"):
        check_convention(counts, "list", learning=learning)
