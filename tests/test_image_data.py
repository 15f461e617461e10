"""ImageData: Caffe's list of images and class numbers, transformed; shuffle, resume, bad lists."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from data_testing import DataRunner, assert_same_stream, picture, png
from google.protobuf import text_format
from layer_testing import DEVICE

from drml.errors import DataError, NetError
from drml.layers import find
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import parse_net


def class_of(number: int) -> int:
    return 300 * number - 3


def write_list(folder: Path, count: int = 7, name: str = "list.txt") -> Path:
    """A list of `count` pictures beside it, with class_of(i)."""
    for number in range(count):
        (folder / f"{number}.png").write_bytes(png(picture(number)))
    path = folder / name
    path.write_text("".join(f"{number}.png {class_of(number)}\n" for number in range(count)))
    return path


def layer_text(path: Path | str, options: str = "", more: str = "", batch: int = 3) -> str:
    return (
        f'type: "ImageData" image_data_param {{ source: "{path}" batch_size: {batch} {options} }} '
        f"{more}"
    )


def test_pictures_and_classes_in_order(tmp_path: Path) -> None:
    with DataRunner(layer_text(write_list(tmp_path))) as run:
        assert run.shapes() == [(3, 3, 12, 10), (3,)]
        number = 0
        for data, label in run.stream(5):
            for row in range(3):
                np.testing.assert_array_equal(data[row], picture(number % 7).transpose(2, 0, 1))
                assert label[row] == class_of(number % 7)
                number += 1


def test_transformed_gray_and_resized(tmp_path: Path) -> None:
    options = "is_color: false new_height: 6 new_width: 20"
    more = "transform_param { scale: 0.5 mean_value: 7 crop_size: 4 }"
    text = layer_text(write_list(tmp_path), options, more)
    with DataRunner(text, phase=pb.TEST) as run:
        assert run.shapes()[0] == (3, 1, 4, 4)
        gray = cv2.imdecode(np.frombuffer(png(picture(1)), np.uint8), cv2.IMREAD_GRAYSCALE)
        wanted = 0.5 * (cv2.resize(gray, (20, 6))[1:5, 8:12] - 7.0)
        np.testing.assert_array_equal(run.forward()[0][1, 0], wanted)


def test_shuffled_stream_resumes_and_shows_all(tmp_path: Path) -> None:
    text = layer_text(
        write_list(tmp_path), "shuffle: true rand_skip: 4", "transform_param { mirror: true }"
    )
    with DataRunner(text) as whole, DataRunner(text, threads=5) as resumed:
        wanted = whole.stream(14)
        resumed.layer.position = 5
        assert_same_stream(resumed.stream(9), wanted[5:])
    labels = np.concatenate([label for _, label in wanted]).tolist()
    assert labels != [class_of(number % 7) for number in range(42)]
    with DataRunner(layer_text(tmp_path / "list.txt", "shuffle: true", batch=7)) as run:
        for _, label in run.stream(2):
            assert sorted(label) == [class_of(number) for number in range(7)]


def test_rand_skip_moves_the_start(tmp_path: Path) -> None:
    starts = set()
    for seed in range(8):
        with DataRunner(layer_text(write_list(tmp_path), "rand_skip: 5"), seed=seed) as run:
            label = run.forward()[1].tolist()
        start = [class_of(number) for number in range(7)].index(label[0])
        assert label == [class_of((start + row) % 7) for row in range(3)]
        starts.add(start)
    assert len(starts) > 1
    assert starts <= set(range(5))


def test_root_folder_and_paths_with_spaces(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "c d.png").write_bytes(png(picture(4)))
    (tmp_path / "list.txt").write_text("\n/c d.png   4\r\n")
    text = layer_text(tmp_path / "list.txt", f'root_folder: "{tmp_path}/a b"', batch=1)
    with DataRunner(text) as run:
        data, label = run.forward()
    np.testing.assert_array_equal(data[0], picture(4).transpose(2, 0, 1))
    assert label == [4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.png\n", r"list\.txt:1: no label; a line is `path label`: '0\.png'"),
        ("0.png 1\n1.png x\n", r"list\.txt:2: label 'x' is no whole number"),
        ("0.png 1.5\n", r"list\.txt:1: label '1\.5' is no whole number"),
        ("0.png 123456789\n", r"list\.txt:1: label '123456789' is no whole number of seven"),
        ("0.png 1\n\nno.png 2\n", r"list\.txt:3: no image .*no\.png"),
        ("\n", "the list is empty"),
    ],
)
def test_bad_lists(tmp_path: Path, text: str, message: str) -> None:
    write_list(tmp_path)
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        DataRunner(layer_text(tmp_path / "list.txt"))
    where = "net.prototxt:7[image_data_param.source]: layer 'data' (ImageData): "
    assert str(caught.value).startswith(where)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        ("new_height: 3", "", "new_height and new_width must be given together"),
        ("", "transform_param { crop_size: 13 }", "crop_size 13 is larger than the image, 12x10"),
        ("batch_size: 0", "", "batch_size must be 1 or more"),
    ],
)
def test_bad_options(tmp_path: Path, options: str, more: str, message: str) -> None:
    with pytest.raises((DataError, NetError), match=message):
        DataRunner(layer_text(write_list(tmp_path), options, more))


def test_in_a_net(tmp_path: Path) -> None:
    text = f"""layer {{ name: "d" top: "data" top: "label" {layer_text(write_list(tmp_path))} }}
      layer {{ name: "s" type: "Slice" bottom: "label" top: "a" top: "b"
        slice_param {{ axis: 0 slice_point: 1 }} }}"""
    with Net(parse_net(text, "net.prototxt"), device=DEVICE) as net:
        outputs = net.forward(["label"])
    assert outputs["label"].tolist() == [class_of(number) for number in range(3)]
    alone = text.partition("\n")[0].replace('top: "label" ', "")
    with pytest.raises(NetError, match="takes 2 tops, 1 are given"):
        Net(parse_net(alone, "net.prototxt"), device=DEVICE)


def test_stated_shapes_open_nothing() -> None:
    def stated(text: str) -> object:
        param = pb.LayerParameter(type="ImageData", top=["data", "label"])
        text_format.Merge(text, param)
        layer_class = find("ImageData")
        assert layer_class is not None
        return layer_class.stated_shapes(param)

    images = 'image_data_param { source: "nowhere" batch_size: 8 '
    assert stated(images + "}") is None
    assert stated(images + "} transform_param { crop_size: 5 }") == [(8, 3, 5, 5), (8,)]
    size = "new_height: 4 new_width: 6 is_color: false }"
    assert stated(images + size) == [(8, 1, 4, 6), (8,)]
