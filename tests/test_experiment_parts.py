"""Parts of an experiment by themselves: SVMs, SIFT, scaling, the files of a training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from experiment_testing import NET, write_experiment
from sklearn.svm import LinearSVC

from drml import au_metrics, runlog
from drml.data.lmdb_source import LmdbSource
from drml.errors import DataError, NetError
from drml.experiment import svm
from drml.experiment.config import Network, Svm, Training, read_config
from drml.experiment.experiment import Experiment
from drml.experiment.features import describe
from drml.experiment.nets import Blueprint
from drml.experiment.progress import Part, Progress, duration
from drml.net import Net
from drml.networks import network
from drml.proto import caffe_pb2 as pb
from drml.prototxt import read_net
from drml.weights import read_mean

pytestmark = pytest.mark.cpu_only


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """No loss curves, which take longer than all else here."""
    monkeypatch.setattr(runlog, "draw_losses", lambda *_: None)


def frames(count: int, seed: int) -> svm.Frames:
    """Three AUs in noise, of which the last has one class."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((count, 12)).astype(np.float32) * 5 + 3
    labels = np.sign(features[:, :3] - 3 + 2 * rng.standard_normal((count, 3))).astype(np.int8)
    labels[:, 2] = -1
    labels[rng.random((count, 3)) < 0.1] = 0
    return svm.Frames(features, labels)


