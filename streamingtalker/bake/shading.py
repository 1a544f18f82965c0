"""Ambient occlusion baked into the colours, for renderers that cast no shadows."""

import numpy as np

CHUNK = 512
TINT = np.array([0.88, 1.03, 1.06])  # light that reaches a crease of skin has passed through skin: it is warmer


def occlusion(
    points: np.ndarray, normals: np.ndarray, discs: np.ndarray, facing: np.ndarray, areas: np.ndarray, two_sided: bool
) -> np.ndarray:
    """The share [n] of the sky above each point that the discs hide, as if none stood before another.

    Bunnell's disc approximation: points and normals [n, 3]; discs [m, 3] with normals ``facing`` and ``areas`` [m].
    """
    return np.concatenate(
        [
            _hidden(points[start : start + CHUNK], normals[start : start + CHUNK], discs, facing, areas, two_sided)
            for start in range(0, len(points), CHUNK)
        ]
    )


def _hidden(
    points: np.ndarray, normals: np.ndarray, discs: np.ndarray, facing: np.ndarray, areas: np.ndarray, two_sided: bool
) -> np.ndarray:
    squared = (points**2).sum(axis=1)[:, None] + (discs**2).sum(axis=1)[None] - 2 * points @ discs.T
    squared = np.maximum(squared, 1e-8)
    above = normals @ discs.T - (normals * points).sum(axis=1)[:, None]
    before = points @ facing.T - (facing * discs).sum(axis=1)[None]
    before = np.abs(before) if two_sided else np.maximum(before, 0)
    return (np.maximum(above, 0) * before * areas / squared / (np.pi * squared + areas)).sum(axis=1)


def discs_of(positions: np.ndarray, quads: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres [m, 3], unit normals [m, 3] and areas [m] of quads."""
    a, b, c, d = (positions[quads[:, corner]] for corner in range(4))
    normal = np.cross(c - a, d - b) / 2
    area = np.linalg.norm(normal, axis=1)
    return (a + b + c + d) / 4, normal / np.maximum(area, 1e-12)[:, None], area


def darkening(hidden: np.ndarray, strength: float, floor: float = 0.25) -> np.ndarray:
    """Colour factors [n, 3] for hidden shares of the sky [n]."""
    light = np.clip(1 - strength * hidden, floor, 1.0)
    return light[:, None] ** TINT
