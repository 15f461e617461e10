"""The sections of a report that come from trained nets: losses, saliency, regions, cost."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from statistics import mean

import numpy as np

from drml.data.images import Pixels, encode
from drml.errors import DrmlError
from drml.experiment.results import Results, Run
from drml.published import POSTER
from drml.report import figures
from drml.report.curves import Curve, draw, read_curve
from drml.report.looks import Faces, Look, choose, look, mean_face, open_faces, saliency_sheet
from drml.report.page import Picture, Section
from drml.report.prediction_sections import Pooled
from drml.report.score_tables import data_name
from drml.report.tables import MISSING, Cell, Column, Row, Table

_PER_SHEET = 6


def net_title(results: Results, net: str) -> str:
    """What a net is called in print: the method that has an SVM on its features."""
    names = [m.name for m in results.methods if m.net == net and m.kind == "svm"]
    return names[0] if names else net


def _nets(results: Results) -> list[str]:
    return list(dict.fromkeys(run.net for run in results.runs))


# Convergence ------------------------------------------------------------------------------------


def convergence(results: Results) -> Section:
    """Training losses of all nets on the first fold, and what validation chose."""
    section = Section("convergence", "Convergence")
    curves: list[Curve] = []
    for net in _nets(results):
        run = next(run for run in results.runs if run.net == net)
        try:
            curve = read_curve(results.folder / run.folder)
        except DrmlError as error:
            section.note(f"{net_title(results, net)} has no curve: {error}")
            continue
        curve.name, curve.tests = net_title(results, net), {}
        curves.append(curve)
    if not curves:
        section.note("No net was trained in this experiment, or its losses are gone.")
        return section
    first = results.runs[0]
    caption = (
        f"Training loss against iterations, fold {first.fold}, seed {first.seed}; thin: each "
        "logged iteration, thick: smoothed. The loss is the paper's, summed over AUs, unknown "
        f"labels left out. Data: {data_name(results)}."
    )
    section.picture(Picture("convergence.png", draw_png(curves), caption))
    section.table(_chosen_table(results))
    return section


def draw_png(curves: list[Curve]) -> bytes:
    """The curves, with no more colors than they need."""
    return figures.few_colors(draw(curves, size=(6.4, 3.7), dpi=110))


def _chosen_table(results: Results) -> Table:
    """Rows are nets, columns folds and seeds."""
    places = list(dict.fromkeys((run.fold, run.seed) for run in results.runs))
    seeds = len({seed for _, seed in places}) > 1
    columns = [
        Column(f"fold {fold}, seed {seed}" if seeds else f"fold {fold}") for fold, seed in places
    ]
    found = {(run.net, run.fold, run.seed): str(run.iteration) for run in results.runs}
    rows = [
        Row(
            net_title(results, net),
            [Cell((found.get((net, fold, seed), MISSING),)) for fold, seed in places],
        )
        for net in _nets(results)
    ]
    caption = (
        "The iteration whose weights did best on the validation people. "
        f"Data: {data_name(results)}."
    )
    return Table("iterations", caption, "net", columns, rows)


# Saliency and regions ---------------------------------------------------------------------------


class Looks:
    """What the nets of the first fold show on chosen test faces.

    Args:
        results: of the experiment.
        pooled: its predictions.
        over_faces: whether the faces themselves may be seen.

    Attributes:
        over_faces: as given.
        notes: what could not be done, a line each.
    """

    def __init__(self, results: Results, pooled: Pooled, *, over_faces: bool = True) -> None:
        self.over_faces = over_faces
        self._results = results
        self._pooled = pooled
        self.notes: list[str] = []
        self.runs = self._first_runs()

    def _first_runs(self) -> list[Run]:
        """Each net's run on the first fold and seed."""
        runs = []
        for net in _nets(self._results):
            own = [run for run in self._results.runs if run.net == net]
            runs.append(min(own, key=lambda run: (run.fold, run.seed)))
        return runs

    @cached_property
    def chosen(self) -> dict[str, list[str]]:
        """AU -> keys of test faces of the first fold that show it, the surest first."""
        if not self.runs:
            return {}
        fold = self.runs[0].fold
        found = [self._pooled.of_fold(name, fold) for name in self._pooled.compared]
        answers = [given for given in found if given is not None]
        if not answers:
            self.notes.append("There are no predictions to choose faces by.")
            return {}
        keys = dict(zip(self._results.aus, choose(answers), strict=True))
        none = [au for au, faces in keys.items() if not faces]
        if none:
            self.notes.append(f"No test face of fold {fold} shows AU {', '.join(none)}.")
        return {au: faces for au, faces in keys.items() if faces}

    @cached_property
    def faces(self) -> Faces | None:
        """The test faces; None where they are not there any more."""
        path = Path(self._results.test_set.path)
        try:
            return open_faces(path if path.is_absolute() else self._results.folder / path)
        except DrmlError as error:
            self.notes.append(f"The test faces cannot be read: {error}")
            return None

    @cached_property
    def by_net(self) -> dict[str, Look]:
        """Net's title -> what it shows."""
        found: dict[str, Look] = {}
        if not self.chosen or self.faces is None:
            return found
        lost = [key for keys in self.chosen.values() for key in keys if key not in self.faces]
        if lost:
            self.notes.append(f"The test faces have changed: there is no '{lost[0]}' any more.")
            return found
        for run in self.runs:
            title = net_title(self._results, run.net)
            try:
                found[title] = look(
                    self._results.folder,
                    run,
                    self.faces,
                    self.chosen,
                    over_faces=self.over_faces,
                )
            except (DrmlError, OSError) as error:
                self.notes.append(f"{title} is left out: {error}")
                continue
            if found[title].missing:
                aus = ", ".join(found[title].missing)
                self.notes.append(f"{title} has no output for AU {aus}, so no saliency of it.")
        return {title: seen for title, seen in found.items() if seen.shown}


