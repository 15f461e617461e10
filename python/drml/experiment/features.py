"""What SVMs read of each frame: a blob of a trained network, or SIFT at the 49 landmarks."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drml import extract
from drml.data.images import Channels
from drml.data.lmdb_source import LmdbSource
from drml.data.prefetch import Prefetcher
from drml.errors import DataError, NetError
from drml.experiment import cache
from drml.experiment.folds import Rows
from drml.experiment.progress import Part, Said
from drml.experiment.trainer import Job, Trained
from drml.net import Net
from drml.prepared import Prepared
from drml.proto import caffe_pb2 as pb
from drml.training import MEAN_NAME

Floats = npt.NDArray[np.float32]

SIFT_SIZE = 128
_WINDOW_OF_SIZE = 6  # OpenCV's descriptor covers 6 times KeyPoint.size


@dataclass(frozen=True)
class Features:
    """Features of some frames of a prepared folder.

    Attributes:
        id: digest of all that they depend on.
        rows: of the frames, sorted.
        values: (frames, features).
        logits: (frames, AUs) of the network; None where there is none.
        test_ms: milliseconds of a forward pass per face, the median over batches; None if unknown.
    """

    id: str
    rows: Rows
    values: Floats
    logits: Floats | None
    test_ms: float | None

    def at(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Where rows of the folder stand in `values`."""
        return np.searchsorted(self.rows, rows)


def of_network(
    job: Job,
    trained: Trained,
    data: Prepared,
    rows: Rows,
    folder: Path,
    part: Part,
    *,
    device: str | None,
    threads: int,
) -> Features:
    """The features and logits that a trained network gives frames, computed once.

    Args:
        job, trained: of the network.
        data: prepared folder of the frames.
        rows: of the frames.
        folder: where features are kept.
        part: is told how far the work is.
        device: where to compute.
        threads: of the data layer.

    Raises:
        DrmlError: a file cannot be read or written.
    """
    blueprint = job.blueprint
    name = cache.digest(
        {
            "stage": "features",
            "run": job.id,
            "iteration": trained.iteration,
            "data": cache.digest_of(data),
            "rows": cache.digest(rows.tolist()),
            "blob": blueprint.features,
        }
    )
    path = folder / f"{job.folder.name}-{name}.npz"
    found = cache.read_arrays(path)
    if found is None:
        found = _run_network(job, trained, data, rows, part, device, threads)
        cache.write_arrays(path, found)
    return Features(name, rows, found["values"], found["logits"], float(found["test_ms"]))


def _run_network(
    job: Job,
    trained: Trained,
    data: Prepared,
    rows: Rows,
    part: Part,
    device: str | None,
    threads: int,
) -> cache.Arrays:
    blueprint = job.blueprint
    with tempfile.TemporaryDirectory() as temporary:
        keys = Path(temporary) / "keys.txt"
        keys.write_text("".join(f"{data.keys[row]}\n" for row in rows), encoding="utf-8")
        mean = job.folder.resolve() / MEAN_NAME
        file = blueprint.for_features(data.faces.resolve(), keys, mean)
        with Net(
            file,
            job.folder / trained.weights,
            pb.TEST,
            device=device,
            threads=threads,
        ) as net:
            return _forward(net, blueprint.features, blueprint.logits, len(rows), part)


def _forward(net: Net, features: str, logits: str, count: int, part: Part) -> cache.Arrays:
    blobs: dict[str, list[Floats]] = {features: [], logits: []}
    spent: list[float] = []
    done, said = 0, Said(part, count, "features")
    batches = iter(extract.Features(net, list(blobs), count))
    while done < count:
        began = time.perf_counter()
        batch = next(batches)
        spent.append((time.perf_counter() - began) / net.blobs[logits].shape[0])
        for rows, array in zip(blobs.values(), batch.arrays, strict=True):
            rows.append(array.reshape(len(array), -1).copy())
        done += len(batch.names)
        said.reached(done)
    values = np.concatenate(blobs[features])
    if not np.isfinite(values).all():
        raise NetError(f"{net.path}: blob '{features}' holds a nan or an infinite number")
    # The first pass allocates.
    median = statistics.median(spent[1:] or spent)
    return {
        "values": values,
        "logits": np.concatenate(blobs[logits]),
        "test_ms": np.array(1000 * median),
    }


def of_sift(
    data: Prepared,
    rows: Rows,
    window: float,
    folder: Path,
    part: Part,
    *,
    threads: int,
) -> Features:
    """SIFT descriptors at the 49 landmarks of each frame, 6,272 numbers, computed once.

    Args:
        data: prepared folder of the frames.
        rows: of the frames.
        window: side of a descriptor's window, pixels of the prepared face.
        folder: where features are kept.
        part: is told how far the work is.
        threads: to decode and describe faces in.

    Raises:
        DrmlError: a file cannot be read or written.
    """
    content = {
        "stage": "sift",
        "data": cache.digest_of(data),
        "rows": cache.digest(rows.tolist()),
        "window": window,
    }
    name = cache.digest(content)
    path = folder / f"sift-{name}.npz"
    found = cache.read_arrays(path)
    if found is None:
        found = {"values": _describe_all(data, rows, window, part, threads)}
        cache.write_arrays(path, found)
    return Features(name, rows, found["values"], None, None)


def _describe_all(
    data: Prepared,
    rows: Rows,
    window: float,
    part: Part,
    threads: int,
) -> Floats:
    landmarks = data.landmarks
    source = LmdbSource(data.faces, channels=Channels.GRAY)
    number_of = {source.key(index): index for index in range(len(source))}

    def describe_row(index: int) -> Floats:
        row = int(rows[index])
        number = number_of.get(data.keys[row])
        if number is None:
            raise DataError(f"{data.faces}: no record '{data.keys[row]}'")
        return describe(source.read(number).pixels[:, :, 0], landmarks[row], window)

    values = np.empty((len(rows), len(landmarks[0]) * SIFT_SIZE), np.float32)
    prefetcher = Prefetcher(
        describe_row, threads=threads, depth=8 * threads, count=len(rows), name="sift"
    )
    said = Said(part, len(rows), "SIFT")
    try:
        for index in range(len(rows)):
            values[index] = prefetcher.get(index)
            said.reached(index + 1)
    finally:
        prefetcher.close()
        source.close()
    return values


def describe(
    gray: npt.NDArray[np.uint8],
    points: npt.NDArray[np.float32],
    window: float,
) -> Floats:
    """SIFT descriptors, upright and of one size, at points of a picture; 128 numbers a point.

    Args:
        gray: (H, W) picture.
        points: (N, 2), x and y.
        window: side of the square that a descriptor covers, pixels.

    Returns:
        (N * 128,), point by point.
    """
    import cv2

    size = window / _WINDOW_OF_SIZE
    keypoints = [cv2.KeyPoint(float(x), float(y), size, 0) for x, y in points]
    _, found = cv2.SIFT.create().compute(np.ascontiguousarray(gray), keypoints)
    return np.asarray(found, np.float32).reshape(-1)
