"""Prefetcher: makes the items of a numbered stream ahead of time, in background threads."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Item = TypeVar("Item")


class Prefetcher(Generic[Item]):
    """Calls `make(0)`, `make(1)`, ... ahead of the consumer, and hands the results out in order.

    Threads start at the first `get`. As `make` is a pure function of the number, the results do not
    depend on the number of threads. An exception of `make` reaches the consumer when it asks for
    that item. At the end of the interpreter the threads are joined, closed or not.

    Args:
        make: makes item `number`; runs in several threads at once.
        threads: background threads.
        depth: items that are made ahead at most.
        count: length of the stream; None is endless.
        name: of the threads.
    """

    def __init__(
        self,
        make: Callable[[int], Item],
        *,
        threads: int = 2,
        depth: int = 4,
        count: int | None = None,
        name: str = "data",
    ) -> None:
        self._make = make
        self._depth = max(1, depth)
        self._threads = max(1, min(threads, self._depth))
        self._count = count
        self._name = name
        self._next = 0
        self._pending: deque[Future[Item]] = deque()
        self._executor: ThreadPoolExecutor | None = None

    def get(self, number: int) -> Item:
        """Item `number`; asking for another than the next one starts again from there."""
        if number != self._next:
            self._cancel()
            self._next = number
        self._fill()
        try:
            item = self._pending.popleft().result()
        except BaseException:
            self._cancel()
            raise
        self._next += 1
        self._fill()
        return item

    def close(self) -> None:
        """Drops what was made ahead and joins the threads; `get` would start them again."""
        self._cancel()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None

    def _fill(self) -> None:
        if self._executor is None:
            # Not before it is needed: a net that is only looked at makes a Prefetcher too.
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix=self._name)
            # No waiting: a worker itself may be what collects a forgotten prefetcher.
            weakref.finalize(self, self._executor.shutdown, wait=False, cancel_futures=True)
        while len(self._pending) < self._depth:
            number = self._next + len(self._pending)
            if number == self._count:
                break
            self._pending.append(self._executor.submit(self._make, number))

    def _cancel(self) -> None:
        for future in self._pending:
            future.cancel()
        self._pending.clear()
