"""The layers of Caffe 1.0 that published nets use: each one in a net of its own, by `gradcheck`.

What a layer computes, its own tests say; here is that the command line finds, builds and runs it.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_testing import ROOT, refused

from drml.layers import known_types
from drml.run import main
from drml.weights import array_to_blob

XAVIER = 'weight_filler { type: "xavier" }'
MAPS = [(2, 3, 6, 6)]
ROWS = [(2, 5), (2,)]
PAIRS = [(2, 5), (2, 5), (2,)]

# Type: parameters, and the shapes of the bottoms.
LAYERS: list[tuple[str, str, list[tuple[int, ...]]]] = [
    (
        "Deconvolution",
        f"convolution_param {{ num_output: 4 kernel_size: 4 stride: 2 pad: 1 {XAVIER} }}",
        MAPS,
    ),
    ("PReLU", "", MAPS),
    ("ELU", "elu_param { alpha: 0.5 }", MAPS),
    ("TanH", "", MAPS),
    ("AbsVal", "", MAPS),
    ("Power", "", MAPS),
    ("Power", "power_param { power: -1.5 scale: -2 shift: 1 }", MAPS),
    ("Exp", "exp_param { base: 2 }", MAPS),
    ("Log", "", MAPS),
    ("Log", "log_param { base: 10 scale: 0.1 shift: 3 }", MAPS),
    ("BNLL", "", MAPS),
    ("Threshold", "", MAPS),
    ("Bias", 'bias_param { filler { type: "gaussian" } }', MAPS),
    ("Bias", "", [*MAPS, (3,)]),
    ("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 2 } }", MAPS),
    ("Crop", "crop_param { axis: 2 offset: 1 }", [*MAPS, (2, 3, 4, 4)]),
    ("ArgMax", "", MAPS),
    ("Reduction", "reduction_param { axis: 1 operation: SUM }", MAPS),
    ("Reduction", "reduction_param { axis: 1 operation: ASUM }", MAPS),
    ("Reduction", "reduction_param { axis: 1 operation: SUMSQ }", MAPS),
    ("Reduction", "reduction_param { axis: 1 operation: MEAN }", MAPS),
    ("Tile", "tile_param { tiles: 2 }", MAPS),
    ("MVN", "", MAPS),
    ("Embed", f"embed_param {{ num_output: 4 input_dim: 7 {XAVIER} }}", [(2, 5)]),
    ("Silence", "", MAPS),
    ("EuclideanLoss", "", [(2, 5), (2, 5)]),
    ("HingeLoss", "", ROWS),
    ("HingeLoss", "hinge_loss_param { norm: L2 }", [(2, 3, 4, 4), (2, 1)]),
    ("ContrastiveLoss", "contrastive_loss_param { margin: 5 }", PAIRS),
    ("ContrastiveLoss", "contrastive_loss_param { margin: 30 legacy_version: true }", PAIRS),
    ("InfogainLoss", "", [*ROWS, (5, 5)]),
    ("InfogainLoss", 'infogain_loss_param { source: "h.binaryproto" }', ROWS),
    ("MultinomialLogisticLoss", "", ROWS),
    (
        "MultiSigmoidCrossEntropyLoss",
        "multi_sigmoid_cross_entropy_loss_param { positive_weight: [1, 3, 9] negative_weight: 2 }",
        [(2, 3), (2, 3)],
    ),
    ("BatchReindex", "", [(3, 4), (5,)]),
    ("SPP", "spp_param { pyramid_height: 2 }", MAPS),
    ("Filter", "", [(3, 4), (3,)]),
    ("Python", 'python_param { module: "mine" layer: "Twice" }', MAPS),
]

NO_GRADIENT = ("ArgMax", "Threshold")

USER_LAYER = """
import drml


class Twice(drml.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = 2 * top[0].diff
"""

IMAGES = 'image_data_param { source: "list.txt" batch_size: 2 }'
MEMORY = "memory_data_param { batch_size: 2 channels: 3 height: 8 width: 8 }"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with what the layers read."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(USER_LAYER)
    Path("h.binaryproto").write_bytes(array_to_blob(np.eye(5) + 0.1).SerializeToString())


def write_net(kind: str, param: str, shapes: list[tuple[int, ...]]) -> str:
    names = [f"x{i}" for i in range(len(shapes))]
    inputs = " ".join(
        "shape { " + " ".join(f"dim: {size}" for size in shape) + " }" for shape in shapes
    )
    tops = "" if kind == "Silence" else 'top: "y"'
    Path("net.prototxt").write_text(f"""
        layer {{ name: "in" type: "Input" {" ".join(f'top: "{name}"' for name in names)}
          input_param {{ {inputs} }} }}
        layer {{ name: "tried" type: "{kind}" {" ".join(f'bottom: "{name}"' for name in names)}
          {tops} {param} }}
        """)
    return "net.prototxt"


@pytest.mark.parametrize(("kind", "param", "shapes"), LAYERS)
def test_layer(
    kind: str, param: str, shapes: list[tuple[int, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gradcheck", write_net(kind, param, shapes)]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.split()[:2] == ["tried", kind]
    assert ("has no gradient" if kind in NO_GRADIENT else " PASS ") in line


@pytest.mark.parametrize(("kind", "param"), [("ImageData", IMAGES), ("MemoryData", MEMORY)])
def test_data_layer(kind: str, param: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(name, np.zeros((8, 8, 3), np.uint8))
    Path("list.txt").write_text("a.png 0\nb.png 1\n")
    Path("net.prototxt").write_text(f"""
        layer {{ name: "data" type: "{kind}" top: "x" top: "label" {param} }}
        layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
          inner_product_param {{ num_output: 3 {XAVIER} }} }}
        layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
        """)
    assert main(["gradcheck", "net.prototxt"]) == 0
    assert capsys.readouterr().out.count(" PASS ") == 2


@pytest.mark.parametrize("kind", ["LSTM", "RNN", "Recurrent", "LSTMUnit"])
def test_recurrent_layers_are_named_as_unsupported(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, "gradcheck", write_net(kind, "", [(2, 3)]))
    assert f"layer type '{kind}' is not supported: recurrent layers are left out" in message


def test_the_documentation_lists_every_type() -> None:
    text = (ROOT / "docs" / "caffe.md").read_text()
    table = text[text.index("| | types |") : text.index("A type that is not here")]
    words = table.replace(",", " ").replace("(", " ").replace(")", " ").split()
    assert set(known_types()) <= set(words)


def test_batch_size_leaves_a_matrix_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Only shapes that begin as the first does hold a batch."""
    net = write_net("InfogainLoss", "", [*ROWS, (5, 5)])
    assert main(["gradcheck", net, "--batch-size", "7"]) == 0
    assert main(["summary", net, "--batch-size", "7"]) == 0
    assert "7 x 5" in capsys.readouterr().out.replace("×", "x")
