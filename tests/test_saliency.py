"""Saliency equals finite differences of the logit; its energy; the command."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_testing import DEPLOY, contents, enter_small, refused

from drml import _core
from drml.blob import Array
from drml.errors import NetError, UsageError
from drml.net import Net
from drml.networks import network
from drml.proto import caffe_pb2 as pb
from drml.run import main
from drml.saliency import LogitGradients, energy_share, grid, half, overlay

PIXELS = 20
STEPS = np.array((0.04, 0.02, 0.01, 0.005))
# Layers of the four networks, in a size at which finite differences are quick.
HEAD = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 26 dim: 26 } } }
"""


def _layer(kind: str, name: str, bottom: str, rest: str) -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" {rest} }}\n'


def _conv(name: str, bottom: str, size: int, extra: str = "", kind: str = "Convolution") -> str:
    filler = 'weight_filler { type: "gaussian" std: 0.15 }'
    return _layer(
        kind,
        name,
        bottom,
        f"convolution_param {{ num_output: 4 kernel_size: {size} {extra} {filler} }}",
    )


def _relu(name: str) -> str:
    return f'layer {{ name: "relu_{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'


POOL = "pooling_param { pool: MAX kernel_size: 2 stride: 2 }"
LRN = "lrn_param { local_size: 5 alpha: 0.1 beta: 0.75 }"
END = (
    _layer("InnerProduct", "fc8", "last", 'inner_product_param { num_output: 10 weight_filler { '
           'type: "gaussian" std: 0.2 } bias_filler { type: "constant" value: 0.1 } }')
    + _relu("fc8")
    + 'layer { name: "drop8" type: "Dropout" bottom: "fc8" top: "fc8" }\n'
    + _layer("InnerProduct", "output", "fc8", 'inner_product_param { num_output: 12 weight_filler '
             '{ type: "gaussian" std: 0.3 } }')
    + _layer("Sigmoid", "prob", "output", "")
)  # fmt: skip
REGION = _layer(
    "Region",
    "region2",
    "conv1",
    'region_param { grid_h: 2 grid_w: 2 weight_filler { type: "gaussian" std: 0.1 } }',
)


def _drml(first: str, blob: str, kind: str = "Convolution") -> str:
    return (
        _conv("conv1", "data", 5)
        + first
        + _relu(blob)
        + _layer("Pooling", "pool3", blob, POOL)
        + _layer("LRN", "norm3", "pool3", LRN)
        + _conv("conv4", "norm3", 4)
        + _relu("conv4")
        + _conv("last", "conv4", 3, "stride: 2", kind)
        + _relu("last")
        + END
    )


ALEXNET = (
    _conv("conv1", "data", 5, "stride: 2")
    + _relu("conv1")
    + _layer("Pooling", "pool1", "conv1", "pooling_param { pool: MAX kernel_size: 3 stride: 2 }")
    + _layer("LRN", "norm1", "pool1", LRN)
    + _conv("last", "norm1", 3, "pad: 1 group: 2")
    + _relu("last")
    + END
)
NETS = {
    "drml": _drml(REGION, "region2"),
    "convnet": _drml("", "conv1"),
    "lcn": _drml("", "conv1", "LocallyConnected"),
    "alexnet": ALEXNET,
}


def write_net(folder: Path, body: str) -> tuple[Path, Path]:
    """A deploy net with weights whose region statistics are not trivial."""
    path, weights = folder / "deploy.prototxt", folder / "w.caffemodel"
    path.write_text(HEAD + body)
    with Net(path, phase=pb.TEST, seed=2) as net:
        for blob, value in zip(net.params.get("region2", [])[2:], (0.1, 0.7, 0.9), strict=False):
            blob.data[...] = value
        net.save(weights)
    return path, weights


def images(count: int, seed: int = 0, size: int = 26) -> Array:
    return np.random.default_rng(seed).normal(size=(count, 3, size, size)).astype(np.float32)


