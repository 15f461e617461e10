"""The region layer against a plain reference; `git ls-files '*region*'` lists all there is to it.

Reference of one patch: z = (x - mean) / sqrt(variance + eps), y = x + conv(relu(z)) + bias.
"""

from __future__ import annotations

import numpy as np
import pytest
from cuda_testing import needs_cuda
from layer_testing import (
    Array,
    LayerRunner,
    central_differences,
    check_repeats,
    check_under,
    empty,
    relative_error,
    tensor,
    using_threads,
)

from drml import _core
from drml.errors import NetError
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net

EPS = 1e-5


def convolve(x: Array, weight: Array) -> Array:
    """Same-size correlation of x (N, C, H, W) with weight (K, C, k, k), zeros around x."""
    k = weight.shape[2]
    pad = k // 2
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    height, width = x.shape[2:]
    y = np.zeros((len(x), len(weight), height, width))
    for i in range(k):
        for j in range(k):
            shifted = padded[:, :, i : i + height, j : j + width]
            y += np.einsum("nchw,oc->nohw", shifted, weight[:, :, i, j])
    return y


def patches(x: Array, grid: tuple[int, int]) -> list[tuple[slice, slice]]:
    height, width = x.shape[2] // grid[0], x.shape[3] // grid[1]
    return [
        (slice(r * height, (r + 1) * height), slice(c * width, (c + 1) * width))
        for r in range(grid[0])
        for c in range(grid[1])
    ]


def statistics(x: Array, grid: tuple[int, int]) -> tuple[Array, Array]:
    means = [x[:, :, r, c].mean(axis=(0, 2, 3)) for r, c in patches(x, grid)]
    variances = [x[:, :, r, c].var(axis=(0, 2, 3)) for r, c in patches(x, grid)]
    return np.array(means), np.array(variances)


def region_forward(
    x: Array, weight: Array, bias: Array, mean: Array, variance: Array, grid: tuple[int, int]
) -> Array:
    y = np.empty_like(x)
    for p, (r, c) in enumerate(patches(x, grid)):
        patch = x[:, :, r, c]
        z = (patch - mean[p][:, None, None]) / np.sqrt(variance[p] + EPS)[:, None, None]
        y[:, :, r, c] = patch + convolve(np.maximum(z, 0), weight[p]) + bias[p][:, None, None]
    return y


