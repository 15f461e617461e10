"""The report of a made-up experiment: page, tables, figures, and what is missing."""

from __future__ import annotations

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from cli_testing import refused
from report_testing import FOLDS, NETS, TITLES, make_experiment, write_results

from drml import _core
from drml.errors import DataError
from drml.experiment.results import Answers, Results
from drml.published import BP4D
from drml.relations import answers as said
from drml.report import figures, write
from drml.report.looks import choose
from drml.report.net_sections import Looks
from drml.report.prediction_sections import Pooled, relations
from drml.report.score_tables import Scores, main_table, published_table, seed_table
from drml.report.tables import Cell, Column, Row, Table, latex, mark_best, percent
from drml.run import main
from drml.saliency import LogitGradients, overlay

pytestmark = pytest.mark.cpu_only

AUS = ("1", "4", "12", "24")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment's folder with its report; not to be changed."""
    _core.set_threads(1)
    folder = tmp_path_factory.mktemp("experiment")
    make_experiment(folder, aus=AUS)
    write(folder)
    return folder


@pytest.fixture
def experiment(made: Path, tmp_path: Path) -> Path:
    """A copy of it, without the report, to be changed."""
    folder = tmp_path / "copy"
    ignored = shutil.ignore_patterns("report.html", "tables", "figures")
    shutil.copytree(made, folder, ignore=ignored)
    return folder


def results_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


