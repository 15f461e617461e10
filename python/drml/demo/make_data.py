"""Makes the demo's data set: faces with labels, lists in the authors' format, a contact sheet."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from drml.data.images import encode
from drml.demo.faces import draw, make_person, sitter
from drml.demo.muscles import AUS
from drml.demo.texture import Image, textures
from drml.errors import DataError
from drml.weights import atomic_write

# How often each AU occurs in BP4D, and which tend to occur together: loadings on brows raised,
# frown, smile, and mouth shut.
RATES = (0.21, 0.18, 0.20, 0.46, 0.55, 0.58, 0.56, 0.46, 0.17, 0.34, 0.17, 0.16)
LOADINGS = {
    1: (0.6, 0.2, 0.0, 0.0), 2: (0.7, -0.2, 0.0, 0.0), 4: (0.0, 0.6, 0.0, 0.0),
    6: (0.0, 0.1, 0.75, 0.1), 7: (0.0, 0.4, 0.6, 0.1), 10: (0.0, 0.1, 0.65, 0.0),
    12: (0.1, -0.2, 0.75, 0.0), 14: (0.0, 0.0, 0.4, 0.3), 15: (0.0, 0.1, 0.0, 0.5),
    17: (0.0, 0.1, 0.0, 0.6), 23: (0.0, 0.1, 0.0, 0.5), 24: (0.0, 0.0, -0.1, 0.5),
}  # fmt: skip
_THRESHOLDS = np.array([NormalDist().inv_cdf(rate) for rate in RATES])
UNKNOWN_RATE = 0.05
PER_PERSON = 12
JPEG_QUALITY = 92
SHEET_COLUMNS = 7
SHEET_SAMPLES = 4 * SHEET_COLUMNS
LISTS = ("train", "test")


@dataclass(frozen=True)
class Expression:
    """What one picture shows: strength (12, 2) per AU and side, labels (12,), and teeth or not."""

    strength: NDArray[np.float64]
    labels: NDArray[np.int64]
    parted: bool


@dataclass(frozen=True)
class Face:
    """One picture of the data set: 200 x 200 BGR, its labels (12,) in -1, 0, 1, and its name."""

    name: str
    image: Image
    labels: NDArray[np.int64]


def draw_expression(rng: np.random.Generator) -> Expression:
    """A random expression.

    AUs occur and co-occur about as in BP4D. An unknown label (0) is an AU too weak to be sure of.
    """
    loadings = np.array([LOADINGS[number] for number in AUS])
    latent = loadings @ rng.standard_normal(loadings.shape[1])
    latent += np.sqrt(1 - (loadings**2).sum(axis=1)) * rng.standard_normal(len(AUS))
    present = latent < _THRESHOLDS
    unknown = rng.random(len(AUS)) < UNKNOWN_RATE
    labels = np.where(unknown, 0, np.where(present, 1, -1))
    full = rng.uniform(0.65, 1.0, len(AUS)) * (labels == 1)
    weak = rng.uniform(0.15, 0.4, len(AUS)) * unknown
    lean = rng.uniform(-0.2, 0.2, len(AUS))
    strength = (full + weak)[:, None] * (1 + np.stack([lean, -lean], axis=1))
    shut = strength[[AUS.index(number) for number in (17, 23, 24)]].any()
    raised = (labels[[AUS.index(10), AUS.index(12)]] == 1).any()
    parted = not shut and rng.random() < (0.5 if raised else 0.2)
    return Expression(strength, labels, bool(parted))


def draw_person(seed: int, number: int, count: int) -> list[Face]:
    """`count` pictures of person `number`: the same for the same numbers, on any thread."""
    person = make_person(np.random.default_rng([seed, number, 0]))
    faces = []
    for picture in range(count):
        rng = np.random.default_rng([seed, number, 1 + picture])
        shown = draw_expression(rng)
        image = draw(person, shown.strength, shown.parted, rng)
        faces.append(Face(f"P{number:03d}_{picture:02d}.jpg", image, shown.labels))
    return faces


def make_faces(out: Path, train: int, test: int, seed: int = 0, threads: int = 2) -> list[Path]:
    """Writes `out`/images, `out`/train.txt, `out`/test.txt and `out`/contact_sheet.png.

    Each file is the same for the same numbers. Nobody in the training list is in the test list.
    Pictures of an earlier demo are removed; the lists are written last and whole.

    Returns:
        The paths of the two lists, training first.

    Raises:
        DataError: `out` cannot be written.
        DrmlError: scikit-image, whose photograph is needed, is not installed.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    from tqdm import tqdm

    textures()
    clear(out)
    folder = out / "images"
    _make_folder(folder)
    people = _people({"train": train, "test": test})
    lines: dict[str, list[str]] = {name: [] for name in LISTS}
    samples: list[Face] = []
    # The warps' small systems are solved ten times faster without BLAS threads.
    with (
        threadpool_limits(1),
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=train + test, unit="face", disable=None) as bar,
    ):
        drawn = pool.map(lambda person: _write_person(folder, seed, person), people)
        try:
            for person, faces in zip(people, drawn, strict=True):
                lines[person.owner] += [_line(face) for face in faces]
                samples += faces[:1]
                bar.update(len(faces))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        sheet = contact_sheet(seed, samples[:SHEET_SAMPLES])
    atomic_write(out / "contact_sheet.png", encode(sheet, "png"))
    lists = _lists(out)
    for path in lists:
        order = np.random.default_rng([seed, 0]).permutation(len(lines[path.stem]))
        atomic_write(path, "".join(lines[path.stem][place] for place in order).encode())
    return lists


