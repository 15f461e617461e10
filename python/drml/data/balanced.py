"""Balanced sampling: an epoch in which every AU is present about equally often.

Rare AUs are seen too seldom in the natural order of frames, frequent ones all the time. Here the
frames of an epoch are chosen one after the other, each for the class that was seen least so far in
the epoch: the classes are the AUs, and as one more "no AU is present". A frame counts for all
classes that it has, since AUs occur together.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from drml.data.keyed import permutation

MOST_REPEATS = 10
"""How often an epoch holds a frame at most, however rare its AUs are."""


class BalancedEpochs:
    """Makes the epochs of balanced sampling; each is as long as the data set.

    Where classes were seen equally often, the first in the order of the labels is next. A class
    gives its frames in a random order, a frame for the second time only when all were drawn once
    (for whatever class), and is left out once all were drawn `MOST_REPEATS` times. Whole numbers
    alone decide, so an epoch is the same on every machine.

    Args:
        labels: (frames, K) of -1, 0 and 1; 0, unknown, counts as not present.
        key: of the random orders, see `drml.data.keyed.stream_key`.
    """

    def __init__(self, labels: npt.NDArray[np.int8], key: bytes) -> None:
        present = labels == 1
        classes = np.column_stack([present, ~present.any(axis=1)])
        classes = classes[:, classes.any(axis=0)]
        self._key = key
        self._count = len(classes)
        self._members = [np.flatnonzero(column) for column in classes.T]
        # Frames of the same labels share one tuple.
        tuples = functools.cache(lambda row: tuple(np.flatnonzero(np.frombuffer(row, bool))))
        self._classes = [tuples(row.tobytes()) for row in classes]

    def __call__(self, epoch: int) -> npt.NDArray[np.int64]:
        """The frames of an epoch, as indices in the order in which they come."""
        queues = [
            members[permutation(self._key, len(members), epoch, number)].tolist()
            for number, members in enumerate(self._members)
        ]
        places, rounds = [0] * len(queues), [0] * len(queues)
        seen, left = [0] * len(queues), list(range(len(queues)))
        drawn = [0] * self._count
        order = np.empty(self._count, np.int64)
        filled = 0
        while filled < self._count:
            chosen = min(left, key=seen.__getitem__)
            queue, place = queues[chosen], places[chosen]
            while place < len(queue) and drawn[queue[place]] > rounds[chosen]:
                place += 1
            if place == len(queue):
                places[chosen] = 0
                rounds[chosen] += 1
                if rounds[chosen] == MOST_REPEATS:
                    left.remove(chosen)
                continue
            frame = queue[place]
            places[chosen] = place + 1
            drawn[frame] += 1
            for number in self._classes[frame]:
                seen[number] += 1
            order[filled] = frame
            filled += 1
        return order
