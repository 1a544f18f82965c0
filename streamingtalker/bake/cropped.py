"""Dense short curls: little tufts all over the scalp."""

import numpy as np

from streamingtalker.bake.identity import Cropped
from streamingtalker.bake.paint import blend, smoothstep
from streamingtalker.bake.scalp import EDGE, Scalp
from streamingtalker.bake.strands import Mesh

RIM = 3  # vertices round a tuft


def tufts(scalp: Scalp, look: Cropped) -> Mesh:
    """All tufts as one mesh: each a low pyramid with a dark rim and a lighter peak."""
    roots = scalp.roots(look.tufts)
    at, normal, inside = (scalp.at(field, roots) for field in (scalp.positions, scalp.normals, scalp.inside))
    chance = np.arange(look.tufts)[:, None] * [0.324718, 0.618034, 0.754878] % 1.0
    grown = smoothstep(0.0, EDGE, inside)
    middle = at + normal * (look.thickness * grown)[:, None]
    size = look.tuft * (0.5 + 0.5 * grown) * (0.8 + 0.4 * chance[:, 0])
    aside = np.cross(normal, [0.3, 0.2, 0.9])
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    turn = chance[:, 1:2] * 2 * np.pi + np.arange(RIM) * 2 * np.pi / RIM
    spread = np.cos(turn)[..., None] * aside[:, None] + np.sin(turn)[..., None] * np.cross(normal, aside)[:, None]
    rim = middle[:, None] + size[:, None, None] * (0.75 * spread - 0.10 * normal[:, None])
    lean = aside * (chance[:, 2:] - 0.5)
    peak = middle + size[:, None] * (normal * (0.85 + 0.15 * grown[:, None]) + 0.5 * lean)
    points = np.concatenate([rim, peak[:, None]], axis=1).reshape(-1, 3)
    fan = np.stack([np.arange(RIM), (np.arange(RIM) + 1) % RIM, np.full(RIM, RIM)], axis=1)
    faces = (np.arange(look.tufts)[:, None, None] * (RIM + 1) + fan).reshape(-1, 3)
    light = np.tile(np.array(look.color.middle), (look.tufts, 1)) * (0.75 + 0.5 * chance[:, :1])
    dark = blend(light, look.color.dark, np.full(look.tufts, 0.7))
    colors = np.concatenate([np.repeat(dark[:, None], RIM, axis=1), light[:, None]], axis=1)
    return points, faces, colors.reshape(-1, 3)
