"""Old formats: V1 `layers`, transformations in data layers, `input` fields, solver_type."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from drml.errors import PrototxtError
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net, parse_solver
from drml.upgrade import upgrade_net, upgrade_v1_layer

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


def test_batch_norm_loses_its_three_params() -> None:
    param = "param { lr_mult: 0 }"
    net = parse_net(
        f"layer {{ type: 'BatchNorm' {param * 3} }} layer {{ type: 'BatchNorm' {param} }}"
        f"layer {{ type: 'Scale' {param * 3} }}"
    )
    assert [len(layer.param) for layer in net.message.layer] == [0, 1, 3]


def test_a_net_of_today_is_untouched() -> None:
    net = net_of(NEW)
    assert upgrade_net(net) is net
    assert net == net_of(NEW)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "layers { name: 'a' }\nlayers {\n layer { name: 'conv' type: 'conv' } }",
            "n:3: this is a V0 layer (`layers { layer { ... } }`), older than what can be read; "
            "Caffe's upgrade_net_proto_text and upgrade_net_proto_binary upgrade it",
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
