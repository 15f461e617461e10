"""The solver against Caffe's formulas in float64 and Caffe's own trajectories; its options.

The reference trains logistic regression with the masked multi-label loss of the paper:
one InnerProduct layer, one MultiSigmoidCrossEntropyLoss.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from layer_testing import relative_error

from drml.errors import DrmlError, PrototxtError, SolverError
from drml.proto import caffe_pb2 as pb
from drml.prototxt import NetFile, parse_solver
from drml.runlog import RunLog
from drml.signals import Action
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


def quiet() -> RunLog:
    return RunLog(quiet=True)


def make(text: str, log: RunLog | None = None, **options: object) -> SGDSolver:
    file = parse_solver(text, "solver.prototxt")
    return SGDSolver(file, log=log or quiet(), **options)  # type: ignore[arg-type]


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
    solver = make(options.prototxt())
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


# A net that feeds itself: fixed data, a loss, and blobs whose presence tells the net's state.
NET = """name: "tiny"
layer { name: "data" type: "DummyData" top: "x" top: "y" dummy_data_param {
  shape { dim: 4 dim: 5 } shape { dim: 4 dim: 2 }
  data_filler { type: "constant" value: 0.5 } data_filler { type: "constant" value: 1 } } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc"
  inner_product_param { num_output: 2 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "MultiSigmoidCrossEntropyLoss" bottom: "fc" bottom: "y" top: "loss" }
layer { name: "deep" type: "Sigmoid" bottom: "fc" top: "deep"
  include { min_level: 1 } }
layer { name: "staged" type: "Sigmoid" bottom: "fc" top: "staged" include { stage: "extra" } }
layer { name: "tested" type: "Sigmoid" bottom: "fc" top: "tested" include { phase: TEST } }
"""
BASE = 'base_lr: 0.1 lr_policy: "fixed" max_iter: 4 random_seed: 1 snapshot_after_train: false\n'


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with net.prototxt and other.prototxt, which is the working directory."""
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "other.prototxt").write_text(NET.replace('"tiny"', '"other"'))
    monkeypatch.chdir(tmp_path)
    return tmp_path


INLINE = NET.replace('"tiny"', '"inline"')


@pytest.mark.parametrize(
    ("text", "train", "tests"),
    [
        ('net: "net.prototxt"', "tiny", []),
        ('train_net: "net.prototxt"', "tiny", []),
        (f"net_param {{ {INLINE} }}", "inline", []),
        (f"train_net_param {{ {INLINE} }}", "inline", []),
        ('net: "net.prototxt" test_iter: 1 test_iter: 2', "tiny", ["tiny", "tiny"]),
        (
            'train_net: "net.prototxt" test_net: "other.prototxt" test_iter: 1',
            "tiny",
            ["other"],
        ),
        (
            'net: "net.prototxt" test_net: "other.prototxt" test_iter: 1 test_iter: 1 test_iter: 1 '
            f"test_net_param {{ {INLINE} }}",
            "tiny",
            ["inline", "other", "tiny"],
        ),
        (f"net_param {{ {INLINE} }} test_iter: 1", "inline", ["inline"]),
    ],
)
def test_every_way_to_name_nets(tiny: Path, text: str, train: str, tests: list[str]) -> None:
    solver = make(BASE + "test_interval: 10 " + text)
    assert solver.net.name == train
    assert [net.name for net in solver.test_nets] == tests
    assert "tested" not in solver.net.blobs
    assert all("tested" in net.blobs for net in solver.test_nets)


def test_states_choose_layers(tiny: Path) -> None:
    solver = make(
        BASE
        + 'net: "net.prototxt" test_interval: 9 test_iter: 1 test_iter: 1 '
        + 'train_state { level: 1 } test_state { stage: "extra" } test_state { level: 2 }'
    )
    nets = [solver.net, *solver.test_nets]
    assert ["deep" in net.blobs for net in nets] == [True, False, True]
    assert ["staged" in net.blobs for net in nets] == [False, True, False]


def test_state_of_the_net_itself_comes_before_the_solvers(tiny: Path) -> None:
    (tiny / "net.prototxt").write_text(NET + 'state { level: 1 stage: "extra" }')
    solver = make(BASE + 'net: "net.prototxt" train_state { level: 0 }')
    assert "deep" not in solver.net.blobs
    assert "staged" in solver.net.blobs


