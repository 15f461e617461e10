"""Trains DRML on the demo's faces and shows what it says of people it has not seen."""

from __future__ import annotations

from pathlib import Path

from drml.data.lmdb_source import LmdbSource
from drml.data.options import DataOptions
from drml.demo.muscles import AUS
from drml.demo.report import write_report
from drml.networks import network
from drml.training import RunOptions, train_and_test

# The paper's batch of 128 would leave a few updates only; in batches of 16 noise soon presses every
# output of conv7 below zero, and a net of ReLUs does not come back from that.
BATCH_SIZE = 32
# More than any demo reaches; its minutes end it.
ITERATIONS = 20_000


def train(
    train_data: Path, test_data: Path, out: Path, *, minutes: float, seed: int, threads: int
) -> list[Path]:
    """Trains prototxt/drml.prototxt by the paper's settings in batches of 32 and tests it.

    Args:
        train_data, test_data: data bases.
        out: the run folder: log, metrics, loss curve, weights, table and pictures.
        minutes: how long to train.

    Returns:
        The pictures and texts to look at; none where the training was stopped.

    Raises:
        DrmlError: the data cannot be used, or `out` cannot be written.
    """
    options = RunOptions(
        run_dir=out,
        data=DataOptions(train_data=train_data, test_data=test_data, batch_size=BATCH_SIZE),
        threads=threads,
        seed=seed,
        minutes=minutes,
    )
    result = train_and_test(network("drml.prototxt"), ITERATIONS, options)
    if result is None or result.scores is None or result.labels is None:
        return []
    source = LmdbSource(test_data)
    try:
        images = [source.read(index).pixels for index in range(len(source))]
    finally:
        source.close()
    names = [str(number) for number in AUS]
    return write_report(out, images, result.labels.astype(int), result.scores, names)
