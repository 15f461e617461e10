"""`experiment`: a small one from start to end, interrupted, continued, across data sets."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_testing import refused
from experiment_testing import OPTIONS, SUBJECTS, write_experiment, write_fold, write_prepared

from drml import _core, runlog
from drml.errors import DataError
from drml.experiment import progress
from drml.experiment.config import read_config
from drml.experiment.experiment import Experiment, table
from drml.experiment.results import Results
from drml.experiment.trainer import Job
from drml.net import Net
from drml.run import main
from drml.weights import read_mean

pytestmark = pytest.mark.cpu_only


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, and no loss curves, which take longer than all else here."""
    _core.set_threads(1)
    monkeypatch.setattr(runlog, "draw_losses", lambda *_: None)


def run(path: Path, say: Callable[[str], object] = lambda line: None) -> Results:
    return Experiment(read_config(path), device="cpu", threads=1, say=say).run()


def figures(folder: Path) -> dict[str, Any]:
    """results.json without the times that it holds."""
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    del found["created"]
    for row in found["runs"]:
        del row["train_ms"], row["test_ms"]
    return found


def test_results_hold_every_method_fold_and_au(tmp_path: Path) -> None:
    lines: list[str] = []
    path = write_experiment(tmp_path)
    results = run(path, lines.append)
    loaded = Results.load(tmp_path / "small")
    assert loaded == results
    names = ["All-positive", "Prevalence", "LSVM", "Tiny", "Tiny (sigmoid)"]
    assert [method.name for method in loaded.methods] == names
    wanted = {
        (name, fold, au)
        for name in names
        for fold in (1, 2, "pooled", "mean")
        for au in ("1", "4", "12", "mean")
    }
    assert {(row.method, row.fold, row.au) for row in loaded.scores} == wanted
    assert len(loaded.scores) == len(wanted)
    by_key = {(row.method, row.fold, row.au): row for row in loaded.scores}
    # The columns are easily seen, so both kinds of SVM find them.
    assert by_key["Tiny", "mean", "mean"].roc_auc > 0.9
    assert by_key["LSVM", "mean", "mean"].roc_auc > 0.9
    row = by_key["All-positive", "pooled", "4"]
    assert row.f1 == pytest.approx(2 * row.positives / (2 * row.positives + row.negatives))
    assert row.pr_auc == pytest.approx(row.positives / (row.positives + row.negatives))
    assert (row.roc_auc, row.roc_auc_low, row.roc_auc_high) == (0.5, 0.5, 0.5)
    assert row.f1_low <= row.f1 <= row.f1_high
    for name in names:
        means = [by_key[name, fold, "12"].f1 for fold in (1, 2)]
        assert by_key[name, "mean", "12"].f1 == pytest.approx(np.mean(means))
    assert any("iteration 8 of 12" in line and "left" in line for line in lines)
    assert "Tiny (sigmoid)" in table(results)


