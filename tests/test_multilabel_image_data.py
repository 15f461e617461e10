"""MultilabelImageData: what it reads, the same stream for any threads, resume, and bad lists."""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_testing import (
    DataRunner,
    assert_same_stream,
    jpg,
    labels_of,
    picture,
    png,
    thread_names,
    write_list,
)
from google.protobuf import text_format

from drml.data.image_list import read_list
from drml.errors import DataError, NetError
from drml.layers import find
from drml.proto import caffe_pb2 as pb


def layer_text(path: Path | str, options: str = "", more: str = "", batch: int = 3) -> str:
    return (
        f'type: "MultilabelImageData" image_data_param {{ source: "{path}" batch_size: {batch} '
        f"{options} }} {more}"
    )


def test_reads_pictures_and_labels_in_order(tmp_path: Path) -> None:
    with DataRunner(layer_text(write_list(tmp_path))) as run:
        assert run.shapes() == [(3, 3, 12, 10), (3, 3)]
        number = 0
        for data, label in run.stream(5):
            for row in range(3):
                np.testing.assert_array_equal(data[row], picture(number % 7).transpose(2, 0, 1))
                np.testing.assert_array_equal(label[row], labels_of(number % 7))
                number += 1


def test_data_alone_without_labels(tmp_path: Path) -> None:
    with DataRunner('top: "data" ' + layer_text(write_list(tmp_path))) as run:
        assert run.shapes() == [(3, 3, 12, 10)]
        assert len(run.forward()) == 1


def test_gray_and_resized(tmp_path: Path) -> None:
    text = layer_text(write_list(tmp_path), "is_color: false new_height: 6 new_width: 20")
    with DataRunner(text) as run:
        assert run.shapes()[0] == (3, 1, 6, 20)
        gray = cv2.imdecode(np.frombuffer(png(picture(1)), np.uint8), cv2.IMREAD_GRAYSCALE)
        wanted = cv2.resize(gray, (20, 6))
        np.testing.assert_array_equal(run.forward()[0][1, 0], wanted)


AUGMENTED = "transform_param { mirror: true crop_size: 8 scale: 0.5 mean_value: 3 }"


@pytest.mark.parametrize("threads", [2, 8])
def test_stream_does_not_depend_on_threads(tmp_path: Path, threads: int) -> None:
    text = layer_text(write_list(tmp_path), "shuffle: true rand_skip: 5", AUGMENTED)
    with DataRunner(text, threads=1) as one, DataRunner(text, threads=threads) as many:
        assert_same_stream(many.stream(9), one.stream(9))


def test_stream_depends_on_the_seed(tmp_path: Path) -> None:
    text = layer_text(write_list(tmp_path), "shuffle: true", AUGMENTED)
    with DataRunner(text) as one, DataRunner(text, seed=2) as other:
        assert any(
            (a[0] != b[0]).any() for a, b in zip(one.stream(3), other.stream(3), strict=True)
        )


def test_position_resumes_exactly(tmp_path: Path) -> None:
    text = layer_text(write_list(tmp_path), "shuffle: true", AUGMENTED)
    with DataRunner(text) as whole, DataRunner(text) as resumed:
        wanted = whole.stream(8)
        assert whole.layer.position == 8
        resumed.stream(1)
        resumed.layer.position = 5
        assert_same_stream(resumed.stream(3), wanted[5:])
        resumed.layer.position = 0
        assert_same_stream(resumed.stream(8), wanted)


def test_each_epoch_shows_every_picture_once(tmp_path: Path) -> None:
    text = layer_text(write_list(tmp_path, labels=1), "shuffle: true", batch=7)
    with DataRunner(text) as run:
        batches = [data for data, _ in run.stream(2)]
    sums = [sorted(float(image.sum()) for image in data) for data in batches]
    assert sums[0] == sums[1] == sorted(float(picture(n).sum()) for n in range(7))
    assert (batches[0] != batches[1]).any()


def test_mean_file_and_crop(tmp_path: Path) -> None:
    from drml.weights import write_mean

    mean = np.random.default_rng(0).uniform(0, 255, (3, 12, 10)).astype(np.float32)
    write_mean(tmp_path / "mean.binaryproto", mean)
    more = f'transform_param {{ crop_size: 6 mean_file: "{tmp_path}/mean.binaryproto" }}'
    with DataRunner(layer_text(write_list(tmp_path), more=more), phase=pb.TEST) as run:
        wanted = (picture(0).transpose(2, 0, 1) - mean)[:, 3:9, 2:8]
        np.testing.assert_allclose(run.forward()[0][0], wanted, rtol=1e-6)


