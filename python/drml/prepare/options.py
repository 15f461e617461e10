"""What `drml prepare` is asked to do, and which of it the finished clips depend on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from drml.faces.names import FRAME
from drml.prepare.folds import VALIDATION_SHARE

PAPER_AUS = ("1", "2", "4", "6", "7", "10", "12", "14", "15", "17", "23", "24")
"""The 12 AUs of BP4D that the paper's nets put out."""

DISFA_AUS = ("1", "2", "4", "6", "9", "12", "25", "26")
"""The 8 AUs of DISFA that the paper reports."""

THRESHOLD = 3
"""The least intensity of DISFA that the paper counts as present: level C."""

MASK, NEGATIVE, DROP = "mask", "negative", "drop"
FIND, GIVEN, NONE = "find", "given", "none"

SAMPLING = {"bp4d": (100, 200), "disfa": (800, 1600)}
"""The paper's sampling: positive and negative frames of each AU and video (section 4)."""

NAMES = {"bp4d": "BP4D", "disfa": "DISFA", "ckplus": "CK+"}

# They choose from finished clips, and nothing of a clip depends on them.
_LATE = frozenset({"folds", "validation", "without", "name", "sample_test"})


@dataclass(frozen=True)
class Options:
    """The options of `drml prepare`, each with its default.

    Attributes:
        dataset: `bp4d`, `disfa`, `ckplus` or `list`.
        root: the data set's folder; the list of `list`.
        name: what the data set is called in tables.
        aus: names of the AUs; empty for all that are coded.
        threshold: the least intensity, 1 to 5, that counts as present (DISFA).
        unknown: what a label that the coders left open becomes: `mask` 0, unknown; `negative` -1,
            absent; `drop` leaves the frame out.
        landmarks: `given`, `find`, or `none` for pictures that are registered already.
        points: the folder of given landmarks.
        finder: what finds landmarks, of `drml.faces.find.FINDERS`; '' where nothing does.
        fit: which landmarks the similarity transform fits, of `drml.faces.register.FITS`.
        size: side of the faces, pixels.
        quality: of the JPEG files, 1 to 100.
        sampling: positive and negative frames of each AU and video in the lists of frames to learn
            from; None takes all frames.
        sample_test: sample the validation and test lists too.
        seed: of sampling, folds and validation subjects.
        folds: `drml`, `loso`, a number of folds, or a JSON file.
        validation: share of a fold's other subjects that is held out, where the folds name none.
        without: subjects to leave out.
        camera: `left` or `right` (DISFA).
        images: folder that a list's paths are relative to; '' for the list to tell.
        subject: a regular expression that finds the subject in a path of a list; '' for BP4D's,
            DISFA's and CK+'s own names.
        subjects: a file that says whose each image of a list is.
    """

    dataset: str
    root: Path
    name: str
    aus: tuple[str, ...] = PAPER_AUS
    threshold: int = THRESHOLD
    unknown: str = MASK
    landmarks: str = FIND
    points: Path | None = None
    finder: str = ""
    fit: str = "all"
    size: int = FRAME
    quality: int = 95
    sampling: tuple[int, int] | None = None
    sample_test: bool = False
    seed: int = 0
    folds: str = "3"
    validation: float = VALIDATION_SHARE
    without: tuple[str, ...] = ()
    camera: str = "left"
    images: str = ""
    subject: str = ""
    subjects: Path | None = None

    def keeps(self, name: str) -> bool:
        """Whether a subject, or the subject of `SUBJECT/VIDEO`, is not to be left out."""
        return name.partition("/")[0] not in self.without

    def words(self) -> dict[str, str]:
        """Every option as text, as a manifest holds it and a rerun compares it."""
        return {field.name: _word(getattr(self, field.name)) for field in fields(self)}

    def early_words(self) -> dict[str, str]:
        """As `words`, of the options that finished clips depend on."""
        return {name: word for name, word in self.words().items() if name not in _LATE}


def _word(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


def difference(before: dict[str, str], now: dict[str, str]) -> str:
    """The first option that differs, as `--threshold 3, not 2`; '' where none does."""
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name, "unknown"), now.get(name, "unknown")
        if old != new:
            option = _WRITTEN.get(name, f"--{name.replace('_', '-')}")
            return f"{option} {old or 'none'}, not {new or 'none'}"
    return ""


# What the command line calls an option where it is not the attribute's name.
_WRITTEN = {
    "drml": "version",
    "dataset": "data set",
    "root": "ROOT",
    "points": "--landmarks",
    "images": "--root",
}
