"""As test_smallest_shapes.py: ops that choose or sum up rows, and the places of maxima.

CI runs this file with sanitizers too.
"""

from __future__ import annotations

import numpy as np
import pytest
from cuda_testing import needs_cuda
from layer_testing import random_array
from twin_testing import Laid, Layout, Shape, channels_last, check, row_major, unset, with_gaps

from drml import _core

pytestmark = needs_cuda
races = pytest.mark.races

Pair = tuple[int, int]


@races
@pytest.mark.parametrize(
    ("shape", "index", "layout"),
    [
        ((3,), [2, 0, 2], row_major),
        ((2, 3, 2, 3), [1, 1, 0, 1], channels_last),
        # More numbers than a block takes, and an index whose numbers lie apart.
        ((5, 131), [[4, 0], [4, 3]], row_major),
    ],
)
def test_gather(shape: Shape, index: list[object], layout: Layout) -> None:
    numbers = np.array(index)
    chosen = (numbers.size, *shape[1:])
    x, dy = Laid(random_array(shape, 1), layout), Laid(random_array(chosen, 2), layout)
    places = Laid(numbers, with_gaps)
    check("gather_forward", x, places, Laid(unset(chosen), layout), exact=True)
    check("gather_backward", dy, places, x)


ROWS = [
    # One thread per row, for two blocks of rows; and a block per row that goes round twice.
    ((1, 1), 1),
    ((257, 3), 1),
    ((3, 131), 1),
]


@races
@pytest.mark.parametrize("operation", ["SUM", "ASUM", "SUMSQ"])
@pytest.mark.parametrize(("shape", "axis"), [*ROWS, ((2, 4099, 2), 1)])
def test_reduction(shape: Shape, axis: int, operation: str) -> None:
    """The longest rows are summed in two parts."""
    x, dy = random_array(shape, 1), random_array(shape[:axis], 2)
    what = getattr(_core.Reduction, operation)
    check("reduction_forward", x, unset(dy.shape), axis, what, 0.5)
    check("reduction_backward", x, dy, unset(shape), axis, what, 0.5)


@races
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(("shape", "axis"), ROWS)
def test_mvn(shape: Shape, axis: int, normalize: bool) -> None:
    x, y, dy = (random_array(shape, seed) for seed in (1, 2, 3))
    divisors = random_array(shape[:1], 4, away=1) if normalize else None
    check("mvn_forward", x, unset(shape), unset(shape[:1]) if normalize else None, axis, 0.1)
    check("mvn_forward", x, x, divisors, axis, 0.1)
    check("mvn_backward", y, dy, unset(shape), divisors, axis)
    check("mvn_backward", y, dy, dy, divisors, axis)


@races
@pytest.mark.parametrize(
    ("shape", "windows", "geometry"),
    [
        ((1, 1, 1, 1), (1, 1), ((1, 1), (1, 1), (0, 0))),
        ((2, 3, 5, 9), (3, 5), ((3, 3), (2, 2), (1, 1))),
        ((1, 2, 13, 11), (13, 11), ((3, 3), (1, 1), (1, 1))),
    ],
)
def test_pooling_mask(shape: Shape, windows: Pair, geometry: tuple[Pair, ...]) -> None:
    """Maps hold equal numbers, and one NaN."""
    x = np.round(random_array(shape, 1))
    x.flat[x.size // 2] = np.nan
    attrs = _core.PoolingAttrs(True, *geometry)
    check("pooling_mask", x, unset((*shape[:2], *windows)), attrs, exact=True)
