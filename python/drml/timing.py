"""Measures how long a net takes, layer by layer; no input or output happens here.

As `caffe time`, but on the clock of whole iterations too: an iteration is timed from its first
layer to its last, update included, and the time per frame is that of the iteration. On a CUDA
device, which works on while the host queues more, layers are timed in iterations of their own that
wait for each one; those that count for the frame wait at the end of a trial only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from drml import _core
from drml.blob import Blob
from drml.device import is_cuda
from drml.net import Net
from drml.summary import batch_size_of

_Clock = Callable[[], int]
_PROFILED = 20
"""Iterations at most whose layers are timed on a CUDA device."""


@dataclass(frozen=True)
class LayerTime:
    """Mean times of a layer over all iterations, in ms; backward_ms is None where none runs."""

    name: str
    type: str
    forward_ms: float
    backward_ms: float | None


@dataclass(frozen=True)
class NetTime:
    """What was measured of one net.

    Attributes:
        mode: `train` (forward, backward and update) or `test` (forward).
        device: where the net ran.
        batch_size: frames of one iteration.
        threads: CPU threads of the kernels.
        layers: in the order of the net.
        forward_ms, backward_ms, update_ms: mean of one iteration; None for what `mode` leaves out.
        iterations: how many were timed, over all trials.
        trial_ms: per trial, the mean time per frame.
    """

    mode: str
    device: str
    batch_size: int
    threads: int
    layers: list[LayerTime]
    forward_ms: float
    backward_ms: float | None
    update_ms: float | None
    iterations: int
    trial_ms: list[float]

    @property
    def frame_ms(self) -> float:
        """Mean time per frame over the trials."""
        return float(np.mean(self.trial_ms))

    @property
    def deviation_ms(self) -> float:
        """Standard deviation of the time per frame between trials; 0 for a single trial."""
        return float(np.std(self.trial_ms, ddof=1)) if len(self.trial_ms) > 1 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The measurement as plain values for JSON."""
        return {
            "mode": self.mode,
            "device": self.device,
            "batch_size": self.batch_size,
            "threads": self.threads,
            "iterations": self.iterations,
            "layers": [
                {
                    "name": layer.name,
                    "type": layer.type,
                    "forward_ms": layer.forward_ms,
                    "backward_ms": layer.backward_ms,
                }
                for layer in self.layers
            ],
            "forward_ms": self.forward_ms,
            "backward_ms": self.backward_ms,
            "update_ms": self.update_ms,
            "ms_per_frame": {
                "mean": self.frame_ms,
                "standard_deviation": self.deviation_ms,
                "trials": self.trial_ms,
            },
        }


class _Timer:
    """Runs iterations of a net and adds up what each layer takes, in nanoseconds."""

    def __init__(self, net: Net, *, train: bool) -> None:
        self._net = net
        self._train = train
        self._waits = is_cuda(net.device)
        self._velocities = [
            Blob(param.name, param.blob.shape, channels_last=False, device=net.device)
            for param in net.learnable
        ]
        self.forward = np.zeros(len(net.layers), np.int64)
        self.backward = np.zeros(len(net.layers), np.int64)
        self.update = 0

    def iterate(self) -> int:
        """Runs one iteration, layer by layer on the clock, and returns its time."""
        clock: _Clock = self._clock if self._waits else time.perf_counter_ns
        start = clock()
        for index, node in enumerate(self._net.layers):
            before = clock()
            node.forward()
            self.forward[index] += clock() - before
        if self._train:
            self._backward(clock)
            before = clock()
            self._update()
            self.update += clock() - before
        return clock() - start

    def _clock(self) -> int:
        self._net.wait()
        return time.perf_counter_ns()

    def run(self, iterations: Iterator[int]) -> int:
        """The time of iterations: those of `iterate`, or on CUDA queued one after the other."""
        if not self._waits:
            return sum(self.iterate() for _ in iterations)
        start = self._clock()
        for _ in iterations:
            self._net.run_layers()
            if self._train:
                for node in reversed(self._net.layers):
                    if node.need_backward:
                        node.set_loss_gradients()
                        node.backward()
                self._update()
        return self._clock() - start

    def _backward(self, clock: _Clock) -> None:
        for index in reversed(range(len(self._net.layers))):
            node = self._net.layers[index]
            if not node.need_backward:
                continue
            before = clock()
            node.set_loss_gradients()
            node.backward()
            self.backward[index] += clock() - before

    def _update(self) -> None:
        # The rate is 0, so that random labels do not carry the weights away; the work is the same.
        for param, velocity in zip(self._net.learnable, self._velocities, strict=True):
            if param.lr_mult != 0:
                _core.sgd_update(
                    param.blob.value, param.blob.grad, velocity.value, 0.0, 0.9, 0.0005, False
                )
        self._net.clear_param_diffs(later=True)

    def reset(self) -> None:
        self.forward[:] = 0
        self.backward[:] = 0
        self.update = 0


def can_train(net: Net) -> bool:
    """Whether the net has a loss and parameters, so that there is a backward pass to time."""
    return any(node.need_backward for node in net.layers)


def trial_lengths(iterations: int, trials: int) -> list[int]:
    """Splits iterations into at most `trials` parts as equal as can be, none of them empty."""
    count = min(iterations, trials)
    return [iterations // count + (index < iterations % count) for index in range(count)]


def time_net(
    net: Net,
    *,
    train: bool,
    iterations: int,
    trials: int,
    warm_up: int = 2,
    progress: Callable[[], object] | None = None,
) -> NetTime:
    """Times forward, or forward, backward and update.

    Args:
        net: a built net; its inputs hold what shall be computed on.
        train: whether backward and an SGD update belong to an iteration.
        iterations: iterations to time in all, 1 or more.
        trials: number of parts to split them into, for the deviation.
        warm_up: iterations that run first and are not timed: memory is allocated in them.
        progress: called after each iteration, those of the warm-up included.
    """
    timer = _Timer(net, train=train)
    for _ in _steps(warm_up, progress):
        timer.iterate()
    timer.reset()
    batch_size = max(batch_size_of(net), 1)
    trial_ms = []
    for length in trial_lengths(iterations, trials):
        total = timer.run(_steps(length, progress))
        trial_ms.append(total / 1e6 / length / batch_size)
    profiled = iterations
    if is_cuda(net.device):
        profiled = min(iterations, _PROFILED)
        for _ in range(profiled):
            timer.iterate()
    scale = 1e-6 / profiled
    layers = [
        LayerTime(
            node.name,
            node.type,
            float(timer.forward[index] * scale),
            float(timer.backward[index] * scale) if train and node.need_backward else None,
        )
        for index, node in enumerate(net.layers)
    ]
    return NetTime(
        "train" if train else "test",
        net.device,
        batch_size,
        _core.get_threads(),
        layers,
        float(timer.forward.sum() * scale),
        float(timer.backward.sum() * scale) if train else None,
        timer.update * scale if train else None,
        iterations,
        trial_ms,
    )


def _steps(count: int, progress: Callable[[], object] | None) -> Iterator[int]:
    for index in range(count):
        yield index
        if progress is not None:
            progress()
