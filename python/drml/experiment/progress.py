"""Lines that say what an experiment does, how far it is, and about how long it still takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

_SAID_EVERY = 15.0  # seconds


class Progress:
    """Counts work, in units of which only ratios matter, and says a line now and then.

    Args:
        total: work to do.
        say: where lines go; None: stderr.
    """

    def __init__(self, total: float, say: Callable[[str], object] | None = None) -> None:
        self._left = total
        self._done = 0.0
        self._started = time.monotonic()
        self._say = _to_stderr if say is None else say

    def skip(self, work: float) -> None:
        """Counts work that had been done before."""
        self._left -= work

    def advance(self, work: float) -> None:
        """Counts work that was done now."""
        self._left -= work
        self._done += work

    def say(self, text: str) -> None:
        """A line, with the time that the work so far lets expect for the rest."""
        self._say(f"{text}{self._time_left()}")

    def _time_left(self) -> str:
        seconds = time.monotonic() - self._started
        if not self._done or self._left <= 0:
            return ""
        return f"; about {duration(seconds * self._left / self._done)} left"


class Part:
    """A part of the work, whose lines begin with its name.

    Args:
        progress: of the whole.
        name: of the part.
        work: of the part, in the units of the whole.
    """

    def __init__(self, progress: Progress, name: str, work: float) -> None:
        self._progress = progress
        self._name = name
        self._work = work
        self._share = 0.0

    def advance(self, share: float, text: str = "") -> None:
        """Counts a share of the part as done, and says a line where there is a text."""
        self._progress.advance(share * self._work)
        self._share += share
        if text:
            self._progress.say(f"{self._name}: {text}")

    def finish(self) -> None:
        """Counts what was not counted yet: it had been done before."""
        self._progress.skip((1 - self._share) * self._work)
        self._share = 1.0


class Said:
    """Tells a part how many of its frames are done, every 15 seconds and at the end.

    Args:
        part: is told.
        count: of the frames.
        what: is made of them, for the line.
    """

    def __init__(self, part: Part, count: int, what: str) -> None:
        self._part = part
        self._count = count
        self._what = what
        self._done, self._at = 0, time.monotonic()

    def reached(self, done: int) -> None:
        """So many of the frames are done by now."""
        now = time.monotonic()
        if done == self._count or now - self._at > _SAID_EVERY:
            share = (done - self._done) / self._count
            self._part.advance(share, f"{self._what} of {done} of {self._count} frames")
            self._done, self._at = done, now


def duration(seconds: float) -> str:
    """`45 s`, `12 min` or `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
