"""Folds: the shipped ones, those of a file or a seed, and that no subject crosses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from drml.errors import DataError
from drml.prepare.folds import (
    Folds,
    by_seed,
    check,
    check_lists,
    leave_one_out,
    read_folds,
    shipped,
    with_validation,
    without,
)

pytestmark = pytest.mark.cpu_only

SUBJECTS = [f"F{number:03d}" for number in range(1, 11)]
SHARED = Path(__file__).resolve().parents[2] / "shared" / "folds.json"


@pytest.mark.parametrize(("dataset", "sizes"), [("bp4d", [14, 14, 13]), ("disfa", [9, 9, 9])])
def test_shipped_folds_cover_each_subject_once(dataset: str, sizes: list[int]) -> None:
    folds = shipped(dataset)
    assert [len(subjects) for subjects in folds.test] == sizes
    everyone = [subject for subjects in folds.test for subject in subjects]
    assert len(set(everyone)) == sum(sizes)
    assert folds.validation == ()


def test_shipped_folds_are_the_published_ones() -> None:
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not there")
    for name, content in json.loads(SHARED.read_text()).items():
        assert [set(subjects) for subjects in content["test"]] == [
            set(subjects) for subjects in shipped(name.lower()).test
        ]


def test_none_are_shipped_for_others() -> None:
    with pytest.raises(DataError, match="for ckplus, only for bp4d and disfa"):
        shipped("ckplus")


def test_by_seed() -> None:
    folds = by_seed(SUBJECTS, 3, 1)
    assert sorted(subject for subjects in folds.test for subject in subjects) == SUBJECTS
    assert [len(subjects) for subjects in folds.test] == [4, 3, 3]
    assert folds == by_seed(SUBJECTS, 3, 1) != by_seed(SUBJECTS, 3, 2)
    with pytest.raises(DataError, match="11 folds need as many subjects; the data hold 10"):
        by_seed(SUBJECTS, 11, 1)


def test_leave_one_out() -> None:
    folds = with_validation(leave_one_out(SUBJECTS), SUBJECTS, 0.2, 0)
    assert folds.test == tuple((subject,) for subject in SUBJECTS)
    for fold in range(1, 11):
        assert len(folds.validation[fold - 1]) == 2
        assert len(folds.train(fold, SUBJECTS)) == 7
    check(folds, SUBJECTS, "loso")


@pytest.mark.parametrize(("share", "held"), [(0.0, 0), (0.01, 1), (0.25, 2), (0.9, 5)])
def test_validation_subjects_are_held_out(share: float, held: int) -> None:
    folds = with_validation(Folds((tuple(SUBJECTS[:4]), tuple(SUBJECTS[4:8]))), SUBJECTS, share, 3)
    for tested, validated in zip(folds.test, folds.validation, strict=True):
        assert len(validated) == held
        assert not set(tested) & set(validated)
    check(folds, SUBJECTS, "here")


def test_given_validation_subjects_stay() -> None:
    folds = Folds((("F001",),), (("F002",),))
    assert with_validation(folds, SUBJECTS, 0.5, 0) is folds


def test_read_folds(tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    content: dict[str, Any] = {"test": [["F002", "F001"]], "validation": [["F003"]]}
    wanted = Folds((("F001", "F002"),), (("F003",),))
    path.write_text(json.dumps(content))
    assert read_folds(path, "bp4d") == wanted
    path.write_text(json.dumps({"DISFA": {}, "BP4D": content}))
    assert read_folds(path, "bp4d") == wanted
    path.write_text(json.dumps(wanted.to_json()))
    assert read_folds(path, "ckplus") == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "folds.json:1: is no JSON: Expecting value"),
        ('{\n"test": [,]}', "folds.json:2: is no JSON"),
        ("[]", "the folds are not an object with the list 'test'"),
        ("{}", "has neither 'test' nor 'bp4d'; it has nothing"),
        ('{"bp4": {}}', "has neither 'test' nor 'bp4d'; did you mean 'bp4'?"),
        ('{"test": []}', "'test' has no folds"),
        ('{"test": "F001"}', "'test' is not a list with a list of subjects for each fold"),
        ('{"test": [["F001"], "F002"]}', "'test' is not a list of subjects in fold 2"),
        ('{"test": [["F001", "F001"]]}', "'test' repeats F001 in fold 1"),
        (
            '{"test": [["F001"], ["F002"]], "validation": [[]]}',
            "1 lists of validation subjects for 2 folds",
        ),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "folds.json"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_folds(path, "bp4d")
    assert message in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_folds(tmp_path / "folds.json", "bp4d")
    (tmp_path / "folds.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match="is no JSON: it is not text"):
        read_folds(tmp_path / "folds.json", "bp4d")


@pytest.mark.parametrize(
    ("test", "validation", "message"),
    [
        ([["F0008"]], [[]], "fold 1 names F0008, whom the data do not hold; did you mean 'F008'?"),
        ([["X", "Y"]], [["Z"]], "fold 1 names X and 2 more, whom the data do not hold"),
        ([["F001"], ["F001"]], [[], []], "folds 1 and 2 both test on F001"),
        ([["F001"]], [["F001"]], "fold 1 has F001 in test and in validation"),
        ([["F001"], []], [[], []], "fold 2 has no subject to test on"),
        ([SUBJECTS[:5]], [SUBJECTS[5:]], "fold 1 leaves no subject to learn from"),
    ],
)
def test_folds_that_do_not_fit(
    test: list[list[str]], validation: list[list[str]], message: str
) -> None:
    folds = Folds(tuple(map(tuple, test)), tuple(map(tuple, validation)))
    with pytest.raises(DataError) as error:
        check(folds, SUBJECTS, "folds.json")
    assert str(error.value).startswith(f"folds.json: {message}")


def test_subjects_that_were_left_out() -> None:
    folds = without(Folds((("F001", "F002"),), (("F003",),)), ["F002", "F003"])
    assert folds == Folds((("F001",),), ((),))


def test_lists_in_which_a_subject_crosses() -> None:
    check_lists({"train": ["F001", "F001"], "val": ["F002"], "test": ["F003"]}, 1)
    with pytest.raises(DataError, match="fold 2: F001 is in train and in test"):
        check_lists({"train": ["F001"], "val": ["F002"], "test": ["F003", "F001"]}, 2)
