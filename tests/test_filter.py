"""Include and exclude rules, against Caffe's own definition of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drml.errors import PrototxtError
from drml.filter import filter_net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net


def kept(rules: str, phase: int = pb.TEST, level: int = 0, stages: tuple[str, ...] = ()) -> bool:
    """Whether a layer with these rules stays."""
    net = parse_net(f"layer {{ name: 'x' {rules} }} layer {{ name: 'last' }}")
    names = [layer.name for layer in filter_net(net, phase, level, stages).message.layer]
    assert names[-1] == "last"
    return "x" in names


def test_without_rules_a_layer_stays() -> None:
    assert kept("")


def test_phase() -> None:
    assert kept("include { phase: TRAIN }", pb.TRAIN)
    assert not kept("include { phase: TRAIN }", pb.TEST)
    assert not kept("exclude { phase: TRAIN }", pb.TRAIN)
    assert kept("exclude { phase: TRAIN }", pb.TEST)


@pytest.mark.parametrize(
    ("rule", "levels"),
    [
        ("min_level: 1", {1, 2, 3}),
        ("max_level: 1", {-1, 0, 1}),
        ("min_level: 1 max_level: 2", {1, 2}),
        ("min_level: -1 max_level: 0", {-1, 0}),
    ],
)
def test_level(rule: str, levels: set[int]) -> None:
    assert {i for i in range(-1, 4) if kept(f"include {{ {rule} }}", level=i)} == levels
    assert {i for i in range(-1, 4) if not kept(f"exclude {{ {rule} }}", level=i)} == levels


def test_stage() -> None:
    assert kept("include { stage: 'a' stage: 'b' }", stages=("b", "c", "a"))
    assert not kept("include { stage: 'a' stage: 'b' }", stages=("a",))
    assert kept("include { not_stage: 'a' not_stage: 'b' }", stages=("c",))
    assert not kept("include { not_stage: 'a' not_stage: 'b' }", stages=("c", "b"))
    assert not kept("include { stage: 'a' not_stage: 'b' }", stages=("a", "b"))


def test_one_rule_of_several_is_enough() -> None:
    either = "include { phase: TRAIN } include { stage: 'deploy' }"
    assert kept(either, pb.TRAIN)
    assert kept(either, pb.TEST, stages=("deploy",))
    assert not kept(either, pb.TEST)
    neither = either.replace("include", "exclude")
    assert not kept(neither, pb.TRAIN)
    assert not kept(neither, pb.TEST, stages=("deploy",))
    assert kept(neither, pb.TEST)


def test_an_empty_rule_is_met() -> None:
    assert kept("include { }")
    assert not kept("exclude { }")


def test_state_of_the_file_counts() -> None:
    net = parse_net(
        "state { phase: TRAIN level: 2 stage: 'a' }"
        "layer { name: 'stage' include { stage: 'a' stage: 'b' } }"
        "layer { name: 'level' include { min_level: 2 } }"
        "layer { name: 'phase' include { phase: TEST } }"
    )
    names = [layer.name for layer in filter_net(net, pb.TEST, stages=["b"]).message.layer]
    assert names == ["stage", "level", "phase"]
    names = [layer.name for layer in filter_net(net, pb.TRAIN, level=1).message.layer]
    assert names == []


def test_places_and_the_rest_of_the_net_stay() -> None:
    net = parse_net(
        "name: 'n' force_backward: true\nlayer { exclude { } }\nlayer { name: 'b'\n top: 't' }", "f"
    )
    result = filter_net(net, pb.TEST)
    assert result.message.name == "n"
    assert result.message.force_backward
    assert [source.where("top") for source in result.layers] == ["f:4"]
    assert result.where("force_backward") == "f:1"
    assert len(net.message.layer) == 2


def test_include_beside_exclude_is_refused() -> None:
    net = parse_net("layer { name: 'x' type: 'ReLU'\n include { }\n exclude { } }", "net.prototxt")
    with pytest.raises(PrototxtError) as caught:
        filter_net(net, pb.TEST)
    assert str(caught.value) == (
        "net.prototxt:3: layer 'x' (ReLU): include and exclude rules exclude each other; "
        "use one of the two"
    )


rules = st.builds(
    pb.NetStateRule,
    phase=st.none() | st.sampled_from([pb.TRAIN, pb.TEST]),
    min_level=st.none() | st.integers(-1, 2),
    max_level=st.none() | st.integers(-1, 2),
    stage=st.lists(st.sampled_from("ab"), max_size=2),
    not_stage=st.lists(st.sampled_from("ab"), max_size=2),
)


@given(
    st.lists(rules, max_size=3),
    st.booleans(),
    st.sampled_from([pb.TRAIN, pb.TEST]),
    st.integers(-1, 2),
    st.sets(st.sampled_from("ab")),
)
def test_against_the_definition(
    layer_rules: list[pb.NetStateRule], include: bool, phase: int, level: int, stages: set[str]
) -> None:
    """One sentence of Caffe's documentation at a time: a rule is broken, or it is met."""

    def broken(rule: pb.NetStateRule) -> bool:
        if rule.HasField("phase") and rule.phase != phase:
            return True
        if rule.HasField("min_level") and level < rule.min_level:
            return True
        if rule.HasField("max_level") and level > rule.max_level:
            return True
        return bool(set(rule.stage) - stages or set(rule.not_stage) & stages)

    if not layer_rules:
        wanted = True
    elif include:
        wanted = not all(broken(rule) for rule in layer_rules)
    else:
        wanted = all(broken(rule) for rule in layer_rules)
    net = parse_net("layer { }")
    target = net.layers[0].param.include if include else net.layers[0].param.exclude
    target.extend(layer_rules)
    assert len(filter_net(net, phase, level, stages).layers) == wanted
