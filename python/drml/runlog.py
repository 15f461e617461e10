"""What a training run shows and leaves: a log that Caffe's parsers read, metrics, a loss curve.

A line of the log reads `I1122 20:15:01.123456  1234 solver.py:239] Iteration 100, lr = 0.001`, as
glog writes it, so Caffe's tools/extra/parse_log.py and what descends from it work on train.log.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from drml.errors import DrmlError, SolverError
from drml.weights import atomic_write

if TYPE_CHECKING:
    from tqdm import tqdm

LOG_NAME = "train.log"
METRICS_NAME = "metrics.jsonl"
CURVE_NAME = "loss.png"

_REDRAW_SECONDS = 60.0


def number(value: float) -> str:
    """A number as Caffe's log shows it: six significant digits."""
    return f"{value:.6g}"


def output_line(phase: str, index: int, name: str, value: float, loss_weight: float) -> str:
    """Caffe's line for one number of an output blob; `phase` is `Train` or `Test`."""
    loss = f" (* {number(loss_weight)} = {number(loss_weight * value)} loss)" if loss_weight else ""
    return f"    {phase} net output #{index}: {name} = {number(value)}{loss}"


def new_run_folder(name: str, base: Path = Path("runs")) -> Path:
    """A folder `base/name-<date>-<time>` that does not exist yet; it is not made."""
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    folder, count = base / stem, 1
    while folder.exists():
        count += 1
        folder = base / f"{stem}-{count}"
    return folder


def run_folder_of(snapshot: Path) -> Path | None:
    """The run folder that a snapshot lies in, or None."""
    for folder in (snapshot.parent, snapshot.parent.parent):
        if (folder / METRICS_NAME).is_file():
            return folder
    return None


