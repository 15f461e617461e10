"""The paper's sampling: so many positive and negative frames of each AU and video."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from drml.prepare.clip import Clip, ImageFiles
from drml.prepare.sampling import sample

pytestmark = pytest.mark.cpu_only


def clip_of(labels: npt.NDArray[np.int8], videos: tuple[str, ...] = ("T1",)) -> Clip:
    count = len(labels) // len(videos)
    keys = tuple(f"F001/{video}/{frame:04d}" for video in videos for frame in range(count))
    return Clip("F001", keys, tuple(range(len(keys))), labels, ImageFiles(keys))


def random_labels(frames: int, rates: list[float]) -> npt.NDArray[np.int8]:
    rng = np.random.default_rng(0)
    labels = np.where(rng.random((frames, len(rates))) < rates, 1, -1).astype(np.int8)
    labels[rng.random(labels.shape) < 0.1] = 0
    return labels


@pytest.mark.parametrize("counts", [(100, 200), (5, 10), (1, 0)])
def test_each_au_has_its_frames(counts: tuple[int, int]) -> None:
    labels = random_labels(2000, [0.02, 0.3, 0.9])
    drawn = sample(clip_of(labels), counts, 0)
    for column in labels.T:
        for value, count in zip((1, -1), counts, strict=True):
            wanted = min(count, int((column == value).sum()))
            assert (column[drawn] == value).sum() >= wanted
    assert drawn.sum() <= 3 * sum(counts)


def test_exactly_as_many_of_one_au() -> None:
    labels = random_labels(1000, [0.5])
    drawn = labels[sample(clip_of(labels), (100, 200), 0)]
    assert (drawn == 1).sum() == 100
    assert (drawn == -1).sum() == 200
    assert (drawn == 0).sum() == 0


def test_each_video_for_itself() -> None:
    labels = random_labels(1000, [0.5])
    drawn = sample(clip_of(labels, ("T1", "T2")), (30, 40), 0)
    assert drawn[:500].sum() == drawn[500:].sum() == 70


def test_frames_are_drawn_from_the_whole_video() -> None:
    drawn = np.flatnonzero(sample(clip_of(random_labels(1000, [0.5])), (100, 100), 0))
    assert drawn.min() < 50
    assert drawn.max() > 950
    assert 400 < drawn.mean() < 600


def test_seed_decides() -> None:
    clip = clip_of(random_labels(500, [0.3, 0.6]))
    one, again, other = (sample(clip, (20, 20), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_all() -> None:
    labels = np.zeros((5, 2), np.int8)
    assert sample(clip_of(labels), None, 0).all()
    assert not sample(clip_of(labels), (10, 10), 0).any()
