"""The command line as a whole: commands, options, and how every error ends in one line."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from cli_testing import (
    command,
    contents,
    enter_small,
    environment,
    only_error,
    refused,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import drml
from drml.commands import summary
from drml.errors import DrmlError
from drml.run import command_names, main


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_small(tmp_path, monkeypatch)


# Commands, help and versions --------------------------------------------------------------------


def test_the_commands_are_the_modules() -> None:
    wanted = {
        "convert",
        "convert-weights",
        "demo",
        "gradcheck",
        "mean",
        "summary",
        "test",
        "time",
        "train",
    }
    assert wanted <= set(command_names())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--threads", "1", "--version"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"drml {drml.__version__}\n")
    assert re.search(r"^oneDNN \d+\.\d+\.\d+, instruction set \S+$", out, re.MULTILINE)
    assert "threads: 1\n" in out
    assert "\ndevices: cpu" in out
    assert "Python 3." in out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in command_names():
        assert re.search(rf"^    {name}  ", out, re.MULTILINE), name


@pytest.mark.parametrize("name", command_names())
def test_help_of_every_command(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: drml {name} ")
    assert "--threads" in out
    assert "--device" in out


def test_help_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys, drml.run; status = drml.run.main(['--help']); "
        "heavy = {'sklearn', 'matplotlib', 'h5py', 'skimage'} & set(sys.modules); "
        "sys.exit(f'imported: {heavy}' if heavy else status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_common_options_stand_on_either_side(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--threads", "1", "summary", "train.prototxt"]) == 0
    assert main(["--threads=1", "--device=cpu", "summary", "train.prototxt"]) == 0
    assert main(["summary", "train.prototxt", "--threads", "1", "--device", "cpu"]) == 0
    assert main(["summary", "-batch-size", "3", "train.prototxt", "-phase=TEST"]) == 0
    assert "phase TEST, batch size 3" in capsys.readouterr().out


# Arguments that cannot be used --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "a command or a FILE.prototxt is missing; 'drml --help' lists the commands"),
        ("trian", "unknown command 'trian'; did you mean 'train'?"),
        ("sumary x", "unknown command 'sumary'; did you mean 'summary'?"),
        ("zzz", "unknown command 'zzz'; known are "),
        ("options", "unknown command 'options'"),
        ("trein.prototxt", "trein.prototxt: no such file; did you mean 'train.prototxt'?"),
        ("no/such.prototxt", "no/such.prototxt: no such file"),
        ("images", "images: is a folder, not a file"),
        ("summary /dev/null", "argument NET.prototxt: /dev/null: is not a regular file"),
        ("--thraeds 2", "unknown option '--thraeds'; did you mean '--threads'?"),
        ("--iterations 2 train.prototxt", "unknown option '--iterations'; options of a command"),
        ("--threads", "argument --threads: expected one argument"),
        ("--threads 0 --version", "argument --threads: must be a positive integer, got '0'"),
        ("--threads -1 --version", "argument --threads: must be a positive integer, got '-1'"),
        ("--threads=-1 --version", "argument --threads: must be a positive integer, got '-1'"),
        ("--threads two --version", "argument --threads: must be a positive integer, got 'two'"),
        ("--threads 1000000 --version", "argument --threads: must be at most "),
        ("--device cuda:97 --version", "argument --device: device 'cuda:97': th"),
        (
            "--device cudda --version",
            "argument --device: unknown device 'cudda'; did you mean 'cuda'?",
        ),
        ("--device x --version", "argument --device: unknown device 'x'; known are"),
        ("summary", "the following arguments are required: NET.prototxt"),
        ("summary none.prototxt", "argument NET.prototxt: none.prototxt: no such file"),
        (
            "summary tran.prototxt",
            "argument NET.prototxt: tran.prototxt: no such file; did you mean",
        ),
        ("summary images", "argument NET.prototxt: images: is a folder, not a file"),
        ("summary train.prototxt more", "unexpected argument 'more'"),
        ("summary train.prototxt --phas TEST", "unknown option '--phas'; did you mean '--phase'?"),
        (
            "summary train.prototxt --phase TRIAN",
            "argument --phase: unknown phase 'TRIAN'; did you",
        ),
        (
            "summary train.prototxt --device cuda:97",
            "argument --device: device 'cuda:97': th",
        ),
        ("time --iterations 0 --model train.prototxt", "argument --iterations: must be a positive"),
        ("train --solver none", "argument --solver: none: no such file"),
        (
            "train --solver solver.prototxt --iterations -4",
            "argument --iterations: must be a positive",
        ),
        (
            "train --solver solver.prototxt --iterations=-4",
            "argument --iterations: must be a positive",
        ),
        (
            "train --solver solver.prototxt --snapshot none",
            "argument --snapshot: none: no such file",
        ),
        ("train --solver solver.prototxt --weights none", "argument --weights: none: no such file"),
        (
            "train --solver solver.prototxt --batch-size 0",
            "argument --batch-size: must be a positive",
        ),
        ("convert none.txt db", "argument LIST: none.txt: no such file"),
        ("mean none out.binaryproto", "none: "),
        ("test --model train.prototxt", "the following arguments are required: --weights"),
    ],
)
def test_bad_arguments(
    small: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    before = contents(small)
    line = refused(capsys, *words.split())
    assert line.startswith(message), line
    assert contents(small) == before


# Errors of the surroundings -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DrmlError("two\nlines\x1b[31m"), 2, r"two\nlines\x1b[31m"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.csv"),
            2,
            "a.csv: No space left on device",
        ),
        (OSError("odd"), 2, "odd"),
        (MemoryError(), 2, "not enough memory"),
        (MemoryError("Unable to allocate 9 TiB"), 2, "not enough memory: Unable to allocate 9 TiB"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_each_error_is_one_line(
    small: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    message: str,
) -> None:
    def fail(args: object) -> int:
        raise error

    monkeypatch.setattr(summary, "run", fail)
    assert main(["summary", "train.prototxt"]) == status
    assert capsys.readouterr().err == f"drml: error: {message}\n"
    assert main(["summary", "train.prototxt", "--debug"]) == status
    text = capsys.readouterr().err
    assert text.startswith("Traceback")
    assert text.endswith(f"drml: error: {message}\n")


def test_a_bug_is_not_hidden(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(summary, "run", fail)
    with pytest.raises(ZeroDivisionError):
        main(["summary", "train.prototxt"])


def test_names_that_are_not_text(small: Path) -> None:
    name = os.fsdecode(b"net\xff.prototxt")
    shutil.copy(small / "train.prototxt", small / name)
    done = command("summary", name, cwd=small)
    assert done.returncode == 0, done.stderr
    done = command("summary", name + "x", cwd=small)
    assert done.returncode == 2
    assert "\\udcff" in only_error(done.stderr)


@pytest.mark.parametrize("words", [["summary", "train.prototxt"], ["--version"], ["--help"]])
def test_a_pipe_closed_early_is_quiet(small: Path, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = command(*words, cwd=small, stdout=writer)
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_behind_stdout(small: Path) -> None:
    with open("/dev/full", "w") as full:
        done = command("summary", "train.prototxt", cwd=small, stdout=full)
    assert done.returncode == 2
    assert only_error(done.stderr) == "No space left on device"


def test_an_interrupt_ends_in_one_line(small: Path) -> None:
    words = "time --model train.prototxt --phase TEST --iterations 2000000000 --threads 1"
    process = subprocess.Popen(
        [sys.executable, "-m", "drml.run", *words.split()],
        cwd=small,
        env={**environment(), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background may have been started with interrupts ignored.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )
    with process:
        assert process.stdout is not None
        # The first line is printed before the timing begins.
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        try:
            _, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert error == "drml: error: interrupted\n"


def test_an_interrupt_inside_a_callback_is_not_lost(small: Path) -> None:
    text = """
