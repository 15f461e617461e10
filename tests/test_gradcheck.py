"""`gradcheck`: right kernels pass, and each kind of wrong one fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_testing import enter_small, refused

from drml.blob import Blob
from drml.commands.nets import synthetic_net
from drml.gradcheck import ArrayCheck, LayerCheck, check_net
from drml.layers.inner_product import InnerProduct
from drml.layers.pooling import Pooling
from drml.layers.region import Region
from drml.layers.relu import ReLU
from drml.run import main

Backward = Callable[..., None]

MANY = """
layer { name: "data" type: "Input" top: "data" top: "label" top: "class"
  input_param { shape { dim: 2 dim: 4 dim: 6 dim: 6 } shape { dim: 2 dim: 5 } shape { dim: 2 } } }
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "scale" top: "scale" relu_param { negative_slope: 0.1 } }
layer { name: "norm" type: "LRN" bottom: "scale" top: "norm"
  lrn_param { local_size: 3 alpha: 0.5 } }
layer { name: "ave" type: "Pooling" bottom: "norm" top: "ave"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "slice" type: "Slice" bottom: "ave" top: "s0" top: "s1"
  slice_param { slice_point: 1 } }
layer { name: "concat" type: "Concat" bottom: "s1" bottom: "s0" top: "concat" }
layer { name: "eltwise" type: "Eltwise" bottom: "concat" bottom: "ave" top: "eltwise"
  eltwise_param { operation: PROD } }
layer { name: "drop" type: "Dropout" bottom: "eltwise" top: "eltwise" }
layer { name: "flatten" type: "Flatten" bottom: "eltwise" top: "flatten" }
layer { name: "ip" type: "InnerProduct" bottom: "flatten" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "sigmoid" type: "Sigmoid" bottom: "ip" top: "sigmoid" }
layer { name: "softmax" type: "Softmax" bottom: "ip" top: "softmax" }
layer { name: "loss1" type: "SigmoidCrossEntropyLoss" bottom: "ip" bottom: "label" top: "loss1"
  loss_param { ignore_label: -1 } }
layer { name: "loss2" type: "SoftmaxWithLoss" bottom: "ip" bottom: "class" top: "loss2" }
layer { name: "loss3" type: "MultiSigmoidCrossEntropyLoss" bottom: "ip" bottom: "label"
  top: "loss3" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "class" top: "accuracy" }
"""


ROWS = """
layer { name: "data" type: "Input" top: "data" top: "index" top: "selector" top: "word"
  input_param { shape { dim: 2 dim: 6 dim: 4 dim: 4 } shape { dim: 5 } shape { dim: 2 }
    shape { dim: 2 dim: 3 } } }
layer { name: "deconv" type: "Deconvolution" bottom: "data" top: "deconv"
  convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1
    weight_filler { type: "xavier" } } }
layer { name: "mvn" type: "MVN" bottom: "deconv" top: "deconv" }
layer { name: "crop" type: "Crop" bottom: "deconv" bottom: "data" top: "crop"
  crop_param { offset: 3 } }
layer { name: "pool" type: "Pooling" bottom: "crop" top: "pool" top: "mask"
  pooling_param { kernel_size: 2 stride: 1 } }
layer { name: "silence" type: "Silence" bottom: "mask" }
layer { name: "spp" type: "SPP" bottom: "pool" top: "spp" spp_param { pyramid_height: 2 } }
layer { name: "reshape" type: "Reshape" bottom: "spp" top: "reshape"
  reshape_param { shape { dim: 0 dim: 5 dim: -1 } } }
