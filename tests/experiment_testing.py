"""What the tests of experiments share: a small prepared folder and a small net, and its options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import cv2
import lmdb
import numpy as np

from drml.data.samples import make_record
from drml.weights import write_mean

SIZE, POINTS = 24, 49
SUBJECTS = ("F1", "F2", "F3", "F4", "F5", "F6")
TEST = (("F1", "F2"), ("F3", "F4"))
VALIDATION = (("F3",), ("F5",))
FRAMES = 8

NET = """name: "small"
layer { name: "data" type: "MultilabelImageData" top: "data" top: "label"
  include { phase: TRAIN }
  transform_param { mirror: true crop_size: 20 mean_file: "mean" }
  image_data_param { source: "train.txt" batch_size: 128 shuffle: true } }
layer { name: "data" type: "MultilabelImageData" top: "data" top: "label"
  include { phase: TEST }
  transform_param { crop_size: 20 mean_file: "mean" }
  image_data_param { source: "test.txt" batch_size: 64 } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 5 stride: 3
    weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "conv1" }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "fc8" type: "InnerProduct" bottom: "conv1" top: "fc8"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "relu8" type: "ReLU" bottom: "fc8" top: "fc8" }
layer { name: "drop8" type: "Dropout" bottom: "fc8" top: "fc8" }
layer { name: "output" type: "InnerProduct" bottom: "fc8" top: "output"
  inner_product_param { num_output: 12 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "MultiSigmoidCrossEntropyLoss" bottom: "output" bottom: "label"
  top: "loss" }
"""

OPTIONS = """title = "small"
data = "data"
networks = ["tiny", "lsvm"]
[training]
iterations = 12
batch_size = 8
test_batch_size = 5
interval = 4
lr = 0.01
[network.tiny]
net = "tiny.prototxt"
title = "Tiny"
[svm]
c = [0.1, 1.0]
[bootstrap]
samples = 50
"""


def labels_of(subject: int, frame: int, aus: int) -> list[int]:
    """AU n is in every (n + 2)-th frame, and unknown in some."""
    number = subject * FRAMES + frame
    return [0 if (number + au) % 11 == 0 else (number % (au + 2) == 0) * 2 - 1 for au in range(aus)]


def face(labels: Sequence[int], number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A gray picture in noise, with a bright column for each AU that is present."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(90, 140, (SIZE, SIZE, 3), np.uint8)
    for au, label in enumerate(labels):
        if label > 0:
            pixels[:, 4 + 6 * au : 7 + 6 * au] = 220
    return pixels


def write_prepared(
    folder: Path,
    *,
    dataset: str = "bp4d",
    aus: Sequence[str] = ("1", "4", "12"),
    test: Sequence[Sequence[str]] = TEST,
    validation: Sequence[Sequence[str]] = VALIDATION,
    prefix: str = "",
) -> Path:
    """A prepared folder of six subjects with eight frames each, as `drml prepare` writes one."""
    folder.mkdir(parents=True)
    keys, rows, records = [], [], {}
    for place, subject in enumerate(SUBJECTS):
        for frame in range(FRAMES):
            labels = labels_of(place, frame, len(aus))
            key = f"{prefix}{subject}/T1/{frame:04d}"
            pixels = face(labels, place * FRAMES + frame)
            png = cv2.imencode(".png", pixels)[1].tobytes()
            records[key] = make_record(png, pixels.shape, labels)
            keys.append(key)
            rows.append(f"{key},{prefix}{subject},T1,{frame:04d},{','.join(map(str, labels))}\n")
    with (
        lmdb.open(str(folder / "faces.lmdb"), map_size=1 << 24) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, record in records.items():
            transaction.put(key.encode(), record)
    header = f"key,subject,video,frame,{','.join(f'AU{au}' for au in aus)}\n"
    (folder / "frames.csv").write_text(header + "".join(rows))
    rng = np.random.default_rng(0)
    points = rng.uniform(4, SIZE - 4, (len(keys), POINTS, 2)).astype(np.float32)
    np.save(folder / "landmarks.npy", points)
    folds = {
        name: [[prefix + subject for subject in subjects] for subjects in lists]
        for name, lists in (("test", test), ("validation", validation))
    }
    (folder / "folds.json").write_text(json.dumps(folds))
    for number, (tested, held) in enumerate(zip(test, validation, strict=True), 1):
        write_fold(folder / "folds" / str(number), keys, prefix, tested, held)
    sums = {
        name: sha256((folder / name).read_bytes()).hexdigest()
        for name in ("frames.csv", "landmarks.npy", "folds.json")
    }
    manifest = {
        "format": 1,
        "dataset": dataset,
        "name": f"small {dataset}",
        "size": SIZE,
        "aus": list(aus),
        "counts": {"frames": len(keys), "subjects": len(SUBJECTS)},
        "options": {},
        "sha256": sums,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def write_fold(
    folder: Path, keys: Sequence[str], prefix: str, test: Sequence[str], val: Sequence[str]
) -> None:
    """The lists of a fold and a mean image."""
    folder.mkdir(parents=True)
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for key in keys:
        subject = key.split("/")[0].removeprefix(prefix)
        part = "test" if subject in test else "val" if subject in val else "train"
        parts[part].append(key)
    for name, lines in parts.items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    write_mean(folder / "mean.binaryproto", np.full((3, SIZE, SIZE), 115, np.float32))


def write_experiment(folder: Path, options: str = OPTIONS) -> Path:
    """The prepared folder `data`, tiny.prototxt and the file small.toml, which is returned."""
    write_prepared(folder / "data")
    (folder / "tiny.prototxt").write_text(NET)
    path = folder / "small.toml"
    path.write_text(options)
    return path
