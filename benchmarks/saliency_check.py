"""Trains a net to one AU at a time and measures where in the face its saliency lies.

    python benchmarks/saliency_check.py ../shared/openau/aligned

For each AU of --aus a net with the layers of DRML, but half their size, learns from train_1.txt
with the labels of all other AUs unknown. Printed is, on test faces that show the AU, the share of
its saliency's energy (the sum of squares) in the half of the picture where the AU is: above the
middle, which is the middle of the nose of these registered faces, for AUs of the brows, below it
for AUs of the mouth. A net that looked everywhere alike would have 50 % in either half; the same
net before training is printed too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from drml import _core
from drml.blob import Array
from drml.data.image_list import ImageList, read_list
from drml.metrics import BP4D_AUS
from drml.prototxt import parse_solver
from drml.runlog import RunLog
from drml.saliency import LogitGradients, energy_share, half
from drml.solvers import get_solver

HALVES = {
    **dict.fromkeys(("1", "2", "4"), "upper"),
    **dict.fromkeys(("10", "12", "14", "15", "17", "23", "24"), "lower"),
}
SIZE, CROP, SCALE, BATCH = 100, 85, 0.02, 32


def _learned(name: str, kind: str, bottom: str, rest: str, field: str) -> str:
    filler = 'weight_filler { type: "msra" }'
    return (
        f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" '
        f"{field} {{ {rest} {filler} }} }}\n"
    )


def _relu(blob: str) -> str:
    return f'layer {{ name: "relu_{blob}" type: "ReLU" bottom: "{blob}" top: "{blob}" }}\n'


def _body() -> str:
    """The layers of DRML at half their size, with fillers that need no long start."""
    region = _learned("region2", "Region", "conv1", "grid_h: 8 grid_w: 8", "region_param")
    parts = [
        _learned(
            "conv1", "Convolution", "data", "num_output: 16 kernel_size: 6", "convolution_param"
        ),
        region,
        _relu("region2"),
        'layer { name: "pool3" type: "Pooling" bottom: "region2" top: "pool3" '
        "pooling_param { pool: MAX kernel_size: 2 stride: 2 } }\n",
        'layer { name: "norm3" type: "LRN" bottom: "pool3" top: "norm3" '
        "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 } }\n",
    ]
    bottom = "norm3"
    shapes = {"conv4": "4", "conv5": "4", "conv6": "3 stride: 2", "conv7": "3"}
    for name, kernel in shapes.items():
        rest = f"num_output: 16 kernel_size: {kernel}"
        parts += [_learned(name, "Convolution", bottom, rest, "convolution_param"), _relu(name)]
        bottom = name
    for name, outputs in (("fc8", 256), ("fc9", 128)):
        rest = f"num_output: {outputs}"
        parts += [_learned(name, "InnerProduct", bottom, rest, "inner_product_param"), _relu(name)]
        parts.append(
            f'layer {{ name: "drop_{name}" type: "Dropout" bottom: "{name}" top: "{name}" }}\n'
        )
        bottom = name
    parts.append(
        _learned("output", "InnerProduct", bottom, "num_output: 12", "inner_product_param")
    )
    return "".join(parts)


def _training_net(images: Path, root: str) -> str:
    return (
        'layer { name: "data" type: "MultilabelImageData" top: "data" top: "label" '
        f"transform_param {{ mirror: true crop_size: {CROP} scale: {SCALE} mean_value: 127 }} "
        f'image_data_param {{ source: "{images}" root_folder: "{root}/" batch_size: {BATCH} '
        f"shuffle: true new_height: {SIZE} new_width: {SIZE} multilabel_num: 12 }} }}\n"
        + _body()
        + 'layer { name: "loss" type: "MultiSigmoidCrossEntropyLoss" bottom: "output" '
        'bottom: "label" top: "loss" }\n'
    )


def _deploy_net() -> str:
    shape = f"shape {{ dim: 1 dim: 3 dim: {CROP} dim: {CROP} }}"
    head = f'layer {{ name: "data" type: "Input" top: "data" input_param {{ {shape} }} }}\n'
    return head + _body() + 'layer { name: "prob" type: "Sigmoid" bottom: "output" top: "prob" }\n'


def _write_list(path: Path, faces: ImageList, column: int) -> None:
    """The faces whose label is known, all other labels unknown, the rarer class repeated."""
    label = faces.labels[:, column]
    places = {value: np.flatnonzero(label == value) for value in (-1, 1)}
    count = max(map(len, places.values()))
    with path.open("w") as file:
        for value, found in places.items():
            for place in np.resize(found, count):
                row = ["0"] * len(BP4D_AUS)
                row[column] = str(value)
                file.write(f"{faces.names[place]} {' '.join(row)}\n")


def _batch(faces: ImageList, places: np.ndarray) -> Array:
    from drml.data.images import resize

    first = (SIZE - CROP) // 2
    pictures = [resize(np.asarray(faces.read(i).pixels, np.uint8), (SIZE, SIZE)) for i in places]
    cropped = np.stack(pictures)[:, first : first + CROP, first : first + CROP]
    return ((cropped.astype(np.float32) - 127) * SCALE).transpose(0, 3, 1, 2)


def _auc(net: LogitGradients, faces: ImageList, column: int) -> float:
    from sklearn.metrics import roc_auc_score

    known = np.flatnonzero(faces.labels[:, column])
    scores = [
        net.forward(_batch(faces, known[i : i + 64]))[:, column] for i in range(0, len(known), 64)
    ]
    return float(roc_auc_score(faces.labels[known, column] > 0, np.concatenate(scores)))


def _shares(net: LogitGradients, images: Array, au: str) -> tuple[float, float]:
    """Shares of the AU's half: of the sum of squares, and of the plain sum."""
    maps = net.maps(images, [au])[:, 0]
    region = half((CROP, CROP), HALVES[au])
    return energy_share(maps, region), energy_share(np.sqrt(maps), region)


