"""Tensor: shapes, strides, views, and the NumPy array over the same memory."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from drml import _core
from drml._core import Tensor


@pytest.mark.parametrize(
    ("shape", "strides"),
    [
        ((), ()),
        ((5,), (1,)),
        ((2, 3), (3, 1)),
        ((2, 3, 4, 5), (60, 20, 5, 1)),
        ((2, 3, 4, 5, 6), (360, 120, 30, 6, 1)),
        ((0, 3), (3, 1)),
    ],
)
def test_new_tensor_holds_zeros_in_row_major_order(
    shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    tensor = Tensor(shape)
    assert tensor.shape == shape
    assert tensor.strides == strides
    assert tensor.size == np.prod(shape, dtype=int)
    assert tensor.device == "cpu"
    array = tensor.numpy()
    assert array.dtype == np.float32
    assert array.shape == shape
    assert not array.any()


def test_channels_last_shows_n_c_h_w_and_lies_n_h_w_c() -> None:
    tensor = Tensor((2, 3, 4, 5), channels_last=True)
    assert tensor.shape == (2, 3, 4, 5)
    assert tensor.strides == (60, 1, 15, 3)
    values = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    tensor.numpy()[...] = values
    assert np.array_equal(tensor.numpy(), values)
    assert tensor.numpy().transpose(0, 2, 3, 1).flags.c_contiguous


def test_memory_starts_at_a_cache_line() -> None:
    for size in (1, 3, 1000):
        assert Tensor((size,)).numpy().ctypes.data % 64 == 0


def test_numpy_is_a_writable_view_that_keeps_the_memory() -> None:
    tensor = Tensor((3, 4))
    array = tensor.numpy()
    array[1, 2] = 5
    assert tensor.numpy()[1, 2] == 5
    assert np.shares_memory(array, tensor.numpy())
    del tensor
    gc.collect()
    array += 1
    assert array[1, 2] == 6
    assert array.sum() == 17


def test_view_is_the_same_memory_under_another_shape() -> None:
    tensor = Tensor((2, 6))
    tensor.numpy()[...] = np.arange(12).reshape(2, 6)
    view = tensor.view((3, 2, 2))
    assert view.strides == (4, 2, 1)
    assert np.array_equal(view.numpy(), np.arange(12).reshape(3, 2, 2))
    view.numpy()[0] = -1
    assert tensor.numpy()[0, :4].tolist() == [-1] * 4
    assert Tensor(()).view((1, 1)).shape == (1, 1)


def test_view_takes_a_channels_last_tensor_whose_order_is_row_major_all_the_same() -> None:
    assert Tensor((5, 12, 1, 1), channels_last=True).view((5, 12)).strides == (12, 1)
    assert Tensor((5, 1, 3, 4), channels_last=True).view((5, 12)).strides == (12, 1)


def test_narrow_is_a_part_of_one_axis() -> None:
    whole = Tensor((2, 5, 3, 4), channels_last=True)
    whole.numpy()[...] = np.arange(120).reshape(2, 5, 3, 4)
    part = whole.narrow(1, 2, 2).narrow(3, 1, 3)
    assert part.shape == (2, 2, 3, 3)
    assert part.strides == whole.strides
    assert np.array_equal(part.numpy(), whole.numpy()[:, 2:4, :, 1:4])
    part.numpy()[...] = -1
    assert np.count_nonzero(whole.numpy() == -1) == part.size
    assert whole.narrow(0, 2, 0).size == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tensor((2, -1)), r"tensor shape \(2, -1\) has a negative size"),
        (lambda: Tensor((2**31, 2**31, 2**31)), "is too large"),
        (lambda: Tensor((2, 3), channels_last=True), r"needs four axes, got shape \(2, 3\)"),
        (lambda: Tensor((2,), device="tpu"), "device 'tpu'"),
        (
            lambda: Tensor((2, 3)).view((7,)),
            r"shape \(2, 3\) does not hold as many numbers as \(7,\)",
        ),
        (lambda: Tensor((2, 3)).narrow(1, 1, 2).view((4,)), r"\(2, 2\) is not row-major"),
        (lambda: Tensor((1, 2, 3, 4), channels_last=True).view((24,)), "is not row-major"),
        (lambda: Tensor((2, 3)).narrow(2, 0, 1), r"narrow: axis 2 of shape \(2, 3\)"),
        (lambda: Tensor((2, 3)).narrow(-1, 0, 1), r"narrow: axis -1 of shape \(2, 3\)"),
        (lambda: Tensor((2, 3)).narrow(1, 2, 2), r"narrow: \[2, 4\) of axis 1 of shape \(2, 3\)"),
        (lambda: Tensor((2, 3)).narrow(1, -1, 2), r"narrow: \[-1, 1\) of axis 1"),
    ],
)
def test_what_does_not_fit_is_named(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()


def test_more_memory_than_there_is_raises() -> None:
    with pytest.raises(MemoryError):
        Tensor((2**58,))


@pytest.mark.parametrize("count", [0, -1])
def test_number_of_threads_must_be_positive(count: int) -> None:
    with pytest.raises(ValueError, match=f"must be positive, got {count}"):
        _core.set_threads(count)