class Checker(HTMLParser):
    """Collects texts, and fails on tags that do not close or point outside the page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.images = 0
        self.ids: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "img":
            self.images += 1
            assert (given["src"] or "").startswith("data:image/")
            assert given["alt"]
        assert "src" not in given or tag == "img"
        self.ids |= {given["id"] or ""} if "id" in given else set()
        self.links |= {(given["href"] or "").removeprefix("#")} if "href" in given else set()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read_page(folder: Path) -> tuple[Checker, str]:
    checker = Checker()
    checker.feed((folder / "report.html").read_text(encoding="utf-8"))
    assert checker.open == []
    return checker, " ".join(" ".join(checker.texts).split())


def test_page_is_one_whole_file(made: Path) -> None:
    checker, text = read_page(made)
    page = (made / "report.html").read_text(encoding="utf-8")
    assert "An experiment <made> up" in text
    assert "A note & more." in text
    assert checker.links == checker.ids != set()
    assert not re.search(r"https?://|@import|<script|<link", page)
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    assert checker.images == len(list((made / "figures").iterdir()))
    assert len(page) < 1_000_000


def test_everything_asked_for_is_there(made: Path) -> None:
    tables = {path.name for path in (made / "tables").iterdir()}
    for name in (
        *("results", "sigmoid", "published", "folds", "intervals", "f1_norm_pr_auc", "counts"),
        *("iterations", "relation_distance", "cost"),
    ):
        assert {f"{name}.csv", f"{name}.tex"} <= tables
    shown = {path.name for path in (made / "figures").iterdir()}
    assert shown == {
        *("convergence.png", "roc.png", "relations.png", "confusions.png", "regions_drml.png"),
        *("saliency_1.jpg", "saliency_mean_1.jpg"),
    }
    for path in (made / "figures").iterdir():
        image = cv2.imread(str(path))
        assert image is not None
        assert image.std() > 5, path
    _, text = read_page(made)
    for wanted in ("2 folds, no subject in two of them.", "Some CPU, 2 cores", "0.1.0", "K40c"):
        assert wanted in text


def test_every_caption_says_semi_synthetic(made: Path) -> None:
    page = (made / "report.html").read_text(encoding="utf-8")
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    assert len(captions) > 12
    unsaid = [c for c in captions if "semi-synthetic" not in c and "K40c" not in c]
    assert unsaid == []


def test_real_data_are_not_called_so(experiment: Path) -> None:
    """Without predictions and runs, which takes no time to draw."""
    bare = {"semi_synthetic": False, "predictions": [], "runs": []}
    write_results(experiment, results_of(experiment) | bare)
    page = write(experiment).read_text(encoding="utf-8")
    assert "semi-synthetic" not in page.lower()
    assert "the same data set" in page


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_table_holds_the_scores(made: Path) -> None:
    results = results_of(made)
    header, *rows = read_csv(made / "tables" / "results.csv")
    names = ["LSVM", "DRML", "ConvNet", "all-positive"]
    parts = [f"{name} {part}" for name in names for part in ("F1", "ROC-AUC")]
    assert header == ["AU", *parts]
    assert [row[0] for row in rows] == [*AUS, "mean"]
    for row in rows:
        cells = iter(row[1:])
        for name in names:
            (score,) = (
                s
                for s in results["scores"]
                if (s["method"], s["au"], s["fold"]) == (name, row[0], "mean")
            )
            assert next(cells) == f"{100 * score['f1']:.1f}"
            assert next(cells) == f"{100 * score['roc_auc']:.1f}"


def test_the_papers_figures_stand_beside(made: Path) -> None:
    header, *rows = read_csv(made / "tables" / "published.csv")
    column = header.index("paper: BP4D: DRML F1")
    found = {row[0]: row[column : column + 2] for row in rows}
    assert found["12"] == ["65.8", "60.8"]
    assert found["mean"] == ["48.3", "56.0"]
    assert found["mean of the cells"] == ["47.7", "56.0"]
    f1 = np.mean([BP4D.cell("DRML", au)[0] for au in AUS])
    assert found["mean of 4 common AUs"][0] == f"{f1:.1f}"
    assert header[1] == "here: made up, semi-synthetic: LSVM F1"


def test_latex_compiles_in_shape(made: Path) -> None:
    for path in (made / "tables").glob("*.tex"):
        text = path.read_text()
        assert text.count("\\begin{") == text.count("\\end{")
        assert text.count("{") == text.count("}")
        body = text.split("\\toprule")[1].split("\\bottomrule")[0]
        widths = set()
        for line in body.splitlines():
            if line.endswith("\\\\"):
                spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
                widths.add(len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans) - len(spans))
        columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)
        assert columns is not None
        assert widths == {len(columns[1])}, path


def test_command_names_the_page(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(experiment, results_of(experiment) | {"predictions": [], "runs": []})
    for _ in range(2):
        assert main(["report", str(experiment)]) == 0
        assert capsys.readouterr().out.strip() == str(experiment / "report.html")
        assert (experiment / "report.html").is_file()


def test_missing_pieces_are_told(experiment: Path) -> None:
    results = results_of(experiment)
    (experiment / "runs" / "drml_1" / "w.caffemodel").unlink()
    (experiment / "runs" / "convnet_1" / "metrics.jsonl").unlink()
    gone = next(p for p in results["predictions"] if p["method"] == "LSVM" and p["fold"] == 2)
    (experiment / gone["file"]).unlink()
    for score in results["scores"]:
        if score["au"] == "24" and score["method"] == "DRML":
            score.update(f1=None, roc_auc=None, note="no positives")
    write_results(experiment, results)
    write(experiment)
    _, text = read_page(experiment)
    assert "DRML is left out:" in text
    assert "w.caffemodel" in text
    assert "ConvNet has no curve:" in text
    assert "Left out of the figures:" in text
    assert "LSVM is left out of the figures: it has predictions for 1 of 2 folds" in text
    assert "AU 24, fold 1, DRML: no positives" in text
    row = next(r for r in read_csv(experiment / "tables" / "results.csv") if r[0] == "24")
    assert row[3:5] == ["", ""]


def test_an_experiment_of_nothing_but_scores(experiment: Path) -> None:
    results = results_of(experiment) | {"predictions": [], "runs": [], "folds": [1]}
    results["scores"] = [s for s in results["scores"] if s["fold"] == 1]
    results["test_set"] = results["test_set"] | {"dataset": "ckplus", "path": "gone"}
    write_results(experiment, results)
    write(experiment)
    checker, text = read_page(experiment)
    assert checker.images == 0
    assert text.count("There are no predictions to draw this from.") == 3
    assert "The paper has no table for data of the kind 'ckplus'." in text
    assert "No net was trained in this experiment." in text
    assert "fold 1." in text


def looks_of(folder: Path) -> Looks:
    results = Results.load(folder)
    looks = Looks(results, Pooled(results))
    assert looks.by_net is looks.by_net
    return looks


def test_test_faces_that_are_gone_or_changed(experiment: Path) -> None:
    shutil.move(experiment / "prepared", experiment / "moved")
    (note,) = looks_of(experiment).notes
    assert note.startswith("The test faces cannot be read:")
    results = results_of(experiment)
    results["test_set"]["path"] = str(experiment / "moved")
    write_results(experiment, results)
    looks = looks_of(experiment)
    assert looks.notes == []
    assert list(looks.by_net) == ["DRML", "ConvNet"]
    for entry in results["predictions"]:
        with np.load(experiment / entry["file"]) as file:
            arrays = dict(file)
        np.savez(experiment / entry["file"], **arrays | {"keys": np.char.add("X", arrays["keys"])})
    (note,) = looks_of(experiment).notes
    assert note.startswith("The test faces have changed: there is no 'XF0")


def test_aus_that_are_no_outputs_of_the_net(experiment: Path) -> None:
    """As across data sets: AU 25 has an SVM and no logit."""
    text = (experiment / "results.json").read_text().replace('"24"', '"25"')
    results = json.loads(text)
    results["cross"], results["test_set"]["dataset"] = True, "disfa"
    write_results(experiment, results)
    looks = looks_of(experiment)
    assert "DRML has no output for AU 25, so no saliency of it." in looks.notes
    assert set(looks.by_net["DRML"].shown) == {"1", "4", "12"}
    table = published_table(Scores(Results.load(experiment)))
    assert table is not None
    assert "paper: DISFA: APL F1" in table.to_csv()
    assert "nets trained on made up" in table.caption


def test_what_the_nets_show_is_their_gradients(experiment: Path) -> None:
    """Saliency over the chosen face, and norms of the region layer's weights by patch."""
    results = Results.load(experiment)
    looks = looks_of(experiment)
    seen = looks.by_net["DRML"]
    run = results.runs[0]
    assert looks.faces is not None
    keys = looks.chosen["12"]
    assert all(int(key[1:4]) % 2 + 1 == run.fold for key in keys)
    with LogitGradients(experiment / run.net_file, experiment / run.weights) as net:
        faces = [looks.faces.read(key).astype(np.float32) - 120 for key in keys]
        batch = np.stack(faces)[:, 1:11, 1:11].transpose(0, 3, 1, 2)
        maps = net.maps(batch, ["12"])[:, 0]
        weights = net.net.params["region2"][0].read_data()
    face = looks.faces.read(keys[0])[1:11, 1:11]
    np.testing.assert_array_equal(seen.shown["12"], overlay(face, maps[0]))
    norms = [[np.sqrt((weights[2 * r + c] ** 2).sum()) for c in (0, 1)] for r in (0, 1)]
    assert seen.region is not None
    np.testing.assert_allclose(seen.region, norms, rtol=1e-5)
    assert seen.active["12"].shape == (2, 2)
    assert (seen.active["12"] > 0).all()
    assert looks.by_net["ConvNet"].region is None


