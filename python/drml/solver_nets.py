"""The nets that a solver file names, in Caffe's order, each with its phase, level and stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drml.errors import SolverError
from drml.layers import Layer
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import NetFile, SolverFile, read_net

_TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


@dataclass(frozen=True)
class NetSource:
    """A net as the solver wants it.

    Attributes:
        file: the net's definition.
        origin: where it was named, for the log.
        phase, level, stages: its state, by which layers are included or excluded.
    """

    file: NetFile
    origin: str
    phase: int
    level: int
    stages: tuple[str, ...]


def find_beside(path: str, solver: SolverFile) -> Path:
    """A path in a solver file: from the working directory as in Caffe, else beside the file."""
    given = Path(path)
    beside = Path(solver.path).parent / given
    return beside if not given.exists() and beside.exists() else given


def _read(solver: SolverFile, field: str, index: int = 0) -> tuple[NetFile, str]:
    value = getattr(solver.message, field)
    located = field
    if field.startswith("test_"):
        value, located = value[index], f"{field}[{index}]"
    if field.endswith("_param"):
        return solver.net(located), f"{field} at {solver.where(located)}"
    path = find_beside(value, solver)
    if not path.exists():
        raise SolverError(f"{solver.where(located)}: {field}: file '{value}' does not exist")
    return read_net(path), f"{field} file {path}"


def _source(file: NetFile, origin: str, phase: int, own: pb.NetState | None) -> NetSource:
    """The net's state: the phase's default, then what the net says, then what the solver says."""
    state = pb.NetState(phase=pb.Phase.Name(phase))
    state.MergeFrom(file.message.state)
    if own is not None:
        state.MergeFrom(own)
    # All of the state is passed on; the net's own part of it must not be merged again.
    file = file.with_layers(file.layers)
    file.message.ClearField("state")
    return NetSource(file, origin, state.phase, state.level, tuple(state.stage))


def train_source(solver: SolverFile) -> NetSource:
    """The train net.

    Raises:
        SolverError: not exactly one of net, net_param, train_net and train_net_param is set, or
            its file does not exist.
    """
    given = [field for field in _TRAIN_FIELDS if solver.message.HasField(field)]
    if len(given) != 1:
        names = ", ".join(_TRAIN_FIELDS)
        what = f"{' and '.join(given)} are set" if given else "none is set"
        where = solver.where(given[1] if given else "")
        raise SolverError(f"{where}: exactly one of {names} names the train net; {what}")
    file, origin = _read(solver, given[0])
    return _source(file, origin, pb.TRAIN, solver.message.train_state)


def all_test_sources(solver: SolverFile) -> list[NetSource]:
    """The test nets: test_net_param, test_net, then net or net_param for every test_iter left.

    Raises:
        SolverError: the numbers of test_iter or test_state do not fit, test_interval is missing,
            or a file does not exist.
    """
    param = solver.message
    named = [("test_net_param", i) for i in range(len(param.test_net_param))]
    named += [("test_net", i) for i in range(len(param.test_net))]
    generic = next((field for field in ("net_param", "net") if param.HasField(field)), None)
    left = len(param.test_iter) - len(named)
    if left < 0 or (left > 0 and generic is None):
        raise SolverError(
            f"{solver.where('test_iter')}: test_iter is given {len(param.test_iter)} times for "
            f"{len(named)} test nets"
        )
    named += [(generic, 0)] * left if generic else []
    if len(param.test_state) not in (0, len(named)):
        raise SolverError(
            f"{solver.where('test_state')}: test_state is given {len(param.test_state)} times for "
            f"{len(named)} test nets; give it once per net or not at all"
        )
    if named and param.test_interval < 1:
        raise SolverError(
            f"{solver.where('test_interval')}: test_interval must be 1 or more where there are "
            "test nets"
        )
    sources = []
    for index, (field, position) in enumerate(named):
        file, origin = _read(solver, field, position)
        own = param.test_state[index] if param.test_state else None
        sources.append(_source(file, origin, pb.TEST, own))
    return sources


def share_trained_layers(net: Net, source: Net) -> None:
    """Makes layers of `net` share the parameters of `source`'s layers of the same name.

    Raises:
        SolverError: a layer's parameters differ in number or shape, or it is part of a fused layer
            in one net only.
    """
    trained = {node.name: node.layer for node in source.layers if node.layer.blobs}
    shared: set[str] = set()
    for node in net.layers:
        layer = trained.get(node.name)
        if layer is None or not node.layer.blobs:
            continue
        names = [param.name for param, _ in node.layer.members()]
        if names != [param.name for param, _ in layer.members()]:
            continue
        _share(node.layer, layer)
        shared.update(names)
    for name in net.params:
        if name in source.params and name not in shared:
            raise SolverError(
                f"{net.path}: layer '{name}' is part of a Region layer in one of the train and "
                "test nets only; --no-fuse runs both as written"
            )


def _share(layer: Layer, trained: Layer) -> None:
    shapes, others = [b.shape for b in layer.blobs], [b.shape for b in trained.blobs]
    if shapes != others:
        raise SolverError(
            f"{layer.source.where()}: layer '{layer.name}' has parameters {shapes} in the test net "
            f"and {others} in the train net"
        )
    for blob, other in zip(layer.blobs, trained.blobs, strict=True):
        blob.share_data(other)
