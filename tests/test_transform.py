"""Caffe's data transform: numpy reference, then the code against it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from data_testing import picture
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from drml.data.keyed import Draws
from drml.data.transform import Transformer
from drml.errors import DataError
from drml.proto import caffe_pb2 as pb

Array = npt.NDArray[Any]


def reference(
    pixels: Array, top: int, left: int, crop: int, mirror: bool, mean: Array, scale: float
) -> Array:
    """out[h, w] = scale * (pixel - mean) at the place that the crop and the mirror point to."""
    height, width = (crop or pixels.shape[0]), (crop or pixels.shape[1])
    out = np.zeros((height, width, pixels.shape[2]))
    for h in range(height):
        for w in range(width):
            column = left + (width - 1 - w if mirror else w)
            out[h, w] = scale * (pixels[top + h, column] - mean[top + h, column])
    return out


def transform(
    text: str, pixels: Array, *, phase: int = pb.TEST, mean: Array | None = None, number: int = 0
) -> Array:
    param = text_format.Parse(text, pb.TransformationParameter())
    chw = None if mean is None else mean.transpose(2, 0, 1)
    transformer = Transformer(param, phase, chw)
    out = np.empty(transformer.output_shape(pixels.shape), np.float32)
    transformer.apply(pixels, out, Draws(b"key", number))
    return out


def mean_image(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(5).uniform(0, 255, shape).astype(np.float32)


def test_plain_image_stays_as_it_is() -> None:
    pixels = picture(0)
    np.testing.assert_array_equal(transform("", pixels), pixels)


def test_center_crop_in_test_phase() -> None:
    # 12 x 10 to 5: offsets 7 // 2 and 5 // 2, as in Caffe.
    got = transform("crop_size: 5", picture(0))
    np.testing.assert_array_equal(got, picture(0)[3:8, 2:7])


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
@pytest.mark.parametrize("use_mean", [False, True])
def test_random_crop_and_mirror_equal_the_reference(channels: int, use_mean: bool) -> None:
    pixels = picture(1, channels=channels)
    mean = mean_image(pixels.shape)
    wanted = {
        (top, left, mirror): reference(
            pixels, top, left, 5, mirror, mean if use_mean else 0 * mean, 0.5
        )
        for top in range(8)
        for left in range(6)
        for mirror in (False, True)
    }
    seen = set()
    for number in range(60):
        got = transform(
            "crop_size: 5 mirror: true scale: 0.5",
            pixels,
            phase=pb.TRAIN,
            mean=mean if use_mean else None,
            number=number,
        )
        places = [place for place, out in wanted.items() if np.allclose(got, out, atol=1e-4)]
        assert len(places) == 1
        seen.add(places[0])
    assert {top for top, _, _ in seen} == set(range(8))
    assert {left for _, left, _ in seen} == set(range(6))
    assert {mirror for _, _, mirror in seen} == {False, True}


def test_mirror_is_random_in_test_phase_too() -> None:
    results = [transform("mirror: true", picture(2), number=number) for number in range(20)]
    turned = [bool((result == picture(2)[:, ::-1]).all()) for result in results]
    assert 3 < sum(turned) < 17
    assert all(
        (result == picture(2)).all() for result, t in zip(results, turned, strict=True) if not t
    )


def test_mean_moves_with_the_crop() -> None:
    pixels, mean = picture(3), mean_image((12, 10, 3))
    got = transform("crop_size: 5 scale: 2", pixels, mean=mean)
    wanted = reference(pixels, 3, 2, 5, False, mean, 2)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-4)


def test_mean_values_one_or_one_per_channel() -> None:
    pixels = picture(4)
    np.testing.assert_array_equal(transform("mean_value: 7", pixels), pixels.astype(float) - 7)
    got = transform("mean_value: 1 mean_value: 2 mean_value: 3 crop_size: 4", pixels)
    np.testing.assert_array_equal(got, pixels[4:8, 3:7].astype(float) - [1, 2, 3])


def test_float_pixels() -> None:
    pixels = np.random.default_rng(0).normal(size=(6, 6, 2)).astype(np.float32)
    got = transform("scale: 3 mean_value: 1", pixels)
    np.testing.assert_allclose(got, 3 * (pixels - 1), rtol=1e-6)


@given(st.integers(0, 2**40), st.integers(1, 1000))
def test_draws_stay_below_their_limit(number: int, limit: int) -> None:
    draws = Draws(b"key", number)
    assert all(0 <= draws.below(limit) < limit for _ in range(8))


def test_draws_are_even() -> None:
    counts = np.bincount([Draws(b"key", number).below(5) for number in range(5000)])
    assert counts.min() > 900
    assert counts.max() < 1100


@pytest.mark.parametrize(
    ("text", "mean", "message"),
    [
        ("crop_size: 11", None, "crop_size 11 is larger than the image, 12x10 (height x width)"),
        ("", (12, 11, 3), "the mean image is 3x12x11, but the image is 3x12x10"),
        ("crop_size: 5", (5, 5, 3), "the mean image is 3x5x5, but the image is 3x12x10"),
        ("", (12, 10, 1), "the mean image is 1x12x10"),
        ("mean_value: 1 mean_value: 2", None, "2 mean_values for 3 channels"),
        ("mean_value: 1", (12, 10, 3), "mean_file and mean_value cannot both be set"),
        ("force_color: true force_gray: true", None, "force_color and force_gray cannot both"),
    ],
)
def test_refused(text: str, mean: tuple[int, ...] | None, message: str) -> None:
    with pytest.raises(DataError) as error:
        transform(text, picture(0), mean=None if mean is None else mean_image(mean))
    assert message in str(error.value)
