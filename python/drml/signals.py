"""What Ctrl-C and a hang-up do to a training run, as in `caffe`: stop, snapshot or nothing."""

from __future__ import annotations

import enum
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Action(enum.Enum):
    """What a solver is asked to do between two iterations."""

    NONE = "none"
    SNAPSHOT = "snapshot"
    STOP = "stop"


@contextmanager
def actions_on_signals(
    request: Callable[[Action], None],
    *,
    sigint: Action = Action.STOP,
    sighup: Action = Action.SNAPSHOT,
) -> Iterator[None]:
    """Calls `request` with the chosen action when SIGINT or SIGHUP arrives inside the context.

    A second SIGINT raises KeyboardInterrupt at once. `Action.NONE` ignores the signal.
    """
    interrupts = 0

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts > 1 and sigint is Action.STOP:
            raise KeyboardInterrupt
        request(sigint)

    def on_hangup(number: int, frame: FrameType | None) -> None:
        request(sighup)

    handlers = {signal.SIGINT: on_interrupt}
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = on_hangup
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
