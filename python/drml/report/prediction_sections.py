"""The sections of a report that come from predictions: ROC, AU relations, confused AUs."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from drml.errors import DrmlError
from drml.experiment.results import Answers, Results
from drml.relations import Relations, distance, draw
from drml.relations import answers as said
from drml.report import figures
from drml.report.page import Picture, Section
from drml.report.score_tables import data_name
from drml.report.tables import Cell, Column, Row, Table, percent

_SCORED = ("lsvm", "svm", "sigmoid")


class Pooled:
    """The answers of every method, the folds of the first seed one after the other.

    Attributes:
        by_method: method -> answers; methods with other folds than the most are left out.
        notes: what could not be read, a line each.
    """

    def __init__(self, results: Results) -> None:
        self._results = results
        self.notes: list[str] = []
        self._read: dict[tuple[str, int], Answers] = {}
        for entry in results.predictions:
            if entry.seed != results.seeds[0]:
                continue
            try:
                self._read[entry.method, entry.fold] = results.answers(entry)
            except DrmlError as error:
                self.notes.append(f"Left out of the figures: {error}")

    @cached_property
    def by_method(self) -> dict[str, Answers]:
        """The pooled answers, in the order of the methods; trivial answers are not among them."""
        pooled = {}
        wanted = {fold for _, fold in self._read}
        for method in self._results.methods:
            found = [self._read.get((method.name, fold)) for fold in sorted(wanted)]
            parts = [answers for answers in found if answers is not None]
            if method.kind not in _SCORED or not parts:
                continue
            if len(parts) < len(wanted):
                self.notes.append(
                    f"{method.name} is left out of the figures: it has predictions for "
                    f"{len(parts)} of {len(wanted)} folds"
                )
                continue
            pooled[method.name] = Answers(
                np.concatenate([part.keys for part in parts]),
                np.concatenate([part.subjects for part in parts]),
                np.concatenate([part.labels for part in parts]),
                np.concatenate([part.scores for part in parts]),
            )
        return pooled

    @property
    def compared(self) -> dict[str, Answers]:
        """Those of SVMs alone, which the paper compares; of sigmoids where there are no others."""
        kinds = {method.name: method.kind for method in self._results.methods}
        svm = {name: a for name, a in self.by_method.items() if kinds[name] != "sigmoid"}
        return svm or self.by_method

    def of_fold(self, method: str, fold: int) -> Answers | None:
        """The answers of a method on a fold, None where there are none."""
        return self._read.get((method, fold))


def _say_missing(section: Section, pooled: Pooled) -> bool:
    """Whether there are no predictions at all, which the section then says."""
    if pooled.by_method:
        return False
    section.note("There are no predictions to draw this from.")
    return True


def rocs(results: Results, pooled: Pooled) -> Section:
    """ROC curves per AU."""
    section = Section("roc", "ROC per AU")
    if _say_missing(section, pooled):
        return section
    picture, left_out = figures.roc(pooled.compared, results.aus)
    pooled_from = "the answers of all folds pooled" if len(results.folds) > 1 else "one fold"
    caption = (
        f"ROC curves, {pooled_from}. Each fold has an SVM with a scale of its own, so a pooled "
        f"curve can lie below those of the folds. Data: {data_name(results)}."
    )
    section.picture(Picture("roc.png", picture, caption, wide=True))
    if left_out:
        section.note(
            f"No curve of AU {', '.join(left_out)}: labels of one class only, or no answers."
        )
    for note in pooled.notes:
        section.note(note)
    return section


def relations(results: Results, pooled: Pooled) -> Section:
    """AU relation tables of labels and predictions, and how far they are apart."""
    section = Section("relations", "AU relations")
    if _say_missing(section, pooled):
        return section
    labels = next(iter(pooled.by_method.values())).labels
    tables = [Relations("labels", results.aus, labels)]
    tables += [
        Relations(name, results.aus, said(answers.labels, answers.scores))
        for name, answers in pooled.by_method.items()
        if name in pooled.compared
    ]
    found = [distance(tables[0].table, table.table) for table in tables]
    titles = ["labels"] + [
        f"{table.name}: distance {d.value:.4f}"
        for table, d in zip(tables[1:], found[1:], strict=True)
    ]
    cells = len(results.aus) ** 2
    caption = (
        "AU relation tables. Above the diagonal Pearson's phi over all test faces, below it over "
        "the faces with at least one of the two AUs; unknown labels left out of labels and answers "
        f"alike. Gray: not defined. Data: {data_name(results)}."
    )
    section.picture(
        Picture(
            "relations.png", figures.few_colors(draw(tables, titles=titles)), caption, wide=True
        )
    )
    rows = []
    for name, answers in pooled.by_method.items():
        table = Relations(name, results.aus, said(answers.labels, answers.scores))
        d = distance(tables[0].table, table.table)
        rows.append(Row(name, [Cell((f"{d.value:.5f}",)), Cell((str(d.left_out),))]))
    section.table(
        Table(
            "relation_distance",
            "Distance of each method's relation table to that of the labels: the Frobenius norm of "
            f"the difference over the number of cells compared, {cells} where all are defined. "
            f"Data: {data_name(results)}.",
            "method",
            [Column("distance"), Column("cells not defined")],
            rows,
        )
    )
    return section


def confusions(results: Results, pooled: Pooled) -> Section:
    """Which AUs are said to be present where another one is."""
    section = Section("confusions", "Confused AUs")
    if _say_missing(section, pooled):
        return section
    caption = (
        "How much an AU that is present raises false alarms of another: the share of faces with AU "
        f"i and without AU j of which j is said, less that of all faces without AU j. Gray: fewer "
        f"than {figures.LEAST_FRAMES} such faces. Data: {data_name(results)}."
    )
    picture = figures.draw_confusion(pooled.compared, results.aus)
    section.picture(Picture("confusions.png", picture, caption, wide=True))
    rows = []
    for name, answers in pooled.compared.items():
        for place, pair in enumerate(figures.confused_pairs(answers, results.aus)):
            cells = (f"AU {pair.said}", f"AU {pair.present}", percent(pair.share))
            texts = (*cells, percent(pair.usual))
            rows.append(Row(name, [Cell((text,)) for text in texts], rule=place == 0))
    if rows:
        caption = (
            "The pairs with the most additional false alarms: in what percentage of faces an AU is "
            "said to be present that is absent, of those with the other AU and of all. "
            f"Data: {data_name(results)}."
        )
        heads = [Column("said"), Column("where"), Column("there, %"), Column("overall, %")]
        table = Table("confusions", caption, "method", heads, rows)
        section.table(table, folded="The most confused pairs of each method")
    return section