def test_svms_are_linear_svc_with_the_best_c_of_the_validation_frames() -> None:
    train, val, test = frames(80, 0), frames(60, 1), frames(40, 2)
    options = Svm(c=(1.0, 0.001, 0.1), select="f1")
    found = svm.fit_and_score(train, val, test.features, options, threads=2)
    mean, deviation = (
        train.features.mean(axis=0, dtype=float),
        train.features.std(axis=0, dtype=float),
    )

    def scaled(part: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> object:
        return (part - mean) / deviation / np.sqrt(12)

    for au in (0, 1):
        known = train.labels[:, au] != 0
        fitted = {
            c: LinearSVC(C=c, dual=False).fit(
                scaled(train.features[known]), train.labels[known, au]
            )
            for c in (0.001, 0.1, 1.0)
        }
        f1s = {
            c: au_metrics.f1(one.decision_function(scaled(val.features)), val.labels[:, au])
            for c, one in fitted.items()
        }
        best = max(f1s, key=lambda c: (f1s[c], -c))
        assert found.c[au] == best
        wanted = fitted[best].decision_function(scaled(test.features))
        np.testing.assert_allclose(found.scores[:, au], wanted, rtol=1e-4, atol=1e-6)
    assert np.isnan(found.c[2])
    assert np.isnan(found.scores[:, 2]).all()
    assert found.stopped == []


def test_threads_do_not_change_a_bit() -> None:
    parts = frames(80, 0), frames(60, 1), frames(40, 2).features
    one = svm.fit_and_score(*parts, Svm(), threads=1)
    four = svm.fit_and_score(*parts, Svm(), threads=4)
    np.testing.assert_array_equal(one.scores, four.scores)


def test_balanced_weights_say_yes_more_often() -> None:
    train = frames(300, 5)
    rare = train.labels.copy()
    rare[:, 0] = np.where(train.features[:, 0] > 9, 1, -1)
    train = svm.Frames(train.features, rare)
    said = {
        weight: (
            svm.fit_and_score(
                train, frames(0, 1), frames(200, 3).features, Svm(c=(0.01,), class_weight=weight)
            ).scores[:, 0]
            > 0
        ).sum()
        for weight in ("none", "balanced")
    }
    assert said["balanced"] > said["none"]


def test_scaling_gives_frames_a_length_of_one_and_constants_nothing() -> None:
    features = np.random.default_rng(0).standard_normal((500, 40)).astype(np.float32) * 7 + 100
    features[:, 3] = 1 / 3
    scaled = svm.Scaling(features)(features)
    assert np.square(scaled).sum(axis=1).mean() == pytest.approx(39 / 40)
    assert (scaled[:, 3] == 0).all()


def test_sift_is_of_each_point_in_order_and_of_its_window_alone() -> None:
    gray = np.random.default_rng(1).integers(0, 256, (200, 200), np.uint8)
    points = np.array([[60, 80], [120.5, 90.25], [-5, 400]], np.float32)
    found = describe(gray, points, 30)
    assert found.shape == (3 * 128,)
    np.testing.assert_array_equal(found[128:256], describe(gray, points[1:2], 30))
    # Blur and interpolation reach a little beyond 15 pixels; the weight falls to the rim.
    rows, columns = np.mgrid[:200, :200]
    away = np.maximum(abs(columns - 60), abs(rows - 80))
    for radius, same in ((25, True), (8, False)):
        other = np.where(away > radius, 0, gray).astype(np.uint8)
        assert np.array_equal(describe(other, points[:1], 30), found[:128]) is same
    turned = cv2.rotate(gray, cv2.ROTATE_180)
    assert not np.array_equal(describe(turned, 199 - points[:1], 30), found[:128])


@pytest.mark.parametrize(
    ("name", "features", "width", "crop"),
    [
        ("drml", "fc9", 2048, 170),
        ("convnet", "fc9", 2048, 170),
        ("lcn", "fc9", 2048, 170),
        ("alexnet", "fc7", 4096, 227),
    ],
)
def test_the_papers_networks_give_their_last_hidden_layer(
    name: str, features: str, width: int, crop: int
) -> None:
    shape = Network(name, name, network(f"{name}.prototxt"), None, Training())
    blueprint = Blueprint(shape, 8)
    assert (blueprint.features, blueprint.logits, blueprint.crop) == (features, "output", crop)
    assert blueprint.new_size == ((256, 256) if name == "alexnet" else None)
    with Net(blueprint.deploy(200), phase=pb.TEST) as net:
        assert net.blobs[features].shape == (1, width)
        assert net.blobs["prob"].shape == (1, 8)
        assert net.inputs == ["data"]


def test_where_weights_start_and_how_statistics_fade_are_options() -> None:
    training = Training(fillers="data", moving_average_fraction=0.9)
    shape = Network("drml", "DRML", network("drml.prototxt"), None, training)
    layers = {layer.name: layer for layer in Blueprint(shape, 12).file.message.layer}
    region = layers["region2"].region_param
    assert region.moving_average_fraction == pytest.approx(0.9)
    learned = [
        region,
        *(layers[name].convolution_param for name in ("conv1", "conv4", "conv5", "conv6", "conv7")),
        *(layers[name].inner_product_param for name in ("fc8", "fc9")),
    ]
    assert {param.weight_filler.type for param in learned} == {"msra"}
    assert {(param.bias_filler.type, param.bias_filler.value) for param in learned} == {
        ("constant", 0.0)
    }
    as_written = Network("drml", "DRML", network("drml.prototxt"), None, Training())
    assert "msra" not in Blueprint(as_written, 12).text()


def test_local_layers_start_by_the_inputs_of_one_location() -> None:
    shape = Network("lcn", "LCN", network("lcn.prototxt"), None, Training(fillers="data"))
    with Net(Blueprint(shape, 12).deploy(200), phase=pb.TEST, seed=1) as net:
        weights = net.params["conv7"][0].data
        assert weights.std() == pytest.approx(np.sqrt(2 / (16 * 5 * 5)), rel=0.01)


def test_nets_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.prototxt"

    def refusal(text: str) -> str:
        path.write_text(text)
        with pytest.raises(NetError) as found:
            Blueprint(Network("own", "Own", path, None, Training()), 3)
        return str(found.value)

    relu = 'layer { name: "r" type: "ReLU" bottom: "output" top: "out" } layer { name: "loss"'
    text = NET.replace('layer { name: "loss"', relu).replace(
        'bottom: "output" bottom: "label"', 'bottom: "out" bottom: "label"'
    )
    assert refusal(text) == (
        f"{path}: no InnerProduct or Convolution makes 'out', which layer 'loss' reads"
    )


def test_the_nets_of_a_run_hold_the_options(tmp_path: Path) -> None:
    path = write_experiment(tmp_path)
    path.write_text(
        path.read_text().replace("lr = 0.01", 'lr = 0.01\nbalance = true\nloss_weights = "rates"')
    )
    experiment = Experiment(read_config(path), device="cpu", threads=1)
    job = next(iter(experiment._jobs.values()))
    job.write_files()
    layers = read_net(job.folder / "net.prototxt").message.layer
    train, test, loss = layers[0], layers[1], layers[-1]
    assert (train.data_param.balance, train.data_param.shuffle) == (True, False)
    assert train.data_param.keys == str(tmp_path / "data" / "folds" / "1" / "train.txt")
    assert (test.data_param.balance, test.data_param.batch_size) == (False, 5)
    labels = experiment.train_set.labels[experiment.folds[0].train]
    wanted = (labels < 0).sum(axis=0) / (labels > 0).sum(axis=0)
    found = loss.multi_sigmoid_cross_entropy_loss_param.positive_weight
    assert list(found) == pytest.approx(wanted.tolist())


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    experiment = Experiment(read_config(write_experiment(tmp_path)), device="cpu", threads=1)
    job = next(iter(experiment._jobs.values()))

    class Nosy(Part):
        def advance(self, share: float, text: str = "") -> None:
            with pytest.raises(DataError, match="another process trains here"):
                job.train(Part(Progress(1.0), "again", 1.0))
            super().advance(share, text)

    job.train(Nosy(Progress(1.0, lambda line: None), "first", 1.0))


def test_time_left_follows_the_work() -> None:
    lines: list[str] = []
    progress = Progress(100.0, lines.append)
    progress.skip(50.0)
    progress.say("begins")
    part = Part(progress, "part", 40.0)
    part.advance(0.5, "half")
    part.finish()
    progress.advance(10.0)
    progress.say("ends")
    assert lines[0] == "begins"
    assert lines[1].startswith("part: half; about ")
    assert lines[2].startswith("ends")


def test_durations_are_read_easily() -> None:
    assert [duration(s) for s in (4.4, 300, 7260)] == ["4 s", "5 min", "2 h 1 min"]


@pytest.mark.parametrize("change", ["", "scale", "mean_value"])
def test_the_net_for_use_says_what_the_trained_net_said(tmp_path: Path, change: str) -> None:
    path = write_experiment(tmp_path)
    if change == "scale":
        path.write_text(path.read_text().replace("lr = 0.01", "lr = 0.01\nscale = 0.25"))
    if change == "mean_value":
        net = NET.replace('mean_file: "mean"', "mean_value: 90 mean_value: 100 mean_value: 110")
        (tmp_path / "tiny.prototxt").write_text(net)
    results = Experiment(read_config(path), device="cpu", threads=1, say=lambda line: None).run()
    run = results.runs[0]
    assert run.mean is not None
    mean = read_mean(results.folder / run.mean)
    entry = next(row for row in results.predictions if row.method == "Tiny (sigmoid)")
    answers = results.answers(entry)
    source = LmdbSource(tmp_path / "data" / "faces.lmdb")
    number = [source.key(index) for index in range(len(source))].index(answers.keys[0])
    pixels = source.read(number).pixels.transpose(2, 0, 1) - mean
    source.close()
    with Net(results.folder / run.net_file, results.folder / run.weights) as used:
        used.blobs["data"].data = pixels[np.newaxis, :, 2:22, 2:22]
        used.forward()
        np.testing.assert_allclose(
            used.blobs["output"].data, answers.scores[:1], rtol=1e-4, atol=1e-5
        )
