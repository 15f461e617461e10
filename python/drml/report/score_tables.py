"""The tables of scores: the paper's layout, what the paper printed, folds, intervals, counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean, stdev

from drml.experiment.results import MEAN, POOLED, Method, Results, Score
from drml.published import TABLES, Pair, PublishedTable
from drml.report.tables import MISSING, Cell, Column, Row, Table, mark_best, percent

TRIVIAL = ("all-positive", "prevalence")
_OWN_OUTPUT = "sigmoid"
_F1_AUC = ("F1", "ROC-AUC")


class Scores:
    """The scores of an experiment, by method, AU and fold; of several seeds the mean.

    Attributes:
        results: the experiment.
        fold: the fold of the main tables: `mean` of the folds, else `pooled`, else the only one.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self._rows: dict[tuple[str, str, int | str], list[Score]] = {}
        for score in results.scores:
            key = (score.method, score.au, score.fold)
            self._rows.setdefault(key, []).append(score)
        folds = {score.fold for score in results.scores}
        found = [fold for fold in (MEAN, POOLED, *results.folds) if fold in folds]
        self.fold: int | str = found[0] if found else MEAN

    def rows(self, method: str, au: str, fold: int | str | None = None) -> list[Score]:
        """The scores of the seeds; none where there is no such row."""
        return self._rows.get((method, au, self.fold if fold is None else fold), [])

    def figure(
        self, method: str, au: str, name: str, fold: int | str | None = None
    ) -> float | None:
        """A figure, such as `f1`, as the mean of the seeds; None where it is not defined."""
        values = [getattr(score, name) for score in self.rows(method, au, fold)]
        known = [float(value) for value in values if value is not None]
        return mean(known) if known else None

    def has(self, method: str) -> bool:
        """Whether a method has scores at all."""
        return any(key[0] == method for key in self._rows)

    def kinds(self, *kinds: str) -> list[Method]:
        """The methods of some kinds that have scores, trivial answers last."""
        methods = [m for m in self.results.methods if m.kind in kinds and self.has(m.name)]
        return sorted(methods, key=lambda method: method.kind in TRIVIAL)


def data_name(results: Results) -> str:
    """The data and how they were used, for captions; says where they are semi-synthetic."""
    kind = "semi-synthetic, " if results.semi_synthetic else ""
    folds = f"{len(results.folds)} folds" if len(results.folds) > 1 else "1 fold"
    seeds = f", mean of {len(results.seeds)} seeds" if len(results.seeds) > 1 else ""
    if results.cross:
        return (
            f"{results.test_set.name} ({kind}nets trained on {results.train_set.name}; "
            f"{folds}{seeds})"
        )
    return f"{results.test_set.name} ({kind}{folds}{seeds})"


def fold_name(fold: int | str) -> str:
    """What the figures of a fold are, for captions."""
    return {MEAN: "mean over the folds", POOLED: "all folds' answers pooled"}.get(
        str(fold), f"fold {fold}"
    )


def main_table(scores: Scores) -> Table:
    """AUs and mean by methods, F1 / ROC-AUC: the paper's layout, our figures alone."""
    results = scores.results
    methods = scores.kinds("lsvm", "svm", *TRIVIAL)
    caption = (
        f"F1-frame / ROC-AUC times 100 on {data_name(results)}, {fold_name(scores.fold)}. Nets: a "
        "linear SVM per AU on their features. Bold: the best of each row, trivial answers aside."
    )
    return _by_au(scores, "results", caption, methods, ("f1", "roc_auc"), _F1_AUC)


def sigmoid_table(scores: Scores) -> Table | None:
    """The same of the nets' own outputs at 0.5; None where there are none."""
    methods = scores.kinds(_OWN_OUTPUT)
    if not methods:
        return None
    caption = (
        "F1-frame / ROC-AUC times 100 of the nets' own outputs, present where the sigmoid is above "
        f"0.5, without an SVM: {data_name(scores.results)}, {fold_name(scores.fold)}."
    )
    return _by_au(scores, "sigmoid", caption, methods, ("f1", "roc_auc"), _F1_AUC)


def other_table(scores: Scores) -> Table:
    """F1-norm / PR-AUC of all methods."""
    methods = scores.kinds("lsvm", "svm", _OWN_OUTPUT, *TRIVIAL)
    caption = (
        "F1-norm / PR-AUC times 100: F1 with the false positives times negatives / positives, and "
        f"the area under the precision-recall curve. {data_name(scores.results)}, "
        f"{fold_name(scores.fold)}."
    )
    parts = ("F1-norm", "PR-AUC")
    return _by_au(scores, "f1_norm_pr_auc", caption, methods, ("f1_norm", "pr_auc"), parts)


