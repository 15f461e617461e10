"""Nets written in Python: names and fields as pycaffe gives them, and mistakes named."""

# ruff: noqa: C408 (dict(...) is how nets are written)
from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from layer_testing import DEVICE

from drml import Net, NetSpec, to_proto
from drml import layers as L  # noqa: N812, as pycaffe's users write it
from drml import params as P  # noqa: N812
from drml.errors import PrototxtError
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net


def net_of(text: str) -> pb.NetParameter:
    net = pb.NetParameter()
    text_format.Parse(text, net)
    return net


def lenet(batch_size: int) -> NetSpec:
    n = NetSpec()
    n.data, n.label = L.DummyData(
        shape=[dict(dim=[batch_size, 1, 28, 28]), dict(dim=[batch_size, 1, 1, 1])],
        transform_param=dict(scale=1.0 / 255),
        ntop=2,
    )
    n.conv1 = L.Convolution(
        n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"), group=2
    )
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.AVE)
    n.ip1 = L.InnerProduct(
        n.pool1,
        num_output=500,
        weight_filler=dict(type="xavier"),
        param=[dict(lr_mult=1), dict(lr_mult=2, decay_mult=0)],
    )
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10, include=dict(phase=pb.TRAIN))
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label, loss_weight=2, loss_param=dict(ignore_label=3))
    return n


