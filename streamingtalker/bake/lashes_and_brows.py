"""Lashes and brows: single hairs as tapering blades that ride on the skin."""

import numpy as np
import scipy.sparse as sparse

from streamingtalker.bake import regions
from streamingtalker.bake.brow import brow_frame
from streamingtalker.bake.drawn import Anchors, Drawn, Material
from streamingtalker.bake.identity import BrowLook, LashLook, Look
from streamingtalker.bake.makehuman import BaseMesh
from streamingtalker.bake.paint import smoothstep
from streamingtalker.bake.rig import BakedRig
from streamingtalker.bake.skin import Surface

BLADE = np.array([[0, 1, 3], [0, 3, 2], [2, 3, 4]])  # over two vertices at the root, two half way, one at the tip
BROW_HAIRS = 150
LASH_FOLLOW = 0.35  # how much further than the lid's edge a lash tip travels when the eye closes


def parts(base: BaseMesh, rig: BakedRig, surface: Surface, plan: Surface, look: Look, still: Anchors) -> list[Drawn]:
    """Lashes with a fine dark line along the upper lid, and brows, which are laid out on the reference's skin ``plan``.

    ``still`` are vertices that never move.
    """
    return [_lashes(base, rig, surface, look.lashes, still), _brows(surface, plan, look.brows, still)]


def _lashes(base: BaseMesh, rig: BakedRig, surface: Surface, look: LashLook, still: Anchors) -> Drawn:
    blocks, triangles, shades, count = [], [], [], 0
    for eye in ("eye_left", "eye_right"):
        upper, above, below = _lid_chains(base, rig, surface, eye)
        strips = [
            _lash_row(upper, surface, still, 38, look.upper, 1.0),
            _lash_row(below, surface, still, 26, 0.0032, -1.0),
        ]
        strips.append(_liner(upper, above, surface, still, look.liner))
        for (rows, faces), color in zip(strips, (look.color, look.lower, look.color), strict=True):
            blocks.append(rows)
            shades.append(np.tile(color, (rows.shape[0], 1)))
            triangles.append(faces + count)
            count += rows.shape[0]
    matrix = sparse.vstack(blocks).tocsr()
    colors = np.concatenate(shades)
    return Drawn("lashes", matrix, np.concatenate(triangles).astype(np.int32), colors, Material(0.7, double_sided=True))


