"""One linear SVM per AU over features of frames; C is chosen on the validation subjects.

Features are standardized by the training frames and divided by the root of their number, which
makes a frame's length about 1 however many features there are: one grid of C suits all of them, and
the bias, which LIBLINEAR penalizes as one more weight, can follow. LIBLINEAR solves the primal
problem here (L2 penalty, squared hinge), which draws no random numbers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from drml import au_metrics
from drml.experiment.config import Svm

Array = npt.NDArray[Any]

_FIGURES: dict[str, Callable[[Array, Array], float]] = {
    "f1": au_metrics.f1,
    "roc_auc": au_metrics.roc_auc,
}
_MAX_STEPS = 1000


@dataclass(frozen=True)
class Frames:
    """Features (N, D) and labels (N, AUs) of -1, 0 and 1."""

    features: Array
    labels: Array


@dataclass(frozen=True)
class Fitted:
    """What the SVMs said.

    Attributes:
        scores: (test frames, AUs), signed distances times the weights' length; NaN in the column of
            an AU that has one class among the training frames.
        c: the chosen C of each AU; NaN where there is no SVM.
        stopped: AUs, by index, whose SVM was stopped before it had converged.
    """

    scores: npt.NDArray[np.float32]
    c: npt.NDArray[np.float64]
    stopped: list[int]


class Scaling:
    """Standardizes features by the training frames; see the module's text.

    Args:
        features: of the training frames (N, D). A feature that is constant there becomes 0.
    """

    def __init__(self, features: Array) -> None:
        self._mean = features.mean(axis=0, dtype=np.float64)
        deviation = features.std(axis=0, dtype=np.float64)
        # Of a constant, rounding leaves a deviation that is not quite 0.
        varies = deviation > 1e-6 * np.maximum(np.abs(self._mean), 1e-6)
        root = math.sqrt(max(features.shape[1], 1))
        self._factor = np.divide(1, deviation * root, out=np.zeros_like(deviation), where=varies)

    def __call__(self, features: Array) -> npt.NDArray[np.float64]:
        """The features (N, D), scaled."""
        scaled: npt.NDArray[np.float64] = (features - self._mean) * self._factor
        return scaled


def fit_and_score(
    train: Frames,
    val: Frames,
    test: Array,
    options: Svm,
    *,
    threads: int = 1,
    progress: Callable[[int], object] | None = None,
) -> Fitted:
    """Trains an SVM per AU on `train`, with the C that suits `val` best, and scores `test`.

    Labels 0 are left out. Of values of C that suit equally well, the smallest is taken, and where
    the validation frames cannot tell, the first of the options.

    Args:
        train: what is learned from.
        val: chooses C; may have no frames.
        test: features (N, D) to score.
        options: of the SVMs.
        threads: AUs at a time.
        progress: called with 1 after each AU, by any thread.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    scaling = Scaling(train.features)
    scaled = [scaling(part) for part in (train.features, val.features, test)]
    count = train.labels.shape[1]

    def one(au: int) -> _One:
        result = _fit(
            (scaled[0], train.labels[:, au]), (scaled[1], val.labels[:, au]), scaled[2], options
        )
        if progress is not None:
            progress(1)
        return result

    with warnings.catch_warnings(), threadpool_limits(1):
        # What was stopped is told to the caller.
        warnings.simplefilter("ignore", ConvergenceWarning)
        pool = ThreadPoolExecutor(threads)
        try:
            found = list(pool.map(one, range(count)))
        finally:
            pool.shutdown(cancel_futures=True)
    return Fitted(
        np.stack([row.scores for row in found], axis=1).astype(np.float32),
        np.array([row.c for row in found]),
        [au for au, row in enumerate(found) if row.stopped],
    )


@dataclass(frozen=True)
class _One:
    scores: Array
    c: float
    stopped: bool


def _fit(train: tuple[Array, Array], val: tuple[Array, Array], test: Array, options: Svm) -> _One:
    """The SVM of one AU: features and labels of the parts."""
    from sklearn.svm import LinearSVC

    known = train[1] != 0
    features, labels = train[0][known], train[1][known]
    if len(np.unique(labels)) < 2:
        return _One(np.full(len(test), math.nan), math.nan, False)
    figure = _FIGURES[options.select]
    best: tuple[float, float, Any] | None = None
    tells = len(options.c) > 1 and len(np.unique(val[1][val[1] != 0])) == 2
    for c in sorted(options.c) if tells else options.c[:1]:
        svm = LinearSVC(
            C=c,
            dual=False,
            class_weight="balanced" if options.class_weight == "balanced" else None,
            max_iter=_MAX_STEPS,
        ).fit(features, labels)
        value = figure(svm.decision_function(val[0]), val[1]) if tells else math.nan
        if best is None or value > best[1]:
            best = (c, value, svm)
    assert best is not None
    c, _, svm = best
    return _One(svm.decision_function(test), c, bool(np.max(svm.n_iter_) >= _MAX_STEPS))
