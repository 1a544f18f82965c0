"""Teeth, gums and tongue. The teeth are modelled here and move with the rig's own rows of teeth."""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sparse

from streamingtalker.bake import drawn
from streamingtalker.bake.drawn import Anchors, Drawn, Material
from streamingtalker.bake.paint import blend, smoothstep
from streamingtalker.bake.rig import BakedRig
from streamingtalker.bake.subdivision import catmull_clark

ENAMEL, GUM, TONGUE = (0.90, 0.87, 0.805), (0.62, 0.30, 0.30), (0.66, 0.33, 0.33)
TONGUE_REACH = 1.3  # how much further the drawn tongue moves within the jaw than the rig's
COARSE_TONGUE = 0.0003  # metres that an unsubdivided quad of it may be off by
# Width, height and depth in millimetres from the middle outwards.
UPPER = ((8.4, 10.0, 6), (6.6, 9.0, 6), (7.4, 9.8, 7), (6.8, 8.4, 8), (6.6, 8.0, 8), (9.5, 7.5, 10))
LOWER = ((5.4, 8.6, 5.5), (5.8, 8.6, 6), (6.6, 9.0, 7), (6.8, 8.2, 7.5), (6.8, 7.8, 8), (10.0, 7.2, 10))
EDGE_DROP = (0.0, -0.0006, 0.0, -0.0004, -0.0009, -0.0012)  # how far each kind's edge stays behind the middle ones
ARCH = (0.0285, 0.041)  # half width and depth of the upper arch


def parts(rig: BakedRig, reference: BakedRig) -> list[Drawn]:
    """Both rows of teeth with their gums, modelled in the mouth of the ``reference``, and the tongue."""
    lip_line = float(reference.template[reference.lip_pairs, 1].mean())
    upper = _row("teeth_upper", rig, reference, UPPER, lip_line - 0.0020, 1.0, 0.0475)
    lower = _row("teeth_lower", rig, reference, LOWER, lip_line - 0.0030, -1.0, 0.0445)
    return [*upper, *lower, _tongue(rig, reference)]


def _row(
    part: str,
    rig: BakedRig,
    reference: BakedRig,
    sizes: tuple[tuple[float, float, float], ...],
    edge: float,
    up: float,
    back: float,
) -> list[Drawn]:
    """Teeth with edges at height ``edge`` and roots that point ``up``, on an arch that begins at z ``back``."""
    scale = 1.0 if up > 0 else 0.93
    positions: list[np.ndarray] = []
    triangles: list[np.ndarray] = []
    colors: list[np.ndarray] = []
    for side in (-1, 1):
        reached = 0.0
        for (width, height, depth), drop in zip(np.array(sizes) * 1e-3, EDGE_DROP, strict=True):
            centre, outward = _on_arch(reached + width / 2, scale, back)
            reached += width
            tooth, faces = _tooth(width, height, depth)
            turned = tooth @ _frame(outward, up)
            rise = edge + up * (height / 2 - drop)
            middle = centre + np.array([0, rise, 0]) - outward * depth / 2
            first = sum(len(earlier) for earlier in positions)
            triangles.append((faces[:, ::-1] if side * up > 0 else faces) + first)
            positions.append((middle + turned) * [side, 1, 1])
            colors.append(_enamel(tooth, height, outward))
    anchors = Anchors(rig.template, rig.mesh.members(part), plan=reference.template)
    gum, gum_faces, gum_colors = _gum(edge + up * 0.0108, scale, back, up)
    faces = np.concatenate(triangles).astype(np.int32)
    moved = _carried(reference.template, rig.template, rig.mesh.members(part))
    teeth = Drawn(part, anchors.points(moved(np.concatenate(positions))), faces, np.concatenate(colors), Material(0.3))
    gums = Drawn(
        f"gums{part[5:]}", anchors.points(moved(gum)), gum_faces, gum_colors, Material(0.25, double_sided=True)
    )
    return [teeth, gums]


