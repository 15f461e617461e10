"""Log lines as Caffe's parsers read them, and what a run folder holds."""

from __future__ import annotations

import io
import json
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import pytest

from drml import runlog
from drml.errors import SolverError
from drml.runlog import RunLog, new_run_folder, output_line, read_metrics, run_folder_of

pytestmark = pytest.mark.cpu_only


def caffe_parser(lines: list[str], year: int) -> tuple[float, list[tuple[Any, ...]]]:
    """Reads a log as tools/extra/parse_log.py does: seconds since `Solving`, and output rows.

    The patterns are those of Caffe's script, and as in the script every line after the first
    iteration must carry a date and a time.
    """

    def when(line: str) -> datetime:
        words = line.strip().split()
        hours, minutes, seconds = words[1].split(":")
        whole, micro = seconds.split(".")
        month, day = int(words[0][1:3]), int(words[0][3:])
        return datetime(year, month, day, int(hours), int(minutes), int(whole), int(micro))

    start = next(when(line) for line in lines if "Solving" in line)
    iteration, rate, rows = -1.0, float("nan"), []
    last = start
    for line in lines:
        if match := re.search(r"Iteration (\d+)", line):
            iteration = float(match[1])
        if iteration < 0:
            continue
        last = when(line)
        if match := re.search(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)", line):
            rate = float(match[1])
        for phase in ("Train", "Test"):
            pattern = rf"{phase} net output #(\d+): (\S+) = ([\.\deE+-]+)"
            if match := re.search(pattern, line):
                rows.append((phase, iteration, int(match[1]), match[2], float(match[3]), rate))
    return (last - start).total_seconds(), rows


def test_caffes_parser_reads_the_log(tmp_path: Path) -> None:
    with RunLog(tmp_path, quiet=True) as log:
        log.info("Solving tiny\nLearning Rate Policy: fixed")
        log.info("Iteration 0, Testing net (#0)")
        log.info(output_line("Test", 0, "loss", 12.3456789, 1))
        log.info("Iteration 0 (0 iter/s, 0.5s/10 iters), loss = 4.25")
        log.info(output_line("Train", 0, "loss", 1.5e-7, 0.5))
        log.info("Iteration 0, lr = 1e-05")
        log.info(output_line("Train", 1, "accuracy", 0.5, 0))
    lines = (tmp_path / "train.log").read_text().splitlines()
    seconds, rows = caffe_parser(lines, datetime.now().year)
    assert 0 <= seconds < 60
    assert rows == [
        ("Test", 0, 0, "loss", pytest.approx(12.3457), pytest.approx(float("nan"), nan_ok=True)),
        ("Train", 0, 0, "loss", 1.5e-7, pytest.approx(float("nan"), nan_ok=True)),
        ("Train", 0, 1, "accuracy", 0.5, 1e-5),
    ]


def test_lines_look_like_glogs(tmp_path: Path) -> None:
    console = io.StringIO()
    with RunLog(console=console) as log:
        log.info("first\nsecond")
        log.warning("careful")
        log.error("bad")
    lines = console.getvalue().splitlines()
    shape = r"\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ test_runlog\.py:\d+\] "
    wanted = [
        "I" + shape + "first",
        "I" + shape + "second",
        "W" + shape + "careful",
        "E" + shape + "bad",
    ]
    for line, pattern in zip(lines, wanted, strict=True):
        assert re.fullmatch(pattern, line)


def test_output_line_shows_the_weighted_loss() -> None:
    assert (
        output_line("Test", 2, "loss", 4.5, 2)
        == "    Test net output #2: loss = 4.5 (* 2 = 9 loss)"
    )
    assert (
        output_line("Train", 0, "accuracy", 1 / 3, 0)
        == "    Train net output #0: accuracy = 0.333333"
    )


def test_metrics_are_json_without_nan(tmp_path: Path) -> None:
    with RunLog(tmp_path, quiet=True) as log:
        log.record("train", 3, loss=float("nan"), outputs={"a": [1.0, float("inf")]})
    entry = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert entry == {"event": "train", "iteration": 3, "loss": None, "outputs": {"a": [1.0, None]}}


