"""Old formats: V0 and V1 `layers`, transformations in data layers, `input` fields, solver_type."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from layer_testing import DEVICE

from drml import upgrade_v0
from drml.errors import PrototxtError
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net, parse_solver
from drml.run import main
from drml.upgrade import upgrade_net, upgrade_v1_layer

pytestmark = pytest.mark.cpu_only

V1 = pb.V1LayerParameter

# The names of Caffe 1.0's layers, by which the enum's names can be told from each other.
LAYER_TYPES = {
    *("AbsVal", "Accuracy", "ArgMax", "BNLL", "Concat", "ContrastiveLoss", "Convolution", "Data"),
    *("Deconvolution", "Dropout", "DummyData", "Eltwise", "EuclideanLoss", "Exp", "Flatten"),
    *("HDF5Data", "HDF5Output", "HingeLoss", "Im2col", "ImageData", "InfogainLoss", "LRN"),
    *("InnerProduct", "MemoryData", "MultinomialLogisticLoss", "MVN", "Pooling", "Power", "ReLU"),
    *("Sigmoid", "SigmoidCrossEntropyLoss", "Silence", "Slice", "Softmax", "SoftmaxWithLoss"),
    *("Split", "TanH", "Threshold", "WindowData"),
}

OLD = """\
name: "CaffeNet"
input: "data"
input_dim: 1
input_dim: 3
input_dim: 8
input_dim: 9
layers {
  name: "conv1"
  type: CONVOLUTION
  bottom: "data"
  top: "conv1"
  param: "w"
  param: "b"
  blob_share_mode: [STRICT, PERMISSIVE]
  blobs_lr: 1
  blobs_lr: 2
  weight_decay: 1
  weight_decay: 0
  include { phase: TRAIN stage: "s" }
  exclude { min_level: 1 }
  convolution_param { num_output: 4 kernel_size: 3 }
  loss_weight: 0.5
}
layers { name: "loss" type: SOFTMAX_LOSS bottom: "conv1" bottom: "label"
  loss_param { ignore_label: 2 } }
