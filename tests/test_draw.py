"""`draw`: pictures of nets as SVG and PNG, by Graphviz and without it."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ElementTree
from itertools import chain, combinations, pairwise
from pathlib import Path

import pytest
from cli_testing import DEPLOY, contents, enter_small, refused
from draw_testing import NETS, googlenet, layer_names, text_of
from legacy_testing import long_region

from drml.draw.diagram import make_diagram
from drml.draw.graphviz import dot_text, find_dot, run_dot
from drml.draw.picture import make_picture, text_width
from drml.draw.svg import svg_text
from drml.prototxt import parse_net
from drml.run import main

pytestmark = pytest.mark.cpu_only

SVG = "{http://www.w3.org/2000/svg}"


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