@dataclass(frozen=True)
class _Task:
    """A person to draw: his or her number, how many pictures, and the list that they go to."""

    number: int
    count: int
    owner: str


def _people(sizes: dict[str, int]) -> list[_Task]:
    tasks: list[_Task] = []
    for owner, size in sizes.items():
        for start in range(0, size, PER_PERSON):
            tasks.append(_Task(len(tasks), min(PER_PERSON, size - start), owner))
    return tasks


def _lists(out: Path) -> list[Path]:
    return [out / f"{name}.txt" for name in LISTS]


def clear(out: Path) -> None:
    """Removes the lists and pictures that an earlier demo left in `out`, the lists first.

    Raises:
        DataError: one of them cannot be removed.
    """
    pictures = (out / "images").glob("P*_??.jpg")
    try:
        for path in [*_lists(out), out / "contact_sheet.png", *pictures]:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}") from error


def _write_person(folder: Path, seed: int, task: _Task) -> list[Face]:
    faces = draw_person(seed, task.number, task.count)
    for face in faces:
        path = folder / face.name
        try:
            path.write_bytes(encode(face.image, "jpg", JPEG_QUALITY))
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from error
    return faces


def _line(face: Face) -> str:
    return f"images/{face.name} {' '.join(map(str, face.labels.tolist()))}\n"


def contact_sheet(seed: int, samples: list[Face]) -> Image:
    """A picture to look at: the sitter at rest, then with each AU alone, then `samples`."""
    person = sitter()
    tiles = []
    for row in range(-1, len(AUS)):
        strength = np.zeros((len(AUS), 2))
        if row >= 0:
            strength[row] = 1.0
        picture = draw(person, strength, False, np.random.default_rng(seed))
        tiles.append(_tile(picture, f"AU{AUS[row]} alone" if row >= 0 else "at rest"))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % SHEET_COLUMNS)
    for face in samples:
        marks = zip(AUS, face.labels.tolist(), strict=True)
        words = [
            f"{number}?" if label == 0 else str(number) for number, label in marks if label >= 0
        ]
        tiles.append(_tile(face.image, " ".join(words) or "none"))
    tiles += [blank] * (-len(tiles) % SHEET_COLUMNS)
    rows = [tiles[at : at + SHEET_COLUMNS] for at in range(0, len(tiles), SHEET_COLUMNS)]
    return np.vstack([np.hstack(row) for row in rows])


def _tile(picture: Image, words: str) -> Image:
    tile = cv2.copyMakeBorder(picture, 2, 20, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    at, font = (4, tile.shape[0] - 6), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(tile, words, at, font, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return np.asarray(tile, np.uint8)
