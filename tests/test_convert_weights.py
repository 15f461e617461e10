"""convert-weights: the long form's weights for the short one, and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_testing import only_error
from layer_testing import random_array, relative_error
from legacy_testing import long_drml, long_region

from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.run import main

SHORT = """name: "net"
layer { name: "data" type: "Input" top: "data" input_param {
  shape { dim: 3 dim: 2 dim: 12 dim: 10 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {
  num_output: 4 kernel_size: 1 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "region2" type: "Region" bottom: "conv1" top: "region2" region_param {
  grid_h: 3 grid_w: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "region2" top: "fc" inner_product_param {
  num_output: 5 } }
"""


@pytest.fixture
def forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with short.prototxt and long.prototxt, whose branches are not in order."""
    monkeypatch.chdir(tmp_path)
    region = long_region(
        "conv1", "region2", 4, (3, 2), (4, 5), order=[3, 0, 5, 1, 2, 4], settings="eps: 1e-5"
    )
    (tmp_path / "short.prototxt").write_text(SHORT)
    (tmp_path / "long.prototxt").write_text(long_drml(SHORT, region))
    return tmp_path


def draw(net: Net) -> None:
    """Random parameters; factors of statistics that differ."""
    for index, param in enumerate(net.learnable):
        values = random_array(param.blob.shape, index)
        if param.lr_mult == 0:
            values = np.abs(values) + 0.5
        param.blob.data = values


def outputs(net: Net) -> np.ndarray:
    net.blobs["data"].data = random_array((3, 2, 12, 10), 99)
    return net.forward()["fc"]


def convert(source: str, target: str, weights: str, output: str) -> int:
    return main(["convert-weights", weights, output, "--from", source, "--to", target])


@pytest.mark.parametrize("phase", [pb.TRAIN, pb.TEST])
@pytest.mark.parametrize(("first", "second"), [("short", "long"), ("long", "short")])
def test_both_forms_compute_the_same(
    forms: Path, capsys: pytest.CaptureFixture[str], first: str, second: str, phase: int
) -> None:
    source = Net(f"{first}.prototxt", phase=phase)
    draw(source)
    source.save("w.caffemodel")
    assert convert(f"{first}.prototxt", f"{second}.prototxt", "w.caffemodel", "o.caffemodel") == 0
    target = Net(f"{second}.prototxt", "o.caffemodel", phase=phase)
    assert relative_error(outputs(target), outputs(source)) < 1e-6
    as_written = Net(f"{second}.prototxt", "o.caffemodel", phase=phase, fuse=False)
    assert relative_error(outputs(as_written), outputs(source)) < 1e-5
    names = {"short": "region2", "long": "sum_2"}
    out = capsys.readouterr().out
    assert f"'{names[first]}' became '{names[second]}'" in out
    assert out.endswith("wrote o.caffemodel: parameters of 3 layers\n")


def test_there_and_back_is_the_same_net(forms: Path) -> None:
    source = Net("short.prototxt")
    draw(source)
    source.save("w.caffemodel")
    assert convert("short.prototxt", "long.prototxt", "w.caffemodel", "l.caffemodel") == 0
    assert convert("long.prototxt", "short.prototxt", "l.caffemodel", "s.caffemodel") == 0
    back = Net("short.prototxt", "s.caffemodel")
    for ours, theirs in zip(source.learnable, back.learnable, strict=True):
        assert np.array_equal(ours.blob.data, theirs.blob.data)


def test_statistics_that_never_ran(forms: Path) -> None:
    source = Net("long.prototxt")
    draw(source)
    for name, blobs in source.params.items():
        if len(blobs) == 3 and name != "bn_2_4":
            for blob in blobs:
                blob.data = np.zeros(blob.shape)
    source.save("w.caffemodel")
    assert convert("long.prototxt", "short.prototxt", "w.caffemodel", "o.caffemodel") == 0
    statistics = Net("short.prototxt", "o.caffemodel").params["region2"][2:]
    mean, variance, factor = (blob.data for blob in statistics)
    wanted = source.params["bn_2_4"]
    # Branch 4 is patch 1.
    assert np.array_equal(mean[1] / factor, wanted[0].data / wanted[2].data)
    assert np.array_equal(variance[1] / factor, wanted[1].data / wanted[2].data)
    assert not mean[[0, 2, 3, 4, 5]].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("grid_w: 2", "grid_w: 1"),
            "the parameters of long.prototxt do not fit other.prototxt: 'sum_2' has (6, 4, 4, 3, "
            "3), (6, 4), (6, 4), (6, 4), (6,), 'region2' (3, 4, 4, 3, 3)",
        ),
        (
            ('type: "Region"', 'type: "ReLU"'),
            "the layers of long.prototxt do not match those of other.prototxt: 'sum_2' (Region) on "
            "one side, none on the other",
        ),
        (("num_output: 5", "num_output: 6"), "'fc' has (5, 480), (5,), 'fc' (6, 480), (6,)"),
    ],
)
def test_nets_that_do_not_fit(
    forms: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], message: str
) -> None:
    Net("long.prototxt").save("w.caffemodel")
    (forms / "other.prototxt").write_text(SHORT.replace(*change))
    capsys.readouterr()
    assert convert("long.prototxt", "other.prototxt", "w.caffemodel", "o.caffemodel") == 2
    assert message in only_error(capsys.readouterr().err)
    assert not Path("o.caffemodel").exists()


def test_weights_of_another_net(forms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Net("short.prototxt").save("w.caffemodel")
    capsys.readouterr()
    assert convert("long.prototxt", "short.prototxt", "w.caffemodel", "w.caffemodel") == 2
    message = "w.caffemodel has no weights for 12 of 14 layers of long.prototxt, such as 'bn_2_1'"
    assert only_error(capsys.readouterr().err) == message
    Net("short.prototxt", "w.caffemodel")
