"""--train-data and --test-data: the right type for the path, and what is kept of the layer."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_testing import our_record, write_list, write_lmdb
from google.protobuf import text_format

from drml.data.options import wanted_mean
from drml.data.override import with_sources, with_sources_in_file
from drml.errors import DataError, UsageError
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net

NET = """
layer {
  name: "data" type: "MultilabelImageData" top: "data" top: "label"
  include { phase: TRAIN stage: "x" }
  transform_param { mirror: true crop_size: 8 mean_value: 4 mean_value: 5 mean_value: 6 }
  image_data_param {
    source: "old" root_folder: "old" batch_size: 128 shuffle: true multilabel_num: 3
    zero_is_negative: true
  }
}
layer {
  name: "data" type: "Data" top: "data" top: "label"
  include { phase: TEST }
  transform_param { crop_size: 8 }
  data_param { source: "old" batch_size: 64 backend: LMDB prefetch: 9 }
}
layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }
"""


def net(text: str = NET) -> pb.NetParameter:
    return text_format.Parse(text, pb.NetParameter())


def layer(text: str) -> pb.LayerParameter:
    return text_format.Parse(text, pb.LayerParameter())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_list(tmp_path)
    write_lmdb(tmp_path / "db", [our_record(number) for number in range(3)])
    (tmp_path / "files.txt").write_text("a.h5\n")
    return tmp_path


def test_list_for_list(data: Path) -> None:
    result = with_sources(net(), pb.TRAIN, data / "list.txt", batch_size=5)
    assert result.layer[0] == layer(f"""
        name: "data" type: "MultilabelImageData" top: "data" top: "label"
        include {{ phase: TRAIN stage: "x" }}
        transform_param {{ mirror: true crop_size: 8 mean_value: 4 mean_value: 5 mean_value: 6 }}
        image_data_param {{
          source: "{data}/list.txt" batch_size: 5 shuffle: true multilabel_num: 3
        }}""")
    assert list(result.layer[1:]) == list(net().layer[1:])


def test_data_base_for_list(data: Path) -> None:
    result = with_sources(net(), pb.TRAIN, data / "db", mean_file="m", zero_is_negative=True)
    assert result.layer[0] == layer(f"""
        name: "data" type: "Data" top: "data" top: "label"
        include {{ phase: TRAIN stage: "x" }}
        transform_param {{ mirror: true crop_size: 8 mean_file: "m" }}
        data_param {{
          source: "{data}/db" batch_size: 128 backend: LMDB zero_is_negative: true
        }}""")


def test_list_for_data_base(data: Path) -> None:
    result = with_sources(net(), pb.TEST, str(data / "list.txt"))
    assert result.layer[1] == layer(f"""
        name: "data" type: "MultilabelImageData" top: "data" top: "label"
        include {{ phase: TEST }}
        transform_param {{ crop_size: 8 }}
        image_data_param {{ source: "{data}/list.txt" batch_size: 64 shuffle: false }}
        data_param {{ prefetch: 9 }}""")


def test_hdf5(data: Path) -> None:
    text = """layer {
        name: "d" type: "HDF5Data" top: "data" include { phase: TRAIN }
        hdf5_data_param { source: "old" batch_size: 3 } }"""
    result = with_sources(net(text), pb.TRAIN, data / "files.txt")
    assert result.layer[0] == layer(f"""
        name: "d" type: "HDF5Data" top: "data" include {{ phase: TRAIN }}
        hdf5_data_param {{ source: "{data}/files.txt" batch_size: 3 shuffle: true }}""")
    with pytest.raises(UsageError, match="layer 'data' transforms its images, which HDF5"):
        with_sources(net(), pb.TRAIN, data / "files.txt")
    with pytest.raises(UsageError, match="so a mean has no use"):
        with_sources(net(text), pb.TRAIN, data / "files.txt", mean_file="m")


@pytest.mark.parametrize(
    ("rules", "train", "test"),
    [
        ("", "include { phase: TRAIN }", "include { phase: TEST }"),
        (
            'include { stage: "x" }',
            'include { phase: TRAIN stage: "x" }',
            'include { phase: TEST stage: "x" }',
        ),
        (
            'include { phase: TRAIN } include { phase: TEST stage: "x" }',
            "include { phase: TRAIN }",
            'include { phase: TEST stage: "x" }',
        ),
        (
            'exclude { stage: "x" }',
            'exclude { stage: "x" } exclude { phase: TEST }',
            'exclude { stage: "x" } exclude { phase: TRAIN }',
        ),
    ],
)
def test_layer_of_both_phases_becomes_two(data: Path, rules: str, train: str, test: str) -> None:
    text = f"""layer {{ name: "d" type: "Data" top: "data" {rules}
        data_param {{ source: "old" batch_size: 3 backend: LMDB }} }} layer {{ name: "end" }}"""
    result = with_sources(net(text), pb.TRAIN, data / "db")
    kept, new, end = result.layer
    assert kept == layer(f"""name: "d" type: "Data" top: "data" {test}
        data_param {{ source: "old" batch_size: 3 backend: LMDB }}""")
    assert new == layer(f"""name: "d" type: "Data" top: "data" {train}
        data_param {{ source: "{data}/db" batch_size: 3 backend: LMDB }}""")
    assert end.name == "end"


def test_excluded_from_the_other_phase_stays_one(data: Path) -> None:
    text = (
        """layer { name: "d" type: "Data" exclude { phase: TEST } data_param { batch_size: 3 } }"""
    )
    assert len(with_sources(net(text), pb.TRAIN, data / "db").layer) == 1
    with pytest.raises(UsageError, match="no data layer in phase TEST"):
        with_sources(net(text), pb.TEST, data / "db")


def test_gray(data: Path) -> None:
    text = """layer { name: "d" type: "Data" include { phase: TEST } data_param { batch_size: 3 }
        transform_param { force_gray: true } }"""
    listed = with_sources(net(text), pb.TEST, data / "list.txt")
    assert not listed.layer[0].image_data_param.is_color
    assert not listed.layer[0].transform_param.force_gray
    stored = with_sources(listed, pb.TEST, data / "db")
    assert stored.layer[0].transform_param.force_gray


def test_resizing_stays(data: Path) -> None:
    text = """layer { name: "d" type: "MultilabelImageData" include { phase: TEST }
        image_data_param { batch_size: 3 new_height: 20 new_width: 30 } }"""
    stored = with_sources(net(text), pb.TEST, data / "db")
    assert stored.layer[0].data_param.new_height == 20
    assert stored.layer[0].data_param.new_width == 30
    listed = with_sources(stored, pb.TEST, data / "list.txt")
    assert listed.layer[0].image_data_param.new_height == 20
    assert listed.layer[0].image_data_param.new_width == 30


def test_data_base_for_data_base(data: Path) -> None:
    text = """layer { name: "d" type: "Data" include { phase: TEST } data_param {
        batch_size: 3 source: "old" keys: "old" shuffle: true balance: true new_height: 9 } }"""
    result = with_sources(net(text), pb.TEST, data / "db")
    assert result.layer[0].data_param == pb.DataParameter(
        source=str(data / "db"),
        backend=pb.DataParameter.LMDB,
        batch_size=3,
        shuffle=True,
        balance=True,
        new_height=9,
    )


def test_not_one_data_layer(data: Path) -> None:
    with pytest.raises(UsageError, match="no data layer in phase TRAIN"):
        with_sources(net('layer { name: "x" type: "Input" }'), pb.TRAIN, data / "db")
    two = 'layer { name: "a" type: "Data" } layer { name: "b" type: "HDF5Data" }'
    with pytest.raises(UsageError, match=r"2 data layers in phase TRAIN \('a', 'b'\), not one"):
        with_sources(net(two), pb.TRAIN, data / "db")
    with pytest.raises(DataError, match="No such file"):
        with_sources(net(), pb.TRAIN, data / "nowhere")


def test_net_file_keeps_its_lines(data: Path) -> None:
    file = parse_net(NET, "net.prototxt")
    result = with_sources_in_file(file, pb.TRAIN, data / "db")
    assert list(result.message.layer) == list(
        with_sources(file.message, pb.TRAIN, data / "db").layer
    )
    assert result.layers[0].where() == file.layers[0].where() == "net.prototxt:2"
    assert file.message.layer[0].type == "MultilabelImageData"


@pytest.mark.parametrize(
    ("param", "size"),
    [
        ('type: "Data" data_param { source: "x" }', None),
        ('type: "Data" data_param { new_height: 20 new_width: 30 }', (20, 30)),
        ('type: "MultilabelImageData" image_data_param { new_height: 2 new_width: 3 }', (2, 3)),
    ],
)
def test_mean_that_a_net_wants(param: str, size: tuple[int, int] | None) -> None:
    text = f'layer {{ name: "d" top: "d" {param} transform_param {{ mean_file: "m" }} }}'
    wish = wanted_mean(parse_net(text, "net.prototxt"))
    assert wish is not None
    assert wish.size == size
    without = text.replace('mean_file: "m"', "mean_value: 1")
    assert wanted_mean(parse_net(without, "net.prototxt")) is None
