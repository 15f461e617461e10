"""`draw`: what a picture shows of a net, as SVG and PNG, by Graphviz and without it."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from itertools import chain, combinations, pairwise
from pathlib import Path

import pytest
from cli_testing import DEPLOY, ROOT, contents, enter_small, refused
from legacy_testing import long_drml, long_region

from drml.draw.diagram import Diagram, make_diagram
from drml.draw.graphviz import dot_text, find_dot, run_dot
from drml.draw.labels import kind_of, merged_shape, settings_lines
from drml.draw.picture import COLORS, make_picture, text_width
from drml.draw.svg import svg_text
from drml.errors import NetError
from drml.layers import find, known_types
from drml.prototxt import parse_net
from drml.run import main

pytestmark = pytest.mark.cpu_only

SVG = "{http://www.w3.org/2000/svg}"
NETS = ("drml", "drml_deploy", "alexnet", "lcn")


def convolution(name: str, bottom: str, outputs: int, kernel: int, pad: int = 0) -> str:
    return f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
  convolution_param {{ num_output: {outputs} kernel_size: {kernel} pad: {pad} }} }}
layer {{ name: "{name}/relu" type: "ReLU" bottom: "{name}" top: "{name}" }}"""


def inception(name: str, bottom: str) -> str:
    """Four branches of GoogLeNet, and their Concat."""
    ends = "".join(f' bottom: "{name}/{end}"' for end in ("1x1", "3x3", "5x5", "pool_proj"))
    return (
        convolution(f"{name}/1x1", bottom, 8, 1)
        + convolution(f"{name}/3x3_reduce", bottom, 6, 1)
        + convolution(f"{name}/3x3", f"{name}/3x3_reduce", 12, 3, 1)
        + convolution(f"{name}/5x5_reduce", bottom, 2, 1)
        + convolution(f"{name}/5x5", f"{name}/5x5_reduce", 4, 5, 2)
        + f"""
layer {{ name: "{name}/pool" type: "Pooling" bottom: "{bottom}" top: "{name}/pool"
  pooling_param {{ kernel_size: 3 stride: 1 pad: 1 }} }}"""
        + convolution(f"{name}/pool_proj", f"{name}/pool", 4, 1)
        + f'\nlayer {{ name: "{name}/output" type: "Concat"{ends} top: "{name}/output" }}'
    )


def googlenet() -> str:
    """Inceptions, with a loss on the way and one at the end, and an Accuracy in TEST."""
    heads = "".join(
        f"""
layer {{ name: "{name}/fc" type: "InnerProduct" bottom: "{bottom}" top: "{name}/fc"
  inner_product_param {{ num_output: 5 }} }}
layer {{ name: "{name}/loss" type: "SoftmaxWithLoss" bottom: "{name}/fc" bottom: "label"
  top: "{name}/loss" loss_weight: {weight} }}
layer {{ name: "{name}/top-1" type: "Accuracy" bottom: "{name}/fc" bottom: "label"
  top: "{name}/top-1" include {{ phase: TEST }} }}"""
        for name, bottom, weight in (("loss1", "a/output", 0.3), ("loss2", "c/output", 1))
    )
    return (
        """name: "branches"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 2 dim: 3 dim: 16 dim: 16 } shape { dim: 2 } } }"""
        + convolution("conv1", "data", 8, 3, 1)
        + inception("a", "conv1")
        + inception("b", "a/output")
        + inception("c", "b/output")
        + heads
    )


def long_net() -> str:
    """DRML in the 217 layers of its authors."""
    short = (ROOT / "prototxt" / "drml.prototxt").read_text()
    return long_drml(short, long_region("conv1", "region2", 32, (8, 8), (20, 20)))


def text_of(name: str) -> str:
    made = {"googlenet": googlenet, "long": long_net}
    return made[name]() if name in made else (ROOT / "prototxt" / f"{name}.prototxt").read_text()


def layer_names(text: str) -> set[str]:
    return set(re.findall(r'layer \{\s*name: "([^"]*)"', text))


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


def rectangles(part: ElementTree.Element) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of the rectangles of a part of a picture."""
    found = []
    for rect in part.iter(f"{SVG}rect"):
        x, y, width, height = (float(rect.get(key, "")) for key in ("x", "y", "width", "height"))
        found.append((x, y, x + width, y + height))
    return found


def parts(svg: str, kind: str) -> list[ElementTree.Element]:
    return [
        group for group in ElementTree.fromstring(svg).iter(f"{SVG}g") if group.get("class") == kind
    ]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of small nets, where no `dot` is on PATH."""
    monkeypatch.setenv("PATH", "")
    return enter_small(tmp_path, monkeypatch)


