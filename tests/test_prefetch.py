"""Prefetcher: order, exceptions, restart, and threads that end."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time

import pytest
from data_testing import thread_names

from drml.data.prefetch import Prefetcher
from drml.errors import DataError


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_items_come_in_order(threads: int) -> None:
    def make(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number

    prefetcher = Prefetcher(make, threads=threads, depth=6)
    assert [prefetcher.get(number) for number in range(20)] == list(range(20))
    prefetcher.close()


def test_at_most_depth_items_are_made_ahead() -> None:
    made: list[int] = []
    prefetcher = Prefetcher(made.append, threads=2, depth=3)
    prefetcher.get(0)
    time.sleep(0.05)
    assert sorted(made) == [0, 1, 2, 3]
    prefetcher.close()


def test_count_ends_the_stream() -> None:
    made: list[int] = []
    prefetcher = Prefetcher(made.append, threads=2, depth=8, count=3)
    for number in range(3):
        prefetcher.get(number)
    prefetcher.close()
    assert sorted(made) == [0, 1, 2]


def test_exceptions_travel_and_the_item_can_be_asked_for_again() -> None:
    broken = {2}

    def make(number: int) -> int:
        if number in broken:
            raise DataError(f"item {number} is broken")
        return number

    prefetcher = Prefetcher(make, threads=2)
    assert [prefetcher.get(0), prefetcher.get(1)] == [0, 1]
    for _ in range(2):
        with pytest.raises(DataError, match="item 2 is broken"):
            prefetcher.get(2)
    broken.clear()
    assert [prefetcher.get(2), prefetcher.get(3)] == [2, 3]
    prefetcher.close()


def test_another_number_starts_again_from_there() -> None:
    prefetcher = Prefetcher(lambda number: number, threads=2)
    assert [prefetcher.get(number) for number in (0, 1, 2, 10, 11, 3, 4)] == [0, 1, 2, 10, 11, 3, 4]
    prefetcher.close()


def test_close_joins_the_threads() -> None:
    prefetcher = Prefetcher(lambda number: number, threads=3, name="joined")
    prefetcher.get(0)
    assert any(name.startswith("joined") for name in thread_names())
    prefetcher.close()
    prefetcher.close()
    assert not any(name.startswith("joined") for name in thread_names())


def test_threads_end_with_a_forgotten_prefetcher() -> None:
    prefetcher = Prefetcher(lambda number: number, threads=3, name="forgotten")
    prefetcher.get(0)
    del prefetcher
    gc.collect()
    deadline = time.monotonic() + 5
    while any(name.startswith("forgotten") for name in thread_names()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_close_before_use_starts_no_thread() -> None:
    before = threading.active_count()
    Prefetcher(lambda number: number).close()
    assert threading.active_count() == before


def test_interpreter_ends_without_close() -> None:
    program = (
        "from drml.data.prefetch import Prefetcher\n"
        "import time\n"
        "p = Prefetcher(lambda n: time.sleep(0.01), threads=2)\n"
        "p.get(0)\n"
        "print('end')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert (done.stdout, done.stderr) == ("end\n", "")
