"""Snapshots: exact resume after a kill, what is stored, and disks that do not take them."""

from __future__ import annotations

import io
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from training_testing import SOLVER, write_training

from drml import snapshot
from drml.errors import DrmlError, SolverError, WeightsError
from drml.proto import caffe_pb2 as pb
from drml.runlog import RunLog
from drml.signals import Action
from drml.solver import SGDSolver
from drml.solvers import get_solver
from drml.weights import read_net_weights, read_state, write_state

Array = npt.NDArray[np.float32]
Make = Callable[..., SGDSolver]
Change = Callable[[pb.SolverState, list[Array]], list[Array]]


@contextmanager
def no_room() -> Iterator[None]:
    """Lets no file grow past 512 bytes, as a full disk would; Python ignores the signal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def solver_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A solver with its net and data in the working directory."""
    monkeypatch.chdir(tmp_path)
    return write_training(tmp_path)


@pytest.fixture
def make(solver_file: Path) -> Iterator[Make]:
    """Makes solvers that are closed at the end."""
    made: list[SGDSolver] = []

    def new(**options: Any) -> SGDSolver:
        options.setdefault("log", RunLog(quiet=True))
        made.append(get_solver(solver_file, **options))
        return made[-1]

    yield new
    for solver in made:
        solver.close()


def everything(solver: SGDSolver) -> dict[str, Array]:
    """All that training has changed: parameters, history, smoothed loss, data positions."""
    state = {f"{p.name}": p.blob.data.copy() for p in solver.net.learnable}
    state |= {f"history {i} {h.name}": h.data.copy() for i, h in enumerate(solver.history)}
    state["smoothed"] = np.array([solver.smoothed_loss])
    state["iter"] = np.array([solver.iter, solver.rate.current_step])
    nets = [solver.net, *solver.test_nets]
    state["positions"] = np.array([p for net in nets for p in snapshot.positions(net).values()])
    return state


def assert_same(got: dict[str, Array], wanted: dict[str, Array]) -> None:
    assert got.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


# Trains and dies by SIGKILL in the middle of iteration 10, two iterations after a snapshot.
KILLED = """
import os, signal, sys
from drml.solver import SGDSolver
solver = SGDSolver(sys.argv[1])
backward = solver.net.backward
def backward_or_die():
    if solver.iter == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    backward()
solver.net.backward = backward_or_die
solver.solve()
"""


def test_resume_after_a_kill_is_exact_to_the_bit(make: Make, solver_file: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(solver_file)],
        cwd=solver_file.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = solver_file.parent
    assert sorted(p.name for p in folder.glob("snap_*")) == [
        f"snap_iter_{n}.{kind}" for n in (4, 8) for kind in ("caffemodel", "solverstate")
    ]

    resumed = make()
    resumed.restore(folder / "snap_iter_8.solverstate")
    assert resumed.iter == 8
    resumed.step(9)

    whole = make()
    whole.step(17)
    assert_same(everything(resumed), everything(whole))


TYPES = {
    "Nesterov": "",
    "AdaGrad": "momentum: 0",
    "RMSProp": "momentum: 0 rms_decay: 0.9",
    "AdaDelta": "base_lr: 1 delta: 1e-6",
    "Adam": "momentum2: 0.99",
}


@pytest.mark.parametrize("name", TYPES)
def test_resume_of_every_solver_is_exact_to_the_bit(
    make: Make, solver_file: Path, name: str
) -> None:
    text = SOLVER.replace("momentum: 0.9", "") if "momentum: 0" in TYPES[name] else SOLVER
    text = text.replace("base_lr: 0.05", "") if "base_lr" in TYPES[name] else text
    solver_file.write_text(f'{text} type: "{name}" {TYPES[name]}\n')
    whole = make()
    assert whole.type == name
    whole.step(3)
    path = whole.snapshot()
    resumed = make()
    resumed.restore(path)
    assert_same(everything(resumed), everything(whole))
    whole.step(4)
    resumed.step(4)
    assert_same(everything(resumed), everything(whole))
    learned = [h for h in whole.history if not h.name.startswith("bn")]
    assert len(whole.history) == (14 if name in ("AdaDelta", "Adam") else 7)
    assert all(np.any(blob.data) for blob in learned)


def test_state_of_another_solver_is_refused(make: Make, solver_file: Path) -> None:
    solver = make()
    solver.step(1)
    path = solver.snapshot()
    solver_file.write_text(SOLVER + 'type: "Adam"')
    with pytest.raises(WeightsError, match=r"holds 7 history blobs, but .* have 14; another type"):
        make().restore(path)