def test_images_of_many_sizes_with_a_crop(tmp_path: Path) -> None:
    path = write_list(tmp_path)
    (tmp_path / "1.png").write_bytes(png(picture(1, 20, 30)))
    with DataRunner(layer_text(path, more="transform_param { crop_size: 6 }")) as run:
        assert run.forward()[0].shape == (3, 3, 6, 6)


def test_images_of_many_sizes_one_by_one(tmp_path: Path) -> None:
    path = write_list(tmp_path)
    (tmp_path / "1.png").write_bytes(png(picture(1, 20, 30)))
    with DataRunner(layer_text(path, batch=1)) as run:
        shapes = [data.shape for data, _ in run.stream(3)]
    assert shapes == [(1, 3, 12, 10), (1, 3, 20, 30), (1, 3, 12, 10)]


def test_zero_is_negative(tmp_path: Path) -> None:
    path = write_list(tmp_path)
    path.write_text("0.png 0 1 1\n1.png 1 0 0\n2.png 0 0 1\n")
    with DataRunner(layer_text(path, "zero_is_negative: true")) as run:
        np.testing.assert_array_equal(run.forward()[1], [[-1, 1, 1], [1, -1, -1], [-1, -1, 1]])


@pytest.mark.parametrize(
    ("folder", "root", "name"),
    [
        ("images", "images/", "0.png"),
        ("images", "images", "0.png"),
        ("images", "", "images/0.png"),
        ("images", "/images", "/0.png"),
    ],
)
def test_paths(tmp_path: Path, folder: str, root: str, name: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "0.png").write_bytes(png(picture(0)))
    path = tmp_path / "list.txt"
    path.write_text(f"{name} -1 1\n")
    options = f'root_folder: "{tmp_path}/{root}"' if root else ""
    with DataRunner(layer_text(path, options, batch=1)) as run:
        np.testing.assert_array_equal(run.forward()[0][0], picture(0).transpose(2, 0, 1))


def test_source_and_root_beside_the_net_file(tmp_path: Path) -> None:
    net = tmp_path / "net"
    net.mkdir()
    write_list(net)
    with DataRunner(layer_text("list.txt"), folder=net) as run:
        assert run.shapes()[1] == (3, 3)


def test_spaces_tabs_blank_lines_and_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a face.png").write_bytes(png(picture(0)))
    (tmp_path / "b.png").write_bytes(png(picture(1)))
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf\r\na face.png\t-1 1.0\r\n\r\n  b.png  +1 0 \r\n")
    images = read_list(path)
    assert images.names == ["a face.png", "b.png"]
    assert images.lines == [2, 4]
    assert images.labels.tolist() == [[-1, 1], [1, 0]]


def test_path_that_is_not_utf8(tmp_path: Path) -> None:
    name = b"g\xe9n\xe9.png"
    with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
        file.write(png(picture(0)))
    path = tmp_path / "list.txt"
    path.write_bytes(name + b" 1 -1\n")
    np.testing.assert_array_equal(read_list(path).read(0).pixels, picture(0))


BAD_LISTS = {
    "": "list.txt: the list is empty",
    "\n \n": "list.txt: the list is empty",
    "0.png\n": "list.txt:1: no labels",
    "0.png 1 -1\nmissing.png 1 1\n": "list.txt:2: no image ",
    "missing.png 1 -1\n": "list.txt:1: no image missing.png or ",
    "0.png 1 -1\n1.png 1\n": "list.txt:2: 1 labels, but 2 are needed: '1.png 1'",
    "0.png 1 -1\n1.png\n": "list.txt:2: 0 labels, but 2 are needed",
    "0.png 1 -1\n1.png 1 -1 1\n": "list.txt:2: 3 labels, but 2 are needed",
    "0.png 1 -1\n1.png 1 x\n": "list.txt:2: label 2 is 'x', not a number",
    "0.png 1 -1\n\n1.png 2 1\n": "list.txt:3: label 1 is 2, but labels are -1 (absent)",
    "0.png 1 -1\n1.png 0.5 1\n": "list.txt:2: label 1 is 0.5, but labels are",
    "0.png 1 -1\n1.png nan 1\n": "list.txt:2: label 1 is nan, but labels are",
    "0.png 0 1\n1.png 1 0\n": "holds labels 0 and 1 but no -1; 0 means unknown here, so all "
    "negatives would be lost; if 0 means absent, set `zero_is_negative: true` "
    "(--zero-is-negative)",
    "0.png 0 0\n": "all labels are 0, which means unknown, so there is nothing to learn",
    "\0\1\2": "list.txt: is not a text file that lists images",
}


@pytest.mark.parametrize("text", BAD_LISTS)
def test_bad_lists(tmp_path: Path, text: str) -> None:
    write_list(tmp_path)
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        DataRunner(layer_text(path))
    message = str(error.value)
    assert BAD_LISTS[text] in message
    assert message.startswith("net.prototxt:7[image_data_param.source]: layer 'data' (Multilabel")
    assert "\n" not in message


