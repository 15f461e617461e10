"""Caffe's HDF5 files: their layout, weights and snapshots through them, and damage named."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_testing import DEVICE
from training_testing import SOLVER, quiet, write_training

from drml import hdf5_weights
from drml.errors import WeightsError
from drml.hdf5_weights import read_layers, read_state, write_layers, write_state
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net
from drml.solver import SGDSolver
from drml.solvers import get_solver

# Two layers share a weight by name, so the second one's is not stored.
NET = """name: "n"
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 } } }
layer { name: "deep/fc" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } param { }
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" std: 1 }
    bias_filler { type: "constant" value: 3 } } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "again" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" } param { }
  inner_product_param { num_output: 4 bias_filler { type: "constant" value: 5 } } }
layer { name: "all" type: "InnerProduct" bottom: "b" top: "c" param { name: "w" }
  inner_product_param { num_output: 4 bias_term: false } }
"""


def make_net(text: str = NET, seed: int = 1) -> Net:
    return Net(parse_net(text, "net.prototxt"), seed=seed, device=DEVICE)


def error_of(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The weights of the net."""
    path = tmp_path / "n.caffemodel.h5"
    make_net().save(path)
    return path


def test_layout_is_caffes(tmp_path: Path) -> None:
    net, path = make_net(), tmp_path / "n.caffemodel.h5"
    for blob in net.params["again"]:
        blob.diff[...] = 7
    net.save(path, write_diff=True)
    with h5py.File(path) as stored:
        assert sorted(stored) == ["data", "diff"]
        assert sorted(stored["data"]) == ["again", "all", "deep", "in", "relu"]
        assert list(stored["data/relu"]) == []
        assert list(stored["data/again"]) == ["1"]
        assert list(stored["data/all"]) == []
        assert sorted(stored["diff/again"]) == ["0", "1"]
        weight = stored["data/deep/fc/0"]
        assert (weight.shape, weight.dtype) == ((4, 4), np.dtype("<f4"))
        np.testing.assert_array_equal(weight, net.params["deep/fc"][0].data)
        np.testing.assert_array_equal(stored["diff/again/1"], np.full(4, 7))


def test_weights_come_back(file: Path) -> None:
    wanted, net = make_net(), make_net(seed=2)
    assert not np.array_equal(net.params["all"][0].data, wanted.params["all"][0].data)
    net.copy_from(file)
    for name, blobs in wanted.params.items():
        for blob, other in zip(net.params[name], blobs, strict=True):
            np.testing.assert_array_equal(blob.data, other.data)
    assert not net.notes


def test_weights_of_a_net_that_shares_do_not_fill_one_that_does_not(file: Path) -> None:
    net = make_net(NET.replace('param { name: "w" }', ""))
    with pytest.raises(WeightsError, match=r"does not fit net\.prototxt: again/0 is not in the"):
        net.copy_from(file)


def test_names_of_pycaffe(tmp_path: Path) -> None:
    net, other, path = make_net(), make_net(seed=2), tmp_path / "any_name"
    net.save_hdf5(path)
    assert hdf5_weights.is_hdf5(path)
    other.load_hdf5(path)
    np.testing.assert_array_equal(other.params["all"][0].data, net.params["all"][0].data)


