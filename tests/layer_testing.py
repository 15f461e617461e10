"""What the tests of layers share: float64 central differences, and a layer run by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pytest
from google.protobuf import text_format

from drml import _core
from drml.blob import Blob
from drml.device import default_device, is_cuda
from drml.layers import find
from drml.layers.base import Context, Layer
from drml.proto import caffe_pb2 as pb

Array = npt.NDArray[np.floating]

DEVICE = default_device()
"""Where the tests run, see pytest's --device."""


def relative_error(got: npt.ArrayLike, wanted: npt.ArrayLike) -> float:
    """|got - wanted| / |wanted| over whole arrays; shapes must be equal."""
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    assert got.shape == wanted.shape, f"shape {got.shape}, wanted {wanted.shape}"
    difference = float(np.linalg.norm(got - wanted))
    scale = float(np.linalg.norm(wanted))
    return difference / scale if scale > 0 else difference


def central_differences(
    function: Callable[[], Array], array: Array, dy: Array, step: float = 1e-5
) -> Array:
    """Gradient of sum(function() * dy) with respect to `array`, a float64 that `function` reads."""
    assert array.dtype == np.float64
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = np.sum(function() * dy)
        array[index] = kept - step
        below = np.sum(function() * dy)
        array[index] = kept
        gradient[index] = (above - below) / (2 * step)
    return gradient


def random_array(shape: Sequence[int], seed: int, *, away: float = 0.0) -> Array:
    """Normal numbers in float64 that float32 holds exactly, none closer to 0 than `away`."""
    values = np.random.default_rng(seed).normal(0, 1, shape)
    values += np.copysign(away, values)
    return values.astype(np.float32).astype(np.float64)


def empty(shape: Sequence[int], channels_last: bool | None = None) -> _core.Tensor:
    """Zeros on the tests' device; four axes lie as its maps do, unless `channels_last` is given."""
    if channels_last is None:
        channels_last = len(shape) == 4 and not is_cuda(DEVICE)
    return _core.Tensor(tuple(shape), channels_last, DEVICE)


