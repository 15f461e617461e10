"""`plot` and the curves that it reads: run folders, our logs and Caffe's."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from cli_testing import contents, refused

from drml.report.curves import Curve, draw, of_log, read_curve, smooth
from drml.run import main
from drml.runlog import RunLog, output_line

pytestmark = pytest.mark.cpu_only

# What stock Caffe prints, with dates of two forms that glog has had.
CAFFE = """\
Log file created at: 2016/04/01 12:00:00
I0401 12:00:00.000000  4242 caffe.cpp:185] Using GPUs 0
I0401 12:00:01.000000  4242 solver.cpp:337] Iteration 0, Testing net (#0)
I0401 12:00:02.000000  4242 solver.cpp:404]     Test net output #0: acc = 0.5
I0401 12:00:02.000000  4242 solver.cpp:404]     Test net output #1: loss = 9.5 (* 1 = 9.5 loss)
I0401 12:00:02.000000  4242 solver.cpp:404]     Test net output #2: aux = 2 (* 0.25 = 0.5 loss)
I0401 12:00:03.000000  4242 solver.cpp:228] Iteration 0, loss = 9.1
I0401 12:00:03.000000  4242 solver.cpp:244]     Train net output #0: loss = 9.1 (* 1 = 9.1 loss)
I0401 12:00:03.000000  4242 sgd_solver.cpp:106] Iteration 0, lr = 0.001
I0401 12:00:04.000000  4242 solver.cpp:228] Iteration 20 (2.5 iter/s, 8s/20 iters), loss = 5.5e+0
I0401 12:00:05.000000  4242 solver.cpp:228] Iteration 40 (2.5 iter/s, 8s/20 iters), loss = nan
I20160401 12:00:06.000000  4242 solver.cpp:337] Iteration 50, Testing net (#0)
I20160401 12:00:06.000000  4242 solver.cpp:404]     Test net output #1: loss = 4 (* 1 = 4 loss)
I20160401 12:00:06.000000  4242 solver.cpp:228] Iteration 60 (2 iter/s, 8s/20 iters), loss = 4.25
"""


def write_run(folder: Path, losses: list[float], tests: bool = True) -> None:
    with RunLog(folder, quiet=True) as log:
        log.info("Solving tiny")
        for iteration, loss in enumerate(losses):
            if tests and iteration % 10 == 0:
                log.info(f"Iteration {iteration}, Testing net (#0)")
                log.info(output_line("Test", 0, "loss", loss + 1, 1))
                log.record("test", iteration, net=0, loss=loss + 1)
            log.info(f"Iteration {iteration} (3 iter/s, 0.3s/1 iters), loss = {loss}")
            log.info(f"Iteration {iteration}, lr = 0.001")
            log.record("train", iteration, loss=loss)


def test_caffes_log() -> None:
    curve = of_log(CAFFE, "old")
    assert curve.train == [(0, 9.1), (20, 5.5), (60, 4.25)]
    assert curve.tests == {0: [(0, 10.0), (50, 4.0)]}


def test_a_run_folder_and_its_log_are_the_same_curve(tmp_path: Path) -> None:
    losses = [8 / (1 + i) for i in range(25)]
    write_run(tmp_path / "run", losses)
    curve = read_curve(tmp_path / "run")
    assert curve.name == "run"
    assert curve.train == [(i, pytest.approx(loss)) for i, loss in enumerate(losses)]
    assert [at for at, _ in curve.tests[0]] == [0, 10, 20]
    for other in ("train.log", "metrics.jsonl"):
        found = read_curve(tmp_path / "run" / other)
        assert found.train == curve.train
        for (at, loss), (at_folder, loss_folder) in zip(
            found.tests[0], curve.tests[0], strict=True
        ):
            assert at == at_folder
            assert loss == pytest.approx(loss_folder, rel=1e-5)


def test_of_a_resumed_log_what_came_later_stands() -> None:
    line = "I0401 12:00:03.000000  4242 solver.cpp:228] Iteration {}, loss = {}\n"
    test = (
        "I0401 12:00:06.000000  4242 solver.cpp:337] Iteration {}, Testing net (#0)\n"
        "I0401 12:00:06.000000  4242 solver.cpp:404]     Test net output #0: "
        "loss = {} (* 1 = {} loss)\n"
    )
    first = line.format(0, 9) + line.format(10, 8) + test.format(15, 7, 7) + line.format(20, 7)
    again = line.format(10, 6) + test.format(12, 5, 5)
    curve = of_log(first + again)
    assert curve.train == [(0, 9.0), (10, 6.0)]
    assert curve.tests == {0: [(12, 5.0)]}


def test_smooth() -> None:
    assert smooth([1.0, 5.0, 3.0], 1) == ([1.0, 5.0, 3.0], 1)
    means, window = smooth([0.0, 3.0, 6.0, 9.0, 0.0], 3)
    assert window == 3
    assert means == [1.5, 3.0, 6.0, 5.0, 4.5]
    assert smooth([1.0] * 200)[1] == 4


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_several_runs_in_one_picture(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "one", [9.0 - i / 10 for i in range(40)])
    (tmp_path / "two.log").write_text(CAFFE)
    out = tmp_path / f"curves{suffix}"
    line = ["plot", str(tmp_path / "one"), str(tmp_path / "two.log"), "--out", str(out)]
    assert main([*line, "--names", "DRML,AlexNet"]) == 0
    shown = capsys.readouterr().out
    assert "DRML: training loss 9 at 0, 5.1 at 39; test net 0 loss 10 at 0, 7 at 30" in shown
    assert "AlexNet: training loss 9.1 at 0, 4.25 at 60" in shown
    first = out.read_bytes()
    assert main([*line, "--names", "DRML,AlexNet"]) == 0
    assert out.read_bytes() == first
    assert main([*line, "--log-scale", "--smooth", "5"]) == 0
    assert out.read_bytes() != first
    if suffix == ".png":
        assert cv2.imread(str(out)).std() > 5
    elif suffix == ".svg":
        assert b"<svg" in first
    else:
        assert first.startswith(b"%PDF")


def test_curves_without_losses_are_drawn() -> None:
    assert draw([]).startswith(b"\x89PNG")
    assert draw([Curve("a"), Curve("b", tests={1: [(0, 1.0)]})]).startswith(b"\x89PNG")


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_text("no log\n")
    (tmp_path / "empty.log").write_text(CAFFE.splitlines()[1] + "\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.jsonl").write_bytes(b"\xff\xfe\n")
    write_run(tmp_path / "run", [1.0])
    before = contents(tmp_path)
    out = ("--out", tmp_path / "o.png")
    run = tmp_path / "run"
    assert "none: No such file or directory" in refused(capsys, "plot", tmp_path / "none", *out)
    assert "is no training log" in refused(capsys, "plot", tmp_path / "text.txt", *out)
    assert "holds no loss" in refused(capsys, "plot", tmp_path / "empty.log", *out)
    assert "there is no metrics.jsonl" in refused(capsys, "plot", tmp_path / "folder", *out)
    assert "is no text file" in refused(capsys, "plot", run, tmp_path / "bad.jsonl", *out)
    assert "has 2 names for 1 runs" in refused(capsys, "plot", run, *out, "--names", "a,b")
    assert "must end in .png, .svg, .pdf" in refused(capsys, "plot", run, "--out", "o.gif")
    assert "positive integer" in refused(capsys, "plot", run, *out, "--smooth", "0")
    assert contents(tmp_path) == before