def _lid_chains(base: BaseMesh, rig: BakedRig, surface: Surface, eye: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Skin vertices along the edge of the upper lid, one row above it, and one row below the edge of the lower lid.

    All run from the inner corner of the eye to the outer one.
    """
    members = rig.mesh.members("skin")

    def chains(start: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        loop = np.searchsorted(members, rig.mesh.locate(regions.edge_loop(base.groups["body"], *start)))
        x = np.abs(surface.positions[loop, 0])
        outer, inner = int(x.argmax()), int(x.argmin())
        return np.concatenate([loop[inner:], loop[: outer + 1]]), loop[outer : inner + 1][::-1]

    return chains(regions.LID_EDGES[eye])[0], *chains(regions.LID_ROWS[eye])


def _along(chain: np.ndarray, surface: Surface, at: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Rows and positions of points at the shares ``at`` of the length of a chain of skin vertices."""
    points = surface.positions[chain]
    run = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    place = np.interp(at * run[-1], run, np.arange(len(chain)))
    low = np.minimum(place.astype(int), len(chain) - 2)
    share = (place - low)[:, None]
    first, second = surface.matrix[chain[low]], surface.matrix[chain[low + 1]]
    rows = first.multiply(1 - share) + second.multiply(share)
    return rows.tocsr(), points[low] * (1 - share) + points[low + 1] * share


def _lash_row(
    chain: np.ndarray, surface: Surface, still: Anchors, count: int, length: float, up: float
) -> tuple[sparse.csr_matrix, np.ndarray]:
    at = np.linspace(0.10, 0.985 if up > 0 else 0.80, count) + 0.006 * np.sin(np.arange(count) * 2.4)
    rows, points = _along(chain, surface, np.clip(at, 0, 1))
    outward = np.sign(points.mean(axis=0)[0])
    long = length * (0.55 + 0.45 * smoothstep(0.0, 0.75, at)) * (1 + 0.12 * np.sin(np.arange(count) * 5.1))
    sideways = outward * (1.25 * (at - 0.42) + 0.08 * np.sin(np.arange(count) * 3.7))
    half = np.column_stack([sideways * 0.45, np.full(count, -0.02 * up), np.full(count, 0.42)]) * long[:, None]
    tip = np.column_stack([sideways, np.full(count, 0.42 * up), np.full(count, 0.66)]) * long[:, None]
    thick = np.array([0.00028 if up > 0 else 0.00018, 0, 0])
    moving = rows * (1 + LASH_FOLLOW) - still.points(points) * LASH_FOLLOW
    middle = rows * (1 + LASH_FOLLOW / 2) - still.points(points) * (LASH_FOLLOW / 2)
    blades = [
        rows + still.vectors(np.tile(-thick, (count, 1))),
        rows + still.vectors(np.tile(thick, (count, 1))),
        middle + still.vectors(half - thick * 0.7),
        middle + still.vectors(half + thick * 0.7),
        moving + still.vectors(tip),
    ]
    return sparse.vstack(blades).tocsr(), _blade_faces(count)


def _blade_faces(count: int) -> np.ndarray:
    """Triangles of ``count`` blades whose vertices are stored kind by kind: all first roots, all second roots, …"""
    return (BLADE[None] * count + np.arange(count)[:, None, None]).reshape(-1, 3)


def _liner(
    upper: np.ndarray, above: np.ndarray, surface: Surface, still: Anchors, width: float
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """A dark line on the edge of the upper lid, where the roots of the lashes are."""
    at = np.linspace(0.06, 1.0, 40)
    edge, _ = _along(upper, surface, at)
    higher, _ = _along(above, surface, at)
    share = (width * (0.22 + 0.40 * at) * smoothstep(0.0, 0.2, at) * smoothstep(1.0, 0.9, at))[:, None]
    inner = edge + still.vectors(np.tile([0, 0, 0.00012], (40, 1)))
    outer = edge.multiply(1 - share) + higher.multiply(share) + still.vectors(np.tile([0, 0.0001, 0.00025], (40, 1)))
    corner = np.arange(39)
    quads = np.stack([corner, corner + 1, corner + 41, corner + 40], axis=1)
    return sparse.vstack([inner, outer]).tocsr(), np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _brows(surface: Surface, plan: Surface, look: BrowLook, still: Anchors) -> Drawn:
    blocks: list[sparse.csr_matrix] = []
    triangles: list[np.ndarray] = []
    colors: list[np.ndarray] = []
    count = 5 * BROW_HAIRS
    for side in (-1.0, 1.0):
        at = (np.arange(BROW_HAIRS) + 0.5) / BROW_HAIRS
        across = 2 * ((np.arange(BROW_HAIRS) * 0.618034) % 1.0) - 1
        wobble = np.sin(np.arange(BROW_HAIRS) * 4.3)
        root, heading = brow_frame(look, at, across)
        rise = np.column_stack([-heading[:, 1], heading[:, 0]])
        lift = (0.95 * (1 - smoothstep(0.0, 0.55, at)) - 0.42 * across * smoothstep(0.2, 0.6, at) + 0.1 * wobble)[
            :, None
        ]
        direction = heading + rise * lift
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        long = (look.length * (1 - 0.35 * smoothstep(0.65, 1.0, at)) * (1 + 0.12 * wobble))[:, None]
        thick = rise * (0.00033 * (1 - 0.35 * at))[:, None]
        bend = heading * long * 0.12
        outline = [root - thick, root + thick, root + direction * long * 0.55 - thick * 0.8]
        outline += [root + direction * long * 0.55 + thick * 0.8, root + direction * long + bend]
        blocks.append(_on_skin(np.concatenate(outline) * [side, 1.0], surface, plan, still, 0.00035))
        triangles.append(_blade_faces(BROW_HAIRS)[:, :: -int(side)] + count * len(triangles))
        shade = (1 + 0.18 * wobble)[:, None] * np.array(look.color)
        colors.append(np.tile(shade, (5, 1)))
    faces = np.concatenate(triangles).astype(np.int32)
    material = Material(0.75, double_sided=True)
    return Drawn("brows", sparse.vstack(blocks).tocsr(), faces, np.concatenate(colors), material)


def _on_skin(flat: np.ndarray, surface: Surface, plan: Surface, still: Anchors, height: float) -> sparse.csr_matrix:
    """Rows of points with the given x and y [n, 2] on ``plan`` that lie ``height`` above the front of the face."""
    p = plan.positions
    front = np.flatnonzero((p[:, 2] > 0.02) & (plan.normals[:, 2] > 0.1) & (p[:, 1] > 0.03))
    offset = np.linalg.norm(p[front, :2][None] - flat[:, None], axis=2)
    nearest = np.argsort(offset, axis=1, kind="stable")[:, :4]
    weight = 1 / (np.take_along_axis(offset, nearest, axis=1) + 1e-5) ** 2
    weight /= weight.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(len(flat)), 4)
    pick = sparse.coo_matrix((weight.ravel(), (rows, front[nearest].ravel())), (len(flat), len(p))).tocsr()
    at, normal = pick @ p, pick @ plan.normals
    aside = np.column_stack([flat - at[:, :2], np.zeros(len(flat))])
    aside[:, 2] = -(aside[:, :2] * normal[:, :2]).sum(axis=1) / normal[:, 2]
    return (pick @ surface.matrix + still.vectors(aside + normal * height)).tocsr()
