"""`summary`: parameters, multiply-adds and memory of nets, without data and without memory."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_testing import LEARNED, ROOT, enter_small, refused

from drml.commands.nets import synthetic_net
from drml.run import main
from drml.summary import summarize
from drml.text_table import align, amount_text, shape_text, size_text

DRML_LAYERS = {
    "conv1": 11_648,
    "region2": 591_872,
    "conv4": 32_784,
    "conv5": 16_400,
    "conv6": 9_232,
    "conv7": 6_416,
    "fc8": 47_779_840,
    "fc9": 8_390_656,
    "output": 24_588,
}
CONVNET_LAYERS = DRML_LAYERS | {"region2": None}
LCN_LAYERS = CONVNET_LAYERS | {
    "conv5": 66**2 * 16 * 8 * 8 * 16 + 16,
    "conv6": 31**2 * 16 * 6 * 6 * 16 + 16,
    "conv7": 27**2 * 16 * 5 * 5 * 16 + 16,
}
ALEXNET_LAYERS = {
    "conv1": 96 * 3 * 11 * 11 + 96,
    "conv2": 256 * 48 * 5 * 5 + 256,
    "conv3": 384 * 256 * 3 * 3 + 384,
    "conv4": 384 * 192 * 3 * 3 + 384,
    "conv5": 256 * 192 * 3 * 3 + 256,
    "fc6": 256 * 6 * 6 * 4096 + 4096,
    "fc7": 4096 * 4096 + 4096,
    "output": 4096 * 12 + 12,
}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_small(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("name", "learned", "layers"),
    [
        ("drml", 56_863_436, DRML_LAYERS),
        ("convnet", 56_271_564, CONVNET_LAYERS),
        ("alexnet", 56_917_388, ALEXNET_LAYERS),
        ("lcn", 141_130_444, LCN_LAYERS),
    ],
)
@pytest.mark.parametrize("form", ["", "_deploy"])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_counts_of_the_papers_nets(
    name: str, learned: int, layers: dict[str, int | None], form: str, phase: str
) -> None:
    with synthetic_net(ROOT / "prototxt" / f"{name}{form}.prototxt", phase) as net:
        summary = summarize(net)
    assert summary.learned == learned
    counted = {layer.name: layer.learned for layer in summary.layers if layer.learned}
    assert counted == {key: value for key, value in layers.items() if value}


def test_shapes_and_multiply_adds_of_drml() -> None:
    with synthetic_net(ROOT / "prototxt" / "drml.prototxt", "TRAIN", 3) as net:
        summary = summarize(net)
    tops = {name: shape for layer in summary.layers for name, shape in layer.tops.items()}
    assert tops["data"] == (3, 3, 170, 170)
    assert tops["label"] == (3, 12)
    assert tops["region2"] == (3, 32, 160, 160)
    assert tops["norm3"] == (3, 32, 80, 80)
    assert tops["conv7"] == (3, 16, 27, 27)
    assert tops["loss"] == ()
    work = {layer.name: layer.multiply_adds for layer in summary.layers}
    assert work["conv1"] == 160 * 160 * 32 * 363
    assert work["region2"] == 160 * 160 * 32 * 32 * 9
    assert work["fc8"] == 16 * 27 * 27 * 4096
    assert work["relu2"] == 0
    assert summary.multiply_adds == pytest.approx(0.85e9, rel=0.01)


def test_nothing_is_allocated() -> None:
    with synthetic_net(ROOT / "prototxt" / "drml.prototxt", "TRAIN") as net:
        summarize(net)
        params = [blob for blobs in net.params.values() for blob in blobs]
        assert not any(blob.has_value or blob.has_grad for blob in params)
        assert not any(blob.has_value or blob.has_grad for blob in net.blobs.values())


def test_memory_of_the_small_net(small: Path) -> None:
    with synthetic_net(small / "train.prototxt", "TRAIN", 5) as net:
        summary = summarize(net)
    assert summary.learned == LEARNED
    assert summary.not_learned == 4 * 4 * 2 + 1
    assert summary.parameter_bytes == 4 * (LEARNED + 33)
    # data, label, conv1, region2, pool3, output and the loss; ReLU works in place.
    with_gradient = 5 * (2 * 4 * 64 + 4 * 16 + 12) + 1
    assert summary.gradient_bytes == 4 * with_gradient
    assert summary.activation_bytes == 4 * (5 * (3 * 100 + 12) + with_gradient)
    assert summary.training_bytes == (
        summary.parameter_bytes
        + summary.activation_bytes
        + summary.gradient_bytes
        + 2 * 4 * LEARNED
    )


def test_shared_parameters_count_once(small: Path) -> None:
    text = """
      layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 6 } } }
      layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" }
        inner_product_param { num_output: 6 bias_term: false } }
      layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" }
        inner_product_param { num_output: 6 bias_term: false } }
    """
    (small / "shared.prototxt").write_text(text)
    with synthetic_net(small / "shared.prototxt", "TRAIN") as net:
        summary = summarize(net)
    assert [layer.learned for layer in summary.layers] == [0, 36, 0]
    assert not summary.has_backward


def test_split_tops_are_one_activation(small: Path) -> None:
    text = """
      layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 6 } } }
      layer { name: "a" type: "ReLU" bottom: "data" top: "a" }
      layer { name: "b" type: "ReLU" bottom: "data" top: "b" }
    """
    (small / "split.prototxt").write_text(text)
    with synthetic_net(small / "split.prototxt", "TRAIN") as net:
        assert summarize(net).activation_bytes == 3 * 6 * 4


def test_text(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "train.prototxt", "--batch-size", "7"]) == 0
    out = capsys.readouterr().out
    assert f"{LEARNED:,} learned parameters" in out
    assert "phase TRAIN, batch size 7" in out
    assert "7 x 4 x 8 x 8" in out
    assert "(+ 33 not learned)" in out
    assert "memory, training:" in out
    # Random numbers stand in for the data, but the type is the file's.
    assert re.search(r"^data\s+MultilabelImageData\s+7 x 3 x 10 x 10", out, re.MULTILINE)


def test_a_deploy_net_has_no_training_memory(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["summary", "deploy.prototxt", "--json", "out.json"]) == 0
    assert "memory, training:" not in capsys.readouterr().out
    assert json.loads((small / "out.json").read_text())["bytes"]["training"] is None


def test_fields_without_effect_are_noted(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (small / "train.prototxt").read_text()
    (small / "train.prototxt").write_text(
        text.replace("num_output: 4", "num_output: 4 engine: CAFFE")
    )
    assert main(["summary", "train.prototxt"]) == 0
    assert re.search(r"^note: train.prototxt:\d+: .*engine", capsys.readouterr().out, re.MULTILINE)


def test_json(small: Path) -> None:
    assert main(["summary", "train.prototxt", "--phase", "test", "--json", "out.json"]) == 0
    document = json.loads((small / "out.json").read_text())
    assert document["phase"] == "TEST"
    assert document["batch_size"] == 2
    assert document["learned_parameters"] == LEARNED
    assert document["other_parameters"] == 33
    layer = next(layer for layer in document["layers"] if layer["name"] == "conv1")
    assert layer["tops"] == {"conv1": [2, 4, 8, 8]}
    assert layer["multiply_adds_per_image"] == 64 * 4 * 27


def test_bad_output_files(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "summary", "train.prototxt", "--json", "nowhere/out.json")
    assert line == "argument --json: nowhere/out.json: no such folder 'nowhere'"
    assert "is a folder" in refused(capsys, "summary", "train.prototxt", "--json", small)
    assert "not a regular file" in refused(
        capsys, "summary", "train.prototxt", "--json", "/dev/null"
    )


@pytest.mark.parametrize(
    "layer",
    [
        'type: "Input" top: "x" input_param { shape { dim: 1 dim: 6 dim: 1 dim: 1 } }',
        'type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 dim: 6 dim: 1 dim: 1 } }',
        'type: "DummyData" top: "x" dummy_data_param { num: 1 channels: 6 height: 1 width: 1 }',
    ],
)
def test_another_batch_size(small: Path, layer: str) -> None:
    (small / "one.prototxt").write_text(f'layer {{ name: "x" {layer} }}')
    with synthetic_net(small / "one.prototxt", "TRAIN", 5) as net:
        assert net.blobs["x"].shape == (5, 6, 1, 1)
        assert net.notes == []


def test_figures_as_text() -> None:
    assert size_text(1_230_000_000) == "1.2 GB"
    assert size_text(999) == "999 B"
    assert amount_text(235_929_600) == "236 M"
    assert amount_text(0) == "-"
    assert shape_text(()) == "scalar"
    assert align(("a", "b"), [("long", "1"), ("x", "22")]) == "a      b\nlong   1\nx     22"
