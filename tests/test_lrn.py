"""LRN against a plain reference, for both kinds of windows."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from golden_testing import run_golden
from layer_testing import (
    DEVICE,
    Array,
    LayerRunner,
    central_differences,
    check_layer,
    check_repeats,
    check_under,
    empty,
    random_array,
    relative_error,
    using_threads,
)

from drml import _core
from drml.device import is_cuda
from drml.errors import NetError


def window_sum(x: Array, size: int, within: bool) -> Array:
    """The sum over the window around each number, zeros beyond the edge."""
    reach = size // 2
    axes = (2, 3) if within else (1,)
    padded = np.pad(x, [(reach, reach) if axis in axes else (0, 0) for axis in range(4)])
    total = np.zeros_like(x)
    for offsets in product(range(size), repeat=len(axes)):
        part = [slice(None)] * 4
        for axis, offset in zip(axes, offsets, strict=True):
            part[axis] = slice(offset, offset + x.shape[axis])
        total += padded[tuple(part)]
    return total


def strength(x: Array, size: int, alpha: float, k: float, within: bool) -> Array:
    count = size * size if within else size
    return k + alpha / count * window_sum(x**2, size, within)


def lrn_forward(x: Array, size: int, alpha: float, beta: float, k: float, within: bool) -> Array:
    return x * strength(x, size, alpha, k, within) ** -beta


def lrn_backward(
    x: Array, dy: Array, size: int, alpha: float, beta: float, k: float, within: bool
) -> Array:
    s = strength(x, size, alpha, k, within)
    count = size * size if within else size
    from_neighbours = window_sum(dy * x * s ** (-beta - 1), size, within)
    return dy * s**-beta - 2 * alpha * beta / count * x * from_neighbours


CASES = [
    # shape, size, alpha, beta, k, within
    ((1, 1, 1, 1), 5, 0.5, 0.75, 1.0, False),
    ((2, 32, 5, 7), 5, 1e-4, 0.75, 1.0, False),
    ((2, 32, 20, 20), 5, 0.5, 0.75, 1.0, False),
    ((1, 3, 5, 7), 5, 0.5, 0.75, 2.0, False),
    ((5, 17, 3, 3), 3, 0.5, 0.75, 1.0, False),
    ((2, 37, 9, 5), 7, 0.5, 0.6, 1.5, False),
    ((2, 8, 3, 2), 1, 0.5, 0.75, 1.0, False),
    ((2, 64, 33, 31), 5, 0.5, 1.25, 1.0, False),
    ((2, 1, 9, 7), 5, 0.5, 0.75, 1.0, False),
    ((5, 17, 3, 37), 5, 0.5, 0.75, 1.0, False),
    ((1, 35, 19, 1), 5, 0.5, 0.75, 2.0, False),
    ((2, 3, 4, 5), 9, 0.5, 0.75, 1.0, False),
    ((1, 20, 7, 3), 15, 0.5, 0.75, 1.0, False),
    ((1, 1, 1, 1), 3, 0.5, 0.75, 1.0, True),
    ((1, 3, 5, 7), 3, 0.5, 0.75, 1.0, True),
    ((5, 16, 7, 4), 5, 0.5, 0.75, 1.0, True),
    ((2, 17, 33, 31), 3, 0.5, 0.6, 1.0, True),
    ((2, 3, 2, 9), 7, 0.5, 0.75, 1.0, True),
    ((5, 1, 6, 11), 1, 0.5, 0.75, 1.0, True),
    ((1, 2, 1, 300), 5, 0.5, 0.75, 1.0, True),
]
NAMES = ("shape", "size", "alpha", "beta", "k", "within")


def text(size: int, alpha: float, beta: float, k: float, within: bool) -> str:
    region = "WITHIN_CHANNEL" if within else "ACROSS_CHANNELS"
    return f"""type: "LRN" lrn_param {{ local_size: {size} alpha: {alpha} beta: {beta} k: {k}
      norm_region: {region} }}"""


@pytest.mark.parametrize("within", [False, True])
def test_reference_backward_equals_central_differences(within: bool) -> None:
    x, dy = random_array((2, 4, 3, 5), 1), random_array((2, 4, 3, 5), 2)
    arguments = (3, 0.5, 0.75, 1.5, within)
    wanted = central_differences(lambda: lrn_forward(x, *arguments), x, dy)
    assert relative_error(lrn_backward(x, dy, *arguments), wanted) < 1e-6


@pytest.mark.parametrize(NAMES, CASES)
def test_kernel_equals_reference(
    shape: tuple[int, ...], size: int, alpha: float, beta: float, k: float, within: bool
) -> None:
    x, dy = 2 * random_array(shape, 1), random_array(shape, 2)
    arguments = (size, alpha, beta, k, within)
    wanted = lrn_forward(x, *arguments), lrn_backward(x, dy, *arguments)
    check_layer(LayerRunner(text(*arguments), [x]), [wanted[0]], [dy], [wanted[1]], 1e-6)


@pytest.mark.parametrize("within", [False, True])
def test_windows_far_beyond_the_map(within: bool) -> None:
    """They cost no more than windows that cover it, and no more memory."""
    x, dy = random_array((2, 5, 4, 6), 1), random_array((2, 5, 4, 6), 2)
    covers, beyond = 13, 4294967295
    found = []
    for size in (covers, beyond):
        alpha = 0.1 * float(size) ** (2 if within else 1)
        runner = LayerRunner(text(size, alpha, 0.75, 1.0, within), [x])
        found.append([*runner.forward(), *runner.backward(dy)])
    for y, wanted in zip(*found, strict=True):
        assert relative_error(y, wanted) < 1e-6


@pytest.mark.parametrize("within", [False, True])
def test_large_number_leaves_no_trace_outside_its_windows(within: bool) -> None:
    x = 0.01 * random_array((1, 40, 6, 40), 1).astype(np.float32).astype(np.float64)
    x[:, 7, :, 5] = 3000
    wanted = lrn_forward(x, 5, 5e5, 0.75, 1.0, within)
    y = LayerRunner(text(5, 5e5, 0.75, 1.0, within), [x]).forward()[0]
    assert np.allclose(y, wanted, rtol=2e-6, atol=0)


@pytest.mark.cpu_only
@pytest.mark.parametrize("isa", ["portable", "avx2"])
def test_every_instruction_set_passes(isa: str) -> None:
    """The cases above once more in a process that is held to a lesser instruction set."""
    check_under(isa, __file__, "kernel_equals_reference")


@pytest.mark.parametrize("within", [False, True])
def test_results_do_not_depend_on_threads_or_batch(within: bool) -> None:
    x, dy = random_array((5, 32, 20, 20), 1), random_array((5, 32, 20, 20), 2)
    results = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            runner = LayerRunner(text(5, 0.5, 0.75, 1.0, within), [x])
            results.append((runner.forward()[0], runner.backward(dy)[0]))
    single = LayerRunner(text(5, 0.5, 0.75, 1.0, within), [x[3:4]])
    assert np.array_equal(single.forward()[0], results[0][0][3:4])
    assert np.array_equal(single.backward(dy[3:4])[0], results[0][1][3:4])
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize(("size", "within"), [(5, False), (7, False), (3, True)])
def test_results_repeat_bit_for_bit(size: int, within: bool) -> None:
    x, dy = random_array((2, 21, 11, 13), 1), random_array((2, 21, 11, 13), 2)
    runner = LayerRunner(text(size, 0.5, 0.75, 1.0, within), [x])
    check_repeats(lambda: runner.forward_backward(dy))


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("local_size: 4", "local_size must be odd, got 4"),
        ("local_size: 0", "local_size must be odd, got 0"),
        ("k: 2 norm_region: WITHIN_CHANNEL", "k is 1 for WITHIN_CHANNEL, .*; 2 would have no"),
    ],
)
def test_bad_parameters_are_named(param: str, message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(f'type: "LRN" lrn_param {{ {param} }}', [np.zeros((1, 3, 4, 4))])
    assert str(caught.value).startswith("test.prototxt:1: layer 'layer' (LRN): ")


def test_bottom_must_have_four_axes() -> None:
    with pytest.raises(NetError, match=r"bottom needs shape \(N, C, H, W\), got \(2, 4\)"):
        LayerRunner('type: "LRN"', [np.zeros((2, 4))])


def test_op_checks_shapes() -> None:
    x = empty((2, 3, 4, 5))
    attrs, even = (
        _core.LrnAttrs(size=size, alpha=1, beta=0.75, k=1, within_channel=False) for size in (5, 4)
    )
    with pytest.raises(ValueError, match=r"lrn_forward: x needs shape \(N, C, H, W\), got \(4,\)"):
        _core.lrn_forward(empty((4,)), empty((4,)), attrs)
    with pytest.raises(ValueError, match=r"lrn_forward: window of 4 should be odd"):
        _core.lrn_forward(x, x, even)
    with pytest.raises(ValueError, match=r"lrn_backward: .* should have one shape"):
        _core.lrn_backward(x, empty((2, 3, 4, 4)), x, attrs)
    other = empty((2, 3, 4, 5), channels_last=is_cuda(DEVICE))
    with pytest.raises(ValueError, match=r"lrn_forward: x must lie .* in memory"):
        _core.lrn_forward(other, other, attrs)


@pytest.mark.parametrize("name", ["lrn_across", "lrn_within"])
def test_golden(golden_dir: Path, name: str) -> None:
    run_golden(golden_dir, name)
