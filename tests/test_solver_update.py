"""The solvers' updates against Caffe's formulas in float64 and Caffe's own trajectories.

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
from layer_testing import check_repeats, random_array, relative_error, tensor
from training_testing import make_solver, quiet

from drml import AdamSolver, _core
from drml._core import Tensor
from drml.errors import SolverError
from drml.prototxt import parse_solver
from drml.runlog import RunLog
from drml.solver import SGDSolver

Floats = npt.NDArray[np.floating]
Shape = tuple[int, ...]

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
    type: str = "SGD"
    delta: float = 1e-8
    momentum2: float = 0.999
    rms_decay: float = 0.99

    def prototxt(self) -> str:
        """The solver file, its net inside."""
        return f"""
            type: "{self.type}" delta: {self.delta} momentum2: {self.momentum2}
            rms_decay: {self.rms_decay}
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


def change(options: Options, h: list[Floats], g: Floats, rate: float, t: int) -> Floats:
    """What Caffe's solver takes off a parameter at iteration t = 1, 2...; `h` is its history."""
    momentum = options.momentum
    if options.type == "SGD":
        h[0] = momentum * h[0] + rate * g
        return h[0]
    if options.type == "Nesterov":
        old, h[0] = h[0], momentum * h[0] + rate * g
        return (1 + momentum) * h[0] - momentum * old
    if options.type == "AdaGrad":
        h[0] = h[0] + g**2
        return rate * g / (np.sqrt(h[0]) + options.delta)
    if options.type == "RMSProp":
        h[0] = options.rms_decay * h[0] + (1 - options.rms_decay) * g**2
        return rate * g / (np.sqrt(h[0]) + options.delta)
    if options.type == "AdaDelta":
        h[0] = momentum * h[0] + (1 - momentum) * g**2
        step = g * np.sqrt((h[1] + options.delta) / (h[0] + options.delta))
        h[1] = momentum * h[1] + (1 - momentum) * step**2
        return rate * step
    assert options.type == "Adam"
    h[0] = momentum * h[0] + (1 - momentum) * g
    h[1] = options.momentum2 * h[1] + (1 - options.momentum2) * g**2
    correction = np.sqrt(1 - options.momentum2**t) / (1 - momentum**t)
    return rate * correction * h[0] / (np.sqrt(h[1]) + options.delta)


def regularized(options: Options, g: Floats, w: Floats, decay: float) -> Floats:
    """The gradient with that of weight decay."""
    return g + decay * (w if options.regularization_type == "L2" else np.sign(w))


def reference(
    options: Options, weight: Floats, bias: Floats, xs: Floats, ys: Floats
) -> tuple[list[float], Floats, Floats]:
    """Caffe's solver: losses of all steps, last weights, last bias. Step i sees batch i."""
    params = [weight.copy(), bias.copy()]
    history = [[np.zeros_like(p), np.zeros_like(p)] for p in params]
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
            decay = options.weight_decay * options.decay_mult[i]
            g = regularized(options, gradient / options.iter_size, params[i], decay)
            params[i] = params[i] - change(
                options, history[i], g, rate * options.lr_mult[i], step + 1
            )
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

# What each solver reads, away from the defaults.
TYPES = {
    "SGD": Options(momentum=0.9),
    "Nesterov": Options(type="Nesterov", momentum=0.9),
    "AdaGrad": Options(type="AdaGrad", delta=0.01),
    "RMSProp": Options(type="RMSProp", rms_decay=0.8, delta=0.02, base_lr=0.1),
    "AdaDelta": Options(type="AdaDelta", momentum=0.9, delta=1e-3, base_lr=2.0),
    "Adam": Options(type="Adam", momentum=0.8, momentum2=0.95, delta=1e-3, base_lr=0.1),
}
AROUND = {
    "": {},
    "decay": {"weight_decay": 0.1, "decay_mult": (0.5, 3.0)},
    "L1": {"weight_decay": 0.1, "regularization_type": "L1"},
    "clip_iter_size_rate": {"iter_size": 3, "clip_gradients": 0.5, "gamma": 0.8},
    "frozen_bias": {"lr_mult": (1.0, 0.0), "weight_decay": 0.1},
}
CASES |= {
    f"{name} {around}": dataclasses.replace(options, **changes)  # type: ignore[arg-type]
    for name, options in TYPES.items()
    for around, changes in AROUND.items()
}
CASES |= {
    "Nesterov without momentum": Options(type="Nesterov"),
    "Adam without momentum": Options(type="Adam", momentum2=0.9, base_lr=0.1),
    "Adam by default": Options(type="Adam", momentum=0.9, base_lr=0.01),
    "RMSProp without memory": Options(type="RMSProp", rms_decay=0, delta=0.1, base_lr=0.1),
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
    assert (solver.iter, solver.type) == (STEPS, options.type)
    assert relative_error(losses, wanted[0]) < 1e-6
    assert relative_error(solver.net.params["fc"][0].data, wanted[1]) < 1e-6
    assert relative_error(solver.net.params["fc"][1].data, wanted[2]) < 1e-6


def run_update(options: Options, tensors: list[Tensor], rate: float, t: int, decay: float) -> None:
    """Calls the op of a solver's update; the tensors are weight, gradient and both histories."""
    weight, gradient, first, second = tensors
    own: list[float]
    if options.type in ("SGD", "Nesterov"):
        own = [rate, options.momentum]
    elif options.type == "AdaGrad":
        own = [rate, options.delta]
    elif options.type == "RMSProp":
        own = [rate, options.rms_decay, options.delta]
    elif options.type == "AdaDelta":
        own = [rate, options.momentum, options.delta]
    else:
        rate *= math.sqrt(1 - options.momentum2**t) / (1 - options.momentum**t)
        own = [rate, options.momentum, options.momentum2, options.delta]
    history = [first, second] if options.type in ("AdaDelta", "Adam") else [first]
    op = getattr(_core, options.type.lower() + "_update")
    op(weight, gradient, *history, *own, decay, options.regularization_type == "L1")


@pytest.mark.parametrize("regularization", ["L1", "L2"])
@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (4, 3, 5, 5), (300, 301)])
@pytest.mark.parametrize("name", TYPES)
def test_ops_follow_caffes_formulas(name: str, shape: Shape, regularization: str) -> None:
    options = dataclasses.replace(TYPES[name], regularization_type=regularization)
    decay, w, h = 0.05, random_array(shape, 1), [np.zeros(shape), np.zeros(shape)]
    if w.size:
        w.flat[0] = 0
    tensors = [tensor(w, channels_last=False) for _ in range(4)]
    for array in tensors[2:]:
        array.set(np.zeros(shape))
    for t in (1, 2, 3):
        g = random_array(shape, 10 + t)
        tensors[1].set(g)
        run_update(options, tensors, options.base_lr, t, decay)
        w = w - change(options, h, regularized(options, g, w, decay), options.base_lr, t)
        assert np.array_equal(tensors[1].get(), g.astype(np.float32))
    assert relative_error(tensors[0].get(), w) < 1e-6
    assert relative_error(tensors[2].get(), h[0]) < 1e-6
    assert relative_error(tensors[3].get(), h[1]) < 1e-6


