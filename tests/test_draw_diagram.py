"""What a picture of a net holds: boxes, edges, shapes and settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from draw_testing import NETS, layer_names, text_of

from drml.draw.diagram import Diagram, make_diagram
from drml.draw.labels import kind_of, merged_shape, settings_lines
from drml.draw.picture import COLORS
from drml.errors import NetError
from drml.layers import find, known_types
from drml.prototxt import parse_net

pytestmark = pytest.mark.cpu_only


def names_of(diagram: Diagram, *, members: bool = True) -> set[str]:
    """The layers that the boxes stand for."""
    cells = [cell for box in diagram.boxes for cell in box.cells]
    found = {name for cell in cells for name in cell.names}
    return found | {name for cell in cells for name in cell.members if members}


def read_by_name(text: str, phase: str) -> set[tuple[str, str]]:
    """Pairs of layers, the second of which reads what the first has made, worked out anew."""
    newest: dict[str, str] = {}
    pairs = set()
    for param in parse_net(text).message.layer:
        rules = [rule.phase for rule in param.include]
        if rules and ("TRAIN", "TEST")[rules[0]] != phase:
            continue
        name = f"{param.name} in {phase}" if rules else param.name
        pairs |= {(newest[bottom], name) for bottom in param.bottom}
        newest |= dict.fromkeys(param.top, name)
    return pairs


def cell_name(diagram: Diagram, box: int, position: int) -> str:
    cell = diagram.boxes[box].cells[position]
    return f"{cell.names[0]} in {cell.phase}" if cell.phase else cell.names[0]


def test_boxes_of_drml() -> None:
    diagram = make_diagram(parse_net(text_of("drml")))
    assert diagram.name == "DRML"
    assert diagram.facts == "56,863,436 learned parameters; N = 128 in TRAIN, 64 in TEST"
    assert diagram.layers == 23
    train, test, conv1, region2 = diagram.boxes[:4]
    assert [box.cells[0].remark for box in (train, test)] == ["(TRAIN only)", "(TEST only)"]
    assert "data: 128 x 3 x 170 x 170" in train.cells[0].lines
    assert conv1.cells[0].lines == (
        "kernel 11 x 11, stride 1, pad 0",
        "32 outputs",
        "N x 32 x 160 x 160",
        "11,648 parameters",
    )
    assert [cell.title for cell in region2.cells] == ["region2", "relu2"]
    assert region2.cells[0].lines[-1] == "591,872 parameters, 4,097 not learned"
    assert [cell.type for cell in diagram.boxes[-3].cells] == ["InnerProduct", "ReLU", "Dropout"]
    kinds = [box.cells[0].kind for box in diagram.boxes]
    assert kinds == ["data", "data", "learned", "learned", "pooling", "normalization", *kinds[6:]]
    assert kinds[-1] == "loss"


def test_one_phase_says_its_own_batch_size() -> None:
    diagram = make_diagram(parse_net(text_of("drml")), ["TEST"])
    assert diagram.facts == "56,863,436 learned parameters; phase TEST"
    assert diagram.boxes[1].cells[0].lines[2] == "64 x 32 x 160 x 160"
    assert diagram.boxes[0].cells[0].remark == ""


@pytest.mark.parametrize("name", [*NETS, "googlenet", "long"])
def test_every_layer_and_every_edge_is_drawn(name: str) -> None:
    text = text_of(name)
    diagram = make_diagram(parse_net(text), fuse=False, collapse=False)
    assert names_of(diagram) == layer_names(text)
    place = {
        cell_name(diagram, index, position): (index, position)
        for index, box in enumerate(diagram.boxes)
        for position in range(len(box.cells))
    }
    wanted = set()
    for maker, reader in read_by_name(text, "TRAIN") | read_by_name(text, "TEST"):
        if place[maker][0] == place[reader][0]:
            # The layers of a box stand below each other, those of one phase beside others.
            assert place[maker][1] < place[reader][1]
        else:
            wanted.add((place[maker][0], place[reader][0]))
    assert {(edge.tail, edge.head) for edge in diagram.edges} == wanted
    assert all(edge.tail < edge.head for edge in diagram.edges)


def test_blobs_of_edges() -> None:
    diagram = make_diagram(parse_net(text_of("googlenet")), ["TEST"])
    edges = {
        (diagram.boxes[edge.tail].cells[0].title, diagram.boxes[edge.head].cells[0].title): edge
        for edge in diagram.edges
    }
    assert edges["data", "conv1"].blobs == ("data",)
    assert edges["data", "conv1"].label == "data"
    assert edges["data", "loss2/top-1"].label == "label"
    assert edges["a/output", "b/pool"].label == ""
    assert edges["a/output", "b/pool"].text == "a/output: 2 x 28 x 16 x 16"


def test_the_long_form_is_one_box_or_its_branches_are() -> None:
    file = parse_net(text_of("long"))
    short = make_diagram(parse_net(text_of("drml")))
    fused = make_diagram(file)
    assert fused.layers == 217
    assert len(fused.boxes) == len(short.boxes)
    region = fused.boxes[3].cells[0]
    assert (region.type, region.remark) == ("Region", "(195 layers as one)")
    assert region.lines[0] == "kernel 3 x 3, grid 8 x 8, pad 1"
    assert any("run as one Region layer" in note for note in fused.notes)

    written = make_diagram(file, fuse=False)
    assert written.layers == 217
    assert len(written.boxes) == 18
    batch = written.boxes[4]
    assert [cell.title for cell in batch.cells] == ["bn_2_1 ... bn_2_64", "relu_2_1 ... relu_2_64"]
    assert batch.count == 64
    assert batch.cells[0].remark == "(64 times)"
    assert written.boxes[3].cells[0].lines[-1] == "64 tops, each N x 32 x 20 x 20"
    into = next(edge for edge in written.edges if edge.head == 4)
    assert (len(into.blobs), into.label) == (64, "64 blobs")
    assert len(make_diagram(file, fuse=False, collapse=False).boxes) == 18 + 2 * 63


def branches(settings: Sequence[str]) -> str:
    """Branches of one Convolution each, from one layer to one Concat."""
    layers = "".join(
        f'layer {{ name: "c{i}" type: "Convolution" bottom: "data" top: "c{i}" '
        f"convolution_param {{ kernel_size: 1 {setting} }} }}\n"
        for i, setting in enumerate(settings)
    )
    bottoms = " ".join(f'bottom: "c{i}"' for i in range(len(settings)))
    return (
        'layer { name: "data" type: "Input" top: "data" '
        "input_param { shape { dim: 1 dim: 2 dim: 3 dim: 3 } } }\n"
        f'{layers}layer {{ name: "all" type: "Concat" {bottoms} top: "all" }}'
    )


@pytest.mark.parametrize(
    ("outputs", "counts"),
    [
        ((2, 2, 2, 2), [1, 4, 1]),
        ((2, 2, 2), [1, 1, 1, 1, 1]),  # too few
        ((2, 2, 3, 2, 2), [1, 4, 1, 1]),
    ],
)
def test_equal_branches_are_one_box(outputs: tuple[int, ...], counts: list[int]) -> None:
    diagram = make_diagram(parse_net(branches([f"num_output: {count}" for count in outputs])))
    assert [box.count for box in diagram.boxes] == counts
    assert names_of(diagram) == {"data", "all", *(f"c{i}" for i in range(len(outputs)))}


def test_a_split_is_not_drawn() -> None:
    text = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 } } }
      layer { name: "s" type: "Split" bottom: "data" top: "a" top: "b" }
      layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }"""
    diagram = make_diagram(parse_net(text))
    assert names_of(diagram) == {"data", "sum"}
    assert [edge.blobs for edge in diagram.edges] == [("data",)]


