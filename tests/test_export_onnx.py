"""`export` to ONNX: ONNX Runtime puts out what the net does, layer by layer and for whole nets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_testing import DEPLOY, ROOT, contents, enter_small, refused
from legacy_testing import long_region

from drml.blob import Array
from drml.errors import NetError
from drml.layers import find
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net
from drml.run import main

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

from drml.export.onnx_net import EMITTERS, onnx_model  # noqa: E402

pytestmark = pytest.mark.cpu_only

IMAGES = "shape { dim: 3 dim: 6 dim: 9 dim: 8 }"
ROWS = "shape { dim: 4 dim: 10 }"
POSITIVE = ("Log", "Power")

# Name -> (type, the layer's fields, shapes of its inputs, whether any batch size is taken).
CASES: dict[str, tuple[str, str, str, bool]] = {
    "convolution": (
        "Convolution",
        "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 group: 2 }",
        IMAGES,
        True,
    ),
    "convolution, dilated": (
        "Convolution",
        "convolution_param { num_output: 5 kernel_size: 3 dilation: 2 bias_term: false }",
        IMAGES,
        True,
    ),
    "deconvolution": (
        "Deconvolution",
        "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 group: 2 }",
        IMAGES,
        True,
    ),
    "local": (
        "LocallyConnected",
        "convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 group: 2 }",
        IMAGES,
        True,
    ),
    "local, bias per place": (
        "LocallyConnected",
        "convolution_param { num_output: 4 kernel_h: 2 kernel_w: 3 } "
        "locally_connected_param { bias_per_location: true }",
        IMAGES,
        True,
    ),
    "local, no bias": (
        "LocallyConnected",
        "convolution_param { num_output: 4 kernel_size: 4 bias_term: false }",
        IMAGES,
        True,
    ),
    "region": ("Region", "region_param { grid_h: 3 grid_w: 2 }", IMAGES, True),
    "region of the batch": (
        "Region",
        "region_param { grid_h: 3 grid_w: 4 kernel_size: 1 pad: 0 use_global_stats: false }",
        IMAGES,
        True,
    ),
    "max pooling": ("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", IMAGES, True),
    "max pooling, padded": (
        "Pooling",
        "pooling_param { kernel_size: 3 stride: 2 pad: 1 }",
        IMAGES,
        True,
    ),
    "max pooling, rounded down": (
        "Pooling",
        "pooling_param { kernel_size: 2 stride: 3 round_mode: FLOOR }",
        IMAGES,
        True,
    ),
    "max pooling, steps past the window": (
        "Pooling",
        "pooling_param { kernel_size: 2 stride: 3 pad: 1 }",
        IMAGES,
        True,
    ),
    "mean pooling": (
        "Pooling",
        "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }",
        IMAGES,
        True,
    ),
    "mean pooling, cut windows": (
        "Pooling",
        "pooling_param { pool: AVE kernel_h: 4 kernel_w: 3 stride: 3 pad_h: 2 pad_w: 1 }",
        IMAGES,
        True,
    ),
    "mean of the map": (
        "Pooling",
        "pooling_param { pool: AVE global_pooling: true }",
        IMAGES,
        True,
    ),
    "lrn": ("LRN", "lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2 }", IMAGES, True),
    "lrn, pixels": (
        "LRN",
        "lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 alpha: 0.5 }",
        IMAGES,
        True,
    ),
    "inner product": ("InnerProduct", "inner_product_param { num_output: 5 }", IMAGES, True),
    "inner product, transposed": (
        "InnerProduct",
        "inner_product_param { num_output: 5 transpose: true bias_term: false }",
        ROWS,
        True,
    ),
    "inner product, axis 2": (
        "InnerProduct",
        "inner_product_param { num_output: 5 axis: 2 }",
        IMAGES,
        True,
    ),
    "inner product, axis 0": (
        "InnerProduct",
        "inner_product_param { num_output: 5 axis: 0 transpose: true }",
        ROWS,
        False,
    ),
    "batch norm": ("BatchNorm", "", IMAGES, True),
    "batch norm of rows": ("BatchNorm", "batch_norm_param { eps: 0.1 }", ROWS, True),
    "batch norm of the batch": (
        "BatchNorm",
        "batch_norm_param { use_global_stats: false eps: 0.01 }",
        IMAGES,
        True,
    ),
    "batch": ("Batch", "batch_param { eps: 0.1 }", IMAGES, True),
    "mvn": ("MVN", "", IMAGES, True),
    "mvn, across channels": (
        "MVN",
        "mvn_param { across_channels: true normalize_variance: false }",
        IMAGES,
        True,
    ),
    "scale": ("Scale", "scale_param { bias_term: true }", IMAGES, True),
    "scale, two axes": ("Scale", "scale_param { axis: -2 num_axes: 2 }", IMAGES, True),
    "scale, one number": ("Scale", "scale_param { num_axes: 0 bias_term: true }", IMAGES, True),
    "scale of the batch": ("Scale", "scale_param { axis: 0 bias_term: true }", ROWS, False),
    "scale by a bottom": ("Scale", "scale_param { axis: 0 }", f"{IMAGES} shape {{ dim: 3 }}", True),
    "scale by channels": ("Scale", "", f"{IMAGES} shape {{ dim: 6 }}", False),
    "bias": ("Bias", "", IMAGES, True),
    "relu": ("ReLU", "", IMAGES, True),
    "relu, sloped": ("ReLU", "relu_param { negative_slope: 0.2 }", ROWS, True),
    "prelu": ("PReLU", "prelu_param { filler { value: 0.3 } }", IMAGES, True),
    "prelu, shared": ("PReLU", "prelu_param { channel_shared: true }", ROWS, True),
    "elu": ("ELU", "elu_param { alpha: 0.7 }", ROWS, True),
    "sigmoid": ("Sigmoid", "", ROWS, True),
    "tanh": ("TanH", "", ROWS, True),
    "absolute value": ("AbsVal", "", ROWS, True),
    "bnll": ("BNLL", "", ROWS, True),
    "threshold": ("Threshold", "threshold_param { threshold: 0.3 }", ROWS, True),
    "power": ("Power", "power_param { power: 1.5 scale: 2 shift: 0.5 }", ROWS, True),
    "power of one": ("Power", "", ROWS, True),
    "exponential": ("Exp", "exp_param { base: 2 scale: 0.5 shift: 0.1 }", ROWS, True),
    "exponential of e": ("Exp", "", ROWS, True),
    "logarithm": ("Log", "log_param { base: 2 shift: 1 }", ROWS, True),
    "logarithm of e": ("Log", "", ROWS, True),
    "softmax": ("Softmax", "", IMAGES, True),
    "softmax, axis 0": ("Softmax", "softmax_param { axis: 0 }", ROWS, False),
    "dropout": ("Dropout", "", ROWS, True),
    "sum": ("Eltwise", "eltwise_param { coeff: 2 coeff: 1 coeff: -1 }", ROWS * 3, True),
    "product": ("Eltwise", "eltwise_param { operation: PROD }", ROWS * 3, True),
    "maximum": ("Eltwise", "eltwise_param { operation: MAX }", ROWS * 2, True),
    "concat": ("Concat", "", ROWS * 2, True),
    "concat, axis 0": ("Concat", "concat_param { axis: 0 }", ROWS * 2, False),
    "slice": ("Slice", "top: 'second' slice_param { slice_point: 3 }", IMAGES, True),
    "slice, axis 0": ("Slice", "top: 'second' slice_param { axis: 0 }", ROWS, False),
    "slice, whole": ("Slice", "", ROWS, True),
    "flatten": ("Flatten", "", IMAGES, True),
    "flatten, maps": ("Flatten", "flatten_param { axis: -2 }", IMAGES, True),
    "flatten, batch": ("Flatten", "flatten_param { axis: 0 }", IMAGES, False),
    "reshape": ("Reshape", "reshape_param { shape { dim: 0 dim: 2 dim: -1 } }", IMAGES, True),
    "reshape, batch": ("Reshape", "reshape_param { shape { dim: 2 dim: -1 } }", ROWS, False),
    "tile": ("Tile", "tile_param { tiles: 3 }", IMAGES, True),
    "tile, batch": ("Tile", "tile_param { axis: 0 tiles: 2 }", ROWS, False),
    "crop": (
        "Crop",
        "crop_param { offset: 1 offset: 2 }",
        f"{IMAGES} shape {{ dim: 3 dim: 6 dim: 4 dim: 5 }}",
        True,
    ),
    "crop, one offset": (
        "Crop",
        "crop_param { axis: 1 offset: 1 }",
        f"{IMAGES} shape {{ dim: 3 dim: 4 dim: 4 dim: 5 }}",
        True,
    ),
    "reduction": ("Reduction", "reduction_param { axis: 2 coeff: 0.5 }", IMAGES, True),
    "reduction, absolute": ("Reduction", "reduction_param { operation: ASUM axis: 1 }", ROWS, True),
    "reduction, squares": ("Reduction", "reduction_param { operation: SUMSQ axis: 1 }", ROWS, True),
    "reduction, mean of all": ("Reduction", "reduction_param { operation: MEAN }", ROWS, False),
}


def one_layer(kind: str, fields: str, shapes: str) -> Net:
    """A net of inputs and one layer, its parameters random numbers."""
    count = shapes.count("shape")
    tops = " ".join(f'top: "x{index}"' for index in range(count))
    bottoms = tops.replace("top", "bottom")
    text = (
        f'layer {{ name: "in" type: "Input" {tops} input_param {{ {shapes} }} }}\n'
        f'layer {{ name: "it" type: "{kind}" {bottoms} top: "first" {fields} }}'
    )
    net = Net(parse_net(text), device="cpu")
    fill(net)
    return net


def fill(net: Net, scale: float = 1) -> None:
    """Gives every parameter random numbers; running statistics positive ones."""
    random = np.random.default_rng(7)
    for layer, blobs in net.params.items():
        kind = net.layer_dict[layer].type
        first = {"BatchNorm": 1, "Batch": 1, "Region": 3}.get(kind, len(blobs))
        for index, blob in enumerate(blobs):
            values = random.standard_normal(blob.shape).astype(np.float32)
            blob.data = np.abs(values) + 0.5 if index >= first else scale * values


def inputs_of(net: Net, *, positive: bool = False) -> dict[str, Array]:
    random = np.random.default_rng(3)
    values = {
        name: random.standard_normal(net.blobs[name].shape).astype(np.float32)
        for name in net.inputs
    }
    return {name: np.abs(value) if positive else value for name, value in values.items()}


def run_model(content: bytes, inputs: dict[str, Array]) -> dict[str, Array]:
    """What ONNX Runtime makes of the model, which ONNX' own checker has to find right."""
    onnx.checker.check_model(onnx.load_model_from_string(content), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    needed = {value.name: inputs[value.name] for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, needed), strict=True))