"""

NEW = """\
name: "CaffeNet"
layer {
  name: "input" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 8 dim: 9 } }
}
layer {
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param { name: "w" share_mode: STRICT lr_mult: 1 decay_mult: 1 }
  param { name: "b" share_mode: PERMISSIVE lr_mult: 2 decay_mult: 0 }
  include { phase: TRAIN stage: "s" }
  exclude { min_level: 1 }
  convolution_param { num_output: 4 kernel_size: 3 }
  loss_weight: 0.5
}
layer {
  name: "loss" type: "SoftmaxWithLoss" bottom: "conv1" bottom: "label"
  loss_param { ignore_label: 2 }
}
"""


def net_of(text: str) -> pb.NetParameter:
    net = pb.NetParameter()
    text_format.Parse(text, net)
    return net


def test_v1_net() -> None:
    assert parse_net(OLD).message == net_of(NEW)


@pytest.mark.parametrize(
    ("layer", "field_path", "line"),
    [
        (0, "", 2),
        (0, "top", 2),
        (0, "input_param.shape", 3),
        (1, "", 7),
        (1, "type", 9),
        (1, "param[1].name", 13),
        (1, "param[1].share_mode", 14),
        (1, "param[1].lr_mult", 16),
        (1, "param.decay_mult", 17),
        (1, "convolution_param.num_output", 21),
        (1, "convolution_param.stride", 21),
        (2, "bottom[1]", 24),
    ],
)
def test_lines_of_what_was_upgraded(layer: int, field_path: str, line: int) -> None:
    assert parse_net(OLD, "n").layers[layer].where(field_path) == f"n:{line}"


def test_every_v1_type_has_the_name_of_todays_layer() -> None:
    names = []
    for value in V1.LayerType.values():
        name = upgrade_v1_layer(V1(type=value)).type
        words = V1.LayerType.Name(value).replace("_", "")
        if value != V1.NONE:
            names.append(name)
            assert name.upper() == words or words == "SOFTMAXLOSS"
    assert set(names) == LAYER_TYPES
    assert len(names) == len(LAYER_TYPES)
    assert upgrade_v1_layer(V1(type=V1.NONE)).type == ""


def test_every_v1_message_is_carried_over() -> None:
    for field in V1.DESCRIPTOR.fields:
        if not field.name.endswith("_param"):
            continue
        old = V1()
        getattr(old, field.name).SetInParent()
        new = upgrade_v1_layer(old)
        assert [found.name for found, _ in new.ListFields()] == [field.name]


def test_v1_weights() -> None:
    old = V1(name="conv1", type=V1.CONVOLUTION)
    old.blobs.add(num=1, channels=1, height=1, width=2, data=[3, 4])
    new = upgrade_net(pb.NetParameter(layers=[old])).layer[0]
    assert new.name == "conv1"
    assert new.blobs[0] == old.blobs[0]


@pytest.mark.parametrize(
    ("v1_type", "message"),
    [
        ("DATA", "data_param"),
        ("IMAGE_DATA", "image_data_param"),
        ("WINDOW_DATA", "window_data_param"),
    ],
)
def test_transformation_moves_to_transform_param(v1_type: str, message: str) -> None:
    text = f"""layers {{
      type: {v1_type}
      transform_param {{ mirror: false force_gray: true }}
      {message} {{
        source: "x"
        scale: 0.5
        mean_file: "m"
        crop_size: 7
        mirror: true
      }}
    }}"""
    net = parse_net(text, "n")
    layer = net.message.layer[0]
    assert text_format.MessageToString(layer.transform_param, as_one_line=True) == (
        'scale: 0.5 mirror: true crop_size: 7 mean_file: "m" force_gray: true'
    )
    assert [field.name for field, _ in getattr(layer, message).ListFields()] == ["source"]
    assert net.layers[0].where("transform_param.scale") == "n:6"
    assert net.layers[0].where("transform_param.crop_size") == "n:8"


def test_input_shapes() -> None:
    net = parse_net(
        "input: 'a' input_shape { dim: 2 }\ninput: 'b'\ninput_shape { dim: 3\n dim: 4 } layer { }",
        "n",
    )
    assert net.message == net_of(
        "layer { name: 'input' type: 'Input' top: 'a' top: 'b'"
        " input_param { shape { dim: 2 } shape { dim: 3 dim: 4 } } } layer { }"
    )
    assert net.layers[0].where("top[1]") == "n:2"
    assert net.layers[0].where("input_param.shape[1].dim[1]") == "n:4"


def test_two_inputs_with_dims() -> None:
    net = parse_net("input: ['a', 'b'] input_dim: [1, 2, 3, 4, 5,\n 6, 7, 8] layer { }", "n")
    shapes = [list(shape.dim) for shape in net.message.layer[0].input_param.shape]
    assert shapes == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_three_params_of_batch_norm_learn_nothing() -> None:
    param = "param { name: 'x' lr_mult: 1 }"
    net = parse_net(
        f"layer {{ type: 'BatchNorm' {param * 3} }} layer {{ type: 'BatchNorm' {param} }}"
        f"layer {{ type: 'Scale' {param * 3} }}"
    )
    frozen = pb.ParamSpec(name="x", lr_mult=0, decay_mult=0)
    kept = pb.ParamSpec(name="x", lr_mult=1)
    assert [list(layer.param) for layer in net.message.layer] == [[frozen] * 3, [kept], [kept] * 3]


V0 = """\
name: "v0"
input: "data"
input_dim: 1
input_dim: 3
input_dim: 8
input_dim: 9
layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }
layers {
  layer {
    name: "conv1"
    type: "conv"
    num_output: 4
    kernelsize: 3
    stride: 2
    group: 1
    biasterm: false
    weight_filler { type: "gaussian" std: 0.5 }
    blobs_lr: 1.
    weight_decay: 0.
  }
  bottom: "pad1"
  top: "conv1"
}
layers { layer { name: "pool1" type: "pool" pool: AVE kernelsize: 3 stride: 2 }
  bottom: "conv1" top: "pool1" }
