"""SGDSolver: trains a net as Caffe's SGD solver does, under pycaffe's names.

The solvers of `drml.solvers` are this one with other updates.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from drml import _core, diagnose
from drml import snapshot as snapshots
from drml.blob import Blob
from drml.clipping import clipping
from drml.errors import DrmlError, SolverError
from drml.evaluate import loss_weights
from drml.lr_policy import LearningRate
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import NetFile, SolverFile, read_solver
from drml.runlog import RunLog, number, output_line
from drml.signals import Action
from drml.solver_nets import (
    NetSource,
    all_test_sources,
    find_beside,
    share_trained_layers,
    train_source,
)
from drml.solver_options import check_options, choose_device, snapshot_prefix


class SGDSolver:
    """Stochastic gradient descent with momentum, weight decay and a learning-rate policy.

    One iteration: `iter_size` times forward and backward, then for the summed gradients g, in
    Caffe's order: clip g to an L2 norm of clip_gradients; g /= iter_size;
    g += weight_decay * decay_mult * w (for L1, of sign(w)); v = momentum * v + rate * lr_mult * g;
    w -= v.

    Args:
        solver: a solver prototxt, read or to be read.
        device: `cpu`; None: what the file's solver_mode says.
        threads: background threads of each data layer.
        seed: replaces the file's random_seed; where neither is given a seed is drawn, and logged.
        log: where log lines and metrics go; None: lines to stderr.
        edit_net: gets the definition of every net and its phase, and returns the one to build; to
            exchange data sources.
        fuse: as drml.net.Net's.

    Attributes:
        net: the train net.
        test_nets: the test nets; layers of the train net's names share its parameters.
        iter: number of updates made.
        param: the SolverParameter.
        history: what the updates remember, in the order of Caffe's .solverstate: one blob per
            learnable parameter, in the order of `net.learnable`, and so again where a solver
            remembers two. SGD's are the velocities.
        seed: the seed of all random numbers of the nets.

    Raises:
        DrmlError: the file, or a net that it names, cannot be used; one line with file and line.
    """

    type: ClassVar[str] = "SGD"
    histories: ClassVar[int] = 1
    """Blobs of history per parameter."""
    has_velocity: ClassVar[bool] = True
    """Whether its history moves a parameter on whose learning rate is 0."""

    def __init__(
        self,
        solver: str | os.PathLike[str] | SolverFile,
        *,
        device: str | None = None,
        threads: int = 2,
        seed: int | None = None,
        log: RunLog | None = None,
        edit_net: Callable[[NetFile, int], NetFile] | None = None,
        fuse: bool = True,
    ) -> None:
        self.file = solver if isinstance(solver, SolverFile) else read_solver(os.fspath(solver))
        self.param: pb.SolverParameter = self.file.message
        self.log = log if log is not None else RunLog()
        for note in check_options(self.file, self.type):
            self.log.info(note)
        self.rate = LearningRate(self.file)
        self.snapshot_prefix = snapshot_prefix(self.file)
        self._device = choose_device(self.file, device)
        self._threads = threads
        self._fuse = fuse
        self._sources = [train_source(self.file), *all_test_sources(self.file)]
        if edit_net is not None:
            self._sources = [
                replace(source, file=edit_net(source.file, source.phase))
                for source in self._sources
            ]
        self.iter = 0
        self.seed = self._first_seed(seed)
        self._losses: deque[float] = deque(maxlen=self.param.average_loss)
        self._request = Action.NONE
        self._stopped = False
        self._saved_iter: int | None = None
        self._last_snapshot: Path | None = None
        self._seconds = 0.0
        self._displayed_iter = 0
        self._nets: list[Net] = []
        try:
            self._make_nets()
            for weights in self.param.weights:
                for path in weights.split(","):
                    self.load_weights(find_beside(path, self.file))
        except BaseException:
            self.close()
            raise

    def _first_seed(self, seed: int | None) -> int:
        if seed is None and self.param.random_seed >= 0:
            return self.param.random_seed
        if seed is None:
            seed = int.from_bytes(os.urandom(4), "little")
            self.log.info(f"random_seed is not set; drawn: {seed}")
        return seed

    def _make_nets(self, params_of: Net | None = None) -> None:
        self.test_nets: list[Net] = []
        self.net = self._make_net(self._sources[0], "train net")
        if params_of is not None:
            share_trained_layers(self.net, params_of)
        self.history = [
            Blob(param.name, param.blob.shape, channels_last=False, device=self._device)
            for _ in range(self.histories)
            for param in self.net.learnable
        ]
        for index, source in enumerate(self._sources[1:]):
            self.test_nets.append(self._make_net(source, f"test net (#{index})"))
            share_trained_layers(self.test_nets[-1], self.net)

    def _make_net(self, source: NetSource, what: str) -> Net:
        self.log.info(f"Creating {what} specified by {source.origin}")
        net = Net(
            source.file,
            phase=source.phase,
            level=source.level,
            stages=source.stages,
            seed=self.seed,
            device=self._device,
            threads=self._threads,
            fuse=self._fuse,
        )
        self._nets.append(net)
        for note in net.notes:
            self.log.info(note)
        return net

    def _copy_weights(self, net: Net, path: str | os.PathLike[str]) -> None:
        told = len(net.notes)
        net.copy_from(path)
        for note in net.notes[told:]:
            self.log.info(note)

    def close(self) -> None:
        """Stops the nets' background threads; the solver is not used afterwards."""
        for net in self._nets:
            net.close()
        self._nets.clear()

    @property
    def net_files(self) -> list[Path]:
        """The net files that this solver was made of, each once."""
        paths = [Path(source.file.path) for source in self._sources]
        return [path for path in dict.fromkeys(paths) if path.is_file()]

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Copies weights by layer name into the train net and what only test nets have."""
        self.log.info(f"Finetuning from {os.fspath(path)}")
        self._copy_weights(self.net, path)
        for net in self.test_nets:
            if set(net.params) - set(self.net.params):
                self._copy_weights(net, path)

    def request_action(self, action: Action) -> None:
        """Asks for a snapshot or a stop after this iteration, as a signal handler may."""
        if self._request is not Action.STOP:
            self._request = action

    @property
    def smoothed_loss(self) -> float:
        """Mean loss of the last average_loss iterations; NaN before the first."""
        return float(np.mean(self._losses)) if self._losses else math.nan

    def step(self, iterations: int) -> None:
        """Runs a number of iterations, with the tests, displays and snapshots that fall due.

        Raises:
            SolverError: the loss is not finite; nothing was updated and no snapshot was touched.
        """
        stop = self.iter + iterations
        self._displayed_iter = self.iter
        self._seconds = 0.0
        while self.iter < stop and not self._stopped:
            started = time.perf_counter()
            self._iterate()
            self._seconds += time.perf_counter() - started

    def _iterate(self) -> None:
        interval = self.param.test_interval
        if interval and self.iter % interval == 0 and (self.iter or self.param.test_initialization):
            self.test_all()
            if self._stopped:
                return
        display = bool(self.param.display) and self.iter % self.param.display == 0
        loss = self._forward_backward(display and self.param.debug_info)
        self._losses.append(loss)
        if display:
            self._show_losses()
        rate = self._apply_update(display)
        self.log.record(
            "train", self.iter, loss=loss, smoothed_loss=self.smoothed_loss, learning_rate=rate
        )
        self.iter += 1
        self.log.advance(self.smoothed_loss, rate)
        self._serve_request()

    def _serve_request(self) -> None:
        request, self._request = self._request, Action.NONE
        due = self.param.snapshot and self.iter % self.param.snapshot == 0
        if due or request is Action.SNAPSHOT:
            self._snapshot_or_go_on()
        if request is Action.STOP:
            self._stopped = True

    def _forward_backward(self, debug: bool) -> float:
        self.net.clear_param_diffs(later=True)
        total = 0.0
        for _ in range(self.param.iter_size):
            self.net.forward()
            if not math.isfinite(self.net.loss):
                raise self._not_finite(self.net.loss)
            total += self.net.loss
            self.net.backward()
            if debug:
                self.log.info("\n".join(diagnose.forward_lines(self.net)))
                self.log.info("\n".join(diagnose.backward_lines(self.net)))
        return float(np.float32(total / self.param.iter_size))

    def _not_finite(self, loss: float) -> SolverError:
        blob = diagnose.first_not_finite(self.net) or "not to be found any more"
        kept = f"last snapshot: {self._last_snapshot}" if self._last_snapshot else "no snapshot yet"
        return SolverError(
            f"iteration {self.iter}: the loss is {loss}; the first blob that holds a nan or an "
            f"infinite number is {blob}; {kept}"
        )

    def _show_losses(self) -> None:
        count = self.iter - self._displayed_iter
        speed = count / self._seconds if self._seconds else 0.0
        self.log.info(
            f"Iteration {self.iter} ({number(speed)} iter/s, {number(self._seconds)}s/"
            f"{self.param.display} iters), loss = {number(self.smoothed_loss)}"
        )
        self._displayed_iter, self._seconds = self.iter, 0.0
        outputs = {name: self.net.blobs[name].read_data() for name in self.net.outputs}
        self._log_outputs("Train", self.net, outputs)

    def _log_outputs(self, what: str, net: Net, outputs: Mapping[str, npt.ArrayLike]) -> None:
        weights = loss_weights(net)
        count = 0
        for name, values in outputs.items():
            for value in np.ravel(values):
                weight = weights.get(name, 0.0)
                self.log.info(output_line(what, count, name, float(value), weight))
                count += 1

    def _apply_update(self, display: bool) -> float:
        rate = self.rate(self.iter)
        if display:
            self.log.info(f"Iteration {self.iter}, lr = {number(rate)}")
        clip, note = clipping(self.net.learnable, self.param.clip_gradients)
        if display and note:
            self.log.info(note)
        scale = clip / self.param.iter_size
        debug = display and self.param.debug_info
        count = len(self.net.learnable)
        for index, param in enumerate(self.net.learnable):
            history = self.history[index::count]
            if param.lr_mult == 0 and not (self.has_velocity and history[0].has_value):
                continue
            weight, gradient = param.blob.value, param.blob.grad
            before = diagnose.copy(weight) if debug else None
            if scale != 1:
                _core.axpby(0.0, gradient, scale, gradient)
            self._update(
                weight,
                gradient,
                [blob.value for blob in history],
                rate * param.lr_mult,
                self.param.weight_decay * param.decay_mult,
            )
            if before is not None:
                self.log.info(diagnose.update_line(param.name, before, weight))
        return rate

    @property
    def _l1(self) -> bool:
        return self.param.regularization_type == "L1"

    def _update(
        self,
        weight: _core.Tensor,
        gradient: _core.Tensor,
        history: list[_core.Tensor],
        rate: float,
        decay: float,
    ) -> None:
        """Changes one parameter and its history; rate and decay include its multipliers."""
        (velocity,) = history
        momentum = self.param.momentum
        _core.sgd_update(weight, gradient, velocity, rate, momentum, decay, self._l1)

    def solve(self, resume_file: str | os.PathLike[str] | None = None) -> None:
        """Trains up to max_iter, from `resume_file` (a .solverstate) where one is given.

        A stop that was asked for ends it early, with a snapshot.

        Raises:
            SolverError: max_iter is missing, the loss is not finite, or the last snapshot cannot be
            written.
        """
        if not self.param.HasField("max_iter"):
            raise SolverError(f"{self.file.where()}: max_iter is missing")
        self._stopped = False
        self.log.info(f"Solving {self.net.name}")
        self.log.info(f"Learning Rate Policy: {self.param.lr_policy}")
        if resume_file is not None:
            self.restore(resume_file)
        if self.iter >= self.param.max_iter > 0:
            self.log.info(f"nothing left to train: max_iter is {self.param.max_iter}")
        self.log.start_progress(self.param.max_iter, self.iter)
        self.step(self.param.max_iter - self.iter)
        self.log.stop_progress()
        self._last_snapshot_of_run()
        if self._stopped:
            self.log.info("Optimization stopped early.")
            return
        self._last_display()
        if self.param.test_interval and self.iter % self.param.test_interval == 0:
            self.test_all()
        self.log.info("Optimization Done.")

    @property
    def stopped(self) -> bool:
        """Whether the last solve ended early because a stop was asked for."""
        return self._stopped

    def _last_snapshot_of_run(self) -> None:
        due = self.param.snapshot and self.iter % self.param.snapshot == 0
        if (
            self._stopped or self.param.snapshot_after_train or due
        ) and self._saved_iter != self.iter:
            self.snapshot()

    def _last_display(self) -> None:
        """Caffe's last line of losses, from a forward pass that leaves no trace in the net."""
        if self.param.display and self.iter % self.param.display == 0:
            start = snapshots.Bookmark([self.net])
            self.net.forward()
            start.go_back()
            losses = [*self._losses, self.net.loss][-self.param.average_loss :]
            self.log.info(f"Iteration {self.iter}, loss = {number(float(np.mean(losses)))}")

    def test_all(self) -> None:
        """Runs every test net for its test_iter batches and logs the means of its outputs.

        A stop asked for meanwhile ends the tests at once and puts their data back where they began.
        """
        start = snapshots.Bookmark(self.test_nets)
        for index in range(len(self.test_nets)):
            if not self._test(index):
                start.go_back()
                self._stopped = True
                self.log.info("Test interrupted.")
                return

    def _test(self, index: int) -> bool:
        """Runs one test net; False when a stop cut it short."""
        net, batches = self.test_nets[index], self.param.test_iter[index]
        self.log.info(f"Iteration {self.iter}, Testing net (#{index})")
        sums = {name: np.zeros(net.blobs[name].count) for name in net.outputs}
        loss = 0.0
        for _ in range(batches):
            if self._request is Action.STOP:
                self._request = Action.NONE
                return False
            net.forward()
            loss += net.loss
            for name in net.outputs:
                sums[name] += net.blobs[name].read_data().reshape(-1)
        if self.param.test_compute_loss:
            self.log.info(f"Test loss: {number(loss / batches)}")
        outputs = {name: (values / batches).tolist() for name, values in sums.items()}
        self._log_outputs("Test", net, outputs)
        self.log.record("test", self.iter, net=index, loss=loss / batches, outputs=outputs)
        return True

    def snapshot(self) -> Path:
        """Writes prefix_iter_N.caffemodel and prefix_iter_N.solverstate; returns the latter's path.

        Both end in .h5 where snapshot_format is HDF5.

        Raises:
            SolverError: a parameter is not finite, or a file cannot be written; older snapshots
                stay.
        """
        hdf5 = self.param.snapshot_format == pb.SolverParameter.HDF5
        path = snapshots.state_path(self.snapshot_prefix, self.iter, hdf5)
        self.log.info(f"Snapshotting to {path}")
        progress = snapshots.Progress(
            iteration=self.iter,
            current_step=self.rate.current_step,
            seed=self.seed,
            recent_losses=list(self._losses),
            positions={name: snapshots.positions(net) for name, net in self._named_nets().items()},
        )
        path = snapshots.write(
            self.snapshot_prefix,
            self.net,
            self.history,
            progress,
            with_diff=self.param.snapshot_diff,
            hdf5=hdf5,
        )
        self._saved_iter, self._last_snapshot = self.iter, path
        self.log.record("snapshot", self.iter, file=str(path))
        return path

    def _snapshot_or_go_on(self) -> None:
        try:
            self.snapshot()
        except DrmlError as error:
            kept = f"; last snapshot: {self._last_snapshot}" if self._last_snapshot else ""
            self.log.error(f"{error}; training goes on without this snapshot{kept}")

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Goes back to a snapshot: a .solverstate, ours or Caffe's, and the weights that it names.

        From a state of ours training goes on exactly as if it had never stopped. Caffe's holds
        neither data positions nor a seed; these start afresh, which a log line says. Nets whose
        seed differs from the state's are built anew.

        Raises:
            DrmlError: a file cannot be read or does not fit the net; nothing has changed then.
        """
        found = snapshots.read(Path(path))
        found.check_history(self.history)
        progress = found.progress
        self.log.info(f"Restoring previous solver status from {found.path}")
        self._copy_weights(self.net, found.model)
        if progress.seed is not None and progress.seed != self.seed:
            self.close()
            self.seed = progress.seed
            self._make_nets(params_of=self.net)
        found.copy_history(self.history)
        self.iter, self.rate.current_step = progress.iteration, progress.current_step
        self._losses = deque(progress.recent_losses, maxlen=self.param.average_loss)
        self._set_positions(found)
        self._saved_iter, self._last_snapshot = self.iter, found.path
        self.log.record("resume", self.iter, file=str(found.path))

    def _named_nets(self) -> dict[str, Net]:
        return {"train": self.net} | {f"test_{i}": net for i, net in enumerate(self.test_nets)}

    def _set_positions(self, found: snapshots.Snapshot) -> None:
        if not found.resumes_exactly:
            self.log.info(
                f"{found.path} is Caffe's own: it holds no data position and no random state, "
                "so these start afresh"
            )
            return
        for name, net in self._named_nets().items():
            stored = found.progress.positions.get(name, {})
            snapshots.set_positions(net, stored)
            new = sorted(set(snapshots.positions(net)) - set(stored))
            if new:
                self.log.warning(
                    f"{found.path} does not know layer {', '.join(new)} of {name}: "
                    "its data and random numbers start afresh"
                )
