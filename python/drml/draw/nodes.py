"""The layers of a net file in all the phases that are drawn, and who reads what of whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from drml.errors import DataError, NetError, PrototxtError
from drml.filter import filter_net
from drml.fuse_regions import RegionSource, fuse_regions
from drml.insert_splits import count_readers
from drml.layers import Layer, find, unknown_type
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import LayerSource, NetFile
from drml.summary import LayerSummary, NetSummary, summarize

Key = tuple[int, str]
"""A layer: its place in the file, and its type, for a Region layer stands in an Eltwise's place."""


@dataclass
class Node:
    """A layer.

    Attributes:
        source: the layer as the file has it.
        layer_class: that of its type.
        phases: the phases that it is in.
        makers: the layers whose tops it reads, and the blobs' names.
        shapes: top -> phase -> shape; phases whose shapes are not known are left out.
        learned, not_learned: numbers of its parameters.
    """

    source: LayerSource
    layer_class: type[Layer]
    phases: list[str] = field(default_factory=list)
    makers: dict[tuple[Key, str], None] = field(default_factory=dict)
    shapes: dict[str, dict[str, tuple[int, ...]]] = field(default_factory=dict)
    learned: int = 0
    not_learned: int = 0

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the layers that it stands for, if it is a region layer in the long form."""
        if not isinstance(self.source, RegionSource):
            return ()
        return tuple(member.param.name for member in self.source.members)


@dataclass
class Nodes:
    """The layers that are drawn, in the order of the file; a Split is none of them.

    Attributes:
        phases: phase -> what the net is made of, None where its data have to tell and cannot.
        notes: on what is not as the file says, a line each.
    """

    nodes: dict[Key, Node]
    phases: dict[str, NetSummary | None]
    notes: list[str]


def read_nodes(
    file: NetFile,
    phases: Sequence[str],
    *,
    level: int = 0,
    stages: Sequence[str] = (),
    fuse: bool = True,
) -> Nodes:
    """The layers of a net file; the data that it names need not exist.

    Args:
        file: the net.
        phases: `TRAIN`, `TEST`, or both.
        level, stages: with the phase they decide which layers apply.
        fuse: takes region layers in the authors' long form as one layer each.

    Raises:
        PrototxtError, NetError: the net cannot be built. Of several phases one that can is enough.
    """
    found = Nodes({}, {}, [])
    failed: dict[str, NetError | PrototxtError] = {}
    for phase in phases:
        try:
            layers = _layers(file, phase, level, stages, fuse)
            net_notes, summary = _build(file, phase, level, stages, fuse)
        except (NetError, PrototxtError) as error:
            failed[phase] = error
            continue
        found.notes += [note for note in net_notes if note not in found.notes]
        found.phases[phase] = summary
        _add_phase(found.nodes, file, phase, layers, summary)
    if not found.phases:
        raise failed[phases[0]]
    found.notes += [f"phase {phase} is left out: {error}" for phase, error in failed.items()]
    found.nodes = dict(sorted(found.nodes.items()))
    return found


def _layers(
    file: NetFile, phase: str, level: int, stages: Sequence[str], fuse: bool
) -> list[LayerSource]:
    layers = filter_net(file, pb.Phase.Value(phase), level, stages)
    if not layers.layers:
        raise NetError(f"{file.path}: no layer is for phase {phase}")
    return (fuse_regions(layers)[0] if fuse else layers).layers


def _build(
    file: NetFile, phase: str, level: int, stages: Sequence[str], fuse: bool
) -> tuple[list[str], NetSummary | None]:
    """The net's notes, and its shapes and parameters unless its data have to tell and cannot."""
    try:
        with Net(
            file,
            phase=pb.Phase.Value(phase),
            level=level,
            stages=stages,
            device="cpu",
            synthetic_data=True,
            fuse=fuse,
        ) as net:
            return net.notes, summarize(net)
    except DataError as error:
        return [f"shapes and parameters are left out: {error}"], None


def _add_phase(
    nodes: dict[Key, Node],
    file: NetFile,
    phase: str,
    layers: list[LayerSource],
    summary: NetSummary | None,
) -> None:
    places = {id(source.place): index for index, source in enumerate(file.layers)}
    keys = [(places[id(source.place)], source.param.type) for source in layers]
    _, sources_of = count_readers(file.with_layers(layers))
    figures = iter(summary.layers if summary is not None else ())
    for index, (source, key) in enumerate(zip(layers, keys, strict=True)):
        figure = None
        if summary is not None:
            # In between are the Splits that the net has put there.
            figure = next(one for one in figures if one.name == source.param.name)
        if source.param.type == "Split":
            continue
        node = nodes.setdefault(key, Node(source, _class(source)))
        node.phases.append(phase)
        for position in range(len(source.param.bottom)):
            maker, top = sources_of[index, position]
            while layers[maker].param.type == "Split":
                maker, top = sources_of[maker, 0]
            node.makers[keys[maker], layers[maker].param.top[top]] = None
        if figure is not None:
            _add_figures(node, phase, figure)


def _add_figures(node: Node, phase: str, figure: LayerSummary) -> None:
    for name, shape in figure.tops.items():
        node.shapes.setdefault(name, {})[phase] = shape
    node.learned = max(node.learned, figure.learned)
    node.not_learned = max(node.not_learned, figure.not_learned)


def _class(source: LayerSource) -> type[Layer]:
    layer_class = find(source.param.type)
    if layer_class is None:
        raise NetError(
            f"{source.where('type')}: layer '{source.param.name}': "
            f"{unknown_type(source.param.type)}"
        )
    return layer_class