class _AppendOnly:
    """A text file that only grows, by one write per call: a killed process leaves whole lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed = False
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            self.write("\n")

    def write(self, text: str) -> OSError | None:
        """Appends text; the error when that failed for the first time in a row, else None."""
        data = text.encode()
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            first, self.failed = not self.failed, True
            return error if first else None
        self.failed = False
        return None

    def close(self) -> None:
        os.close(self._file)


class RunLog:
    """Log of one run: to the console, and to a run folder once `open` has named one.

    A run folder holds train.log, metrics.jsonl, copies of the prototxts used and loss.png. One that
    exists already is appended to. A disk that fills up later costs lines, never the run.

    Args:
        folder: the run folder, opened at once; None: only the console, or `open` later.
        console: where log lines and the bar go; None: stderr.
        quiet: nothing goes to the console.
        folder_follows: `open` will be called; until then what is logged is kept for it.
        progress: whether to draw a progress bar; None: on a terminal only.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        console: TextIO | None = None,
        quiet: bool = False,
        progress: bool | None = None,
        folder_follows: bool = False,
    ) -> None:
        self.folder: Path | None = None
        self._console = None if quiet else console or sys.stderr
        is_terminal = self._console is not None and self._console.isatty()
        self._progress = is_terminal if progress is None else progress
        self._bar: tqdm[Any] | None = None
        self._files: dict[str, _AppendOnly] = {}
        self._early: list[tuple[str, str]] | None = [] if folder_follows else None
        self._drawn_at = time.monotonic()
        if folder is not None:
            self.open(folder)

    def open(self, folder: Path) -> None:
        """Starts or continues a run folder, which is made if it is missing.

        Raises:
            SolverError: the folder or its files cannot be made.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in (LOG_NAME, METRICS_NAME):
                self._files[name] = _AppendOnly(folder / name)
        except OSError as error:
            self.close()
            reason = error.strerror or str(error)
            raise SolverError(f"cannot make the run folder {folder}: {reason}") from error
        self.folder = folder
        for name, text in self._early or []:
            self._append(name, text)
        self._early = None

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Takes the bar away and closes the files."""
        self.stop_progress()
        for file in self._files.values():
            file.close()
        self._files.clear()

    def info(self, text: str, *, console: bool = True) -> None:
        """Logs text, to the run folder alone without `console`; each of its lines gets a prefix."""
        self._write("I", text, console)

    def warning(self, text: str) -> None:
        """Logs a warning."""
        self._write("W", text)

    def error(self, text: str) -> None:
        """Logs an error that does not end the run."""
        self._write("E", text)

    def _write(self, severity: str, text: str, console: bool = True) -> None:
        caller = sys._getframe(2)
        source = f"{Path(caller.f_code.co_filename).name}:{caller.f_lineno}"
        lines = _with_prefix(severity, source, text)
        if console:
            self._to_console(lines)
        self._append(LOG_NAME, lines)

    def _append(self, name: str, text: str) -> None:
        if self.folder is None:
            if self._early is not None:
                self._early.append((name, text))
            return
        file = self._files.get(name)
        error = file.write(text) if file is not None else None
        if error is not None:
            what = f"cannot write to {self.folder / name}: {error.strerror}; the run goes on"
            self._to_console(_with_prefix("E", "runlog.py", what))

    def _to_console(self, text: str) -> None:
        if self._console is None:
            return
        if self._bar is not None:
            self._bar.write(text, file=self._console, end="")
        else:
            self._console.write(text)
            self._console.flush()

    def record(self, event: str, iteration: int, **values: Any) -> None:
        """Appends one object to metrics.jsonl; numbers that are not finite become null."""
        entry = {"event": event, "iteration": iteration, **values}
        self._append(METRICS_NAME, json.dumps(_without_nan(entry)) + "\n")
        if event == "snapshot" and time.monotonic() - self._drawn_at > _REDRAW_SECONDS:
            self.draw()

    def keep(self, files: Iterable[Path]) -> None:
        """Copies prototxts into the run folder; what differs from its namesake gets a number."""
        if self.folder is None:
            return
        for file in files:
            try:
                content = file.read_bytes()
                target, count = self.folder / file.name, 1
                while target.exists() and target.read_bytes() != content:
                    count += 1
                    target = self.folder / f"{file.stem}_{count}{file.suffix}"
                if not target.exists():
                    atomic_write(target, content)
            except (OSError, DrmlError) as error:
                self.warning(f"cannot keep a copy of {file}: {error}")

    def start_progress(self, total: int, done: int) -> None:
        """Shows a bar of `total` iterations with the time left, `done` of them behind us."""
        if not self._progress or self._console is None or self._bar is not None:
            return
        from tqdm import tqdm

        self._bar = tqdm(
            total=total,
            initial=done,
            unit="iter",
            file=self._console,
            dynamic_ncols=True,
            leave=False,
        )

    def advance(self, loss: float, rate: float) -> None:
        """Moves the bar by one iteration."""
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{loss:.4g}", lr=f"{rate:.3g}", refresh=False)
            self._bar.update()

    def stop_progress(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def draw(self) -> None:
        """Writes loss.png into the run folder; a failure is a warning."""
        if self.folder is None:
            return
        try:
            draw_losses(read_metrics(self.folder / METRICS_NAME), self.folder / CURVE_NAME)
        except (OSError, DrmlError) as error:
            self.warning(f"cannot draw the loss curve: {error}")
        self._drawn_at = time.monotonic()


def _with_prefix(severity: str, source: str, text: str) -> str:
    """Lines as glog writes them: severity, date, time, thread, where from."""
    thread = threading.get_native_id()
    prefix = f"{severity}{datetime.now():%m%d %H:%M:%S.%f} {thread:5d} {source}] "
    return "".join(f"{prefix}{line}\n" for line in text.splitlines() or [""])


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The entries of a metrics.jsonl.

    Where a run was resumed from a snapshot older than its last entries, these entries are dropped:
    what remains is the history of the weights that exist. A line cut by a kill is skipped.
    """
    entries: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("iteration"), int):
            continue
        if entry.get("event") == "resume":
            entries = [old for old in entries if old["iteration"] < entry["iteration"]]
        entries.append(entry)
    return entries


def draw_losses(entries: list[dict[str, Any]], path: Path) -> None:
    """Draws training loss, raw and smoothed, and test losses against the iteration, as PNG."""
    from drml.report.curves import draw, of_metrics

    atomic_write(path, draw([of_metrics(entries)]))