import signal, sys, time, weakref
from drml import run
from drml.commands import summary

class Target:
    pass

def interrupted_in_a_callback(args):
    target = Target()
    watch = weakref.ref(target, lambda _: signal.raise_signal(signal.SIGINT))
    del target
    time.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)
summary.run = interrupted_in_a_callback
sys.argv = ["drml", "summary", "train.prototxt"]
run.entry()
"""
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=small,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "drml: error: interrupted\n")


# Any words at all ---------------------------------------------------------------------------------

WORDS = st.one_of(
    st.sampled_from(
        [
            *(
                "summary",
                "time",
                "gradcheck",
                "train",
                "test",
                "convert",
                "mean",
                "bare",
                "options",
            ),
            *(
                "train.prototxt",
                "deploy.prototxt",
                "solver.prototxt",
                "faces.txt",
                "images",
                "none",
            ),
            *(
                "--threads",
                "--device",
                "--debug=",
                "--version",
                "--help",
                "-h",
                "--phase",
                "--model",
            ),
            *("--weights", "--batch-size", "--samples", "--layer", "--solver", "--json", "--aus"),
            *(
                "cpu",
                "cuda:0",
                "TRAIN",
                "test",
                "0",
                "1",
                "2",
                "-1",
                "1e9",
                "-",
                "--",
                "",
                "=",
                "--=",
            ),
        ]
    ),
    st.text(max_size=6),
)


# Commands that may run for long, or write, when chance gives them what they need.
LONG = {"train", "test", "time", "gradcheck", "convert", "mean", "demo"}


@given(st.lists(WORDS, max_size=6))
@settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_words_lead_to_a_traceback(
    small_once: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    if LONG & set(words) or any(word.endswith(".prototxt") for word in words[:1]):
        words = [*words, "--no-such-option"]
    before = contents(small_once)
    capsys.readouterr()
    status = main(words)
    error = capsys.readouterr().err
    assert status in (0, 2)
    if status == 2:
        assert only_error(error)
        assert contents(small_once) == before


@pytest.fixture(scope="module")
def small_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("words")
    with pytest.MonkeyPatch.context() as patch:
        yield enter_small(folder, patch)
