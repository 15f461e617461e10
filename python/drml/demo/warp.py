"""Thin-plate splines: the smooth warp that moves chosen points of a picture to chosen places."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from drml.demo.landmarks import Points

Array = NDArray[np.float32]

UNIT = 100.0
CELL = 5
STIFFNESSES = (2e-4, 1e-3, 3e-3, 1e-2, 3e-2)
LEAST_AREA = 0.12


class ThinPlate:
    """A function of the plane that is `values` (n, k) at `points` (n, 2) and bends least between.

    `stiffness` relaxes the fit where points press together, so that the map does not fold.
    """

    def __init__(self, points: Points, values: Points, stiffness: float = 0.0) -> None:
        self._centers = points / UNIT
        n = len(points)
        squared = ((self._centers[:, None] - self._centers[None]) ** 2).sum(axis=2)
        system = np.zeros((n + 3, n + 3))
        system[:n, :n] = squared * np.log(squared + 1e-12) + stiffness * np.eye(n)
        system[:n, n] = system[n, :n] = 1.0
        system[:n, n + 1 :] = self._centers
        system[n + 1 :, :n] = self._centers.T
        right = np.zeros((n + 3, values.shape[1]))
        right[:n] = values
        self._weights = np.linalg.solve(system, right)

    def grid(self, xs: Points, ys: Points) -> Array:
        """Values at the crossings of the lines xs and ys: (len(ys), len(xs), k)."""
        n = len(self._centers)
        x, y = xs / UNIT, ys / UNIT
        across = ((x - self._centers[:, :1]) ** 2).astype(np.float32)
        down = ((y - self._centers[:, 1:]) ** 2).astype(np.float32)
        squared = (across[:, None, :] + down[:, :, None]).reshape(n, -1)
        bend = squared * cv2.log(squared + np.float32(1e-12))
        weights = self._weights.astype(np.float32)
        bent = np.asarray(cv2.gemm(weights[:n], bend, 1.0, weights[:0], 0.0, flags=cv2.GEMM_1_T))
        plane = self._weights[n:]
        flat = plane[0] + x[None, :, None] * plane[1] + y[:, None, None] * plane[2]
        bends = bent.reshape(-1, len(y), len(x)).transpose(1, 2, 0)
        return np.asarray(bends + flat, np.float32)


def dense_map(
    plate: ThinPlate, first: float, spacing: float, side: int, mirror: float | None = None
) -> tuple[Array, Array]:
    """The x and y of a plate of two values at side x side pixels, for cv2.remap.

    Pixel (0, 0) is at (first, first) and pixels are `spacing` apart. With `mirror`, the plate is
    read at mirror - x, so that the picture comes out left to right. The plate is evaluated every
    CELL pixels and is linear in between.
    """
    count = -(-side // CELL) + 2
    nodes = first + spacing * (CELL * np.arange(count, dtype=np.float64) - (CELL + 1) / 2)
    coarse = plate.grid(nodes if mirror is None else mirror - nodes, nodes)
    fine = cv2.resize(coarse, (CELL * count, CELL * count), interpolation=cv2.INTER_LINEAR)
    inner = fine[CELL : CELL + side, CELL : CELL + side]
    return np.array(inner[..., 0]), np.array(inner[..., 1])


def unfolded(points: Points, values: Points, low: float, high: float) -> ThinPlate:
    """The plate through `points` that is just stiff enough not to fold between low and high.

    Where it folded, the picture would show a feature twice.
    """
    nodes = np.arange(low, high + CELL, CELL, dtype=np.float64)
    for stiffness in STIFFNESSES:
        plate = ThinPlate(points, values, stiffness)
        if least_area(plate.grid(nodes, nodes)) > LEAST_AREA * CELL**2:
            break
    return plate


def least_area(grid: Array) -> float:
    """The least signed area that a cell of a grid of points (h, w, 2) has."""
    across = np.diff(grid, axis=1)[:-1]
    down = np.diff(grid, axis=0)[:, :-1]
    return float((across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]).min())
