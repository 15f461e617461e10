"""What a picture of a net shows: boxes of layers, and who reads what of whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from drml.draw.labels import kind_of, merged_shape, parameter_lines, settings_lines, shape_lines
from drml.draw.nodes import Key, Node, Nodes, read_nodes
from drml.prototxt import NetFile

EQUAL_BRANCHES = 4
"""So many branches that differ in names alone are drawn as one."""


@dataclass(frozen=True)
class Cell:
    """A layer in a box.

    Attributes:
        names: of the layers that it stands for: one, or that of each of equal branches.
        members: names of the layers that a region layer in the long form runs as one.
        type: the layer's, as in the file.
        kind: one of drml.draw.labels.KINDS.
        phase: the one phase that it is in, '' when it is in each that is drawn.
        lines: settings, shapes and parameters.
    """

    names: tuple[str, ...]
    members: tuple[str, ...]
    type: str
    kind: str
    phase: str
    lines: tuple[str, ...]

    @property
    def title(self) -> str:
        """The layer's name; of several the first and the last."""
        return self.names[0] if len(self.names) == 1 else f"{self.names[0]} ... {self.names[-1]}"

    @property
    def remark(self) -> str:
        """What stands behind the type, in brackets; '' if nothing does."""
        words = [f"{self.phase} only"] if self.phase else []
        if len(self.names) > 1:
            words.append(f"{len(self.names)} times")
        if self.members:
            words.append(f"{len(self.members)} layers as one")
        return f"({', '.join(words)})" if words else ""


@dataclass(frozen=True)
class Box:
    """A layer, and below it those that work in place on its top."""

    cells: tuple[Cell, ...]

    @property
    def count(self) -> int:
        """How many equal boxes it stands for."""
        return len(self.cells[0].names)


@dataclass(frozen=True)
class Edge:
    """What box `head` reads of box `tail`, which comes before it.

    Attributes:
        tail, head: indices of boxes.
        blobs: names of the blobs.
        label: what the picture says beside it, where the tail has other tops too.
        text: blobs and shapes in full.
    """

    tail: int
    head: int
    blobs: tuple[str, ...]
    label: str
    text: str


@dataclass(frozen=True)
class Diagram:
    """Boxes in the order of the file, and edges between them.

    Attributes:
        name: the net's.
        facts: what the picture says below the name.
        notes: on what is not as the file says, a line each.
    """

    name: str
    facts: str
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    notes: tuple[str, ...]

    @property
    def layers(self) -> int:
        """How many layers the boxes stand for."""
        cells = [cell for box in self.boxes for cell in box.cells]
        return sum(len(cell.names) * max(1, len(cell.members)) for cell in cells)


def make_diagram(
    file: NetFile,
    phases: Sequence[str] = ("TRAIN", "TEST"),
    *,
    level: int = 0,
    stages: Sequence[str] = (),
    fuse: bool = True,
    collapse: bool = True,
) -> Diagram:
    """The diagram of a net file; the data that it names need not exist.

    Args:
        file, phases, level, stages, fuse: as of drml.draw.nodes.read_nodes.
        collapse: draws EQUAL_BRANCHES or more branches that differ in names alone as one.

    Raises:
        PrototxtError, NetError: the net cannot be built.
    """
    found = read_nodes(file, phases, level=level, stages=stages, fuse=fuse)
    stacks = _stacks(found.nodes)
    groups: list[Group] = [(stack,) for stack in stacks]
    if collapse:
        groups = _collapsed(stacks, found.nodes)
    single = len(found.phases) == 1
    boxes = [_box(group, found.nodes, single=single) for group in groups]
    return Diagram(
        file.message.name,
        _facts(found, asked=len(phases)),
        tuple(boxes),
        tuple(_edges(groups, found.nodes)),
        tuple(found.notes),
    )


# A stack is the layers of a box; a group is the equal stacks that are drawn as one.
Stack = tuple[Key, ...]
Group = tuple[Stack, ...]


def _stacks(nodes: dict[Key, Node]) -> list[Stack]:
    """The layers with those below them that work in place on their tops."""
    stacks: list[list[Key]] = []
    place: dict[Key, int] = {}
    for key, node in nodes.items():
        above = {place[maker] for maker, _ in node.makers}
        index = above.pop() if len(above) == 1 and _works_in_place(node) else len(stacks)
        if index == len(stacks):
            stacks.append([])
        elif not _can_follow(node, stacks[index][-1], nodes):
            index = len(stacks)
            stacks.append([])
        stacks[index].append(key)
        place[key] = index
    return [tuple(stack) for stack in stacks]


def _works_in_place(node: Node) -> bool:
    param = node.source.param
    return len(param.bottom) == 1 and list(param.bottom) == list(param.top)


def _can_follow(node: Node, last: Key, nodes: dict[Key, Node]) -> bool:
    """Whether a layer reads the only top of the last layer of a stack."""
    return len(nodes[last].source.param.top) == 1 and last in {maker for maker, _ in node.makers}


