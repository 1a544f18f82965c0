"""The skin: subdivided where that shows, cut where the garment begins and painted vertex by vertex."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse

from streamingtalker.bake import drawn, regions
from streamingtalker.bake.brow import brow_frame
from streamingtalker.bake.drawn import Drawn, Material
from streamingtalker.bake.identity import BrowLook, Knots, Look, SkinLook
from streamingtalker.bake.makehuman import BaseMesh
from streamingtalker.bake.paint import blend, mottle, smoothstep, spot
from streamingtalker.bake.rig import BakedRig
from streamingtalker.bake.subdivision import Refined, catmull_clark

THROAT = (0.055, 0.012, 0.012)
WET = (0.42, 0.14, 0.14)
# Of the upper and the lower lip on each loop in regions.LIP_LOOPS.
LIP_REDNESS = ((0.08, 0.60), (0.75, 0.95), (1, 1), (1, 1), (1, 1), (1, 1), (1, 1))
# What an unsubdivided quad may be off by: metres at rest and at any shape's full weight, normal, colour.
COARSE_SHAPE, COARSE_MOTION, COARSE_NORMAL, COARSE_COLOR = 0.00036, 0.0008, 0.08, 0.03


@dataclass(frozen=True)
class Surface:
    """The whole subdivided skin at rest, before anything is cut away."""

    matrix: sparse.csr_matrix  # [r, V]
    positions: np.ndarray  # float64 [r, 3]
    normals: np.ndarray  # float64 [r, 3]
    refined: Refined  # the subdivision of the skin's own vertices


def subdivided(rig: BakedRig) -> Surface:
    """The skin of the talking mesh, subdivided once."""
    members = rig.mesh.members("skin")
    refined = catmull_clark(np.searchsorted(members, rig.mesh.quads["skin"]), len(members))
    pick = sparse.coo_matrix((np.ones(len(members)), (np.arange(len(members)), members)), (len(members), rig.mesh.size))
    triangles = drawn.triangulated(refined.quads)
    positions = refined.matrix @ rig.template[members]
    return Surface((refined.matrix @ pick).tocsr(), positions, drawn.normals(positions, triangles), refined)


def detailed(rig: BakedRig, surface: Surface, colors: np.ndarray) -> np.ndarray:
    """bool [Q]: which quads of the skin would look or move otherwise if they were not subdivided."""
    motion = np.max([surface.refined.fineness(surface.matrix @ shape) for shape in rig.shapes], axis=0)
    color = surface.refined.fineness(colors)
    return curved(surface) | (motion > COARSE_MOTION) | (color > COARSE_COLOR)


def curved(surface: Surface, tolerance: float = COARSE_NORMAL) -> np.ndarray:
    """bool [Q]: which quads of the skin would not look smooth if they were not subdivided."""
    fineness = surface.refined.fineness
    return (fineness(surface.positions) > COARSE_SHAPE * tolerance / COARSE_NORMAL) | (
        fineness(surface.normals) > tolerance
    )


def above_hairline(positions: np.ndarray, hairline: Knots) -> np.ndarray:
    """Metres [n] by which a point of the skin lies above the hairline."""
    degrees = np.degrees(np.arctan2(np.abs(positions[:, 0]), positions[:, 2]))
    knots = np.array(hairline)
    return positions[:, 1] - np.interp(degrees, knots[:, 0], knots[:, 1])


def paint(base: BaseMesh, rig: BakedRig, plan: Surface, inside: np.ndarray, look: Look) -> np.ndarray:
    """Colours [r, 3] of the skin of ``rig``, the reference, whose surface is ``plan``; good for all who share its mesh.

    ``inside`` [r]: metres from the hairline.
    """
    p, skin = plan.positions, look.skin
    colors = np.tile(np.array(skin.tone), (len(p), 1))
    colors *= (1 + 0.010 * mottle(p, 0.05) + 0.006 * mottle(p, 0.015))[:, None]
    cheeks, nose = spot(p, (0.043, -0.002, 0.078), 0.021), spot(p, (0.0, 0.003, 0.112), 0.013)
    chin, ears = spot(p, (0, -0.055, 0.09), 0.015), smoothstep(0.066, 0.074, np.abs(p[:, 0])) * (p[:, 1] > -0.04)
    colors = blend(colors, skin.blush, skin.flush * (0.26 * cheeks + 0.26 * nose + 0.12 * chin))
    colors = blend(colors, skin.blush, skin.flush * 0.35 * ears)
    colors = blend(colors, skin.stubble_color, skin.stubble * _beard(p) * (0.85 + 0.15 * mottle(p, 0.018)))
    colors = blend(colors, skin.lid, 0.12 * skin.freckles * smoothstep(0.5, 1.4, mottle(p, 0.012)))
    colors = _eyes(rig, plan, colors, skin)
    colors = blend(colors, look.brows.shade, look.brows.density * _brow(p, look.brows))
    colors = _mouth(base, rig, plan, colors, skin)
    return blend(colors, look.hair.scalp, smoothstep(-0.004, 0.006, inside))


def _beard(positions: np.ndarray) -> np.ndarray:
    """How densely a beard would grow at points of the reference's skin [n], 0 to 1."""
    degrees = np.degrees(np.arctan2(np.abs(positions[:, 0]), positions[:, 2]))
    edge = np.interp(degrees, [0, 18, 32, 50, 70, 80, 95], [-0.010, -0.010, -0.030, -0.034, -0.012, 0.010, -0.02])
    height = positions[:, 1]
    front = smoothstep(95, 82, degrees)
    return smoothstep(0.004, -0.024, height - edge) * smoothstep(-0.108, -0.088, height) * front


