"""Input: shapes as the file says, and as the user then changes them."""

from __future__ import annotations

import numpy as np
import pytest
from data_testing import DataRunner
from google.protobuf import text_format

from drml.errors import NetError
from drml.layers import find
from drml.proto import caffe_pb2 as pb


def text(shapes: str, tops: int = 2) -> str:
    names = " ".join(f'top: "x{index}"' for index in range(tops))
    return f'type: "Input" {names} input_param {{ {shapes} }}'


ONE = "shape { dim: 2 dim: 3 dim: 4 dim: 5 }"


@pytest.mark.parametrize(
    ("shapes", "wanted"),
    [
        (ONE, [(2, 3, 4, 5), (2, 3, 4, 5)]),
        (ONE + "shape { dim: 7 }", [(2, 3, 4, 5), (7,)]),
        ("shape { }", [(), ()]),
        ("", [(), ()]),
    ],
)
def test_shapes(shapes: str, wanted: list[tuple[int, ...]]) -> None:
    assert DataRunner(text(shapes)).shapes() == wanted


def test_values_and_shape_of_the_user_stay() -> None:
    run = DataRunner(text(ONE, 1))
    run.top[0].reshape(1, 3, 2, 2)
    run.layer.reshape([], run.top)
    values = np.random.default_rng(0).normal(size=(1, 3, 2, 2)).astype(np.float32)
    run.top[0].data = values
    np.testing.assert_array_equal(run.forward()[0], values)
    assert run.layer.position is None


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (ONE * 3, "input_param has 3 shapes for 2 tops; give one, or one each"),
        ("shape { dim: 2 dim: 0 }", "every dim must be 1 or more, not [2, 0]"),
        (ONE + "shape { dim: -1 }", "every dim must be 1 or more, not [-1]"),
    ],
)
def test_bad_shapes(shapes: str, message: str) -> None:
    with pytest.raises(NetError) as error:
        DataRunner(text(shapes))
    assert message in str(error.value)
    assert str(error.value).startswith("net.prototxt:7[input_param.shape")


def test_stated_shapes() -> None:
    layer_class = find("Input")
    assert layer_class is not None
    param = text_format.Parse(text(ONE), pb.LayerParameter())
    assert layer_class.stated_shapes(param) == [(2, 3, 4, 5), (2, 3, 4, 5)]
    assert layer_class.stated_shapes(pb.LayerParameter(top=["x"])) is None
