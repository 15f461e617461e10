"""`time`: what is measured, and how it is printed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from cli_testing import enter_small, only_error, refused

from drml.commands.nets import synthetic_net
from drml.device import is_cuda
from drml.layers.relu import ReLU
from drml.run import main
from drml.timing import time_net, trial_lengths

LAYERS = ["data", "conv1", "region2", "relu2", "pool3", "output", "loss"]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_small(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("iterations", "trials", "lengths"),
    [(50, 5, [10] * 5), (7, 3, [3, 2, 2]), (2, 5, [1, 1]), (1, 1, [1])],
)
def test_trial_lengths(iterations: int, trials: int, lengths: list[int]) -> None:
    assert trial_lengths(iterations, trials) == lengths


def test_times_of_both_modes(small: Path) -> None:
    with synthetic_net(small / "train.prototxt", "TRAIN") as net:
        steps: list[int] = []
        measured = time_net(
            net,
            train=True,
            iterations=5,
            trials=2,
            warm_up=3,
            progress=lambda: steps.append(1),
        )
        assert len(steps) == 8
        assert [layer.name for layer in measured.layers] == LAYERS
        assert measured.layers[0].backward_ms is None
        assert all(layer.backward_ms is not None for layer in measured.layers[1:])
        assert measured.batch_size == 2
        assert len(measured.trial_ms) == 2
        assert measured.frame_ms > 0
        parts = (measured.forward_ms, measured.backward_ms, measured.update_ms)
        spent = sum(part for part in parts if part is not None)
        weighted = (3 * measured.trial_ms[0] + 2 * measured.trial_ms[1]) / 5 * 2
        # On CUDA layers have iterations of their own, which wait for each of them.
        assert spent <= weighted * 1.000001 or is_cuda(net.device)
        only_forward = time_net(net, train=False, iterations=1, trials=4)
        assert only_forward.backward_ms is None
        assert only_forward.update_ms is None
        assert only_forward.deviation_ms == 0


def test_timing_leaves_weights_as_they_were(small: Path) -> None:
    with synthetic_net(small / "train.prototxt", "TRAIN") as net:
        learned = [param.blob for param in net.learnable if param.lr_mult != 0]
        before = [blob.data.copy() for blob in learned]
        time_net(net, train=True, iterations=2, trials=1)
        for blob, value in zip(learned, before, strict=True):
            assert (blob.data == value).all()


def test_the_slow_layer_is_found_and_warm_up_is_not_timed(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that only the slow layer moves: 500 ms at first, then 20."""
    forward = ReLU.forward
    now = [0]

    def slow(self: ReLU, *args: object) -> None:
        now[0] += 20_000_000 if now[0] else 500_000_000
        forward(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(ReLU, "forward", slow)
    monkeypatch.setattr("drml.timing.time.perf_counter_ns", lambda: now[0])
    with synthetic_net(small / "train.prototxt", "TEST") as net:
        measured = time_net(net, train=False, iterations=3, trials=3, warm_up=1)
    times = {layer.name: layer.forward_ms for layer in measured.layers}
    assert times == pytest.approx({name: 20 if name == "relu2" else 0 for name in LAYERS})
    assert measured.frame_ms == pytest.approx(10)


def test_text_csv_and_json(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--iterations 4 --trials 2 --warm-up 1 --batch-size 3 --csv t.csv --json t.json"
    assert main(["time", "--model", "train.prototxt", *words.split()]) == 0
    out = capsys.readouterr().out
    assert "random data stand in" in out
    assert "train: batch size 3" in out
    assert "test: batch size 3" in out
    assert out.count("ms per frame, standard deviation") == 2
    rows = list(csv.DictReader((small / "t.csv").read_text().splitlines()))
    train = [row for row in rows if row["mode"] == "train"]
    test = [row for row in rows if row["mode"] == "test"]
    assert [row["layer"] for row in train] == [*LAYERS, "all", "update", "per frame"]
    assert [row["layer"] for row in test] == [*LAYERS, "all", "per frame"]
    assert all(row["backward_ms"] == "" for row in test)
    document = json.loads((small / "t.json").read_text())
    assert [entry["mode"] for entry in document["times"]] == ["train", "test"]
    per_frame = document["times"][0]["ms_per_frame"]
    assert len(per_frame["trials"]) == 2
    assert float(train[-1]["ms"]) == pytest.approx(per_frame["mean"], abs=1e-6)
    assert float(train[-1]["sd"]) == pytest.approx(per_frame["standard_deviation"], abs=1e-6)


def test_a_net_without_loss_is_timed_in_test_only(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["time", "--model", "deploy.prototxt", "--iterations", "1"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "test: batch size 2" in out
    assert "train:" not in out
    line = refused(capsys, *words, "--phase", "TRAIN")
    assert line == "deploy.prototxt: no loss to train on, so --phase TRAIN has no times"


def test_one_phase(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["time", "--model", "train.prototxt", "--phase", "TEST", "--iterations", "1"]) == 0
    assert "train:" not in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--iterations", "--trials", "--batch-size", "--threads"])
@pytest.mark.parametrize("value", ["0", "-3", "x", "1.5", "99999999999999999999"])
def test_bad_numbers(
    small: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    line = refused(capsys, "time", "--model", "train.prototxt", option, value)
    assert line.startswith(f"argument {option}: must be ")
    assert value in line


def test_numbers_that_a_layer_refuses_are_one_line(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels and numbers of rows are 0 and 1 here, and an Embed of one row has no row 1."""
    Path("embed.prototxt").write_text(
        """layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 8 } } }
        layer { name: "embed" type: "Embed" bottom: "x" top: "y"
          embed_param { input_dim: 1 num_output: 3 } }"""
    )
    capsys.readouterr()
    assert main(["time", "--model", "embed.prototxt", "--iterations", "1"]) == 2
    line = only_error(capsys.readouterr().err.splitlines()[-1] + "\n")
    assert line.startswith("embed.prototxt:2: layer 'embed' (Embed): gather_forward: index 1 at")
