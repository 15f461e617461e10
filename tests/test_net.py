"""Net: pycaffe's interface, and what Caffe's net.cpp decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from layer_testing import relative_error

from drml.errors import DrmlError, NetError, PrototxtError, WeightsError
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net

SMALL = """
name: "small"
layer { name: "in" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 5 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "MultiSigmoidCrossEntropyLoss" bottom: "fc" bottom: "label" top: "loss"
  include { phase: TRAIN } }
layer { name: "prob" type: "Sigmoid" bottom: "fc" top: "prob" include { phase: TEST } }
"""


def small_batch() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {
        "data": random.normal(0, 1, (2, 3, 8, 8)).astype(np.float32),
        "label": random.integers(-1, 2, (2, 4)).astype(np.float32),
    }


def train_net(text: str = SMALL, **options: int) -> Net:
    return Net(parse_net(text, "small.prototxt"), phase=pb.TRAIN, **options)


def test_names_are_pycaffes() -> None:
    net = train_net()
    assert net.name == "small"
    assert list(net.blobs) == ["data", "label", "conv", "fc", "loss"]
    assert net.inputs == ["data", "label"]
    assert net.outputs == ["loss"]
    assert list(net.params) == ["conv", "fc"]
    assert [blob.shape for blob in net.params["conv"]] == [(5, 3, 3, 3), (5,)]
    assert net.layer_dict["relu"].type == "ReLU"
    assert net.blobs["data"].num == 2
    outputs = net.forward(**small_batch())
    assert outputs["loss"] == pytest.approx(net.loss)
    net.backward()
    assert net.params["fc"][0].diff.any()
    net.clear_param_diffs()
    assert not net.params["fc"][0].diff.any()


def test_phase_decides_which_layers_apply() -> None:
    net = Net(parse_net(SMALL), phase=pb.TEST)
    assert net.outputs == ["label", "prob"]
    prob = net.forward(data=small_batch()["data"])["prob"]
    assert np.allclose(prob, 1 / (1 + np.exp(-net.blobs["fc"].data)), atol=1e-6)


def test_gradients_add_up_over_backwards() -> None:
    net = train_net()
    net.forward(**small_batch())
    net.backward()
    once = net.params["conv"][0].diff.copy()
    net.backward()
    assert np.allclose(net.params["conv"][0].diff, 2 * once, rtol=1e-5)


def test_seed_fixes_the_weights() -> None:
    def weights(seed: int) -> np.ndarray:
        return train_net(seed=seed).params["conv"][0].data

    assert np.array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_forward_of_a_part_and_of_extra_blobs() -> None:
    net = train_net()
    batch = small_batch()
    whole = net.forward(blobs=["conv"], **batch)
    assert set(whole) == {"loss", "conv"}
    part = net.forward(end="relu", **batch)
    assert set(part) == {"conv"}
    assert np.array_equal(part["conv"], whole["conv"])
    net.blobs["conv"].data = 0
    assert not np.array_equal(net.forward(start="fc")["loss"], whole["loss"])


def test_reshape_passes_a_new_batch_size_on() -> None:
    net = train_net()
    batch = small_batch()
    alone = [net.forward(**batch)["loss"]]
    net.blobs["data"].reshape(4, 3, 8, 8)
    net.blobs["label"].reshape(4, 4)
    twice = {name: np.concatenate([array, array]) for name, array in batch.items()}
    assert net.forward(**twice)["loss"] == pytest.approx(alone[0])
    net.reshape()
    assert net.blobs["fc"].shape == (4, 4)


# Which gradients are computed --------------------------------------------------------------------


def plan(net: Net) -> dict[str, tuple[bool, list[bool]]]:
    return {node.name: (node.need_backward, node.propagate_down) for node in net.layers}


def test_the_first_layer_computes_no_data_gradient() -> None:
    got = plan(train_net())
    assert got["conv"] == (True, [False])
    assert got["loss"] == (True, [True, False])


def test_force_backward_reaches_the_data_but_not_the_labels() -> None:
    net = train_net("force_backward: true\n" + SMALL)
    got = plan(net)
    assert got["conv"] == (True, [True])
    assert got["loss"] == (True, [True, False])
    net.forward(**small_batch())
    assert net.backward()["data"].any()


def test_nothing_runs_backward_without_a_loss() -> None:
    net = Net(parse_net(SMALL), phase=pb.TEST)
    assert not any(node.need_backward for node in net.layers)


def test_learning_rate_zero_ends_the_gradient() -> None:
    frozen = SMALL.replace(
        'bottom: "data" top: "conv"',
        'bottom: "data" top: "conv" param {lr_mult: 0} param {lr_mult: 0}',
    )
    got = plan(train_net(frozen))
    assert got["conv"] == (False, [False])
    assert got["fc"] == (True, [False])
    only_bias = frozen.replace("param {lr_mult: 0} param {lr_mult: 0}", "param {lr_mult: 0}")
    net = train_net(only_bias)
    net.forward(**small_batch())
    net.backward()
    assert not net.params["conv"][0].diff.any()
    assert net.params["conv"][1].diff.any()


def test_propagate_down_false_cuts_the_branch() -> None:
    cut = SMALL.replace(
        'bottom: "conv" top: "fc"', 'bottom: "conv" top: "fc" propagate_down: false'
    )
    got = plan(train_net(cut))
    assert got["fc"] == (True, [False])
    assert got["conv"][0] is False


def test_a_branch_without_a_loss_is_not_run_backward() -> None:
    branch = SMALL + 'layer { name: "side" type: "Sigmoid" bottom: "fc" top: "side" }'
    got = plan(train_net(branch))
    assert got["side"] == (False, [False])
    assert got["fc"][0] is True


def test_loss_weight_scales_loss_and_gradient() -> None:
    heavy = SMALL.replace('top: "loss"', 'top: "loss" loss_weight: 3')
    nets = [train_net(text) for text in (SMALL, heavy)]
    for net in nets:
        net.forward(**small_batch())
        net.backward()
    assert nets[1].loss == pytest.approx(3 * nets[0].loss)
    assert nets[1].blobs["loss"].data == nets[0].blobs["loss"].data
    assert np.allclose(nets[1].params["fc"][0].diff, 3 * nets[0].params["fc"][0].diff, rtol=1e-5)


def test_readers_of_one_top_add_up_their_gradients() -> None:
    two = (
        SMALL.replace("include { phase: TRAIN }", "")
        + """