def _by_au(
    scores: Scores,
    name: str,
    caption: str,
    methods: Sequence[Method],
    figures: tuple[str, str],
    parts: tuple[str, str],
) -> Table:
    rows = [
        Row(
            au,
            [
                Cell(tuple(percent(scores.figure(m.name, au, figure)) for figure in figures))
                for m in methods
            ],
            rule=au == MEAN,
        )
        for au in (*scores.results.aus, MEAN)
    ]
    compared = [place for place, method in enumerate(methods) if method.kind not in TRIVIAL]
    columns = [Column(method.name, parts=parts) for method in methods]
    return Table(name, caption, "AU", columns, mark_best(rows, compared))


def published_table(scores: Scores) -> Table | None:
    """Ours beside the paper's; None where the paper has nothing on this data set."""
    results = scores.results
    paper = TABLES.get(results.test_set.dataset)
    if paper is None:
        return None
    methods = scores.kinds("lsvm", "svm", "all-positive")
    kind = ", semi-synthetic" if results.semi_synthetic else ""
    ours = f"here: {results.test_set.name}{kind}"
    theirs = f"paper: {paper.name}"
    columns = [Column(m.name, ours, _F1_AUC) for m in methods]
    columns += [Column(m, theirs, ("F1", "AUC")) for m in paper.methods]
    rows = [
        Row(au, [*_our_cells(scores, methods, au), *_paper_cells(paper, au)]) for au in results.aus
    ]
    printed = [_pair(paper.printed_mean[method]) for method in paper.methods]
    rows.append(Row(MEAN, [*_our_cells(scores, methods, MEAN), *printed], rule=True))
    computed = [_pair(paper.recomputed_mean(method)) for method in paper.methods]
    recomputed = [_recomputed(scores, m, results.aus) for m in methods]
    rows.append(Row("mean of the cells", [*recomputed, *computed]))
    common = [au for au in results.aus if au in paper.aus]
    if common != list(paper.aus) or common != results.aus:
        cells = [_recomputed(scores, m, common) for m in methods]
        cells += [_paper_mean(paper, method, common) for method in paper.methods]
        rows.append(Row(f"mean of {len(common)} common AUs", cells))
    other = "other faces, other labels" if results.semi_synthetic else "the same data set"
    caption = (
        "F1-frame / AUC times 100 beside the paper's. Ours are ROC-AUC; what the paper's AUC is, "
        "it does not say, and its values are too low for ROC-AUC. The two halves come from "
        f"{other}: they show the layout and the order of the methods, not who is better by how "
        "much. 'mean' is as printed in the paper; where it does not follow from the printed cells, "
        f"the row below shows it. The paper's protocol: {paper.protocol}. Ours: "
        f"{data_name(results)}, {fold_name(scores.fold)}."
    )
    return Table("published", caption, "AU", columns, rows)


def _our_cells(scores: Scores, methods: Iterable[Method], au: str) -> list[Cell]:
    return [
        Cell(tuple(percent(scores.figure(m.name, au, figure)) for figure in ("f1", "roc_auc")))
        for m in methods
    ]


def _paper_cells(paper: PublishedTable, au: str) -> list[Cell]:
    if au not in paper.aus:
        return [Cell((MISSING, MISSING)) for _ in paper.methods]
    return [_pair(paper.cell(method, au)) for method in paper.methods]


def _paper_mean(paper: PublishedTable, method: str, aus: Sequence[str]) -> Cell:
    if not aus:
        return Cell((MISSING, MISSING))
    f1, auc = zip(*(paper.cell(method, au) for au in aus), strict=True)
    return _pair((mean(f1), mean(auc)))


def _pair(pair: Pair) -> Cell:
    return Cell(tuple(f"{value:.1f}" for value in pair))


def _recomputed(scores: Scores, method: Method, aus: Sequence[str]) -> Cell:
    """The means of our own cells."""
    parts = []
    for figure in ("f1", "roc_auc"):
        values = [scores.figure(method.name, au, figure) for au in aus]
        known = [value for value in values if value is not None]
        parts.append(percent(mean(known) if known else None))
    return Cell(tuple(parts))


def fold_table(scores: Scores) -> Table:
    """Mean F1 / ROC-AUC of each method on each fold, pooled, and their mean; a row per seed too."""
    results = scores.results
    folds: list[int | str] = [*results.folds]
    folds += [fold for fold in (MEAN, POOLED) if any(s.fold == fold for s in results.scores)]
    columns = [
        Column(fold if isinstance(fold, str) else f"fold {fold}", parts=_F1_AUC) for fold in folds
    ]
    rows = []
    for method in scores.kinds("lsvm", "svm", _OWN_OUTPUT, *TRIVIAL):
        cells = [
            Cell(
                tuple(percent(scores.figure(method.name, MEAN, f, fold)) for f in ("f1", "roc_auc"))
            )
            for fold in folds
        ]
        rows.append(Row(method.name, cells))
    caption = (
        f"Means over the AUs, F1-frame / ROC-AUC times 100, fold by fold: {data_name(results)}."
    )
    return Table("folds", caption, "method", columns, rows)