def compare(net: Net, content: bytes, inputs: dict[str, Array]) -> None:
    wanted = net.forward(**inputs)
    got = run_model(content, inputs)
    assert list(got) == list(wanted)
    for name, value in wanted.items():
        assert got[name].shape == value.shape
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("case", CASES)
def test_layer(case: str) -> None:
    kind, fields, shapes, any_batch = CASES[case]
    if find(kind) is None:
        pytest.skip(f"there is no layer {kind}")
    with one_layer(kind, fields, shapes) as net:
        inputs = inputs_of(net, positive=kind in POSITIVE)
        graph, content = onnx_model(net)
        compare(net, content, inputs)
        assert (graph.fixed_by is None) == any_batch
        if any_batch:
            for name in net.inputs:
                net.blobs[name].reshape(5, *net.blobs[name].shape[1:])
            net.reshape()
            compare(net, content, inputs_of(net, positive=kind in POSITIVE))


def test_every_emitter_has_a_case() -> None:
    tried = {kind for kind, *_ in CASES.values()}
    assert set(EMITTERS) - tried == {"Split", "Silence", "BatchReindex"}


def test_batch_reindex() -> None:
    with one_layer("BatchReindex", "", f"{ROWS} shape {{ dim: 3 }}") as net:
        graph, content = onnx_model(net)
        inputs = inputs_of(net) | {"x1": np.array([2, 0, 2], np.float32)}
        compare(net, content, inputs)
        assert graph.fixed_by is not None


