"""Split layers: the names, counts and loss weights that Caffe gives them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drml.errors import NetError
from drml.insert_splits import insert_splits
from drml.prototxt import NetFile, parse_net
from drml.weights import read_net_weights


def layer(name: str, bottoms: str = "", tops: str = "", rest: str = "") -> str:
    """A layer's text; bottoms and tops are names with spaces between them."""
    fields = [f"bottom: '{bottom}'" for bottom in bottoms.split()]
    fields += [f"top: '{top}'" for top in tops.split()]
    return f"layer {{ name: '{name}' {' '.join(fields)} {rest} }}\n"


def split(*texts: str) -> NetFile:
    return insert_splits(parse_net("".join(texts), "net.prototxt"))


def shown(net: NetFile) -> list[str]:
    """Every layer as `name: bottoms -> tops`."""
    return [
        f"{param.name}: {' '.join(param.bottom)} -> {' '.join(param.top)}"
        for param in net.message.layer
    ]


def test_one_reader_needs_no_split() -> None:
    net = split(layer("data", "", "data label"), layer("ip", "data", "ip"))
    assert shown(net) == ["data:  -> data label", "ip: data -> ip"]


def test_two_readers() -> None:
    net = split(
        layer("data", "", "data label"),
        layer("ip1", "data", "ip1"),
        layer("ip2", "data", "ip2"),
        layer("loss", "ip1 label", "loss1"),
        layer("loss2", "ip2 label", "loss2"),
    )
    assert shown(net) == [
        "data:  -> data label",
        "data_data_0_split: data -> data_data_0_split_0 data_data_0_split_1",
        "label_data_1_split: label -> label_data_1_split_0 label_data_1_split_1",
        "ip1: data_data_0_split_0 -> ip1",
        "ip2: data_data_0_split_1 -> ip2",
        "loss: ip1 label_data_1_split_0 -> loss1",
        "loss2: ip2 label_data_1_split_1 -> loss2",
    ]
    assert net.message.layer[1].type == "Split"


def test_one_layer_that_reads_twice() -> None:
    net = split(layer("data", "", "data"), layer("sum", "data data", "sum"))
    assert shown(net)[-1] == "sum: data_data_0_split_0 data_data_0_split_1 -> sum"


def test_in_place_layers_make_new_versions() -> None:
    net = split(
        layer("data", "", "data"),
        layer("ip", "data", "ip"),
        layer("relu", "ip", "ip"),
        layer("drop", "ip", "ip"),
        layer("a", "ip", "a"),
        layer("b", "ip", "b"),
    )
    assert shown(net) == [
        "data:  -> data",
        "ip: data -> ip",
        "relu: ip -> ip",
        "drop: ip -> ip",
        "ip_drop_0_split: ip -> ip_drop_0_split_0 ip_drop_0_split_1",
        "a: ip_drop_0_split_0 -> a",
        "b: ip_drop_0_split_1 -> b",
    ]


def test_loss_weight_counts_as_a_reader() -> None:
    net = split(
        layer("data", "", "data"),
        layer("ip", "data", "ip", "loss_weight: 0.5"),
        layer("a", "ip", "a"),
    )
    assert shown(net) == [
        "data:  -> data",
        "ip: data -> ip",
        "ip_ip_0_split: ip -> ip_ip_0_split_0 ip_ip_0_split_1",
        "a: ip_ip_0_split_1 -> a",
    ]
    assert list(net.message.layer[1].loss_weight) == [0]
    assert list(net.message.layer[2].loss_weight) == [0.5, 0]


def test_loss_weight_of_a_top_that_nobody_reads_stays() -> None:
    net = split(layer("two", "", "a b", "loss_weight: [0, 2]"), layer("c", "a a", "c"))
    assert list(net.message.layer[0].loss_weight) == [0, 2]
    assert [param.name for param in net.message.layer] == ["two", "a_two_0_split", "c"]
    assert not net.message.layer[1].loss_weight


def test_the_other_loss_weights_of_a_layer_stay() -> None:
    net = split(layer("two", "", "a b", "loss_weight: [3, 2]"), layer("c", "a", "c"))
    assert list(net.message.layer[0].loss_weight) == [0, 2]
    assert list(net.message.layer[1].loss_weight) == [3, 0]


def test_errors_name_the_place_of_the_producer() -> None:
    net = split(layer("data", "", "data"), layer("a", "data data", "a"))
    assert [source.where() for source in net.layers] == [
        "net.prototxt:1",
        "net.prototxt:1",
        "net.prototxt:2",
    ]


def test_the_net_that_was_given_is_unchanged() -> None:
    net = parse_net(layer("data", "", "data") + layer("a", "data data", "a"))
    before = str(net.message)
    insert_splits(net)
    assert str(net.message) == before


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            [layer("norm", "", "norm3"), "layer { name: 'c' type: 'ReLU'\n bottom: 'nrom3' }"],
            "net.prototxt:3: layer 'c' (ReLU): no layer makes bottom 'nrom3'; "
            "did you mean 'norm3'?",
        ),
        (
            [layer("a", "late", "a"), layer("b", "", "late")],
            "net.prototxt:1: layer 'a' (): no layer makes bottom 'late' before this one; "
            "layer 'b' of line 2 does",
        ),
        (
            [layer("a", "", "x"), layer("b", "", "x")],
            "net.prototxt:2: layer 'b' (): top 'x' is made by layer 'a' of line 1 already",
        ),
        (
            [layer("a", "", "x"), layer("b", "x", "y"), layer("r", "x", "x")],
            "net.prototxt:3: layer 'r' (): works in place on 'x' of layer 'a' of line 1, but "
            "another layer reads that blob before; give the top a name of its own",
        ),
        (
            [layer("a", "", "x x")],
            "net.prototxt:1: layer 'a' (): top 'x' is made by layer 'a' of line 1 already",
        ),
    ],
)
def test_mistakes(texts: list[str], message: str) -> None:
    with pytest.raises(NetError) as caught:
        split(*texts)
    assert str(caught.value) == message


def test_golden_net_has_caffes_layers(golden_dir: Path) -> None:
    # Caffe saves the net as it built it, its splits included.
    path = golden_dir / "net" / "net.prototxt"
    wanted = read_net_weights(golden_dir / "net" / "init.caffemodel")
    net = insert_splits(parse_net(path.read_text()))
    assert [param.name for param in net.message.layer] == [param.name for param in wanted.layer]
    for ours, caffes in zip(net.message.layer, wanted.layer, strict=True):
        assert list(ours.bottom) == list(caffes.bottom)
        assert list(ours.top) == list(caffes.top)


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=3), max_size=6))
def test_every_blob_has_one_reader_and_the_same_origin(bottoms: list[list[int]]) -> None:
    """Following every bottom through the splits leads to the blob that it named."""
    texts = [layer("l0", "", "t0")]
    wanted = [[]]
    for index, chosen in enumerate(bottoms, 1):
        names = [f"t{number % index}" for number in chosen]
        texts.append(layer(f"l{index}", " ".join(names), f"t{index}"))
        wanted.append(names)
    net = split(*texts).message
    read = [bottom for param in net.layer for bottom in param.bottom]
    assert len(read) == len(set(read))
    splits = [param for param in net.layer if param.type == "Split"]
    origin = {top: param.bottom[0] for param in splits for top in param.top}
    real = [param for param in net.layer if param.type != "Split"]
    assert [[origin.get(bottom, bottom) for bottom in param.bottom] for param in real] == wanted
    made: set[str] = set()
    for param in net.layer:
        assert made.issuperset(param.bottom)
        made.update(param.top)