def region_backward(
    x: Array,
    weight: Array,
    mean: Array,
    variance: Array,
    dy: Array,
    grid: tuple[int, int],
    frozen: bool,
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias."""
    dx, dweight = np.empty_like(x), np.empty_like(weight)
    dbias = np.empty_like(mean)
    pad = weight.shape[3] // 2
    for p, (r, c) in enumerate(patches(x, grid)):
        patch, g = x[:, :, r, c], dy[:, :, r, c]
        scale = 1 / np.sqrt(variance[p] + EPS)[:, None, None]
        z = (patch - mean[p][:, None, None]) * scale
        padded = np.pad(np.maximum(z, 0), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        height, width = patch.shape[2:]
        for i in range(weight.shape[3]):
            for j in range(weight.shape[4]):
                shifted = padded[:, :, i : i + height, j : j + width]
                dweight[p, :, :, i, j] = np.einsum("nohw,nchw->oc", g, shifted)
        dbias[p] = g.sum(axis=(0, 2, 3))
        turned = weight[p].transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
        dz = convolve(g, turned) * (z > 0)
        if not frozen:
            average = dz.mean(axis=(0, 2, 3), keepdims=True)
            dz = dz - average - z * (dz * z).mean(axis=(0, 2, 3), keepdims=True)
        dx[:, :, r, c] = g + dz * scale
    return dx, dweight, dbias


def draw(
    batch: int, channels: int, size: tuple[int, int], grid: tuple[int, int], kernel: int, seed: int
) -> dict[str, Array]:
    """Random arguments in float64, with statistics that are not those of the batch."""
    random = np.random.default_rng(seed)
    count = grid[0] * grid[1]
    return {
        "x": random.normal(0.3, 2, (batch, channels, *size)),
        "weight": random.normal(0, 0.3, (count, channels, channels, kernel, kernel)),
        "bias": random.normal(0, 1, (count, channels)),
        "mean": random.normal(0, 0.5, (count, channels)),
        "variance": random.uniform(1, 4, (count, channels)),
        "dy": random.normal(0, 1, (batch, channels, *size)),
    }


@pytest.mark.parametrize("frozen", [False, True])
def test_reference_backward_equals_central_differences(frozen: bool) -> None:
    grid = (2, 1)
    a = draw(2, 2, (6, 4), grid, 3, seed=4)

    def forward() -> Array:
        mean, variance = (a["mean"], a["variance"]) if frozen else statistics(a["x"], grid)
        return region_forward(a["x"], a["weight"], a["bias"], mean, variance, grid)

    mean, variance = (a["mean"], a["variance"]) if frozen else statistics(a["x"], grid)
    gradients = region_backward(a["x"], a["weight"], mean, variance, a["dy"], grid, frozen)
    for name, gradient in zip(("x", "weight", "bias"), gradients, strict=True):
        wanted = central_differences(forward, a[name], a["dy"])
        assert relative_error(gradient, wanted) < 1e-6, name


CASES = [
    # batch, channels, size, grid, kernel
    (1, 32, (40, 40), (2, 2), 3),
    (5, 32, (20, 60), (1, 3), 3),
    (2, 3, (21, 14), (3, 2), 3),
    (2, 17, (10, 26), (2, 2), 3),
    (5, 8, (7, 5), (1, 1), 3),
    (3, 33, (8, 6), (2, 2), 1),
    (2, 4, (12, 9), (2, 3), 5),
    (2, 1, (5, 5), (5, 5), 3),
    (2, 5, (12, 10), (2, 1), 7),
    # Patches of several tiles, weights that do not fit in shared memory, and both.
    (1, 3, (45, 33), (1, 1), 3),
    (6, 40, (6, 12), (1, 2), 3),
    (1, 33, (21, 22), (1, 1), 5),
]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("batch", "channels", "size", "grid", "kernel"), CASES)
def test_kernel_equals_reference(
    batch: int,
    channels: int,
    size: tuple[int, int],
    grid: tuple[int, int],
    kernel: int,
    frozen: bool,
) -> None:
    a = draw(batch, channels, size, grid, kernel, seed=batch + channels)
    attrs = _core.RegionAttrs(grid=grid, pad=kernel // 2, eps=EPS, frozen=frozen)
    t = {name: tensor(array) for name, array in a.items()}
    y = empty(a["x"].shape)
    _core.region_forward(t["x"], t["weight"], t["bias"], t["mean"], t["variance"], y, attrs)
    mean, variance = (a["mean"], a["variance"]) if frozen else statistics(a["x"], grid)
    assert relative_error(t["mean"].get(), mean) < 1e-5
    assert relative_error(t["variance"].get(), variance) < 1e-5
    wanted = region_forward(a["x"], a["weight"], a["bias"], mean, variance, grid)
    assert relative_error(y.get(), wanted) < 1e-6

    dx, dweight, dbias = (
        tensor(np.full_like(a["x"], np.nan)),
        empty(a["weight"].shape),
        empty(a["bias"].shape),
    )
    for times in (1, 2):
        _core.region_backward(
            t["x"], t["weight"], t["mean"], t["variance"], t["dy"], dx, dweight, dbias, attrs
        )
        gradients = region_backward(a["x"], a["weight"], mean, variance, a["dy"], grid, frozen)
        # A patch of one pixel in a batch of two has statistics so close to singular that rounding
        # of the inputs shows in dx.
        tolerance = 1e-5 if size != grid or frozen else 1e-4
        assert relative_error(dx.get(), gradients[0]) < tolerance
        assert relative_error(dweight.get(), times * gradients[1]) < 1e-5
        assert relative_error(dbias.get(), times * gradients[2]) < 1e-5


@pytest.mark.parametrize("frozen", [False, True])
def test_backward_leaves_out_what_nobody_asks_for(frozen: bool) -> None:
    grid = (2, 2)
    a = draw(2, 4, (6, 6), grid, 3, seed=1)
    if not frozen:
        a["mean"], a["variance"] = statistics(a["x"], grid)
    t = {name: tensor(array) for name, array in a.items()}
    attrs = _core.RegionAttrs(grid=grid, pad=1, eps=EPS, frozen=frozen)
    arguments = (t["x"], t["weight"], t["mean"], t["variance"], t["dy"])
    wanted = region_backward(a["x"], a["weight"], a["mean"], a["variance"], a["dy"], grid, frozen)
    for index, name in enumerate(("x", "weight", "bias")):
        outputs: list[_core.Tensor | None] = [None, None, None]
        outputs[index] = gradient = empty(a[name].shape)
        _core.region_backward(*arguments, *outputs, attrs)
        assert relative_error(gradient.get(), wanted[index]) < 1e-5


def test_statistics_far_from_zero_keep_their_digits() -> None:
    grid = (1, 2)
    a = draw(5, 3, (7, 10), grid, 1, seed=5)
    a["x"] = (a["x"] + 1000).astype(np.float32).astype(np.float64)
    attrs = _core.RegionAttrs(grid=grid, pad=0, eps=EPS, frozen=False)
    t = {name: tensor(array) for name, array in a.items()}
    y = empty(a["x"].shape)
    _core.region_forward(t["x"], t["weight"], t["bias"], t["mean"], t["variance"], y, attrs)
    mean, variance = statistics(a["x"], grid)
    assert relative_error(t["mean"].get(), mean) < 1e-6
    assert relative_error(t["variance"].get(), variance) < 1e-5


def test_results_repeat_bit_for_bit() -> None:
    grid = (3, 2)
    a = draw(5, 9, (21, 14), grid, 3, seed=2)
    attrs = _core.RegionAttrs(grid=grid, pad=1, eps=EPS, frozen=False)

    def run() -> list[Array]:
        t = {name: tensor(array) for name, array in a.items()}
        y, dx, dweight, dbias = (empty(a[name].shape) for name in ("x", "x", "weight", "bias"))
        _core.region_forward(t["x"], t["weight"], t["bias"], t["mean"], t["variance"], y, attrs)
        _core.region_backward(
            t["x"], t["weight"], t["mean"], t["variance"], t["dy"], dx, dweight, dbias, attrs
        )
        return [r.get() for r in (t["mean"], t["variance"], y, dx, dweight, dbias)]

    check_repeats(run)


def test_an_empty_batch_changes_nothing() -> None:
    a = draw(0, 2, (4, 4), (1, 2), 3, seed=3)
    attrs = _core.RegionAttrs(grid=(1, 2), pad=1, eps=EPS, frozen=False)
    t = {name: tensor(array) for name, array in a.items()}
    y, dx, dweight, dbias = (tensor(a[name]) for name in ("x", "x", "weight", "bias"))
    _core.region_forward(t["x"], t["weight"], t["bias"], t["mean"], t["variance"], y, attrs)
    _core.region_backward(
        t["x"], t["weight"], t["mean"], t["variance"], t["dy"], dx, dweight, dbias, attrs
    )
    for name in ("weight", "bias", "mean", "variance"):
        assert np.array_equal(t[name].get(), a[name].astype(np.float32))
    assert np.array_equal(dweight.get(), t["weight"].get())
    assert np.array_equal(dbias.get(), t["bias"].get())


@needs_cuda
def test_a_kernel_beyond_shared_memory_is_refused() -> None:
    a = draw(1, 1, (4, 4), (1, 1), 13, seed=1)
    attrs = _core.RegionAttrs(grid=(1, 1), pad=6, eps=EPS, frozen=True)
    t = {name: tensor(array) for name, array in a.items()}
    y = empty(a["x"].shape)
    with pytest.raises(ValueError, match=r"region_forward: kernels up to 11 fit .*, not 13"):
        _core.region_forward(t["x"], t["weight"], t["bias"], t["mean"], t["variance"], y, attrs)


TEXT = """type: "Region" region_param {{ grid_h: {0} grid_w: {1} {2}
  weight_filler {{ type: "gaussian" std: 0.1 }} bias_filler {{ type: "constant" value: 1 }} }}"""


def test_batch_of_five_equals_five_single_images_with_frozen_statistics() -> None:
    x, dy = np.random.default_rng(2).normal(0, 1, (2, 5, 6, 16, 24))
    text = TEXT.format(4, 3, "use_global_stats: true")
    batch = LayerRunner(text, [x])
    random = np.random.default_rng(3)
    batch.layer.blobs[2].data = random.normal(0, 1, (12, 6))
    batch.layer.blobs[3].data = random.uniform(1, 2, (12, 6))
    batch.layer.blobs[4].data = [2.0]
    (y,) = batch.forward()
    (dx,) = batch.backward(dy)
    for n in range(5):
        single = LayerRunner(text, [x[n : n + 1]])
        single.set_params(*(blob.data for blob in batch.layer.blobs))
        assert np.array_equal(single.forward()[0][0], y[n])
        assert np.array_equal(single.backward(dy[n : n + 1])[0][0], dx[n])


def test_patches_do_not_see_each_other() -> None:
    x = np.random.default_rng(2).normal(0, 1, (2, 4, 16, 16))
    runner = LayerRunner(TEXT.format(2, 2, ""), [x])
    (before,) = runner.forward()
    x[1, :, 8:, 8:] += 3
    runner.set_inputs(x)
    (after,) = runner.forward()
    changed = np.any(before != after, axis=(0, 1))
    assert changed[8:, 8:].all()
    changed[8:, 8:] = False
    assert not changed.any()


def test_running_statistics_follow_caffe() -> None:
    """Sums with the N / (N - 1) correction, divided by the factor when used (Caffe's BatchNorm)."""
    random = np.random.default_rng(5)
    text = TEXT.format(2, 1, "moving_average_fraction: 0.9")
    train = LayerRunner(text, [np.zeros((3, 2, 8, 5))])
    mean, variance, factor = np.zeros((2, 2)), np.zeros((2, 2)), 0.0
    for _ in range(3):
        x = random.normal(1, 2, (3, 2, 8, 5))
        train.set_inputs(x)
        train.forward()
        batch_mean, batch_variance = statistics(x, (2, 1))
        count = 3 * 4 * 5
        mean = 0.9 * mean + batch_mean
        variance = 0.9 * variance + batch_variance * count / (count - 1)
        factor = 0.9 * factor + 1
    for blob, wanted in zip(train.layer.blobs[2:], (mean, variance, [factor]), strict=True):
        assert relative_error(blob.data, wanted) < 1e-5

    test = LayerRunner(text, [x], phase=pb.TEST)
    test.set_params(*(blob.data for blob in train.layer.blobs))
    weight, bias = (blob.data.astype(np.float64) for blob in train.layer.blobs[:2])
    wanted = region_forward(x, weight, bias, mean / factor, variance / factor, (2, 1))
    assert relative_error(test.forward()[0], wanted) < 1e-5


def test_use_global_stats_false_takes_the_batch_in_test_too() -> None:
    x = np.random.default_rng(6).normal(0, 1, (3, 2, 4, 4))
    text = TEXT.format(2, 2, "use_global_stats: false")
    train, test = (LayerRunner(text, [x], phase=phase) for phase in (pb.TRAIN, pb.TEST))
    assert np.array_equal(train.forward()[0], test.forward()[0])


@pytest.mark.cpu_only
def test_results_do_not_depend_on_threads() -> None:
    x = np.random.default_rng(6).normal(0, 1, (5, 32, 20, 20))
    dy = np.random.default_rng(7).normal(0, 1, x.shape)
    results = []
    for count in (1, 2, 5):
        with using_threads(count):
            runner = LayerRunner(TEXT.format(1, 2, ""), [x])
            results.append([*runner.forward(), *runner.backward(dy), *runner.param_diffs()])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert np.array_equal(a, b)


@pytest.mark.cpu_only
@pytest.mark.parametrize("isa", ["portable", "avx2"])
def test_every_instruction_set_passes(isa: str) -> None:
    """The cases above once more in a process that is held to a lesser instruction set."""
    check_under(isa, __file__, "kernel_equals_reference")


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("grid_h: 3", "grid of 3 x 8 patches does not divide a map of 16 x 16"),
        ("kernel_size: 4", "kernel_size 4 with pad 1 changes the size of a patch"),
        ("pad: 0", "kernel_size 3 with pad 0 changes the size of a patch"),
        ("grid_w: 0", "a grid of 8 x 0 has no patch"),
    ],
)
def test_bad_parameters_are_named(param: str, message: str) -> None:
    with pytest.raises(NetError, match=message) as caught:
        LayerRunner(
            f'name: "region2" type: "Region" region_param {{ {param} }}', [np.zeros((2, 4, 16, 16))]
        )
    assert str(caught.value).startswith("test.prototxt:1: layer 'region2' (Region): ")


