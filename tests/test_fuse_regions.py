"""Long forms of region layers, run as one layer and as written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from layer_testing import random_array, relative_error
from legacy_testing import long_region
from training_testing import quiet

from drml.errors import DrmlError, NetError, SolverError
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net, parse_solver
from drml.solver import SGDSolver
from drml.summary import summarize

GRID, PATCH, CHANNELS = (3, 2), (4, 5), 4
SHAPE = (3, 2, GRID[0] * PATCH[0] + 2, GRID[1] * PATCH[1] + 2)

SHAPES = (
    f"shape {{ {' '.join(f'dim: {size}' for size in SHAPE)} }}",
    "shape { dim: 3 dim: 5 }",
)
INPUTS = f"""
layer {{ name: "data" type: "Input" top: "data" input_param {{ {SHAPES[0]} }} }}
layer {{ name: "label" type: "Input" top: "label" input_param {{ {SHAPES[1]} }} }}"""
DATA = f"""
layer {{ name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {{
  {SHAPES[0]} {SHAPES[1]} data_filler {{ type: "gaussian" }} data_filler {{ value: 1 }} }} }}"""
CONV = f"""
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {{
  num_output: {CHANNELS} kernel_size: 3 weight_filler {{ type: "gaussian" std: 0.3 }} }} }}