def differences(net: LogitGradients, image: Array, column: int, at: tuple[int, int]) -> Array:
    """Slopes of a logit by the channels of a pixel, from differences of the logit alone.

    A ReLU or maximum that changes its mind within a step spoils its difference, so it is the median
    of those of several steps to both sides.
    """
    result = np.empty(3, np.float32)
    for channel in range(3):
        batch = np.repeat(image[np.newaxis], 1 + 2 * len(STEPS), axis=0)
        batch[(slice(1, None, 2), channel, *at)] += STEPS
        batch[(slice(2, None, 2), channel, *at)] -= STEPS
        logit = net.forward(batch)[:, column].astype(np.float64)
        right, left = (logit[1::2] - logit[0]) / STEPS, (logit[0] - logit[2::2]) / STEPS
        result[channel] = np.median(np.concatenate([right, left]))
    return result


@pytest.mark.parametrize("name", NETS)
def test_saliency_is_the_slope_of_the_logit(tmp_path: Path, name: str) -> None:
    _core.set_threads(1)
    random = np.random.default_rng(4)
    image = images(1)[0]
    with LogitGradients(*write_net(tmp_path, NETS[name])) as net:
        for column in (0, 11):
            saliency = net.maps(image[np.newaxis], [net.aus[column]])[0, 0]
            gradient = net.gradient(column)[0]
            wanted, found = [], []
            for y, x in random.integers(0, 26, (PIXELS, 2)).tolist():
                slopes = differences(net, image, column, (y, x))
                wanted.append(np.abs(slopes).max())
                found.append(saliency[y, x])
                np.testing.assert_allclose(
                    gradient[:, y, x], slopes, rtol=0.02, atol=2e-3 * saliency.max()
                )
            np.testing.assert_allclose(found, wanted, rtol=0.02, atol=2e-3 * saliency.max())
            assert saliency.max() > 0


def test_maps_of_a_batch_are_those_of_its_images(tmp_path: Path) -> None:
    batch = images(11)
    with LogitGradients(*write_net(tmp_path, NETS["drml"])) as net:
        maps = net.maps(batch)
        assert maps.shape == (11, 12, 26, 26)
        for index in (0, 7, 10):
            alone = net.maps(batch[index : index + 1], ["24", "1"])
            np.testing.assert_allclose(alone[0], maps[index, [11, 0]], rtol=1e-4, atol=1e-6)


def test_a_net_that_normalizes_by_its_batch_sees_one_image_at_a_time(tmp_path: Path) -> None:
    body = NETS["drml"].replace("grid_h: 2", "use_global_stats: false grid_h: 2")
    batch = images(3)
    with LogitGradients(*write_net(tmp_path, body)) as net:
        np.testing.assert_array_equal(net.maps(batch)[1:2], net.maps(batch[1:2]))


def test_gradient_of_the_logit_not_of_the_probability(tmp_path: Path) -> None:
    """With a sigmoid in place, and without any, the map is the same."""
    path, weights = write_net(tmp_path, NETS["convnet"])
    found = []
    for text in (
        path.read_text(),
        path.read_text().replace('bottom: "output" top: "prob"', 'bottom: "output" top: "output"'),
        path.read_text().replace(_layer("Sigmoid", "prob", "output", ""), ""),
    ):
        path.write_text(text)
        with LogitGradients(path, weights) as net:
            found.append((net.maps(images(2)), net.forward(images(2))))
    for maps, logits in found[1:]:
        np.testing.assert_array_equal(maps, found[0][0])
        np.testing.assert_array_equal(logits, found[0][1])
    assert found[0][1].min() < 0


def test_parameter_gradients_only_where_wanted(tmp_path: Path) -> None:
    path, weights = write_net(tmp_path, NETS["drml"])
    with LogitGradients(path, weights, learn=["region2"]) as net:
        net.maps(images(2), ["1"])
        assert np.abs(net.param_gradient("region2")).max() > 0
        assert not net.net.params["fc8"][0].has_grad
        assert not net.net.params["conv1"][0].has_grad


