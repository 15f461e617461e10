"""Image files: channels, orientation, and files that end too early."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from data_testing import jpg, picture, png
from hypothesis import given
from hypothesis import strategies as st

from drml.data.images import Channels, decode, encode, image_format, is_whole, resize
from drml.errors import DataError

pytestmark = pytest.mark.cpu_only


def with_orientation(data: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF block that says how the camera was held."""
    entry = bytes([1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0])
    tiff = b"MM\0*\0\0\0\x08\0\x01" + entry + bytes(4)
    body = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


@pytest.mark.parametrize("channels", list(Channels))
def test_orientation_is_applied_whatever_the_channels(channels: Channels) -> None:
    data = jpg(picture(0, 20, 30))
    upright = decode(data, channels)
    turned = decode(with_orientation(data, 6), channels)
    np.testing.assert_array_equal(turned, np.rot90(upright, -1))


def test_native_keeps_the_channels() -> None:
    for channels in (1, 3, 4):
        pixels = picture(0, channels=channels)
        np.testing.assert_array_equal(decode(png(pixels), Channels.NATIVE), pixels)
    assert decode(jpg(picture(0, channels=1)), Channels.NATIVE).shape == (12, 10, 1)


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("restart", [0, 2])
def test_every_cut_of_a_jpeg_is_seen(progressive: int, restart: int) -> None:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, restart]
    data = cv2.imencode(".jpg", picture(0, 40, 40), options)[1].tobytes()
    thumbnail = jpg(picture(1))
    body = b"Exif\0\0" + thumbnail
    framed = data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]
    for whole in (data, framed):
        assert is_whole(whole)
        assert is_whole(whole + b"\0 and \xff\xda more")
        assert not any(is_whole(whole[:length]) for length in range(2, len(whole)))


def test_every_cut_of_a_png_is_seen() -> None:
    data = png(picture(0))
    assert is_whole(data + b"more")
    assert not any(is_whole(data[:length]) for length in range(8, len(data)))


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff\xe0"]))
def test_random_bytes_are_an_error(data: bytes, start: bytes) -> None:
    with pytest.raises(DataError):
        decode(start + data)


def test_encode_and_format() -> None:
    pixels = cv2.GaussianBlur(picture(0, 40, 40), (9, 9), 0)
    np.testing.assert_array_equal(decode(encode(pixels, "png")), pixels)
    good, bad = encode(pixels, "jpg", 95), encode(pixels, "jpg", 5)
    assert len(bad) < len(good)
    assert np.abs(decode(good).astype(int) - pixels).mean() < 3
    assert [image_format(data) for data in (good, png(pixels), b"BM")] == ["jpg", "png", ""]


@pytest.mark.parametrize("channels", [1, 3])
def test_resize_is_height_by_width(channels: int) -> None:
    assert resize(picture(0, channels=channels), (5, 7)).shape == (5, 7, channels)