def test_no_person_is_seen_without_faces(experiment: Path) -> None:
    results = Results.load(experiment)
    looks = Looks(results, Pooled(results), over_faces=False)
    assert looks.faces is not None
    seen = looks.by_net["DRML"]
    with LogitGradients(
        experiment / results.runs[0].net_file, experiment / results.runs[0].weights
    ) as net:
        pixels = looks.faces.read(looks.chosen["12"][0]).astype(np.float32) - 120
        maps = net.maps(pixels[np.newaxis, 1:11, 1:11].transpose(0, 3, 1, 2), ["12"])[:, 0]
    np.testing.assert_array_equal(seen.mean, np.full((10, 10, 3), 120))
    np.testing.assert_array_equal(seen.shown["12"], overlay(seen.mean, maps[0]))
    assert main(["report", str(experiment), "--no-faces"]) == 0
    assert "this page shows no person" in (experiment / "report.html").read_text()


def test_seeds_are_averaged(experiment: Path) -> None:
    results = results_of(experiment)
    more = [s | {"seed": 2, "f1": s["f1"] and s["f1"] / 2} for s in results["scores"]]
    results |= {"scores": results["scores"] + more, "seeds": [1, 2]}
    write_results(experiment, results)
    scores = Scores(Results.load(experiment))
    one = next(
        s for s in results["scores"] if (s["method"], s["au"], s["fold"]) == ("DRML", "12", "mean")
    )
    assert scores.figure("DRML", "12", "f1") == pytest.approx(0.75 * one["f1"])
    assert "mean of 2 seeds" in main_table(scores).caption
    table = seed_table(scores)
    assert table is not None
    rows = list(csv.reader(table.to_csv().splitlines()))
    assert rows[0][1] == "seed 1 F1"
    assert rows[0][-1] == "deviation ROC-AUC"
    assert float(rows[1][-1]) == 0


