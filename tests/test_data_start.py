"""First weights that are fitted to the faces: every unit has mean 0 and deviation 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from experiment_testing import write_experiment

from drml.experiment.config import read_config
from drml.experiment.data_start import start_by_data
from drml.experiment.experiment import Experiment
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net, read_net

# Four batches, and the same faces again: 128.
NET = """
layer { name: "data" type: "MemoryData" top: "data" top: "label"
  memory_data_param { batch_size: 32 channels: 3 height: 12 width: 12 } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 5 weight_filler { type: "msra" } } }
layer { name: "region2" type: "Region" bottom: "conv1" top: "region2"
  region_param { grid_h: 2 grid_w: 2 weight_filler { type: "msra" } } }
layer { name: "relu2" type: "ReLU" bottom: "region2" top: "region2" }
layer { name: "local3" type: "LocallyConnected" bottom: "region2" top: "local3"
  convolution_param { num_output: 5 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "relu3" type: "ReLU" bottom: "local3" top: "local3" }
layer { name: "fc4" type: "InnerProduct" bottom: "local3" top: "fc4"
  inner_product_param { num_output: 9 bias_term: false weight_filler { type: "msra" } } }
layer { name: "relu4" type: "ReLU" bottom: "fc4" top: "fc4" }
layer { name: "fc5" type: "InnerProduct" bottom: "fc4" top: "fc5"
  inner_product_param { num_output: 7 weight_filler { type: "msra" } } }
layer { name: "relu5" type: "ReLU" bottom: "fc5" top: "fc5" }
layer { name: "output" type: "InnerProduct" bottom: "fc5" top: "output"
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 0.01 } } }
"""


def filled_net() -> Net:
    net = Net(parse_net(NET), seed=3)
    rng = np.random.default_rng(0)
    faces = rng.normal(3, 2, (128, 3, 12, 12)).astype(np.float32)
    net.set_input_arrays(faces, np.zeros(128, np.float32))
    return net


def outputs(
    net: Net, name: str, batches: int = 4
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """What a layer gives for the faces of some batches."""
    return np.concatenate([net.forward(end=name)[name] for _ in range(batches)])


def test_units_have_mean_0_and_deviation_1() -> None:
    with filled_net() as net:
        logits = net.params["output"][0].data.copy()
        statistics = [blob.data.copy() for blob in net.params["region2"][2:]]
        start_by_data(net, "output")
        np.testing.assert_array_equal(net.params["output"][0].data, logits)
        for blob, value in zip(net.params["region2"][2:], statistics, strict=True):
            np.testing.assert_array_equal(blob.data, value)
        for name in ("conv1", "local3", "fc5"):
            values = outputs(net, name)
            axes = tuple(axis for axis in range(values.ndim) if axis != 1)
            np.testing.assert_allclose(values.mean(axis=axes), 0, atol=1e-4)
            np.testing.assert_allclose(values.std(axis=axes), 1, rtol=1e-3)
        # Without a bias only the deviation can be set.
        np.testing.assert_allclose(outputs(net, "fc4").std(axis=0), 1, rtol=1e-3)


def test_a_unit_that_says_nothing_stays_as_it_is() -> None:
    with filled_net() as net:
        weight = net.params["fc5"][0]
        changed = weight.data.copy()
        changed[2] = 0
        weight.data = changed
        start_by_data(net, "output")
        assert (weight.data[2] == 0).all()
        assert all(np.isfinite(blob.data).all() for blobs in net.params.values() for blob in blobs)


def test_a_training_starts_so(tmp_path: Path) -> None:
    path = write_experiment(tmp_path)
    text = path.read_text().replace("lr = 0.01", 'lr = 1e-9\nfillers = "data"')
    path.write_text(text.replace("iterations = 12", "iterations = 1"))
    results = Experiment(read_config(path), device="cpu", threads=1, say=lambda line: None).run()
    assert "deviation 1 over faces" in " ".join(results.protocol)
    run = results.runs[0]
    folder = (results.folder / run.net_file).parent
    net_file = read_net(folder / "net.prototxt")
    with Net(net_file, phase=pb.TRAIN, seed=7) as net:
        net.copy_from(results.folder / run.weights)
        np.testing.assert_allclose(outputs(net, "fc8", 16).std(axis=0), 1, rtol=0.2)