def test_only_positives_is_fine_and_so_is_unknown_to_predict(tmp_path: Path) -> None:
    path = write_list(tmp_path)
    path.write_text("0.png 1 1\n1.png 1 1\n")
    with DataRunner(layer_text(path)) as run:
        assert run.forward()[1].min() == 1
    path.write_text("0.png 0 0\n1.png 0 0\n")
    with DataRunner(layer_text(path), phase=pb.TEST) as run:
        assert not run.forward()[1].any()


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        ("multilabel_num: 4", "", "list.txt:1: 3 labels, but 4 are needed"),
        ("multilabel_num: 2", "", "list.txt:1: 3 labels, but 2 are needed"),
        ("new_height: 4", "", "new_height and new_width must be given together"),
        ("batch_size: 0", "", "batch_size must be 1 or more"),
        (
            "",
            "transform_param { crop_size: 11 }",
            "0.png: crop_size 11 is larger than the image, 12x10",
        ),
        ("", 'transform_param { mean_file: "nowhere" }', "nowhere"),
        ("", "transform_param { mean_value: 1 mean_value: 2 }", "2 mean_values for 3 channels"),
    ],
)
def test_bad_options(tmp_path: Path, options: str, more: str, message: str) -> None:
    with pytest.raises((DataError, NetError)) as error:
        DataRunner(layer_text(write_list(tmp_path), options, more))
    assert message in str(error.value)
    assert str(error.value).startswith("net.prototxt:7")


def test_source_missing_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.txt: No such file"):
        DataRunner(layer_text(tmp_path / "nowhere.txt"))
    with pytest.raises(DataError, match="embedded null"):
        DataRunner(layer_text(r"null\000"))
    with pytest.raises(DataError, match="is a folder, not a list"):
        DataRunner(layer_text(tmp_path))
    with pytest.raises(NetError, match="source is missing"):
        DataRunner('type: "MultilabelImageData"')


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "list.txt:3: {}/2.png: the image is empty"),
        (half(png(picture(2))), "list.txt:3: {}/2.png: the image is cut short"),
        (half(jpg(picture(2, 60, 60))), "list.txt:3: {}/2.png: the image is cut short"),
        (b"GIF89a nothing", "list.txt:3: {}/2.png: the image cannot be decoded"),
        (
            png(picture(2, 9, 9)),
            "list.txt:3: {}/2.png: the image is 9x9x3, but the first of its batch",
        ),
        (None, "list.txt:3: {}/2.png: No such file or directory"),
    ],
)
def test_broken_images(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = write_list(tmp_path)
    with DataRunner(layer_text(path)) as run:
        if content is None:
            (tmp_path / "2.png").unlink()
        else:
            (tmp_path / "2.png").write_bytes(content)
        with pytest.raises(DataError) as error:
            run.forward()
        assert message.format(tmp_path) in str(error.value)
        # Mended, the same batch can be read: nothing was lost by the error.
        (tmp_path / "2.png").write_bytes(png(picture(2)))
        data, _ = run.forward()
        np.testing.assert_array_equal(data[2], picture(2).transpose(2, 0, 1))


def test_no_thread_is_left(tmp_path: Path) -> None:
    with DataRunner(layer_text(write_list(tmp_path))) as run:
        run.forward()
        assert any(name.startswith("data") for name in thread_names())
    assert not any(name.startswith("data") for name in thread_names())


def stated(text: str) -> list[tuple[int, ...]] | None:
    layer_class = find("MultilabelImageData")
    assert layer_class is not None
    return layer_class.stated_shapes(text_format.Parse(text, pb.LayerParameter()))


def test_stated_shapes_open_nothing() -> None:
    both = 'top: "data" top: "label" image_data_param { source: "nowhere" batch_size: 8 '
    crop = "transform_param { crop_size: 17 }"
    assert stated(f"{both} multilabel_num: 12 }} {crop}") == [(8, 3, 17, 17), (8, 12)]
    assert stated(f"{both} multilabel_num: 2 is_color: false new_height: 4 new_width: 5 }}") == [
        (8, 1, 4, 5),
        (8, 2),
    ]
    assert stated(f"{both} }} {crop}") is None
    assert stated(f"{both} multilabel_num: 12 }}") is None
    assert stated('top: "data" image_data_param { batch_size: 2 } ' + crop) == [(2, 3, 17, 17)]


def test_long_list_opens_fast(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(png(picture(0)))
    path = tmp_path / "list.txt"
    path.write_text("0.png -1 0 1 -1 0 1 -1 0 1 -1 0 1\n" * 50_000)
    start = time.perf_counter()
    assert len(read_list(path)) == 50_000
    assert time.perf_counter() - start < 5
