"""How near MediaPipe's mesh points lie to openau's given landmarks: the choice of MESH_TO_68.

    python benchmarks/mesh_points.py [--step 4]

Of each of the 68 points on the left half: the mesh point that stands for it, its distance from the
given landmark and that of its mirror image (medians over frames, in percent of the inter-ocular
distance, bp4d's frames then disfa's), and the same of the next best mirrored pair of mesh points.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from openau_faces import TREES, add_options, check, frames

from drml.faces.landmarks import MESH_TO_68
from drml.faces.mediapipe_finder import MediapipeFinder

Array = npt.NDArray[np.float64]

# fmt: off
MIRROR_68 = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)
# fmt: on
_LEFT_EYE, _RIGHT_EYE = (33, 133), (362, 263)


def measure(folder: Path, tree: str, step: int) -> tuple[Array, Array]:
    """Medians over frames of the distances of 68 given and 478 mesh points (68, 478), and the mean
    mesh (478, 2) with its eyes level; both in percent of the inter-ocular distance."""
    finder = MediapipeFinder()
    distances, shapes = [], []
    for frame in frames(folder, tree, step):
        mesh = finder.mesh(frame.picture)
        if mesh is None:
            continue
        given = frame.points
        apart = np.linalg.norm(given[36:42].mean(axis=0) - given[42:48].mean(axis=0))
        distances.append(100 * np.linalg.norm(given[:, None] - mesh[None], axis=2) / apart)
        left, right = (mesh[list(eye)].mean(axis=0) @ (1, 1j) for eye in (_LEFT_EYE, _RIGHT_EYE))
        level = (mesh @ (1, 1j) - (left + right) / 2) / (right - left)
        shapes.append(np.stack([level.real, level.imag], axis=1))
    return np.median(distances, axis=0), 100 * np.mean(shapes, axis=0)


def main() -> None:
    """Prints a line per point."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser)
    args = parser.parse_args()
    check(args.openau)
    medians, shapes = zip(*(measure(args.openau, tree, args.step) for tree in TREES), strict=True)
    mirrored = shapes[0] * (-1, 1)
    mirror = np.linalg.norm(shapes[0][None] - mirrored[:, None], axis=2).argmin(axis=1)

    def text(point: int, mesh: int) -> str:
        return f"{mesh:3} {medians[0][point, mesh]:5.2f} {medians[1][point, mesh]:5.2f}"

    print("point  mesh bp4d disfa  mirror image     next best")
    for point, other in enumerate(MIRROR_68):
        if other < point:
            continue
        chosen = MESH_TO_68[point], MESH_TO_68[other]
        both = medians[0][point] + medians[0][other][mirror]
        both[chosen[0]] = np.inf
        best = int(both.argmin())
        texts = [text(point, chosen[0]), text(other, chosen[1])]
        texts += [text(point, best), text(other, int(mirror[best]))]
        print(f"{point:5}  " + "  ".join(texts))


if __name__ == "__main__":
    main()
