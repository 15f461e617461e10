"""Dropout against a plain reference: Philox in NumPy, number by number of the order N, C, H, W."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from layer_testing import (
    Array,
    LayerRunner,
    check_layer,
    empty,
    random_array,
    tensor,
    using_threads,
)

from drml import _core
from drml.errors import NetError
from drml.proto import caffe_pb2 as pb

Words = npt.NDArray[np.uint64]
LOW = np.uint64(2**32 - 1)


def philox(counter: list[Words], key: tuple[int, int]) -> list[Words]:
    """Philox 4x32-10 on four arrays of 32-bit words, each word held in 64 bits."""
    c = counter
    for turn in range(10):
        key0 = np.uint64((key[0] + turn * 0x9E3779B9) % 2**32)
        key1 = np.uint64((key[1] + turn * 0xBB67AE85) % 2**32)
        product0, product1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        high0, high1 = product0 >> np.uint64(32), product1 >> np.uint64(32)
        c = [high1 ^ c[1] ^ key0, product1 & LOW, high0 ^ c[3] ^ key1, product0 & LOW]
    return c


def dropout(x: Array, ratio: float, key: int, position: int) -> Array:
    """The same function forward, on x, and backward, on dy."""
    blocks = np.arange((x.size + 3) // 4, dtype=np.uint64)
    zero = np.zeros_like(blocks)
    counter = [blocks, zero, zero + np.uint64(position % 2**32), zero + np.uint64(position >> 32)]
    bits = np.stack(philox(counter, (key % 2**32, key >> 32)), axis=1).ravel()[: x.size]
    keep = bits >= np.uint64(round(np.float32(ratio) * 2**32))
    return np.where(keep.reshape(x.shape), x / (1 - np.float32(ratio)), 0)


def test_reference_gives_the_published_numbers() -> None:
    """Known answers of Random123's kat_vectors for philox4x32-10."""
    answers = {
        (0, 0, 0, 0, 0, 0): "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
        (2**32 - 1,) * 6: "408f276d 41c83b0e a20bc7c6 6d5451fd",
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0): (
            "d16cfe09 94fdcceb 5001e420 24126ea1"
        ),
    }
    for (*counter, key0, key1), wanted in answers.items():
        words = philox([np.array([word], np.uint64) for word in counter], (key0, key1))
        assert " ".join(f"{int(word[0]):08x}" for word in words) == wanted


SHAPES = [(0,), (1,), (5, 7), (257,), (2, 3, 5), (1, 3, 5, 7), (2, 16, 33, 31), (5, 4096)]
KEY = 0x0123456789ABCDEF


@pytest.mark.parametrize("position", [0, 1, 2**33 + 5])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 0.99])
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_equals_reference(shape: tuple[int, ...], ratio: float, position: int) -> None:
    x = random_array(shape, 1, away=0.1)
    wanted = dropout(x, ratio, KEY, position)
    for channels_last in {False, len(shape) == 4}:
        source, target = tensor(x, channels_last), empty(shape, channels_last)
        _core.dropout(source, target, ratio, KEY, position)
        np.testing.assert_allclose(target.get(), wanted, rtol=1e-6)
        _core.dropout(source, source, ratio, KEY, position)
        assert np.array_equal(source.get(), target.get())


@pytest.mark.parametrize("size", [1, 31, 257, 100_003])
def test_a_view_from_an_odd_place_and_the_same_bits_every_time(size: int) -> None:
    x = random_array((size,), 1, away=0.1)
    source, target = (empty((size + 1,)).narrow(0, 1, size) for _ in range(2))
    source.set(x)
    results = []
    for _ in range(10):
        _core.dropout(source, target, 0.5, KEY, 7)
        results.append(target.get().tobytes())
    np.testing.assert_allclose(target.get(), dropout(x, 0.5, KEY, 7), rtol=1e-6)
    assert len(set(results)) == 1


def text(ratio: float = 0.5, name: str = "drop") -> str:
    return f'name: "{name}" type: "Dropout" dropout_param {{ dropout_ratio: {ratio} }}'


