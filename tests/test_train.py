"""`train` and the paper's settings: run folders, resume, signals, other data, and bad input."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_testing import command, contents, only_error, refused
from data_testing import our_record, picture, write_list, write_lmdb
from training_testing import AUS, IMAGES, NET, SOLVER, write_training

from drml.data.options import DataOptions
from drml.evaluate import evaluate
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import read_net, read_solver
from drml.run import main
from drml.runlog import read_metrics
from drml.solver import SGDSolver
from drml.training import RunOptions, paper_solver, train_and_test
from drml.weights import read_mean, read_state, write_mean

WITH_MEAN = NET.replace("scale: 0.01", 'mean_file: "mean.binaryproto" scale: 0.01')


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a solver, its net and data, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    write_training(tmp_path)
    return tmp_path


def train(*words: object) -> int:
    return main(["train", "--solver", "solver.prototxt", *map(str, words)])


def test_run_folder_holds_the_whole_story(folder: Path) -> None:
    assert train("--run-dir", "run") == 0
    run = folder / "run"
    assert sorted(path.name for path in run.iterdir()) == [
        "loss.png",
        "metrics.jsonl",
        "net.prototxt",
        "solver.prototxt",
        "train.log",
    ]
    assert (run / "net.prototxt").read_text() == NET
    assert (run / "solver.prototxt").read_text() == SOLVER
    entries = read_metrics(run / "metrics.jsonl")
    losses = [entry for entry in entries if entry["event"] == "train"]
    assert [entry["iteration"] for entry in losses] == list(range(12))
    assert losses[0]["learning_rate"] == pytest.approx(0.05)
    assert losses[11]["learning_rate"] == pytest.approx(0.0125)
    window = [entry["loss"] for entry in losses[7:12]]
    assert losses[11]["smoothed_loss"] == pytest.approx(np.mean(window), rel=1e-6)
    tests = [entry for entry in entries if entry["event"] == "test"]
    assert [entry["iteration"] for entry in tests] == [0, 5, 10]
    assert tests[0]["outputs"]["loss"] == [pytest.approx(tests[0]["loss"])]
    log = (run / "train.log").read_text()
    assert re.search(r"^I.*\] Solving tiny$", log, re.MULTILINE)
    assert re.search(r"\] Iteration 3, lr = 0\.025$", log, re.MULTILINE)
    assert "Optimization Done." in log
    assert cv2.imread(str(run / "loss.png")) is not None
    assert (folder / "snap_iter_12.solverstate").exists()


def test_default_run_folder_is_named_after_the_solver(folder: Path) -> None:
    assert train("--iterations", 1) == 0
    (run,) = (folder / "runs").iterdir()
    assert re.fullmatch(r"solver-\d{8}-\d{6}", run.name)
    assert read_metrics(run / "metrics.jsonl")[-1]["iteration"] == 1


def test_snapshots_without_a_prefix_go_into_the_run_folder_and_find_it(folder: Path) -> None:
    text = SOLVER.replace('snapshot_prefix: "snap"', "")
    (folder / "solver.prototxt").write_text(text)
    assert train("--run-dir", "run", "--iterations", 4) == 0
    assert train("--snapshot", "run/solver_iter_4.solverstate", "--iterations", 6) == 0
    assert sorted(path.name for path in folder.glob("run/*.solverstate")) == [
        "solver_iter_4.solverstate",
        "solver_iter_6.solverstate",
    ]
    assert not (folder / "runs").exists()
    entries = read_metrics(folder / "run" / "metrics.jsonl")
    assert [e["iteration"] for e in entries if e["event"] == "train"] == list(range(6))
    assert [e["iteration"] for e in entries if e["event"] == "resume"] == [4]


def test_resume_by_command_line_equals_one_run(folder: Path) -> None:
    assert train("--run-dir", "whole") == 0
    whole = Path("snap_iter_12.caffemodel").read_bytes()
    velocities = read_state("snap_iter_12.solverstate")[1]
    wanted = [velocity.copy() for velocity in velocities]
    for path in folder.glob("snap_iter_12.*"):
        path.unlink()
    assert train("--run-dir", "whole", "--snapshot", "snap_iter_8.solverstate") == 0
    assert Path("snap_iter_12.caffemodel").read_bytes() == whole
    for velocity, other in zip(read_state("snap_iter_12.solverstate")[1], wanted, strict=True):
        np.testing.assert_array_equal(velocity, other)
    log = (folder / "whole" / "train.log").read_text()
    assert log.count("Solving tiny") == 2


def test_weights_start_a_new_run(folder: Path) -> None:
    assert train("--run-dir", "a", "--iterations", 4) == 0
    assert train("--run-dir", "b", "--iterations", 1, "--weights", "snap_iter_4.caffemodel") == 0
    first = read_metrics(folder / "b" / "metrics.jsonl")
    assert [e["iteration"] for e in first if e["event"] == "train"] == [0]
    assert "Finetuning from snap_iter_4.caffemodel" in (folder / "b" / "train.log").read_text()


def test_other_data_and_its_mean(folder: Path) -> None:
    (folder / "net.prototxt").write_text(WITH_MEAN)
    (folder / "other").mkdir()
    write_list(folder / "other", 6, labels=AUS)
    write_lmdb(folder / "db", [our_record(number) for number in range(5)])
    status = train(
        *("--run-dir", "run", "--iterations", 2, "--batch-size", 3),
        *("--train-data", "other/list.txt", "--test-data", "db"),
    )
    assert status == 0
    mean = read_mean(folder / "run" / "mean.binaryproto")
    pixels = np.mean([picture(number).astype(float) for number in range(6)], axis=0)
    np.testing.assert_allclose(mean, pixels.transpose(2, 0, 1), rtol=1e-6)
    log = (folder / "run" / "train.log").read_text()
    assert "the mean of the 6 images of other/list.txt is in run/mean.binaryproto" in log
    assert "subtracting the mean image run/mean.binaryproto" in log
    assert "data options: train_data other/list.txt, test_data db, batch_size 3, mean run/" in log


def test_net_that_subtracts_constants_keeps_them(folder: Path) -> None:
    text = NET.replace("scale: 0.01", "mean_value: 100 scale: 0.01")
    (folder / "net.prototxt").write_text(text)
    assert train("--run-dir", "run", "--iterations", 1, "--train-data", "test.txt") == 0
    assert not (folder / "run" / "mean.binaryproto").exists()


def test_data_options_change_layers_in_place(folder: Path) -> None:
    write_mean(folder / "m.binaryproto", np.zeros((3, 12, 10), np.float32))
    options = DataOptions(mean=Path("m.binaryproto"), batch_size=2, zero_is_negative=True)
    file = read_net("net.prototxt")
    for layer in options.edit(file, pb.TRAIN).message.layer[:2]:
        assert layer.transform_param.mean_file == "m.binaryproto"
        assert layer.image_data_param.batch_size == 2
        assert layer.image_data_param.zero_is_negative
    assert file.message.layer[0].image_data_param.batch_size == 4
    assert DataOptions().edit(file, pb.TRAIN) is file


@contextmanager
def long_run(folder: Path, program: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that trains for 100,000 iterations; killed at the end if it still runs."""
    text = SOLVER.replace("max_iter: 12", "max_iter: 100000").replace("snapshot: 4", "")
    (folder / "solver.prototxt").write_text(text)
    process = subprocess.Popen(
        [sys.executable, *program],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


TRAIN = ("-m", "drml.run", "train", "--solver", "solver.prototxt")


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the run ended before it said '{text}'")


def test_interrupt_takes_a_snapshot_and_stops(folder: Path) -> None:
    with long_run(folder, TRAIN) as process:
        wait_for(process, "Iteration 3 ")
        process.send_signal(signal.SIGINT)
        wait_for(process, "Optimization stopped early.")
        assert process.wait(timeout=60) == 0
    (state,) = folder.glob("snap_*.solverstate")
    assert read_state(state)[0].iter > 3
    (run,) = (folder / "runs").iterdir()
    assert (run / "loss.png").exists()


def test_hangup_takes_a_snapshot_and_goes_on(folder: Path) -> None:
    with long_run(folder, TRAIN) as process:
        wait_for(process, "Iteration 3 ")
        process.send_signal(signal.SIGHUP)
        wait_for(process, "Snapshotting to snap_iter_")
        # The line of a training iteration: a stop in a test would come before the next update.
        wait_for(process, "iter/s")
        process.send_signal(signal.SIGINT)
        wait_for(process, "Optimization stopped early.")
        assert process.wait(timeout=60) == 0
    assert len(list(folder.glob("snap_*.solverstate"))) == 2


def test_second_interrupt_stops_at_once(folder: Path) -> None:
    slow = """
import sys, time
import drml.run
from drml.net import Net
def forward(self):
    print("forward", file=sys.stderr, flush=True)
    time.sleep(60)
Net.forward = forward
sys.exit(drml.run.main(["train", "--solver", "solver.prototxt"]))
"""
    with long_run(folder, ["-c", slow]) as process:
        wait_for(process, "forward")
        process.send_signal(signal.SIGINT)
        # The two must not arrive together, or they count as one.
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        wait_for(process, "stopped at once, without a snapshot")
        assert process.wait(timeout=60) == 130
    assert not list(folder.glob("snap_*"))


def test_loss_that_is_not_finite_ends_the_run_in_one_line(folder: Path) -> None:
    (folder / "solver.prototxt").write_text(SOLVER.replace("base_lr: 0.05", "base_lr: 1e20"))
    run = command("train", "--solver", "solver.prototxt", "--run-dir", "run", cwd=folder)
    assert run.returncode == 2
    message = only_error(run.stderr)
    assert re.search(r"iteration \d: the loss is (nan|inf); the first blob .* is ", message)
    assert "no snapshot yet" in message
    log = (folder / "run" / "train.log").read_text()
    assert log.splitlines()[-1].startswith("E")
    assert message in log
    assert (folder / "run" / "loss.png").exists()
    assert not list(folder.glob("snap_*"))


def limit_files() -> None:
    """Lets no file of the process grow past 2,000 bytes, as a full disk would."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def test_full_disk_lets_the_run_go_on_and_is_an_error_at_the_end(folder: Path) -> None:
    run = command(
        "train",
        "--solver",
        "solver.prototxt",
        "--run-dir",
        "run",
        cwd=folder,
        preexec_fn=limit_files,
    )
    assert run.returncode == 2
    assert "cannot write snapshot snap_iter_12" in only_error(run.stderr)
    assert run.stderr.count("training goes on without this snapshot") == 3
    assert not list(folder.glob("snap_*"))


def test_paper_settings_are_the_papers() -> None:
    param = paper_solver(Path("net.prototxt"), 20000).message
    assert param.base_lr == pytest.approx(0.001)
    assert param.momentum == pytest.approx(0.9)
    assert param.weight_decay == pytest.approx(0.0005)
    assert (param.lr_policy, param.stepsize, param.max_iter) == ("step", 8000, 20000)
    assert param.gamma == pytest.approx(0.1)


def test_training_a_net_by_the_papers_settings_and_testing_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = RunOptions(run_dir=folder / "run", seed=1)
    result = train_and_test(folder / "net.prototxt", 3, options, ["1", "2", "4"])
    assert result is not None
    assert result.samples == IMAGES
    table = result.table(["1", "2", "4"])
    assert table is not None
    assert table.text() in capsys.readouterr().out
    run = folder / "run"
    assert json.loads((run / "test.json").read_text()) == table.to_dict()
    assert (run / "test.csv").read_text() == table.to_csv()
    assert read_solver(run / "solver.prototxt").message.max_iter == 3
    assert (run / "net.prototxt").read_text() == NET
    assert re.search(r"\] mean +\d", (run / "train.log").read_text())
    with Net("net.prototxt", run / "net_iter_3.caffemodel", pb.TEST) as net:
        again = evaluate(net)
    np.testing.assert_array_equal(again.scores, result.scores)
    tests = [e for e in read_metrics(run / "metrics.jsonl") if e["event"] == "test"]
    assert [(e["iteration"], e["loss"]) for e in tests] == [(3, pytest.approx(result.loss))]


def test_net_without_test_data_is_trained_only(folder: Path) -> None:
    body = NET[NET.index('layer { name: "bn"') :]
    (folder / "net.prototxt").write_text(
        """layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
             shape { dim: 4 dim: 3 dim: 8 dim: 8 } shape { dim: 4 dim: 3 }
             data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }\n"""
        + body
    )
    options = RunOptions(run_dir=folder / "run", seed=1)
    assert train_and_test(folder / "net.prototxt", 2, options) is None
    assert "has no TEST data" in (folder / "run" / "train.log").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "--solver"),
        ("--solver no.prototxt", "no.prototxt: no such file"),
        ("--solver solver.prototxt --iterations 0", "--iterations: must be a positive integer"),
        ("--solver solver.prototxt --batch-size 0", "--batch-size: must be a positive integer"),
        ("--solver solver.prototxt --threads -1", "--threads: must be a positive integer"),
        ("--solver solver.prototxt --snapshot no.solverstate", "no.solverstate: no such file"),
        ("--solver solver.prototxt --snapshot net.prototxt", "net.prototxt"),
        ("--solver solver.prototxt --weights no.caffemodel", "no.caffemodel: no such file"),
        ("--solver solver.prototxt --weights net.prototxt", "net.prototxt"),
        ("--solver solver.prototxt --train-data no.txt", "no.txt"),
        ("--solver solver.prototxt --mean no.binaryproto", "no.binaryproto: no such file"),
        ("--solver solver.prototxt --sigint_effect halt", "--sigint_effect"),
        ("--solver solver.prototxt --run-dir net.prototxt", "cannot make the run folder"),
        ("--solver solver.prototxt --run-dir net.prototxt/run", "cannot make the run folder"),
        ("--solver net.prototxt", "net.prototxt"),
        ("--solver solver.prototxt --weights a --snapshot net.prototxt", "exclude each other"),
    ],
)
def test_bad_input_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    before = contents(folder)
    assert message in refused(capsys, "train", *words.split())
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('source: "train.txt"', 'source: "none.txt"', "none.txt"),
        ("crop_size: 8", "crop_size: 80", "crop_size 80 is larger than the image"),
        ('"InnerProduct"', '"InerProduct"', "did you mean 'InnerProduct'"),
        ("batch_size: 4", "batch_size: 0", "batch_size must be 1 or more"),
        ("num_output: 3", "num_output: 7", "net.prototxt"),
    ],
)
def test_bad_net_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    (folder / "net.prototxt").write_text(NET.replace(old, new))
    before = contents(folder)
    assert message in refused(capsys, "train", "--solver", "solver.prototxt")
    assert contents(folder) == before


def test_mean_of_a_run_that_cannot_start_is_removed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = WITH_MEAN.replace("num_output: 3", "num_output: 7")
    (folder / "net.prototxt").write_text(text)
    before = contents(folder)
    words = ["train", "--solver", "solver.prototxt", "--train-data", "train.txt"]
    refused(capsys, *words)
    assert contents(folder) == before


def test_solver_of_the_api_needs_no_folder(folder: Path) -> None:
    solver = SGDSolver(read_solver("solver.prototxt"))
    try:
        solver.step(1)
    finally:
        solver.close()
    assert not (folder / "runs").exists()