def _carried(before: np.ndarray, after: np.ndarray, members: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The affine map of points [n, 3] that fits best how ``members`` go from one template to the other."""
    fit = np.linalg.lstsq(np.column_stack([before[members], np.ones(len(members))]), after[members], rcond=None)[0]
    return lambda points: points @ fit[:3] + fit[3]


def _on_arch(length: float, scale: float, back: float) -> tuple[np.ndarray, np.ndarray]:
    """The point of the dental arch at ``length`` from the middle, on the side of positive x, and its outward normal."""
    angle = np.linspace(0, np.pi / 2, 400)
    curve = np.column_stack([ARCH[0] * scale * np.sin(angle), ARCH[1] * scale * np.cos(angle)])
    run = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.interp(length, run, angle)
    point = np.array([ARCH[0] * scale * np.sin(at), 0.0, back + ARCH[1] * scale * np.cos(at)])
    normal = np.array([np.sin(at) / ARCH[0], 0.0, np.cos(at) / ARCH[1]])
    return point, normal / np.linalg.norm(normal)


def _frame(outward: np.ndarray, up: float) -> np.ndarray:
    """Rows: where a tooth's own x (along the arch), y (root) and z (outward) point."""
    return np.stack([np.cross([0, 1.0, 0], outward), [0, up, 0], outward])


def _tooth(width: float, height: float, depth: float) -> tuple[np.ndarray, np.ndarray]:
    """A rounded block about the origin with its root up: a superellipsoid, slimmer towards root and edge."""
    down, around = np.linspace(0, np.pi, 7), np.arange(10) * 2 * np.pi / 10
    v, u = (grid.ravel() for grid in np.meshgrid(down, around, indexing="ij"))

    def power(x: np.ndarray, exponent: float) -> np.ndarray:
        return np.sign(x) * np.abs(x) ** exponent

    y = power(np.cos(v), 0.42)
    bulge = power(np.sin(v), 0.4)
    slim = np.where(y < 0, 1 + 0.55 * y, 1.0)
    x = bulge * power(np.cos(u), 0.5) * (1 - 0.05 * np.maximum(y, 0))
    z = bulge * power(np.sin(u), 0.7) * slim
    points = np.column_stack([x * width * 0.505, y * height / 2, z * depth / 2])
    return points, drawn.with_area(points, drawn.grid_triangles(7, 10, closed=True))


def _enamel(tooth: np.ndarray, height: float, outward: np.ndarray) -> np.ndarray:
    share = tooth[:, 1] / height + 0.5
    colors = np.tile(np.array(ENAMEL), (len(tooth), 1))
    colors = blend(colors, (0.80, 0.70, 0.58), 0.6 * smoothstep(0.4, 1.0, share))
    return colors * (0.20 + 0.80 * smoothstep(0.30, 1.0, np.full(len(tooth), outward[2])))[:, None]


def _gum(height: float, scale: float, back: float, up: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A tube along the arch that holds the roots."""
    lengths, around = np.linspace(-0.046, 0.046, 29) * scale, np.arange(8) * 2 * np.pi / 8
    rings, shade = [], []
    for length in lengths:
        point, outward = _on_arch(abs(length), scale, back)
        flip = np.array([np.sign(length) or 1.0, 1, 1])
        ring = np.outer(np.cos(around), outward) * 0.0046 + np.outer(np.sin(around), [0, up * 0.0055, 0])
        rings.append((point - outward * 0.0046 + np.array([0, height, 0]) + ring) * flip)
        shade.append(np.full(len(around), 0.35 + 0.5 * max(outward[2], 0)))
    colors = np.array(GUM) * np.concatenate(shade)[:, None]
    return np.concatenate(rings), drawn.grid_triangles(len(lengths), len(around), closed=True), colors


def _tongue(rig: BakedRig, reference: BakedRig) -> Drawn:
    members = rig.mesh.members("tongue")
    refined = catmull_clark(np.searchsorted(members, rig.mesh.quads["tongue"]), len(members))
    pick = sparse.coo_matrix((np.ones(len(members)), (np.arange(len(members)), members)), (len(members), rig.mesh.size))
    positions = refined.matrix @ rig.template[members]
    depth = (positions[:, 2] - positions[:, 2].min()) / np.ptp(positions[:, 2])
    groove = np.exp(-((positions[:, 0] / 0.0022) ** 2))
    colors = np.array(TONGUE) * (0.14 + 0.90 * smoothstep(0.35, 0.95, depth) - 0.12 * groove)[:, None]
    jaw = Anchors(rig.template, rig.mesh.members("teeth_lower"), plan=reference.template)
    matrix = (1 + TONGUE_REACH) * (refined.matrix @ pick) - TONGUE_REACH * jaw.points(positions)
    behind_teeth = np.column_stack([np.zeros_like(depth), -0.0035 * depth**2, -0.010 * depth])
    matrix = matrix + jaw.vectors(behind_teeth)
    triangles = refined.triangles(refined.fineness(positions) > COARSE_TONGUE)
    return Drawn("tongue", matrix.tocsr(), triangles, colors, Material(0.35))
