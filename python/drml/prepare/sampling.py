"""The paper's sampling: so many positive and negative frames of each AU and video (section 4)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drml.data.keyed import permutation, stream_key
from drml.data.labels import ABSENT, PRESENT
from drml.prepare.clip import Clip


def sample(clip: Clip, counts: tuple[int, int] | None, seed: int) -> npt.NDArray[np.bool_]:
    """Which coded frames of a clip are drawn.

    Of each of its videos, for each AU, `counts` frames where it is present and where it is absent
    are drawn at random, all where there are fewer; a frame is taken if any AU draws it. A clip's
    sample depends on its name, its labels and the seed alone.

    Args:
        clip: the clip.
        counts: positive and negative frames of each AU and video; None takes all.
        seed: of the draws.
    """
    if counts is None:
        return np.ones(len(clip.keys), bool)
    drawn = np.zeros(len(clip.keys), bool)
    videos = np.array([key.rpartition("/")[0] for key in clip.keys])
    for video in np.unique(videos):
        rows = np.flatnonzero(videos == video)
        order = rows[permutation(stream_key(seed, f"sampling/{video}"), len(rows))]
        # One order for all AUs, so that those that occur together draw the same frames.
        for column in clip.labels.T:
            for value, count in zip((PRESENT, ABSENT), counts, strict=True):
                drawn[order[column[order] == value][:count]] = True
    return drawn
