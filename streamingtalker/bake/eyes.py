"""Eyeballs: a fine polar grid about the line of sight, painted with pupil, iris, limbal ring and sclera."""

import numpy as np

from streamingtalker.bake import drawn
from streamingtalker.bake.drawn import Anchors, Drawn, Material
from streamingtalker.bake.identity import EyeLook
from streamingtalker.bake.paint import blend, smoothstep
from streamingtalker.bake.rig import BakedRig

SEGMENTS = 36
RINGS = np.array([0, 3, 5.5, 7.5, 8.6, 9.6, 11, 13, 15, 17, 19, 20.8, 22, 23, 24, 25.5, 28, 32, 37, 43, 50, 60, 72, 88])
GLINT = (13.0, 118.0, 0.00085)  # degrees off the line of sight, degrees round it, radius in metres
CORNEA = 0.0005  # metres by which the cornea bulges


def parts(rig: BakedRig, look: EyeLook) -> list[Drawn]:
    """Both eyeballs, each moving with its own eye only."""
    return [_eyeball(rig, look, side, part) for side, part in enumerate(("eye_left", "eye_right"))]


def _eyeball(rig: BakedRig, look: EyeLook, side: int, part: str) -> Drawn:
    members, centre = rig.mesh.members(part), rig.pivots[side]
    radius = np.linalg.norm(rig.template[members] - centre, axis=1).mean() - 0.0001
    degrees, around = (
        grid.ravel() for grid in np.meshgrid(RINGS, np.arange(SEGMENTS) * 2 * np.pi / SEGMENTS, indexing="ij")
    )
    tilt = np.radians(degrees)
    direction = np.stack([np.sin(tilt) * np.cos(around), np.sin(tilt) * np.sin(around), np.cos(tilt)], axis=1)
    reach = radius + CORNEA * smoothstep(27.0, 8.0, degrees)
    positions = centre + reach[:, None] * direction
    triangles = _outward(positions, drawn.grid_triangles(len(RINGS), SEGMENTS, closed=True), centre)
    glint, fan = _glint(centre, radius + CORNEA)
    matrix = Anchors(rig.template, members).points(np.concatenate([positions, glint]))
    triangles = np.concatenate([triangles, _outward(glint, fan, centre) + len(positions)])
    colors = np.concatenate([_paint(look, degrees, around), np.ones((len(glint), 3))])
    return Drawn(part, matrix, triangles, colors, Material(0.13))


def _glint(centre: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """A small white disc on the cornea: the window that every eye reflects, which no renderer without one shows."""
    tilt, turn = np.radians(GLINT[0]), np.radians(GLINT[1])
    axis = np.array([np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)])
    aside = np.cross([0, 1.0, 0], axis)
    aside /= np.linalg.norm(aside)
    around = np.arange(14) * 2 * np.pi / 14
    rim = np.outer(np.cos(around), aside) + np.outer(np.sin(around), np.cross(axis, aside)) * 1.25
    middle = centre + axis * (radius + 0.00035)
    points = np.concatenate([[middle], middle + rim * GLINT[2]])
    fan = np.stack([np.zeros(14, int), 1 + np.arange(14), 1 + (np.arange(14) + 1) % 14], axis=1)
    return points, fan


def _outward(positions: np.ndarray, triangles: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The triangles with area, wound so that they face away from ``centre``."""
    a, b, c = (positions[triangles[:, corner]] for corner in range(3))
    normal = np.cross(b - a, c - a)
    facing = np.einsum("ij,ij->i", normal, a - centre)
    wound = np.where(facing[:, None] < 0, triangles[:, ::-1], triangles)
    return wound[np.linalg.norm(normal, axis=1) > 1e-13].astype(np.int32)


def _paint(look: EyeLook, degrees: np.ndarray, around: np.ndarray) -> np.ndarray:
    fibre = 0.5 + 0.25 * np.sin(around * 17 + 1) + 0.25 * np.sin(around * 29 + degrees * 0.4)
    colors = np.tile(np.array(look.white), (len(degrees), 1))
    colors = blend(colors, (0.86, 0.70, 0.66), 0.8 * smoothstep(40, 75, degrees))
    shadow = smoothstep(0.15, 0.75, np.sin(np.radians(degrees)) * np.sin(around))
    colors *= 1 - 0.45 * shadow[:, None]
    colors = blend(colors, look.iris, smoothstep(24.2, 22.6, degrees))
    colors = blend(colors, look.fibres, smoothstep(20.5, 10, degrees) * (0.35 + 0.5 * fibre))
    colors = blend(colors, look.ring, 0.85 * smoothstep(19.5, 22.5, degrees) * smoothstep(25.3, 23, degrees))
    upper = smoothstep(0.05, 0.38, np.sin(np.radians(degrees)) * np.sin(around)) * (degrees < 25)
    colors *= 1 - 0.4 * upper[:, None]
    return blend(colors, (0.012, 0.010, 0.010), smoothstep(9.9, 8.2, degrees))
