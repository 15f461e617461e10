"""Keyed random numbers and the order of samples: pure functions, even, and pinned for ever."""

from __future__ import annotations

import numpy as np
import pytest

from drml.data.keyed import Draws, Order, permutation, stream_key


def test_values_are_pinned() -> None:
    # A resumed run must see the stream that the interrupted one saw, whatever version reads it.
    key = stream_key(1, "data")
    assert Draws(key, 5).below(1000) == 897
    assert permutation(key, 8, 3).tolist() == [0, 3, 4, 1, 2, 7, 6, 5]


def test_each_epoch_is_a_permutation_of_its_own() -> None:
    order = Order(50, stream_key(1, "data"), shuffle=True)
    epochs = [[order.index(50 * epoch + place) for place in range(50)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_random_access_equals_one_pass() -> None:
    key = stream_key(1, "data")
    numbers = np.random.default_rng(0).permutation(700)
    one, other = Order(7, key, shuffle=True), Order(7, key, shuffle=True)
    passed = [one.index(number) for number in range(700)]
    assert [other.index(int(number)) for number in numbers] == [passed[n] for n in numbers]


@pytest.mark.parametrize("other", [(2, "data"), (1, "label")])
def test_seed_and_name_change_the_order(other: tuple[int, str]) -> None:
    a, b = (Order(100, stream_key(*key), shuffle=True) for key in ((1, "data"), other))
    assert [a.index(i) for i in range(100)] != [b.index(i) for i in range(100)]


def test_in_order_without_shuffle() -> None:
    order = Order(3, b"key")
    assert [order.index(number) for number in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_rand_skip_shifts_the_start() -> None:
    starts = {Order(100, stream_key(seed, "data"), rand_skip=10).index(0) for seed in range(200)}
    assert starts == set(range(10))
    order = Order(5, stream_key(3, "data"), rand_skip=4)
    first = order.index(0)
    assert [order.index(number) for number in range(6)] == [(first + n) % 5 for n in range(6)]


def test_first_places_are_even() -> None:
    firsts = [permutation(b"key", 4, epoch)[0] for epoch in range(4000)]
    assert np.bincount(firsts).min() > 900
