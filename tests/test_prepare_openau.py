"""`prepare` on openau's trees, which have BP4D's and DISFA's layouts (semi-synthetic)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from drml.data.image_list import read_list
from drml.data.lmdb_source import LmdbSource
from drml.faces.landmarks import EYE_CORNERS
from drml.faces.register import MEAN_FACE
from drml.prepare.job import choose_folds, prepare, scan
from drml.prepare.options import DISFA_AUS, PAPER_AUS, Options
from drml.prepared import Prepared

pytestmark = pytest.mark.cpu_only

OPENAU = Path(__file__).resolve().parents[2] / "shared" / "openau"


@pytest.fixture
def openau() -> Path:
    if not OPENAU.is_dir():
        pytest.skip(f"no openau at {OPENAU}")
    return OPENAU


def options(root: Path, dataset: str, folds: str) -> Options:
    return Options(
        dataset=dataset,
        root=root / dataset,
        name=dataset,
        aus=PAPER_AUS if dataset == "bp4d" else DISFA_AUS,
        landmarks="given",
        points=root / dataset / "landmarks",
        folds=folds,
    )


def test_labels_are_those_of_its_lists(openau: Path) -> None:
    data = scan(options(openau, "bp4d", "3"))
    assert data.notes == []
    assert data.excluded == []
    found = {
        key.replace("/", "_"): labels
        for clip in data.clips
        for key, labels in zip(clip.keys, clip.labels.tolist(), strict=True)
    }
    assert len(found) == 4080
    for name in ("train_1", "val_1", "test_1"):
        images = read_list(openau / "aligned" / f"{name}.txt")
        for path, labels in zip(images.names, images.labels.tolist(), strict=True):
            assert found.pop(Path(path).stem) == labels
    assert not found


def test_folds_are_its_own(openau: Path) -> None:
    given = options(openau, "bp4d", str(openau / "folds.json"))
    folds = choose_folds(given, scan(given))
    content = json.loads((openau / "folds.json").read_text())["bp4d"]
    assert folds.to_json() == {name: [sorted(part) for part in content[name]] for name in content}


def test_disfa_threshold(openau: Path) -> None:
    counts = []
    for threshold in (1, 2, 3, 4, 5):
        given = options(openau, "disfa", "3")
        data = scan(Options(**{**vars(given), "threshold": threshold}))
        labels = np.concatenate([clip.labels for clip in data.clips])
        assert labels.shape == (1600, 8)
        counts.append(int((labels == 1).sum()))
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 5


def test_faces_of_two_people(openau: Path, tmp_path: Path) -> None:
    given = options(openau, "disfa", "2")
    others = tuple(name for name in scan(given).subjects if name not in ("SN001", "SN002"))
    manifest, _ = prepare(tmp_path / "out", Options(**{**vars(given), "without": others}))
    assert manifest["counts"]["frames"] == 80
    assert manifest["counts"]["excluded"] == {}
    prepared = Prepared(tmp_path / "out")
    corners = prepared.landmarks[:, list(EYE_CORNERS)]
    assert np.abs(corners - MEAN_FACE[list(EYE_CORNERS)]).max() < 12
    source = LmdbSource(prepared.faces)
    faces = np.stack([source.read(index).pixels for index in range(80)])
    source.close()
    # The nose of one face lies on that of another: pixels vary less there than at the border.
    spread = faces.astype(float).std(axis=0).mean(axis=2)
    assert spread[90:110, 90:110].mean() < spread[:, :10].mean()
