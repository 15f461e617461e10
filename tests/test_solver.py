"""The solver: how it names its nets, when it tests, logs and stops, and what it refuses."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from training_testing import make_solver, quiet

from drml.errors import DrmlError, PrototxtError, SolverError, UsageError
from drml.proto import caffe_pb2 as pb
from drml.prototxt import NetFile
from drml.runlog import RunLog
from drml.signals import Action
from drml.solver import SGDSolver

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
    solver = make_solver(BASE + "test_interval: 10 " + text)
    assert solver.net.name == train
    assert [net.name for net in solver.test_nets] == tests
    assert "tested" not in solver.net.blobs
    assert all("tested" in net.blobs for net in solver.test_nets)


def test_states_choose_layers(tiny: Path) -> None:
    solver = make_solver(
        BASE
        + 'net: "net.prototxt" test_interval: 9 test_iter: 1 test_iter: 1 '
        + 'train_state { level: 1 } test_state { stage: "extra" } test_state { level: 2 }'
    )
    nets = [solver.net, *solver.test_nets]
    assert ["deep" in net.blobs for net in nets] == [True, False, True]
    assert ["staged" in net.blobs for net in nets] == [False, True, False]


def test_state_of_the_net_itself_comes_before_the_solvers(tiny: Path) -> None:
    (tiny / "net.prototxt").write_text(NET + 'state { level: 1 stage: "extra" }')
    solver = make_solver(BASE + 'net: "net.prototxt" train_state { level: 0 }')
    assert "deep" not in solver.net.blobs
    assert "staged" in solver.net.blobs


def test_net_is_found_beside_the_solver(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tiny / "elsewhere").mkdir()
    (tiny / "solver.prototxt").write_text(BASE + 'net: "net.prototxt"')
    monkeypatch.chdir(tiny / "elsewhere")
    assert SGDSolver("../solver.prototxt", log=quiet()).net.name == "tiny"


def test_test_nets_share_the_trained_parameters(tiny: Path) -> None:
    console = io.StringIO()
    solver = make_solver(
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
        make_solver(BASE + text)


@pytest.mark.parametrize("test_initialization", [True, False])
def test_tests_fall_due_as_in_caffe(tiny: Path, test_initialization: bool) -> None:
    console = io.StringIO()
    flag = str(test_initialization).lower()
    solver = make_solver(
        BASE + f'net: "net.prototxt" test_iter: 1 test_interval: 2 test_initialization: {flag}',
        RunLog(console=console),
    )
    solver.solve()
    lines = [line.split("] ")[1] for line in console.getvalue().splitlines() if "Testing" in line]
    wanted = [f"Iteration {i}, Testing net (#0)" for i in (0, 2, 4)]
    assert lines == wanted[0 if test_initialization else 1 :]


def test_log_lines_of_a_run(tiny: Path) -> None:
    console = io.StringIO()
    make_solver(BASE + 'net: "net.prototxt" display: 2', RunLog(console=console)).solve()
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
    solver = make_solver(BASE + 'net: "net.prototxt" average_loss: 3')
    losses = []
    for _ in range(5):
        solver.step(1)
        losses.append(solver.net.loss)
    assert solver.smoothed_loss == pytest.approx(np.mean(losses[-3:]), rel=1e-6)


def test_seed_fixes_the_weights(tiny: Path) -> None:
    def first(text: str, **options: object) -> npt.NDArray[np.float32]:
        solver = make_solver(
            BASE.replace("random_seed: 1", text) + 'net: "net.prototxt"', **options
        )
        return solver.net.params["fc"][0].data.copy()

    assert (first("random_seed: 7") == first("random_seed: 7")).all()
    assert (first("random_seed: 7") != first("random_seed: 8")).any()
    assert (first("random_seed: 7") == first("random_seed: 8", seed=7)).all()
    assert (first("") != first("")).any()


def test_drawn_seed_is_logged(tiny: Path) -> None:
    console = io.StringIO()
    text = BASE.replace("random_seed: 1", "") + 'net: "net.prototxt"'
    solver = make_solver(text, RunLog(console=console))
    assert f"random_seed is not set; drawn: {solver.seed}" in console.getvalue()


def test_weights_of_the_solver_file(tiny: Path) -> None:
    source = make_solver(BASE + 'net: "net.prototxt"', seed=77)
    source.net.save("start.caffemodel")
    solver = make_solver(BASE + 'net: "net.prototxt" weights: "start.caffemodel"')
    assert (solver.net.params["fc"][0].data == source.net.params["fc"][0].data).all()


def test_debug_info_shows_means_of_all_blobs(tiny: Path) -> None:
    console = io.StringIO()
    solver = make_solver(
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
    shown = next(line for line in lines if "[Update] Layer fc, param 0" in line)
    assert shown.startswith(f"    [Update] Layer fc, param 0 data: {before:.6g}; diff: ")
    change = np.abs(solver.history[0].data).mean()
    assert float(shown.rpartition(" ")[2]) == pytest.approx(change, rel=1e-4)
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
    solver = make_solver(BASE + 'net: "net.prototxt"')
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
    solver = make_solver(BASE + 'net: "net.prototxt"')
    with pytest.raises(
        SolverError, match=r"top 'x' of layer 'data' \(net\.prototxt:2\); no snapshot"
    ):
        solver.step(1)


def test_stop_ends_between_iterations(tiny: Path) -> None:
    solver = make_solver(BASE + f'net: "net.prototxt" snapshot_prefix: "{tiny}/snap"')
    solver.request_action(Action.STOP)
    solver.solve()
    assert (solver.iter, solver.stopped) == (1, True)
    assert (tiny / "snap_iter_1.solverstate").exists()


def test_snapshot_request_writes_and_goes_on(tiny: Path) -> None:
    solver = make_solver(BASE + f'net: "net.prototxt" snapshot_prefix: "{tiny}/snap"')
    solver.request_action(Action.SNAPSHOT)
    solver.solve()
    assert (solver.iter, solver.stopped) == (4, False)
    assert (tiny / "snap_iter_1.solverstate").exists()


def test_edit_net_changes_what_is_built(tiny: Path) -> None:
    seen = []

    def edit(file: NetFile, phase: int) -> NetFile:
        seen.append(phase)
        return file

    solver = make_solver(BASE + 'net: "net.prototxt" test_iter: 1 test_interval: 1', edit_net=edit)
    assert seen == [pb.TRAIN, pb.TEST]
    assert solver.net_files == [Path("net.prototxt")]


def test_notes_tell_what_has_no_effect(tiny: Path) -> None:
    console = io.StringIO()
    make_solver(
        BASE + 'net: "net.prototxt"\nlayer_wise_reduce: false\nmomentum2: 0.9',
        RunLog(console=console),
    )
    assert "solver.prototxt:3: layer_wise_reduce has no effect" in console.getvalue()
    assert "solver.prototxt:4: momentum2 is read by Adam only" in console.getvalue()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "exactly one of net, net_param, train_net, train_net_param.*none is set"),
        ('net: "net.prototxt"\ntrain_net: "net.prototxt"', r":3: exactly one .* net and train_net"),
        ('net: "nte.prototxt"', r":2: net: file 'nte\.prototxt' does not exist"),
        ('type: "SDG" net: "net.prototxt"', r":2: unknown solver type 'SDG'; did you mean 'SGD'\?"),
        (
            'net: "net.prototxt"\nsolver_type: ADAGRAD momentum: 1',
            r":3: momentum: AdaGrad has none",
        ),
        ('type: "Newton" net: "net.prototxt"', r":2: unknown .*'; known are SGD, Nesterov, AdaG"),
        (
            'net: "net.prototxt" device_id: 97\nsolver_mode: GPU',
            r":3: solver_mode: GPU, but device 'cuda:97': th.*--device cpu",
        ),
        (
            'net: "net.prototxt" solver_mode: GPU\ndevice_id: -1',
            r":3: device_id: must be 0 or more, not -1",
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
def test_bad_solver_files(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.delenv("DRML_DEVICE")
    with pytest.raises(DrmlError, match=message) as caught:
        make_solver(BASE + text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("solver.prototxt:")


def test_solve_needs_max_iter(tiny: Path) -> None:
    solver = make_solver(BASE.replace("max_iter: 4", "") + 'net: "net.prototxt"')
    solver.step(1)
    with pytest.raises(SolverError, match="max_iter is missing"):
        solver.solve()


def test_device_given_overrides_the_file(tiny: Path) -> None:
    solver = make_solver(BASE + 'net: "net.prototxt" solver_mode: GPU', device="cpu")
    solver.step(1)
    with pytest.raises(UsageError, match="device 'cuda:97': th"):
        make_solver(BASE + 'net: "net.prototxt"', device="cuda:97")


def test_misspelt_field_is_named(tiny: Path) -> None:
    (tiny / "solver.prototxt").write_text(BASE + "momentun: 0.9")
    with pytest.raises(PrototxtError, match=r"solver\.prototxt:2: .*momentun.*momentum"):
        SGDSolver(tiny / "solver.prototxt", log=quiet())
