"""Where hair grows: the field of the hairline, the layer that hides the scalp, and roots spread over it."""

from dataclasses import dataclass

import numpy as np

from streamingtalker.bake import drawn, skin
from streamingtalker.bake.identity import Hair
from streamingtalker.bake.paint import blend, mottle, smoothstep
from streamingtalker.bake.skin import Surface
from streamingtalker.bake.strands import Mesh

NAPE = -0.06  # nothing grows below
EDGE = 0.022  # metres over which the hair grows from nothing to its thickness


@dataclass(frozen=True)
class Scalp:
    """The part of the skin under the hair. n vertices."""

    positions: np.ndarray  # float64 [n, 3]
    plan: np.ndarray  # float64 [n, 3]: the same vertices on the reference
    normals: np.ndarray  # float64 [n, 3]
    triangles: np.ndarray  # int [f, 3]
    inside: np.ndarray  # float64 [n]: metres from the hairline

    def roots(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Triangles [count] and barycentric shares [count, 3] of points spread evenly over the scalp."""
        a, b, c = (self.positions[self.triangles[:, corner]] for corner in range(3))
        area = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1))
        chosen = np.searchsorted(area, (np.arange(count) + 0.5) / count * area[-1])
        u, v = (np.arange(count)[:, None] * [0.754878, 0.569840] % 1.0).T
        u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
        return chosen, np.stack([u, v, 1 - u - v], axis=1)

    def at(self, field: np.ndarray, roots: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """The values of ``field`` [n, …] at ``roots``."""
        chosen, shares = roots
        return np.einsum("rk,rk...->r...", shares, field[self.triangles[chosen]])


def grown(plan: Surface, ears: np.ndarray, look: Hair) -> np.ndarray:
    """Metres [r] by which points of the skin lie inside the hairline. ``ears`` [r] is 1 on the ears, 0 elsewhere."""
    above = skin.above_hairline(plan.positions, look.hairline)
    above = np.minimum(above, plan.positions[:, 1] - (0.0 if look.over_ears else NAPE))
    above += look.ragged * mottle(plan.positions, 0.011)
    return above if look.over_ears else np.where(ears > 0.02, -0.02 * ears, above)


def cut(surface: Surface, plan: Surface, inside: np.ndarray) -> Scalp:
    """The scalp of the head with this ``surface``; ``inside`` [r] as from ``grown``."""
    fields = np.concatenate([surface.positions, plan.positions, surface.normals, inside[:, None]], axis=1)
    carried = drawn.sparse.csr_matrix(fields)
    rows, triangles = drawn.clip(carried, drawn.triangulated(surface.refined.quads), inside)
    table = rows.toarray()
    return Scalp(table[:, :3], table[:, 3:6], table[:, 6:9], triangles, table[:, 9])


def height(inside: np.ndarray, look: Hair) -> np.ndarray:
    """Metres [n] by which the layer next to the skin stands off it, ``inside`` [n] the hairline by so many metres."""
    return look.thickness * smoothstep(-0.002, EDGE, inside) + 0.0003


def layer(scalp: Scalp, look: Hair) -> Mesh:
    """The hair next to the skin as one soft sheet."""
    points = scalp.positions + scalp.normals * height(scalp.inside, look)[:, None]
    shade = 0.35 + 0.25 * mottle(scalp.positions, 0.007)
    colors = blend(np.tile(np.array(look.color.dark), (len(points), 1)), look.color.middle, shade)
    return points, scalp.triangles, colors