def test_bad_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "results.json: No such file" in refused(capsys, "report", tmp_path)
    path = tmp_path / "results.json"
    for text, message in (
        ("{", "is no JSON"),
        ("[]", "is no result of an experiment in format 1"),
        ('{"format": 2}', "in format 1"),
        ('{"format": 1}', "has no field 'train_set'"),
    ):
        path.write_text(text)
        assert message in refused(capsys, "report", tmp_path)
    results = make_experiment(tmp_path, aus=AUS)
    del results["scores"][3]["method"]
    write_results(tmp_path, results)
    assert "results.json: scores[3]: has no field 'method'" in refused(capsys, "report", tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_predictions_of_another_shape(experiment: Path) -> None:
    results = Results.load(experiment)
    entry = results.predictions[0]
    np.savez(
        experiment / entry.file, keys=["a"], subjects=["a"], labels=[[1, 1]], scores=[[0.5, 0.5]]
    )
    with pytest.raises(DataError, match=r"labels \(1, 2\), scores \(1, 2\), not \(1, 4\)"):
        results.answers(entry)


# Parts ------------------------------------------------------------------------------------------


def test_best_of_each_part_is_marked() -> None:
    rows = [Row("a", [Cell(("1.0", "9.0")), Cell(("2.0", "-")), Cell(("2.0", "3.0"))])]
    (marked,) = mark_best(rows, [0, 1, 2])
    assert [cell.best for cell in marked.cells] == [(False, True), (True, False), (True, False)]
    table = Table("t", "c", "AU", [Column("x", parts=("F1", "AUC"))] * 3, [marked])
    assert "<td>1.0/<b>9.0</b></td>" in table.to_html()
    assert "\\textbf{2.0}/-" in table.to_latex()
    assert table.to_csv().splitlines()[1] == "a,1.0,9.0,2.0,,2.0,3.0"


def test_text_is_escaped() -> None:
    assert latex("50 % of A_1 & {x}") == r"50 \% of A\_1 \& \{x\}"
    assert latex("\\~^") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}"
    table = Table("t", "<b>", "<", [Column("&")], [Row('"', [Cell(("<i>",))])])
    assert "<i>" not in table.to_html()
    assert percent(None) == percent(float("nan")) == "-"
    assert percent(0.4567) == "45.7"


