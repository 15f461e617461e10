"""Snapshots: a .caffemodel and a .solverstate, as Caffe's, with what an exact resume needs beside.

Caffe's SolverState holds the iteration, the solver's history and the learning rate's step. Ours
adds, in a field that stock Caffe skips: the random seed, how many batches every layer that draws
samples or random numbers has drawn, and the losses that average_loss looks back on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drml import _core, hdf5_weights
from drml.blob import Array, Blob
from drml.errors import SolverError, WeightsError
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.weights import read_state, write_state

Positions = dict[str, int]
"""How many batches a net's layers have drawn, by layer name."""


def positions(net: Net) -> Positions:
    """Where the layers of a net stand in their data and random numbers."""
    return {
        node.name: node.layer.position for node in net.layers if node.layer.position is not None
    }


def set_positions(net: Net, wanted: Mapping[str, int]) -> None:
    """Puts the layers of a net where `positions` found them; layers that are not named stay."""
    for node in net.layers:
        if node.layer.position is not None and node.name in wanted:
            node.layer.position = wanted[node.name]


class Bookmark:
    """What forward passes change in nets, so that they can be undone.

    These are data positions, positions in random numbers, and parameters that are not learned, such
    as the running statistics of BatchNorm.

    Args:
        nets: as they are now.
    """

    def __init__(self, nets: Sequence[Net]) -> None:
        self._positions = [(net, positions(net)) for net in nets]
        self._values = [
            (param.blob, param.blob.read_data().copy())
            for net in nets
            for param in net.learnable
            if param.lr_mult == 0
        ]

    def go_back(self) -> None:
        """Puts the nets back to where they were."""
        for net, stored in self._positions:
            set_positions(net, stored)
        for blob, value in self._values:
            blob.data = value


@dataclass
class Progress:
    """Where a training run stands, apart from its parameters and history.

    Attributes:
        iteration: updates made.
        current_step: steps that the learning rate has taken.
        seed: of the nets' random numbers; None: not known, as in a state that Caffe wrote.
        recent_losses: the losses that average_loss looks back on.
        positions: by net (`train`, `test_0`...) and layer, batches drawn.
    """

    iteration: int
    current_step: int
    seed: int | None
    recent_losses: list[float]
    positions: dict[str, Positions]


def state_path(prefix: str, iteration: int, hdf5: bool = False) -> Path:
    """Where the .solverstate, or with `hdf5` the .solverstate.h5, of an iteration is written."""
    return Path(f"{prefix}_iter_{iteration}.solverstate{'.h5' if hdf5 else ''}")


def write(
    prefix: str,
    net: Net,
    history: Sequence[Blob],
    progress: Progress,
    *,
    with_diff: bool = False,
    hdf5: bool = False,
) -> Path:
    """Writes prefix_iter_N.caffemodel, then prefix_iter_N.solverstate, and returns its path.

    With `hdf5` both hold HDF5, and their names end in .h5.

    Each appears whole or not at all; snapshots of other iterations are not touched. The prefix's
    folder is made if it is missing.

    Raises:
        SolverError: a parameter holds a NaN or an infinite number, or a file cannot be written.
    """
    for param in net.learnable:
        if not _core.all_finite(param.blob.value):
            raise SolverError(
                f"iteration {progress.iteration}: no snapshot written: parameter {param.name} "
                "holds a nan or an infinite number"
            )
    model = f"{prefix}_iter_{progress.iteration}.caffemodel{'.h5' if hdf5 else ''}"
    path = state_path(prefix, progress.iteration, hdf5)
    state = pb.SolverState(
        iter=progress.iteration, learned_net=model, current_step=progress.current_step
    )
    state.drml.CopyFrom(_runtime(progress))
    try:
        path.parent.mkdir(exist_ok=True)
        net.save(model, write_diff=with_diff)
        write_history = hdf5_weights.write_state if hdf5 else write_state
        write_history(path, state, [blob.read_data() for blob in history])
    except OSError as error:
        raise SolverError(f"cannot write snapshot {path}: {error.strerror}") from error
    except WeightsError as error:
        raise SolverError(f"cannot write snapshot {error}") from error
    return path


def _runtime(progress: Progress) -> pb.RuntimeState:
    runtime = pb.RuntimeState(seed=progress.seed, recent_loss=progress.recent_losses)
    for net, layers in progress.positions.items():
        for layer, position in layers.items():
            runtime.cursor.add(net=net, layer=layer, position=position)
    return runtime


@dataclass
class Snapshot:
    """A snapshot as it was read.

    Attributes:
        path: the .solverstate.
        model: the .caffemodel that it names.
        progress: where the run stood.
        resumes_exactly: whether data positions and random state are known; Caffe stores none.
        history: what the solver remembered: SGD's velocities, for one.
    """

    path: Path
    model: Path
    progress: Progress
    resumes_exactly: bool
    history: list[Array] = field(repr=False)

    def check_history(self, history: Sequence[Blob]) -> None:
        """Raises WeightsError where the number or a shape of the stored history does not fit."""
        if len(self.history) != len(history):
            raise WeightsError(
                f"{self.path}: holds {len(self.history)} history blobs, but this solver and its "
                f"net have {len(history)}; another type of solver or another net wrote it"
            )
        for stored, blob in zip(self.history, history, strict=True):
            if not _same_shape(stored.shape, blob.shape):
                raise WeightsError(
                    f"{self.path}: the history of parameter {blob.name} has shape "
                    f"{stored.shape}, the parameter {blob.shape}"
                )

    def copy_history(self, history: Sequence[Blob]) -> None:
        """Writes the stored arrays into `history`, which `check_history` has found to fit."""
        for stored, blob in zip(self.history, history, strict=True):
            blob.data = stored.reshape(blob.shape)


def _same_shape(stored: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether shapes agree but for leading ones, which Caffe's old four-axis blobs have."""
    longest = max(len(stored), len(wanted))
    padded = [(1,) * (longest - len(shape)) + shape for shape in (stored, wanted)]
    return padded[0] == padded[1]


def read(path: Path) -> Snapshot:
    """Reads a .solverstate of ours or of Caffe's, binary or HDF5.

    The .caffemodel that it names is looked for beside it, then where the name says.

    Raises:
        WeightsError: the file is missing or no solver state, or the weights are missing.
    """
    state, history = (hdf5_weights.read_state if hdf5_weights.is_hdf5(path) else read_state)(path)
    if not state.HasField("learned_net") or not state.HasField("iter"):
        raise WeightsError(f"{path}: names no iteration or no learned net")
    named = Path(state.learned_net)
    model = next((p for p in (path.parent / named.name, named) if p.is_file()), None)
    if model is None:
        raise WeightsError(f"{path}: the weights that it names, {named}, are not there")
    positions_of: dict[str, Positions] = {}
    for cursor in state.drml.cursor:
        positions_of.setdefault(cursor.net, {})[cursor.layer] = cursor.position
    progress = Progress(
        iteration=state.iter,
        current_step=state.current_step,
        seed=state.drml.seed if state.drml.HasField("seed") else None,
        recent_losses=list(state.drml.recent_loss),
        positions=positions_of,
    )
    return Snapshot(path, model, progress, state.HasField("drml"), history)
