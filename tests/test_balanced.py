"""Balanced sampling: every AU present as often as another, deterministic, pinned for ever."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from drml.data.balanced import MOST_REPEATS, BalancedEpochs
from drml.data.keyed import stream_key

pytestmark = pytest.mark.cpu_only

KEY = stream_key(1, "data")


def labels_at_rates(rates: list[float], frames: int, seed: int = 0) -> npt.NDArray[np.int8]:
    """Independent labels; one in ten is unknown."""
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random((frames, len(rates))) < rates, 1, -1).astype(np.int8)
    labels[rng.random(labels.shape) < 0.1] = 0
    return labels


def test_order_is_pinned() -> None:
    labels = np.array([[1, -1], [1, 0], [1, -1], [-1, 1], [0, -1], [-1, -1]], np.int8)
    epochs = BalancedEpochs(labels, KEY)
    assert epochs(0).tolist() == [0, 3, 5, 1, 3, 4]
    assert epochs(1).tolist() == [1, 3, 4, 0, 3, 5]


def test_classes_are_seen_equally_often() -> None:
    labels = labels_at_rates([0.03, 0.1, 0.2, 0.3], 5000)
    natural = (labels == 1).mean(axis=0)
    assert natural.max() / natural.min() > 10
    order = BalancedEpochs(labels, KEY)(0)
    assert len(order) == 5000
    present = labels[order] == 1
    shares = [*present.mean(axis=0), (~present.any(axis=1)).mean()]
    np.testing.assert_allclose(shares[1:], 0.25, atol=0.01)
    # All 120 frames of the first AU came ten times.
    assert shares[0] == pytest.approx(0.24)


def test_exclusive_classes_get_equal_shares() -> None:
    labels = np.full((1000, 2), -1, np.int8)
    labels[:30, 0] = labels[30:500, 1] = 1
    order = BalancedEpochs(labels, KEY)(3)
    shares = [(order < 30).mean(), ((order >= 30) & (order < 500)).mean(), (order >= 500).mean()]
    # 30 frames can come 300 times at most.
    np.testing.assert_allclose(shares, [0.3, 0.35, 0.35])
    assert np.bincount(order)[:30].tolist() == [MOST_REPEATS] * 30


def test_a_frame_repeats_only_after_its_class_was_seen_whole() -> None:
    labels = labels_at_rates([0.1, 0.5], 600)
    order = BalancedEpochs(labels, KEY)(0)
    drawn = np.bincount(order, minlength=600)
    rare = labels[:, 0] == 1
    assert drawn[rare].max() - drawn[rare].min() <= 1
    assert drawn.max() <= MOST_REPEATS


def test_epochs_differ_and_repeat() -> None:
    labels = labels_at_rates([0.1, 0.5], 200)
    one, other = BalancedEpochs(labels, KEY), BalancedEpochs(labels, KEY)
    assert one(7).tolist() == other(7).tolist()
    assert one(7).tolist() != one(8).tolist()
    assert one(7).tolist() != BalancedEpochs(labels, stream_key(2, "data"))(7).tolist()


@pytest.mark.parametrize("labels", [[[1]], [[-1]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]])
def test_one_class_alone(labels: list[list[int]]) -> None:
    order = BalancedEpochs(np.array(labels, np.int8), KEY)(0)
    assert sorted(order.tolist()) == list(range(len(labels)))