def test_bottom_must_have_four_axes() -> None:
    with pytest.raises(NetError, match=r"bottom needs shape \(N, C, H, W\), got \(2, 4\)"):
        LayerRunner('type: "Region"', [np.zeros((2, 4))])


def test_learning_the_statistics_is_refused() -> None:
    with pytest.raises(NetError, match="lr_mult must be 0, not 1"):
        LayerRunner(
            'type: "Region" param {} param {} param { lr_mult: 1 }', [np.zeros((2, 4, 16, 16))]
        )


SLICED = """
force_backward: true
layer {{ name: "x" type: "Input" top: "x"
  input_param {{ shape {{ dim: 3 dim: 4 dim: 12 dim: 10 }} }} }}
layer {{ name: "rows" type: "Slice" bottom: "x" top: "row0" top: "row1" slice_param {{ axis: 2 }} }}
layer {{ name: "c0" type: "Slice" bottom: "row0" top: "p0" top: "p1" slice_param {{ axis: 3 }} }}
layer {{ name: "c1" type: "Slice" bottom: "row1" top: "p2" top: "p3" slice_param {{ axis: 3 }} }}
{0}
layer {{ name: "j0" type: "Concat" bottom: "r0" bottom: "r1" top: "j0" concat_param {{ axis: 3 }} }}
layer {{ name: "j1" type: "Concat" bottom: "r2" bottom: "r3" top: "j1" concat_param {{ axis: 3 }} }}
layer {{ name: "j" type: "Concat" bottom: "j0" bottom: "j1" top: "j" concat_param {{ axis: 2 }} }}
layer {{ name: "y" type: "Eltwise" bottom: "x" bottom: "j" top: "y" }}
"""
BRANCH = """
layer {{ name: "bn{0}" type: "BatchNorm" bottom: "p{0}" top: "b{0}" }}
layer {{ name: "relu{0}" type: "ReLU" bottom: "b{0}" top: "b{0}" }}
layer {{ name: "conv{0}" type: "Convolution" bottom: "b{0}" top: "r{0}"
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 weight_filler {{ type: "xavier" }}
                       bias_filler {{ type: "constant" value: 1 }} }} }}
"""
WHOLE = """
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 dim: 4 dim: 12 dim: 10 } } }
layer { name: "region" type: "Region" bottom: "x" top: "y" region_param { grid_h: 2 grid_w: 2 } }
"""