"""
HEAD = INPUTS + CONV
TAIL = """layer { name: "relu" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "fc" type: "InnerProduct" bottom: "sum" top: "fc" inner_product_param {
  num_output: 5 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "MultiSigmoidCrossEntropyLoss" bottom: "fc" bottom: "label"
  top: "loss" }
"""


def region(**options: object) -> str:
    return long_region("conv1", "sum", CHANNELS, GRID, PATCH, **options)  # type: ignore[arg-type]


def make(text: str, *, phase: int = pb.TRAIN, fuse: bool = True) -> Net:
    net = Net(parse_net(HEAD + text + TAIL), phase=phase, seed=3, fuse=fuse)
    net.blobs["data"].data = random_array(SHAPE, 1)
    net.blobs["label"].data = np.sign(random_array((3, 5), 2))
    return net


def is_fused(net: Net) -> bool:
    return any(node.type == "Region" for node in net.layers)


def check_equal(fused: Net, written: Net, tolerance: float = 1e-5) -> None:
    """Compares every blob that both nets have, parameters by name, and all gradients."""
    assert list(fused.params) == list(written.params)
    assert [param.name for param in fused.learnable] == [param.name for param in written.learnable]
    for ours, theirs in zip(fused.learnable, written.learnable, strict=True):
        assert (ours.lr_mult, ours.decay_mult) == (theirs.lr_mult, theirs.decay_mult)
        assert relative_error(ours.blob.read_data(), theirs.blob.read_data()) < tolerance
        assert relative_error(ours.blob.read_diff(), theirs.blob.read_diff()) < tolerance
    for name in ("data", "conv1", "sum", "fc", "loss"):
        ours, theirs = fused.blobs[name], written.blobs[name]
        assert relative_error(ours.read_data(), theirs.read_data()) < tolerance
        if name != "data":
            assert relative_error(ours.read_diff(), theirs.read_diff()) < tolerance


FORMS = {
    "as the authors wrote it": {},
    "BatchNorm": {"norm": "BatchNorm", "settings": "eps: 0.01 moving_average_fraction: 0.9"},
    "patches in another order": {"order": [5, 0, 3, 1, 4, 2]},
    "types one after another": {"by_type": True, "order": [1, 0, 2, 3, 5, 4]},
    "other names": {"prefix": "/a b"},
    "not in place": {"in_place": False},
    "kernel of 5": {"kernel": 5},
    "kernel of 1": {"kernel": 1},
}


@pytest.mark.parametrize("phase", [pb.TRAIN, pb.TEST])
@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_fused_equals_written(options: dict[str, object], phase: int) -> None:
    nets = [make(region(**options), phase=phase, fuse=fuse) for fuse in (True, False)]
    assert [is_fused(net) for net in nets] == [True, False]
    for net in nets:
        for name, blobs in net.params.items():
            if len(blobs) == 3:  # statistics that differ from branch to branch, factors too
                for index, blob in enumerate(blobs):
                    seed = sum(name.encode()) + index
                    blob.data = np.abs(random_array(blob.shape, seed)) + 0.5
        for _ in range(2):
            net.clear_param_diffs()
            net.forward()
            net.backward()
    check_equal(nets[0], nets[1])


def test_initial_weights_are_those_of_the_branches() -> None:
    fused, written = (make(region(), fuse=fuse) for fuse in (True, False))
    for name, blobs in written.params.items():
        for blob, ours in zip(blobs, fused.params[name], strict=True):
            assert np.array_equal(blob.data, ours.data)


def test_parameters_are_views() -> None:
    net = make(region())
    net.params["conv_2_3"][1].data[...] = [1, 2, 3, 4]
    assert net.layer_dict["sum_2"].layer.blobs[1].data[2].tolist() == [1, 2, 3, 4]
    net.layer_dict["sum_2"].layer.blobs[4].data[5] = 7
    assert net.params["bn_2_6"][2].data.tolist() == [7]


def test_training_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses, weights and the state of the solver, which each form reads of the other."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(DATA + CONV + region() + TAIL)
    text = """net: "net.prototxt" base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.01
      max_iter: 6 snapshot: 3 random_seed: 3 snapshot_prefix: "%s"
      test_iter: 1 test_interval: 3"""
    solvers = []
    for fuse in (True, False):
        prefix = "fused" if fuse else "written"
        solver = SGDSolver(parse_solver(text % prefix), log=quiet(), fuse=fuse)
        assert is_fused(solver.net) == fuse
        solver.solve()
        solvers.append(solver)
    check_equal(solvers[0].net, solvers[1].net, 1e-4)
    resumed = SGDSolver(parse_solver(text % "resumed"), log=quiet(), fuse=True)
    resumed.restore("written_iter_3.solverstate")
    resumed.solve()
    check_equal(resumed.net, solvers[1].net, 1e-4)


def test_test_nets_share_the_parameters() -> None:
    text = HEAD + region() + TAIL
    solver = SGDSolver(
        parse_solver(
            f"net_param {{ {text} }} base_lr: 0.1 lr_policy: 'fixed' max_iter: 1 "
            "test_iter: 1 test_interval: 1 random_seed: 1"
        ),
        log=quiet(),
    )
    solver.net.params["conv_2_4"][0].data[...] = 5
    assert np.all(solver.test_nets[0].params["conv_2_4"][0].data == 5)


def test_weights_are_those_of_the_long_form(tmp_path: Path) -> None:
    fused, written = make(region()), make(region(), fuse=False)
    for index, param in enumerate(fused.learnable):
        param.blob.data = random_array(param.blob.shape, index)
    fused.save(tmp_path / "fused.caffemodel")
    written.copy_from(tmp_path / "fused.caffemodel")
    for ours, theirs in zip(fused.learnable, written.learnable, strict=True):
        assert np.array_equal(ours.blob.data, theirs.blob.data)
    assert not any("left" in note for note in written.notes)
    message = fused.to_proto()
    assert [layer.name for layer in message.layer if layer.blobs] == list(written.params)


def test_summary_counts_every_parameter() -> None:
    fused, written = (summarize(make(region(), fuse=fuse)) for fuse in (True, False))
    assert (fused.learned, fused.not_learned) == (written.learned, written.not_learned)
    assert fused.multiply_adds == written.multiply_adds


def test_notes_tell_what_was_fused_and_of_the_released_layers() -> None:
    notes = make(region()).notes
    assert len(notes) == 2
    assert notes[0].startswith("Box and Splice: the layers that DRML's authors released take plane")
    assert notes[1] == (
        "<text>:6: the 21 layers 'box_2' to 'sum_2' run as one Region layer; "
        "--no-fuse runs them as written"
    )
    assert make(region(), fuse=False).notes == notes[:1]


def replaced(old: str, new: str, count: int = 1) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, count)

    return change


SPY = 'layer { name: "spy" type: "Silence" bottom: "%s" }\n'
SPLICE = 'layer {\n\tname: "splice_2"'
UNLIKE = {
    "a branch without ReLU's zero": replaced(
        'bottom: "bn_2_2"\n\ttop: "bn_2_2"\n',
        'bottom: "bn_2_2"\n\ttop: "bn_2_2"\n\trelu_param { negative_slope: 0.1 }\n',
    ),
    "another eps": replaced("use_global_stats: false", "use_global_stats: false eps: 0.1"),
    "statistics of another kind": replaced("use_global_stats: false", "use_global_stats: true"),
    "holes": replaced("\t\tpad: 1\n", "\t\tpad: 2\n\t\tdilation: 2\n"),
    "no bias": lambda text: replaced("\t\tstride: 1\n", "\t\tbias_term: false\n")(
        replaced("\tparam {\n\t\tlr_mult: 2\n\t\tdecay_mult: 0\n\t}\n", "")(text)
    ),
    "a group": replaced("\t\tstride: 1\n", "\t\tgroup: 2\n"),
    "weights that are not learned": replaced("lr_mult: 1\n", "lr_mult: 0\n"),
    "weights with a name": replaced("lr_mult: 1\n", 'lr_mult: 1 name: "shared"\n'),
    "a coefficient": replaced("operation: SUM", "operation: SUM coeff: 1 coeff: 0.5"),
    "a maximum": replaced("operation: SUM", "operation: MAX"),
    "a sum with something else": replaced(
        '\tbottom: "splice_2"\n\tbottom: "conv1"', '\tbottom: "splice_2"\n\tbottom: "splice_2"'
    ),
    "patches put elsewhere": lambda text: (
        text[: text.index("splice_param")]
        + text[text.index("splice_param") :]
        .replace("xcoord : 0\n", "xcoord : 9\n", 1)
        .replace("xcoord : 5\n", "xcoord : 0\n", 1)
        .replace("xcoord : 9\n", "xcoord : 5\n", 1)
    ),
    "a loss in between": replaced('type: "Splice"\n', 'type: "Splice"\n\tloss_weight: 0.5\n'),
    "propagate_down": replaced(
        'type: "Splice"\n', 'type: "Splice"\n' + "\tpropagate_down: true\n" * 6
    ),
    "a layer in between": replaced(
        SPLICE, 'layer { name: "x" type: "ReLU" bottom: "data" top: "x" }\n' + SPLICE
    ),
}


@pytest.mark.parametrize("change", UNLIKE.values(), ids=UNLIKE)
def test_what_is_no_region_layer_runs_as_written(change: Callable[[str], str]) -> None:
    net = make(change(region()))
    assert not is_fused(net)
    net.forward()
    net.backward()


@pytest.mark.parametrize("blob", ["box_2_3", "bn_2_3", "conv_2_3", "splice_2"])
def test_a_blob_that_others_read_is_kept(blob: str) -> None:
    spy = f'layer {{ name: "spy" type: "ReLU" bottom: "{blob}" top: "spy" }}\n'
    net = make(region() + spy)
    assert not is_fused(net)
    assert blob in net.blobs


def test_bottoms_that_do_not_fit_are_errors_of_the_layers_written() -> None:
    wide = HEAD.replace(f"dim: {SHAPE[3]}", f"dim: {SHAPE[3] + 1}")
    with pytest.raises(
        NetError,
        match=r"6: layer 'box_2' \(Box\): its patches cover 12 x 10, the bottom 'conv1' has shape "
        r"\(3, 4, 12, 11\)",
    ):
        Net(parse_net(wide + region() + TAIL), phase=pb.TRAIN)
    text = region().replace("num_output: 4", "num_output: 3")
    with pytest.raises(
        NetError, match=r"layer 'conv_2_1' \(Convolution\): 3 outputs cannot be added to the 4"
    ):
        make(text)


def test_a_field_that_a_branch_does_not_support_is_named() -> None:
    text = replaced('type: "gaussian"', 'type: "gauss"')(region())
    with pytest.raises(DrmlError, match=r"layer 'conv_2_1' .*unknown filler type 'gauss'"):
        make(text)


def test_nets_of_a_solver_that_do_not_match(tmp_path: Path) -> None:
    train = HEAD + region() + TAIL
    test = train.replace("operation: SUM", "operation: MAX")
    with pytest.raises(SolverError, match=r"layer 'bn_2_1' is part of a Region layer in one of"):
        SGDSolver(
            parse_solver(
                f"train_net_param {{ {train} }} test_net_param {{ {test} }} base_lr: 0.1 "
                "lr_policy: 'fixed' max_iter: 1 test_iter: 1 test_interval: 1 random_seed: 1"
            ),
            log=quiet(),
        )
