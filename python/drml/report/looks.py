"""Where trained nets look: saliency on chosen test faces, and the weights of their regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drml.blob import Array
from drml.data.images import Pixels
from drml.data.lmdb_source import LmdbSource
from drml.deploy import Preparation
from drml.errors import DataError
from drml.experiment.results import Answers, Run
from drml.layers.region import Region
from drml.prepared import FACES as FACES_NAME
from drml.relations import Matrix
from drml.saliency import LogitGradients, grid, overlay
from drml.weights import read_mean

FACES = 8


class Faces:
    """The faces of a prepared folder, by key.

    Raises:
        DataError: there is no such data base.
    """

    def __init__(self, prepared: Path) -> None:
        self._source = LmdbSource(prepared / FACES_NAME)
        self._places = {self._source.key(index): index for index in range(len(self._source))}

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def read(self, key: str) -> Pixels:
        """The picture (H, W, 3) of a face."""
        return np.asarray(self._source.read(self._places[key]).pixels, np.uint8)

    def close(self) -> None:
        """Closes the data base."""
        self._source.close()


def choose(answers: Sequence[Answers], count: int = FACES) -> list[list[str]]:
    """For each AU, faces that show it: those of which all methods together are surest.

    Scores are standardized by method and AU, and averaged over the methods. Faces are of as many
    subjects as possible: the surest of each subject, then others.

    Args:
        answers: of several methods to the same faces in the same order.
        count: of faces per AU, at most.

    Returns:
        Keys per AU, the surest face first; none where no face shows the AU.
    """
    first = answers[0]
    total = np.zeros(first.scores.shape)
    for given in answers:
        deviation = given.scores.std(0)
        standard = (given.scores - given.scores.mean(0)) / np.where(deviation > 0, deviation, 1)
        total += np.nan_to_num(standard)
    chosen = []
    for column in range(first.labels.shape[1]):
        order = np.argsort(-total[:, column], kind="stable")
        subjects: set[str] = set()
        fresh: list[str] = []
        others: list[str] = []
        for index in order[first.labels[order, column] > 0]:
            subject = str(first.subjects[index])
            (others if subject in subjects else fresh).append(str(first.keys[index]))
            subjects.add(subject)
        chosen.append((fresh + others)[:count])
    return chosen


@dataclass
class Look:
    """What a net showed.

    Attributes:
        mean: the mean image of the training faces, as the net sees it; gray without one.
        shown: AU -> its map on the first chosen face, drawn over the face, or over `mean`.
        means: AU -> the mean of the maps of all chosen faces, over the mean face, or over `mean`.
        region: norm of each patch's weights (grid rows, grid columns); None without a region layer.
        active: AU -> norm of the logit's gradient with respect to each patch's weights.
        missing: AUs that are none of the net's outputs.
    """

    mean: Pixels
    shown: dict[str, Pixels] = field(default_factory=dict)
    means: dict[str, Pixels] = field(default_factory=dict)
    region: Matrix | None = None
    active: dict[str, Matrix] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def look(
    folder: Path,
    run: Run,
    faces: Faces,
    chosen: Mapping[str, Sequence[str]],
    *,
    over_faces: bool = True,
) -> Look:
    """Runs a trained net on the chosen faces.

    Args:
        folder: the experiment's.
        run: the net.
        faces: the test faces.
        chosen: AU -> keys of faces.
        over_faces: whether maps are drawn over the faces, or over the mean image of the training.

    Raises:
        DrmlError: the net, its weights or the mean image cannot be read.
    """
    mean = None if run.mean is None else read_mean(folder / run.mean)
    names = region_names(folder / run.net_file)
    with LogitGradients(folder / run.net_file, folder / run.weights, learn=names) as net:
        prepare = Preparation(net.shape, mean)
        nothing = np.full(net.shape, 128 if mean is None else 0, np.float32)
        result = Look(prepare.picture(nothing))
        shape = _grid_of(net, names)
        if shape is not None:
            result.region = _norms(net.net.params[names[0]][0].read_data(), shape)
        for au, keys in chosen.items():
            if au not in net.aus:
                result.missing.append(au)
                continue
            batch = np.stack([prepare.of_pixels(faces.read(key)) for key in keys])
            net.net.clear_param_diffs()
            maps = net.maps(batch, [au])[:, 0]
            if shape is not None:
                result.active[au] = _norms(net.param_gradient(names[0]), shape)
            pictures = [prepare.picture(image) for image in batch] if over_faces else [result.mean]
            result.shown[au] = overlay(pictures[0], maps[0])
            typical = np.mean(pictures, axis=0).astype(np.uint8)
            result.means[au] = overlay(typical, _scaled(maps).mean(0))
    return result


def _scaled(maps: Array) -> Array:
    """Maps of equal energy, so that none outweighs the others in a mean."""
    energy = np.sqrt((maps.astype(np.float64) ** 2).sum(axis=(1, 2), keepdims=True))
    return np.asarray(maps / np.where(energy > 0, energy, 1), np.float32)


def region_names(net_file: Path) -> list[str]:
    """Names of the region layers of a net file."""
    from drml.prototxt import read_net

    return [
        layer.param.name for layer in read_net(net_file).layers if layer.param.type == Region.type
    ]


def _grid_of(net: LogitGradients, names: Sequence[str]) -> tuple[int, int] | None:
    if not names:
        return None
    layer = net.net.layer_dict[names[0]].layer
    return layer.grid if isinstance(layer, Region) else None


def _norms(weights: npt.NDArray[np.float32], shape: tuple[int, int]) -> Matrix:
    """L2 norm of each patch's numbers, as the grid."""
    flat = weights.reshape(len(weights), -1).astype(np.float64)
    return np.asarray(np.linalg.norm(flat, axis=1).reshape(shape))


def saliency_sheet(
    faces: Mapping[str, Pixels], nets: Mapping[str, Mapping[str, Pixels]], first: str
) -> Pixels:
    """Columns are AUs, rows the faces and each net's picture; where a net lacks an AU, white."""
    aus = list(faces)
    size = (170, 170)
    blank = np.full((*size, 3), 255, np.uint8)
    rows = [[faces[au] for au in aus]]
    rows += [[pictures.get(au, blank) for au in aus] for pictures in nets.values()]
    return grid(rows, [f"AU {au}" for au in aus], [first, *nets], tile=120)


def mean_face(faces: Faces, keys: Sequence[str]) -> Pixels:
    """The mean picture of faces."""
    return np.asarray(np.mean([faces.read(key) for key in keys], axis=0), np.uint8)


def open_faces(path: Path) -> Faces:
    """The faces of a prepared folder.

    Raises:
        DataError: names what is missing.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder")
    return Faces(path)