def test_resumed_run_appends_and_drops_what_was_not_kept(tmp_path: Path) -> None:
    for first in (0, 3):
        with RunLog(tmp_path, quiet=True) as log:
            log.info(f"from {first}")
            if first:
                log.record("resume", first)
            for iteration in range(first, first + 5):
                log.record("train", iteration, loss=float(first))
    entries = [e for e in read_metrics(tmp_path / "metrics.jsonl") if e["event"] == "train"]
    assert [(e["iteration"], e["loss"]) for e in entries] == [
        *((i, 0.0) for i in range(3)),
        *((i, 3.0) for i in range(3, 8)),
    ]
    assert [line[-1] for line in (tmp_path / "train.log").read_text().splitlines()] == ["0", "3"]


def test_line_cut_by_a_kill_is_skipped_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"event": "train", "iteration": 0, "loss": 1}\n{"event": "tra')
    with RunLog(tmp_path, quiet=True) as log:
        log.record("train", 1, loss=2.0)
    assert [e["iteration"] for e in read_metrics(path)] == [0, 1]


def test_prototxts_are_kept_each_once(tmp_path: Path) -> None:
    sources = []
    for folder, text in (("a", "one"), ("b", "two"), ("c", "one")):
        (tmp_path / folder).mkdir()
        sources.append(tmp_path / folder / "net.prototxt")
        sources[-1].write_text(text)
    run = tmp_path / "run"
    with RunLog(run, quiet=True) as log:
        log.keep(sources)
        log.keep([tmp_path / "none.prototxt"])
    assert (run / "net.prototxt").read_text() == "one"
    assert (run / "net_2.prototxt").read_text() == "two"
    assert not (run / "net_3.prototxt").exists()
    assert "cannot keep a copy of" in (run / "train.log").read_text()


def test_loss_curve_is_a_picture(tmp_path: Path) -> None:
    with RunLog(tmp_path, quiet=True) as log:
        for iteration in range(120):
            log.record("train", iteration, loss=1 / (1 + iteration))
            if iteration % 50 == 0:
                log.record("test", iteration, net=0, loss=0.5)
        log.draw()
    image = cv2.imread(str(tmp_path / "loss.png"))
    assert image is not None
    assert image.shape == (540, 960, 3)
    assert image.std() > 5


def test_curve_without_entries_is_drawn_too(tmp_path: Path) -> None:
    with RunLog(tmp_path, quiet=True) as log:
        log.draw()
    assert (tmp_path / "loss.png").stat().st_size > 1000


def test_progress_bar_shows_the_time_left(tmp_path: Path) -> None:
    console = io.StringIO()
    with RunLog(console=console, progress=True) as log:
        log.start_progress(10, 4)
        log.advance(3.25, 0.01)
        log.info("a line above the bar")
        log.stop_progress()
    shown = console.getvalue()
    assert "| 4/10" in shown
    assert "a line above the bar" in shown
    assert re.search(r"<.*(iter/s|s/iter)", shown)


def test_no_bar_without_a_terminal() -> None:
    console = io.StringIO()
    with RunLog(console=console) as log:
        log.start_progress(10, 0)
        log.advance(1.0, 0.1)
    assert console.getvalue() == ""


def test_full_disk_costs_lines_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = io.StringIO()

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with RunLog(tmp_path, console=console) as log:
        with monkeypatch.context() as patch:
            patch.setattr(runlog.os, "write", full)
            log.info("lost")
            log.info("lost too")
        log.info("kept")
    assert console.getvalue().count("cannot write to") == 1
    assert "No space left on device; the run goes on" in console.getvalue()
    assert (tmp_path / "train.log").read_text().endswith("] kept\n")


def test_run_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        SolverError, match=r"cannot make the run folder .*file/run: Not a directory"
    ):
        RunLog(tmp_path / "file" / "run", quiet=True)


def test_run_folders_do_not_collide(tmp_path: Path) -> None:
    first = new_run_folder("drml", tmp_path)
    first.mkdir()
    second = new_run_folder("drml", tmp_path)
    assert re.fullmatch(r"drml-\d{8}-\d{6}", first.name)
    assert first != second
    with RunLog(first, quiet=True):
        pass
    assert run_folder_of(first / "drml_iter_5.solverstate") == first
    assert run_folder_of(first / "snapshots" / "drml_iter_5.solverstate") == first
    assert run_folder_of(second / "drml_iter_5.solverstate") is None


def test_importing_is_light() -> None:
    assert "tqdm" not in vars(runlog)
    assert "matplotlib" not in vars(runlog)
    assert sys.modules["drml.runlog"] is runlog
