"""The CPU benchmark: peers compute what we do before they are timed, and the report says so."""

from __future__ import annotations

from pathlib import Path

import bench_report
import numpy as np
import pytest
from layer_testing import relative_error
from time_contenders import difference, disagreement

from drml.net import Net
from drml.proto import caffe_pb2 as pb

pytestmark = pytest.mark.cpu_only

NET = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 2 group: 1 weight_filler { type: "xavier" } } }
layer { name: "region2" type: "Region" bottom: "conv1" top: "region2"
  region_param { grid_h: 2 grid_w: 4 weight_filler { type: "xavier" } bias_filler { value: 0.5 } } }
layer { name: "relu2" type: "ReLU" bottom: "region2" top: "region2" }
layer { name: "pool3" type: "Pooling" bottom: "region2" top: "pool3"
  pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "norm3" type: "LRN" bottom: "pool3" top: "norm3"
  lrn_param { alpha: 0.1 beta: %s } }
layer { name: "local4" type: "LocallyConnected" bottom: "norm3" top: "local4"
  convolution_param { num_output: 3 kernel_size: 2 weight_filler { type: "xavier" } } }
layer { name: "output" type: "InnerProduct" bottom: "local4" top: "output"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""


@pytest.mark.parametrize("region", ["grouped", "loop"])
@pytest.mark.parametrize("phase", [pb.TEST, pb.TRAIN])
@pytest.mark.parametrize("beta", [0.75, 0.5])
def test_torch_form(tmp_path: Path, region: str, phase: int, beta: float) -> None:
    """The net as TorchNet builds it gives our outputs and gradients, layer by layer."""
    torch = pytest.importorskip("torch", reason="PyTorch is of the benchmark's environment alone")
    from peers_torch import TorchNet

    path = tmp_path / "net.prototxt"
    path.write_text("force_backward: true" + NET % beta)
    random = np.random.default_rng(1)
    with Net(path, phase=phase, seed=1, device="cpu") as net:
        _, _, mean, variance, factor = net.params["region2"]
        mean.data = random.standard_normal(mean.shape)
        variance.data = random.uniform(0.5, 2, variance.shape)
        factor.data = [2]
        theirs = TorchNet(net, region)
        theirs.train(phase == pb.TRAIN)
        images = random.standard_normal(net.blobs["data"].shape).astype(np.float32)
        ours = net.forward(data=images)["output"]
        gradient = random.standard_normal(ours.shape).astype(np.float32)
        net.backward(output=gradient)
        x = torch.tensor(images, requires_grad=True)
        y = theirs(x)
        y.backward(torch.tensor(gradient))
        assert relative_error(y.detach().numpy(), ours) < 1e-5
        assert relative_error(x.grad.numpy(), net.blobs["data"].diff) < 1e-4
        for layer in ("conv1", "region2", "local4", "output"):
            for blob, parameter in zip(
                net.params[layer][:2], theirs.layers[layer].parameters(), strict=True
            ):
                got = parameter.grad.numpy().reshape(blob.shape)
                assert relative_error(got, blob.diff) < 1e-4, blob.name


def test_masked_loss() -> None:
    """The loss of the contenders in training is that of our layer: 0 counts for nothing."""
    torch = pytest.importorskip("torch", reason="PyTorch is of the benchmark's environment alone")
    from peers_torch import masked_loss

    logits, labels = torch.tensor([[1.0, 2.0], [3.0, -4.0]]), torch.tensor([[1, 0], [-1, -1]])
    wanted = (np.log1p(np.exp(-1)) + np.log1p(np.exp(3)) + np.log1p(np.exp(-4))) / 2
    assert float(masked_loss(logits, labels)) == pytest.approx(wanted, rel=1e-6)


def test_disagreement_names_the_worst() -> None:
    """Logits may differ by 1e-4 of the norm, gradients by 1e-2; no number is a difference."""
    ours = {"output": np.full((2, 3), 2.0, np.float32), "fc/0": np.ones((2, 2), np.float32)}
    near = {"output": ours["output"] + 1e-4, "fc/0": ours["fc/0"] + 9e-3}
    assert disagreement(difference(ours, near)) == ""
    far = {"output": ours["output"] + 3e-4, "fc/0": ours["fc/0"] + 1.2e-2}
    assert disagreement(difference(ours, far)).startswith("output: 1.5e-04")
    nan = {**near, "fc/0": np.full((2, 2), np.nan, np.float32)}
    assert disagreement(difference(ours, nan)).startswith("fc/0: nan")
    with pytest.raises(ValueError, match="fc/0"):
        difference(ours, {"output": ours["output"]})


def test_report(tmp_path: Path) -> None:
    """Ratios are to least times; a contender that disagrees has no time; the chart is drawn."""
    row = {
        "net": "drml",
        "mode": "forward",
        "batch": 2,
        "threads": 1,
        "contenders": {
            "drml": {"ms": [4.0, 6.0], "peak_mb": 100.0},
            "torch": {"ms": [8.0, 9.0], "difference": 1e-6, "peak_mb": 200.0},
            "onnxruntime": {"ms": [5.0, 9.0], "difference": 1e-6},
            "opencv": {"disagrees": "output: 1.0e+00", "difference": 1.0},
        },
        "multiply_adds": 1_000_000,
        "bytes": 2_000_000,
        "limits": {"multiply_adds": 1e9, "read": 1e9, "copy": 1e9},
    }
    assert bench_report.best_peer(row) == "onnxruntime"
    lines = [" ".join(line.split()) for line in bench_report.times_table([row]).splitlines()]
    assert lines[1] == "drml forward drml 2 1 2.00 2.50 50% 100 25% 50%"
    assert lines[2] == "drml forward torch 2 1 4.00 4.25 12% 0.50 200 12% 25%"
    assert lines[3] == "drml forward onnxruntime 2 1 2.50 3.50 80% 0.80 best 20% 40%"
    assert lines[4] == "drml forward opencv 2 1 differs output: 1.0e+00"
    bench_report.draw_chart([row], tmp_path / "chart.png", "a machine")
    assert (tmp_path / "chart.png").stat().st_size > 1000
