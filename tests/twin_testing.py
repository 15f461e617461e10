"""Runs an op on the tests' device and by its CPU twin, on tensors that lie as a test wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from layer_testing import DEVICE, Array, relative_error

from drml import _core
from drml._core import Tensor
from drml.device import is_cuda

Shape = tuple[int, ...]
Layout = Callable[[Shape, str], Tensor]


def as_maps(shape: Shape, device: str) -> Tensor:
    return Tensor(shape, len(shape) == 4 and not is_cuda(device), device)


def row_major(shape: Shape, device: str) -> Tensor:
    return Tensor(shape, False, device)


def channels_last(shape: Shape, device: str) -> Tensor:
    return Tensor(shape, len(shape) == 4, device)


def unaligned(shape: Shape, device: str) -> Tensor:
    """One axis without gaps, from an odd place in memory on."""
    return Tensor((shape[0] + 1,), False, device).narrow(0, 1, shape[0])


def with_gaps(shape: Shape, device: str) -> Tensor:
    """Some columns of a larger array."""
    return Tensor((*shape[:-1], shape[-1] + 2), False, device).narrow(len(shape) - 1, 1, shape[-1])


class Laid(NamedTuple):
    """An array, and how it lies in memory; one without this lies as maps do."""

    array: Array
    layout: Layout


def unset(shape: Shape) -> Array:
    """What an op overwrites."""
    return np.full(shape, np.nan)


def run(device: str, op: str, *arguments: object) -> list[Array]:
    """What the op returned, and all tensors afterwards. An array given twice is one tensor."""
    tensors: dict[int, Tensor] = {}

    def place(argument: object) -> object:
        if isinstance(argument, list):
            return [place(each) for each in argument]
        if isinstance(argument, np.ndarray):
            argument = Laid(argument, as_maps)
        if not isinstance(argument, Laid):
            return argument
        array, layout = argument
        if id(array) not in tensors:
            tensors[id(array)] = layout(array.shape, device)
            tensors[id(array)].set(array)
        return tensors[id(array)]

    result = getattr(_core, op)(*[place(argument) for argument in arguments])
    results = [] if result is None else [np.asarray(result, np.float64)]
    return results + [tensor.get() for tensor in tensors.values()]


def check(op: str, *arguments: object, exact: bool = False) -> None:
    """Runs an op on the tests' device and on the CPU, and compares."""
    pairs = zip(run(DEVICE, op, *arguments), run("cpu", op, *arguments), strict=True)
    for got, wanted in pairs:
        if exact:
            assert np.array_equal(got, wanted, equal_nan=True)
        else:
            assert relative_error(got, wanted) < 1e-5