def test_predictions_and_runs_are_where_results_say(tmp_path: Path) -> None:
    results = run(write_experiment(tmp_path))
    tested = {1: SUBJECTS[:2], 2: SUBJECTS[2:4]}
    for entry in results.predictions:
        found = results.answers(entry)
        assert set(found.subjects) == set(tested[entry.fold])
        assert [key.split("/")[0] for key in found.keys] == list(found.subjects)
    assert len(results.runs) == 2
    for job in results.runs:
        folder = results.folder / job.folder
        assert (folder / "metrics.jsonl").is_file()
        assert read_mean(results.folder / str(job.mean)).shape == (3, 24, 24)
        assert [row["iteration"] for row in job.validation] == [4, 8, 12]
        best = max(job.validation, key=lambda row: float(row["roc_auc"] or 0))
        assert job.iteration == best["iteration"]
        # Of the snapshots, which are large, only the chosen one is kept.
        assert [path.name for path in folder.glob("*_iter_*")] == [Path(job.weights).name]
        with Net(results.folder / job.net_file, results.folder / job.weights) as net:
            assert net.blobs["data"].shape == (1, 3, 20, 20)
            assert net.blobs["prob"].shape == (1, 3)
            learned = sum(param.blob.count for param in net.learnable if param.lr_mult)
            assert job.parameters == learned
        assert job.train_ms > 0
        assert job.test_ms > 0
    with (tmp_path / "small" / "scores.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(results.scores)


@pytest.mark.parametrize("moment", ["iteration 4 of", "fold 2: iteration 8 of", "features of"])
def test_interrupted_and_continued_gives_the_same_figures(tmp_path: Path, moment: str) -> None:
    whole, cut = (write_experiment(tmp_path / name) for name in ("whole", "cut"))
    run(whole)

    def interrupt(line: str) -> None:
        if moment in line:
            if "iteration" in line:
                os.kill(os.getpid(), signal.SIGINT)
            else:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(cut, interrupt)
    assert not (tmp_path / "cut" / "small" / "results.json").exists()
    run(cut)
    assert figures(tmp_path / "cut" / "small") == figures(tmp_path / "whole" / "small")


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_experiment(tmp_path)
    run(path)
    first = figures(tmp_path / "small")
    features = {p: p.stat().st_mtime_ns for p in (tmp_path / "small" / "features").iterdir()}

    def train(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Job, "train", train)
    run(path)
    assert figures(tmp_path / "small") == first
    # Other options of the SVMs leave networks and features alone.
    path.write_text(OPTIONS.replace("c = [0.1, 1.0]", 'c = [0.1, 1.0]\nclass_weight = "balanced"'))
    run(path)
    assert figures(tmp_path / "small")["scores"] != first["scores"]
    now = {p: p.stat().st_mtime_ns for p in (tmp_path / "small" / "features").iterdir()}
    assert now == features
    # Another rate is another training.
    path.write_text(OPTIONS.replace("lr = 0.01", "lr = 0.02"))
    with pytest.raises(AssertionError, match="trained again"):
        run(path)


def test_ctrl_c_ends_with_130_and_a_rerun_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_experiment(tmp_path)
    say = progress._to_stderr

    def interrupt(line: str) -> None:
        say(line)
        if "iteration 8 of" in line:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(progress, "_to_stderr", interrupt)
    words = ["--threads", "1", "experiment", str(path)]
    assert main(words) == 130
    assert capsys.readouterr().err.endswith("drml: error: interrupted\n")
    monkeypatch.setattr(progress, "_to_stderr", say)
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "Tiny fold 1: iteration 4 " not in err
    assert "Tiny fold 1: iteration 12 " in err
    assert out.splitlines()[0].split()[:2] == ["method", "F1"]
    folder = tmp_path / "small"
    assert out.splitlines()[-2:] == [
        f"wrote {folder}: results.json, scores.csv, predictions",
        f"wrote {folder / 'report.html'}",
    ]


def test_across_data_sets(tmp_path: Path) -> None:
    path = write_experiment(tmp_path)
    run(path)
    write_prepared(tmp_path / "other", dataset="disfa", aus=("4", "9"), prefix="SN")
    cross = tmp_path / "cross.toml"
    cross.write_text(
        OPTIONS.replace('data = "data"', 'data = "data"\ntest_data = "other"\ncache = "small"')
    )
    lines: list[str] = []
    results = run(cross, lines.append)
    # The networks of the first experiment serve, by the shared cache.
    assert not any("iteration" in line for line in lines)
    assert results.cross
    assert (results.train_set.name, results.test_set.name) == ("small bp4d", "small disfa")
    assert results.aus == ["4", "9"]
    assert results.runs[0].folder.startswith("../small/runs/tiny-fold1-")
    by_key = {(row.method, row.fold, row.au): row for row in results.scores}
    own = by_key["Tiny (sigmoid)", "mean", "9"]
    assert (own.f1, own.roc_auc) == (None, None)
    assert by_key["Tiny (sigmoid)", 1, "9"].note == "no output of the network"
    assert by_key["Tiny (sigmoid)", 1, "4"].roc_auc is not None
    assert by_key["Tiny (sigmoid)", 1, "mean"].note == "left out of the mean: AU 9"
    assert by_key["Tiny", "mean", "9"].roc_auc > 0.6
    assert any("fold k with the network of fold k" in line for line in results.protocol)


def test_two_seeds_and_one_fold(tmp_path: Path) -> None:
    path = write_experiment(
        tmp_path, OPTIONS.replace("[training]", "seeds = [1, 2]\nfolds = [2]\n[training]")
    )
    results = run(path)
    assert (results.folds, results.seeds) == ([2], [1, 2])
    by_seed = {
        row.seed: row.roc_auc
        for row in results.scores
        if (row.method, row.fold, row.au) == ("Tiny (sigmoid)", 2, "mean")
    }
    assert set(by_seed) == {1, 2}
    assert by_seed[1] != by_seed[2]
    assert len({row.folder for row in results.runs}) == 2


def test_a_subject_in_two_parts_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_experiment(tmp_path)
    lists = tmp_path / "data" / "folds" / "2"
    with (lists / "train.txt").open("a") as file:
        file.write("F3/T1/0000\n")
    message = refused(capsys, "experiment", path)
    assert message.startswith(f"{tmp_path / 'data'}: fold 2: subject F3 is in train and in test; ")
    assert not (tmp_path / "small").exists()


def test_testing_across_folders_of_one_data_set_on_known_subjects_is_refused(
    tmp_path: Path,
) -> None:
    path = write_experiment(
        tmp_path, OPTIONS.replace("[training]", 'test_data = "again"\n[training]')
    )
    write_prepared(tmp_path / "again", test=(("F3",), ("F1",)), validation=(("F6",), ("F6",)))
    with pytest.raises(DataError, match="fold 1 tests on subject F3, from whom the networks learn"):
        Experiment(read_config(path), device="cpu", threads=1)


def test_one_class_is_told_and_left_out_of_the_mean(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, OPTIONS.replace('["tiny", "lsvm"]', '["lsvm"]'))
    data = tmp_path / "data" / "frames.csv"
    lines = data.read_text().splitlines()
    # Nobody of fold 1's test shows the first AU.
    changed = [
        ",".join([*line.split(",")[:4], "-1", *line.split(",")[5:]])
        if line.startswith(("F1/", "F2/"))
        else line
        for line in lines
    ]
    data.write_text("\n".join(changed) + "\n")
    by_key = {(row.method, row.fold, row.au): row for row in run(path).scores}
    row = by_key["LSVM", 1, "1"]
    assert (row.positives, row.roc_auc, row.f1_norm) == (0, None, None)
    assert row.note == "one class only: no positive label; left out of the mean"
    assert by_key["LSVM", 1, "mean"].note == "left out of the mean: AU 1"
    assert by_key["LSVM", 1, "mean"].f1 == pytest.approx(
        np.mean([by_key["LSVM", 1, au].f1 for au in ("4", "12")])
    )
    assert by_key["LSVM", "mean", "1"].f1 == by_key["LSVM", 2, "1"].f1
    assert by_key["LSVM", "mean", "1"].note == "the mean is without fold 1"


def test_without_validation_subjects_the_last_iteration_and_the_first_c_are_taken(
    tmp_path: Path,
) -> None:
    path = write_experiment(tmp_path, OPTIONS.replace("[training]", "folds = [1]\n[training]"))
    lists = tmp_path / "data" / "folds" / "1"
    keys = [
        key
        for name in ("train", "val", "test")
        for key in (lists / f"{name}.txt").read_text().split()
    ]
    for old in lists.iterdir():
        old.unlink()
    lists.rmdir()
    write_fold(lists, sorted(keys), "", SUBJECTS[:2], ())
    results = run(path)
    assert (results.runs[0].iteration, results.runs[0].validation) == (12, [])
    file = next(row.file for row in results.predictions if row.method == "Tiny")
    with np.load(results.folder / file) as found:
        assert found["c"].tolist() == [0.1] * 3


def test_weights_that_are_gone_are_told(tmp_path: Path) -> None:
    path = write_experiment(tmp_path)
    results = run(path)
    (results.folder / results.runs[0].weights).unlink()
    with pytest.raises(DataError, match=r"tiny_iter_\d+\.caffemodel is gone; delete .*done\.json"):
        run(path)
