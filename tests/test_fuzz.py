"""Some of the files that fuzz_files.py tries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fuzz_files
import numpy as np
import pytest

from drml.errors import DrmlError


@pytest.mark.cpu_only
def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, fuzz_files.__file__, "--count", "600", "--keep", str(tmp_path / "kept")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "read" in done.stdout
    assert "refused" in done.stdout


def test_files_that_were_not_changed_are_read(tmp_path: Path) -> None:
    for text in fuzz_files.NETS.values():
        path = tmp_path / "net.prototxt"
        path.write_text(text)
        for phase in (0, 1):
            fuzz_files.try_net(path, phase, fuse=False)


def test_a_failure_is_found_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(path: Path, phase: int, fuse: bool) -> None:
        raise ZeroDivisionError

    kept = tmp_path / "kept"
    monkeypatch.setattr(fuzz_files, "try_net", fail)
    monkeypatch.setattr(fuzz_files, "_limit_memory", lambda: None)
    monkeypatch.setattr(sys, "argv", ["fuzz_files.py", "--count", "4", "--keep", str(kept)])
    assert fuzz_files.main() == 1
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert kept.read_bytes()


HANG = """
import fuzz_files
fuzz_files.SECONDS, fuzz_files.ON_THE_CLOCK = 0.5, {clock}
fuzz_files.try_net = lambda *given: {what}
fuzz_files.main()
"""


@pytest.mark.cpu_only
@pytest.mark.parametrize(
    ("what", "clock", "wanted"),
    [
        ("max(iter(int, 1))", 600, "Current thread"),
        ("__import__('time').sleep(600)", 0.5, "Timeout"),
    ],
)
def test_a_hang_ends_the_program(tmp_path: Path, what: str, clock: float, wanted: str) -> None:
    kept = tmp_path / "kept"
    done = subprocess.run(
        [sys.executable, "-c", HANG.format(what=what, clock=clock), "--keep", str(kept)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode != 0
    assert wanted in done.stderr
    assert kept.read_bytes()


def test_an_error_of_two_lines_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, phase: int, fuse: bool) -> None:
        raise DrmlError("one\ntwo")

    monkeypatch.setattr(fuzz_files, "try_net", fail)
    monkeypatch.setattr(fuzz_files, "_limit_memory", lambda: None)
    with pytest.raises(AssertionError, match="more than one line"):
        fuzz_files.run(4, 0, tmp_path / "kept")


def test_mutations_follow_from_the_seed() -> None:
    content = fuzz_files.NETS["chain"].encode()
    first, again, other = (
        fuzz_files.mutate(content, np.random.default_rng(seed), False) for seed in (1, 1, 2)
    )
    assert first == again
    assert first not in (content, other)
