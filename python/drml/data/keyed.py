"""Random numbers that are a pure function of a key and a counter, and the order of a data set.

No state is kept between calls, so a stream can start at any position and be made by any number of
threads. Only hashes and a bit generator's raw output are used: these never change with a version.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt


def stream_key(seed: int, name: str) -> bytes:
    """The key of all random numbers of the layer `name` under the net's seed."""
    return blake2b(f"{seed}/{name}".encode("utf-8", "surrogateescape"), digest_size=32).digest()


class Draws:
    """The random numbers of sample `number`: each call gives the next one.

    Args:
        key: of the stream, see `stream_key`.
        number: the sample's number in the stream.
    """

    def __init__(self, key: bytes, number: int) -> None:
        self._bytes = blake2b(number.to_bytes(8, "little"), key=key, digest_size=64).digest()
        self._used = 0

    def below(self, limit: int) -> int:
        """A whole number from 0 to limit - 1, each as likely; eight of them can be drawn."""
        word = int.from_bytes(self._bytes[self._used : self._used + 8], "little")
        self._used += 8
        return word * limit >> 64


def permutation(key: bytes, count: int, *numbers: int) -> npt.NDArray[np.int64]:
    """A permutation of 0 .. count - 1: one of its own for each key and `numbers`."""
    digest = blake2b(repr(numbers).encode(), key=key, digest_size=16).digest()
    words = np.random.Philox(key=int.from_bytes(digest, "little")).random_raw(count)
    return np.argsort(words, kind="stable")


class Order:
    """Which sample comes when: in order, in a new permutation each epoch, or as epochs are given.

    Args:
        count: samples in the source.
        key: of the stream, see `stream_key`.
        shuffle: whether each epoch has a permutation of its own.
        rand_skip: the stream begins at a random sample below this number (Caffe's rand_skip).
        epochs: makes the samples of epoch number e, `count` of them, instead of a permutation; a
            pure function.
    """

    _kept = 4  # epochs kept: a prefetched batch may lie in the next one already

    def __init__(
        self,
        count: int,
        key: bytes,
        *,
        shuffle: bool = False,
        rand_skip: int = 0,
        epochs: Callable[[int], npt.NDArray[np.int64]] | None = None,
    ) -> None:
        self.count = count
        if epochs is None and shuffle:
            epochs = functools.partial(permutation, key, count)
        self._make = epochs
        self._start = Draws(key, 2**63).below(rand_skip) if rand_skip else 0
        self._epochs: dict[int, npt.NDArray[np.int64]] = {}
        self._lock = threading.Lock()

    def index(self, number: int) -> int:
        """The index in the source of sample `number` of the stream."""
        epoch, place = divmod(number + self._start, self.count)
        return place if self._make is None else int(self._epoch(self._make, epoch)[place])

    def _epoch(
        self, make: Callable[[int], npt.NDArray[np.int64]], epoch: int
    ) -> npt.NDArray[np.int64]:
        with self._lock:
            kept = self._epochs.get(epoch)
            if kept is None:
                kept = make(epoch)
                while len(self._epochs) >= self._kept:
                    del self._epochs[next(iter(self._epochs))]
                self._epochs[epoch] = kept
            return kept