def test_gradient_of_region_weights_is_the_slope(tmp_path: Path) -> None:
    path, weights = write_net(tmp_path, NETS["drml"])
    image, step = images(1), 1e-3
    with LogitGradients(path, weights, learn=["region2"]) as net:
        net.maps(image, ["4"])
        gradient = net.param_gradient("region2")
        blob = net.net.params["region2"][0]
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        logits = []
        for sign in (1, -1):
            blob.data[place] += sign * step
            logits.append(float(net.forward(image)[0, 2]))
            blob.data[place] -= sign * step
        slope = (logits[0] - logits[1]) / (2 * step)
        assert slope == pytest.approx(float(gradient[place]), rel=0.02)


def test_drml_itself() -> None:
    """The deploy net that is shipped: 20 pixels, by the channel that counts."""
    _core.set_threads(1)
    random = np.random.default_rng(0)
    image = random.normal(0, 40, (3, 170, 170)).astype(np.float32)
    with LogitGradients(network("drml_deploy.prototxt")) as net:
        assert net.aus == ["1", "2", "4", "6", "7", "10", "12", "14", "15", "17", "23", "24"]
        for name in ("conv4", "conv5", "conv6", "conv7", "fc8", "fc9", "output"):
            net.net.params[name][0].data[...] *= 3
        for blob in net.net.params["region2"][2:]:
            blob.data[...] = 1
        saliency = net.maps(image[np.newaxis], ["12"])[0, 0]
        gradient = net.gradient(6)[0]
        slopes, wanted = [], []
        for y, x in random.integers(20, 150, (PIXELS, 2)).tolist():
            channel = int(np.abs(gradient[:, y, x]).argmax())
            pair = np.repeat(image[np.newaxis], 2, axis=0)
            pair[0, channel, y, x] += 4
            pair[1, channel, y, x] -= 4
            up, down = net.forward(pair)[:, 6].astype(np.float64)
            slopes.append(abs(up - down) / 8)
            wanted.append(saliency[y, x])
    np.testing.assert_allclose(wanted, slopes, rtol=0.1, atol=0.02 * float(saliency.max()))
    assert np.corrcoef(wanted, slopes)[0, 1] > 0.99


def test_energy_share() -> None:
    saliency = np.zeros((4, 6))
    saliency[0, 0], saliency[3, 5] = 3, 4
    upper, lower = half((4, 6), "upper"), half((4, 6), "lower")
    assert upper.sum() == lower.sum() == 12
    assert not (upper & lower).any()
    assert energy_share(saliency, upper) == pytest.approx(9 / 25)
    assert energy_share(saliency, lower) == pytest.approx(16 / 25)
    assert half((4, 6), "upper", 3.0).sum() == 18
    both = np.stack([saliency, np.flipud(saliency), np.zeros((4, 6))])
    assert energy_share(both, upper) == pytest.approx(0.5)
    assert np.isnan(energy_share(np.zeros((4, 6)), upper))
    with pytest.raises(UsageError, match="does not fit maps"):
        energy_share(saliency, half((5, 6), "upper"))


def test_overlay_is_the_face_where_nothing_counts() -> None:
    face = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    saliency = np.zeros((20, 20), np.float32)
    saliency[:5, :5] = 1
    picture = overlay(face, saliency, smooth=0)
    gray = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY).astype(int)
    np.testing.assert_allclose(picture[6:, 6:, 0], 0.9 * gray[6:, 6:], atol=1)
    assert (np.ptp(picture[:5, :5].astype(int), axis=2) > 30).all()
    assert (overlay(face, np.zeros((20, 20), np.float32))[..., 0] <= face.max(2)).all()


