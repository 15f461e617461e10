"""Finds places for the boxes of a graph in layers, as Sugiyama, Tagawa and Toda did (1981).

A box stands a rank below all that it reads. An edge over several ranks is given a point in each
rank in between, which edges of one blob share; then the boxes and points of every rank are ordered
so that few edges cross, and moved sideways so that edges run straight. Sizes and places are in one
unit, y grows downwards.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

Size = tuple[float, float]
Point = tuple[float, float]

GAP = 24.0
"""Between two boxes of a rank."""
LANE = 12.0
"""Between two edges that pass a rank, or an edge and a box."""
RANK_GAP = 30.0
"""Between two ranks, at least."""
_SLANT = 12.0
"""How far sideways an edge may go for each step down; ranks are moved apart for more."""
_MOST_RANK_GAP = 110.0
_SWEEPS = 12
_MOVES = 40


@dataclass(frozen=True)
class Link:
    """An edge.

    Attributes:
        tail, head: indices of boxes, tail < head.
        wire: what it carries: edges of one tail and wire share their way as long as they can.
        label: width of the label that is to stand where it leaves its tail.
    """

    tail: int
    head: int
    wire: Hashable = None
    label: float = 0.0


@dataclass(frozen=True)
class Layout:
    """Places of boxes and ways of edges.

    Attributes:
        places: left top corner of each box.
        ways: of each edge, the points from its tail's lower border to its head's upper border; it
            runs straight down between points 0 and 1, 2 and 3, and so on, and crosses from one rank
            to the next between 1 and 2, 3 and 4...
        size: of the whole.
    """

    places: list[Point]
    ways: list[list[Point]]
    size: Size


@dataclass
class _Item:
    """A box, or the point of an edge in a rank between its ends."""

    rank: int
    width: float
    height: float
    box: bool
    above: list[tuple[int, float]]  # items and the weight that pulls to them
    below: list[tuple[int, float]]
    x: float = 0.0  # of the middle


def lay_out(sizes: Sequence[Size], links: Sequence[Link]) -> Layout:
    """Places for boxes of the given sizes (width, height), and ways for the links between them."""
    ranks = _ranks(len(sizes), links)
    items = [
        _Item(rank, width, height, True, [], [])
        for rank, (width, height) in zip(ranks, sizes, strict=True)
    ]
    chains = _chains(items, links)
    rows = _rows(items)
    _order(items, rows)
    _move(items, rows)
    _straighten(items, rows)
    left = min((item.x - item.width / 2 for item in items), default=0.0)
    for item in items:
        item.x -= left
    tops, heights = _heights(items, rows)
    places = [
        (item.x - item.width / 2, tops[item.rank] + (heights[item.rank] - item.height) / 2)
        for item in items[: len(sizes)]
    ]
    width = max((item.x + item.width / 2 for item in items), default=0.0)
    height = tops[-1] + heights[-1] if rows else 0.0
    leave, reach = _leave(items, links, chains), _reach(items, links, chains)
    ways = []
    for chain, start, end in zip(chains, leave, reach, strict=True):
        upper = places[chain[0]][1] + sizes[chain[0]][1]
        middle = [items[index].x for index in chain[1:-1]]
        way = [(start, upper)]
        for x, index in zip([start, *middle, end], chain, strict=True):
            top = tops[items[index].rank]
            way += [(x, top), (x, top + heights[items[index].rank])]
        # The tail's own rank begins above its border, and the head's ends below.
        del way[1], way[-1]
        ways.append([*way, (end, places[chain[-1]][1])])
    return Layout(places, ways, (width, height))


def _ranks(count: int, links: Sequence[Link]) -> list[int]:
    """The longest way to each box; one that reads nothing stands just above what reads it."""
    ranks = [0] * count
    read = [False] * count
    for link in sorted(links, key=lambda link: link.head):
        ranks[link.head] = max(ranks[link.head], ranks[link.tail] + 1)
        read[link.head] = True
    first = [count] * count
    for link in links:
        first[link.tail] = min(first[link.tail], ranks[link.head])
    for box in range(count):
        if not read[box] and first[box] < count:
            ranks[box] = first[box] - 1
    return ranks


def _chains(items: list[_Item], links: Sequence[Link]) -> list[list[int]]:
    """For each link its boxes and, between them, a point in each rank; joins them."""
    points: dict[tuple[int, Hashable, int], int] = {}
    chains = []
    joined = set()
    for link in links:
        chain = [link.tail]
        for rank in range(items[link.tail].rank + 1, items[link.head].rank):
            key = (link.tail, link.wire, rank)
            if key not in points:
                points[key] = len(items)
                items.append(_Item(rank, 0.0, 0.0, False, [], []))
            chain.append(points[key])
        chain.append(link.head)
        chains.append(chain)
        for pair in pairwise(chain):
            if pair not in joined:
                joined.add(pair)
                _join(items, *pair)
    return chains


def _join(items: list[_Item], upper: int, lower: int) -> None:
    # A long edge is to be straight before all: it is the longest line in the picture.
    weight = 1.0 if items[upper].box or items[lower].box else 5.0
    items[upper].below.append((lower, weight))
    items[lower].above.append((upper, weight))


def _rows(items: list[_Item]) -> list[list[int]]:
    """The items of each rank, in the order in which a walk along the edges meets them."""
    rows: list[list[int]] = [[] for _ in range(max((item.rank for item in items), default=-1) + 1)]
    seen = [False] * len(items)
    for start in range(len(items)):
        stack = [start] if not items[start].above else []
        while stack:
            index = stack.pop()
            if seen[index]:
                continue
            seen[index] = True
            rows[items[index].rank].append(index)
            stack += [lower for lower, _ in reversed(items[index].below)]
    return rows


def _order(items: list[_Item], rows: list[list[int]]) -> None:
    """Orders the rows by the mean place of what is joined to each item, as long as it helps."""
    best = [list(row) for row in rows]
    least = _crossings(items, rows)
    for sweep in range(_SWEEPS):
        if not least:
            break
        down = sweep % 2 == 0
        for row in rows[1:] if down else rows[-2::-1]:
            _sort_row(items, rows, row, down)
        crossings = _crossings(items, rows)
        if crossings < least:
            least, best = crossings, [list(row) for row in rows]
    rows[:] = best


def _sort_row(items: list[_Item], rows: list[list[int]], row: list[int], down: bool) -> None:
    if not row:
        return
    rank = items[row[0]].rank
    place = {index: i for i, index in enumerate(rows[rank - 1 if down else rank + 1])}
    means = {}
    for i, index in enumerate(row):
        joined = [place[other] for other, _ in _side(items[index], down)]
        means[index] = sum(joined) / len(joined) if joined else float(i)
    row.sort(key=lambda index: means[index])


def _side(item: _Item, above: bool) -> list[tuple[int, float]]:
    return item.above if above else item.below


def _crossings(items: list[_Item], rows: list[list[int]]) -> int:
    count = 0
    for upper, lower in pairwise(rows):
        place = {index: i for i, index in enumerate(lower)}
        ends: list[int] = []
        for index in upper:
            mine = sorted(place[other] for other, _ in items[index].below)
            count += sum(len(ends) - bisect_right(ends, end) for end in mine)
            for end in mine:
                insort(ends, end)
    return count


def _move(items: list[_Item], rows: list[list[int]]) -> None:
    """Moves the items of each row, without changing their order, towards what they are joined to.

    That minimizes the weighted sum of squares of the edges' sideways ways, row by row.
    """
    for row in rows:
        x = 0.0
        for left, index in zip([None, *row], row, strict=False):
            x += 0.0 if left is None else _distance(items[left], items[index])
            items[index].x = x
        for index in row:
            items[index].x -= x / 2
    both = (True, False)
    for move in range(_MOVES):
        down = move % 2 == 0
        # One side first and last, so that a whole column moves at once; in between both, so that
        # what stands above learns where it leads.
        one = move < _MOVES // 4 or move >= _MOVES - 2
        for row in rows if down else rows[::-1]:
            _place_row(items, row, (down,) if one else both)


def _distance(left: _Item, right: _Item) -> float:
    gap = GAP if left.box and right.box else LANE
    return (left.width + right.width) / 2 + gap


def _place_row(items: list[_Item], row: list[int], sides: Sequence[bool]) -> None:
    """Puts each item at the mean of what it is joined to, or as near as its neighbors allow.

    Where wishes collide, items form a block that stands at the weighted mean of their wishes (the
    pool-adjacent-violators algorithm).
    """
    offset = 0.0
    blocks: list[list[float]] = []  # wished place of the block's first item, weight, items
    offsets = []
    for left, index in zip([None, *row], row, strict=False):
        item = items[index]
        offset += 0.0 if left is None else _distance(items[left], item)
        offsets.append(offset)
        joined = [pair for above in sides for pair in _side(item, above)]
        weight = sum(weight for _, weight in joined)
        if weight:
            wish = sum(items[other].x * pull for other, pull in joined) / weight
        else:
            wish, weight = item.x, 0.01
        blocks.append([wish - offset, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            at, pull, count = blocks.pop()
            last = blocks[-1]
            last[0] = (last[0] * last[1] + at * pull) / (last[1] + pull)
            last[1] += pull
            last[2] += count
    starts = [at for at, _, count in blocks for _ in range(int(count))]
    for index, start, shift in zip(row, starts, offsets, strict=True):
        items[index].x = start + shift


def _straighten(items: list[_Item], rows: list[list[int]]) -> None:
    """Puts what follows one another without a branch on one line, as far as neighbors allow."""
    sides = {
        index: (left, right)
        for row in rows
        for left, index, right in zip([None, *row], row, [*row[1:], None], strict=False)
    }

    def room(index: int) -> tuple[float, float]:
        left, right = sides[index]
        item = items[index]
        low = -inf if left is None else items[left].x + _distance(items[left], item)
        high = inf if right is None else items[right].x - _distance(item, items[right])
        return low, high

    for run in sorted(_runs(items), key=len, reverse=True):
        part: list[int] = []
        limits = (-inf, inf)
        for index in [*run, None]:
            low, high = (inf, -inf) if index is None else room(index)
            narrower = max(limits[0], low), min(limits[1], high)
            if index is None or narrower[0] > narrower[1]:
                mean = sum(items[other].x for other in part) / max(1, len(part))
                for other in part:
                    items[other].x = min(max(mean, limits[0]), limits[1])
                part, narrower = [], (low, high)
            if index is not None:
                part.append(index)
            limits = narrower


def _runs(items: list[_Item]) -> list[list[int]]:
    """Items that follow one another: boxes without a branch, and the points of long edges."""
    runs = []
    followed = {_follower(items, index) for index in range(len(items))}
    for start in range(len(items)):
        if start in followed:
            continue
        run: list[int] = []
        following: int | None = start
        while following is not None:
            run.append(following)
            following = _follower(items, following)
        runs.append(run)
    return runs


def _follower(items: list[_Item], index: int) -> int | None:
    below = [lower for lower, _ in items[index].below]
    if not items[index].box:
        # Edges may leave the way that they share, to boxes beside it.
        below = [lower for lower in below if not items[lower].box] or below
    return below[0] if len(below) == 1 and len(items[below[0]].above) == 1 else None


def _heights(items: list[_Item], rows: list[list[int]]) -> tuple[list[float], list[float]]:
    """Top and height of each rank; ranks are further apart where edges go far sideways."""
    heights = [max(items[index].height for index in row) for row in rows]
    tops = [0.0]
    for row, height in zip(rows[:-1], heights, strict=False):
        aside = max(
            (abs(items[low].x - items[index].x) for index in row for low, _ in items[index].below),
            default=0.0,
        )
        gap = min(max(RANK_GAP, RANK_GAP + aside / _SLANT), _MOST_RANK_GAP)
        tops.append(tops[-1] + height + gap)
    return tops, heights


def _leave(
    items: list[_Item], links: Sequence[Link], chains: Sequence[Sequence[int]]
) -> list[float]:
    """Where each link leaves its tail; those that share their way leave together."""
    ends: dict[int, dict[Hashable, list[int]]] = {}
    for index, link in enumerate(links):
        ends.setdefault(link.tail, {}).setdefault(link.wire, []).append(index)
    places = [0.0] * len(links)
    for tail, wires in ends.items():
        groups = list(wires.values())
        means = [sum(items[chains[index][1]].x for index in group) / len(group) for group in groups]
        widest = max(links[group[0]].label for group in groups)
        ports = _ports(items[tail], means, widest)
        for group, port in zip(groups, ports, strict=True):
            for index in group:
                places[index] = port
    return places


def _reach(
    items: list[_Item], links: Sequence[Link], chains: Sequence[Sequence[int]]
) -> list[float]:
    """Where each link reaches its head."""
    ends: dict[int, list[int]] = {}
    for index, link in enumerate(links):
        ends.setdefault(link.head, []).append(index)
    places = [0.0] * len(links)
    for head, group in ends.items():
        ports = _ports(items[head], [items[chains[index][-2]].x for index in group])
        for index, port in zip(group, ports, strict=True):
            places[index] = port
    return places


def _ports(box: _Item, others: Sequence[float], widest: float = 0.0) -> list[float]:
    """Places side by side about a box's middle, in the order of what they lead to."""
    step = min(max(2 * LANE, widest), box.width / (len(others) + 1))
    order = sorted(range(len(others)), key=lambda index: others[index])
    ports = [0.0] * len(others)
    for i, index in enumerate(order):
        ports[index] = box.x + (i - (len(others) - 1) / 2) * step
    return ports