def saliency(results: Results, looks: Looks) -> Section:
    """Saliency per AU on chosen faces, for each net."""
    section = Section("saliency", "Saliency")
    nets = looks.by_net
    if nets and looks.faces is not None:
        fold = looks.runs[0].fold
        shown = [au for au in looks.chosen if any(au in seen.shown for seen in nets.values())]
        if looks.over_faces:
            one = {au: looks.faces.read(looks.chosen[au][0]) for au in shown}
            several = {au: mean_face(looks.faces, looks.chosen[au]) for au in shown}
            below, below_mean = "face", "mean face"
            chosen = (
                "On top, for each AU, the test face showing it of which all methods together are "
                "surest, so these are not typical faces; nets see their middle part."
            )
        else:
            one = several = dict.fromkeys(shown, next(iter(nets.values())).mean)
            below = below_mean = "mean"
            chosen = (
                "For each AU, of the test face showing it of which all methods together are "
                "surest; drawn over the mean image of the training faces, because this page shows "
                "no person."
            )
        data = data_name(results)
        for place, start in enumerate(range(0, len(shown), _PER_SHEET), 1):
            aus = shown[start : start + _PER_SHEET]
            sheet = saliency_sheet(
                {au: one[au] for au in aus},
                {name: seen.shown for name, seen in nets.items()},
                below,
            )
            caption = (
                f"Saliency of AU {', '.join(aus)}: magnitude of the gradient of the AU's logit "
                "with respect to each pixel, the greatest over color channels, blurred by 2 pixels "
                f"for the eye. {chosen} Fold {fold}. Data: {data}."
            )
            section.picture(Picture(f"saliency_{place}.jpg", _jpeg(sheet), caption, wide=True))
        for place, start in enumerate(range(0, len(shown), _PER_SHEET), 1):
            aus = shown[start : start + _PER_SHEET]
            sheet = saliency_sheet(
                {au: several[au] for au in aus},
                {name: seen.means for name, seen in nets.items()},
                below_mean,
            )
            most = max(len(looks.chosen[au]) for au in aus)
            caption = (
                f"The same for AU {', '.join(aus)} as the mean over up to {most} such faces, of "
                f"different people where there are enough; each map counts alike. Data: {data}."
            )
            section.picture(Picture(f"saliency_mean_{place}.jpg", _jpeg(sheet), caption, wide=True))
    for note in looks.notes:
        section.note(note)
    if not section.blocks:
        section.note("No net was trained in this experiment.")
    return section