@pytest.mark.parametrize("name", TYPES)
def test_ops_repeat_bit_for_bit(name: str) -> None:
    arrays = [np.abs(random_array((3, 17, 31, 29), seed)) for seed in range(4)]

    def run() -> list[npt.NDArray[np.floating]]:
        tensors = [tensor(array, channels_last=False) for array in arrays]
        run_update(TYPES[name], tensors, 0.1, 2, 0.05)
        return [array.get() for array in tensors]

    check_repeats(run)


@pytest.mark.parametrize("name", TYPES)
def test_ops_refuse_what_does_not_fit(name: str) -> None:
    def empties(shape: Shape) -> list[Tensor]:
        return [tensor(np.zeros(shape), channels_last=False) for _ in range(4)]

    message = rf"{name.lower()}_update: tensors of shapes \(2, 3\) and \(3, 2\)"
    for index in (1, 2, *([3] if name in ("AdaDelta", "Adam") else [])):
        tensors = empties((2, 3))
        tensors[index] = empties((3, 2))[0]
        with pytest.raises(ValueError, match=message):
            run_update(TYPES[name], tensors, 0.1, 1, 0.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('type: "AdaGrad"\nmomentum: 0.5', ":2: momentum: AdaGrad has none; it must be 0, not 0.5"),
        ('type: "RMSProp"\nmomentum: 0.5', ":2: momentum: RMSProp has none"),
        ('type: "RMSProp"\nrms_decay: 1', ":2: rms_decay: must be 0 or more and less than 1, not"),
        ('type: "RMSProp"\nrms_decay: -0.1', ":2: rms_decay: must be 0 or more and less than 1"),
        ('type: "AdaDelta"\nmomentum: 1.5', ":2: momentum: must be 0 to 1 for AdaDelta, not 1.5"),
        ('type: "Adam"\nmomentum: -1', ":2: momentum: must be 0 or more .* for Adam, not -1"),
        ('type: "Adam"\nmomentum2: 1', ":2: momentum2: must be 0 or more .* for Adam, not 1"),
        ('type: "Adam"\ndelta: -1', ":2: delta: must be 0 or more, not -1"),
        ('type: "Adam"\ndelta: nan', ":2: delta: must be a finite number, not nan"),
        ('type: "Adma"', ":1: unknown solver type 'Adma'; did you mean 'Adam'"),
    ],
)
def test_settings_that_do_not_fit_the_solver(text: str, message: str) -> None:
    net = Options().prototxt().partition("net_param")[2]
    file = f'{text}\nbase_lr: 1 lr_policy: "fixed" snapshot_after_train: false net_param {net}'
    with pytest.raises(SolverError, match=message):
        make_solver(file)


def test_second_histories_follow_all_first_ones() -> None:
    solver = make_solver(TYPES["Adam"].prototxt())
    solver.net.blobs["x"].data[...] = 1
    solver.net.blobs["y"].data[...] = -1
    solver.step(1)
    for index, blob in enumerate(solver.net.params["fc"]):
        assert [h.shape for h in solver.history[index::2]] == [blob.shape] * 2
        assert relative_error(solver.history[index].data, 0.2 * blob.diff) < 1e-6
        assert relative_error(solver.history[2 + index].data, 0.05 * blob.diff**2) < 1e-6


def test_class_chosen_by_hand_trains_a_file_that_names_none() -> None:
    text = Options().prototxt().replace('type: "SGD"', "", 1)
    file = parse_solver(text, "solver.prototxt")
    assert AdamSolver(file, log=quiet()).type == "Adam"
    named = parse_solver(Options(type="AdaDelta").prototxt(), "solver.prototxt")
    with pytest.raises(SolverError, match="asks for AdaDelta, and AdamSolver was asked"):
        AdamSolver(named, log=quiet())


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
