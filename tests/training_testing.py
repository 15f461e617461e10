"""What the tests of training share: a net small enough to train in a blink, and its data.

It draws on everything that a resume has to bring back: shuffled and augmented images, dropout,
running statistics, momentum, a test net with data of its own.
"""

from __future__ import annotations

from pathlib import Path

from data_testing import write_list

from drml.prototxt import parse_solver
from drml.runlog import RunLog
from drml.solver import SGDSolver
from drml.solvers import get_solver

IMAGES, BATCH, AUS = 11, 4, 3

NET = """name: "tiny"
layer { name: "data" type: "MultilabelImageData" top: "data" top: "label"
  include { phase: TRAIN }
  transform_param { mirror: true crop_size: 8 scale: 0.01 }
  image_data_param { source: "train.txt" batch_size: 4 shuffle: true } }
layer { name: "data" type: "MultilabelImageData" top: "data" top: "label"
  include { phase: TEST }
  transform_param { crop_size: 8 scale: 0.01 }
  image_data_param { source: "test.txt" batch_size: 4 } }
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }
layer { name: "fc1" type: "InnerProduct" bottom: "bn" top: "fc1"
  inner_product_param { num_output: 16 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "relu1" type: "ReLU" bottom: "fc1" top: "fc1" }
layer { name: "drop1" type: "Dropout" bottom: "fc1" top: "fc1" }
layer { name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2"
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "MultiSigmoidCrossEntropyLoss" bottom: "fc2" bottom: "label"
  top: "loss" }
"""

SOLVER = """net: "net.prototxt"
base_lr: 0.05 lr_policy: "multistep" gamma: 0.5 stepvalue: 3 stepvalue: 9
momentum: 0.9 weight_decay: 0.001 random_seed: 5
max_iter: 12 display: 1 average_loss: 5 snapshot: 4 snapshot_prefix: "snap"
test_iter: 2 test_interval: 5
"""


def write_training(folder: Path) -> Path:
    """Writes net.prototxt, solver.prototxt, train.txt and test.txt; returns the solver."""
    folder.mkdir(exist_ok=True)
    write_list(folder, IMAGES, name="train.txt", labels=AUS)
    write_list(folder, IMAGES, name="test.txt", labels=AUS)
    (folder / "net.prototxt").write_text(NET)
    solver = folder / "solver.prototxt"
    solver.write_text(SOLVER)
    return solver


def quiet() -> RunLog:
    """A log that shows nothing."""
    return RunLog(quiet=True)


def make_solver(text: str, log: RunLog | None = None, **options: object) -> SGDSolver:
    """The solver of a text, which errors call solver.prototxt."""
    return get_solver(parse_solver(text, "solver.prototxt"), log=log or quiet(), **options)
