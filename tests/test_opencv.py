"""OpenCV's importer of Caffe nets reads what we write, and computes the same."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_testing import ROOT
from google.protobuf import text_format
from layer_testing import relative_error

from drml.net import Net
from drml.proto import caffe_pb2 as pb

pytestmark = [
    pytest.mark.cpu_only,
    pytest.mark.skipif(
        not hasattr(cv2.dnn, "readNetFromCaffe"), reason="this OpenCV has no importer of Caffe nets"
    ),
]


@pytest.mark.parametrize("name", ["convnet", "alexnet"])
def test_deploy_nets(tmp_path: Path, name: str) -> None:
    """Logits, of the layer before the last, for two random images."""
    text = (ROOT / "prototxt" / f"{name}_deploy.prototxt").read_text()
    message = text_format.Parse(text, pb.NetParameter())
    message.layer[0].input_param.shape[0].dim[0] = 2
    path = tmp_path / "deploy.prototxt"
    path.write_text(text_format.MessageToString(message))
    net = Net(path, seed=1)
    # Weights of which every layer's output depends on its input.
    for layer, blobs in net.params.items():
        weight, bias = (blob.data for blob in blobs)
        random = np.random.default_rng(len(layer) + weight.size)
        weight[...] = random.standard_normal(weight.shape, np.float32)
        weight *= np.sqrt(2 / weight[0].size)
        bias[...] = random.standard_normal(bias.shape, np.float32)
    net.save(tmp_path / "w.caffemodel")
    images = np.random.default_rng(2).normal(0, 50, net.blobs["data"].shape).astype(np.float32)
    logits = net.layers[-1].bottom_names[0]
    ours = net.forward(blobs=[logits], data=images)[logits]
    theirs = cv2.dnn.readNetFromCaffe(str(path), str(tmp_path / "w.caffemodel"))
    theirs.setInput(images)
    assert relative_error(theirs.forward(net.layers[-1].bottom_names[0]), ours) < 1e-4
    assert np.std(ours, axis=0).min() > 0
