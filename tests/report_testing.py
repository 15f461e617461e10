"""What the tests of reports share: an experiment's folder, made up but complete."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cli_testing import DEPLOY
from data_testing import picture

from drml.data.images import encode
from drml.data.lmdb_writer import LmdbWriter
from drml.data.samples import make_record
from drml.metrics import BP4D_AUS
from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.runlog import RunLog
from drml.weights import array_to_blob

SIZE = 12
PEOPLE, FRAMES = 8, 6
FOLDS = (1, 2)

REGION = DEPLOY
PLAIN = REGION.replace('type: "Region"', 'type: "Convolution"').replace(
    "region_param { grid_h: 2 grid_w: 2", "convolution_param { num_output: 4 kernel_size: 3 pad: 1"
)
NETS = {"drml": REGION, "convnet": PLAIN}
TITLES = {"drml": "DRML", "convnet": "ConvNet", "alexnet": "AlexNet", "lcn": "LCN"}


def _f1(labels: npt.NDArray[Any], scores: npt.NDArray[Any]) -> float | None:
    hits = int(((labels > 0) & (scores > 0)).sum())
    wrong = int(((labels < 0) & (scores > 0)).sum() + ((labels > 0) & (scores <= 0)).sum())
    return 2 * hits / (2 * hits + wrong) if hits + wrong else None


def _auc(labels: npt.NDArray[Any], scores: npt.NDArray[Any]) -> float | None:
    from sklearn.metrics import roc_auc_score

    known = labels != 0
    if len(np.unique(labels[known])) < 2:
        return None
    return float(roc_auc_score(labels[known] > 0, scores[known]))


def _rows(
    method: str, fold: int | str, aus: Sequence[str], labels: Any, scores: Any
) -> list[dict[str, Any]]:
    rows = []
    for column, au in enumerate(aus):
        label, score = labels[:, column], scores[:, column]
        f1, auc = _f1(label, score), _auc(label, score)
        rows.append(
            {
                "method": method, "seed": 1, "fold": fold, "au": au,
                "positives": int((label > 0).sum()), "negatives": int((label < 0).sum()),
                "unknown": int((label == 0).sum()),
                "f1": f1, "f1_norm": f1, "roc_auc": auc, "pr_auc": auc,
                "f1_low": f1 and 0.9 * f1, "f1_high": f1 and min(1, 1.1 * f1),
                "roc_auc_low": auc and 0.9 * auc, "roc_auc_high": auc and min(1, 1.1 * auc),
                "note": None if auc is not None else "labels of one class only",
            }
        )  # fmt: skip
    return [*rows, _mean(rows, method, fold, "mean")]


def _mean(rows: Sequence[dict[str, Any]], method: str, fold: int | str, au: str) -> dict[str, Any]:
    result: dict[str, Any] = {"method": method, "seed": 1, "fold": fold, "au": au}
    for name in ("f1", "f1_norm", "roc_auc", "pr_auc"):
        known = [row[name] for row in rows if row[name] is not None]
        result[name] = float(np.mean(known)) if known else None
    empty = ("positives", "negatives", "unknown", "f1_low", "f1_high")
    return result | dict.fromkeys((*empty, "roc_auc_low", "roc_auc_high", "note"))


def write_prepared(folder: Path, aus: Sequence[str], seed: int = 0) -> tuple[list[str], Any]:
    """Writes faces.lmdb, frames.csv and manifest.json as `drml prepare` does; keys and labels."""
    random = np.random.default_rng(seed)
    keys = [f"F{p:03d}/T1/{f:04d}" for p in range(1, PEOPLE + 1) for f in range(1, FRAMES + 1)]
    mood = random.normal(size=(len(keys), 1))
    value = mood + random.normal(size=(len(keys), len(aus)))
    labels = np.where(value > 0.3, 1, -1).astype(np.int8)
    labels[random.random(labels.shape) < 0.05] = 0
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["key,subject,video,frame," + ",".join(f"AU{au}" for au in aus)]
    with LmdbWriter(folder / "faces.lmdb") as writer:
        for index, key in enumerate(keys):
            image = encode(picture(index, height=SIZE, width=SIZE), "jpg")
            record = make_record(image, (SIZE, SIZE, 3), labels[index])
            writer.put(key.encode(), record)
            lines.append(",".join([key, *key.split("/"), *map(str, labels[index])]))
    (folder / "frames.csv").write_text("\n".join(lines) + "\n")
    counts = {"frames": len(keys)}
    manifest = {"format": 1, "dataset": "list", "name": "made up", "size": SIZE, "aus": list(aus)}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"counts": counts}))
    return keys, labels


def _write_run(folder: Path, net: str, fold: int, text: str) -> dict[str, Any]:
    run = folder / "runs" / f"{net}_{fold}"
    run.mkdir(parents=True)
    (run / "deploy.prototxt").write_text(text)
    with Net(run / "deploy.prototxt", phase=pb.TEST, seed=fold) as made:
        for blobs in made.params.values():
            for blob in blobs[2:]:
                blob.data[...] = 1
        made.save(run / "w.caffemodel")
        parameters = sum(p.blob.count for p in made.learnable if p.lr_mult)
    mean = np.full((3, SIZE, SIZE), 120, np.float32)
    (run / "mean.binaryproto").write_bytes(array_to_blob(mean).SerializeToString())
    with RunLog(run, quiet=True) as log:
        for iteration in range(60):
            log.record("train", iteration, loss=8 / (1 + 0.1 * iteration) + 0.2 * (iteration % 3))
    home = f"runs/{net}_{fold}"
    return {
        "net": net, "fold": fold, "seed": 1, "folder": home, "net_file": f"{home}/deploy.prototxt",
        "weights": f"{home}/w.caffemodel", "mean": f"{home}/mean.binaryproto", "iteration": 40,
        "validation": [{"iteration": 40, "f1": 0.5, "roc_auc": 0.7, "loss": 5.0}],
        "parameters": parameters, "train_ms": 20.5, "test_ms": 6.25, "batch": 32,
    }  # fmt: skip


def make_experiment(
    folder: Path, *, aus: Sequence[str] = BP4D_AUS, dataset: str = "bp4d", semi: bool = True
) -> dict[str, Any]:
    """Writes the folder of an experiment with two folds and returns its results.json.

    Predictions are the labels and noise, of which LSVM has the most.
    """
    keys, labels = write_prepared(folder / "prepared", aus)
    random = np.random.default_rng(3)
    fold_of = np.array([int(key[1:4]) % 2 + 1 for key in keys])
    methods = [{"name": "LSVM", "kind": "lsvm", "net": None}]
    methods += [{"name": TITLES[net], "kind": "svm", "net": net} for net in NETS]
    methods += [{"name": f"{TITLES[n]} (sigmoid)", "kind": "sigmoid", "net": n} for n in NETS]
    methods += [{"name": "all-positive", "kind": "all-positive", "net": None}]
    predictions, scores = [], []
    (folder / "predictions").mkdir()
    for place, method in enumerate(methods):
        noise = random.normal(size=labels.shape) * (2.5 - 0.3 * place)
        values = (np.where(labels == 0, 0.2, labels) + noise).astype(np.float32)
        if method["kind"] == "all-positive":
            values = np.ones_like(values)
        parts = []
        for fold in FOLDS:
            rows = fold_of == fold
            if method["kind"] != "all-positive":
                file = f"predictions/{place}_{fold}.npz"
                np.savez(
                    folder / file,
                    keys=np.array(keys)[rows],
                    subjects=np.array([key[:4] for key in keys])[rows],
                    labels=labels[rows],
                    scores=values[rows],
                )
                entry = {"method": method["name"], "fold": fold, "seed": 1, "file": file}
                predictions.append(entry)
            parts.append(_rows(str(method["name"]), fold, aus, labels[rows], values[rows]))
        scores += [row for part in parts for row in part]
        scores += _rows(str(method["name"]), "pooled", aus, labels, values)
        for au_rows in zip(*parts, strict=True):
            scores.append(_mean(au_rows, str(method["name"]), "mean", au_rows[0]["au"]))
    data = {
        "name": "made up", "dataset": dataset, "path": "prepared", "frames": len(keys),
        "subjects": PEOPLE,
    }  # fmt: skip
    results = {
        "format": 1,
        "title": "An experiment <made> up",
        "created": "2026-01-02T03:04:05",
        "drml": "0.1.0",
        "machine": {"cpu": "Some CPU", "cores": 2},
        "semi_synthetic": semi,
        "train_set": data,
        "test_set": data,
        "cross": False,
        "protocol": ["2 folds, no subject in two of them.", "Label 9 is unknown."],
        "aus": list(aus),
        "folds": list(FOLDS),
        "seeds": [1],
        "methods": methods,
        "predictions": predictions,
        "runs": [_write_run(folder, net, fold, NETS[net]) for net in NETS for fold in FOLDS],
        "scores": scores,
        "notes": ["A note & more."],
    }
    write_results(folder, results)
    return results


def write_results(folder: Path, results: dict[str, Any]) -> None:
    """Writes results.json."""
    (folder / "results.json").write_text(json.dumps(results, indent=1))