def test_net_is_found_beside_the_solver(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tiny / "elsewhere").mkdir()
    (tiny / "solver.prototxt").write_text(BASE + 'net: "net.prototxt"')
    monkeypatch.chdir(tiny / "elsewhere")
    assert SGDSolver("../solver.prototxt", log=quiet()).net.name == "tiny"


def test_test_nets_share_the_trained_parameters(tiny: Path) -> None:
    console = io.StringIO()
    solver = make(
        BASE + 'net: "net.prototxt" test_iter: 1 test_interval: 2 test_compute_loss: true',
        RunLog(console=console),
    )
    trained, tested = solver.net.params["fc"][0], solver.test_nets[0].params["fc"][0]
    trained.data[...] = 0.25
    assert (tested.data == 0.25).all()
    solver.step(3)
    assert (tested.data == trained.data).all()
    shown = console.getvalue()
    assert shown.count("Testing net (#0)") == 2
    assert shown.count("Test loss: ") == 2
    assert "Test net output #0: loss = " in shown


def test_test_net_of_another_shape_is_refused(tiny: Path) -> None:
    (tiny / "other.prototxt").write_text(NET.replace("dim: 5", "dim: 9"))
    text = 'train_net: "net.prototxt" test_net: "other.prototxt" test_iter: 1 test_interval: 1'
    with pytest.raises(SolverError, match=r"other\.prototxt:5: layer 'fc' has parameters .*9.*5"):
        make(BASE + text)


@pytest.mark.parametrize("test_initialization", [True, False])
def test_tests_fall_due_as_in_caffe(tiny: Path, test_initialization: bool) -> None:
    console = io.StringIO()
    flag = str(test_initialization).lower()
    solver = make(
        BASE + f'net: "net.prototxt" test_iter: 1 test_interval: 2 test_initialization: {flag}',
        RunLog(console=console),
    )
    solver.solve()
    lines = [line.split("] ")[1] for line in console.getvalue().splitlines() if "Testing" in line]
    wanted = [f"Iteration {i}, Testing net (#0)" for i in (0, 2, 4)]
    assert lines == wanted[0 if test_initialization else 1 :]


def test_log_lines_of_a_run(tiny: Path) -> None:
    console = io.StringIO()
    make(BASE + 'net: "net.prototxt" display: 2', RunLog(console=console)).solve()
    lines = [line.split("] ", 1)[1] for line in console.getvalue().splitlines()]
    assert lines[1:3] == ["Solving tiny", "Learning Rate Policy: fixed"]
    assert lines[3].startswith("Iteration 0 (0 iter/s, 0s/2 iters), loss = ")
    assert lines[4].startswith("    Train net output #0: loss = ")
    assert lines[4].endswith(" loss)")
    assert lines[5] == "Iteration 0, lr = 0.1"
    assert lines[6].startswith("Iteration 2 (")
    assert lines[9].startswith("Iteration 4, loss = ")
    assert lines[10] == "Optimization Done."


def test_average_loss_looks_back(tiny: Path) -> None:
    solver = make(BASE + 'net: "net.prototxt" average_loss: 3')
    losses = []
    for _ in range(5):
        solver.step(1)
        losses.append(solver.net.loss)
    assert solver.smoothed_loss == pytest.approx(np.mean(losses[-3:]), rel=1e-6)


def test_seed_fixes_the_weights(tiny: Path) -> None:
    def first(text: str, **options: object) -> npt.NDArray[np.float32]:
        solver = make(BASE.replace("random_seed: 1", text) + 'net: "net.prototxt"', **options)
        return solver.net.params["fc"][0].data.copy()

    assert (first("random_seed: 7") == first("random_seed: 7")).all()
    assert (first("random_seed: 7") != first("random_seed: 8")).any()
    assert (first("random_seed: 7") == first("random_seed: 8", seed=7)).all()
    assert (first("") != first("")).any()


def test_drawn_seed_is_logged(tiny: Path) -> None:
    console = io.StringIO()
    text = BASE.replace("random_seed: 1", "") + 'net: "net.prototxt"'
    solver = make(text, RunLog(console=console))
    assert f"random_seed is not set; drawn: {solver.seed}" in console.getvalue()