layer { name: "loss2" type: "MultiSigmoidCrossEntropyLoss" bottom: "fc" bottom: "label"
  top: "loss2" }
"""
    )
    one, both = train_net(), train_net(two)
    for net in (one, both):
        net.forward(**small_batch())
        net.backward()
    assert "fc_fc_0_split_1" in both.blobs
    assert np.allclose(both.params["fc"][0].diff, 2 * one.params["fc"][0].diff, rtol=1e-5)


def test_backward_from_given_gradients() -> None:
    net = Net(parse_net("force_backward: true\n" + SMALL), phase=pb.TEST)
    net.forward(data=small_batch()["data"])
    dy = np.random.default_rng(2).normal(0, 1, (2, 4))
    gradients = net.backward(diffs=["fc"], prob=dy)
    p = net.blobs["prob"].data
    assert relative_error(gradients["fc"], dy * p * (1 - p)) < 1e-5
    assert gradients["data"].shape == (2, 3, 8, 8)


# Shared parameters -------------------------------------------------------------------------------

SHARED = """
layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 6 }} }} }}
layer {{ name: "a" type: "InnerProduct" bottom: "x" top: "y" param {{ name: "w" {0} }}
  inner_product_param {{ num_output: 6 bias_term: false weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "b" type: "InnerProduct" bottom: "y" top: "z" param {{ name: "w" {1} }}
  loss_weight: 1
  inner_product_param {{ num_output: {2} bias_term: false weight_filler {{ type: "msra" }} }} }}
"""


def test_parameters_of_one_name_are_one() -> None:
    net = train_net(SHARED.format("lr_mult: 2", "", 6))
    a, b = net.params["a"][0], net.params["b"][0]
    assert [param.name for param in net.learnable] == ["a/0"]
    assert net.learnable[0].lr_mult == 2
    assert np.array_equal(a.data, b.data)
    a.data[...] = np.random.default_rng(1).normal(0, 1, (6, 6))
    assert np.array_equal(a.data, b.data)
    x = np.random.default_rng(2).normal(0, 1, (2, 6))
    net.forward(x=x)
    net.backward()
    weight = a.data.astype(np.float64)
    y, ones = x @ weight.T, np.ones((2, 6))
    wanted = ones.T @ y + (ones @ weight).T @ x
    assert relative_error(a.diff, wanted) < 1e-5


def test_sharing_that_contradicts_is_refused() -> None:
    with pytest.raises(NetError, match=r"'w' has shape \(5, 6\) here and \(6, 6\) in a/0"):
        train_net(SHARED.format("", "", 5))
    with pytest.raises(NetError, match="has lr_mult 3 here and 2 in a/0"):
        train_net(SHARED.format("lr_mult: 2", "lr_mult: 3", 6))


# Weights -----------------------------------------------------------------------------------------


def test_save_and_copy_from(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    net = train_net(seed=1)
    net.save(path)
    for source in (path, net.to_proto()):
        other = train_net(seed=2)
        other.copy_from(source)
        for name, blobs in net.params.items():
            for a, b in zip(blobs, other.params[name], strict=True):
                assert np.array_equal(a.data, b.data)
    assert Net(parse_net(SMALL), weights=path).params["fc"][0].data.any()


def test_every_mismatch_is_listed_and_nothing_loaded(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    train_net(seed=1).save(path)
    other = train_net(
        SMALL.replace("num_output: 5", "num_output: 6").replace("xavier", "msra"), seed=2
    )
    before = {name: blobs[1].data.copy() for name, blobs in other.params.items()}
    with pytest.raises(WeightsError) as caught:
        other.copy_from(path)
    message = str(caught.value)
    assert "conv/0 is (5, 3, 3, 3) in the file, (6, 3, 3, 3) here" in message
    assert "conv/1 is (5,) in the file, (6,) here" in message
    assert "fc/0 is (4, 180) in the file, (4, 216) here" in message
    assert "\n" not in message
    for name, bias in before.items():
        assert np.array_equal(other.params[name][1].data, bias)


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    train_net(SMALL.replace('name: "conv"', 'name: "c1"').replace('name: "fc"', 'name: "f1"')).save(
        path
    )
    with pytest.raises(
        WeightsError, match=r"holds weights of 'c1', 'f1'.*'conv', 'fc'.*no layer is in"
    ):
        train_net().copy_from(path)


def test_layers_that_only_one_side_has_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    train_net(SMALL.replace('name: "fc"', 'name: "old_fc"')).save(path)
    net = train_net()
    net.copy_from(path)
    assert any("left out: 'old_fc'" in note for note in net.notes)
    assert any("left as they were: 'fc'" in note for note in net.notes)


def test_legacy_shapes_are_accepted() -> None:
    net = train_net(seed=1)
    message = net.to_proto()
    for layer in message.layer:
        for blob in layer.blobs:
            dims = [1] * (4 - len(blob.shape.dim)) + list(blob.shape.dim)
            blob.ClearField("shape")
            blob.num, blob.channels, blob.height, blob.width = dims
    other = train_net(seed=2)
    other.copy_from(message)
    assert np.array_equal(other.params["fc"][0].data, net.params["fc"][0].data)


# Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"Convolution"', '"Convoluton"', "unknown layer type 'Convoluton'; did you mean 'Convol"),
        ('bottom: "fc" bottom: "label"', 'bottom: "fc"', "takes 2 bottoms, 1 are given"),
        ('bottom: "conv" top: "fc"', 'bottom: "con" top: "fc"', "'con'; did you mean 'conv'"),
        ('top: "loss"', 'top: "fc"', "top 'fc' cannot be its bottom"),
        ('top: "loss"', 'top: "data"', "top 'data' is made by layer 'in' of line 3"),
        ("num_output: 5", "num_output: 5 param_x: 1", "'param_x'"),
        ("num_output: 5", "num_output: 5 axis: 2", "axis"),
        (
            'top: "loss"',
            'top: "loss" loss_weight: 1 loss_weight: 1',
            "loss_weight is given 2 times",
        ),
        ('top: "fc"', 'top: "fc" param {} param {} param {}', "param is given 3 times"),
        ('top: "fc"', 'top: "fc" propagate_down: true propagate_down: true', "given 2 times for 1"),
        ("dim: 2 dim: 4 }", "dim: 2 dim: 5 }", "(2, 5)"),
        ('type: "xavier"', 'type: "xaver"', "did you mean 'xavier'"),
    ],
)
def test_bad_nets_are_refused_in_one_line(old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises((NetError, PrototxtError)) as caught:
        train_net(SMALL.replace(old, new, 1))
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    assert text.startswith("small.prototxt:")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net.forward(dta=1), "'dta' is not an input; did you mean 'data'"),
        (lambda net: net.forward(data=np.zeros((2, 3, 8, 9))), r"\(2, 3, 8, 8\), the array \(2, 3"),
        (lambda net: net.forward(start="cnv"), "no layer is named 'cnv'; did you mean 'conv'"),
        (lambda net: net.forward(blobs=["fb"]), "no blob is named 'fb'"),
        (lambda net: net.backward(los=1), "no blob is named 'los'; did you mean 'loss'"),
    ],
)
def test_bad_calls_are_refused(call: object, message: str) -> None:
    net = train_net()
    net.forward(**small_batch())
    with pytest.raises(DrmlError, match=message):
        call(net)  # type: ignore[operator]


def test_kernel_errors_name_layer_and_bottoms() -> None:
    net = train_net()
    net.blobs["data"].reshape(2, 4, 8, 8)
    with pytest.raises(NetError, match=r"small.prototxt:\d+: layer 'conv' \(Convolution\)"):
        net.forward()


# Synthetic data, golden net ----------------------------------------------------------------------

DATA = """
layer { name: "data" type: "MultilabelImageData" top: "data" top: "label"
  image_data_param { source: "nowhere.txt" batch_size: 3 multilabel_num: 4 }
  transform_param { crop_size: 8 } }
"""


def test_synthetic_data_opens_nothing() -> None:
    text = DATA + SMALL[SMALL.index('layer { name: "conv"') :]
    net = Net(parse_net(text), phase=pb.TRAIN, synthetic_data=True)
    assert net.blobs["data"].shape == (3, 3, 8, 8)
    assert not any(blob.has_value for blob in net.blobs.values())
    assert net.forward()["loss"] > 0
    assert set(np.unique(net.blobs["label"].data)) <= {0, 1}


def test_golden_net(golden_dir: Path) -> None:
    """Blobs and gradients of stock Caffe's run of a small DRML in stock layers."""
    folder = golden_dir / "net"
    golden = np.load(folder / "forward_backward.npz")
    net = Net(folder / "net.prototxt", folder / "init.caffemodel", pb.TRAIN)
    net.forward(data=golden["xs"][0], label=golden["ys"][0])
    net.backward()
    checked = 0
    for key in golden.files:
        kind, _, name = key.partition(":")
        if kind == "blob":
            got = net.blobs[name].data
        elif kind == "diff":
            got = net.blobs[name].diff
        elif kind == "dparam":
            layer, _, index = name.partition("/")
            got = net.params[layer][int(index)].diff
        else:
            continue
        assert relative_error(got, golden[key]) < 1e-4, key
        checked += 1
    assert checked > 40


def test_golden_net_with_a_region_layer(golden_dir: Path) -> None:
    """The same run with the slices, branches and concatenations replaced by one Region layer."""
    folder = golden_dir / "net"
    golden = np.load(folder / "forward_backward.npz")
    lines = (folder / "net.prototxt").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if '"Slice"' in line)
    end = next(i for i, line in enumerate(lines) if 'name:"relu_res"' in line)
    region = """layer { name: "region" type: "Region" bottom: "conv1" top: "add"
      region_param { grid_h: 2 grid_w: 2 use_global_stats: false } }"""
    text = "\n".join([*lines[:start], region, *lines[end:]])
    sliced = Net(folder / "net.prototxt", folder / "init.caffemodel", pb.TRAIN)
    net = Net(parse_net(text), folder / "init.caffemodel", pb.TRAIN)
    weight, bias = net.params["region"][:2]
    for p, name in enumerate(("rc00", "rc01", "rc10", "rc11")):
        weight.data[p], bias.data[p] = (blob.data for blob in sliced.params[name])
    net.forward(data=golden["xs"][0], label=golden["ys"][0])
    net.backward()
    for p, name in enumerate(("rc00", "rc01", "rc10", "rc11")):
        assert relative_error(weight.diff[p], golden[f"dparam:{name}/0"]) < 1e-4
        assert relative_error(bias.diff[p], golden[f"dparam:{name}/1"]) < 1e-4
    for name in ("add", "fc8", "loss"):
        assert relative_error(net.blobs[name].data, golden[f"blob:{name}"]) < 1e-4
    for name in ("data", "conv1"):
        assert relative_error(net.blobs[name].diff, golden[f"diff:{name}"]) < 1e-4
