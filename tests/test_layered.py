"""Places for boxes: none overlap, edges keep out of boxes, columns are straight."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drml.draw.layered import LANE, Layout, Link, Size, lay_out

pytestmark = pytest.mark.cpu_only

CLOSE = 1e-6


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Size], list[Link]]:
    count = draw(st.integers(1, 14))
    size = st.tuples(st.floats(20, 300), st.floats(10, 120))
    sizes = draw(st.lists(size, min_size=count, max_size=count))
    pairs = list(combinations(range(count), 2))
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    wires = st.integers(0, 2)
    return sizes, [Link(tail, head, draw(wires)) for tail, head in chosen]


def boxes(layout: Layout, sizes: list[Size]) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of each box."""
    return [
        (x, y, x + width, y + height)
        for (x, y), (width, height) in zip(layout.places, sizes, strict=True)
    ]


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_boxes_and_edges_keep_apart(graph: tuple[list[Size], list[Link]]) -> None:
    sizes, links = graph
    layout = lay_out(sizes, links)
    placed = boxes(layout, sizes)
    for left, top, right, bottom in placed:
        assert left >= -CLOSE
        assert top >= -CLOSE
        assert right <= layout.size[0] + CLOSE
        assert bottom <= layout.size[1] + CLOSE
    for a, b in combinations(placed, 2):
        beside = a[2] <= b[0] + CLOSE or b[2] <= a[0] + CLOSE
        assert beside or a[3] <= b[1] + CLOSE or b[3] <= a[1] + CLOSE
    for link, way in zip(links, layout.ways, strict=True):
        tail, head = placed[link.tail], placed[link.head]
        assert tail[0] <= way[0][0] <= tail[2]
        assert way[0][1] == pytest.approx(tail[3])
        assert head[0] <= way[-1][0] <= head[2]
        assert way[-1][1] == pytest.approx(head[1])
        assert len(way) % 2 == 0
        for (x, y), (end_x, end_y) in zip(way[::2], way[1::2], strict=True):
            assert x == end_x
            assert y <= end_y + CLOSE
            for left, top, right, bottom in placed:
                outside = x <= left + CLOSE or x >= right - CLOSE
                assert outside or end_y <= top + CLOSE or y >= bottom - CLOSE
        # From rank to rank an edge bends, and there is no box between two ranks.
        for (_, y), (_, end_y) in zip(way[1::2], way[2::2], strict=False):
            assert y < end_y
            for _, top, _, bottom in placed:
                assert end_y <= top + CLOSE or y >= bottom - CLOSE


def test_every_box_stands_below_what_it_reads() -> None:
    links = [Link(0, 1), Link(1, 2), Link(0, 3), Link(2, 3)]
    tops = [y for _, y in lay_out([(50.0, 20.0)] * 4, links).places]
    assert tops[0] < tops[1] < tops[2] < tops[3]


def test_a_box_that_reads_nothing_stands_just_above_what_reads_it() -> None:
    # 0 -> 1 -> 2 -> 4, and 3 -> 4.
    links = [Link(0, 1), Link(1, 2), Link(2, 4), Link(3, 4)]
    tops = [y for _, y in lay_out([(50.0, 20.0)] * 5, links).places]
    assert tops[3] == tops[2]


def test_a_column_and_a_long_edge_beside_it_are_straight() -> None:
    widths = [120.0, 80.0, 200.0, 60.0, 150.0, 90.0]
    links = [Link(i, i + 1) for i in range(5)] + [Link(0, 5, "label")]
    layout = lay_out([(width, 30.0) for width in widths], links)
    # The first box and the last stand between their two edges.
    middles = [x + width / 2 for (x, _), width in zip(layout.places, widths, strict=True)][1:-1]
    assert middles == pytest.approx([middles[0]] * 4)
    long = [x for x, _ in layout.ways[-1][2:-2]]
    assert long == pytest.approx([long[0]] * len(long))
    assert abs(long[0] - middles[0]) == pytest.approx(100 + LANE)


def test_edges_are_uncrossed() -> None:
    # As written, 0 -> 3 and 1 -> 2 cross.
    layout = lay_out([(50.0, 20.0)] * 4, [Link(0, 3), Link(1, 2)])
    left_to_right = [x for x, _ in layout.places]
    assert (left_to_right[0] < left_to_right[1]) == (left_to_right[3] < left_to_right[2])


def test_edges_of_one_blob_share_their_way() -> None:
    sizes = [(60.0, 20.0)] * 5
    chain = [Link(i, i + 1) for i in range(4)]
    one = lay_out(sizes, [*chain, Link(0, 3, "label"), Link(0, 4, "label")])
    first, second = one.ways[-2:]
    assert first[:4] == second[:4]
    two = lay_out(sizes, [*chain, Link(0, 3, "a"), Link(0, 4, "b")])
    first, second = two.ways[-2:]
    assert first[0] != second[0]
    assert first[2] != second[2]


def test_labels_have_room_between_edges() -> None:
    links = [Link(0, 1, "a", 90.0), Link(0, 2, "b", 90.0)]
    layout = lay_out([(400.0, 20.0), (50.0, 20.0), (50.0, 20.0)], links)
    first, second = (way[0][0] for way in layout.ways)
    assert abs(first - second) == pytest.approx(90)


def test_no_boxes() -> None:
    assert lay_out([], []) == Layout([], [], (0.0, 0.0))
