"""Net and solver files: what is read, and the one line that every mistake gets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from drml.errors import PrototxtError
from drml.locate import locate
from drml.proto import caffe_pb2 as pb
from drml.prototxt import (
    check_layer_fields,
    check_supported,
    parse_net,
    parse_solver,
    read_net,
    read_solver,
)

pytestmark = pytest.mark.cpu_only

NET = """\
# A net
name: "n"
layer {
  name: "conv1"  type: "Convolution"
  bottom: "data"
  top: "conv1"
  param { lr_mult: 1 }
  param {
    lr_mult: 2
  }
  convolution_param {
    num_output: 3   # with { a brace in the comment
\t
    kernel_size: [ 5,
                   7 ]
    weight_filler <
      type: 'gauss{ian'
      std: 0.1;
    >
  }
}
layer: { name: "a" "b"
  "c", type: "ReLU" bottom: ["x", "y"] }
"""


def error_of(text: str) -> str:
    with pytest.raises(PrototxtError) as caught:
        parse_net(text, "net.prototxt")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_message_is_that_of_text_format() -> None:
    wanted = pb.NetParameter()
    text_format.Parse(NET, wanted)
    assert parse_net(NET).message == wanted


@pytest.mark.parametrize(
    ("layer", "field_path", "line"),
    [
        (0, "", 3),
        (0, "type", 4),
        (0, "bottom", 5),
        (0, "param", 7),
        (0, "param[1]", 8),
        (0, "param[1].lr_mult", 9),
        (0, "convolution_param", 11),
        (0, "convolution_param.num_output", 12),
        (0, "convolution_param.kernel_size", 14),
        (0, "convolution_param.kernel_size[1]", 15),
        (0, "convolution_param.weight_filler.std", 18),
        (0, "convolution_param.weight_filler.mean", 16),
        (0, "convolution_param.stride", 11),
        (0, "pooling_param.stride", 3),
        (1, "", 22),
        (1, "type", 23),
        (1, "bottom[1]", 23),
    ],
)
def test_lines(layer: int, field_path: str, line: int) -> None:
    assert parse_net(NET, "n").layers[layer].where(field_path) == f"n:{line}"


def test_where_of_net_and_solver() -> None:
    assert parse_net(NET, "n").where("name") == "n:2"
    assert parse_net(NET, "n").where() == "n:1"
    solver = parse_solver(
        "net: 'x'\nstepvalue: 1\n\nstepvalue: 2 train_state {\n stage: 'a' }", "s"
    )
    assert solver.where("stepvalue[1]") == "s:4"
    assert solver.where("train_state.stage") == "s:5"


def test_all_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "net.prototxt"
    for end in ("\n", "\r\n", "\r"):
        file.write_bytes(b"\xef\xbb\xbf" + NET.replace("\n", end).encode())
        net = read_net(file)
        assert net.layers[1].where() == f"{file}:22"
        assert net.message == parse_net(NET).message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "layer {\n\n convolution_parm { } }",
            ":3: LayerParameter has no field 'convolution_parm'; did you mean 'convolution_param'?",
        ),
        (
            "layer { pooling_param {\n pool: MAXX } }",
            ":2: PoolingParameter.pool wants MAX or AVE or STOCHASTIC, not 'MAXX'; "
            "did you mean 'MAX'?",
        ),
        (
            "layer { include { phase: 'TRAIN' } }",
            ":1: NetStateRule.phase wants TRAIN or TEST, not 'TRAIN'; write it without quotes",
        ),
        ("layer { phase: 3 }", ":1: LayerParameter.phase wants TRAIN or TEST, not '3'"),
        (
            'layer { pooling_param { stride: "2" } }',
            ':1: PoolingParameter.stride wants a whole number from 0 to 4294967295, not "2"',
        ),
        (
            "layer { pooling_param { stride: -2 } }",
            ":1: PoolingParameter.stride wants a whole number from 0 to 4294967295, not '-2'",
        ),
        (
            "layer { pooling_param { stride: 4294967296 } }",
            ":1: PoolingParameter.stride wants a whole number from 0 to 4294967295, "
            "not '4294967296'",
        ),
        ("layer { name: conv }", ":1: LayerParameter.name wants text in quotes, not 'conv'"),
        (
            "layer { relu_param { negative_slope: x } }",
            ":1: ReLUParameter.negative_slope wants a number, not 'x'",
        ),
        (
            "force_backward: yes layer { }",
            ":1: NetParameter.force_backward wants true or false, not 'yes'",
        ),
        (
            'layer {\n name: "conv }\n',
            ":2: LayerParameter.name wants text in quotes, not a string without its closing quote",
        ),
        (
            'name: "n"\nlayer {\n name: "a"\nlayer { }\n',
            ":4: LayerParameter has no field 'layer'; is the block of line 2 never closed?",
        ),
        ("\n\nlayer {\n", ":3: the block of 'layer' is never closed"),
        ("layer {\n}\n}", ":3: '}' closes a block that was never opened"),
        ("layer { name }", ":1: a ':' and a value should follow 'name'"),
        ("layer { name { } }", ":1: 'name' takes text in quotes, not a block"),
        ("layer: 3", ":1: a block { ... } should follow 'layer', not '3'"),
        (
            "layer { top: ['a' 'b'\n: 'c'] }",
            ":2: ',' or ']' should stand in the list of 'top', not ':'",
        ),
        (
            "layer { top: ['a', ",
            ":1: LayerParameter.top wants text in quotes, not the end of the file",
        ),
        (
            "layer { name: 'a'\n name: 'b' }",
            ":2: 'name' is given twice in one LayerParameter, first on line 1",
        ),
        (
            "layer {\n name: 'C:\\Users\\\\x' }",
            ":2: '\\U' means nothing in a string; a backslash is written '\\\\'",
        ),
        ("layer { = }", ":1: a field name should stand here, not '='"),
        (
            "layer {\n num_output: 3 }",
            ":2: LayerParameter has no field 'num_output'; it is one of convolution_param, "
            "inner_product_param, embed_param and others",
        ),
        (
            "base_lr: 0.1",
            ":1: NetParameter has no field 'base_lr', but SolverParameter has; "
            "is this the right file?",
        ),
        (
            'layer { name: "\\xff" }',
            ":1: Couldn't parse string: 'utf-8' codec can't decode byte 0xff ",
        ),
        ("name: 'n'", ": there is no layer in this net file"),
        ("# nothing\n", ": there is no layer in this net file"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    assert error_of(text).startswith("net.prototxt" + message)


def test_long_tokens_are_cut() -> None:
    for text in ("layer { %s: 1 }", "layer { phase: %s }", "layer { name: '%s }"):
        assert len(error_of(text % ("x" * 10_000))) < 200


def test_solver_mistakes() -> None:
    for text, message in [
        (
            "lr_polcy: 'x'",
            "s:1: SolverParameter has no field 'lr_polcy'; did you mean 'lr_policy'?",
        ),
        (
            "\nlayer { }",
            "s:2: SolverParameter has no field 'layer', but NetParameter has; "
            "is this the right file?",
        ),
        ("", "s: the solver file is empty"),
        (
            "type: 'SGD'\nsolver_type: ADAM",
            "s:2: `type` and the old `solver_type` exclude each other; keep `type`",
        ),
    ]:
        with pytest.raises(PrototxtError) as caught:
            parse_solver(text, "s")
        assert str(caught.value) == message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing, binary, latin, large = (tmp_path / name for name in "abcd")
    binary.write_bytes(b"\0\1\2")
    latin.write_bytes(b"name: 'n'\nname: '\xe9'")
    large.write_bytes(b"#" * (9 << 20))
    for path, message in [
        (missing, "no such file"),
        (tmp_path, "this is a folder; a net file is wanted"),
        (binary, "a binary file; a net file (.prototxt) is wanted"),
        (large, "larger than any net file (8 MB)"),
        (Path("a\0b"), "cannot be read: embedded null byte"),
    ]:
        with pytest.raises(PrototxtError) as caught:
            read_net(path)
        assert str(caught.value) == f"{path}: {message}"
    with pytest.raises(PrototxtError, match=":2: not a text in UTF-8; a solver file"):
        read_solver(latin)


def test_nets_inside_a_solver() -> None:
    solver = parse_solver(
        "train_net_param { layer { name: 'a' } }\n"
        "test_net_param { layers { name: 'b'\n type: RELU } }\n"
        "test_net_param {\n input: 'x' input_dim: [1, 2, 3, 4]\n layer { name: 'c' } }",
        "s",
    )
    assert solver.net("train_net_param").layers[0].where() == "s:1"
    assert solver.net("test_net_param").layers[0].where("type") == "s:3"
    last = solver.net("test_net_param[1]")
    assert [source.where() for source in last.layers] == ["s:5", "s:6"]
    assert last.layers[1].label() == "s:6: layer 'c' ()"


def test_with_layers_copies() -> None:
    net = parse_net("force_backward: true state { stage: 's' }" + NET, "n")
    other = net.with_layers([net.layers[1]])
    assert other.message.force_backward
    assert other.message.state == net.message.state
    assert other.layers[0].where() == "n:22"
    other.layers[0].param.name = "changed"
    assert other.message.layer[0].name == "changed"
    assert net.message.layer[1].name == "abc"


class Convolution:
    type = "Convolution"
    param_field = "convolution_param"
    remark = ""
    supported = frozenset({"num_output", "transform_param.mirror"})
    hints = frozenset({"engine"})


def notes_of(fields: str, layer_class: Any = Convolution) -> list[str]:
    net = parse_net(f"layer {{ name: 'c' type: 'Convolution'\n {fields} }}", "n")
    return check_layer_fields(net.layers[0], layer_class)


def test_layer_fields_that_are_fine() -> None:
    assert notes_of("bottom: 'x' param { lr_mult: 2 } include { phase: TEST }") == []
    assert notes_of("convolution_param { num_output: 3 axis: 1 engine: DEFAULT }") == []
    assert notes_of("transform_param { mirror: true scale: 1 }") == []


def test_layer_fields_that_change_nothing_get_a_note() -> None:
    assert notes_of("pooling_param { }") == [
        "n:2: layer 'c' (Convolution): pooling_param is not read by this type of layer"
    ]
    (note,) = notes_of("convolution_param {\n engine: CUDNN }")
    assert note.startswith("n:3: layer 'c' (Convolution): convolution_param.engine chooses among")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            "convolution_param { num_output: 1\n axis: 2 }",
            "n:3: layer 'c' (Convolution): convolution_param.axis is not supported",
        ),
        (
            "transform_param { scale: 2 }",
            "n:2: layer 'c' (Convolution): transform_param.scale is not supported",
        ),
        (
            "convolution_param { dilation: 2 }",
            "n:2: layer 'c' (Convolution): convolution_param.dilation is not supported",
        ),
        (
            "blobs { }",
            "n:2: layer 'c' (Convolution): weights are read from .caffemodel files only",
        ),
    ],
)
def test_layer_fields_that_are_refused(fields: str, message: str) -> None:
    with pytest.raises(PrototxtError) as caught:
        notes_of(fields)
    assert str(caught.value) == message


def test_transformation_in_the_wrong_message_is_refused() -> None:
    class Data:
        type = "Data"
        param_field = "data_param"
        remark = ""
        supported = frozenset({"source", "transform_param.mirror"})
        hints: frozenset[str] = frozenset()

    with pytest.raises(
        PrototxtError, match=r"n:2: .*data_param.mirror is not read.*transform_param"
    ):
        notes_of("data_param { mirror: true }", Data)


def test_check_supported_on_a_solver() -> None:
    solver = parse_solver("net: 'x'\nsnapshot_diff: false\ntest_compute_loss: true", "s")
    with pytest.raises(PrototxtError) as caught:
        check_supported(solver.message, {"net"}, solver.where)
    assert str(caught.value) == "s:3: SolverParameter.test_compute_loss is not supported"
    check_supported(solver.message, {"net", "test_compute_loss"}, solver.where)


def test_golden_files_are_read(golden_dir: Path) -> None:
    nets = [p for p in golden_dir.rglob("*.prototxt") if not p.name.startswith("solver_")]
    solvers = list(golden_dir.rglob("solver_*.prototxt"))
    assert len(nets) > 20
    assert len(solvers) == 6
    for path in nets:
        wanted = pb.NetParameter()
        text_format.Parse(path.read_text(), wanted)
        net = read_net(path)
        assert net.message.layer[-1] == wanted.layer[-1]
        lines = path.read_text().splitlines()
        for source in net.layers:
            line = int(source.where("name").rpartition(":")[2])
            assert f'name:"{source.param.name}"' in lines[line - 1]
    for path in solvers:
        assert read_solver(path).message.base_lr == pytest.approx(0.02)


# Strings with all that a tokenizer may take for something else.
texts = st.text(st.sampled_from("ab{}<>[]:;,#'\"\\\n\t é"), max_size=8)
fillers = st.builds(
    pb.FillerParameter,
    type=texts,
    std=st.floats(width=32, allow_nan=False),
    sparse=st.integers(0, 9),
)
layers = st.builds(
    pb.LayerParameter,
    name=texts,
    type=texts,
    bottom=st.lists(texts, max_size=3),
    phase=st.sampled_from([pb.TRAIN, pb.TEST]),
    propagate_down=st.lists(st.booleans(), max_size=2),
    convolution_param=st.builds(
        pb.ConvolutionParameter,
        num_output=st.integers(0, 2**32 - 1),
        kernel_size=st.lists(st.integers(0, 99), max_size=3),
        weight_filler=fillers,
        axis=st.integers(-(2**31), 2**31 - 1),
    ),
)


@given(st.lists(layers, min_size=1, max_size=4), texts, st.booleans(), st.booleans())
def test_written_nets_read_back(
    content: list[pb.LayerParameter], name: str, one_line: bool, pointed: bool
) -> None:
    wanted = pb.NetParameter(name=name, layer=content)
    text = text_format.MessageToString(
        wanted, as_one_line=one_line, pointy_brackets=pointed, use_short_repeated_primitives=pointed
    )
    net = parse_net(text, "n")
    assert net.message == wanted
    starts = [index for index, line in enumerate(text.split("\n"), 1) if line.startswith("layer ")]
    if not one_line:
        assert [source.where() for source in net.layers] == [f"n:{line}" for line in starts]


@settings(max_examples=300)
@given(st.data())
def test_damaged_nets_give_one_line(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(NET)))
    end = data.draw(st.integers(at, min(len(NET), at + 6)))
    text = (
        NET[:at]
        + data.draw(st.text(st.sampled_from("{}[]<>:;,#'\"\\0a-._ \n"), max_size=4))
        + NET[end:]
    )
    try:
        parse_net(text, "n")
    except PrototxtError as error:
        message = str(error)
    else:
        return
    assert "\n" not in message
    assert message.startswith("n:")


def test_nothing_that_text_format_takes_is_refused() -> None:
    for text in (
        "layer { lrn_param { alpha: 1e-4 beta: .75 k: 2.f } }",
        "layer { lrn_param { alpha: inf beta: -nan k: 1e400 } }",
        "layer { pooling_param { kernel_size: 0x10 stride: 010 } }",
        "layer { pooling_param { pool: 1 global_pooling: True } phase: 1 }",
        "force_backward: t debug_info: 0 layer <> ; layer { } , layer { },",
        "layer { top: [] bottom: [ 'a' \"b\", 'c' ] }",
        "layer: [ { name: 'a' }, < name: 'b' > ]",
    ):
        wanted = pb.NetParameter()
        text_format.Parse(text, wanted)
        assert str(parse_net(text).message) == str(wanted)


def test_time_is_linear() -> None:
    block = 'layer { name: "c" type: "Convolution"\n convolution_param {\n num_output: 1\n } }\n'
    # Of this process alone, for others may want the CPU too.
    begin = time.process_time()
    net = parse_net(block * 3000)
    took = time.process_time() - begin
    assert len(net.layers) == 3000
    assert took < 2, f"{took:.1f} s for 12,000 lines"


@pytest.mark.parametrize(
    "text", ['"' * 200_000, '\\"' * 200_000, "{" * 200_000, "layer " * 200_000]
)
def test_senseless_text_is_refused_at_once(text: str) -> None:
    begin = time.perf_counter()
    with pytest.raises(PrototxtError):
        locate(text, pb.NetParameter, "n", pb.SolverParameter)
    assert time.perf_counter() - begin < 5
