"""Trains a network on a fold, scores snapshots on the validation subjects, keeps the best one."""

from __future__ import annotations

import contextlib
import fcntl
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from google.protobuf import text_format

from drml.errors import DataError, DrmlError
from drml.evaluate import Evaluation, evaluate
from drml.experiment import cache
from drml.experiment.data_start import start_by_data
from drml.experiment.folds import FoldData
from drml.experiment.nets import Blueprint, solver_text
from drml.experiment.progress import Part
from drml.lr_policy import LearningRate
from drml.metrics import AuTable
from drml.net import Net
from drml.prepared import Prepared
from drml.proto import caffe_pb2 as pb
from drml.prototxt import NetFile, parse_solver, read_net, read_solver
from drml.signals import actions_on_signals
from drml.snapshot import Bookmark
from drml.solver import SGDSolver
from drml.solver_nets import share_trained_layers
from drml.solver_options import check_options, choose_device
from drml.summary import summarize
from drml.training import MEAN_NAME, RunOptions, start
from drml.weights import atomic_write, read_mean, write_mean

NET_NAME, DEPLOY_NAME, SOLVER_NAME = "net.prototxt", "deploy.prototxt", "solver.prototxt"
_TABLE, _DONE, _LOCK = "validation.json", "done.json", ".lock"


@dataclass(frozen=True)
class Validated:
    """What a snapshot made of the validation subjects; None where a figure is not defined."""

    iteration: int
    f1: float | None
    roc_auc: float | None
    loss: float


@dataclass(frozen=True)
class Trained:
    """A training that is done.

    Attributes:
        iteration: the chosen one.
        weights: name of its .caffemodel in the run's folder.
        validation: of every snapshot; empty where there are no validation frames.
        train_ms: of the run, milliseconds of an iteration per face, data and update included: the
            median over the stretches from snapshot to snapshot.
    """

    iteration: int
    weights: str
    validation: list[Validated]
    train_ms: float | None


