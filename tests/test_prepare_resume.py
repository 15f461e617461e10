"""`prepare` goes on where it stopped: interruptions, full disks, changed options."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_testing import command, contents, environment, only_error
from prepare_testing import options, points_68, write_bp4d, write_disfa

from drml import weights
from drml.errors import DrmlError, UsageError
from drml.prepare import run as run_module
from drml.prepare.job import prepare
from drml.prepared import Prepared
from drml.run import main

pytestmark = pytest.mark.cpu_only


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_bp4d(tmp_path / "BP4D")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the clips that are prepared from now on."""
    names: list[str] = []
    real = run_module.prepare_clip

    def prepare_clip(clip: Any, *rest: Any) -> Any:
        names.append(clip.name)
        return real(clip, *rest)

    monkeypatch.setattr(run_module, "prepare_clip", prepare_clip)
    return names


def stop_after(writes: int, tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepares a tree until the disk is full, after so many parts."""
    left = [writes]
    real = run_module.Parts.write

    def write(self: Any, clip: Any, part: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise weights.WeightsError(f"{clip.name}: {os.strerror(errno.ENOSPC)}")
        real(self, clip, part)

    with monkeypatch.context() as patch:
        patch.setattr(run_module.Parts, "write", write)
        with pytest.raises(DrmlError, match="No space left on device"):
            prepare(out, options("bp4d", tree))


def test_goes_on_where_it_stopped(
    tree: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(3, tree, out, monkeypatch)
    assert len(list((out / "parts").glob("*.npz"))) == 3
    assert not (out / "manifest.json").exists()
    names = counted(monkeypatch)
    prepare(out, options("bp4d", tree))
    assert names == ["F002/T2", "M001/T1", "M001/T2", "M002/T1", "M002/T2"]
    prepare(tmp_path / "whole", options("bp4d", tree))
    assert contents(out) == contents(tmp_path / "whole")


def test_a_complete_folder_is_left_as_it_is(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = prepare(out, options("bp4d", tree))
    names = counted(monkeypatch)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again, complete = prepare(out, options("bp4d", tree))
    assert complete
    assert again == first
    assert not names
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"unknown": "drop"}, "--unknown mask, not drop"),
        ({"aus": ("1", "2")}, "--aus none, not 1,2"),
        ({"size": 100}, "--size 200, not 100"),
        ({"sampling": (1, 2)}, "--sampling none, not 1,2"),
        ({"quality": 90}, "--quality 95, not 90"),
    ],
)
def test_changed_options_are_named(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], message: str
) -> None:
    stop_after(1, tree, out, monkeypatch)
    with pytest.raises(UsageError) as error:
        prepare(out, options("bp4d", tree, **changed))
    assert str(error.value) == (
        f"{out}: was begun with {message}; name another folder, or give --force"
    )


def test_folds_may_change_until_the_folder_is_complete(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(3, tree, out, monkeypatch)
    names = counted(monkeypatch)
    prepare(out, options("bp4d", tree, folds="loso", without=("F001",)))
    assert len(names) == 5
    assert len(Prepared(out).folds) == 3
    with pytest.raises(UsageError, match="was made with --folds loso, not 2"):
        prepare(out, options("bp4d", tree))
    prepare(out, options("bp4d", tree), force=True)
    assert len(Prepared(out).folds) == 2
    assert len(names) == 5 + 8


def test_labels_or_landmarks_that_changed_since(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(4, tree, out, monkeypatch)
    coding = tree / "AUCoding" / "AU_OCC" / "F001_T1.csv"
    coding.write_text(coding.read_text().replace("\n2,9,", "\n2,1,"))
    np.save(tree / "landmarks" / "F002_T1.npy", np.float32([points_68()] * 6))
    names = counted(monkeypatch)
    prepare(out, options("bp4d", tree))
    assert names == ["F001/T1", "F002/T1", "M001/T1", "M001/T2", "M002/T1", "M002/T2"]


def test_a_damaged_part_is_made_again(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(2, tree, out, monkeypatch)
    (out / "parts" / "F001%2FT1.npz").write_bytes(b"PK nothing")
    names = counted(monkeypatch)
    prepare(out, options("bp4d", tree))
    assert names[0] == "F001/T1"
    assert len(names) == 7


def test_does_not_write_into_other_folders(tree: Path, out: Path) -> None:
    out.mkdir()
    prepare(out, options("bp4d", tree))
    shutil.rmtree(out)
    out.mkdir()
    (out / "thesis.tex").write_text("precious")
    for force in (False, True):
        with pytest.raises(UsageError, match="holds other things; name a new folder"):
            prepare(out, options("bp4d", tree), force=force)
    shutil.rmtree(out)
    out.write_text("a file")
    with pytest.raises(UsageError, match="is not a folder"):
        prepare(out, options("bp4d", tree))


# Several processes and their end


def test_processes_give_the_same(tree: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "one", options("bp4d", tree, sampling=(2, 2)))
    prepare(tmp_path / "two", options("bp4d", tree, sampling=(2, 2)), processes=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_video_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    tree = write_disfa(tmp_path / "DISFA")
    video = tree / "Videos_LeftCamera" / "LeftVideoSN002_comp.avi"
    points = tree / "landmarks" / "SN002.npy"
    # The file says it has four frames, as many as there are landmarks; it has six.
    data = bytearray(video.read_bytes())
    for start in (data.index(b"avih") + 8 + 16, data.index(b"strh") + 8 + 32):
        assert int.from_bytes(data[start : start + 4], "little") == 6
        data[start : start + 4] = (4).to_bytes(4, "little")
    video.write_bytes(data)
    np.save(points, np.load(points)[:4])
    out = tmp_path / "out"
    with pytest.raises(DrmlError) as error:
        prepare(out, options("disfa", tree), processes=2)
    assert str(error.value) == (
        f"{points}: landmarks of 4 frames, but {video} has 6 or more; 2 of 3 videos are finished "
        "and stay: mend it and run again, or leave the subject out by --without"
    )
    assert len(list((out / "parts").glob("*.npz"))) == 2
    manifest, _ = prepare(out, options("disfa", tree, without=("SN002",)))
    assert manifest["counts"]["subjects"] == 2


def test_disk_full_in_the_middle(tree: Path, out: Path) -> None:
    def no_large_files() -> None:
        # A part of six faces is larger; the folder's options are not.
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    words = ("prepare", "bp4d", tree, out, "--aus", "all", "--folds", "2")
    done = command(*words, "--threads", "2", cwd=tree, preexec_fn=no_large_files)
    assert done.returncode == 2, done.stderr
    line = only_error(done.stderr)
    assert "File too large; what is finished stays, and the same command goes on" in line
    assert [path.name for path in (out / "parts").iterdir()] == ["options.json"]
    assert main([*map(str, words), "--threads", "1"]) == 0
    assert len(Prepared(out).keys) == 48


def test_disk_full_while_joining(tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "data.mdb")

    with monkeypatch.context() as patch:
        patch.setattr("drml.data.lmdb_writer.os.rename", full)
        with pytest.raises(DrmlError, match=r"faces.lmdb: cannot be written: No space left"):
            prepare(out, options("bp4d", tree))
    assert len(list((out / "parts").glob("*.npz"))) == 8
    # As a run leaves them that is killed while it writes.
    (out / ".faces.lmdb.01234567.tmp").mkdir()
    (out / ".0123456789abcdef.part").write_text("")
    names = counted(monkeypatch)
    prepare(out, options("bp4d", tree))
    assert not names
    assert not (out / "parts").exists()
    assert not list(out.glob(".*"))


def alive(group: int) -> list[str]:
    """The processes of a group that have not ended, by their lines in /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, own = path.read_text().rpartition(")")[2].split()[:3]
            if own == str(group) and state != "Z":
                found.append(path.with_name("cmdline").read_text())
    return found


@pytest.mark.parametrize("end_by", [signal.SIGINT, signal.SIGKILL])
def test_all_processes_end_and_what_is_finished_stays(tmp_path: Path, end_by: int) -> None:
    tree = write_bp4d(tmp_path / "BP4D", frames=60)
    out = tmp_path / "out"
    words = ["prepare", "bp4d", str(tree), str(out), "--aus", "all", "--folds", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "drml.run", *words, "--threads", "2"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while not list(out.glob("parts/*.npz")):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.01)
    if end_by == signal.SIGINT:
        os.killpg(process.pid, end_by)
        _, error = process.communicate(timeout=60)
        assert process.returncode == 130, error
        assert only_error(error) == "interrupted"
        assert not list(out.rglob("*.part"))
    else:
        process.kill()
        process.communicate(timeout=60)
    while alive(process.pid):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert not (out / "manifest.json").exists()