def test_what_works_in_place_on_one_of_several_tops_stands_alone() -> None:
    text = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 } } }
      layer { name: "slice" type: "Slice" bottom: "data" top: "a" top: "b"
        slice_param { axis: 0 } }
      layer { name: "relu" type: "ReLU" bottom: "b" top: "b" }"""
    diagram = make_diagram(parse_net(text))
    assert [len(box.cells) for box in diagram.boxes] == [1, 1, 1]
    assert diagram.edges[-1].label == "b"


def test_a_layer_of_one_phase_within_a_box() -> None:
    text = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 } } }
      layer { name: "drop" type: "Dropout" bottom: "data" top: "data" include { phase: TRAIN } }
      layer { name: "relu" type: "ReLU" bottom: "data" top: "data" }
      layer { name: "out" type: "Power" bottom: "data" top: "out" }"""
    diagram = make_diagram(parse_net(text))
    assert [cell.title for cell in diagram.boxes[0].cells] == ["data", "drop", "relu"]
    assert diagram.boxes[0].cells[1].remark == "(TRAIN only)"
    assert [(edge.tail, edge.head) for edge in diagram.edges] == [(0, 1)]


def test_levels_and_stages_choose_layers() -> None:
    text = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 } } }
      layer { name: "a" type: "ReLU" bottom: "data" top: "a" include { stage: "deploy" } }
      layer { name: "b" type: "ReLU" bottom: "data" top: "b" include { min_level: 2 } }"""
    file = parse_net(text)
    assert names_of(make_diagram(file)) == {"data"}
    assert names_of(make_diagram(file, stages=["deploy"])) == {"data", "a"}
    assert names_of(make_diagram(file, level=2)) == {"data", "b"}


def test_a_phase_that_cannot_be_built_is_left_out() -> None:
    text = """layer { name: "data" type: "Input" top: "data" include { phase: TEST }
        input_param { shape { dim: 2 } } }
      layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }"""
    diagram = make_diagram(parse_net(text, "net.prototxt"))
    assert diagram.facts.endswith("phase TEST")
    assert [note for note in diagram.notes if "phase TRAIN is left out" in note]
    with pytest.raises(NetError, match=r"net.prototxt:3: .*no layer makes bottom 'data'"):
        make_diagram(parse_net(text, "net.prototxt"), ["TRAIN"])


def test_without_its_data_a_net_has_no_shapes(tmp_path: Path) -> None:
    text = """layer { name: "d" type: "Data" top: "data" data_param {
        source: "none" batch_size: 2 backend: LMDB } }
      layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
        inner_product_param { num_output: 3 } }"""
    diagram = make_diagram(parse_net(text))
    assert diagram.boxes[1].cells[0].lines == ("3 outputs",)
    assert diagram.facts == ""
    assert "shapes and parameters are left out: " in diagram.notes[0]
    assert "no such data base" in diagram.notes[0]


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        ("Convolution convolution_param { kernel_h: 3 kernel_w: 5 stride_h: 1 stride_w: 2 }",
         ["kernel 3 x 5, stride 1 x 2, pad 0"]),
        ("Convolution convolution_param { kernel_size: 3 kernel_size: 5 pad: 1 pad: 2 stride: 4 }",
         ["kernel 3 x 5, stride 4, pad 1 x 2"]),
        ("Convolution convolution_param { num_output: 1 kernel_size: 3 dilation: 2 group: 4 "
         "bias_term: false weight_filler { type: \"xavier\" } engine: CAFFE }",
         ["kernel 3 x 3, stride 1, pad 0, 1 output", "bias_term false, dilation 2, group 4"]),
        ("Pooling pooling_param { pool: AVE kernel_h: 2 kernel_w: 3 pad_h: 1 pad_w: 0 }",
         ["kernel 2 x 3, stride 1, pad 1 x 0, AVE"]),
        ("Pooling pooling_param { pool: AVE global_pooling: true }", ["AVE, global_pooling"]),
        ("Eltwise eltwise_param { operation: SUM coeff: 1 coeff: -0.5 }", ["SUM, coeff 1, -0.5"]),
        ("Eltwise", ["SUM"]),
        ("LRN lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }",
         ["local_size 3, norm_region WITHIN_CHANNEL"]),
        ("ReLU", []),
        ("ReLU relu_param { negative_slope: 0.1 }", ["negative_slope 0.1"]),
        ("Slice slice_param { axis: 1 slice_point: 1 slice_point: 2 slice_point: 3 "
         "slice_point: 4 slice_point: 5 }", ["axis 1, slice_point 1, 2, 3, 4, ..."]),
        ("SoftmaxWithLoss loss_weight: 0.3", ["loss_weight 0.3"]),
        ("Region", ["kernel 3 x 3, grid 8 x 8, pad 1"]),
        ("Input input_param { shape { dim: 1 } }", []),
        ("ImageData image_data_param { source: \"/a/very/long/path/to/the/folder/of/a/list.txt\" }",
         ["source .../list.txt"]),
    ],
)  # fmt: skip
def test_settings_in_few_words(layer: str, wanted: list[str]) -> None:
    name, _, fields = layer.partition(" ")
    text = f'layer {{ name: "x" type: "{name}" {fields} }}'
    layer_class = find(name)
    assert layer_class is not None
    assert settings_lines(parse_net(text).layers[0].param, layer_class) == wanted


def test_every_type_has_a_color() -> None:
    kinds = {}
    for name in known_types():
        layer_class = find(name)
        assert layer_class is not None
        kinds[name] = kind_of(layer_class)
        settings_lines(parse_net(f'layer {{ type: "{name}" }}').layers[0].param, layer_class)
    assert set(kinds.values()) == set(COLORS)
    assert {kinds[name] for name in ("ReLU", "Dropout", "TanH", "Power")} == {"neuron"}
    assert {kinds[name] for name in ("Convolution", "PReLU", "Scale", "Embed")} == {"learned"}
    assert {kinds[name] for name in ("Concat", "Eltwise", "Accuracy", "Python")} == {"other"}


@pytest.mark.parametrize(
    ("shapes", "wanted"),
    [
        ({}, ""),
        ({"TRAIN": ()}, "scalar"),
        ({"TRAIN": (2, 3), "TEST": (2, 3)}, "2 x 3"),
        ({"TRAIN": (2, 3), "TEST": (4, 3)}, "N x 3"),
        ({"TRAIN": (2,), "TEST": (4,)}, "N"),
        ({"TRAIN": (2, 3), "TEST": (2, 5)}, "TRAIN 2 x 3, TEST 2 x 5"),
        ({"TRAIN": (), "TEST": (2,)}, "TRAIN scalar, TEST 2"),
    ],
)
def test_shapes_of_two_phases(shapes: dict[str, tuple[int, ...]], wanted: str) -> None:
    assert merged_shape(shapes) == wanted
