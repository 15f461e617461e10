"""How an experiment was done, in sentences: what a reader must know to compare its figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drml.experiment.config import Config, Network, Training
from drml.experiment.folds import FoldData
from drml.prepared import Prepared

_FIGURE = {"f1": "F1", "roc_auc": "ROC-AUC", "loss": "loss"}


def sentences(
    config: Config, train: Prepared, test: Prepared, folds: Sequence[FoldData]
) -> list[str]:
    """The protocol of an experiment.

    Args:
        config: its options.
        train, test: prepared folders that networks learn from, and that SVMs are tested on.
        folds: those of `test`.
    """
    lines = [_data(train, config.semi_synthetic)]
    if config.cross:
        lines.append(_data(test, config.semi_synthetic))
        lines.append(
            f"Networks are trained on {train.name}; SVMs over their features are trained and "
            f"tested on the folds of {test.name}, fold k with the network of fold k (of fold 1 "
            f"again after the last). Outputs of a network are tested on the AUs of both sets."
        )
    lines += [
        _folds(test, folds),
        "Labels that are unknown (0; BP4D's 9) enter neither loss nor SVM nor any figure.",
        "A frame is positive where the score of the SVM, or the logit of the network, is above 0: "
        "a probability of 0.5.",
    ]
    lines += [_training(network) for network in config.networks]
    lines += _svm(config)
    lines += [
        "F1 is F1-frame, 2PR / (P + R). F1-norm multiplies false positives by the skew, negatives "
        "/ positives. ROC-AUC is the area under the ROC curve, PR-AUC the average precision.",
        "Means over AUs and over folds are unweighted; an AU with one class in a fold is left out "
        "of its mean. 'pooled' takes the test frames of all folds together.",
        "All-positive says yes to every frame; prevalence knows only how often each AU occurs "
        "among the training frames.",
    ]
    if config.bootstrap.samples:
        lines.append(
            f"Intervals hold the middle 95 % of {config.bootstrap.samples} resamples of the test "
            "subjects."
        )
    return lines


def _data(data: Prepared, semi_synthetic: bool) -> str:
    counts = data.manifest["counts"]
    options = data.manifest.get("options", {})
    text = f"{data.name}: {counts['frames']} frames of {counts['subjects']} subjects"
    if data.dataset == "disfa" and "threshold" in options:
        text += f"; an AU is present from intensity {options['threshold']} on"
    if "sampling" in options:
        text += f"; frames sampled by {options['sampling']}"
    if semi_synthetic:
        text += "; semi-synthetic: no coder of faces saw these frames"
    return text + "."


def _folds(data: Prepared, folds: Sequence[FoldData]) -> str:
    def count(rows: Any) -> int:
        return len({data.subjects[row] for row in rows})

    parts = [
        f"fold {fold.number}: {count(fold.train)} / {count(fold.val)} / {count(fold.test)}"
        for fold in folds
    ]
    return (
        "No subject is in two parts of a fold. Subjects of training / validation / test: "
        f"{', '.join(parts)}."
    )


def _training(network: Network) -> str:
    training = network.training
    faces = training.batch_size * training.iter_size
    text = (
        f"{network.title}: {training.iterations} iterations of {training.solver} in batches of "
        f"{faces}, {_rate(training)}, momentum {training.momentum:g}, weight decay "
        f"{training.weight_decay:g}; the iteration of the best validation "
        f"{_FIGURE[training.select]} of every {training.interval}"
    )
    if training.scale:
        text += f"; pixels times {training.scale:g}"
    if training.fillers == "data":
        text += "; first weights scaled so that units have mean 0 and deviation 1 over faces"
    if training.moving_average_fraction:
        text += (
            f"; running statistics, where it has them, fade by "
            f"{training.moving_average_fraction:g} an iteration"
        )
    if training.clip_gradients > 0:
        text += f"; gradients clipped to a norm of {training.clip_gradients:g}"
    if training.balance:
        text += "; balanced sampling of training frames"
    if training.loss_weights == "rates":
        text += "; positive labels weighted by the negatives for each positive of the AU"
    return text + "."


def _rate(training: Training) -> str:
    detail = {
        "step": f", times {training.gamma:g} every {training.stepsize}",
        "multistep": f", times {training.gamma:g} at {', '.join(map(str, training.stepvalues))}",
        "exp": f" times {training.gamma:g} to the power of the iteration",
        "poly": f" times (1 - iteration / last)^{training.power:g}",
        "inv": f" times (1 + {training.gamma:g} iteration)^-{training.power:g}",
        "sigmoid": f" times a sigmoid around {training.stepsize}",
    }
    return f"rate {training.lr:g}{detail.get(training.lr_policy, '')}"


def _svm(config: Config) -> list[str]:
    lines = []
    if config.networks:
        lines.append(
            "Features of a network: the last layer before its outputs, after ReLU (fc9 of DRML, "
            "ConvNet and LCN, fc7 of AlexNet), center crop, unless its options name another."
        )
    if config.lsvm:
        lines.append(
            f"LSVM: SIFT of 128 numbers at 49 landmarks, upright, windows of {config.window:g} "
            "pixels."
        )
    weights = "balanced class weights" if config.svm.class_weight == "balanced" else "no weights"
    lines.append(
        "One linear SVM per AU (LIBLINEAR, L2 penalty, squared hinge) on the training frames, "
        f"features standardized and divided by the root of their number, {weights}; C of "
        f"{', '.join(f'{c:g}' for c in config.svm.c)}, the best by the validation subjects' "
        f"{_FIGURE[config.svm.select]}, per AU."
    )
    return lines


def machine() -> dict[str, Any]:
    """The CPU's name and how many of its cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _cpu_name(), "cores": cores}


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