def _eyes(rig: BakedRig, surface: Surface, colors: np.ndarray, skin: SkinLook) -> np.ndarray:
    p = surface.positions
    for side, centre in enumerate(rig.pivots):
        lid = np.linalg.norm(rig.shape(f"eyeBlink{'Left' if side == 0 else 'Right'}"), axis=1)
        moved = surface.matrix @ lid
        colors = blend(colors, skin.lid, skin.lid_share * smoothstep(0.002, 0.009, moved))
        gap = np.linalg.norm(p - centre, axis=1) - 0.0148
        colors = blend(colors, skin.rim, smoothstep(0.0016, 0.0004, gap) * (p[:, 2] > centre[2]))
        inner = np.array([np.sign(centre[0]) * 0.0125, centre[1] - 0.003, 0.083])
        colors = blend(colors, skin.rim, 0.55 * np.exp(-(((p - inner) / 0.0032) ** 2).sum(axis=1)))
    return colors


def _brow(positions: np.ndarray, look: BrowLook) -> np.ndarray:
    """1 in the middle of a brow, 0 outside [n]."""
    share = np.linspace(0.0, 1.0, 60)
    line, _ = brow_frame(look, share, np.zeros(60))
    knots = np.linspace(0, 1, len(look.half_width))
    width = np.maximum(np.interp(share, knots, look.half_width), 0.0012)
    flat = np.column_stack([np.abs(positions[:, 0]), positions[:, 1]])
    apart = np.linalg.norm(flat[:, None] - line[None], axis=2) / width
    return np.exp(-(apart.min(axis=1) ** 2)) * (positions[:, 2] > 0.03)


def mouth_depth(base: BaseMesh, rig: BakedRig) -> np.ndarray:
    """int [V]: how many edges a vertex lies behind the inner edge of the lips; 0 outside the mouth."""
    mesh = rig.mesh
    border = mesh.locate(regions.edge_loop(base.groups["body"], *regions.LIP_LOOPS[-1]))
    return regions.depth_behind(mesh.quads["skin"], mesh.size, border, int(mesh.locate([regions.PALATE])[0]))


def _mouth(base: BaseMesh, rig: BakedRig, surface: Surface, colors: np.ndarray, skin: SkinLook) -> np.ndarray:
    mesh, members = rig.mesh, rig.mesh.members("skin")
    redness = np.zeros(mesh.size)
    for start, strength in zip(regions.LIP_LOOPS, LIP_REDNESS, strict=True):
        loop = regions.lip_loop(base, mesh, start)
        redness[loop.upper], redness[loop.lower[1:-1]] = strength
    depth = mouth_depth(base, rig)
    redness[depth > 0] = 1.0
    behind = surface.refined.matrix @ depth[members].astype(float)
    colors = blend(colors, skin.lips, skin.tint * (surface.refined.matrix @ redness[members]))
    seam = surface.refined.matrix @ np.isin(
        members, np.concatenate([chain for s in rig.seals for chain in (s.upper, s.lower)])
    )
    colors = blend(colors, skin.seam, 0.75 * seam)
    colors = blend(colors, WET, smoothstep(0.3, 2.2, behind))
    return blend(colors, THROAT, smoothstep(1.6, 4.5, behind))


def parts(
    surface: Surface, triangles: np.ndarray, colors: np.ndarray, visible: np.ndarray, inside: np.ndarray
) -> list[Drawn]:
    """The skin where ``visible`` [r] is positive, the rest lies under hair or cloth, and the wall of the mouth.

    ``inside`` [r] is true in the mouth, which is a part of its own because nothing shines there.
    """
    mouth = inside[triangles].all(axis=1)
    return [
        _clipped("skin", surface, triangles[~mouth], colors, visible, Material(0.5)),
        _clipped("mouth", surface, triangles[mouth], colors, np.ones(len(colors)), Material(1.0)),
    ]


def _clipped(
    name: str, surface: Surface, triangles: np.ndarray, colors: np.ndarray, visible: np.ndarray, material: Material
) -> Drawn:
    extended = sparse.hstack([surface.matrix, sparse.csr_matrix(colors)]).tocsr()
    rows, kept = drawn.clip(extended, triangles, visible)
    return Drawn(name, rows[:, :-3].tocsr(), kept, rows[:, -3:].toarray(), material)
