"""A training run from its files to its run folder: what `train` and the bare form share."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Timer

from google.protobuf import text_format

from drml import __version__, _core
from drml.data.options import DataOptions, wanted_mean
from drml.errors import DrmlError, SolverError
from drml.evaluate import Evaluation, evaluate, sample_count
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import NetFile, SolverFile, parse_solver, read_net
from drml.runlog import RunLog, new_run_folder, output_line, run_folder_of
from drml.signals import Action, actions_on_signals
from drml.solver import SGDSolver
from drml.solver_nets import share_trained_layers, train_source
from drml.solvers import solver_class
from drml.weights import atomic_write, write_mean

MEAN_NAME = "mean.binaryproto"


@dataclass
class RunOptions:
    """How to run a training, beside what its solver file says.

    Attributes:
        run_dir: the run folder; None: that of the snapshot, else a new one below `runs`.
        snapshot: a .solverstate to go on from.
        weights: .caffemodel files to start from.
        data: what stands in for the nets' data.
        device: `cpu`; None: what the solver file says.
        threads: background threads of each data layer.
        seed: replaces random_seed.
        sigint, sighup: what these signals do.
        minutes: ends the training after so long, as if its iterations were done.
        fuse: as drml.net.Net's.
        quiet: the log goes to the run folder alone.
    """

    run_dir: Path | None = None
    snapshot: Path | None = None
    weights: Sequence[Path] = ()
    data: DataOptions = field(default_factory=DataOptions)
    device: str | None = None
    threads: int = 2
    seed: int | None = None
    sigint: Action = Action.STOP
    sighup: Action = Action.SNAPSHOT
    minutes: float | None = None
    fuse: bool = True
    quiet: bool = False


@dataclass
class Run:
    """A training that is ready to start: its solver, its log, its folder and its options.

    `finished` tells after `solve` whether the training came to its end, by its iterations or its
    minutes, and was not stopped before.
    """

    solver: SGDSolver
    log: RunLog
    folder: Path
    options: RunOptions
    finished: bool = False

    def solve(self) -> None:
        """Trains to the end, or until a signal asks to stop; errors are in the log as well.

        Raises:
            SolverError: the loss is not finite, or the last snapshot cannot be written.
        """
        clock = _Clock(self.solver, self.options.minutes)
        try:
            with (
                clock,
                actions_on_signals(
                    self.solver.request_action,
                    sigint=self.options.sigint,
                    sighup=self.options.sighup,
                ),
            ):
                self.solver.solve()
            self.finished = clock.ran_out or not self.solver.stopped
            if clock.ran_out:
                self.log.info(f"{self.options.minutes:g} minutes are over")
        except DrmlError as error:
            self.log.stop_progress()
            self.log.error(str(error))
            raise
        except KeyboardInterrupt:
            self.log.stop_progress()
            self.log.warning("stopped at once, without a snapshot")
            raise
        finally:
            self.log.draw()


class _Clock:
    """Asks a solver to stop when its minutes are over; None: never."""

    def __init__(self, solver: SGDSolver, minutes: float | None) -> None:
        self.ran_out = False
        self._solver = solver
        self._timer = None if minutes is None else Timer(60 * minutes, self._stop)

    def _stop(self) -> None:
        self.ran_out = True
        self._solver.request_action(Action.STOP)

    def __enter__(self) -> None:
        if self._timer is not None:
            self._timer.start()

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()


@contextlib.contextmanager
def start(file: SolverFile, name: str, options: RunOptions) -> Iterator[Run]:
    """Builds the nets, loads snapshot or weights and opens the run folder; closes all at the end.

    A run that cannot start leaves nothing behind.

    Args:
        file: the solver; where it sets no snapshot_prefix, snapshots go into the run folder.
        name: of the run, for a new run folder and its snapshots.

    Raises:
        DrmlError: a file, a net or the data cannot be used.
    """
    folder = options.run_dir
    if folder is None and options.snapshot is not None:
        folder = run_folder_of(options.snapshot)
    if folder is None:
        folder = new_run_folder(name)
    if not file.message.snapshot_prefix:
        file.message.snapshot_prefix = str(folder / name)
    log = RunLog(folder_follows=True, quiet=options.quiet)
    with _folder_kept_on_success(folder):
        options = replace(options, data=_with_mean(file, options, folder, log))
        log.info(f"drml {__version__}, {_core.get_threads()} threads; run folder: {folder}")
        if options.data != DataOptions():
            log.info(f"data options: {options.data}")
        solver = solver_class(file)(
            file,
            device=options.device,
            threads=options.threads,
            seed=options.seed,
            log=log,
            edit_net=options.data.edit,
            fuse=options.fuse,
        )
        try:
            for path in options.weights:
                solver.load_weights(path)
            if options.snapshot is not None:
                solver.restore(options.snapshot)
            log.open(folder)
        except BaseException:
            solver.close()
            raise
    _keep_prototxts(file, solver, log, folder)
    try:
        yield Run(solver, log, folder, options)
    finally:
        solver.close()
        log.close()


def _keep_prototxts(file: SolverFile, solver: SGDSolver, log: RunLog, folder: Path) -> None:
    """Puts the solver and the nets as they were given into the run folder."""
    if Path(file.path).is_file():
        log.keep([Path(file.path)])
    else:
        text = text_format.MessageToString(file.message)
        atomic_write(folder / "solver.prototxt", text.encode())
    log.keep(solver.net_files)


@contextlib.contextmanager
def _folder_kept_on_success(folder: Path) -> Iterator[None]:
    """Makes a folder, and removes what of it was new if the block raises."""
    new = [path for path in folder.parents if not path.exists()]
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SolverError(f"cannot make the run folder {folder}: {error.strerror}") from error
    try:
        yield
    except BaseException:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            for parent in new:
                parent.rmdir()
        raise


def _with_mean(file: SolverFile, options: RunOptions, folder: Path, log: RunLog) -> DataOptions:
    """The data options with the mean image of other training data, where the net subtracts one."""
    data = options.data
    if data.train_data is None or data.mean is not None:
        return data
    wish = wanted_mean(train_source(file).file)
    if wish is None:
        return data
    path = folder / MEAN_NAME
    if not path.exists():
        from drml.data.mean import compute_mean, open_images

        source = open_images(data.train_data)
        try:
            mean = compute_mean(source, size=wish.size, threads=options.threads)
            log.info(f"the mean of the {len(source)} images of {data.train_data} is in {path}")
        finally:
            source.close()
        write_mean(path, mean)
    log.info(f"subtracting the mean image {path}")
    return replace(data, mean=path)


def paper_solver(net: Path, iterations: int) -> SolverFile:
    """The paper's solver for a net: SGD, rate 0.001, a tenth of it after 8,000 iterations."""
    display = max(1, min(20, iterations // 10))
    param = pb.SolverParameter(
        net=str(net),
        base_lr=0.001,
        lr_policy="step",
        gamma=0.1,
        stepsize=8000,
        momentum=0.9,
        weight_decay=0.0005,
        max_iter=iterations,
        display=display,
        average_loss=display,
        snapshot=1000,
    )
    return parse_solver(text_format.MessageToString(param), "the paper's settings")


def make_test_net(net: NetFile, run: Run) -> Net | None:
    """The TEST net of a file, sharing a run's parameters; None where it has no data to test on."""
    tested = Net(
        run.options.data.edit(net, pb.TEST),
        phase=pb.TEST,
        seed=run.solver.seed,
        threads=run.options.threads,
        fuse=run.options.fuse,
    )
    if sample_count(tested) is None:
        tested.close()
        return None
    share_trained_layers(tested, run.solver.net)
    return tested


def train_and_test(
    net: Path, iterations: int, options: RunOptions, aus: Sequence[str] | None = None
) -> Evaluation | None:
    """Trains a net with data layers by the paper's settings, then tests it on its TEST data.

    The test's figures are logged, printed, and written to test.csv and test.json in the run folder.

    Args:
        net: a net file with data layers.
        iterations: updates to make.
        aus: names of the outputs.

    Returns:
        What the test found; None where the net has no TEST data or the run was stopped.
    """
    file = read_net(net)
    with start(paper_solver(net, iterations), net.stem, options) as run:
        tested = make_test_net(file, run)
        try:
            run.solve()
            if not run.finished:
                return None
            if tested is None:
                run.log.warning(f"{net}: has no TEST data, so nothing is tested")
                return None
            return _test(tested, run, aus)
        finally:
            if tested is not None:
                tested.close()


def _test(net: Net, run: Run, aus: Sequence[str] | None) -> Evaluation:
    run.log.info(f"Iteration {run.solver.iter}, Testing net (#0)")
    result = evaluate(net)
    run.log.record(
        "test",
        run.solver.iter,
        net=0,
        loss=result.loss,
        outputs={output.name: output.value for output in result.outputs},
    )
    run.log.draw()
    for index, output in enumerate(result.outputs):
        run.log.info(output_line("Test", index, output.name, output.value, output.loss_weight))
    table = result.table(aus)
    if table is not None:
        run.log.info(table.text(), console=False)
        print(table.text(), flush=True)
        atomic_write(run.folder / "test.csv", table.to_csv().encode())
        atomic_write(run.folder / "test.json", table.to_json().encode())
    return result
