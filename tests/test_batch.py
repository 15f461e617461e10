"""Batch, which is BatchNorm by another name; what it computes, test_batch_norm.py checks."""

from __future__ import annotations

import numpy as np
import pytest
from layer_testing import LayerRunner, random_array

from drml.errors import NetError


@pytest.mark.parametrize("settings", ["", "use_global_stats: false eps: 0.1", "eps: 0.5"])
def test_equals_batch_norm(settings: str) -> None:
    x, dy = random_array((5, 3, 4, 6), 1), random_array((5, 3, 4, 6), 2)
    found = []
    for name, field in (("Batch", "batch_param"), ("BatchNorm", "batch_norm_param")):
        runner = LayerRunner(f'type: "{name}" {field} {{ {settings} }}', [x])
        runner.set_params(random_array((3,), 3), np.full(3, 2.0), np.array([0.5]))
        found.append([*runner.forward_backward(dy), *(b.data for b in runner.layer.blobs)])
    for ours, theirs in zip(*found, strict=True):
        assert np.array_equal(ours, theirs)


def test_errors_name_its_own_message() -> None:
    with pytest.raises(NetError, match="eps must be 0 or more, not -1") as caught:
        LayerRunner('type: "Batch" batch_param { eps: -1 }', [np.zeros((1, 1))])
    assert "(Batch)" in str(caught.value)
