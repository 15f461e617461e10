"""DRML in the 217 layers of its authors: counted at full size, trained at a small one."""

from __future__ import annotations

import re

import numpy as np
from cli_testing import ROOT
from layer_testing import relative_error
from legacy_testing import long_drml, long_region
from training_testing import quiet

from drml.net import Net
from drml.prototxt import parse_net, parse_solver
from drml.solver import SGDSolver
from drml.summary import summarize

SHORT = (ROOT / "prototxt" / "drml.prototxt").read_text()
DATA = """layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 2 dim: 3 dim: 170 dim: 170 } shape { dim: 2 dim: 12 }
  data_filler { type: "gaussian" std: 30 } data_filler { type: "constant" value: 1 } } }
"""


def write_long(text: str, channels: int = 32) -> str:
    return long_drml(text, long_region("conv1", "region2", channels, (8, 8), (20, 20)))


def test_the_form_is_that_of_the_authors() -> None:
    text = write_long(SHORT)
    assert text.count("\n") > 4000
    net = parse_net(text)
    assert len(net.layers) == 217
    assert len(next(source for source in net.layers if source.param.type == "Box").param.top) == 64


def test_parameters_at_full_size() -> None:
    """All 56,863,436 learned ones, and 2 * 32 + 1 statistics for each of 64 patches."""
    for fuse in (True, False):
        net = Net(parse_net(write_long(SHORT)), synthetic_data=True, fuse=fuse)
        figures = summarize(net)
        assert (figures.learned, figures.not_learned) == (56_863_436, 64 * 65)
        # One of the two data layers; as written, a Split for conv1.
        assert len(net.layers) == (216 - 195 + 1 if fuse else 216 + 1)
        assert sum(name.startswith("conv_2_") for name in net.params) == 64


def test_small_net_trains_to_the_same_weights() -> None:
    """Every layer with its geometry and fewer channels."""
    small = re.sub(r"num_output: (32|16)\b", "num_output: 4", SHORT)
    small = re.sub(r"num_output: (4096|2048)\b", "num_output: 8", small)
    small = DATA + small[small.index('layer {\n  name: "conv1"') :]
    text = write_long(small, channels=4)
    solvers = []
    for fuse in (True, False):
        solver = SGDSolver(
            parse_solver(
                f"net_param {{ {text} }} base_lr: 0.001 lr_policy: 'fixed' momentum: 0.9 "
                f"weight_decay: 0.0005 max_iter: 3 random_seed: 1"
            ),
            log=quiet(),
            fuse=fuse,
        )
        before = solver.net.params["conv_2_64"][0].read_data().copy()
        solver.step(3)
        solvers.append(solver)
        assert not np.array_equal(before, solver.net.params["conv_2_64"][0].read_data())
    fused, written = (solver.net for solver in solvers)
    assert list(fused.params) == list(written.params)
    for ours, theirs in zip(fused.learnable, written.learnable, strict=True):
        assert relative_error(ours.blob.read_data(), theirs.blob.read_data()) < 1e-5
    for ours, theirs in zip(solvers[0].history, solvers[1].history, strict=True):
        assert relative_error(ours.read_data(), theirs.read_data()) < 1e-4
    assert abs(fused.loss - written.loss) < 1e-5 * abs(written.loss)
