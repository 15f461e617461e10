"""Initial values of parameters, as Caffe's fillers give them.

Every array has its own random stream, fixed by the net's seed, the layer's name and the index of
the blob, so that the values depend neither on the order of layers nor on which arrays are filled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from math import prod, sqrt

import numpy as np
import numpy.typing as npt

from drml.data.keyed import stream_key
from drml.proto import caffe_pb2 as pb

Array = npt.NDArray[np.float32]
Fill = Callable[[Array], None]

TYPES = ("constant", "gaussian", "uniform", "xavier", "msra", "positive_unitball", "bilinear")


def random_stream(seed: int, name: str, index: int) -> np.random.Generator:
    """A random generator of its own for the blob `index` of layer `name`."""
    key = stream_key(seed, f"{name}/{index}")
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))


def make_filler(
    filler: pb.FillerParameter,
    shape: Sequence[int],
    key: tuple[int, str, int],
    *,
    banks: bool = False,
) -> Fill:
    """The function that writes the initial values of an array of `shape`.

    Args:
        filler: Caffe's FillerParameter: type, value, min, max, mean, std, sparse, variance_norm.
        shape: shape of the array; axis 0 counts outputs, the others inputs (fan-out, fan-in).
        key: (seed, layer name, blob index), which fixes the random numbers.
        banks: whether the array holds many of what the filler fills, one for each index of axis 0,
            such as filters for every place of a map. Outputs and inputs are then those of one.

    Raises:
        ValueError: an unknown type, or a filler that does not fit the shape.
    """
    if filler.type not in TYPES:
        near = get_close_matches(filler.type, TYPES, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"unknown filler type '{filler.type}'{hint}")
    if filler.HasField("sparse") and filler.sparse >= 0 and filler.type != "gaussian":
        raise ValueError(f"sparse is for gaussian fillers, not for '{filler.type}'")
    one = tuple(shape[1:] if banks else shape)
    if filler.type == "bilinear":
        _check_bilinear(one)

    def fill(array: Array) -> None:
        random = random_stream(*key)
        if filler.type == "constant":
            array[...] = filler.value
        elif filler.type == "gaussian":
            _gaussian(array, filler, one, random)
        elif filler.type == "uniform":
            _uniform(array, filler.min, filler.max, random)
        elif filler.type == "xavier":
            scale = sqrt(3.0 / _fan(filler, one))
            _uniform(array, -scale, scale, random)
        elif filler.type == "msra":
            random.standard_normal(out=array, dtype=np.float32)
            array *= np.float32(sqrt(2.0 / _fan(filler, one)))
        elif filler.type == "positive_unitball":
            _uniform(array, 0.0, 1.0, random)
            rows = array.reshape(*shape[: 2 if banks else 1], -1)
            rows /= rows.sum(axis=-1, keepdims=True)
        else:
            _bilinear(array)

    return fill


def _fan(filler: pb.FillerParameter, shape: Sequence[int]) -> float:
    fan_in = prod(shape[1:])
    fan_out = prod(shape) / shape[1] if len(shape) > 1 else float(shape[0])
    if filler.variance_norm == pb.FillerParameter.AVERAGE:
        return (fan_in + fan_out) / 2
    if filler.variance_norm == pb.FillerParameter.FAN_OUT:
        return fan_out
    return float(fan_in)


def _uniform(array: Array, low: float, high: float, random: np.random.Generator) -> None:
    random.random(out=array, dtype=np.float32)
    array *= np.float32(high - low)
    array += np.float32(low)


def _gaussian(
    array: Array, filler: pb.FillerParameter, shape: Sequence[int], random: np.random.Generator
) -> None:
    random.standard_normal(out=array, dtype=np.float32)
    array *= np.float32(filler.std)
    array += np.float32(filler.mean)
    if filler.sparse >= 0:
        # `sparse` inputs of each output keep their weight, on average.
        keep = filler.sparse / shape[0]
        array *= random.random(array.shape, dtype=np.float32) < keep


def _check_bilinear(shape: Sequence[int]) -> None:
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ValueError(f"bilinear filler needs square 4-D weights, got shape {tuple(shape)}")


def _bilinear(array: Array) -> None:
    size = array.shape[-1]
    factor = (size + 1) // 2
    center = (2 * factor - 1 - factor % 2) / (2 * factor)
    ramp = 1 - np.abs(np.arange(size) / factor - center)
    array[...] = np.outer(ramp, ramp)
