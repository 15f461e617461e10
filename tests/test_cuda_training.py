"""A tiny DRML on a CUDA device: the CPU's losses, steady iterations, the same bits every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cuda_testing import needs_cuda, needs_emulator, train_tiny_drml, write_tiny_drml
from layer_testing import DEVICE, Array, relative_error

from drml import _core
from drml.net import Net

pytestmark = needs_cuda


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_tiny_drml(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(net: Net) -> list[Array]:
    return [param.blob.read_data() for param in net.learnable]


def test_twenty_iterations_have_the_losses_of_the_cpu(tiny: Path) -> None:
    on_cpu, wanted = train_tiny_drml("cpu", 20)
    on_cuda, losses = train_tiny_drml(DEVICE, 20)
    with on_cpu.net, on_cuda.net:
        assert losses == pytest.approx(wanted, rel=1e-4)
        assert wanted[-1] < 0.9 * wanted[0]
        for ours, theirs in zip(weights(on_cuda.net), weights(on_cpu.net), strict=True):
            assert relative_error(ours, theirs) < 1e-3


def test_a_steady_iteration_allocates_nothing_and_waits_for_nothing(tiny: Path) -> None:
    solver, _ = train_tiny_drml(DEVICE, 1)
    with solver.net as net:
        before = _core.cuda_counters()
        for _ in range(2):
            net.clear_param_diffs()
            net.run_layers()
            for node in reversed(net.layers):
                if node.need_backward:
                    node.backward()
        after = _core.cuda_counters()
        assert after.allocations == before.allocations
        assert after.synchronizations == before.synchronizations
        assert after.launches > before.launches


def test_an_iteration_of_training_waits_for_its_loss_alone(tiny: Path) -> None:
    solver, _ = train_tiny_drml(DEVICE, 2)
    with solver.net:
        before = _core.cuda_counters()
        solver.step(3)
        after = _core.cuda_counters()
        assert after.allocations == before.allocations
        # The loss and, as its labels may have been wrong, the kernels' word on them; the loss is
        # read once for the solver and once as the net's output.
        assert after.synchronizations - before.synchronizations <= 4 * 3


@needs_emulator
def test_bits_do_not_depend_on_the_order_of_threads_and_blocks(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for order in ("fwd", "fwd", "rev", "rnd:1", "rnd:2"):
        monkeypatch.setenv("DRML_EMULATOR_ORDER", order)
        solver, losses = train_tiny_drml(DEVICE, 3)
        with solver.net as net:
            found.append([np.array(losses), *weights(net)])
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            assert np.array_equal(ours, theirs)


def test_bits_repeat_over_ten_runs(tiny: Path) -> None:
    first = None
    for _ in range(10):
        solver, losses = train_tiny_drml(DEVICE, 2)
        with solver.net as net:
            found = [np.array(losses), *weights(net)]
        first = first or found
        for ours, theirs in zip(first, found, strict=True):
            assert np.array_equal(ours, theirs)


def test_wrong_labels_are_named_with_their_layer(tiny: Path) -> None:
    solver, _ = train_tiny_drml(DEVICE, 1)
    from drml.errors import NetError

    with solver.net as net:
        labels = np.zeros((5, 12), np.float32)
        labels[3, 7] = 2
        net.layers[0].layer.forward = lambda bottom, top: None  # type: ignore[method-assign]
        net.blobs["label"].data = labels
        with pytest.raises(NetError, match=r"net.prototxt:\d+: layer 'loss' .*sample 3"):
            net.forward()
        labels[3, 7] = 1
        net.blobs["label"].data = labels
        assert np.isfinite(net.forward()["loss"])