def seed_table(scores: Scores) -> Table | None:
    """Mean F1 / ROC-AUC of each seed and their deviation; None where there is one seed."""
    results = scores.results
    if len(results.seeds) < 2:
        return None
    columns = [Column(f"seed {seed}", parts=_F1_AUC) for seed in results.seeds]
    columns.append(Column("deviation", parts=_F1_AUC))
    rows = []
    for method in scores.kinds("svm", _OWN_OUTPUT):
        of_seed = {score.seed: score for score in scores.rows(method.name, MEAN)}
        found = [of_seed.get(seed) for seed in results.seeds]
        cells = [
            Cell((percent(score.f1), percent(score.roc_auc)) if score else (MISSING, MISSING))
            for score in found
        ]
        spread = [_deviation([getattr(s, n) for s in found if s]) for n in ("f1", "roc_auc")]
        rows.append(Row(method.name, [*cells, Cell(tuple(map(percent, spread)))]))
    caption = (
        f"Means over the AUs, F1-frame / ROC-AUC times 100, by seed, and the standard deviation "
        f"between seeds: {data_name(results)}, {fold_name(scores.fold)}."
    )
    return Table("seeds", caption, "method", columns, rows)


def _deviation(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return stdev(known) if len(known) > 1 else None


def interval_table(scores: Scores) -> Table | None:
    """F1 with its 95 % interval per AU and method; None where none was computed."""
    results = scores.results
    fold = _fold_with_intervals(results)
    if fold is None:
        return None
    methods = [
        m
        for m in scores.kinds("lsvm", "svm", _OWN_OUTPUT, *TRIVIAL)
        if any(
            s.f1_low is not None or s.roc_auc_low is not None for s in _of(results, m.name, fold)
        )
    ]
    columns = [Column(name, m.name) for m in methods for name in ("F1", "ROC-AUC")]
    rows = []
    for au in (*results.aus, MEAN):
        cells = [
            _interval(scores.rows(m.name, au, fold), figure)
            for m in methods
            for figure in ("f1", "roc_auc")
        ]
        rows.append(Row(au, cells, rule=au == MEAN))
    caption = (
        f"95 % bootstrap intervals over subjects, times 100: {data_name(results)}, "
        f"{fold_name(fold)}{', seed ' + str(results.seeds[0]) if len(results.seeds) > 1 else ''}."
    )
    return Table("intervals", caption, "AU", columns, rows)


def _of(results: Results, method: str, fold: int | str) -> list[Score]:
    return [s for s in results.scores if s.method == method and s.fold == fold]


def _fold_with_intervals(results: Results) -> int | str | None:
    found = {s.fold for s in results.scores if s.f1_low is not None or s.roc_auc_low is not None}
    return next((fold for fold in (POOLED, MEAN, *results.folds) if fold in found), None)


def _interval(rows: Sequence[Score], figure: str) -> Cell:
    if not rows:
        return Cell((MISSING,))
    value = getattr(rows[0], figure)
    low, high = getattr(rows[0], f"{figure}_low"), getattr(rows[0], f"{figure}_high")
    if value is None or low is None or high is None:
        return Cell((percent(value),))
    return Cell((f"{percent(value)} [{percent(low)}, {percent(high)}]",))


def count_table(scores: Scores) -> Table | None:
    """Positives, negatives and unknown labels of the test faces, per AU and fold."""
    results = scores.results
    folds: list[int | str] = [*results.folds, POOLED]
    columns, found = [], {}
    for fold in folds:
        counts = {s.au: s for s in results.scores if s.fold == fold and s.positives is not None}
        if counts:
            found[fold] = counts
            name = "all folds" if fold == POOLED else f"fold {fold}"
            columns.append(Column(name, parts=("positives", "negatives", "unknown")))
    if not found:
        return None
    rows = []
    for au in results.aus:
        cells = []
        for counts in found.values():
            score = counts.get(au)
            numbers = (score.positives, score.negatives, score.unknown) if score else (None,) * 3
            cells.append(Cell(tuple(MISSING if n is None else str(n) for n in numbers)))
        rows.append(Row(au, cells))
    caption = f"Positive / negative / unknown labels of the test faces: {data_name(results)}."
    return Table("counts", caption, "AU", columns, rows)


def score_notes(scores: Scores) -> list[str]:
    """What the scores themselves note, such as an AU of one class, each once."""
    notes: dict[tuple[str, str, int | str], list[str]] = {}
    for score in scores.results.scores:
        if score.note and score.au != MEAN:
            methods = notes.setdefault((score.note, score.au, score.fold), [])
            if score.method not in methods:
                methods.append(score.method)
    all_methods = {method.name for method in scores.results.methods if scores.has(method.name)}
    lines = []
    for (note, au, fold), methods in notes.items():
        where = f"fold {fold}" if isinstance(fold, int) else fold_name(fold)
        who = "" if set(methods) == all_methods else f", {', '.join(methods)}"
        lines.append(f"AU {au}, {where}{who}: {note}")
    return lines
