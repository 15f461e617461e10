"""DummyData: constants once, random values that are a function of seed, name and position."""

from __future__ import annotations

import numpy as np
import pytest
from data_testing import DataRunner, assert_same_stream
from google.protobuf import text_format

from drml.errors import NetError
from drml.layers import find
from drml.proto import caffe_pb2 as pb

SHAPE = "shape { dim: 2 dim: 3 dim: 4 dim: 5 }"
GAUSSIAN = 'data_filler { type: "gaussian" std: 2 mean: 1 }'


def text(param: str, tops: int = 2) -> str:
    names = " ".join(f'top: "x{index}"' for index in range(tops))
    return f'type: "DummyData" {names} dummy_data_param {{ {param} }}'


@pytest.mark.parametrize(
    ("param", "wanted"),
    [
        (SHAPE, [(2, 3, 4, 5), (2, 3, 4, 5)]),
        (SHAPE + "shape { dim: 6 }", [(2, 3, 4, 5), (6,)]),
        ("num: 2 channels: 3 height: 4 width: 5", [(2, 3, 4, 5), (2, 3, 4, 5)]),
        ("num: 2 num: 6 channels: 3 height: 4 width: 5 width: 1", [(2, 3, 4, 5), (6, 3, 4, 1)]),
    ],
)
def test_shapes(param: str, wanted: list[tuple[int, ...]]) -> None:
    assert DataRunner(text(param)).shapes() == wanted
    layer_class = find("DummyData")
    assert layer_class is not None
    parsed = text_format.Parse(text(param), pb.LayerParameter())
    assert layer_class.stated_shapes(parsed) == wanted


def test_constant_is_zero_unless_given_and_filled_once() -> None:
    run = DataRunner(text(SHAPE + "data_filler { value: 3 } data_filler { }"))
    three, zero = run.forward()
    assert (three == 3).all()
    assert not zero.any()
    run.top[0].data = 5
    assert (run.forward()[0] == 5).all()
    run.top[0].reshape(1, 2)
    assert (run.forward()[0] == 3).all()


def test_random_values_are_new_in_every_forward() -> None:
    run = DataRunner(text("shape { dim: 20000 }" + GAUSSIAN))
    (a, b), (c, d) = run.stream(2)
    assert a.mean() == pytest.approx(1, abs=0.1)
    assert a.std() == pytest.approx(2, abs=0.1)
    for first, second in [(a, b), (a, c), (a, d), (b, c), (b, d), (c, d)]:
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


@pytest.mark.parametrize("filler", ["gaussian", "uniform", "xavier", "msra", "positive_unitball"])
def test_position_resumes_exactly(filler: str) -> None:
    param = text(f'{SHAPE} data_filler {{ type: "{filler}" }}')
    whole, resumed = DataRunner(param), DataRunner(param)
    wanted = whole.stream(6)
    assert whole.layer.position == 6
    resumed.layer.position = 4
    assert_same_stream(resumed.stream(2), wanted[4:])


def test_seed_and_name_change_the_values() -> None:
    param = text(SHAPE + GAUSSIAN)
    base = DataRunner(param).forward()[0]
    assert (DataRunner(param, seed=2).forward()[0] != base).any()
    assert (DataRunner('name: "other" ' + param).forward()[0] != base).any()


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("", "shape is given 0 times for 2 tops"),
        (SHAPE * 3, "shape is given 3 times for 2 tops; give it once, or once each"),
        (SHAPE + "num: 3", "shape and num cannot both be given"),
        ("num: 2 channels: 3 height: 4", "width is given 0 times for 2 tops"),
        ("num: 2 num: 2 num: 2 channels: 3 height: 4 width: 1", "num is given 3 times"),
        (SHAPE + "data_filler { } " * 3, "3 data_fillers for 2 tops"),
        ("shape { dim: 0 }", "every size must be 1 or more, not (0,)"),
        (SHAPE + 'data_filler { type: "gausian" }', "did you mean 'gaussian'?"),
    ],
)
def test_bad_options(param: str, message: str) -> None:
    with pytest.raises(NetError) as error:
        DataRunner(text(param))
    assert message in str(error.value)
    assert str(error.value).startswith("net.prototxt:7[dummy_data_param")
    stated = text_format.Parse(text(param), pb.LayerParameter())
    layer_class = find("DummyData")
    assert layer_class is not None
    layer_class.stated_shapes(stated)