layer { name: "tile" type: "Tile" bottom: "reshape" top: "tile" tile_param { tiles: 3 } }
layer { name: "reindex" type: "BatchReindex" bottom: "tile" bottom: "index" top: "reindex" }
layer { name: "filter" type: "Filter" bottom: "reshape" bottom: "selector" top: "filter" }
layer { name: "embed" type: "Embed" bottom: "word" top: "embed"
  embed_param { input_dim: 9 num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "reduction" type: "Reduction" bottom: "embed" top: "reduction"
  reduction_param { operation: SUMSQ axis: 1 } }
layer { name: "argmax" type: "ArgMax" bottom: "embed" top: "argmax" }
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_small(tmp_path, monkeypatch)


def checks(path: Path, phase: str = "TRAIN", **options: object) -> dict[str, LayerCheck]:
    with synthetic_net(path, phase, 2, seed=3) as net:
        return {check.name: check for check in check_net(net, **options)}  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_right_kernels_pass(small: Path, seed: int) -> None:
    found = checks(small / "train.prototxt", seed=seed)
    assert list(found) == ["conv1", "region2", "relu2", "pool3", "output", "loss"]
    for check in found.values():
        assert check.passed(1e-2), check
        assert check.worst.max_error < 5e-3, check
    assert [array.name for array in found["conv1"].arrays] == ["bottom data", "param 0", "param 1"]
    # The running statistics of the region layer are not learned.
    assert [array.name for array in found["region2"].arrays][1:] == ["param 0", "param 1"]
    # Labels have no gradient.
    assert [array.name for array in found["loss"].arrays] == ["bottom output"]


@pytest.mark.parametrize("net", [MANY, ROWS])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_many_kinds_of_layers(small: Path, phase: str, net: str) -> None:
    path = small / "many.prototxt"
    path.write_text(net)
    for check in checks(path, phase).values():
        assert check.passed(1e-2), check
        assert (check.name in ("accuracy", "argmax")) == (not check.arrays)


def scaled(backward: Backward, factor: float) -> Backward:
    def wrong(self: ReLU, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        backward(self, top, propagate_down, bottom)
        bottom[0].diff *= factor

    return wrong


@pytest.mark.parametrize("factor", [0, -1, 0.9, 2, 1e20])
@pytest.mark.parametrize("layer", [ReLU, Pooling, Region])
def test_a_wrong_factor_fails(
    small: Path, monkeypatch: pytest.MonkeyPatch, layer: type, factor: float
) -> None:
    monkeypatch.setattr(layer, "backward", scaled(layer.backward, factor))  # type: ignore[attr-defined]
    found = checks(small / "train.prototxt")
    failed = [name for name, check in found.items() if not check.passed(1e-2)]
    assert failed == [name for name, check in found.items() if check.type == layer.type]  # type: ignore[attr-defined]


def test_a_forgotten_parameter_gradient_fails(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backward = InnerProduct.backward

    def wrong(self: InnerProduct, *args: object) -> None:
        backward(self, *args)  # type: ignore[arg-type]
        self.blobs[1].diff[...] = 0

    monkeypatch.setattr(InnerProduct, "backward", wrong)
    check = checks(small / "train.prototxt", layer="output")["output"]
    passed = {array.name: array.passed(1e-2) for array in check.arrays}
    assert passed == {"bottom pool3": True, "param 0": True, "param 1": False}


def test_a_gradient_that_is_not_a_number_fails(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReLU, "backward", scaled(ReLU.backward, float("nan")))
    assert not checks(small / "train.prototxt", layer="relu2")["relu2"].passed(1e-2)


def test_a_forward_that_never_repeats_fails(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = ReLU.forward
    rng = np.random.default_rng(0)

    def noisy(self: ReLU, bottom: list[Blob], top: list[Blob]) -> None:
        forward(self, bottom, top)
        top[0].data += rng.standard_normal(top[0].shape, dtype=np.float32)

    monkeypatch.setattr(ReLU, "forward", noisy)
    assert not checks(small / "train.prototxt", layer="relu2")["relu2"].passed(1e-2)


def test_verdict_on_arrays() -> None:
    assert ArrayCheck("x", 1e-3, 5, 5, 10).passed(1e-2)
    assert not ArrayCheck("x", 1e-3, 4, 26, 10).passed(1e-2)
    assert not ArrayCheck("x", 2e-2, 10, 0, 10).passed(1e-2)
    assert LayerCheck("flat", "Accuracy").passed(1e-2)


def test_command(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["gradcheck", "train.prototxt", "--samples", "3", "--seed", "5"]) == 0
    out = capsys.readouterr().out
    assert out.count(" PASS ") == 6
    assert "PASS: no gradient differs" in out
    monkeypatch.setattr(ReLU, "backward", scaled(ReLU.backward, 0.5))
    assert main(["gradcheck", "train.prototxt"]) == 1
    out = capsys.readouterr().out
    assert "FAIL: relu2" in out
    assert main(["gradcheck", "train.prototxt", "--layer", "conv1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_bad_arguments(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "gradcheck", "train.prototxt", "--layer", "conv2")
    assert line == "train.prototxt: no layer 'conv2' to check; did you mean 'conv1'?"
    for value in ("0", "-1", "nan", "inf", "x"):
        line = refused(capsys, "gradcheck", "train.prototxt", f"--tolerance={value}")
        assert line.startswith("argument --tolerance: must be a positive number"), line