def test_doubles_are_rounded_and_other_items_left(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as stored:
        stored["data/fc/0"] = np.array([1 / 3, 1])
        stored["data/fc/2"] = np.array([[1, 2]], np.int64)
        stored["more"] = [1]
    ((name, arrays),) = read_layers(path)
    assert name == "fc"
    np.testing.assert_array_equal(arrays[0], np.array([1 / 3, 1], np.float32))
    assert arrays[1] is None
    assert (arrays[2].shape, arrays[2].dtype) == ((1, 2), np.float32)


def test_state_layout_is_caffes(tmp_path: Path) -> None:
    path = tmp_path / "s.solverstate.h5"
    state = pb.SolverState(iter=7, current_step=2, learned_net="snäp_iter_7.caffemodel.h5")
    history = [np.ones((2, 3), np.float32), np.arange(4, dtype=np.float32)]
    write_state(path, state, history)
    with h5py.File(path) as stored:
        assert sorted(stored) == ["current_step", "history", "iter", "learned_net"]
        for name, value in (("iter", 7), ("current_step", 2)):
            assert (stored[name].shape, stored[name].dtype) == ((1,), np.dtype("<i4"))
            assert stored[name][0] == value
        kind = stored["learned_net"].id.get_type()
        assert stored["learned_net"].shape == ()
        # A reader in C finds the zero that ends the string inside.
        assert not kind.is_variable_str()
        assert kind.get_strpad() == h5py.h5t.STR_NULLTERM
        assert kind.get_size() == len(state.learned_net.encode()) + 1
        np.testing.assert_array_equal(stored["history/1"], history[1])
    read, arrays = read_state(path)
    assert read == state
    assert [array.tolist() for array in arrays] == [array.tolist() for array in history]


def test_many_history_blobs_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    write_state(path, pb.SolverState(iter=1), [np.full(1, i) for i in range(12)])
    assert [array.item() for array in read_state(path)[1]] == list(range(12))


@pytest.fixture
def solver_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A solver that takes HDF5 snapshots, with its net and data in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = write_training(tmp_path)
    path.write_text(SOLVER.replace("snapshot: 4", "snapshot: 4 snapshot_format: HDF5"))
    return path


def arrays_of(solver: SGDSolver) -> list[Any]:
    return [*(p.blob.data for p in solver.net.learnable), *(h.data for h in solver.history)]


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_snapshots_resume_exactly(solver_file: Path, name: str) -> None:
    solver_file.write_text(f'{solver_file.read_text()} type: "{name}"')
    whole, resumed = (get_solver(solver_file, log=quiet()) for _ in range(2))
    try:
        whole.step(4)
        files = sorted(path.name for path in solver_file.parent.glob("snap_*"))
        assert files == ["snap_iter_4.caffemodel.h5", "snap_iter_4.solverstate.h5"]
        resumed.restore("snap_iter_4.solverstate.h5")
        assert (resumed.iter, resumed.rate.current_step) == (4, 1)
        whole.step(3)
        resumed.step(3)
        assert resumed.smoothed_loss == whole.smoothed_loss
        for got, wanted in zip(arrays_of(resumed), arrays_of(whole), strict=True):
            np.testing.assert_array_equal(got, wanted)
    finally:
        whole.close()
        resumed.close()


def test_full_disk_leaves_no_file(tmp_path: Path, file: Path) -> None:
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = [("fc", [np.ones(100_000, np.float32), np.ones(3, np.float32)])]
    try:
        for limit in (100, 5000, 100_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            assert "File too large" in error_of(lambda path: write_layers(path, large), file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_names_that_do_not_go_together(tmp_path: Path) -> None:
    layers = [("a", [np.ones(2)]), ("a/0", [np.ones(2)])]
    message = error_of(lambda path: write_layers(path, layers), tmp_path / "w.h5")
    assert message.startswith("cannot be written as HDF5: ")
    assert not list(tmp_path.iterdir())
    write_layers(tmp_path / "w.h5", [("a", [np.ones(2)]), ("a/b", [np.zeros(3)])])
    assert [name for name, _ in read_layers(tmp_path / "w.h5")] == ["a", "a/b"]


def wrong_file(tmp_path: Path, fill: Callable[[h5py.File], object]) -> Path:
    path = tmp_path / "wrong.h5"
    with h5py.File(path, "w") as stored:
        fill(stored)
    return path


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda f: f.create_group("model_weights"), "it has no group /data, not weights"),
        (lambda f: f.create_group("history"), "it holds a solver state, not weights"),
        (lambda f: f.create_group("data/relu"), "there are no weights in it"),
        (lambda f: f.create_dataset("data", data=[1.0]), "it has no group /data"),
        (lambda f: f.create_dataset("data/fc/x", data=[1.0]), "'fc': a blob is called 'x'"),
        (lambda f: f.create_dataset("data/fc/0", data="text"), "blob 0 holds no array of numbers"),
        (lambda f: f.create_dataset("data/fc/0", (1 << 40,), "f4"), "are not in the file"),
    ],
)
def test_weights_that_are_wrong(
    tmp_path: Path, fill: Callable[[h5py.File], object], message: str
) -> None:
    assert message in error_of(read_layers, wrong_file(tmp_path, fill))


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda f: f.create_group("data"), "it holds weights, not a solver state"),
        (lambda f: f.create_group("x"), "it has no group /history, not a solver state"),
        (lambda f: f.create_dataset("history/1", data=[1.0]), "history blob 0 is missing"),
        (
            lambda f: [f.create_group("history"), f.create_dataset("learned_net", data=[3])],
            "its learned_net is no text",
        ),
    ],
)
def test_states_that_are_wrong(
    tmp_path: Path, fill: Callable[[h5py.File], object], message: str
) -> None:
    assert message in error_of(read_state, wrong_file(tmp_path, fill))


def test_what_is_no_hdf5(tmp_path: Path) -> None:
    assert error_of(read_layers, tmp_path / "none.h5") == "no such file"
    text = tmp_path / "text.h5"
    text.write_text("no")
    assert "damaged, or no HDF5 file" in error_of(read_layers, text)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_files_give_one_line(tmp_path_factory: Any, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("damaged") / "w.h5"
    write_layers(path, [("fc", [np.ones((3, 4)), np.ones(4)]), ("b", [np.ones(2)])])
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(9, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    message = ""
    try:
        read_layers(path)
    except WeightsError as error:
        message = str(error)
    assert "\n" not in message
