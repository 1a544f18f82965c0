"""What all hair is made of: the skull it grows from, and locks."""

import numpy as np

from streamingtalker.bake import drawn
from streamingtalker.bake.skin import Surface

CENTRE = np.array([0.0, 0.045, 0.0])  # the middle of the reference's skull

Mesh = tuple[np.ndarray, np.ndarray, np.ndarray]  # points [n, 3], triangles [f, 3], colours [n, 3]


class Skull:
    """The distance of the scalp from ``centre`` in any direction, ears and face smoothed away."""

    def __init__(self, surface: Surface, plan: Surface, sharpness: float = 260.0) -> None:
        """``plan`` is the same skin on the reference, where ears and neck are known."""
        self._sharpness = sharpness
        p = plan.positions
        ear = (np.abs(p[:, 0]) > 0.0695) & (p[:, 1] < 0.05) & (p[:, 2] < 0.03)
        used = (p[:, 1] > 0.0) & ~ear & (np.linalg.norm(p - CENTRE, axis=1) > 0.06)
        self.centre = CENTRE + (surface.positions[used] - p[used]).mean(axis=0) * [0, 1, 1]
        reach = surface.positions[used] - self.centre
        self._distance = np.linalg.norm(reach, axis=1)
        self._directions = reach / self._distance[:, None]

    def __call__(self, directions: np.ndarray) -> np.ndarray:
        """Metres [n] for unit ``directions`` [n, 3]."""
        weight = np.exp((directions @ self._directions.T - 1) * self._sharpness) + 1e-30
        return (weight @ self._distance) / weight.sum(axis=1)


def lock(points: np.ndarray, outward: np.ndarray, width: np.ndarray, colors: np.ndarray) -> Mesh:
    """One lock along ``points`` [n, 3] that is ``width`` [n] to either side: three vertices across, the middle one
    raised ``outward`` [n, 3], the edges darker than ``colors`` [n, 3]."""
    tangent = np.gradient(points, axis=0)
    across = np.cross(tangent, outward)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    raised = 0.34 * width[:, None] * outward
    grid = np.stack([points - across * width[:, None], points + raised, points + across * width[:, None]], axis=1)
    shades = np.stack([colors * 0.66, colors, colors * 0.66], axis=1)
    return grid.reshape(-1, 3), drawn.grid_triangles(len(points), 3)[:, ::-1], shades.reshape(-1, 3)