layers { layer { name: "norm" type: "lrn" local_size: 3 alpha: 0.5 beta: 0.25 k: 2 }
  bottom: "pool1" top: "norm" }
layers { layer { name: "fc" type: "innerproduct" num_output: 2
  bias_filler { type: "constant" } } bottom: "norm" top: "fc" }
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.25 } bottom: "fc" top: "fc" }
layers { layer { name: "prob" type: "softmax" } bottom: "fc" top: "prob" }
"""

V0_NEW = """\
name: "v0"
layer { name: "input" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 8 dim: 9 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param { lr_mult: 1 decay_mult: 0 }
  convolution_param { num_output: 4 bias_term: false pad: 2 kernel_size: 3 group: 1 stride: 2
    weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "norm" type: "LRN" bottom: "pool1" top: "norm"
  lrn_param { local_size: 3 alpha: 0.5 beta: 0.25 k: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "norm" top: "fc"
  inner_product_param { num_output: 2 bias_filler { type: "constant" } } }
layer { name: "drop" type: "Dropout" bottom: "fc" top: "fc"
  dropout_param { dropout_ratio: 0.25 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""

V0_DATA = """\
layers { layer { name: "a" type: "data" source: "x" batchsize: 3 rand_skip: 4 scale: 0.5
  meanfile: "m" cropsize: 7 mirror: true } top: "a" }
layers { layer { name: "b" type: "images" source: "x" batchsize: 3 rand_skip: 4
  shuffle_images: true new_height: 5 new_width: 6 } top: "b" top: "l" }
layers { layer { name: "c" type: "hdf5_data" source: "x" batchsize: 3 } top: "c" }
layers { layer { name: "d" type: "window_data" source: "x" batchsize: 3 det_fg_threshold: 0.1
  det_bg_threshold: 0.2 det_fg_fraction: 0.3 det_context_pad: 4 det_crop_mode: "square" }
  top: "d" }
layers { layer { name: "e" type: "concat" concat_dim: 0 } bottom: "a" bottom: "b" top: "e" }
layers { layer { name: "p" type: "padding" pad: 1 } bottom: "e" top: "p" }
layers { layer { name: "f" type: "pool" } bottom: "p" top: "f" }
layers { layer { name: "g" type: "infogain_loss" source: "x" } bottom: "f" bottom: "l" }
layers { layer { name: "h" type: "hdf5_output" hdf5_output_param { file_name: "f" } }
  bottom: "f" }
"""

V0_DATA_NEW = """\
layer { name: "a" type: "Data" top: "a" data_param { source: "x" batch_size: 3 rand_skip: 4 }
  transform_param { scale: 0.5 mean_file: "m" crop_size: 7 mirror: true } }
layer { name: "b" type: "ImageData" top: "b" top: "l"
  image_data_param { source: "x" batch_size: 3 rand_skip: 4 shuffle: true new_height: 5
    new_width: 6 } }
layer { name: "c" type: "HDF5Data" top: "c" hdf5_data_param { source: "x" batch_size: 3 } }
layer { name: "d" type: "WindowData" top: "d"
  window_data_param { source: "x" batch_size: 3 fg_threshold: 0.1 bg_threshold: 0.2
    fg_fraction: 0.3 context_pad: 4 crop_mode: "square" } }
layer { name: "e" type: "Concat" bottom: "a" bottom: "b" top: "e"
  concat_param { concat_dim: 0 } }
layer { name: "f" type: "Pooling" bottom: "e" top: "f" pooling_param { pad: 1 } }
layer { name: "g" type: "InfogainLoss" bottom: "f" bottom: "l"
  infogain_loss_param { source: "x" } }
layer { name: "h" type: "HDF5Output" bottom: "f" hdf5_output_param { file_name: "f" } }
"""


@pytest.mark.parametrize(("old", "new"), [(V0, V0_NEW), (V0_DATA, V0_DATA_NEW)])
def test_v0_net(old: str, new: str) -> None:
    assert parse_net(old).message == net_of(new)


def test_every_v0_type_has_the_name_of_todays_layer() -> None:
    other = {"conv": "Convolution", "images": "ImageData", "pool": "Pooling"}
    other |= {"softmax_loss": "SoftmaxWithLoss"}
    for v0_type in upgrade_v0._TYPES:
        old = V1(layer=pb.V0LayerParameter(type=v0_type))
        name = upgrade_v1_layer(old).type
        assert name == other.get(v0_type) or name.lower() == v0_type.replace("_", "")
        assert name in LAYER_TYPES


def test_every_v0_field_has_its_place() -> None:
    known = {*upgrade_v0._FIELDS, *upgrade_v0._KEPT, "type"}
    names = {field.name for field in pb.V0LayerParameter.DESCRIPTOR.fields}
    assert names - known == {"new_num", "new_channels"}


@pytest.mark.parametrize(
    ("layer", "field_path", "line"),
    [
        (0, "top", 2),
        (1, "", 8),
        (1, "type", 11),
        (1, "convolution_param.kernel_size", 13),
        (1, "convolution_param.bias_term", 16),
        (1, "param[0].lr_mult", 18),
        (1, "bottom", 21),
        (2, "pooling_param.stride", 24),
        (3, "lrn_param.beta", 26),
    ],
)
def test_lines_of_v0_fields(layer: int, field_path: str, line: int) -> None:
    assert parse_net(V0, "n").layers[layer].where(field_path) == f"n:{line}"


def test_v0_net_computes() -> None:
    net = Net(parse_net(V0.replace("AVE", "MAX")), device=DEVICE)
    assert net.blobs["conv1"].shape == (1, 4, 5, 6)


def upgrade(folder: Path, content: bytes) -> bytes:
    """What the command writes of a file."""
    (folder / "old").write_bytes(content)
    assert main(["upgrade", str(folder / "old"), str(folder / "new")]) == 0
    return (folder / "new").read_bytes()


@pytest.mark.parametrize(
    ("old", "new"), [(OLD, NEW), (V0, V0_NEW), (NEW, NEW), ("\n\t" + V0_DATA, V0_DATA_NEW)]
)
def test_command_writes_todays_text(tmp_path: Path, old: str, new: str) -> None:
    written = upgrade(tmp_path, old.encode())
    assert net_of(written.decode()) == net_of(new)
    assert b"layers" not in written


def test_command_writes_todays_binary(tmp_path: Path) -> None:
    old = net_of(V0)
    old.layers[1].layer.blobs.add(num=1, channels=1, height=1, width=2, data=[3, 4])
    wanted = net_of(V0_NEW)
    wanted.layer[1].blobs.add(num=1, channels=1, height=1, width=2, data=[3, 4])
    assert pb.NetParameter.FromString(upgrade(tmp_path, old.SerializeToString())) == wanted


def test_command_writes_todays_solver(tmp_path: Path) -> None:
    text = f"# old\nsolver_type: ADAM base_lr: 0.01 net_param {{ {OLD} }}"
    text += f"test_net_param {{ {V0} }} test_net_param {{ {NEW} }}"
    written = pb.SolverParameter()
    text_format.Parse(upgrade(tmp_path, text.encode()).decode(), written)
    wanted = pb.SolverParameter(type="Adam", base_lr=0.01, net_param=net_of(NEW))
    wanted.test_net_param.extend([net_of(V0_NEW), net_of(NEW)])
    assert written == wanted


def test_command_may_write_over_its_input(tmp_path: Path) -> None:
    path = tmp_path / "näme.prototxt"
    path.write_text(OLD.replace("CaffeNet", "Nätz"))
    assert main(["upgrade", str(path), str(path)]) == 0
    assert net_of(path.read_text()) == net_of(NEW.replace("CaffeNet", "Nätz"))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_command_refuses_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content, message in [
        (b"", "there is no layer in this net file"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file; of these Caffe has one form only"),
        (b"\0\1\2", "damaged, or not weights"),
        (b"layers { layer { type: 'cnov' } }", "old:1: unknown V0 layer type 'cnov'; did you mean"),
    ]:
        (tmp_path / "old").write_bytes(content)
        assert main(["upgrade", str(tmp_path / "old"), str(tmp_path / "new")]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "new").exists()


def test_a_net_of_today_is_untouched() -> None:
    net = net_of(NEW)
    assert upgrade_net(net) is net
    assert net == net_of(NEW)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "layers { }\nlayers { layer {\n type: 'cnv' } }",
            "n:3: unknown V0 layer type 'cnv'; did you mean 'conv'?",
        ),
        (
            "layers { layer { type: 'relu'\n num_output: 3 } }",
            "n:2: num_output means nothing to a layer of type 'relu'",
        ),
        (
            "layers { layer { type: 'data'\n new_num: 3 } }",
            "n:2: new_num means nothing to a layer of type 'data'",
        ),
        (
            "layers { layer { type: 'relu' }\n blobs_lr: 1 }",
            "n:2: blobs_lr stands beside the old `layer { }`; write it inside, or the whole layer "
            "in today's form",
        ),
        (
            "layers { layer { type: 'data' } top: 'x' }\nlayers { layer { type: 'relu' }\n"
            "bottom: 'xx' }",
            "n:3: bottom 'xx' is no top of a layer before; did you mean 'x'?",
        ),
        (
            "layers { layer { type: 'padding' name: 'p' } bottom: 'd' top: 'x' }\n"
            "layers { layer { type: 'relu' } bottom: 'x' } input: 'd' input_dim: [1, 1, 1, 1]",
            "n:2: padding layer 'p' is read by a layer of type 'relu'; conv and pool may",
        ),
        (
            "layers { layer { type: 'padding' name: 'p' } bottom: 'd' top: 'x' }\n"
            "layers { layer { type: 'conv' } bottom: 'x' bottom: 'd' } input: 'd' "
            "input_dim: [1, 1, 1, 1]",
            "n:2: padding layer 'p' and the layer that reads it take one bottom each",
        ),
        (
            "layer { }\nlayers { }",
            "n:2: `layer` and the old `layers` stand in one file; write them all as `layer`",
        ),
        ("layer { }\ninput: 'x'", "n:2: input 'x' has no input_dim or input_shape"),
        ("input: 'x'\ninput_dim: 1", "n:2: 1 input_dim for 1 input; four each are needed"),
        (
            "input: 'x' input: 'y'\ninput_shape { }",
            "n:2: 1 input_shape for 2 input; one each is needed",
        ),
        (
            "input: 'x' input_shape { }\ninput_dim: 1",
            "n:2: input_dim and input_shape exclude each other",
        ),
        ("layer { }\ninput_shape { }", "n:2: 1 input_shape for 0 input; one each is needed"),
        (
            "layers { type: CONVOLUTON }",
            "n:1: V1LayerParameter.type wants a name such as ACCURACY, no quotes, "
            "not 'CONVOLUTON'; did you mean 'CONVOLUTION'?",
        ),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(PrototxtError) as caught:
        parse_net(text, "n")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SGD", "SGD"),
        ("NESTEROV", "Nesterov"),
        ("ADAGRAD", "AdaGrad"),
        ("RMSPROP", "RMSProp"),
        ("ADADELTA", "AdaDelta"),
        ("ADAM", "Adam"),
    ],
)
def test_solver_type(old: str, new: str) -> None:
    solver = parse_solver(f"net: 'x' solver_type: {old}", "s")
    assert solver.message == pb.SolverParameter(net="x", type=new)
