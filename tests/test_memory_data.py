"""MemoryData: arrays served batch by batch, by pycaffe's set_input_arrays; what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from layer_testing import DEVICE
from training_testing import make_solver

from drml.errors import NetError
from drml.layers import find
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net

Array = npt.NDArray[np.float32]

LAYER = """layer { name: "mem" type: "MemoryData" top: "data" top: "label"
  memory_data_param { batch_size: 2 channels: 3 height: 4 width: 5 } }"""
FC = """layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }"""


def make_net(text: str = LAYER) -> Net:
    return Net(parse_net(text, "net.prototxt"), device=DEVICE)


def arrays(count: int, seed: int = 0) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    data = random.normal(size=(count, 3, 4, 5)).astype(np.float32)
    return data, random.integers(0, 3, count).astype(np.float32)


def served(net: Net, batches: int) -> tuple[Array, Array]:
    outputs = [net.forward() for _ in range(batches)]
    return tuple(np.concatenate([out[name] for out in outputs]) for name in ("data", "label"))


def test_batches_come_in_order_and_again() -> None:
    net, (data, label) = make_net(), arrays(6)
    net.set_input_arrays(data, label)
    got = served(net, 7)
    np.testing.assert_array_equal(got[0], np.concatenate([data, data, data[:2]]))
    np.testing.assert_array_equal(got[1], np.concatenate([label, label, label[:2]]))
    assert net.layer_dict["mem"].layer.sample_count == 6


def test_other_arrays_start_anew() -> None:
    net = make_net()
    net.set_input_arrays(*arrays(6))
    served(net, 2)
    data, label = arrays(4, seed=1)
    net.set_input_arrays(data, label.reshape(-1, 1, 1, 1))
    got = served(net, 2)
    np.testing.assert_array_equal(got[0], data)
    np.testing.assert_array_equal(got[1], label)


def test_float32_arrays_are_not_copied_and_others_converted() -> None:
    net, (data, label) = make_net(), arrays(2)
    net.set_input_arrays(data, label.astype(int).tolist())
    data[...] = 7
    got = served(net, 1)
    assert (got[0] == 7).all()
    np.testing.assert_array_equal(got[1], label)


def test_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    solver_text = f"""base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 random_seed: 1
      snapshot_prefix: "s" net_param {{ {LAYER} {FC} }}"""
    whole, resumed = make_solver(solver_text), make_solver(solver_text)
    for solver in (whole, resumed):
        solver.net.set_input_arrays(*arrays(6))
    whole.step(4)
    path = whole.snapshot()
    whole.step(3)
    resumed.restore(path)
    resumed.step(3)
    for got, wanted in zip(resumed.net.learnable, whole.net.learnable, strict=True):
        np.testing.assert_array_equal(got.blob.data, wanted.blob.data)


def test_forward_before_there_is_data() -> None:
    with pytest.raises(NetError, match=r"^net\.prototxt:1: layer 'mem' .*set_input_arrays\(data"):
        make_net().forward()


@pytest.mark.parametrize(
    ("data", "label", "message"),
    [
        ((4, 3, 4, 6), (4,), r"data needs shape \(M, 3, 4, 5\), got \(4, 3, 4, 6\)"),
        ((4, 60), (4,), r"data needs shape \(M, 3, 4, 5\), got \(4, 60\)"),
        ((4, 3, 4, 5), (3,), r"labels of shape \(3,\) for data of shape \(4, 3, 4, 5\)"),
        ((4, 3, 4, 5), (4, 2), r"labels of shape \(4, 2\) for data"),
        ((3, 3, 4, 5), (3,), "3 samples are no multiple of the batch size, which is 2"),
        ((0, 3, 4, 5), (0,), "0 samples are no multiple of the batch size"),
    ],
)
def test_arrays_that_do_not_fit(
    data: tuple[int, ...], label: tuple[int, ...], message: str
) -> None:
    net = make_net()
    with pytest.raises(NetError, match=message):
        net.set_input_arrays(np.zeros(data), np.zeros(label))


def test_what_is_no_array() -> None:
    with pytest.raises(NetError, match=r"layer 'mem' \(MemoryData\): data is no array of numbers"):
        make_net().set_input_arrays("pictures", [0, 1])


def test_nets_without_the_layer_and_without_sizes() -> None:
    other = make_net('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }')
    with pytest.raises(NetError, match=r"^net\.prototxt: set_input_arrays is for nets with a Mem"):
        other.set_input_arrays(*arrays(2))
    with pytest.raises(NetError, match=r"batch_size, channels, height and width .* not 2, 3, 4, 0"):
        make_net(LAYER.replace("width: 5", ""))


def test_shapes_are_stated() -> None:
    layer_class = find("MemoryData")
    assert layer_class is not None
    memory = pb.MemoryDataParameter(batch_size=2, channels=3, height=4, width=5)
    stated = layer_class.stated_shapes(pb.LayerParameter(memory_data_param=memory))
    assert stated == [(2, 3, 4, 5), (2,)]