def test_grid_shows_every_picture() -> None:
    colors = [[(0, 0, 255), (0, 255, 0)], [(255, 0, 0), (0, 255, 255)]]
    tiles = [[np.full((8, 8, 3), color, np.uint8) for color in row] for row in colors]
    sheet = grid(tiles, ["a", "b"], ["one", "two"])
    for color in (color for row in colors for color in row):
        assert (np.abs(sheet.astype(int) - color).max(2) < 3).sum() > 10_000


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images/, deploy.prototxt and w.caffemodel, which is the working directory."""
    enter_small(tmp_path, monkeypatch)
    with Net("deploy.prototxt", phase=pb.TEST) as net:
        for blob in net.params["region2"][2:]:
            blob.data[...] = 1
        net.save("w.caffemodel")
    return tmp_path


LINE = ("saliency", "--model", "deploy.prototxt", "--weights", "w.caffemodel", "--out", "out")


def test_command(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LINE, "--input", "images/0.png", "images/1.png", "--au", "1,12"]) == 0
    index = json.loads((faces / "out" / "index.json").read_text())
    assert index["images"] == ["images/0.png", "images/1.png"]
    assert index["nets"] == {"deploy": {"aus": ["1", "12"], "file": "deploy.npy"}}
    maps = np.load(faces / "out" / "deploy.npy")
    assert maps.shape == (2, 2, 10, 10)
    image = cv2.resize(cv2.imread("images/1.png"), (10, 10)).astype(np.float32)
    with LogitGradients("deploy.prototxt", "w.caffemodel") as net:
        wanted = net.maps(image.transpose(2, 0, 1)[np.newaxis], ["12"])
    np.testing.assert_allclose(maps[1, 1], wanted[0, 0], rtol=1e-4, atol=1e-7)
    names = {path.name for path in (faces / "out" / "deploy").iterdir()}
    assert names == {"0_AU1.png", "0_AU12.png", "1_AU1.png", "1_AU12.png"}
    assert cv2.imread("out/deploy/0_AU1.png").shape == (10, 10, 3)
    assert "out/grid.png" in capsys.readouterr().out


def test_several_nets_stand_side_by_side(faces: Path) -> None:
    (faces / "b_deploy.prototxt").write_text(DEPLOY)
    more = ["--model", "b_deploy.prototxt", "--weights", "w.caffemodel"]
    assert main([*LINE, *more, "--input", "images/0.png", "images/0.png", "--au", "1,2"]) == 0
    found = {path.name for path in (faces / "out").iterdir()}
    assert found == {
        *("b", "deploy", "b.npy", "deploy.npy", "index.json", "grid_AU1.png", "grid_AU2.png")
    }
    assert {path.name for path in (faces / "out" / "b").glob("*AU1*")} == {
        *("0_AU1.png", "0_2_AU1.png")
    }


def test_bad_input(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (faces / "text.png").write_text("no image")
    before = contents(faces)
    line = (*LINE, "--input", "images/0.png")
    assert "has no output for AU '13'" in refused(capsys, *line, "--au", "13")
    assert "--aus names 1 AUs, but the net has 12" in refused(capsys, *line, "--aus", "1")
    assert "need as many --weights, not 1" in refused(capsys, *line, "--model", "deploy.prototxt")
    assert "text.png: the image cannot be decoded" in refused(capsys, *LINE, "--input", "text.png")
    assert "none.png: no such file" in refused(capsys, *LINE, "--input", "none.png")
    assert "from 0 to 100" in refused(capsys, *line, "--smooth", "-1")
    assert "not a mean image" in refused(capsys, *line, "--mean", "w.caffemodel")
    wrong = ("saliency", "--model", "train.prototxt", *line[3:])
    assert "images need a net with one input" in refused(capsys, *wrong)
    assert contents(faces) == before


def test_nets_without_scores(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(HEAD + _conv("c", "data", 3) + _relu("c"))
    with pytest.raises(NetError, match="no output scores action units"):
        LogitGradients(path)
    path.write_text(HEAD + _layer("Sigmoid", "prob", "data", ""))
    with pytest.raises(NetError, match="no output scores action units"):
        LogitGradients(path)
    with LogitGradients(*write_net(tmp_path, NETS["convnet"])) as net:
        with pytest.raises(NetError, match=r"takes images \(3, 26, 26\), not \(3, 20, 26\)"):
            net.forward(np.zeros((1, 3, 20, 26)))
        with pytest.raises(UsageError, match="did you mean '12'"):
            net.maps(images(1), ["AU122"])
