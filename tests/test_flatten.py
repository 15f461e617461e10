"""Flatten against NumPy's reshape."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden_testing import run_golden
from layer_testing import LayerRunner, check_layer, random_array

from drml.errors import NetError

CASES = [
    # axis, end_axis, shape, flattened; on the CPU four axes lie channels-last, all else row-major
    (1, -1, (2, 3, 4, 2), (2, 24)),
    (0, -1, (2, 3, 4, 2), (48,)),
    (1, 2, (2, 3, 4, 2), (2, 12, 2)),
    (2, 3, (5, 16, 33, 31), (5, 16, 1023)),
    (1, 1, (2, 3, 4, 2), (2, 3, 4, 2)),
    (-2, -1, (2, 3, 4), (2, 12)),
    (1, -1, (1, 7), (1, 7)),
    (3, 4, (2, 3, 2, 5, 2), (2, 3, 2, 10)),
    (0, 0, (3,), (3,)),
]


@pytest.mark.parametrize(("axis", "end_axis", "shape", "flattened"), CASES)
def test_layer_equals_reshape(
    axis: int, end_axis: int, shape: tuple[int, ...], flattened: tuple[int, ...]
) -> None:
    x, dy = random_array(shape, 1), random_array(flattened, 2)
    text = f'type: "Flatten" flatten_param {{ axis: {axis} end_axis: {end_axis} }}'
    wanted = [x.reshape(flattened)], [dy], [dy.reshape(shape)]
    check_layer(LayerRunner(text, [x]), *wanted, 1e-9)


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("axis: 3", r"shape \(2, 3, 4\) has no axis 3"),
        ("end_axis: -4", r"shape \(2, 3, 4\) has no axis -4"),
        ("axis: 2 end_axis: 1", r"axis 2 comes after end_axis 1; bottom has shape \(2, 3, 4\)"),
    ],
)
def test_bad_parameters_are_named(param: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        LayerRunner(f'type: "Flatten" flatten_param {{ {param} }}', [random_array((2, 3, 4), 1)])


def test_golden(golden_dir: Path) -> None:
    run_golden(golden_dir, "flatten")