def test_published_table_needs_a_data_set_of_the_paper(experiment: Path) -> None:
    results = results_of(experiment)
    results["test_set"]["dataset"] = "list"
    write_results(experiment, results)
    assert published_table(Scores(Results.load(experiment))) is None


def test_confusion_by_counting() -> None:
    random = np.random.default_rng(0)
    labels = random.choice([-1, 0, 1], (300, 3)).astype(np.int8)
    scores = random.normal(size=(300, 3)).astype(np.float32)
    names = np.arange(300).astype(str)
    rate, overall = figures.confusion(Answers(names, names, labels, scores))
    for i in range(3):
        assert np.isnan(rate[i, i])
        for j in range(3):
            frames = [n for n in range(300) if labels[n, i] == 1 and labels[n, j] == -1]
            if i != j:
                said = [scores[n, j] > 0 for n in frames]
                assert rate[i, j] == pytest.approx(np.mean(said))
        absent = labels[:, i] == -1
        assert overall[i] == pytest.approx((scores[absent, i] > 0).mean())


def test_an_au_of_which_a_method_says_nothing(experiment: Path) -> None:
    """As a net's own outputs for an AU that it was not trained for: NaN."""
    results = Results.load(experiment)
    for entry in results.predictions:
        with np.load(experiment / entry.file) as file:
            arrays = dict(file)
        if entry.method.endswith("(sigmoid)") or entry.method == "LSVM":
            arrays["scores"][:, 2] = np.nan
        np.savez(experiment / entry.file, **arrays)
    pooled = Pooled(results)
    answers = pooled.by_method["DRML (sigmoid)"]
    rate, overall = figures.confusion(answers)
    assert np.isnan(overall).tolist() == [False, False, True, False]
    assert np.isnan(rate[:, 2]).all()
    assert not said(answers.labels, answers.scores)[:, 2].any()
    assert all(pair.said != "12" for pair in figures.confused_pairs(answers, AUS))
    picture, left_out = figures.roc({"DRML (sigmoid)": answers}, AUS)
    assert picture.startswith(b"\x89PNG")
    assert left_out == ["12"]
    section = relations(results, pooled)
    (distances,) = section.tables
    assert [row.cells[1].parts[0] for row in distances.rows] == ["7", "0", "0", "7", "7"]
    assert Looks(results, pooled).chosen["12"]


def test_confused_pairs_name_what_was_put_in() -> None:
    labels = np.array([[1, -1]] * 30 + [[-1, -1]] * 70, np.int8)
    scores = np.where(labels[:, :1] > 0, 1.0, -1.0) * np.ones((100, 2), np.float32)
    names = np.arange(100).astype(str)
    (pair,) = figures.confused_pairs(Answers(names, names, labels, scores), "ab")
    assert (pair.said, pair.present) == ("b", "a")
    assert (pair.share, pair.usual) == (1.0, pytest.approx(0.3))


def test_faces_are_chosen_by_all_methods_and_of_many_people() -> None:
    keys = np.array(["A/1/1", "A/1/2", "B/1/1", "C/1/1", "C/1/2"])
    labels = np.array([[1], [1], [1], [-1], [1]], np.int8)
    one = np.array([[5.0], [4.0], [1.0], [9.0], [2.0]], np.float32)
    people = np.array([key[0] for key in keys])
    answers = [Answers(keys, people, labels, one), Answers(keys, people, labels, 100 * one)]
    assert choose(answers, 3) == [["A/1/1", "C/1/2", "B/1/1"]]
    assert choose(answers, 9) == [["A/1/1", "C/1/2", "B/1/1", "A/1/2"]]
    assert choose([Answers(keys, people, -np.abs(labels), one)]) == [[]]


def test_the_made_up_experiment_is_as_its_contract_says(made: Path) -> None:
    results = Results.load(made)
    assert [run.net for run in results.runs] == [net for net in NETS for _ in FOLDS]
    assert {m.name for m in results.methods if m.kind == "svm"} == {TITLES[net] for net in NETS}
