"""Small helpers of painting by vertex: masks over positions and blends of sRGB colours."""

import numpy as np


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high`` (or the other way round where low > high), smooth between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def spot(positions: np.ndarray, centre: tuple[float, float, float], radius: float | np.ndarray) -> np.ndarray:
    """A soft spot [n] on both sides of the face around ``centre`` (its x counts as distance from the middle)."""
    mirrored = np.column_stack([np.abs(positions[:, 0]), positions[:, 1:]])
    return np.exp(-(((mirrored - centre) / radius) ** 2).sum(axis=1))


def blend(colors: np.ndarray, color: tuple[float, float, float], share: np.ndarray) -> np.ndarray:
    """Colours [n, 3] with ``share`` [n] of them replaced by ``color``."""
    return colors + np.clip(share, 0, 1)[:, None] * (np.array(color) - colors)


def mottle(positions: np.ndarray, wavelength: float) -> np.ndarray:
    """Smooth deterministic noise [n] of about unit size that changes over ``wavelength`` metres."""
    waves = np.array([[1.0, 0.7, -0.4], [-0.5, 1.1, 0.8], [0.9, -0.8, 1.0], [-1.2, -0.4, 0.6]]) * 2 * np.pi / wavelength
    return np.sin(positions @ waves.T + np.array([0.3, 1.7, 2.9, 4.1])).sum(axis=1) / 2