def tensor(array: npt.ArrayLike, channels_last: bool | None = None) -> _core.Tensor:
    """The array as a tensor that `empty` makes."""
    values = np.asarray(array, np.float32)
    result = empty(values.shape, channels_last)
    result.set(values)
    return result


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Runs what follows with so many threads."""
    before = _core.get_threads()
    _core.set_threads(count)
    try:
        yield
    finally:
        _core.set_threads(before)


class _Text:
    """Stands for the file that a layer was written in."""

    def where(self, field_path: str = "") -> str:
        return "test.prototxt:1"


class LayerRunner:
    """One layer on blobs of its own, without a net.

    Args:
        text: the layer's prototxt, such as `type: "ReLU" relu_param { negative_slope: 0.1 }`.
        inputs: arrays for the bottoms.
        tops: number of tops.
        in_place: whether the first top is the first bottom.
    """

    def __init__(
        self,
        text: str,
        inputs: Sequence[npt.ArrayLike] = (),
        *,
        phase: int = pb.TRAIN,
        tops: int = 1,
        in_place: bool = False,
        seed: int = 1,
    ) -> None:
        param = pb.LayerParameter()
        text_format.Parse(text, param)
        if not param.name:
            param.name = "layer"
        layer_class = find(param.type)
        assert layer_class is not None, f"no layer type {param.type}"
        self.layer: Layer = layer_class(param, _Text(), Context(phase=phase, seed=seed))
        arrays = [np.asarray(array, np.float32) for array in inputs]
        self.bottom = [Blob(f"x{i}", array.shape) for i, array in enumerate(arrays)]
        self.top = [Blob(f"y{i}") for i in range(tops)]
        if in_place:
            self.top[0] = self.bottom[0]
        self.set_inputs(*arrays)
        self.layer.setup(self.bottom, self.top)
        self.layer.reshape(self.bottom, self.top)

    def set_inputs(self, *arrays: npt.ArrayLike) -> None:
        for blob, array in zip(self.bottom, arrays, strict=True):
            blob.data = array

    def set_params(self, *arrays: npt.ArrayLike) -> None:
        for blob, array in zip(self.layer.blobs, arrays, strict=True):
            blob.data = array

    def forward(self) -> list[Array]:
        self.layer.forward(self.bottom, self.top)
        return [blob.data.copy() for blob in self.top]

    def backward(
        self, *dys: npt.ArrayLike, propagate_down: list[bool] | None = None
    ) -> list[Array]:
        """Bottom gradients for the given top gradients; parameter gradients add up in the blobs."""
        for blob, dy in zip(self.top, dys, strict=True):
            blob.diff = dy
        self.layer.backward(self.top, propagate_down or [True] * len(self.bottom), self.bottom)
        return [blob.diff.copy() for blob in self.bottom]

    def forward_backward(
        self, *dys: npt.ArrayLike, propagate_down: list[bool] | None = None
    ) -> list[Array]:
        """Tops, bottom gradients and parameter gradients, the last from zero on."""
        for blob in self.layer.blobs:
            blob.clear_diff()
        tops = self.forward()
        return [*tops, *self.backward(*dys, propagate_down=propagate_down), *self.param_diffs()]

    def param_diffs(self) -> list[Array]:
        return [blob.diff.copy() for blob in self.layer.blobs]


def check_layer(
    runner: LayerRunner,
    tops: Sequence[npt.ArrayLike],
    top_diffs: Sequence[npt.ArrayLike],
    bottom_diffs: Sequence[npt.ArrayLike],
    tolerance: float,
    param_diffs: Sequence[npt.ArrayLike] = (),
) -> None:
    """Compares forward with `tops`, and backward, run twice, with the diffs.

    Bottoms beyond the given `bottom_diffs`, such as labels, get no gradient. `param_diffs` are
    those of one backward, for the first parameter blobs; the second one doubles them.
    """
    for y, wanted in zip(runner.forward(), tops, strict=True):
        assert relative_error(y, wanted) < tolerance
    propagate_down = [index < len(bottom_diffs) for index in range(len(runner.bottom))]
    for blob, wanted in zip(runner.bottom, bottom_diffs, strict=False):
        blob.diff = np.full(np.shape(wanted), np.nan)
    first = runner.backward(*top_diffs, propagate_down=propagate_down)
    for got, wanted in zip(runner.param_diffs(), param_diffs, strict=False):
        assert relative_error(got, wanted) < tolerance
    second = runner.backward(*top_diffs, propagate_down=propagate_down)
    for dx, again, wanted in zip(first, second, bottom_diffs, strict=False):
        assert relative_error(dx, wanted) < tolerance
        assert np.array_equal(dx, again)
    for got, wanted in zip(runner.param_diffs(), param_diffs, strict=False):
        assert relative_error(got, 2 * np.asarray(wanted)) < tolerance


def check_repeats(run: Callable[[], Sequence[npt.ArrayLike]]) -> None:
    """Checks that ten calls of `run` give the same bits; emulated, in ten orders of threads."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for order in ["fwd", "rev", *(f"rnd:{seed}" for seed in range(8))]:
            patch.setenv("DRML_EMULATOR_ORDER", order)
            found.append([np.asarray(array).tobytes() for array in run()])
    for again in found[1:]:
        assert again == found[0]


def check_under(isa: str, file: str, tests: str) -> None:
    """Runs the tests of `file` named like `tests` again, held to a lesser instruction set."""
    if _core.isa() == "portable" or (isa == "avx2" and _core.isa() != "AVX-512"):
        pytest.skip(f"this machine runs {_core.isa()}: nothing to add for {isa}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", tests, file],
        env=os.environ | {"DRML_MAX_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
