"""Memory shared with other libraries by DLPack, on the CPU and on CUDA."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from cuda_testing import needs_cuda
from layer_testing import DEVICE

from drml import _core
from drml.blob import Blob
from drml.device import is_cuda


class Foreign:
    """An array of another library, which shares a tensor's memory as that library would."""

    def __init__(self, tensor: _core.Tensor, *, versioned: bool = True) -> None:
        self._tensor = tensor
        self._versioned = versioned

    def __dlpack__(self, **options: object) -> object:
        if options and not self._versioned:
            raise TypeError("DLPack 0.8 knows no max_version")
        return self._tensor.__dlpack__(max_version=(1, 0) if self._versioned else None)


def new_blob(shape: tuple[int, ...] = (2, 3)) -> Blob:
    return Blob("x", shape, device=DEVICE)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 3, 4, 5)])
@pytest.mark.parametrize("versioned", [True, False])
def test_a_blob_takes_the_memory_of_another_array(shape: tuple[int, ...], versioned: bool) -> None:
    blob, other = new_blob(shape), new_blob(shape)
    other.data = 3
    blob.use_data(Foreign(other.value, versioned=versioned))
    blob.use_diff(Foreign(other.grad, versioned=versioned))
    assert blob.value.pointer == other.value.pointer
    assert (blob.data == 3).all()
    _core.fill(other.value, 4)
    blob.diff = 5
    assert (blob.value.get() == 4).all()
    assert (other.diff == 5).all()


def test_memory_lives_as_long_as_anybody_uses_it() -> None:
    blob, other = new_blob(), new_blob()
    other.data = 7
    capsule = other.value.__dlpack__()
    foreign = Foreign(other.value)
    alive = weakref.ref(foreign)
    blob.use_data(foreign)
    del other, foreign, capsule
    gc.collect()
    assert alive() is None
    assert (blob.data == 7).all()


@pytest.mark.cpu_only
def test_numpy_shares_the_memory_of_a_blob_and_a_blob_numpys() -> None:
    blob = Blob("x", (2, 3), device="cpu")
    array = np.from_dlpack(blob)
    blob.data = 2
    assert (array == 2).all()
    assert np.shares_memory(array, blob.data)
    theirs = np.zeros((2, 3), np.float32)
    blob.use_data(theirs)
    blob.data += 1
    assert (theirs == 1).all()


@pytest.mark.cpu_only
def test_numpy_sees_channels_last_maps_as_they_are() -> None:
    blob = Blob("x", (2, 3, 4, 5), device="cpu")
    blob.data = np.arange(120).reshape(2, 3, 4, 5)
    assert np.array_equal(np.from_dlpack(blob), blob.data)


def test_device_and_interface_tell_where_the_memory_is() -> None:
    blob = new_blob((2, 3))
    if not is_cuda(DEVICE):
        assert blob.__dlpack_device__() == (1, 0)
        assert not hasattr(blob, "__cuda_array_interface__")
        return
    assert blob.__dlpack_device__() == (2, 0)
    interface = blob.__cuda_array_interface__
    assert interface["shape"] == (2, 3)
    assert interface["typestr"] == "<f4"
    assert interface["data"] == (blob.value.pointer, False)
    assert interface["strides"] == (12, 4)


def test_a_copy_is_not_made() -> None:
    with pytest.raises(BufferError, match="makes no copy"):
        new_blob().__dlpack__(copy=True)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((2, 4), r"shape \(2, 3\), the array \(2, 4\)"), ((2, 3, 1), r"the array \(2, 3, 1\)")],
)
def test_other_shapes_are_refused(shape: tuple[int, ...], message: str) -> None:
    blob = new_blob()
    blob.data = 1
    with pytest.raises(ValueError, match=message):
        blob.use_data(Foreign(new_blob(shape).value))
    assert (blob.data == 1).all()


@pytest.mark.cpu_only
def test_other_layouts_types_and_objects_are_refused() -> None:
    blob = Blob("x", (2, 3, 4, 5), device="cpu")
    with pytest.raises(ValueError, match=r"lies in memory with strides \(60, 1, 15, 3\)"):
        blob.use_data(np.zeros((2, 3, 4, 5), np.float32))
    with pytest.raises(ValueError, match="no float32 numbers"):
        blob.use_data(np.zeros((2, 3, 4, 5)))
    with pytest.raises(ValueError, match="a list does not share its memory"):
        blob.use_data([1.0, 2.0])


@needs_cuda
def test_an_array_on_the_host_is_no_array_on_the_device() -> None:
    with pytest.raises(ValueError, match=r"blob 'x' is on cuda:0, the array cpu"):
        new_blob().use_data(np.zeros((2, 3), np.float32))