def _jpeg(picture: Pixels) -> bytes:
    return encode(picture, "jpg", 82)


def regions(results: Results, looks: Looks) -> Section:
    """Weights of the region layer, per patch, and where each AU's logit leans on them."""
    section = Section("regions", "Region weights")
    for title, seen in looks.by_net.items():
        if seen.region is None:
            continue
        maps = {"norm of weights": seen.region}
        maps |= {f"AU {au}": values for au, values in seen.active.items()}
        shape = " x ".join(map(str, seen.region.shape))
        caption = (
            f"{title}: its region layer has {shape} patches with weights of their own. First: the "
            "L2 norm of each patch's weights, which all AUs share. Then, per AU: the L2 norm of "
            "the gradient of the AU's logit with respect to each patch's weights, summed over the "
            "faces of the figures above. Each map over its greatest value. (The active patches of "
            "the paper are weights of JPML and APL, which are not here.) "
            f"Data: {data_name(results)}."
        )
        section.picture(
            Picture(f"regions_{title.lower()}.png", figures.patches(maps), caption, wide=True)
        )
    return section


# Cost -------------------------------------------------------------------------------------------


def cost(results: Results) -> Section:
    """Parameters and running time in the poster's form, printed and ours."""
    section = Section("cost", "Parameters and running time")
    nets = _nets(results)
    if not nets:
        section.note("No net was trained in this experiment.")
        return section
    columns = [Column(net_title(results, net)) for net in nets]
    runs = {net: [run for run in results.runs if run.net == net] for net in nets}
    printed = [POSTER.get(net) for net in nets]
    batches = sorted({run.batch for run in results.runs})
    where = f"{results.machine.get('cpu', 'this machine')}, batch {', '.join(map(str, batches))}"
    rows = [
        Row("parameters, counted", [Cell((f"{runs[net][0].parameters:,}",)) for net in nets]),
        Row("parameters, poster", [Cell((p.parameters if p else MISSING,)) for p in printed]),
        Row("train, ms per image, here", [_mean_ms(runs[n], "train_ms") for n in nets], rule=True),
        Row("train, poster (K40c)", [_ms(p.train_ms if p else None) for p in printed]),
        Row("test, ms per image, here", [_mean_ms(runs[net], "test_ms") for net in nets]),
        Row("test, poster (K40c)", [_ms(p.test_ms if p else None) for p in printed]),
    ]
    caption = (
        f"Learned parameters, counted from the nets, and ms per image: here on {where}, and as the "
        "poster prints for one Tesla K40c under Caffe without cuDNN. Ours in training are of whole "
        "iterations, data and update included. The machines differ; only the order of the nets can "
        "be compared."
    )
    section.table(Table("cost", caption, "", columns, rows))
    section.items(
        f"{net_title(results, net)}: {p.remark}."
        for net, p in zip(nets, printed, strict=True)
        if p is not None and p.remark
    )
    return section


def _mean_ms(runs: list[Run], name: str) -> Cell:
    values = [value for run in runs if (value := getattr(run, name)) is not None]
    return _ms(mean(values) if values else None)


def _ms(value: float | None) -> Cell:
    if value is None or not np.isfinite(value):
        return Cell((MISSING,))
    return Cell((f"{value:.1f}" if value >= 1 else f"{value:.2g}",))