def _collapsed(stacks: list[Stack], nodes: dict[Key, Node]) -> list[Group]:
    """The stacks, with those of equal branches in one group."""
    above, below = _neighbors(stacks, nodes)
    branches: dict[object, list[list[int]]] = defaultdict(list)
    for start, makers in enumerate(above):
        if len(makers) != 1 or len(below[next(iter(makers))]) == 1:
            continue
        chain = [start]
        while len(below[chain[-1]]) == 1:
            (following,) = below[chain[-1]]
            if len(above[following]) != 1 or len(below[following]) > 1:
                break
            chain.append(following)
        if len(below[chain[-1]]) > 1:
            continue
        ends = (frozenset(makers), frozenset(below[chain[-1]]))
        looks = tuple(_look(stacks[index], nodes) for index in chain)
        branches[ends, looks].append(chain)
    leader = list(range(len(stacks)))
    for equal in branches.values():
        if len(equal) >= EQUAL_BRANCHES:
            for chain in equal:
                for index, first in zip(chain, equal[0], strict=True):
                    leader[index] = first
    groups: dict[int, list[Stack]] = defaultdict(list)
    for index, stack in enumerate(stacks):
        groups[leader[index]].append(stack)
    return [tuple(group) for group in groups.values()]


def _neighbors(
    stacks: list[Stack], nodes: dict[Key, Node]
) -> tuple[list[set[int]], list[set[int]]]:
    """For each stack, those that it reads and those that read it."""
    place = {key: index for index, stack in enumerate(stacks) for key in stack}
    above: list[set[int]] = [set() for _ in stacks]
    below: list[set[int]] = [set() for _ in stacks]
    for key, node in nodes.items():
        for maker, _ in node.makers:
            if place[maker] != place[key]:
                above[place[key]].add(place[maker])
                below[place[maker]].add(place[key])
    return above, below


def _look(stack: Stack, nodes: dict[Key, Node]) -> object:
    """All that a box says, but for names."""
    looks = []
    for key in stack:
        node = nodes[key]
        shapes = tuple(merged_shape(shapes) for shapes in node.shapes.values())
        lines = (*settings_lines(node.source.param, node.layer_class), *shapes)
        counts = (node.learned, node.not_learned, len(node.source.param.top))
        looks.append((node.source.param.type, tuple(node.phases), lines, counts))
    return tuple(looks)


def _box(group: Group, nodes: dict[Key, Node], *, single: bool) -> Box:
    cells = []
    for index, key in enumerate(group[0]):
        node = nodes[key]
        names = tuple(nodes[stack[index]].source.param.name for stack in group)
        tops = {top: merged_shape(node.shapes.get(top, {})) for top in node.source.param.top}
        # What works in place has the shape of what stands above it.
        shapes = [] if index else shape_lines(names[0] if len(group) == 1 else "", tops)
        lines = (
            *settings_lines(node.source.param, node.layer_class),
            *shapes,
            *parameter_lines(node.learned, node.not_learned),
        )
        phase = "" if single or len(node.phases) > 1 else node.phases[0]
        kind = kind_of(node.layer_class)
        cells.append(Cell(names, node.members, node.source.param.type, kind, phase, lines))
    return Box(tuple(cells))


def _edges(groups: list[Group], nodes: dict[Key, Node]) -> list[Edge]:
    place = {key: i for i, group in enumerate(groups) for stack in group for key in stack}
    blobs: dict[tuple[int, int], dict[tuple[Key, str], None]] = defaultdict(dict)
    for key, node in nodes.items():
        for maker, blob in node.makers:
            if place[maker] != place[key]:
                blobs[place[maker], place[key]][maker, blob] = None
    edges = []
    for (tail, head), read in sorted(blobs.items()):
        names = tuple(dict.fromkeys(blob for _, blob in read))
        label = ""
        if any(len(nodes[maker].source.param.top) > 1 for maker, _ in read):
            label = ", ".join(names) if len(names) <= 2 else f"{len(names)} blobs"
        text = []
        for maker, blob in read:
            shape = merged_shape(nodes[maker].shapes.get(blob, {}))
            text.append(f"{blob}: {shape}" if shape else blob)
        edges.append(Edge(tail, head, names, label, "\n".join(dict.fromkeys(text))))
    return edges


def _facts(found: Nodes, asked: int) -> str:
    """Parameters, phases and batch sizes, as far as they are known."""
    words = []
    summaries = {phase: one for phase, one in found.phases.items() if one is not None}
    if summaries:
        learned = max(summary.learned for summary in summaries.values())
        words.append(f"{learned:,} learned parameters")
    if asked == 1 or len(found.phases) == 1:
        words.append(f"phase {next(iter(found.phases))}")
    sizes = {phase: summary.batch_size for phase, summary in summaries.items()}
    if len(set(sizes.values())) > 1:
        words.append("N = " + ", ".join(f"{size} in {phase}" for phase, size in sizes.items()))
    return "; ".join(words)
