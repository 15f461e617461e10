"""What the tests of the CUDA backend share: when they run, and a DRML small enough for them."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from layer_testing import DEVICE
from training_testing import make_solver

from drml.device import is_cuda
from drml.solver import SGDSolver

needs_cuda = pytest.mark.skipif(not is_cuda(DEVICE), reason="runs with --device cuda")
needs_emulator = pytest.mark.skipif(
    os.environ.get("DRML_EMULATE_CUDA") != "1", reason="needs the emulator (make test-emulated)"
)

NET = """name: "tiny DRML"
layer { name: "data" type: "HDF5Data" top: "data" top: "label"
  hdf5_data_param { source: "files.txt" batch_size: 5 } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 5
    weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "region2" type: "Region" bottom: "conv1" top: "region2"
  region_param { grid_h: 4 grid_w: 4
    weight_filler { type: "gaussian" std: 0.1 } bias_filler { value: 0.1 } } }
layer { name: "relu2" type: "ReLU" bottom: "region2" top: "region2" }
layer { name: "pool3" type: "Pooling" bottom: "region2" top: "pool3"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "norm3" type: "LRN" bottom: "pool3" top: "norm3" lrn_param { alpha: 0.01 } }
layer { name: "conv4" type: "Convolution" bottom: "norm3" top: "conv4"
  convolution_param { num_output: 8 kernel_size: 3 stride: 2
    weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "relu4" type: "ReLU" bottom: "conv4" top: "conv4" }
layer { name: "fc8" type: "InnerProduct" bottom: "conv4" top: "fc8"
  inner_product_param { num_output: 32 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "relu8" type: "ReLU" bottom: "fc8" top: "fc8" }
layer { name: "drop8" type: "Dropout" bottom: "fc8" top: "fc8" }
layer { name: "output" type: "InnerProduct" bottom: "fc8" top: "output"
  inner_product_param { num_output: 12 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "MultiSigmoidCrossEntropyLoss" bottom: "output" bottom: "label"
  top: "loss" }
"""

SOLVER = """net: "net.prototxt" base_lr: 0.02 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0005
max_iter: 20 random_seed: 3 snapshot_after_train: false
"""


def write_tiny_drml(folder: Path) -> None:
    """Writes net.prototxt and its data, 13 samples of 3 x 20 x 20, to a folder."""
    random = np.random.default_rng(11)
    with h5py.File(folder / "data.h5", "w") as file:
        file["data"] = random.normal(0, 1, (13, 3, 20, 20)).astype(np.float32)
        file["label"] = random.integers(-1, 2, (13, 12)).astype(np.float32)
    (folder / "files.txt").write_text("data.h5\n")
    (folder / "net.prototxt").write_text(NET)


def train_tiny_drml(device: str, iterations: int) -> tuple[SGDSolver, list[float]]:
    """Trains from the working folder's net.prototxt; the solver and the loss of each iteration."""
    solver = make_solver(SOLVER, device=device)
    losses = []
    for _ in range(iterations):
        solver.step(1)
        losses.append(solver.net.loss)
    return solver, losses