def test_resume_is_exact_from_every_iteration(make: Make) -> None:
    whole = make()
    states = {}
    for iteration in range(1, 8):
        whole.step(1)
        states[iteration] = whole.snapshot()
    wanted = everything(whole)
    for iteration, path in states.items():
        resumed = make()
        resumed.restore(path)
        resumed.step(7 - iteration)
        assert_same(everything(resumed), wanted)


def test_resume_brings_back_a_drawn_seed(make: Make, solver_file: Path) -> None:
    solver_file.write_text(SOLVER.replace("random_seed: 5", ""))
    whole = make()
    whole.step(2)
    path = whole.snapshot()
    whole.step(3)
    resumed = make()
    assert resumed.seed != whole.seed
    old_net = resumed.net
    resumed.restore(path)
    assert resumed.seed == whole.seed
    assert resumed.net is not old_net
    resumed.step(3)
    assert_same(everything(resumed), everything(whole))


def test_files_are_caffes(make: Make) -> None:
    solver = make()
    solver.step(3)
    path = solver.snapshot()
    state, history = read_state(path)
    assert path.name == "snap_iter_3.solverstate"
    assert (state.iter, state.current_step) == (3, 0)
    assert state.learned_net.endswith("snap_iter_3.caffemodel")
    for stored, blob in zip(history, solver.history, strict=True):
        np.testing.assert_array_equal(stored, blob.data)
    weights = {layer.name: layer for layer in read_net_weights(state.learned_net).layer}
    stored = np.array(weights["fc2"].blobs[0].data, np.float32)
    np.testing.assert_array_equal(stored, solver.net.params["fc2"][0].data.reshape(-1))
    assert not weights["fc2"].blobs[0].diff
    assert state.drml.seed == 5
    cursors = {(c.net, c.layer): c.position for c in state.drml.cursor}
    assert cursors[("train", "data")] == 3
    assert cursors[("test_0", "data")] == 2
    assert cursors[("train", "drop1")] == 3
    assert len(state.drml.recent_loss) == 3


def test_snapshot_diff_stores_gradients(make: Make, solver_file: Path) -> None:
    solver_file.write_text(SOLVER + "snapshot_diff: true")
    solver = make()
    solver.step(1)
    solver.snapshot()
    weights = {layer.name: layer for layer in read_net_weights("snap_iter_1.caffemodel").layer}
    diff = np.array(weights["fc2"].blobs[0].diff, np.float32)
    np.testing.assert_array_equal(diff, solver.net.params["fc2"][0].diff.reshape(-1))


def test_state_of_stock_caffe_says_what_starts_afresh(make: Make) -> None:
    solver = make()
    solver.step(3)
    path = solver.snapshot()
    state, history = read_state(path)
    state.ClearField("drml")
    write_state(path, state, history)
    console = io.StringIO()
    resumed = make(log=RunLog(console=console))
    resumed.restore(path)
    assert resumed.iter == 3
    lines = [line for line in console.getvalue().splitlines() if "afresh" in line]
    assert len(lines) == 1
    assert "no data position and no random state" in lines[0]
    np.testing.assert_array_equal(resumed.history[0].data, solver.history[0].data)


def test_layer_that_the_state_does_not_know_is_named(make: Make) -> None:
    solver = make()
    solver.step(1)
    path = solver.snapshot()
    state, history = read_state(path)
    kept = [cursor for cursor in state.drml.cursor if cursor.layer != "drop1"]
    del state.drml.cursor[:]
    state.drml.cursor.extend(kept)
    write_state(path, state, history)
    console = io.StringIO()
    make(log=RunLog(console=console)).restore(path)
    assert "does not know layer drop1 of train" in console.getvalue()


def test_moved_snapshot_finds_its_weights_beside_it(make: Make, tmp_path: Path) -> None:
    solver = make()
    solver.step(2)
    path = solver.snapshot()
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in (path, path.with_suffix(".caffemodel")):
        file.rename(moved / file.name)
    resumed = make()
    resumed.restore(moved / path.name)
    assert_same(everything(resumed), everything(solver))


def short(state: pb.SolverState, history: list[Array]) -> list[Array]:
    return history[:-1]


def odd(state: pb.SolverState, history: list[Array]) -> list[Array]:
    return [*history[:-1], np.zeros(9, np.float32)]


def no_iteration(state: pb.SolverState, history: list[Array]) -> list[Array]:
    state.ClearField("iter")
    return history


def no_weights(state: pb.SolverState, history: list[Array]) -> list[Array]:
    state.learned_net = "gone.caffemodel"
    return history


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (short, r"holds 6 history blobs, but this solver and its net have 7"),
        (odd, r"history of parameter fc2/1 has shape \(9,\), the parameter \(3,\)"),
        (no_iteration, "names no iteration"),
        (no_weights, "the weights that it names, gone.caffemodel, are not there"),
    ],
)
def test_states_that_do_not_fit(make: Make, change: Change, message: str) -> None:
    solver = make()
    solver.step(1)
    path = solver.snapshot()
    state, history = read_state(path)
    # Copies: the arrays are views of the file that is about to be replaced.
    write_state(path, state, change(state, [blob.copy() for blob in history]))
    fresh = make()
    before = everything(fresh)
    with pytest.raises(WeightsError, match=message) as caught:
        fresh.restore(path)
    assert str(caught.value).startswith(str(path))
    assert_same(everything(fresh), before)


