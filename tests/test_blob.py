"""Blob: value and gradient of a shape, made when touched and shared on request."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_testing import needs_cuda
from layer_testing import DEVICE

from drml import _core
from drml._core import fill
from drml.blob import Array, Blob
from drml.device import is_cuda


def test_nothing_is_allocated_before_it_is_touched() -> None:
    blob = Blob("x", (2, 3))
    assert not blob.has_value
    assert not blob.has_grad
    assert blob.data.shape == (2, 3)
    assert blob.has_value
    assert not blob.has_grad
    assert blob.diff.shape == (2, 3)
    assert blob.has_grad


def test_data_and_diff_are_views_that_take_assignments() -> None:
    blob = Blob("x", (2, 3))
    blob.data = [[1, 2, 3], [4, 5, 6]]
    blob.data[0, 1] = 7
    blob.diff = 2
    assert blob.data.tolist() == [[1, 7, 3], [4, 5, 6]]
    assert blob.diff.tolist() == [[2, 2, 2]] * 2
    assert blob.data.dtype == np.float32
    with pytest.raises(ValueError, match="broadcast"):
        blob.data = np.zeros((3, 2))


@pytest.mark.cpu_only
def test_only_four_axes_lie_channels_last() -> None:
    assert Blob("x", (2, 3, 4, 5)).value.strides == (60, 1, 15, 3)
    assert Blob("x", (2, 3, 4, 5)).grad.strides == (60, 1, 15, 3)
    assert Blob("x", (2, 3, 4, 5), channels_last=False).value.strides == (60, 20, 5, 1)
    assert Blob("x", (2, 3, 4)).value.strides == (12, 4, 1)


def test_fill_runs_once_when_the_value_is_first_touched() -> None:
    calls = []

    def fill(array: Array) -> None:
        calls.append(array.shape)
        array[...] = 3

    blob = Blob("w/0", (2, 2), fill=fill)
    assert blob.diff.shape == (2, 2)
    assert calls == []
    assert blob.data.tolist() == [[3, 3], [3, 3]]
    blob.data = 5
    assert blob.data.tolist() == [[5, 5], [5, 5]]
    assert calls == [(2, 2)]


def test_reshape_keeps_what_has_the_same_shape_and_drops_the_rest() -> None:
    blob = Blob("x", (2, 3))
    blob.data = 1
    blob.diff = 2
    blob.reshape(2, 3)
    assert blob.data.sum() == 6
    assert blob.diff.sum() == 12
    blob.reshape(3, 4)
    assert blob.shape == (3, 4)
    assert not blob.has_value
    assert not blob.has_grad
    blob.reshape()
    assert blob.shape == ()
    assert blob.count == 1


def test_legacy_axes_and_sizes() -> None:
    blob = Blob("x", (2, 3, 4, 5))
    assert (blob.num, blob.channels, blob.height, blob.width) == (2, 3, 4, 5)
    assert (blob.count, blob.nbytes) == (120, 480)
    flat = Blob("y", (7,))
    assert (flat.num, flat.channels, flat.height, flat.width) == (7, 1, 1, 1)
    assert repr(flat) == "Blob('y', (7,))"


def test_shared_data_is_the_same_memory() -> None:
    owner, other = Blob("x", (2, 3, 4, 5)), Blob("y", (2, 3, 4, 5))
    other.share_data(owner)
    owner.data = 3
    assert np.shares_memory(owner.data, other.data)
    assert other.data.sum() == 360
    assert not np.shares_memory(owner.diff, other.diff)


def test_shared_data_may_have_another_shape_in_row_major_order() -> None:
    owner, other = (
        Blob("w/0", (2, 6), channels_last=False),
        Blob("v/0", (3, 4), channels_last=False),
    )
    other.share_data(owner)
    other.share_diff(owner)
    owner.data = np.arange(12).reshape(2, 6)
    owner.diff = owner.data + 1
    assert np.array_equal(other.data, np.arange(12).reshape(3, 4))
    assert np.array_equal(other.diff, np.arange(1, 13).reshape(3, 4))


def test_clear_diff_sets_zeros() -> None:
    blob = Blob("w/0", (2, 3))
    blob.clear_diff()
    assert not blob.has_grad
    blob.diff = 3
    blob.clear_diff()
    assert not blob.diff.any()


def test_zeros_that_come_later_are_there_whoever_looks() -> None:
    for look in (Blob.read_diff, lambda blob: blob.diff, lambda blob: blob.grad.get()):
        blob = Blob("w/0", (2, 3))
        blob.clear_diff_later()
        assert not blob.has_grad
        blob.diff = 7
        blob.clear_diff_later()
        assert look(blob).tolist() == [[0, 0, 0]] * 2  # type: ignore[no-untyped-call]
        blob.diff = 8
        assert look(blob).tolist() == [[8, 8, 8]] * 2  # type: ignore[no-untyped-call]


def test_zeros_that_come_later_are_overwritten_once() -> None:
    blob = Blob("w/0", (2, 3))
    blob.diff = 7
    assert not blob.grad_to_add()[1]
    blob.clear_diff_later()
    tensor, overwrite = blob.grad_to_add()
    assert overwrite
    assert tensor.get().tolist() == [[7, 7, 7]] * 2
    assert not blob.grad_to_add()[1]


def test_zeros_that_come_later_reach_those_who_share_them() -> None:
    owner, other, row = Blob("w/0", (2, 3)), Blob("v/0", (2, 3)), Blob("r/0", (1, 3))
    other.share_diff(owner)
    row.share_row(owner, 1)
    owner.diff = 7
    owner.clear_diff_later()
    assert row.diff.tolist() == [[0, 0, 0]]
    owner.diff = 7
    owner.clear_diff_later()
    tensor, overwrite = other.grad_to_add()
    assert (tensor.get().tolist(), overwrite) == ([[0, 0, 0]] * 2, False)
    owner.diff = 7
    row.clear_diff_later()
    assert owner.diff.tolist() == [[7, 7, 7], [0, 0, 0]]
    other.clear_diff_later()
    assert owner.diff.tolist() == [[0, 0, 0]] * 2


@needs_cuda
def test_on_cuda_everything_lies_row_major() -> None:
    assert Blob("x", (2, 3, 4, 5)).value.strides == (60, 20, 5, 1)


@needs_cuda
def test_an_array_of_a_device_goes_back_before_kernels_read_it() -> None:
    blob = Blob("x", (2, 3))
    array = blob.data
    array[0] = 5
    assert blob.value.get().tolist() == [[5, 5, 5], [0, 0, 0]]
    fill(blob.value, 2)
    assert array[0, 0] == 5
    assert blob.data is array
    assert (array == 2).all()
    blob.diff[1] = 3
    blob.data = 1
    assert blob.read_diff()[1].tolist() == [3, 3, 3]
    assert (blob.read_data() == 1).all()


@needs_cuda
def test_reading_costs_no_way_back() -> None:
    blob = Blob("x", (2, 3))
    blob.data = 4
    before = _core.cuda_counters()
    for _ in range(3):
        assert (blob.read_data() == 4).all()
    assert blob.value.shape == (2, 3)
    assert _core.cuda_counters().synchronizations == before.synchronizations + 3


def test_what_is_read_is_not_written() -> None:
    blob = Blob("x", (2, 3))
    if not is_cuda(DEVICE):
        with pytest.raises(ValueError, match="read-only"):
            blob.read_data()[0] = 1
    assert not blob.data.any()
