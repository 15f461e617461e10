"""An experiment from its options to its results; what was done before is not done again."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drml import __version__
from drml.errors import DataError
from drml.experiment import cache, features, protocol, svm
from drml.experiment.config import Config, Network
from drml.experiment.features import SIFT_SIZE, Features
from drml.experiment.folds import FoldData, check_apart, read_fold
from drml.experiment.nets import Blueprint
from drml.experiment.progress import Part, Progress
from drml.experiment.results import Answers, DataSet, Method, Predictions, Results, Run, Score
from drml.experiment.scoring import Scorer
from drml.experiment.trainer import DEPLOY_NAME, Job, Trained, check_solver
from drml.faces.landmarks import COUNT
from drml.prepared import Prepared
from drml.training import MEAN_NAME

ALL_POSITIVE, PREVALENCE, LSVM = "All-positive", "Prevalence", "LSVM"
_SVM_WORK = 8000.0  # multiply-adds that fitting an SVM takes per frame and feature, about

Labels = npt.NDArray[np.int8]


class Experiment:
    """An experiment whose options fit its data.

    Args:
        config: the options.
        device: where networks run; None: drml's default.
        threads: CPU threads.
        say: where lines of progress go; None: stderr.

    Raises:
        DrmlError: a prepared folder, a fold, a network or an option cannot be used; nothing has
            been computed then.
    """

    def __init__(
        self,
        config: Config,
        *,
        device: str | None = None,
        threads: int = 2,
        say: Callable[[str], object] | None = None,
    ) -> None:
        self.config = config
        self._device = device
        self._threads = threads
        self.train_set = Prepared(config.data)
        self.test_set = self.train_set
        if config.test_data is not None:
            self.test_set = Prepared(config.test_data)
        numbers = config.folds or tuple(range(1, len(self.test_set.folds) + 1))
        self.folds = [read_fold(self.test_set, number) for number in numbers]
        self._learned = {fold.number: self._learned_fold(fold) for fold in self.folds}
        self._jobs = self._make_jobs(config.networks)
        for job in self._jobs.values():
            check_solver(job)
        self._progress = Progress(self._work(), say)
        self._predictions: list[Predictions] = []
        self._answers: dict[tuple[str, int], dict[int, Answers]] = {}
        self._runs: list[Run] = []
        self._notes: list[str] = []

    def _learned_fold(self, tested: FoldData) -> FoldData:
        """The fold whose networks serve a fold of the test set."""
        if not self.config.cross:
            return tested
        number = (tested.number - 1) % len(self.train_set.folds) + 1
        learned = read_fold(self.train_set, number)
        check_apart(self.train_set, learned, self.test_set, tested)
        return learned

    def _make_jobs(self, networks: Sequence[Network]) -> dict[tuple[str, int, int], Job]:
        """Trainings by name of the network, fold of the test set, and seed."""
        jobs = {}
        for network in networks:
            blueprint = Blueprint(network, len(self.train_set.aus))
            for fold, learned in self._learned.items():
                for seed in self.config.seeds:
                    jobs[network.name, fold, seed] = Job(
                        blueprint,
                        self.train_set,
                        learned,
                        seed,
                        runs=self.config.cache / "runs",
                        device=self._device,
                        threads=self._threads,
                    )
        return jobs

    def _work(self) -> float:
        trainings = {job.id: job.work for job in self._jobs.values()}
        work = sum(trainings.values())
        for (_, fold, _), job in self._jobs.items():
            frames = self._fold(fold)
            work += len(frames.rows) * job.multiply_adds + self._svm_work(frames, job.width)
        if self.config.lsvm:
            work += sum(self._svm_work(fold, COUNT * SIFT_SIZE) for fold in self.folds)
        return work

    def _fold(self, number: int) -> FoldData:
        return next(fold for fold in self.folds if fold.number == number)

    def _svm_work(self, fold: FoldData, width: int) -> float:
        fits = len(self.test_set.aus) * len(self.config.svm.c)
        return _SVM_WORK * len(fold.train) * width * fits

    def run(self) -> Results:
        """Does what is left to do, and writes results.json, scores.csv and the predictions.

        Raises:
            DrmlError: a stage failed; what was done stays.
            KeyboardInterrupt: of the user's; what was done stays.
        """
        cache.make_folder(self.config.out)
        for fold in self.folds:
            self._baselines(fold)
        if self.config.lsvm:
            self._lsvm()
        for seed in self.config.seeds:
            for fold in self.folds:
                for network in self.config.networks:
                    self._network(network, fold, seed)
        results = self._results()
        results.save()
        return results

    def _baselines(self, fold: FoldData) -> None:
        """Rows that know nothing of the frame: always yes, and the AU's log odds in training."""
        shape = (len(fold.test), len(self.test_set.aus))
        labels = self.test_set.labels[fold.train]
        positives, negatives = (labels > 0).sum(axis=0), (labels < 0).sum(axis=0)
        # Half a frame more of each class keeps the logarithm finite.
        odds = np.log((positives + 0.5) / (negatives + 0.5))
        for seed in self.config.seeds:
            self._add(ALL_POSITIVE, fold, seed, np.ones(shape, np.float32))
            scores = np.broadcast_to(odds.astype(np.float32), shape)
            self._add(PREVALENCE, fold, seed, np.ascontiguousarray(scores))

    def _lsvm(self) -> None:
        rows = self.folds[0].rows
        for fold in self.folds[1:]:
            rows = np.union1d(rows, fold.rows)
        found = features.of_sift(
            self.test_set,
            rows,
            self.config.window,
            self.config.cache / "features",
            Part(self._progress, LSVM, 0.0),
            threads=self._threads,
        )
        for fold in self.folds:
            for seed in self.config.seeds:
                self._svms(LSVM, found, fold, seed)

    def _network(self, network: Network, fold: FoldData, seed: int) -> None:
        job = self._jobs[network.name, fold.number, seed]
        name = f"{network.title} fold {fold.number}"
        if len(self.config.seeds) > 1:
            name += f" seed {seed}"
        part = Part(self._progress, name, job.work)
        trained = job.result()
        if trained is None:
            trained = job.train(part)
        part.finish()
        part = Part(self._progress, name, len(fold.rows) * job.multiply_adds)
        found = features.of_network(
            job,
            trained,
            self.test_set,
            fold.rows,
            self.config.cache / "features",
            part,
            device=self._device,
            threads=self._threads,
        )
        part.finish()
        self._add_run(network, job, trained, found, fold.number)
        self._svms(network.title, found, fold, seed)
        assert found.logits is not None
        own = self._own_outputs(found.logits[found.at(fold.test)])
        self._add(_sigmoid(network.title), fold, seed, own)

    def _own_outputs(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits of the test set's AUs; NaN for those that are no output of the networks."""
        scores = np.full((len(logits), len(self.test_set.aus)), np.nan, np.float32)
        for column, au in enumerate(self.test_set.aus):
            if au in self.train_set.aus:
                scores[:, column] = logits[:, self.train_set.aus.index(au)]
        return scores

    def _svms(self, method: str, found: Features, fold: FoldData, seed: int) -> None:
        work = self._svm_work(fold, found.values.shape[1])
        part = Part(self._progress, f"{method} fold {fold.number}", work)
        name = cache.digest(
            {
                "stage": "svm",
                "features": found.id,
                "data": cache.digest_of(self.test_set),
                "fold": fold.number,
                "svm": asdict(self.config.svm),
            }
        )
        path = self.config.cache / "svm" / f"{_file(method)}-fold{fold.number}-{name}.npz"
        arrays = cache.read_arrays(path)
        if arrays is None:
            arrays = self._fit(found, fold, part)
            cache.write_arrays(path, arrays)
        part.finish()
        self._note_svms(method, fold, arrays)
        self._add(method, fold, seed, arrays["scores"], arrays["c"])

    def _fit(self, found: Features, fold: FoldData, part: Part) -> cache.Arrays:
        def frames(rows: npt.NDArray[np.int64]) -> svm.Frames:
            return svm.Frames(found.values[found.at(rows)], self.test_set.labels[rows])

        count = len(self.test_set.aus)
        fitted = svm.fit_and_score(
            frames(fold.train),
            frames(fold.val),
            found.values[found.at(fold.test)],
            self.config.svm,
            threads=self._threads,
            progress=lambda _: part.advance(1 / count),
        )
        part.advance(0, f"SVMs of {count} AUs")
        return {
            "scores": fitted.scores,
            "c": fitted.c,
            "stopped": np.array(fitted.stopped, np.int64),
        }

    def _note_svms(self, method: str, fold: FoldData, arrays: cache.Arrays) -> None:
        aus = self.test_set.aus
        stopped = [aus[au] for au in arrays["stopped"].tolist()]
        if stopped:
            self._note(
                f"{method}, fold {fold.number}: SVMs stopped before they converged: AU "
                f"{', '.join(stopped)}"
            )
        without = [au for au, c in zip(aus, arrays["c"].tolist(), strict=True) if math.isnan(c)]
        if without:
            self._note(
                f"fold {fold.number}: one class only among the training frames, so no SVM: AU "
                f"{', '.join(without)}"
            )

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _add(
        self,
        method: str,
        fold: FoldData,
        seed: int,
        scores: npt.NDArray[np.float32],
        c: npt.NDArray[np.float64] | None = None,
    ) -> None:
        """Writes predictions and keeps them for the scores."""
        data = self.test_set
        answers = Answers(
            np.array([data.keys[row] for row in fold.test]),
            np.array([data.subjects[row] for row in fold.test]),
            data.labels[fold.test],
            scores,
        )
        file = f"predictions/{_file(method)}-fold{fold.number}-seed{seed}.npz"
        arrays = dict(vars(answers)) | ({} if c is None else {"c": c})
        cache.write_arrays(self.config.out / file, arrays)
        self._predictions.append(Predictions(method, fold.number, seed, file))
        self._answers.setdefault((method, seed), {})[fold.number] = answers

    def _add_run(
        self, network: Network, job: Job, trained: Trained, found: Features, fold: int
    ) -> None:
        def relative(path: Path) -> str:
            return Path(os.path.relpath(path, self.config.out)).as_posix()

        mean = job.folder / MEAN_NAME
        self._runs.append(
            Run(
                net=network.name,
                fold=fold,
                seed=job.seed,
                folder=relative(job.folder),
                net_file=relative(job.folder / DEPLOY_NAME),
                weights=relative(job.folder / trained.weights),
                mean=relative(mean) if job.blueprint.subtracts_mean else None,
                iteration=trained.iteration,
                validation=[asdict(row) for row in trained.validation],
                parameters=job.parameters,
                train_ms=trained.train_ms,
                test_ms=found.test_ms,
                batch=network.training.batch_size,
            )
        )

    def _results(self) -> Results:
        return Results(
            folder=self.config.out,
            title=self.config.title,
            created=datetime.now().astimezone().isoformat(timespec="seconds"),
            drml=__version__,
            machine=protocol.machine(),
            semi_synthetic=self.config.semi_synthetic,
            train_set=self._data_set(self.train_set),
            test_set=self._data_set(self.test_set),
            cross=self.config.cross,
            protocol=protocol.sentences(self.config, self.train_set, self.test_set, self.folds),
            aus=self.test_set.aus,
            folds=[fold.number for fold in self.folds],
            seeds=list(self.config.seeds),
            methods=self._methods(),
            predictions=self._predictions,
            runs=self._runs,
            scores=self._scores(),
            notes=self._notes,
        )

    def _data_set(self, data: Prepared) -> DataSet:
        counts = data.manifest["counts"]
        path = Path(os.path.relpath(data.path, self.config.out)).as_posix()
        return DataSet(data.name, data.dataset, path, counts["frames"], counts["subjects"])

    def _methods(self) -> list[Method]:
        methods = [
            Method(ALL_POSITIVE, "all-positive", None),
            Method(PREVALENCE, "prevalence", None),
        ]
        if self.config.lsvm:
            methods.append(Method(LSVM, "lsvm", None))
        networks = self.config.networks
        methods += [Method(network.title, "svm", network.name) for network in networks]
        return methods + [
            Method(_sigmoid(network.title), "sigmoid", network.name) for network in networks
        ]

    def _scores(self) -> list[Score]:
        scorer = Scorer(self.test_set.aus, self.config.bootstrap)
        scores: list[Score] = []
        for seed in self.config.seeds:
            for method in self._methods():
                why = "no SVM: one class only among the training frames"
                if method.kind == "sigmoid":
                    why = "no output of the network"
                scores += scorer.rows(method.name, seed, self._answers[method.name, seed], why)
        silent = [au for au in self.test_set.aus if au not in self.train_set.aus]
        if silent and self.config.networks:
            self._note(f"AU {', '.join(silent)}: no outputs of the networks; SVMs score them")
        return scores


def _sigmoid(title: str) -> str:
    return f"{title} (sigmoid)"


def _file(method: str) -> str:
    """A method's name as a part of file names."""
    kept = "".join(char if char.isalnum() else "-" for char in method.lower())
    return "-".join(word for word in kept.split("-") if word)


def table(results: Results) -> str:
    """Means of all methods over AUs and folds, as aligned text."""
    from drml.text_table import align

    header = ("method", "F1", "95 %", "F1-norm", "ROC-AUC", "95 %", "PR-AUC")
    body = []
    for score in results.scores:
        if score.fold != "mean" or score.au != "mean":
            continue
        name = score.method
        if len(results.seeds) > 1:
            name += f", seed {score.seed}"
        body.append(
            (
                name,
                _figure(score.f1),
                _ends(score.f1_low, score.f1_high),
                _figure(score.f1_norm),
                _figure(score.roc_auc),
                _ends(score.roc_auc_low, score.roc_auc_high),
                _figure(score.pr_auc),
            )
        )
    return align(header, body)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _ends(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.3f} .. {high:.3f}"


def check_out(path: Path) -> None:
    """Refuses a folder of results that is something else.

    Raises:
        DataError: it is a file.
    """
    if path.exists() and not path.is_dir():
        raise DataError(f"{path}: is a file, not a folder for results")
