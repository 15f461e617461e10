"""The mean face that faces are registered to, from openau's given landmarks.

    python benchmarks/mean_face.py

Each frame of bp4d/ is brought to the mean by a similarity transform, averaged over the frames of
its person and then over people, made symmetric, and moved until the eye centers lie at (62, 72) and
(138, 72); again, until nothing moves. Prints the 49 points and how far MEAN_FACE is from them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
from openau_faces import add_options, check, landmark_files

from drml.faces.landmarks import OF_68, eye_centers
from drml.faces.names import FRAME
from drml.faces.register import MEAN_FACE, Matrix, similarity, transform

_EYE_CENTERS = np.array([(62.0, 72.0), (138.0, 72.0)])
# fmt: off
_MIRROR = (
    9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 10, 11, 12, 13, 18, 17, 16, 15, 14,
    28, 27, 26, 25, 30, 29, 22, 21, 20, 19, 24, 23,
    37, 36, 35, 34, 33, 32, 31, 42, 41, 40, 39, 38, 45, 44, 43, 48, 47, 46,
)
# fmt: on


def mean_face(people: list[Matrix]) -> Matrix:
    """The symmetric mean (49, 2) of each person's frames (n, 49, 2)."""
    mean = people[0][0]
    for _ in range(50):
        before = mean
        means = [
            np.mean([transform(similarity(face, mean), face) for face in faces], axis=0)
            for faces in people
        ]
        mean = np.mean(means, axis=0)
        mean = transform(similarity(eye_centers(mean), _EYE_CENTERS), mean)
        mirrored = np.column_stack([FRAME - mean[:, 0], mean[:, 1]])[list(_MIRROR)]
        mean = (mean + mirrored) / 2
        if np.abs(mean - before).max() < 1e-6:
            break
    return mean


def main() -> None:
    """Prints the points."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser)
    args = parser.parse_args()
    check(args.openau)
    people = defaultdict(list)
    for file in landmark_files(args.openau, "bp4d", args.step):
        people[file.stem.split("_")[0]].append(np.load(file)[:, list(OF_68)].astype(float))
    mean = mean_face([np.concatenate(faces) for faces in people.values()])
    print(", ".join(f"({x:.1f}, {y:.1f})" for x, y in mean))
    print(f"{len(people)} people; MEAN_FACE is {np.abs(mean - MEAN_FACE).max():.2f} px from it")


if __name__ == "__main__":
    main()