def test_cut_files_are_refused(make: Make) -> None:
    solver = make()
    solver.step(1)
    path = solver.snapshot()
    for file in (path.with_suffix(".caffemodel"), path):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(DrmlError, match=file.name):
            make().restore(path)


def test_bad_parameter_is_not_written(make: Make, tmp_path: Path) -> None:
    solver = make()
    solver.step(1)
    solver.net.params["fc2"][1].data[1] = np.nan
    with pytest.raises(SolverError, match="no snapshot written: parameter fc2/1 holds a nan"):
        solver.snapshot()
    assert not list(tmp_path.glob("snap_*"))


def test_full_disk_in_the_middle_of_a_run_costs_a_snapshot_only(make: Make, tmp_path: Path) -> None:
    console = io.StringIO()
    solver = make(log=RunLog(console=console))
    solver.step(4)
    old = {file.name: file.read_bytes() for file in tmp_path.glob("snap_*")}
    assert len(old) == 2
    with no_room():
        solver.step(4)
    assert solver.iter == 8
    errors = [line for line in console.getvalue().splitlines() if line.startswith("E")]
    assert len(errors) == 1
    assert "cannot write snapshot" in errors[0]
    assert "training goes on without this snapshot; last snapshot:" in errors[0]
    assert {file.name: file.read_bytes() for file in tmp_path.glob("snap_*")} == old
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*.part"))
    solver.solve()
    assert (tmp_path / "snap_iter_12.solverstate").exists()


def test_full_disk_at_the_end_is_an_error(make: Make, tmp_path: Path) -> None:
    solver = make()
    solver.step(11)
    with no_room(), pytest.raises(SolverError, match="cannot write snapshot"):
        solver.solve()
    assert solver.iter == 12
    assert (tmp_path / "snap_iter_8.solverstate").exists()
    assert not (tmp_path / "snap_iter_12.solverstate").exists()


def test_folder_that_vanishes_is_an_error_in_one_line(
    make: Make, solver_file: Path, tmp_path: Path
) -> None:
    solver_file.write_text(SOLVER.replace('"snap"', '"kept/snap"'))
    solver = make()
    solver.step(4)
    assert (tmp_path / "kept" / "snap_iter_4.solverstate").exists()
    (tmp_path / "kept").rename(tmp_path / "elsewhere")
    (tmp_path / "kept").touch()
    with pytest.raises(SolverError, match=r"cannot write snapshot kept/.*exists") as caught:
        solver.snapshot()
    assert "\n" not in str(caught.value)
    assert (tmp_path / "elsewhere" / "snap_iter_4.solverstate").exists()


def test_positions_can_be_put_back(make: Make) -> None:
    solver = make()
    before = snapshot.positions(solver.net)
    first = solver.net.forward()
    assert snapshot.positions(solver.net) != before
    snapshot.set_positions(solver.net, before)
    np.testing.assert_array_equal(solver.net.forward()["loss"], first["loss"])


def test_end_of_a_run_leaves_no_trace(make: Make) -> None:
    stepped = make()
    stepped.step(12)
    solved = make()
    solved.solve()
    wanted = everything(stepped)
    wanted.pop("positions")
    got = everything(solved)
    got.pop("positions")
    assert_same(got, wanted)
    assert snapshot.positions(solved.net) == snapshot.positions(stepped.net)


def test_stop_during_a_test_is_exact_too(make: Make, solver_file: Path, tmp_path: Path) -> None:
    text = (tmp_path / "net.prototxt").read_text()
    batch_statistics = 'top: "bn" batch_norm_param { use_global_stats: false } }'
    (tmp_path / "net.prototxt").write_text(text.replace('top: "bn" }', batch_statistics))
    whole = make()
    whole.step(7)

    stopped = make()
    stopped.step(5)
    forward = stopped.test_nets[0].forward

    def forward_and_ask_to_stop(*args: Any, **kwargs: Any) -> Any:
        stopped.request_action(Action.STOP)
        return forward(*args, **kwargs)

    stopped.test_nets[0].forward = forward_and_ask_to_stop  # type: ignore[method-assign]
    stopped.solve()
    assert (stopped.iter, stopped.stopped) == (5, True)
    resumed = make()
    resumed.restore("snap_iter_5.solverstate")
    resumed.step(2)
    assert_same(everything(resumed), everything(whole))