def test_weights_of_the_solver_file(tiny: Path) -> None:
    source = make(BASE + 'net: "net.prototxt"', seed=77)
    source.net.save("start.caffemodel")
    solver = make(BASE + 'net: "net.prototxt" weights: "start.caffemodel"')
    assert (solver.net.params["fc"][0].data == source.net.params["fc"][0].data).all()


def test_debug_info_shows_means_of_all_blobs(tiny: Path) -> None:
    console = io.StringIO()
    solver = make(
        BASE + 'net: "net.prototxt" debug_info: true display: 1 momentum: 0.9',
        RunLog(console=console),
    )
    before = np.abs(solver.net.params["fc"][0].data).mean()
    solver.step(1)
    weight, bias = solver.net.params["fc"]
    lines = [line.split("] ", 1)[1] for line in console.getvalue().splitlines()]
    assert f"    [Forward] Layer fc, param blob 0 data: {before:.6g}" in lines
    assert "    [Forward] Layer data, top blob x data: 0.5" in lines
    assert f"    [Backward] Layer fc, param blob 0 diff: {np.abs(weight.diff).mean():.6g}" in lines
    score = np.abs(solver.net.blobs["fc"].diff).mean()
    assert f"    [Backward] Layer loss, bottom blob fc diff: {score:.6g}" in lines
    change = np.abs(solver.history[0].data).mean()
    assert f"    [Update] Layer fc, param 0 data: {before:.6g}; diff: {change:.6g}" in lines
    norms = next(line for line in lines if "All net params" in line)
    total = math.sqrt((weight.diff**2).sum() + (bias.diff**2).sum())
    assert norms.endswith(f", {total:.6g})")


@pytest.mark.parametrize(
    ("poison", "wanted"),
    [
        (lambda s: s.net.params["fc"][0].data.fill(np.nan), "parameter 0 of layer 'fc'"),
        (lambda s: s.net.params["fc"][1].data.fill(-np.inf), "parameter 1 of layer 'fc'"),
    ],
)
def test_loss_that_is_not_finite_names_the_first_bad_blob(
    tiny: Path, poison: Callable[[SGDSolver], None], wanted: str
) -> None:
    solver = make(BASE + 'net: "net.prototxt"')
    solver.step(1)
    before = [velocity.data.copy() for velocity in solver.history]
    poison(solver)
    with pytest.raises(
        SolverError, match=rf"^iteration 1: the loss is .*{wanted} \(net\.prototxt:5"
    ):
        solver.step(1)
    assert solver.iter == 1
    for velocity, old in zip(solver.history, before, strict=True):
        assert (velocity.data == old).all()


def test_bad_data_is_named_as_a_top(tiny: Path) -> None:
    (tiny / "net.prototxt").write_text(NET.replace("value: 0.5", "value: inf"))
    solver = make(BASE + 'net: "net.prototxt"')
    with pytest.raises(
        SolverError, match=r"top 'x' of layer 'data' \(net\.prototxt:2\); no snapshot"
    ):
        solver.step(1)


def test_stop_ends_between_iterations(tiny: Path) -> None:
    solver = make(BASE + f'net: "net.prototxt" snapshot_prefix: "{tiny}/snap"')
    solver.request_action(Action.STOP)
    solver.solve()
    assert (solver.iter, solver.stopped) == (1, True)
    assert (tiny / "snap_iter_1.solverstate").exists()


def test_snapshot_request_writes_and_goes_on(tiny: Path) -> None:
    solver = make(BASE + f'net: "net.prototxt" snapshot_prefix: "{tiny}/snap"')
    solver.request_action(Action.SNAPSHOT)
    solver.solve()
    assert (solver.iter, solver.stopped) == (4, False)
    assert (tiny / "snap_iter_1.solverstate").exists()


def test_edit_net_changes_what_is_built(tiny: Path) -> None:
    seen = []

    def edit(file: NetFile, phase: int) -> NetFile:
        seen.append(phase)
        return file

    solver = make(BASE + 'net: "net.prototxt" test_iter: 1 test_interval: 1', edit_net=edit)
    assert seen == [pb.TRAIN, pb.TEST]
    assert solver.net_files == [Path("net.prototxt")]


