"""The model of what the CUDA kernels compute and move, against figures worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path

import cuda_limits
import pytest
from cuda_limits import GPUS, Gpu, Work, backward_work, forward_work, least_seconds, update_work

from drml import Net
from drml.commands.nets import synthetic_net
from drml.summary import summarize

ROOT = Path(__file__).resolve().parent.parent
DRML = ROOT / "prototxt" / "drml.prototxt"


def net(phase: str = "TRAIN", batch: int = 1, path: Path = DRML) -> Net:
    return synthetic_net(path, phase, batch, device="cpu")


def find(work: list[Work], layer: str, kernel: str) -> Work:
    (found,) = [one for one in work if (one.layer, one.kernel) == (layer, kernel)]
    return found


@pytest.mark.parametrize(
    ("layer", "kernel", "multiply_adds"),
    [
        ("conv1", "sgemm", 0.297e9),
        ("region2", "region_forward_kernel", 0.236e9),
        ("conv4", "sgemm", 0.175e9),
        ("conv5", "sgemm", 0.071e9),
        ("conv6", "sgemm", 0.009e9),
        ("conv7", "sgemm", 0.005e9),
    ],
)
def test_multiply_adds_of_an_image(layer: str, kernel: str, multiply_adds: float) -> None:
    work = find(forward_work(net(batch=4)), layer, kernel)
    assert work.multiply_adds / 4 == pytest.approx(multiply_adds, abs=0.5e6)


@pytest.mark.parametrize("name", ["drml", "convnet"])
def test_forward_multiply_adds_are_the_summary_s(name: str) -> None:
    of = net(path=ROOT / "prototxt" / f"{name}.prototxt", batch=2)
    total = sum(work.multiply_adds for work in forward_work(of))
    assert total == 2 * summarize(of).multiply_adds


def test_backward_multiplies_twice_but_for_the_first_layer() -> None:
    of = net()
    forward = sum(work.multiply_adds for work in forward_work(of))
    backward = sum(work.multiply_adds for work in backward_work(of))
    assert backward == 2 * forward - find(forward_work(of), "conv1", "sgemm").multiply_adds


@pytest.mark.parametrize(
    ("layer", "kernel", "numbers"),
    [
        # An image, and 363 taps at each of 160 x 160 places.
        ("conv1", "im2col_kernel", 3 * 170 * 170 + 363 * 160 * 160),
        # Columns, 32 filters, and the top, which holds the biases, read and written.
        ("conv1", "sgemm", 363 * 160 * 160 + 32 * 363 + 2 * 32 * 160 * 160),
        ("region2", "region_statistics_kernel", 32 * 160 * 160),
        ("region2", "region_forward_kernel", 2 * 32 * 160 * 160 + 64 * 32 * 32 * 9),
        ("pool3", "max_pooling_forward_kernel", 32 * (160 * 160 + 80 * 80)),
        ("fc8", "sgemm", 11664 + 11664 * 4096 + 2 * 4096),
        ("drop8", "dropout_kernel", 2 * 4096),
    ],
)
def test_numbers_moved_forward(layer: str, kernel: str, numbers: int) -> None:
    assert find(forward_work(net()), layer, kernel).numbers == numbers


@pytest.mark.parametrize(
    ("layer", "kernel", "numbers"),
    [
        ("region2", "region_data_gradient_kernel", 3 * 32 * 160 * 160 + 64 * 32 * 32 * 9),
        ("region2", "region_combine_kernel", 4 * 32 * 160 * 160),
        ("conv4", "im2col_kernel", 32 * 80 * 80 + 2048 * 73 * 73),
        # Three images' columns fit at a time, so dy is laid out anew for them.
        ("conv5", "im2col_kernel", 16 * 73 * 73 + 1024 * 66 * 66 + 2 * 16 * 66 * 66),
        ("conv5", "col2im_kernel", 16 * 73 * 73 + 1024 * 66 * 66),
    ],
)
def test_numbers_moved_backward(layer: str, kernel: str, numbers: int) -> None:
    assert find(backward_work(net()), layer, kernel).numbers == numbers


def test_no_gradient_of_the_data() -> None:
    kernels = {work.kernel for work in backward_work(net()) if work.layer == "conv1"}
    assert kernels == {"plane_sums_kernel", "im2col_kernel", "sgemm (dweight)"}


def test_update_moves_every_parameter() -> None:
    update, clear = update_work(net())
    assert update.bytes == 5 * 4 * 56_863_436
    assert clear.bytes == 4 * 56_863_436


def test_running_statistics_and_dropout_cost_nothing_in_test() -> None:
    train = {work.kernel for work in forward_work(net("TRAIN"))}
    test = {work.kernel for work in forward_work(net("TEST"))}
    assert train - test == {"region_statistics_kernel", "dropout_kernel"}


def test_only_weights_do_not_grow_with_the_batch() -> None:
    for make in (forward_work, backward_work):
        works = [make(net(batch=batch)) for batch in (1, 2, 3)]
        for one, two, three in zip(*works, strict=True):
            assert three.numbers - two.numbers == two.numbers - one.numbers
            assert (two.multiply_adds, three.multiply_adds) == (
                2 * one.multiply_adds,
                3 * one.multiply_adds,
            )


def test_times_scale_with_the_device() -> None:
    work = forward_work(net(batch=16))
    gpu = GPUS[0]
    twice = Gpu("twice", 2 * gpu.flops, 2 * gpu.bandwidth)
    assert least_seconds(work, gpu) == pytest.approx(2 * least_seconds(work, twice))
    for one in work:
        assert one.seconds(gpu) == max(
            2 * one.multiply_adds / gpu.flops, 4 * one.numbers / gpu.bandwidth
        )
    # 9.5 GFLOP in 0.70 GB: the bytes take longer.
    conv1 = find(work, "conv1", "sgemm")
    assert conv1.intensity == pytest.approx(13.6, abs=0.05)
    assert conv1.seconds(gpu) == pytest.approx(0.7e9 / 288e9, rel=0.01)


def test_model_names_what_is_in_cuda() -> None:
    of = net()
    sources = "".join(path.read_text() for path in (ROOT / "cuda").glob("*.cuh"))
    kernels = {work.kernel.split()[0] for work in forward_work(of) + backward_work(of)}
    kernels |= {work.kernel.split()[0] for work in update_work(of)}
    assert {kernel for kernel in kernels if not re.search(rf"\b{kernel}\b", sources)} == {"sgemm"}
    found = re.search(r"kColumns = int64_t\{1\} << (\d+)", (ROOT / "cuda/cublas.cu").read_text())
    assert found
    assert 1 << int(found[1]) == cuda_limits.COLUMNS


def test_tables_hold_every_kernel_and_sum() -> None:
    batches = {batch: forward_work(net(batch=batch)) for batch in (1, 2)}
    lines = cuda_limits.kernel_table(batches).splitlines()
    assert len(lines) == 2 + len(batches[1])
    assert len({line.count("|") for line in lines}) == 1
    sums = {batch: {"test": work} for batch, work in batches.items()}
    assert cuda_limits.sum_table(sums, paper=True).splitlines()[-1].endswith("| 12.1 |")