def test_backward_has_the_mask_of_forward() -> None:
    x, dy = np.ones((3, 4, 5, 6)), random_array((3, 4, 5, 6), 2)
    twin = LayerRunner(text(0.3), [x])
    mask = twin.forward()[0]
    check_layer(LayerRunner(text(0.3), [x]), [mask], [dy], [mask * dy], 1e-6)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.8])
def test_keep_rate(ratio: float) -> None:
    """Within five standard deviations of the binomial distribution."""
    (y,) = LayerRunner(text(ratio), [np.ones(100_000)]).forward()
    kept = np.count_nonzero(y)
    assert abs(kept - 100_000 * (1 - ratio)) < 5 * np.sqrt(100_000 * ratio * (1 - ratio))
    assert np.allclose(y[y != 0], 1 / (1 - ratio))


def test_mask_does_not_depend_on_layout_or_threads() -> None:
    x = np.ones((2, 20, 21, 22))
    wanted = dropout(x, 0.5, KEY, 3)
    for channels_last in (False, True):
        for threads in (1, 2, 5):
            y = empty(x.shape, channels_last)
            with using_threads(threads):
                _core.dropout(tensor(x, channels_last), y, 0.5, KEY, 3)
            assert np.array_equal(y.get(), wanted)


def test_mask_is_that_of_the_cpu() -> None:
    shape = (5, 3, 7, 11)
    cpu = [_core.Tensor(shape, channels_last=True) for _ in range(2)]
    _core.fill(cpu[0], 1.0)
    _core.dropout(*cpu, 0.3, KEY, 2**40)
    _core.dropout(tensor(np.ones(shape)), y := empty(shape), 0.3, KEY, 2**40)
    assert np.array_equal(y.get(), cpu[1].get())


def test_position_counts_forward_passes_and_replays_them() -> None:
    x = np.ones((4, 50))
    runner = LayerRunner(text(), [x])
    assert runner.layer.position == 0
    masks = [runner.forward()[0] for _ in range(3)]
    assert runner.layer.position == 3
    assert not np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[1], masks[2])

    again = LayerRunner(text(), [x])
    again.layer.position = 2
    assert np.array_equal(again.forward()[0], masks[2])
    assert np.array_equal(again.backward(x)[0], masks[2])


def test_seed_and_layer_name_make_other_masks() -> None:
    x = np.ones((4, 50))
    (mask,) = LayerRunner(text(), [x], seed=1).forward()
    assert np.array_equal(LayerRunner(text(), [x], seed=1).forward()[0], mask)
    assert not np.array_equal(LayerRunner(text(), [x], seed=2).forward()[0], mask)
    assert not np.array_equal(LayerRunner(text(name="drop7"), [x], seed=1).forward()[0], mask)


@pytest.mark.parametrize("phase", [pb.TRAIN, pb.TEST])
def test_in_place_equals_out_of_place(phase: int) -> None:
    x, dy = random_array((2, 3, 5, 4), 1), random_array((2, 3, 5, 4), 2)
    apart = LayerRunner(text(), [x], phase=phase)
    in_place = LayerRunner(text(), [x], phase=phase, in_place=True)
    assert np.array_equal(apart.forward()[0], in_place.forward()[0])
    assert np.array_equal(apart.backward(dy)[0], in_place.backward(dy)[0])


def test_test_phase_is_the_identity() -> None:
    x, dy = random_array((2, 3, 5, 4), 1), random_array((2, 3, 5, 4), 2)
    runner = LayerRunner(text(), [x], phase=pb.TEST)
    check_layer(runner, [x], [dy], [dy], 1e-9)
    assert runner.layer.position is None


@pytest.mark.parametrize("ratio", ["1", "-0.1", "1.5", "nan"])
def test_bad_ratio_is_named(ratio: str) -> None:
    with pytest.raises(NetError, match=r"dropout_ratio .* must be at least 0 and less than 1"):
        LayerRunner(f'type: "Dropout" dropout_param {{ dropout_ratio: {ratio} }}', [np.ones(3)])
