"""Builds the report of an experiment from its folder: sections, files, page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from drml.errors import DataError
from drml.experiment.results import MEAN, Results
from drml.report import PAGE_NAME
from drml.report.net_sections import Looks, convergence, cost, regions, saliency
from drml.report.page import Section, render
from drml.report.prediction_sections import Pooled, confusions, relations, rocs
from drml.report.score_tables import (
    TRIVIAL,
    Scores,
    count_table,
    fold_name,
    fold_table,
    interval_table,
    main_table,
    other_table,
    published_table,
    score_notes,
    seed_table,
    sigmoid_table,
)
from drml.report.tables import percent
from drml.weights import atomic_write

_TABLES, _FIGURES = "tables", "figures"
_SEMI_SYNTHETIC = (
    "Semi-synthetic data: photographs moved by a program as each AU would move them, with the "
    "program's settings as labels. No figure here says how well a method does on recorded faces, "
    "and none can be compared with the paper's number by number."
)


def build(folder: Path, *, faces: bool = True) -> Path:
    """Writes the report; see drml.report.write."""
    results = Results.load(folder)
    sections = _sections(results, faces)
    page = render(
        results.title,
        f"{_date(results.created)}, drml {results.drml}, {_machine(results)}",
        _SEMI_SYNTHETIC if results.semi_synthetic else "",
        _facts(results),
        sections,
    )
    try:
        for name in (_TABLES, _FIGURES):
            (folder / name).mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror or error}") from error
    for section in sections:
        for table in section.tables:
            atomic_write(folder / _TABLES / f"{table.name}.csv", table.to_csv().encode())
            atomic_write(folder / _TABLES / f"{table.name}.tex", table.to_latex().encode())
        for picture in section.pictures:
            atomic_write(folder / _FIGURES / picture.name, picture.content)
    atomic_write(folder / PAGE_NAME, page.encode())
    return folder / PAGE_NAME


def _sections(results: Results, faces: bool) -> list[Section]:
    scores = Scores(results)
    pooled = Pooled(results)
    looks = Looks(results, pooled, over_faces=faces)
    makers: list[Callable[[], Section]] = [
        lambda: _results(scores),
        lambda: _beside(scores),
        lambda: _details(scores),
        lambda: convergence(results),
        lambda: rocs(results, pooled),
        lambda: relations(results, pooled),
        lambda: confusions(results, pooled),
        lambda: saliency(results, looks),
        lambda: regions(results, looks),
        lambda: cost(results),
        lambda: _protocol(scores),
    ]
    return [make() for make in makers]


def _results(scores: Scores) -> Section:
    section = Section("results", "Results")
    section.table(main_table(scores))
    section.text(
        "The all-positive row says yes to every face: its F1 is 2p / (1 + p) at a rate p, which a "
        "method has to beat before its F1 says anything. Its ROC-AUC is 50 by definition."
    )
    section.table(sigmoid_table(scores))
    return section


def _beside(scores: Scores) -> Section:
    section = Section("paper", "Beside the paper")
    table = published_table(scores)
    if table is None:
        name = scores.results.test_set.dataset
        section.note(f"The paper has no table for data of the kind '{name}'.")
    section.table(table)
    return section


def _details(scores: Scores) -> Section:
    section = Section("details", "Folds, intervals, counts")
    section.table(fold_table(scores))
    section.table(seed_table(scores))
    section.table(interval_table(scores), folded="95 % intervals per AU")
    section.table(other_table(scores), folded="F1-norm and PR-AUC per AU")
    section.table(count_table(scores), folded="Labels of the test faces per AU")
    notes = score_notes(scores)
    if notes:
        section.heading("Not defined, so left out of the means")
        section.items(notes)
    return section


def _protocol(scores: Scores) -> Section:
    results = scores.results
    section = Section("protocol", "Protocol and notes")
    section.items(results.protocol)
    section.text(f"Main tables show the {fold_name(scores.fold)}.")
    if results.notes:
        section.heading("Notes")
        section.items(results.notes)
    section.heading("Data and machine")
    sets = [results.test_set]
    if results.cross:
        sets.insert(0, results.train_set)
    section.items(
        [
            *(
                f"{data.name} (layout of {data.dataset}): {data.frames:,} faces of {data.subjects} "
                "people"
                for data in sets
            ),
            f"{_machine(results)}; drml {results.drml}; {results.created}",
        ]
    )
    section.text(
        "Tables stand as CSV and LaTeX (booktabs) in tables/, figures in figures/, every figure "
        "behind them in results.json."
    )
    return section


def _facts(results: Results) -> list[tuple[str, str]]:
    """What the top of the page shows: size, and the best and the trivial mean."""
    scores = Scores(results)
    facts = [
        (f"{results.test_set.frames:,}", f"faces of {results.test_set.subjects} people"),
        (str(len(results.folds)), "folds" if len(results.folds) != 1 else "fold"),
    ]
    for figure, name in (("f1", "mean F1"), ("roc_auc", "mean ROC-AUC")):
        found = [
            (value, method.name)
            for method in results.methods
            if method.kind not in TRIVIAL
            and (value := scores.figure(method.name, MEAN, figure)) is not None
        ]
        if found:
            value, method_name = max(found)
            facts.append((percent(value), f"{name}, {method_name}"))
    for method in results.methods:
        value = scores.figure(method.name, MEAN, "f1")
        if method.kind == "all-positive" and value is not None:
            facts.append((percent(value), "mean F1, all-positive"))
    return facts


def _machine(results: Results) -> str:
    cpu, cores = results.machine.get("cpu", "unknown CPU"), results.machine.get("cores")
    return f"{cpu}, {cores} cores" if cores else str(cpu)


def _date(created: str) -> str:
    return created[:10] or "no date"
