"""Landmarks found in openau's frames beside those that come with them.

    python benchmarks/landmark_accuracy.py [--finder mediapipe] [--finder dlib] [--step 1]

Of every finder and tree: frames in which a face was found, and in which more than one; the distance
of found and given eye corners (mean of the four, then median and 95th percentile over frames) and
of all 49 points, in percent of the inter-ocular distance, which is that of the given eyes' centers;
how far the registered eyes lie from where the given landmarks would bring them, in pixels of the
200 x 200 picture; and the CPU time of a frame, in one thread. The frames are semi-synthetic.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from openau_faces import TREES, add_options, check, frames

from drml.faces.find import FINDERS, Finder, open_finder
from drml.faces.landmarks import EYE_CORNERS, eye_centers, to_49
from drml.faces.register import MEAN_FACE, similarity, transform
from drml.text_table import align

_HEADER = (
    "finder",
    "tree",
    "frames",
    "found",
    "several",
    "corners %",
    "95th %",
    "49 points %",
    "registered px",
    "CPU ms",
)


def row(finder: Finder, folder: Path, tree: str, step: int) -> list[str]:
    """A line of the table."""
    count = found = several = 0
    corners, all_points, registered, seconds = [], [], [], []
    for frame in frames(folder, tree, step):
        count += 1
        start = time.process_time()
        faces = finder.find(frame.picture)
        seconds.append(time.process_time() - start)
        if not faces:
            continue
        found += 1
        several += len(faces) > 1
        given, points = to_49(frame.points, "given"), faces[0].points49
        left, right = eye_centers(given)
        apart = float(np.linalg.norm(right - left))
        distances = 100 * np.linalg.norm(points - given, axis=1) / apart
        corners.append(distances[list(EYE_CORNERS)].mean())
        all_points.append(distances.mean())
        eyes = eye_centers(given)
        moved = [transform(similarity(p, MEAN_FACE), eyes) for p in (given, points)]
        registered.append(np.linalg.norm(moved[0] - moved[1], axis=1).mean())
    return [
        finder.name,
        tree,
        f"{count}",
        f"{100 * found / count:.2f}%",
        f"{several}",
        f"{np.median(corners):.2f}",
        f"{np.percentile(corners, 95):.2f}",
        f"{np.median(all_points):.2f}",
        f"{np.median(registered):.2f}",
        f"{1000 * np.median(seconds):.1f}",
    ]


def main() -> None:
    """Prints the table."""
    import cv2

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--finder", action="append", choices=list(FINDERS))
    add_options(parser)
    args = parser.parse_args()
    check(args.openau)
    cv2.setNumThreads(1)
    rows = []
    for name in args.finder or FINDERS:
        finder = open_finder(name)
        rows += [row(finder, args.openau, tree, args.step) for tree in TREES]
    print(align(_HEADER, rows, left=2))


if __name__ == "__main__":
    main()
