"""What an experiment left: results.json and the predictions that it names."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from drml.errors import DataError

RESULTS_NAME = "results.json"
FORMAT = 1
MEAN = "mean"
POOLED = "pooled"

Row = TypeVar("Row")


@dataclass(frozen=True)
class DataSet:
    """A set of faces: its name, whose layout it has, its prepared folder, and its size."""

    name: str
    dataset: str
    path: str
    frames: int
    subjects: int


@dataclass(frozen=True)
class Method:
    """A row of the experiment; `net` is the network behind it, None where there is none."""

    name: str
    kind: str
    net: str | None


@dataclass(frozen=True)
class Predictions:
    """Where it stands what a method said of the test faces of a fold."""

    method: str
    fold: int
    seed: int
    file: str


@dataclass(frozen=True)
class Run:
    """A network trained on a fold; paths are relative to the experiment's folder."""

    net: str
    fold: int
    seed: int
    folder: str
    net_file: str
    weights: str
    mean: str | None
    iteration: int
    parameters: int
    train_ms: float | None
    test_ms: float | None
    batch: int


@dataclass(frozen=True)
class Score:
    """The figures of a method on an AU, from 0 to 1; None where they are not defined.

    `fold` is a fold's number, `pooled` or `mean`; `au` an AU or `mean`.
    """

    method: str
    seed: int
    fold: int | str
    au: str
    positives: int | None = None
    negatives: int | None = None
    unknown: int | None = None
    f1: float | None = None
    f1_norm: float | None = None
    roc_auc: float | None = None
    pr_auc: float | None = None
    f1_low: float | None = None
    f1_high: float | None = None
    roc_auc_low: float | None = None
    roc_auc_high: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class Answers:
    """Predictions that were read; positive where a score is above 0.

    Attributes:
        keys, subjects: (N,) of the frames.
        labels: (N, AUs) of -1, 0 and 1.
        scores: (N, AUs); NaN in the column of an AU of which the method says nothing.
    """

    keys: npt.NDArray[np.str_]
    subjects: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int8]
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Results:
    """results.json of an experiment's folder; the names are those of the file."""

    folder: Path
    title: str
    created: str
    drml: str
    machine: Mapping[str, Any]
    semi_synthetic: bool
    train_set: DataSet
    test_set: DataSet
    cross: bool
    protocol: list[str]
    aus: list[str]
    folds: list[int]
    seeds: list[int]
    methods: list[Method]
    predictions: list[Predictions]
    runs: list[Run]
    scores: list[Score]
    notes: list[str]

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Reads the results of an experiment.

        Raises:
            DataError: there is no results.json, or it is not what an experiment writes.
        """
        path = folder / RESULTS_NAME
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error
        except ValueError as error:
            raise DataError(f"{path}: is no JSON ({error})") from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise DataError(f"{path}: is no result of an experiment in format {FORMAT}")
        values = {"folder": folder} | {k: v for k, v in found.items() if k != "format"}
        rows = {"methods": Method, "predictions": Predictions, "runs": Run, "scores": Score}
        try:
            for name in ("train_set", "test_set"):
                values[name] = _make(DataSet, found[name], f"{path}: {name}")
            for name, kind in rows.items():
                values[name] = [
                    _make(kind, row, f"{path}: {name}[{index}]")
                    for index, row in enumerate(found[name])
                ]
        except KeyError as error:
            raise DataError(f"{path}: has no field {error}") from error
        return _make(cls, values, str(path))

    def answers(self, predictions: Predictions) -> Answers:
        """Reads predictions.

        Raises:
            DataError: the file cannot be read, or its shapes do not fit the AUs.
        """
        path = self.folder / predictions.file
        try:
            with np.load(path, allow_pickle=False) as file:
                keys = np.asarray(file["keys"], np.str_)
                subjects = np.asarray(file["subjects"], np.str_)
                labels = np.asarray(file["labels"], np.int8)
                scores = np.asarray(file["scores"], np.float32)
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file") from error
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path}: is no file of predictions ({error})") from error
        shape = (len(keys), len(self.aus))
        if labels.shape != shape or scores.shape != shape:
            raise DataError(f"{path}: labels {labels.shape}, scores {scores.shape}, not {shape}")
        return Answers(keys, subjects, labels, scores)


def _make(kind: type[Row], values: Mapping[str, Any], where: str) -> Row:
    """A dataclass of the fields that it has; others, which later formats may bring, are skipped."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    missing = [
        field.name
        for field in fields
        if field.name not in values and field.default is dataclasses.MISSING
    ]
    if missing:
        raise DataError(f"{where}: has no field '{missing[0]}'")
    return kind(**{field.name: values[field.name] for field in fields if field.name in values})
