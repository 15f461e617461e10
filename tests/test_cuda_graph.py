"""CUDA graphs for inference: the outputs of separate launches, with one launch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_testing import DEPLOY, enter_small, only_error
from cuda_testing import needs_cuda
from layer_testing import DEVICE

from drml import _core
from drml.errors import NetError
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net
from drml.run import main


def deploy_net() -> Net:
    return Net(parse_net(DEPLOY, "deploy.prototxt"), device=DEVICE, seed=2)


def images(seed: int, batch: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (batch, 3, 10, 10)).astype(np.float32)


@needs_cuda
def test_a_graph_gives_the_outputs_of_separate_launches() -> None:
    with deploy_net() as plain, deploy_net() as graphed:
        graphed.use_cuda_graph()
        for seed in range(4):
            wanted = plain.forward(data=images(seed))["prob"]
            assert np.array_equal(graphed.forward(data=images(seed))["prob"], wanted)


@needs_cuda
def test_a_graph_is_one_launch() -> None:
    with deploy_net() as net:
        net.use_cuda_graph()
        net.forward(data=images(0))
        before = _core.cuda_counters()
        net.run_layers()
        after = _core.cuda_counters()
        assert after.launches - before.launches == 1
        assert after.allocations == before.allocations
        assert after.synchronizations == before.synchronizations


@needs_cuda
def test_new_shapes_and_new_weights_count() -> None:
    with deploy_net() as plain, deploy_net() as graphed:
        graphed.use_cuda_graph()
        for batch in (2, 3, 2, 1):
            for net in (plain, graphed):
                net.blobs["data"].reshape(batch, 3, 10, 10)
                net.params["conv1"][1].data[...] = batch
            wanted = plain.forward(data=images(batch, batch))["prob"]
            assert np.array_equal(graphed.forward(data=images(batch, batch))["prob"], wanted)


@needs_cuda
def test_a_part_of_the_net_runs_without_its_graph() -> None:
    with deploy_net() as net:
        net.use_cuda_graph()
        whole = net.forward(["conv1"], data=images(1))
        part = net.forward(end="conv1")
        assert np.array_equal(part["conv1"], whole["conv1"])


def test_only_inference_on_cuda_has_graphs() -> None:
    with (
        Net(parse_net(DEPLOY, "d.prototxt"), device="cpu") as net,
        pytest.raises(NetError, match=r"d.prototxt: a CUDA graph needs a CUDA device"),
    ):
        net.use_cuda_graph()
    with (
        Net(parse_net(DEPLOY, "d.prototxt"), phase=pb.TRAIN, device=DEVICE) as net,
        pytest.raises(NetError, match=r"CUDA graph (is for inference|needs a CUDA device)"),
    ):
        net.use_cuda_graph()


@needs_cuda
def test_commands_take_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    enter_small(tmp_path, monkeypatch)
    for words in (
        ["deploy.prototxt", "--cuda-graph", "--iterations", "2"],
        ["time", "--model", "deploy.prototxt", "--cuda-graph", "--iterations", "4"],
    ):
        assert main(words) == 0
        assert "cuda:0" in capsys.readouterr().out
    assert main(["deploy.prototxt", "--cuda-graph", "--device", "cpu"]) == 2
    assert "needs a CUDA device" in only_error(capsys.readouterr().err)