def test_notes_tell_what_has_no_effect(tiny: Path) -> None:
    console = io.StringIO()
    make(
        BASE + 'net: "net.prototxt"\nlayer_wise_reduce: false\nmomentum2: 0.9',
        RunLog(console=console),
    )
    assert "solver.prototxt:3: layer_wise_reduce has no effect" in console.getvalue()
    assert "solver.prototxt:4: momentum2 is read by other solver types" in console.getvalue()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "exactly one of net, net_param, train_net, train_net_param.*none is set"),
        ('net: "net.prototxt"\ntrain_net: "net.prototxt"', r":3: exactly one .* net and train_net"),
        ('net: "nte.prototxt"', r":2: net: file 'nte\.prototxt' does not exist"),
        ('type: "Adam" net: "net.prototxt"', r":2: solver type Adam is not supported yet"),
        ('type: "SDG" net: "net.prototxt"', r":2: unknown solver type 'SDG'; did you mean 'SGD'\?"),
        ('net: "net.prototxt"\nsolver_type: ADAGRAD', r":3: solver type AdaGrad is not supported"),
        (
            'net: "net.prototxt"\nsnapshot_format: HDF5',
            r":3: snapshot_format: HDF5 is not supported",
        ),
        (
            'net: "net.prototxt"\nsolver_mode: GPU',
            r":3: solver_mode: GPU, but this build .* no CUDA",
        ),
        ('net: "net.prototxt"\niter_size: 0', r":3: iter_size: must be 1 or more, not 0"),
        ('net: "net.prototxt"\naverage_loss: -2', r":3: average_loss: must be 1 or more"),
        ('net: "net.prototxt"\ndisplay: -1', r":3: display: must be 0 or more"),
        ('net: "net.prototxt"\nmomentum: nan', r":3: momentum: must be a finite number"),
        (
            'net: "net.prototxt"\nregularization_type: "L3"',
            r":3: regularization_type: must be L1 or",
        ),
        ('net: "net.prototxt"\ntest_iter: 1', r":3?.*test_interval must be 1 or more"),
        ('net: "net.prototxt" test_interval: 1\ntest_iter: 0', r":3: test_iter: must be 1 or more"),
        (
            'train_net: "net.prototxt" test_interval: 1\ntest_iter: 1',
            r":3: test_iter is given 1 times for 0 test nets",
        ),
        (
            'net: "net.prototxt" test_net: "net.prototxt" test_interval: 1',
            "test_iter is given 0 times for 1 test nets",
        ),
        (
            'net: "net.prototxt" test_interval: 1 test_iter: 1 test_iter: 1\ntest_state {}',
            r":3: test_state is given 1 times for 2 test nets",
        ),
        (
            'net: "net.prototxt" snapshot: 1\nsnapshot_prefix: "no/where/snap"',
            r":3: snapshot_prefix 'no/where/snap': there is no folder no$",
        ),
        (
            'net: "net.prototxt" snapshot: 1\nsnapshot_prefix: "net.prototxt/snap"',
            r":3: snapshot_prefix 'net\.prototxt/snap': net\.prototxt is not a folder$",
        ),
    ],
)
def test_bad_solver_files(tiny: Path, text: str, message: str) -> None:
    with pytest.raises(DrmlError, match=message) as caught:
        make(BASE + text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("solver.prototxt:")


def test_solve_needs_max_iter(tiny: Path) -> None:
    solver = make(BASE.replace("max_iter: 4", "") + 'net: "net.prototxt"')
    solver.step(1)
    with pytest.raises(SolverError, match="max_iter is missing"):
        solver.solve()


def test_device_given_overrides_the_file(tiny: Path) -> None:
    solver = make(BASE + 'net: "net.prototxt" solver_mode: GPU', device="cpu")
    solver.step(1)
    with pytest.raises(SolverError, match="no CUDA"):
        make(BASE + 'net: "net.prototxt"', device="cuda")


def test_misspelt_field_is_named(tiny: Path) -> None:
    (tiny / "solver.prototxt").write_text(BASE + "momentun: 0.9")
    with pytest.raises(PrototxtError, match=r"solver\.prototxt:2: .*momentun.*momentum"):
        SGDSolver(tiny / "solver.prototxt", log=quiet())