def fake_dot(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Puts a program `dot` on PATH."""
    program = folder / "bin" / "dot"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


# What a diagram holds -----------------------------------------------------------------------------


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


# How it is painted --------------------------------------------------------------------------------


@pytest.mark.parametrize("rankdir", ["TB", "LR"])
@pytest.mark.parametrize("name", [*NETS, "googlenet", "long"])
def test_svg_is_well_formed_and_no_boxes_overlap(name: str, rankdir: str) -> None:
    text = text_of(name)
    diagram = make_diagram(parse_net(text), fuse=False)
    svg = svg_text(make_picture(diagram, rankdir))
    root = ElementTree.fromstring(svg)
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    layers = parts(svg, "layer")
    assert len(layers) == sum(len(box.cells) for box in diagram.boxes)
    drawn = [group.findtext(f"{SVG}title") or "" for group in layers]
    found = {line.rpartition(" (")[0] for title in drawn for line in title.splitlines()}
    assert layer_names(text) <= found
    cells = [rectangles(group) for group in layers]
    left_over = iter(cells)
    boxes = [[next(left_over) for _ in box.cells] for box in diagram.boxes]
    for box in boxes:
        # The first rectangles of a layer are the cards behind its box.
        for (*_, above), (*_, below) in pairwise(box):
            assert above[3] == pytest.approx(below[1], abs=0.11)
    for one, other in combinations(boxes, 2):
        for a in chain.from_iterable(one):
            for b in chain.from_iterable(other):
                beside = a[2] <= b[0] or b[2] <= a[0]
                assert beside or a[3] <= b[1] or b[3] <= a[1]
    for group in root.iter(f"{SVG}g"):
        for left, top, right, bottom in rectangles(group):
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
    for group, rects in zip(layers, cells, strict=True):
        for line in group.iter(f"{SVG}text"):
            bold = line.get("font-weight") == "bold"
            start = float(line.get("x", ""))
            assert rects[-1][0] < start
            assert start + text_width(line.text or "", bold=bold) < rects[-1][2]
    assert len(parts(svg, "edge")) == len(diagram.edges)


def test_edges_end_at_their_boxes() -> None:
    diagram = make_diagram(parse_net(googlenet()))
    svg = svg_text(make_picture(diagram))
    cells = iter(rectangles(group)[-1] for group in parts(svg, "layer"))
    boxes = []
    for box in diagram.boxes:
        stack = [next(cells) for _ in box.cells]
        boxes.append((stack[0][0], stack[0][1], stack[-1][2], stack[-1][3]))
    for edge, group in zip(diagram.edges, parts(svg, "edge"), strict=True):
        path = group.find(f"{SVG}path")
        assert path is not None
        numbers = [float(word) for word in re.findall(r"[\d.]+", path.get("d", ""))]
        tail, head = boxes[edge.tail], boxes[edge.head]
        assert tail[0] <= numbers[0] <= tail[2]
        assert numbers[1] == pytest.approx(tail[3], abs=0.11)
        assert head[0] <= numbers[-2] <= head[2]
        assert numbers[-1] == pytest.approx(head[1], abs=0.11)


ODD = "x<&>\"' $\\alpha$ ünï 網 \\n \\001 %"


@pytest.mark.filterwarnings("error")
def test_odd_names(small: Path) -> None:
    name = ODD.replace("\\", "\\\\").replace('"', '\\"').replace("\\\\001", "\\001")
    text = f"""name: "{name}"
      layer {{ name: "{name}" type: "Input" top: "{name}" top: "b"
        input_param {{ shape {{ dim: 2 }} }} }}
      layer {{ name: "" type: "ReLU" bottom: "{name}" top: "c" }}"""
    (small / "odd.prototxt").write_text(text)
    for out in ("odd.svg", "odd.png"):
        assert main(["draw", "odd.prototxt", "--output", out]) == 0
    root = ElementTree.fromstring((small / "odd.svg").read_text())
    assert ODD.replace("\\001", "\ufffd") in {line.text for line in root.iter(f"{SVG}text")}


def test_letters_are_as_wide_as_matplotlib_draws_them() -> None:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    every = "".join(map(chr, range(33, 127)))
    for bold, weight in ((False, "normal"), (True, "bold")):
        font = FontProperties(family="DejaVu Sans", weight=weight, size=100)
        drawn, _, _ = TextToPath().get_text_width_height_descent(every, font, ismath=False)
        assert 0.98 < text_width(every, 100, bold=bold) / drawn < 1.05


# The command --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rankdir", [[], ["--rankdir", "LR"]])
def test_pictures_without_graphviz(
    small: Path, capsys: pytest.CaptureFixture[str], rankdir: list[str]
) -> None:
    assert main(["draw", "train.prototxt", "--output", "net.svg", *rankdir]) == 0
    said = capsys.readouterr().out
    assert said == "wrote net.svg: 7 layers in 6 boxes, laid out by drml\n"
    root = ElementTree.fromstring((small / "net.svg").read_text())
    size = [float(root.get(key, "")) for key in ("width", "height")]
    assert (size[0] < size[1]) == (not rankdir)
    assert main(["draw", "train.prototxt", "--output", "net.png", *rankdir]) == 0
    content = (small / "net.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    pixels = [int.from_bytes(content[at : at + 4], "big") for at in (16, 20)]
    assert pixels == [pytest.approx(2 * side, abs=2) for side in size]


def test_a_picture_too_large_for_pixels_is_painted_smaller(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drml.draw.png._LARGEST", 300)
    assert main(["draw", "deploy.prototxt", "--output", "net.png"]) == 0
    content = (small / "net.png").read_bytes()
    sides = [int.from_bytes(content[at : at + 4], "big") for at in (16, 20)]
    assert max(sides) in (299, 300)


def test_graphviz_paints_where_it_is(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_dot(small, monkeypatch, 'echo "$@" > words; cat > graph; echo painted')
    assert main(["draw", "deploy.prototxt", "--output", "net.svg", "--rankdir", "LR"]) == 0
    assert "laid out by " + str(small / "bin" / "dot") in capsys.readouterr().out
    assert (small / "net.svg").read_text() == "painted\n"
    assert (small / "words").read_text() == "-Tsvg\n"
    graph = (small / "graph").read_text()
    assert "rankdir=LR" in graph
    assert graph.count(" -> ") == 5
    assert all(f"<b>{name}</b>" in graph for name in layer_names(DEPLOY))
    assert main(["draw", "deploy.prototxt", "--output", "net.png"]) == 0
    assert (small / "words").read_text().startswith("-Tpng")


def test_drml_paints_where_graphviz_fails(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_dot(small, monkeypatch, "cat > /dev/null; echo no plugin >&2; echo more >&2; exit 3")
    assert main(["draw", "deploy.prototxt", "--output", "net.svg"]) == 0
    said = capsys.readouterr().out
    assert "dot: status 3: no plugin\n" in said
    assert "laid out by drml" in said
    ElementTree.fromstring((small / "net.svg").read_text())
    before = contents(small)
    words = ("draw", "deploy.prototxt", "--output", "other.svg", "--layout", "dot")
    assert "dot: status 3: no plugin" in refused(capsys, *words)
    assert contents(small) == before
    # Whoever asks for drml's own does not hear of it.
    assert main(["draw", "deploy.prototxt", "--output", "net.svg", "--layout", "own"]) == 0
    assert "status" not in capsys.readouterr().out


def test_graphviz_that_hangs_or_writes_nothing_fails(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("drml.draw.graphviz.SECONDS", 0.2)
    fake_dot(small, monkeypatch, "exec sleep 20")
    words = ("draw", "deploy.prototxt", "--output", "net.svg", "--layout", "dot")
    assert "took more than 0.2 s" in refused(capsys, *words)
    (small / "bin" / "dot").write_text("#!/bin/sh\n")
    assert "status 0: nothing was written" in refused(capsys, *words)
    (small / "bin" / "dot").write_text("#!/nowhere/sh\n")
    assert "cannot be run" in refused(capsys, *words)
    assert not (small / "net.svg").exists()


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz's dot is not installed")
@pytest.mark.parametrize("name", ["drml", "googlenet", "long"])
def test_the_real_dot_takes_what_it_is_given(name: str) -> None:
    program = find_dot()
    assert program is not None
    diagram = make_diagram(parse_net(text_of(name)), fuse=False)
    root = ElementTree.fromstring(run_dot(program, dot_text(diagram), ".svg"))
    kinds = [group.get("class") for group in root.iter(f"{SVG}g")]
    assert kinds.count("node") == len(diagram.boxes)
    assert kinds.count("edge") == len(diagram.edges)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz's dot is not installed")
def test_the_real_dot_takes_odd_names(tmp_path: Path) -> None:
    program = find_dot()
    assert program is not None
    name = ODD.replace("\\", "\\\\").replace('"', '\\"')
    text = f"""name: "{name}"
      layer {{ name: "{name}" type: "Input" top: "{name}" top: "b"
        input_param {{ shape {{ dim: 2 }} }} }}
      layer {{ name: "" type: "ReLU" bottom: "{name}" top: "c" }}"""
    run_dot(program, dot_text(make_diagram(parse_net(text))), ".svg")


def test_dot_asked_for_and_not_there(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "draw", "deploy.prototxt", "--output", "x.svg", "--layout", "dot")
    assert said == "--layout dot: Graphviz's program 'dot' is not on PATH"


def test_what_cannot_be_drawn(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "broken.prototxt").write_text('layer { name: "a" type: "Input" top: "a" ')
    (small / "type.prototxt").write_text(DEPLOY.replace("Sigmoid", "Sigmoyd"))
    (small / "loose.prototxt").write_text('layer { name: "a" type: "ReLU" bottom: "b" top: "a" }')
    before = contents(small)
    for net, out, options, wanted in (
        ("deploy.prototxt", "net.jpg", "", r"net\.jpg: must end in \.svg or \.png"),
        ("deploy.prototxt", "net", "", r"net: must end in"),
        ("deploy.prototxt", "no/net.svg", "", r"no/net\.svg: no such folder 'no'"),
        ("deploy.prototxt", "images", "", "images: is a folder"),
        ("missing.prototxt", "net.svg", "", "missing.prototxt: no such file"),
        ("broken.prototxt", "net.svg", "", "broken.prototxt:1: "),
        ("type.prototxt", "net.svg", "", "unknown layer type 'Sigmoyd'; did you mean 'Sigmoid'"),
        ("loose.prototxt", "net.svg", "", "loose.prototxt:1: .*no layer makes bottom 'b'"),
        ("solver.prototxt", "net.svg", "", "solver.prototxt:2: .*is this the right file"),
        ("deploy.prototxt", "net.svg", "--phase TRIAN", "unknown phase 'TRIAN'; did you mean"),
        ("deploy.prototxt", "net.svg", "--phase x", "known are TRAIN, TEST and ALL"),
        ("deploy.prototxt", "net.svg", "--rankdir BT", "--rankdir: invalid choice: 'BT'"),
        ("deploy.prototxt", "net.svg", "--level -1", "must be zero or a positive integer"),
    ):
        assert re.search(wanted, refused(capsys, "draw", net, "--output", out, *options.split()))
    assert "--output" in refused(capsys, "draw", "deploy.prototxt")
    assert contents(small) == before


def test_a_folder_that_cannot_be_written(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*words: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    before = contents(small)
    said = refused(capsys, "draw", "deploy.prototxt", "--output", "net.svg")
    assert said == "net.svg: cannot be written: No space left on device"
    assert contents(small) == before


def test_options_reach_the_diagram(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "long.prototxt").write_text(
        'layer { name: "data" type: "Input" top: "data" '
        "input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }\n"
        + long_region("data", "out", 3, (2, 2), (2, 2))
    )
    for options, boxes in (("", 2), ("--no-fuse", 6), ("--no-fuse --expand", 12)):
        words = ["draw", "long.prototxt", "--output", "net.svg", *options.split()]
        assert main(words) == 0
        assert f"16 layers in {boxes} boxes" in capsys.readouterr().out
    (small / "stage.prototxt").write_text(
        DEPLOY + 'layer { name: "more" type: "Power" bottom: "prob" top: "more" '
        'include { phase: TEST stage: "s" min_level: 1 } }'
    )
    words = ["draw", "stage.prototxt", "--output", "net.svg", "--stage", "r,s", "--level", "1"]
    assert main(words) == 0
    assert "more (Power)" in (small / "net.svg").read_text()
    assert main([*words, "--phase", "train"]) == 0
    assert "more (Power)" not in (small / "net.svg").read_text()
