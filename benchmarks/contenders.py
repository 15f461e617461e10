"""Who takes part: one class for each library that runs a net, all with the same methods.

A contender is made of a net file and its weights, is given a batch, and then runs forward passes
or, in mode `train`, whole iterations: forward, backward, SGD with momentum and weight decay. The
rate is so small that timing does not change the weights.
"""

from __future__ import annotations

import ctypes
import gc
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from drml import _core
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import NetFile, read_solver
from drml.runlog import RunLog
from drml.solver import SGDSolver

Array = npt.NDArray[np.float32]
ROOT = Path(__file__).resolve().parent.parent
NETS = ("drml", "convnet", "alexnet", "lcn")
LOGITS = "output"
RATE, MOMENTUM, DECAY = 1e-12, 0.9, 0.0005


@dataclass(frozen=True)
class Job:
    """What one process measures.

    Attributes:
        net: name of a net in prototxt/.
        mode: `forward` (phase TEST) or `train`.
        batch, threads: images of a batch, threads of every contender.
        weights: a .caffemodel.
        contenders: names of `CONTENDERS`.
    """

    net: str
    mode: str
    batch: int
    threads: int
    weights: Path
    contenders: tuple[str, ...]


class Contender(Protocol):
    """A library with a net loaded."""

    def __call__(self) -> object:
        """One forward pass, or one iteration of training."""

    def results(self) -> dict[str, Array]:
        """Logits; in mode `train` also the parameters' gradients, dropout being off."""


def batch_of(job: Job, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Images, about what mean subtraction leaves of faces, and labels of 12 AUs."""
    random = np.random.default_rng(job.batch)
    images = 50 * random.standard_normal((job.batch, *shape), dtype=np.float32)
    labels = random.integers(-1, 2, (job.batch, 12)).astype(np.float32)
    return images, labels


def image_shape(name: str) -> tuple[int, ...]:
    """(C, H, W) of a net's images."""
    return (3, 227, 227) if name == "alexnet" else (3, 170, 170)


def write_weights(name: str, path: Path) -> None:
    """Writes weights with which every layer's output depends on its input."""
    random = np.random.default_rng(1)
    with Net(ROOT / "prototxt" / f"{name}_deploy.prototxt", device="cpu") as net:
        for layer, blobs in net.params.items():
            weight, bias = (blob.data for blob in blobs[:2])
            # Axes before these number banks of weights: one per patch or location.
            inner = weight.shape[1:] if weight.ndim <= 4 else weight.shape[2:]
            random.standard_normal(out=weight, dtype=np.float32)
            weight *= np.float32(np.sqrt(1.5 / np.prod(inner)))
            bias[...] = 0.1 * random.standard_normal(bias.shape, dtype=np.float32)
            if net.layer_dict[layer].type == "Region":
                blobs[2].data = random.standard_normal(blobs[2].shape)
                blobs[3].data = random.uniform(0.5, 2, blobs[3].shape)
                blobs[4].data = [1]
        # So that images of deviation 50 are numbers of about 1 after the first layer.
        next(iter(net.params.values()))[0].data *= np.float32(1 / 50)
        net.save(path)


def _inputs_only(job: Job, file: NetFile, phase: int) -> NetFile:
    """The net with an Input layer in place of the data layers of a phase."""
    layers = []
    for source in file.layers:
        param = source.param
        if not param.type.endswith("Data"):
            layers.append(source)
            continue
        if phase not in [rule.phase for rule in param.include]:
            continue
        given = pb.LayerParameter(name=param.name, type="Input", top=param.top)
        for shape in ((job.batch, *image_shape(job.net)), (job.batch, 12)):
            given.input_param.shape.add(dim=shape)
        layers.append(source.replaced(given))
    return file.with_layers(layers)


class Ours:
    """drml: Net.run_layers, or SGDSolver.step with what belongs to it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        _core.set_threads(job.threads)
        images, labels = batch_of(job, image_shape(job.net))
        if job.mode == "forward":
            self.net = Net(ROOT / "prototxt" / f"{job.net}_deploy.prototxt", job.weights)
            self.net.blobs["data"].reshape(*images.shape)
            self.net.reshape()
        else:
            self.solver = SGDSolver(
                self._solver_file(),
                device="cpu",
                edit_net=lambda file, phase: _inputs_only(job, file, phase),
                log=RunLog(quiet=True),
                seed=1,
            )
            self.solver.load_weights(job.weights)
            self.net = self.solver.net
            self.net.blobs["label"].data = labels
        self.net.blobs["data"].data = images

    def _solver_file(self) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "solver.prototxt"
            net = ROOT / "prototxt" / f"{self.job.net}.prototxt"
            path.write_text(
                f'net: "{net}" base_lr: {RATE} lr_policy: "fixed" momentum: {MOMENTUM} '
                f"weight_decay: {DECAY} max_iter: 1000000 display: 0\n"
            )
            return read_solver(str(path))

    def __call__(self) -> object:
        if self.job.mode == "forward":
            return self.net.run_layers()
        return self.solver.step(1)

    def results(self) -> dict[str, Array]:
        if self.job.mode == "forward":
            return {LOGITS: self.net.forward(blobs=[LOGITS])[LOGITS]}
        dropouts = [node.layer for node in self.net.layers if node.type == "Dropout"]
        ratios = [layer.ratio for layer in dropouts]
        for layer in dropouts:
            layer.ratio = 0.0
        self.net.clear_param_diffs()
        found = {LOGITS: self.net.forward(blobs=[LOGITS])[LOGITS]}
        self.net.backward()
        for layer, ratio in zip(dropouts, ratios, strict=True):
            layer.ratio = ratio
        for layer, blobs in self.net.params.items():
            for index, blob in enumerate(blobs[:2]):
                found[f"{layer}/{index}"] = blob.diff.copy()
        return found


def _torch(**options: object) -> Callable[[Job], Contender]:
    def make(job: Job) -> Contender:
        from peers_torch import TorchContender

        return TorchContender(job, **options)  # type: ignore[arg-type]

    return make


def _onnxruntime(job: Job) -> Contender:
    from peers_inference import OnnxRuntime

    return OnnxRuntime(job)


def _opencv(job: Job) -> Contender:
    from peers_inference import OpenCv

    return OpenCv(job)


CONTENDERS: dict[str, Callable[[Job], Contender]] = {
    "drml": Ours,
    "torch": _torch(),
    "torch channels_last": _torch(channels_last=True),
    "torch compile": _torch(compiled=True),
    "torch compile channels_last": _torch(compiled=True, channels_last=True),
    "torch loop": _torch(region="loop"),
    "torch bf16": _torch(channels_last=True, bf16=True),
    "onnxruntime": _onnxruntime,
    "opencv": _opencv,
}


def can_run(name: str, net: str, mode: str) -> bool:
    """Whether a contender has a form of this net, for this mode."""
    if name == "torch loop":
        return net == "drml"
    if name == "onnxruntime":
        return mode == "forward"
    if name == "opencv":
        return mode == "forward" and net in ("convnet", "alexnet")
    return True


def has_bf16() -> bool:
    """Whether the machine has instructions for bf16."""
    flags = Path("/proc/cpuinfo").read_text().split("flags", 1)[-1].split("\n", 1)[0].split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def peak_memory(job: Job) -> float:
    """Megabytes that a process of one contender holds at most while it runs, not while it loads."""
    contender = CONTENDERS[job.contenders[0]](job)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(2):
        contender()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM")