def test_region_equals_the_net_of_slices() -> None:
    """One Region layer against Slice, BatchNorm, ReLU, Convolution, Concat and Eltwise."""
    sliced_text = SLICED.format("".join(BRANCH.format(p) for p in range(4)))
    random = np.random.default_rng(8)
    x, dy = random.normal(0, 2, (2, 3, 4, 12, 10))
    for phase in (pb.TRAIN, pb.TEST):
        sliced = Net(parse_net(sliced_text), phase=phase)
        whole = Net(parse_net(WHOLE), phase=phase)
        blobs = whole.params["region"]
        for p in range(4):
            weight, bias = sliced.params[f"conv{p}"]
            blobs[0].data[p], blobs[1].data[p] = weight.data, bias.data
            for index, blob in enumerate(sliced.params[f"bn{p}"][:2]):
                blob.data = random.uniform(1, 2, blob.shape)
                blobs[2 + index].data[p] = blob.data
            sliced.params[f"bn{p}"][2].data = [3.0]
        blobs[4].data = [3.0]
        got = [whole.forward(x=x)["y"], whole.backward(y=dy)["x"]]
        wanted = [sliced.forward(x=x)["y"], sliced.backward(y=dy)["x"]]
        for a, b in zip(got, wanted, strict=True):
            assert relative_error(a, b) < 1e-5
        for p in range(4):
            for index, blob in enumerate(sliced.params[f"conv{p}"]):
                assert relative_error(blobs[index].diff[p], blob.diff) < 1e-5
            for index, blob in enumerate(sliced.params[f"bn{p}"][:2]):
                assert relative_error(blobs[2 + index].data[p], blob.data) < 1e-5


def test_two_blobs_of_one_net_share_nothing_between_calls() -> None:
    """Running another batch between forward and backward of one layer does not reach another."""
    text = TEXT.format(2, 2, "")
    random = np.random.default_rng(9)
    x, other, dy = random.normal(0, 1, (3, 2, 4, 8, 8))
    alone = LayerRunner(text, [x])
    alone.forward()
    wanted = alone.backward(dy)
    first, second = LayerRunner(text, [x]), LayerRunner(text, [other])
    first.forward()
    second.forward()
    assert np.array_equal(first.backward(dy)[0], wanted[0])
