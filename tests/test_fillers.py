"""Fillers against the distributions that Caffe states for them."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from google.protobuf import text_format

from drml.blob import Array
from drml.fillers import TYPES, make_filler
from drml.proto import caffe_pb2 as pb


def fill(
    text: str,
    shape: tuple[int, ...],
    key: tuple[int, str, int] = (1, "conv", 0),
    *,
    banks: bool = False,
) -> Array:
    array = np.full(shape, np.nan, np.float32)
    filler = text_format.Parse(text, pb.FillerParameter())
    make_filler(filler, shape, key, banks=banks)(array)
    return array


def test_constant_is_the_default() -> None:
    assert (fill("", (2, 3)) == 0).all()
    assert (fill("value: 1.5", (2, 3)) == 1.5).all()


@pytest.mark.parametrize(
    ("text", "mean", "deviation"),
    [
        ('type: "gaussian" mean: 2 std: 0.5', 2, 0.5),
        ('type: "uniform" min: -1 max: 3', 1, 4 / sqrt(12)),
        # 60 outputs of 50 x 2 x 2 inputs: fan-in 200, fan-out 240.
        ('type: "xavier"', 0, sqrt(1 / 200)),
        ('type: "xavier" variance_norm: FAN_OUT', 0, sqrt(1 / 240)),
        ('type: "xavier" variance_norm: AVERAGE', 0, sqrt(1 / 220)),
        ('type: "msra"', 0, sqrt(2 / 200)),
        ('type: "msra" variance_norm: AVERAGE', 0, sqrt(2 / 220)),
    ],
)
def test_mean_and_deviation(text: str, mean: float, deviation: float) -> None:
    array = fill(text, (60, 50, 2, 2)).astype(np.float64)
    assert abs(array.mean() - mean) < 0.05 * max(deviation, 0.1)
    assert abs(array.std() / deviation - 1) < 0.03


@pytest.mark.parametrize(
    ("text", "deviation"),
    [('type: "xavier"', sqrt(1 / 200)), ('type: "msra" variance_norm: FAN_OUT', sqrt(2 / 240))],
)
def test_banks_are_filled_as_if_each_stood_alone(text: str, deviation: float) -> None:
    array = fill(text, (3, 60, 50, 2, 2), banks=True)
    for bank in array.astype(np.float64):
        assert abs(bank.std() / deviation - 1) < 0.03
    rows = fill('type: "positive_unitball"', (2, 4, 3, 2, 2), banks=True).reshape(2, 4, -1)
    assert np.allclose(rows.sum(axis=2), 1)


def test_sparse_keeps_so_many_inputs_on_average() -> None:
    array = fill('type: "gaussian" std: 1 sparse: 10', (100, 400))
    assert abs((array != 0).mean() - 0.1) < 0.01


def test_positive_unitball_rows_sum_to_one() -> None:
    array = fill('type: "positive_unitball"', (4, 3, 2, 2))
    assert (array >= 0).all()
    assert np.allclose(array.reshape(4, -1).sum(axis=1), 1)


def test_bilinear_interpolates() -> None:
    array = fill('type: "bilinear"', (2, 1, 4, 4))
    ramp = np.array([0.25, 0.75, 0.75, 0.25])
    assert np.allclose(array, np.outer(ramp, ramp))


def test_numbers_depend_on_seed_layer_and_index_alone() -> None:
    text = 'type: "gaussian" std: 1'
    first = fill(text, (4, 5))
    assert np.array_equal(first, fill(text, (4, 5)))
    for key in ((2, "conv", 0), (1, "conv2", 0), (1, "conv", 1)):
        assert not np.array_equal(first, fill(text, (4, 5), key))


def test_unknown_type_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown filler type 'gausian'; did you mean 'gaussian'"):
        fill('type: "gausian"', (2,))


@pytest.mark.parametrize("type_name", [name for name in TYPES if name != "gaussian"])
def test_sparse_needs_gaussian(type_name: str) -> None:
    with pytest.raises(ValueError, match="sparse is for gaussian"):
        fill(f'type: "{type_name}" sparse: 2', (2, 1, 3, 3))


def test_bilinear_needs_square_kernels() -> None:
    with pytest.raises(ValueError, match="square 4-D weights"):
        fill('type: "bilinear"', (2, 3))
