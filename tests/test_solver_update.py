"""The solver's update against Caffe's formulas in float64 and Caffe's own trajectories.

The reference trains logistic regression with the masked multi-label loss of the paper:
one InnerProduct layer, one MultiSigmoidCrossEntropyLoss.
"""

from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from layer_testing import relative_error
from training_testing import make_solver, quiet

from drml.runlog import RunLog
from drml.solver import SGDSolver

Floats = npt.NDArray[np.float64]

BATCH, FEATURES, UNITS, STEPS = 6, 7, 3, 6


@dataclasses.dataclass
class Options:
    """The settings of one case, in the words of SolverParameter."""

    base_lr: float = 0.5
    momentum: float = 0.0
    weight_decay: float = 0.0
    regularization_type: str = "L2"
    iter_size: int = 1
    clip_gradients: float = -1.0
    gamma: float = 1.0
    lr_mult: tuple[float, float] = (1.0, 2.0)
    decay_mult: tuple[float, float] = (1.0, 0.0)

    def prototxt(self) -> str:
        """The solver file, its net inside."""
        return f"""
            base_lr: {self.base_lr} momentum: {self.momentum} weight_decay: {self.weight_decay}
            regularization_type: "{self.regularization_type}" iter_size: {self.iter_size}
            clip_gradients: {self.clip_gradients} lr_policy: "exp" gamma: {self.gamma}
            max_iter: 100 random_seed: 3 snapshot_after_train: false
            net_param {{ name: "logistic"
              layer {{ name: "in" type: "Input" top: "x" top: "y" input_param {{
                shape {{ dim: {BATCH} dim: {FEATURES} }} shape {{ dim: {BATCH} dim: {UNITS} }} }} }}
              layer {{ name: "fc" type: "InnerProduct" bottom: "x" top: "fc"
                param {{ lr_mult: {self.lr_mult[0]} decay_mult: {self.decay_mult[0]} }}
                param {{ lr_mult: {self.lr_mult[1]} decay_mult: {self.decay_mult[1]} }}
                inner_product_param {{ num_output: {UNITS} }} }}
              layer {{ name: "loss" type: "MultiSigmoidCrossEntropyLoss" bottom: "fc" bottom: "y"
                top: "loss" }} }}"""


def reference(
    options: Options, weight: Floats, bias: Floats, xs: Floats, ys: Floats
) -> tuple[list[float], Floats, Floats]:
    """Caffe's SGD: losses of all steps, last weights, last bias. Step i sees batch i."""
    params = [weight.copy(), bias.copy()]
    velocity = [np.zeros_like(p) for p in params]
    losses = []
    for step, (x, y) in enumerate(zip(xs, ys, strict=True)):
        score = 1 / (1 + np.exp(-(x @ params[0].T + params[1])))
        known, present = y != 0, y > 0
        losses.append(-np.log(np.where(present, score, 1 - score))[known].sum() / len(x))
        ds = np.where(known, score - present, 0) / len(x)
        gradients = [options.iter_size * ds.T @ x, options.iter_size * ds.sum(axis=0)]
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        if 0 <= options.clip_gradients < norm:
            gradients = [g * options.clip_gradients / norm for g in gradients]
        rate = options.base_lr * options.gamma**step
        for i, gradient in enumerate(gradients):
            gradient = gradient / options.iter_size
            penalty = params[i] if options.regularization_type == "L2" else np.sign(params[i])
            gradient = gradient + options.weight_decay * options.decay_mult[i] * penalty
            velocity[i] = options.momentum * velocity[i] + rate * options.lr_mult[i] * gradient
            params[i] = params[i] - velocity[i]
    return losses, params[0], params[1]


CASES = {
    "plain": Options(),
    "momentum": Options(momentum=0.9),
    "L2": Options(weight_decay=0.1),
    "L1": Options(weight_decay=0.1, regularization_type="L1"),
    "decay_of_the_bias": Options(weight_decay=0.1, decay_mult=(0.5, 3.0)),
    "iter_size": Options(iter_size=3),
    "clip": Options(clip_gradients=0.3),
    "clip_that_does_nothing": Options(clip_gradients=1e6),
    "clip_before_iter_size": Options(iter_size=3, clip_gradients=0.9),
    "clip_to_nothing": Options(clip_gradients=0.0, weight_decay=0.1),
    "frozen_bias": Options(lr_mult=(1.0, 0.0), momentum=0.9),
    "all": Options(
        momentum=0.8, weight_decay=0.05, iter_size=2, clip_gradients=0.5, gamma=0.7, base_lr=0.9
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_update_follows_caffes_formulas(case: str) -> None:
    options = CASES[case]
    random = np.random.default_rng(5)
    weight, bias = random.normal(size=(UNITS, FEATURES)), random.normal(size=UNITS)
    xs = random.normal(size=(STEPS, BATCH, FEATURES))
    ys = random.choice([-1.0, 0.0, 1.0], size=(STEPS, BATCH, UNITS))
    solver = make_solver(options.prototxt())
    solver.net.params["fc"][0].data = weight
    solver.net.params["fc"][1].data = bias
    losses = []
    for x, y in zip(xs, ys, strict=True):
        solver.net.blobs["x"].data, solver.net.blobs["y"].data = x, y
        solver.step(1)
        losses.append(solver.net.loss)
    wanted = reference(options, weight, bias, xs, ys)
    assert solver.iter == STEPS
    assert relative_error(losses, wanted[0]) < 1e-6
    assert relative_error(solver.net.params["fc"][0].data, wanted[1]) < 1e-6
    assert relative_error(solver.net.params["fc"][1].data, wanted[2]) < 1e-6


@pytest.mark.parametrize("name", ["fixed", "step", "exp", "multistep", "clip", "itersize"])
def test_follows_the_trajectory_of_stock_caffe(golden_dir: Path, name: str) -> None:
    folder = golden_dir / "net"
    solver = SGDSolver(folder / f"solver_{name}.prototxt", log=quiet())
    solver.net.copy_from(folder / "init.caffemodel")
    compare_with_caffe(solver, folder, name, first=0)


def test_resumes_from_stock_caffes_own_state(golden_dir: Path) -> None:
    folder = golden_dir / "net"
    console = io.StringIO()
    solver = SGDSolver(folder / "solver_step.prototxt", log=RunLog(console=console))
    solver.restore(folder / "snap_iter_4.solverstate")
    assert solver.iter == 4
    assert console.getvalue().count("start afresh") == 1
    compare_with_caffe(solver, folder, "step", first=4)


def compare_with_caffe(solver: SGDSolver, folder: Path, name: str, first: int) -> None:
    batches = np.load(folder / "forward_backward.npz")
    wanted = np.load(folder / f"trajectory_{name}.npz")
    losses = []
    for step in range(first, len(wanted["loss"])):
        solver.net.blobs["data"].data = batches["xs"][step]
        solver.net.blobs["label"].data = batches["ys"][step]
        solver.step(1)
        losses.append(solver.net.loss)
    assert relative_error(losses, wanted["loss"][first:]) < 1e-3
    finals = [key for key in wanted if key.startswith("final:")]
    assert len(finals) == sum(len(blobs) for blobs in solver.net.params.values())
    for key in finals:
        layer, index = key.removeprefix("final:").split("/")
        assert relative_error(solver.net.params[layer][int(index)].data, wanted[key]) < 1e-3, key
