"""Prepares the clips of a data set in several processes, each clip by one of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from drml.errors import DataError, DrmlError
from drml.faces.find import Finder, open_finder
from drml.prepare.clip import Clip
from drml.prepare.options import FIND, Options
from drml.prepare.parts import Parts
from drml.prepare.work import StoppedError, prepare_clip

_EVERY = 0.2  # seconds between two looks at how far the processes are


def prepare_clips(
    clips: Sequence[Clip],
    options: Options,
    parts: Parts,
    processes: int,
    progress: Callable[[int], object],
) -> list[str]:
    """Makes the parts of clips that are not finished.

    A clip that fails does not stop the others.

    Args:
        clips: all of them.
        options: how.
        parts: where they are written.
        processes: how many; 1 works in this one.
        progress: called with a number of frames that are done.

    Returns:
        Why clips failed, a line each, in their order.

    Raises:
        DrmlError: parts cannot be written, or a process died.
    """
    if processes == 1 or len(clips) < 2:
        return _in_this_process(clips, options, parts, progress)
    return _in_processes(clips, options, parts, min(processes, len(clips)), progress)


def _finder(options: Options) -> Finder | None:
    return open_finder(options.finder) if options.landmarks == FIND else None


def _in_this_process(
    clips: Sequence[Clip], options: Options, parts: Parts, progress: Callable[[int], object]
) -> list[str]:
    finder = _finder(options)

    def advance() -> bool:
        progress(1)
        return True

    failures = []
    for clip in clips:
        failure = _prepare(clip, options, parts, finder, advance)
        if failure:
            failures.append(failure)
    return failures


def _prepare(
    clip: Clip,
    options: Options,
    parts: Parts,
    finder: Finder | None,
    advance: Callable[[], bool],
) -> str:
    """Prepares and writes a clip; why not, or ''."""
    try:
        part = prepare_clip(clip, options, finder, advance)
    except DataError as error:
        return str(error)
    parts.write(clip, part)
    return ""


def _in_processes(
    clips: Sequence[Clip],
    options: Options,
    parts: Parts,
    processes: int,
    progress: Callable[[int], object],
) -> list[str]:
    # Not forked: the libraries of this process may have threads, which a fork would lose.
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("q", 0), context.Event()
    executor = ProcessPoolExecutor(processes, context, _start_worker, (options, parts, done, stop))
    reported = 0
    try:
        # Ctrl-C reaches every process of a terminal; the first one tells the others to stop.
        with _inherited_block(signal.SIGINT):
            futures: list[Future[str]] = [executor.submit(_work, clip) for clip in clips]
        pending = set(futures)
        while pending:
            finished, pending = wait(pending, _EVERY, FIRST_COMPLETED)
            for future in finished:
                future.result()
            count = done.value
            progress(count - reported)
            reported = count
        return [failure for future in futures if (failure := future.result())]
    except BrokenProcessPool as error:
        raise DataError(
            "a process that prepared clips died, perhaps for want of memory; --threads sets how "
            "many there are"
        ) from error
    finally:
        stop.set()
        executor.shutdown(cancel_futures=True)


@contextmanager
def _inherited_block(number: int) -> Iterator[None]:
    """Keeps a signal from processes that are started inside, all their life."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ------------------------------------------------------------------------------------------------
# In a worker process

_worker: tuple[Options, Parts, Finder | None, Callable[[], bool]]


def _start_worker(options: Options, parts: Parts, done: Any, stop: Any) -> None:
    import cv2

    from drml import _core

    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _core.set_threads(1)

    def advance() -> bool:
        with done.get_lock():
            done.value += 1
        return not stop.is_set()

    _worker = (options, parts, _finder(options), advance)


def _end_with_parent() -> None:
    """Ends this process when the first one is killed, which would leave it waiting for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(clip: Clip) -> str:
    options, parts, finder, advance = _worker
    try:
        return _prepare(clip, options, parts, finder, advance)
    except StoppedError:
        return ""
    except DrmlError as error:
        # A cause that cannot be pickled would break the pool.
        raise type(error)(str(error)) from None