LENET = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
  transform_param { scale: 0.003921569 } dummy_data_param {
  shape { dim: 7 dim: 1 dim: 28 dim: 28 } shape { dim: 7 dim: 1 dim: 1 dim: 1 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {
  kernel_size: 5 num_output: 20 weight_filler { type: "xavier" } group: 2 } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param {
  kernel_size: 2 stride: 2 pool: AVE } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool1" top: "ip1" param { lr_mult: 1 }
  param { lr_mult: 2 decay_mult: 0 }
  inner_product_param { num_output: 500 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" include { phase: TRAIN }
  inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss"
  loss_weight: 2 loss_param { ignore_label: 3 } }
"""


def test_assigned_names() -> None:
    assert lenet(7).to_proto() == net_of(LENET)


def test_text_is_a_net_file() -> None:
    n = NetSpec()
    n.x = L.Input(shape=dict(dim=[2, 3, 4, 4]))
    n["con-v"] = L.Convolution(n.x, num_output=2, kernel_size=3)
    n.out = L.ReLU(n["con-v"])
    net = Net(parse_net(str(n.to_proto())), device=DEVICE)
    assert net.blobs["out"].shape == (2, 2, 2, 2)
    assert list(net.layer_dict) == ["x", "con-v", "out"]


def test_names_of_what_was_not_assigned() -> None:
    data, label = L.DummyData(shape=dict(dim=[4]), ntop=2)
    one = L.InnerProduct(data, num_output=1)
    two = L.InnerProduct(L.ReLU(one, in_place=True), num_output=1)
    net = to_proto(
        L.EuclideanLoss(two, label) if L.find("EuclideanLoss") else L.Eltwise(two, label)
    )
    names = [(layer.name, list(layer.bottom), list(layer.top)) for layer in net.layer]
    assert names[:4] == [
        ("DummyData1", [], ["DummyData1", "DummyData2"]),
        ("InnerProduct1", ["DummyData1"], ["InnerProduct1"]),
        ("ReLU1", ["InnerProduct1"], ["InnerProduct1"]),
        ("InnerProduct2", ["InnerProduct1"], ["InnerProduct2"]),
    ]
    assert names[4][1] == ["InnerProduct2", "DummyData2"]
    assert two.to_proto() == pb.NetParameter(layer=net.layer[:4])


def test_layers_without_tops() -> None:
    n = NetSpec()
    n.data, n.label = L.DummyData(shape=dict(dim=[4]), ntop=2)
    n.hush = L.Accuracy(n.data, n.label, ntop=0)
    silent = L.Accuracy(n.data, n.label, ntop=0)
    assert [(x.name, list(x.top)) for x in n.to_proto().layer] == [
        ("data", ["data", "label"]),
        ("hush", []),
    ]
    assert silent.to_proto().layer[1].name == "Accuracy1"


def test_only_what_is_needed_in_the_order_of_assignment() -> None:
    n = NetSpec()
    x = L.Input(shape=dict(dim=[2]))
    n.b = L.ReLU(L.Sigmoid(x))
    n.a = x
    L.ReLU(x)
    assert [layer.name for layer in n.to_proto().layer] == ["a", "Sigmoid1", "b"]
    assert [layer.name for layer in to_proto(n.a, n.b).layer] == ["Input1", "Sigmoid1", "ReLU1"]
    del n.b
    assert [layer.name for layer in n.to_proto().layer] == ["a"]


def test_a_chain_longer_than_pythons_stack() -> None:
    top = L.Input(shape=dict(dim=[2]))
    for _ in range(2000):
        top = L.ReLU(top)
    assert top.to_proto().layer[2000].name == "ReLU2000"


def test_values_of_all_kinds() -> None:
    top = L.Convolution(
        L.Input(shape=pb.BlobShape(dim=[1])),
        kernel_size=np.array([3, 5]),
        num_output=np.int64(4),
        bias_term=False,
        engine="CAFFE",
        pad=(1, 2),
        bias_filler=pb.FillerParameter(type="constant", value=2),
    )
    assert (
        top.to_proto().layer[1]
        == net_of("""layer { name: "Convolution1" type: "Convolution"
      bottom: "Input1" top: "Convolution1" convolution_param { kernel_size: 3 kernel_size: 5
      num_output: 4 bias_term: false engine: CAFFE pad: 1 pad: 2
      bias_filler { type: "constant" value: 2 } } }""").layer[0]
    )


def test_fields_of_a_type_without_a_message_of_its_name() -> None:
    data, label = L.DummyData(shape=dict(dim=[4]), ntop=2)
    top = L.SoftmaxWithLoss(data, label, softmax_param=dict(axis=1), propagate_down=[True, False])
    layer = top.to_proto().layer[1]
    assert layer.softmax_param.axis == 1
    assert list(layer.propagate_down) == [True, False]


def test_constants() -> None:
    assert P.Pooling.MAX == pb.PoolingParameter.MAX
    assert P.Eltwise.PROD == pb.EltwiseParameter.PROD
    assert P.LRN.WITHIN_CHANNEL == pb.LRNParameter.WITHIN_CHANNEL
    assert P.Data.LMDB == pb.DataParameter.LMDB


def test_layers_are_still_a_package_of_modules() -> None:
    code = (
        "from drml import layers; from drml.layers import pooling, base; import drml;"
        "assert drml.layers is layers and not hasattr(layers, 'polling');"
        "print(drml.layers.Pooling.__name__, drml.params.Pooling.MAX, base.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Pooling 0 drml.layers.base\n"


def spec() -> Any:
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[2]))
    return n


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda n: L.Convoluton(n.data), "unknown layer type 'Convoluton'; did you mean 'Convolut"),
        (lambda n: L.LSTM(n.data), "layer type 'LSTM' is not supported: recurrent layers are left"),
        (
            lambda n: L.Pooling(n.data, kernel_sise=2),
            "layer Pooling has no field 'kernel_sise'; did you mean 'kernel_size'?",
        ),
        (
            lambda n: L.ReLU(n.data, los_weight=2),
            "layer ReLU has no field 'los_weight'; did you mean 'loss_weight'?",
        ),
        (lambda n: L.ReLU(n.data, bottom="x"), "layer ReLU has no field 'bottom'"),
        (
            lambda n: L.InnerProduct(n.data, weight_filler=dict(tpye="xavier")),
            "layer InnerProduct: weight_filler has no field 'tpye'; did you mean 'type'?",
        ),
        (
            lambda n: L.InnerProduct(n.data, weight_filler="xavier"),
            "layer InnerProduct: weight_filler wants dict(...) of its fields, not 'xavier'",
        ),
        (
            lambda n: L.InnerProduct(n.data, num_output="many"),
            "layer InnerProduct: num_output wants a whole number from 0 to 4294967295, not 'many'",
        ),
        (
            lambda n: L.InnerProduct(n.data, num_output=-1),
            "layer InnerProduct: num_output wants a whole number from 0 to 4294967295, not -1",
        ),
        (
            lambda n: L.InnerProduct(n.data, num_output=[1, 2]),
            "layer InnerProduct: num_output takes one value, not 2",
        ),
        (
            lambda n: L.Pooling(n.data, pool="MIN"),
            "layer Pooling: pool wants MAX or AVE or STOCHASTIC, not 'MIN'",
        ),
        (lambda n: L.ReLU(n.data, ntop=-1), "layer ReLU: ntop is 0 or more, not -1"),
        (lambda n: L.ReLU("data"), "layer ReLU: input 0 is no top but a str"),
        (
            lambda n: L.ReLU(n.data, L.Input(ntop=2)),
            "layer ReLU: input 1 is no top but a tuple; take one of them",
        ),
        (lambda n: n.dta, "no top 'dta' was assigned; did you mean 'data'?"),
        (lambda n: n.__delitem__("x"), "no top 'x' was assigned"),
        (lambda n: setattr(n, "x", 3), "x is assigned a int, no top"),
        (
            lambda n: setattr(n, "x", L.Input(ntop=2)),
            "x is assigned a tuple, no top; its layer has 2, assign them one by one",
        ),
        (lambda n: P.Pooling.MAXX, "Pooling has no constant 'MAXX'; did you mean 'MAX'?"),
        (lambda n: P.Poling, "no parameters are called 'Poling'; did you mean 'Pooling'?"),
    ],
)
def test_mistakes(mistake: Any, message: str) -> None:
    with pytest.raises(PrototxtError) as caught:
        mistake(spec())
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["LSTM", "RNN", "Recurrent"])
def test_recurrent_layers_are_named_as_unsupported(name: str) -> None:
    text = f'layer {{ name: "a" type: "Input" top: "x" }}\nlayer {{ name: "r" type: "{name}" }}'
    with pytest.raises(Exception, match=rf"n:2: layer 'r': layer type '{name}' is not supported"):
        Net(parse_net(text, "n"), device=DEVICE)
