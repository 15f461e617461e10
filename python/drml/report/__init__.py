"""The report of an experiment: a page to read, tables to print, and the figures of the paper."""

from __future__ import annotations

from pathlib import Path

PAGE_NAME = "report.html"


def write(folder: Path, *, faces: bool = True) -> Path:
    """Writes report.html, tables/ and figures/ into an experiment's folder; returns the page.

    What is missing, such as a run without weights or a figure without data, is told on the page.

    Args:
        folder: of the experiment.
        faces: whether test faces may be seen; if not, saliency is drawn over the mean image of the
            training faces, so that the page may be published where pictures of people may not.

    Raises:
        DataError: the folder holds no results.json that can be read.
        WeightsError: a file cannot be written.
    """
    from drml.report.build import build

    return build(folder, faces=faces)