class Job:
    """One training: a network, a fold, a seed.

    Args:
        blueprint: of the network.
        data: prepared folder to learn from.
        fold: of it.
        seed: of all random numbers.
        runs: folder that holds the run folders.
        device: where to train; None: drml's default.
        threads: of each data layer.

    Attributes:
        id: digest of all that the trained weights depend on.
        folder: of the run.
        parameters: learned parameters of the net.
        multiply_adds: of one forward pass of a face.
        width: how many features it gives.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        data: Prepared,
        fold: FoldData,
        seed: int,
        *,
        runs: Path,
        device: str | None,
        threads: int,
    ) -> None:
        self.blueprint = blueprint
        self.network = blueprint.network
        self.fold = fold
        self.seed = seed
        self._data = data
        self._device = device
        self._threads = threads
        self.id = cache.digest(
            {
                "stage": "train",
                "data": cache.digest_of(data),
                "fold": fold.number,
                "seed": seed,
                "net": blueprint.text(),
                "training": asdict(self.network.training),
            }
        )
        self.folder = runs / f"{self.network.name}-fold{fold.number}-seed{seed}-{self.id}"
        with Net(blueprint.deploy(data.size), phase=pb.TEST) as net:
            found = summarize(net)
            self.width = net.blobs[blueprint.features].count
        self.parameters = found.learned
        self.multiply_adds = found.multiply_adds

    @property
    def work(self) -> float:
        """About what the training costs, in multiply-adds; an update is one pass over memory."""
        training = self.network.training
        faces = training.batch_size * training.iter_size
        return training.iterations * (3 * faces * self.multiply_adds + 80 * self.parameters)

    def result(self) -> Trained | None:
        """What a run that is done has left; None where it is not done.

        Raises:
            DataError: the run's weights are gone, or its files cannot be read.
        """
        found = cache.read_json(self.folder / _DONE)
        if found is None:
            return None
        rows = [Validated(**row) for row in found.pop("validation")]
        trained = Trained(validation=rows, **found)
        if not (self.folder / trained.weights).is_file():
            raise DataError(
                f"{self.folder / trained.weights} is gone; delete {self.folder / _DONE} to train "
                "again"
            )
        return trained

    def write_files(self) -> None:
        """Writes net, net for use, solver and mean image into the run's folder.

        Raises:
            DrmlError: the net has not one data layer in each phase, or a file cannot be written.
        """
        folder = cache.make_folder(self.folder).resolve()
        mean = folder / MEAN_NAME
        if self.blueprint.subtracts_mean and not mean.exists():
            write_mean(mean, self._mean())
        # Without validation frames nothing is tested, but the net still names some.
        tested = self.fold.keys("val" if len(self.fold.val) else "test")
        file = self.blueprint.on_data(
            self._data.faces.resolve(),
            self.fold.keys("train").resolve(),
            tested.resolve(),
            mean,
            self._positive_weights(),
        )
        _write_net(folder / NET_NAME, file)
        _write_net(folder / DEPLOY_NAME, self.blueprint.deploy(self._data.size))
        text = solver_text(
            self.network.training, folder / NET_NAME, folder / self.network.name, self.seed
        )
        atomic_write(folder / SOLVER_NAME, text.encode())

    def _mean(self) -> npt.NDArray[np.float32]:
        values = self.blueprint.mean_values
        if values:
            shape = (3, *(self.blueprint.new_size or 2 * (self._data.size,)))
            return np.broadcast_to(np.array(values, np.float32)[:, None, None], shape)
        mean = read_mean(self.fold.mean)
        size = self.blueprint.new_size
        if size is None:
            return mean
        import cv2

        # Resizing is linear: the mean of resized faces, but for their rounding to whole numbers.
        resized = cv2.resize(mean.transpose(1, 2, 0), (size[1], size[0]))
        return resized.reshape(*size, -1).transpose(2, 0, 1).astype(np.float32)

    def _positive_weights(self) -> list[float]:
        """What positive labels count in the loss, per AU; none where all count alike."""
        if self.network.training.loss_weights == "none":
            return []
        labels = self._data.labels[self.fold.train]
        positives, negatives = (labels > 0).sum(axis=0), (labels < 0).sum(axis=0)
        return [float(n / p) if p and n else 1.0 for p, n in zip(positives, negatives, strict=True)]

    def train(self, part: Part) -> Trained:
        """Trains, from the last snapshot where there is one; returns what the run has left.

        Ctrl-C takes a snapshot before it interrupts.

        Args:
            part: is told how far the training is.

        Raises:
            DrmlError: the training cannot start or go on.
            KeyboardInterrupt: of the user's.
        """
        self.write_files()
        with _alone_in(self.folder):
            self._train(part)
        trained = self.result()
        assert trained is not None
        return trained

    def _train(self, part: Part) -> None:
        last = self._last_snapshot()
        options = RunOptions(
            run_dir=self.folder,
            snapshot=last,
            device=self._device,
            threads=self._threads,
            seed=self.seed,
            quiet=True,
        )
        with start(read_solver(self.folder / SOLVER_NAME), self.network.name, options) as run:
            try:
                if last is None and self.network.training.fillers == "data":
                    start_by_data(run.solver.net, self.blueprint.logits)
                _Training(self, run.solver, part).finish()
            except DrmlError as error:
                run.log.error(str(error))
                raise
            finally:
                run.log.draw()

    def _last_snapshot(self) -> Path | None:
        """The state of the highest iteration."""
        found = {_iteration(path): path for path in self.folder.glob("*_iter_*.solverstate")}
        return found[max(found)] if found else None


class _Training:
    """The loop of a job: stretches of iterations, each with a snapshot and its validation.

    Args:
        job: the training.
        solver: at the iteration from which to go on.
        part: as `Job.train`'s.
    """

    def __init__(self, job: Job, solver: SGDSolver, part: Part) -> None:
        self._job = job
        self._solver = solver
        self._part = part
        self._training = job.network.training
        self._path = job.folder / _TABLE
        found = cache.read_json(self._path) or {"rows": [], "stretches": []}
        self._rows = [Validated(**row) for row in found["rows"]]
        self._stretches: list[tuple[int, float]] = [tuple(pair) for pair in found["stretches"]]
        # Where the run was resumed from an older snapshot, the rows after it belong to no weights.
        self._rows = [row for row in self._rows if row.iteration <= solver.iter]
        self._said = float(solver.iter)

    def finish(self) -> None:
        """Trains to the end and writes what was found."""
        with (
            _test_net(self._job, self._solver) as net,
            actions_on_signals(self._solver.request_action),
        ):
            if self._due():
                self._validate(net)
            while self._solver.iter < self._training.iterations:
                self._stretch()
                if self._due():
                    self._validate(net)
                if self._solver.stopped:
                    raise KeyboardInterrupt
        chosen = self._chosen()
        weights = _model(self._job, chosen).name
        seconds = [1000 * spent / count for count, spent in self._stretches]
        faces = self._training.batch_size * self._training.iter_size
        trained = Trained(
            chosen, weights, self._rows, statistics.median(seconds) / faces if seconds else None
        )
        cache.write_json(self._job.folder / _DONE, asdict(trained))
        self._keep({chosen}, states=set())

    def _stretch(self) -> None:
        """Trains up to the next multiple of the interval, or until a stop; takes a snapshot."""
        first = self._solver.iter
        interval = self._training.interval
        count = min(interval - first % interval, self._training.iterations - first)
        began = time.perf_counter()
        self._solver.step(count)
        if self._solver.iter > first:
            self._stretches.append((self._solver.iter - first, time.perf_counter() - began))
        self._solver.snapshot()

    def _due(self) -> bool:
        """Whether the snapshot of this iteration is to be validated and has not been."""
        iteration = self._solver.iter
        due = iteration % self._training.interval == 0 or iteration == self._training.iterations
        return bool(iteration) and due and all(row.iteration != iteration for row in self._rows)

    def _validate(self, net: Net | None) -> None:
        text = f"loss {self._solver.smoothed_loss:.3f}"
        if net is not None:
            start = Bookmark([net])
            result = evaluate(net)
            start.go_back()
            row = _validated(self._solver.iter, result)
            self._rows.append(row)
            text += f"; validation F1 {_text(row.f1)}, ROC-AUC {_text(row.roc_auc)}"
        cache.write_json(
            self._path,
            {"rows": [asdict(row) for row in self._rows], "stretches": self._stretches},
        )
        self._keep({self._chosen(), self._solver.iter}, states={self._solver.iter})
        work = (self._solver.iter - self._said) / self._training.iterations
        self._said = self._solver.iter
        done = f"iteration {self._solver.iter} of {self._training.iterations}"
        self._part.advance(work, f"{done}, {text}")

    def _chosen(self) -> int:
        """The iteration of the best validation, the first of equals; without one, this one."""
        figure = self._training.select
        known = [row for row in self._rows if getattr(row, figure) is not None]
        if not known:
            return self._solver.iter
        sign = -1 if figure == "loss" else 1
        return max(known, key=lambda row: sign * getattr(row, figure)).iteration

    def _keep(self, models: set[int], states: set[int]) -> None:
        """Removes the other snapshots, which hold some hundred megabytes each."""
        for kept, ending in ((models, "caffemodel"), (states, "solverstate")):
            for path in self._job.folder.glob(f"*_iter_*.{ending}"):
                if _iteration(path) not in kept:
                    with contextlib.suppress(OSError):
                        path.unlink()


def _validated(iteration: int, result: Evaluation) -> Validated:
    assert result.scores is not None
    assert result.labels is not None
    names = [str(index) for index in range(result.scores.shape[1])]
    table = AuTable(result.scores, result.labels, names)
    f1, auc = (None if np.isnan(v) else v for v in (table.mean_f1, table.mean_auc))
    return Validated(iteration, f1, auc, result.loss)


@contextlib.contextmanager
def _test_net(job: Job, solver: SGDSolver) -> Iterator[Net | None]:
    """The net on the validation frames, with the solver's parameters; None without such frames."""
    if not len(job.fold.val):
        yield None
        return
    with Net(
        read_net(job.folder / NET_NAME),
        phase=pb.TEST,
        seed=solver.seed,
        device=choose_device(solver.file, job._device),
        threads=job._threads,
    ) as net:
        share_trained_layers(net, solver.net)
        yield net


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keeps two processes from training in one folder; the system frees it when a process ends."""
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(f"{folder}: another process trains here") from error
        yield


def _iteration(path: Path) -> int:
    """N of a snapshot's name, prefix_iter_N.caffemodel."""
    number = path.stem.rpartition("_")[2]
    return int(number) if number.isdigit() else -1


def _model(job: Job, iteration: int) -> Path:
    return job.folder / f"{job.network.name}_iter_{iteration}.caffemodel"


def _write_net(path: Path, file: NetFile) -> None:
    atomic_write(path, text_format.MessageToString(file.message).encode())


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def check_solver(job: Job) -> None:
    """Refuses options of the solver that it will not take, before anything is trained.

    Raises:
        SolverError: with the field.
    """
    name = f"training options of {job.network.name}"
    text = solver_text(job.network.training, Path(NET_NAME), Path(job.network.name), job.seed)
    solver = parse_solver(text, name)
    check_options(solver, job.network.training.solver)
    LearningRate(solver)
