"""Devices: what a name stands for, and one line for each that cannot be used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_testing import enter_small, environment, only_error
from cuda_testing import needs_cuda, needs_emulator
from layer_testing import DEVICE, relative_error

from drml import _core, cuda
from drml.blob import Blob
from drml.device import check_device, default_device
from drml.errors import UsageError
from drml.net import Net


def test_the_default_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRML_DEVICE", "cuda:3")
    assert default_device() == "cuda:3"
    monkeypatch.setenv("DRML_DEVICE", "")
    assert default_device() == "cpu"
    monkeypatch.delenv("DRML_DEVICE")
    assert default_device() == "cpu"
    assert Blob("x", (2,)).value.device == "cpu"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "unknown device 'gpu'; did you mean 'cpu'?"),
        ("cuda:", "unknown device 'cuda:'"),
        ("cuda:-1", "unknown device 'cuda:-1'"),
        ("cuda:99999", "unknown device 'cuda:99999'"),
    ],
)
def test_what_is_no_device_is_told(name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_device(name)
    assert message in str(caught.value)


@pytest.mark.skipif(cuda.is_built(), reason="this build has the CUDA backend")
def test_a_build_without_cuda_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    from drml.run import main

    assert cuda.device_count() == 0
    assert cuda.why_unavailable() == "not built"
    with pytest.raises(UsageError, match="this build of drml has no CUDA backend"):
        check_device("cuda")
    with pytest.raises(ValueError, match="has no CUDA backend"):
        cuda.device_info()
    with pytest.raises(ValueError, match="has no CUDA backend"):
        _core.Tensor((2,), False, "cuda")
    assert main(["--version"]) == 0
    assert "devices: cpu (cuda: not built)" in capsys.readouterr().out


def fails(small: Path, words: str, **variables: str) -> str:
    """The one line of a command that must fail with status 2."""
    done = subprocess.run(
        [sys.executable, "-m", "drml.run", *words.split()],
        cwd=small,
        env=environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout
    return only_error(done.stderr)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_small(tmp_path, monkeypatch)


TIME = "time --model deploy.prototxt --iterations 1"


@needs_emulator
@pytest.mark.parametrize(
    ("device", "variables", "message"),
    [
        ("cuda", {"DRML_EMULATOR_DEVICES": "-1"}, "'cuda:0': there is no NVIDIA driver"),
        ("cuda", {"DRML_EMULATOR_DEVICES": "0"}, "'cuda:0': there is no CUDA device"),
        ("cuda:1", {}, "'cuda:1': there is 1 CUDA device, cuda:0"),
        (
            "cuda:5",
            {"DRML_EMULATOR_DEVICES": "3"},
            "'cuda:5': there are 3 CUDA devices, cuda:0 to cuda:2",
        ),
        ("cuda", {"DRML_EMULATOR_ARCH": "0"}, "for which this build of drml has no code"),
        ("cuda", {"DRML_EMULATOR_MEMORY": "1000"}, "cuda:0: out of memory"),
    ],
)
def test_devices_that_cannot_be_used_are_told_in_one_line(
    small: Path, device: str, variables: dict[str, str], message: str
) -> None:
    assert message in fails(small, f"{TIME} --device {device}", **variables)
    assert message in fails(small, TIME, DRML_DEVICE=device, **variables)


@needs_emulator
def test_a_solver_file_asks_for_its_device(small: Path) -> None:
    text = (small / "solver.prototxt").read_text()
    (small / "solver.prototxt").write_text(text + "solver_mode: GPU\ndevice_id: 4\n")
    error = fails(small, "solver.prototxt", DRML_DEVICE="")
    assert "solver_mode: GPU, but device 'cuda:4': there is 1 CUDA device" in error
    assert "--device cpu" in error


@needs_cuda
def test_memory_that_is_not_there_names_need_and_rest() -> None:
    with pytest.raises(MemoryError, match=r"cuda:0: out of memory: an array of shape \(2\d+,\)"):
        _core.Tensor((2 * 10**14,), False, DEVICE)
    assert _core.Tensor((2,), False, DEVICE).get().tolist() == [0, 0]


@needs_cuda
def test_devices_are_listed_with_name_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    from drml.run import main

    info = cuda.device_info(0)
    assert cuda.device_count() >= 1
    assert cuda.why_unavailable() == ""
    assert 0 < info.free_bytes <= info.total_bytes
    assert main(["--version"]) == 0
    assert f"cuda:0 ({info.name}, compute capability " in capsys.readouterr().out


@needs_cuda
def test_tensors_of_two_devices_do_not_meet() -> None:
    here, there = _core.Tensor((2,), False, DEVICE), _core.Tensor((2,))
    with pytest.raises(ValueError, match="copy: tensors on cuda:0 and cpu"):
        _core.copy(here, there)
    with pytest.raises(ValueError, match="no NumPy view"):
        here.numpy()


@needs_cuda
def test_get_and_set_copy_any_layout() -> None:
    values = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    for channels_last in (False, True):
        tensor = _core.Tensor((2, 3, 4, 5), channels_last, DEVICE)
        tensor.set(values)
        assert np.array_equal(tensor.get(), values)
        part = tensor.narrow(2, 1, 2)
        assert np.array_equal(part.get(), values[:, :, 1:3])
        part.set(-1)
        assert (tensor.get()[:, :, 1:3] == -1).all()
        assert np.array_equal(tensor.get()[:, :, 3], values[:, :, 3])
        with pytest.raises(ValueError, match="broadcast"):
            tensor.set(np.zeros(7))


@needs_cuda
def test_a_net_on_the_cpu_and_one_on_cuda_stand_side_by_side(small: Path) -> None:
    inputs = np.random.default_rng(0).normal(0, 1, (2, 3, 10, 10))
    with (
        Net("deploy.prototxt", device="cpu", seed=4) as first,
        Net("deploy.prototxt", device=DEVICE, seed=4) as second,
    ):
        wanted = first.forward(["output"], data=inputs)["output"]
        assert relative_error(second.forward(["output"], data=inputs)["output"], wanted) < 1e-5