def test_a_region_layer_in_the_long_form() -> None:
    """Each branch has statistics, and a factor of them, of its own."""
    region = long_region("x", "y", 6, (3, 2), (3, 4), order=[4, 1, 0, 5, 3, 2], settings="eps: 0.1")
    text = f'layer {{ name: "in" type: "Input" top: "x" input_param {{ {IMAGES} }} }}'
    with Net(parse_net(f"{text}\n{region}"), device="cpu") as net:
        random = np.random.default_rng(7)
        for param in net.learnable:
            param.blob.data = random.uniform(0.5, 2, param.blob.shape)
        compare(net, onnx_model(net)[1], inputs_of(net))


def test_statistics_that_were_never_run_up_are_zeros() -> None:
    with one_layer("BatchNorm", "batch_norm_param { eps: 0.5 }", ROWS) as net:
        net.params["it"][2].data[...] = 0
        compare(net, onnx_model(net)[1], inputs_of(net))


IN_PLACE = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 } } }
layer { name: "first" type: "ReLU" bottom: "x" top: "x" relu_param { negative_slope: 0.5 } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 3 } }
layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
layer { name: "drop" type: "Dropout" bottom: "y" top: "y" }
layer { name: "quiet" type: "Silence" bottom: "y" }
layer { name: "a" type: "Sigmoid" bottom: "y" top: "a" }
layer { name: "b" type: "Dropout" bottom: "y" top: "b" }
"""


def test_blobs_keep_their_names_through_layers_in_place() -> None:
    with Net(parse_net(IN_PLACE), device="cpu") as net:
        fill(net)
        model = onnx.load_model_from_string(onnx_model(net)[1])
        assert [value.name for value in model.graph.output] == ["a", "b"]
        compare(net, model.SerializeToString(), inputs_of(net))
        content = onnx_model(net, ["y", "b"])[1]
        inputs = inputs_of(net)
        got = run_model(content, inputs)
        wanted = net.forward(blobs=["y"], **inputs)
        assert list(got) == ["y", "b"]
        for name, value in got.items():
            np.testing.assert_allclose(value, wanted[name], atol=1e-6)


def test_a_net_of_inputs_of_different_batch_sizes_keeps_them() -> None:
    text = """
    layer { name: "in" type: "Input" top: "x" top: "y"
      input_param { shape { dim: 2 dim: 4 } shape { dim: 3 dim: 4 } } }
    layer { name: "a" type: "Sigmoid" bottom: "x" top: "a" }
    layer { name: "b" type: "Sigmoid" bottom: "y" top: "b" }
    """
    with Net(parse_net(text), device="cpu") as net:
        graph, content = onnx_model(net)
        assert graph.fixed_by == "in"
        compare(net, content, inputs_of(net))


def test_drml_at_full_size() -> None:
    with Net(ROOT / "prototxt" / "drml_deploy.prototxt", device="cpu") as net:
        for blob in net.params["region2"][3:]:
            blob.data = np.full(blob.shape, 2, np.float32)
        data = np.random.default_rng(0).standard_normal(net.blobs["data"].shape) * 50
        inputs = {"data": data.astype(np.float32)}
        _, content = onnx_model(net, ["output", "prob"])
        wanted = net.forward(blobs=["output"], **inputs)
        for name, value in run_model(content, inputs).items():
            np.testing.assert_allclose(value, wanted[name], atol=1e-4)


# The command ------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    enter_small(tmp_path, monkeypatch)
    with Net("deploy.prototxt", phase=pb.TEST, device="cpu") as net:
        fill(net, 0.1)
        net.save("w.caffemodel")
    return tmp_path


def test_command(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "deploy.prototxt", "w.caffemodel", "net.onnx"]) == 0
    size = (small / "net.onnx").stat().st_size
    assert capsys.readouterr().out == f"wrote net.onnx: {size / 1e6:.1f} MB, for any batch size\n"
    with Net("deploy.prototxt", "w.caffemodel", device="cpu") as net:
        compare(net, (small / "net.onnx").read_bytes(), inputs_of(net))


def test_command_with_outputs(small: Path) -> None:
    words = ["export", "deploy.prototxt", "w.caffemodel", "net.onnx", "--outputs", "output,pool3"]
    assert main(words) == 0
    model = onnx.load("net.onnx")
    assert [value.name for value in model.graph.output] == ["output", "pool3"]


def test_bad_input(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "loss.prototxt").write_text(
        DEPLOY + 'layer { name: "sum" type: "EuclideanLoss" bottom: "prob" bottom: "prob" }'
        if find("EuclideanLoss")
        else DEPLOY + 'layer { name: "sum" type: "Filter" bottom: "prob" bottom: "prob" top: "s" }'
    )
    (small / "other.prototxt").write_text(DEPLOY.replace('"conv1" type', '"conv2" type'))
    before = contents(small)
    export = ("export", "deploy.prototxt", "w.caffemodel")
    assert "must end in .onnx, .npz, .safetensors" in refused(capsys, *export, "net.txt")
    assert "no blob is named 'outpt'; did you mean" in refused(
        capsys, *export, "net.onnx", "--outputs", "outpt"
    )
    assert refused(capsys, "export", "train.prototxt", "w.caffemodel", "net.onnx") == (
        "train.prototxt:2: layer 'data' (MultilabelImageData): ONNX holds no data layers; export "
        "the deploy form of the net"
    )
    assert "layer 'sum' (" in refused(capsys, "export", "loss.prototxt", "w.caffemodel", "net.onnx")
    assert (
        "w.caffemodel has no weights for 1 of 3 layers of other.prototxt, such as 'conv2'"
        in refused(capsys, "export", "other.prototxt", "w.caffemodel", "net.onnx")
    )
    assert contents(small) == before


def test_layers_that_are_not_exported_are_named() -> None:
    with (
        one_layer("Filter", "", f"{ROWS} shape {{ dim: 4 }}") as net,
        pytest.raises(NetError, match=r"layer 'it' \(Filter\): is not exported to ONNX"),
    ):
        onnx_model(net)


def test_without_the_package(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in [name for name in sys.modules if name.startswith("drml.export.onnx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert refused(capsys, "export", "deploy.prototxt", "w.caffemodel", "net.onnx") == (
        "this needs the package onnx: pip install 'drml[onnx]'"
    )