def _unit_statistics(net: LogitGradients) -> None:
    """Gives a region layer that never saw a face mean 0 and variance 1."""
    for blob, value in zip(net.net.params["region2"][2:], (0, 1, 1), strict=True):
        blob.data[...] = value


def check(folder: Path, work: Path, au: str, args: argparse.Namespace) -> None:
    """Trains to one AU and prints a row."""
    started = time.perf_counter()
    column = BP4D_AUS.index(au)
    train = read_list(folder / "train_1.txt")
    test = read_list(folder / "test_1.txt")
    _write_list(work / "train.txt", train, column)
    (work / "net.prototxt").write_text(_training_net(work / "train.txt", train.folder))
    (work / "deploy.prototxt").write_text(_deploy_net())
    solver_text = (
        f'net: "{work / "net.prototxt"}" type: "Adam" base_lr: {args.rate} lr_policy: "poly" '
        f"power: 1 momentum: 0.9 momentum2: 0.999 weight_decay: 0.0005 "
        f"max_iter: {args.iterations} random_seed: {args.seed} average_loss: 20 display: 0"
    )
    present = np.flatnonzero(test.labels[:, column] > 0)
    random = np.random.default_rng(args.seed)
    shown = _batch(test, np.sort(random.choice(present, min(args.faces, len(present)), False)))
    solver = get_solver(parse_solver(solver_text, "solver"), log=RunLog(quiet=True))
    start, end = work / "start.caffemodel", work / "end.caffemodel"
    try:
        solver.net.save(start)
        solver.step(args.iterations)
        solver.net.save(end)
        loss = solver.net.loss
    finally:
        solver.close()
    with LogitGradients(work / "deploy.prototxt", start) as net:
        _unit_statistics(net)
        before = _shares(net, shown, au)
    with LogitGradients(work / "deploy.prototxt", end) as net:
        auc = _auc(net, test, column)
        after = _shares(net, shown, au)
    print(
        f"AU {au:>2}  {HALVES[au]}  {100 * after[0]:5.1f} %  ({100 * before[0]:.1f} %)  "
        f"{100 * after[1]:5.1f} %  ({100 * before[1]:.1f} %)  ROC-AUC {auc:.3f}  loss {loss:.3f}  "
        f"{len(shown)} faces  {time.perf_counter() - started:.0f} s",
        flush=True,
    )


def main() -> None:
    """Prints a row per AU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="registered faces: train_1.txt, test_1.txt")
    parser.add_argument("--aus", default="1,12", help=f"of {', '.join(HALVES)} (default: 1,12)")
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--rate", type=float, default=0.001)
    parser.add_argument("--faces", type=int, default=64, help="test faces that show the AU")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    aus = args.aus.split(",")
    unknown = [au for au in aus if au not in HALVES]
    if unknown:
        parser.error(f"no half of the face is known for AU {', '.join(unknown)}")
    _core.set_threads(args.threads)
    print("AU     half   energy   (untrained)   sum of magnitudes (untrained)")
    for au in aus:
        with tempfile.TemporaryDirectory() as work:
            check(args.folder, Path(work), au, args)


if __name__ == "__main__":
    main()
