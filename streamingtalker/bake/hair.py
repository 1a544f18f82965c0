"""A bob with a side parting, grown from the scalp: a dark inner sheet and overlapping tapered locks on top of it."""

from dataclasses import dataclass

import numpy as np

from streamingtalker.bake import drawn
from streamingtalker.bake.drawn import Anchors, Drawn, Material
from streamingtalker.bake.paint import blend, smoothstep
from streamingtalker.bake.skin import Surface

CENTRE = np.array([0.0, 0.045, 0.0])  # the middle of the skull
PARTING = 0.014  # metres to the avatar's left of the middle
FRONT, CROWN = 35.0, 118.0  # degrees above straight ahead where the parting begins and ends
TIP, RISE = -0.098, 0.022  # height of the tips in front, and how much shorter the back is
DARK, BROWN, SHEEN = (0.085, 0.052, 0.038), (0.305, 0.175, 0.105), (0.56, 0.36, 0.23)
FINE, SMOOTHINGS = 61, 40
OVER = 0.58  # share of a strand that lies on the skull; the rest hangs
SHEET = (36, 18)  # strands and cross-sections of the inner layer on each side
LOCKS = 140  # on each side
SECTIONS = (0, 0.09, 0.18, 0.27, 0.36, 0.45, 0.54, 0.63, 0.73, 0.85, 1)  # of a lock; few where it hangs


Mesh = tuple[np.ndarray, np.ndarray, np.ndarray]  # points [n, 3], triangles [f, 3], colours [n, 3]


@dataclass(frozen=True)
class Strand:
    """Where a strand leaves the parting, how far off the skull it runs and how it ends."""

    side: float  # +1 the avatar's left
    origin: float  # 0 at the front of the parting, 1 at the crown, up to 1.5 round the back of the head
    height: float = 1.0  # times the usual distance from the skull
    tip: float = TIP
    sway: float = 0.0  # phase of the slight wave


class Skull:
    """The distance of the scalp from CENTRE in any direction, ears and face smoothed away."""

    def __init__(self, surface: Surface) -> None:
        p = surface.positions
        ear = (np.abs(p[:, 0]) > 0.0695) & (p[:, 1] < 0.05) & (p[:, 2] < 0.03)
        used = (p[:, 1] > 0.0) & ~ear & (surface.normals @ [0, 0, 1.0] > -2)
        reach = p[used] - CENTRE
        distance = np.linalg.norm(reach, axis=1)
        outer = distance > 0.06
        self._directions, self._distance = reach[outer] / distance[outer, None], distance[outer]

    def __call__(self, directions: np.ndarray) -> np.ndarray:
        """Metres [n] for unit ``directions`` [n, 3]."""
        weight = np.exp((directions @ self._directions.T - 1) * 260.0) + 1e-30
        return (weight @ self._distance) / weight.sum(axis=1)


def parts(surface: Surface, still: Anchors) -> list[Drawn]:
    """The dark inner sheets and the locks over them; both turn rigidly with the head."""
    skull = Skull(surface)
    sheets = [_sheet(skull, side) for side in (-1.0, 1.0)]
    locks = [_lock(skull, side, index) for side in (-1.0, 1.0) for index in range(LOCKS)]
    return [_joined("hair_under", sheets, still, 0.2), _joined("hair", locks, still, 0.5)]


def _joined(name: str, meshes: list[Mesh], still: Anchors, roughness: float) -> Drawn:
    starts = np.cumsum([0, *(len(points) for points, _, _ in meshes)])
    points = np.concatenate([points for points, _, _ in meshes])
    triangles = np.concatenate([faces + start for (_, faces, _), start in zip(meshes, starts, strict=False)])
    colors = np.concatenate([color for _, _, color in meshes])
    solid = drawn.with_area(points, triangles)  # at the crown many strands share one root
    used, local = np.unique(solid, return_inverse=True)
    faces = local.reshape(-1, 3).astype(np.int32)
    material = Material(roughness, double_sided=True)
    return Drawn(name, still.points(points[used]), faces, colors[used], material, loose=name == "hair")


def _path(skull: Skull, strand: Strand, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, 3] of a strand at shares ``at`` of its length, and the outward direction at each."""
    fine = np.linspace(0.0, 1.0, FINE)
    points, outward = _raw_path(skull, strand, fine)
    for _ in range(SMOOTHINGS):  # where it leaves the skull a strand bends, it does not break
        points[1:-1] = (points[:-2] + 2 * points[1:-1] + points[2:]) / 4
        outward[1:-1] = (outward[:-2] + 2 * outward[1:-1] + outward[2:]) / 4
    points, outward = (np.stack([np.interp(at, fine, axis) for axis in field.T], axis=1) for field in (points, outward))
    return points, outward / np.linalg.norm(outward, axis=1, keepdims=True)


def _raw_path(skull: Skull, strand: Strand, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    over = np.minimum(at / OVER, 1.0)
    direction = _over_the_skull(strand, over)
    volume = np.interp(strand.origin, [0, 0.15, 0.4, 1.0, 1.5], [0.0035, 0.008, 0.0125, 0.014, 0.014])
    lift = 0.0055 + strand.height * volume * smoothstep(0.0, 0.55, over)
    points = CENTRE + direction * (skull(direction) + lift)[:, None]
    level = direction[-1:] * [1, 0, 1] / np.linalg.norm(direction[-1, [0, 2]])
    fall = np.clip((at - OVER) / (1 - OVER), 0, 1)
    points[:, 1] += (strand.tip + RISE * strand.origin / 1.5 - points[-1, 1]) * fall
    inward = 0.006 * np.sin(np.pi * fall) - 0.024 * fall**2.2
    points += level * inward[:, None]
    sway = 0.0032 * np.sin(6.5 * at + strand.sway) * smoothstep(0.3, 0.8, at)
    points += np.cross(level, [0, 1.0, 0]) * sway[:, None]
    return points, direction * (1 - fall)[:, None] + level * fall[:, None]


def _over_the_skull(strand: Strand, over: np.ndarray) -> np.ndarray:
    """Unit vectors [n, 3] from the parting along a great circle to the side of the head, at shares ``over`` of it."""
    along = np.radians(FRONT + (CROWN - FRONT) * min(strand.origin, 1.0))
    root = np.array([PARTING / 0.09, np.sin(along), np.cos(along)])
    root /= np.linalg.norm(root)
    turn = np.radians(np.interp(strand.origin, [0, 0.35, 0.7, 1.0, 1.5], [50, 70, 92, 122, 183]))
    low = np.radians(-6.0)
    goal = np.array([strand.side * np.sin(turn) * np.cos(low), np.sin(low), np.cos(turn) * np.cos(low)])
    angle = np.arccos(root @ goal)
    path = np.sin((1 - over) * angle)[:, None] * root + np.sin(over * angle)[:, None] * goal
    path = path / np.sin(angle)
    path[:, 1] += 0.16 * max(0.0, 1 - strand.origin / 0.5) * np.sin(np.pi * over)  # the front sweeps up before it falls
    return path / np.linalg.norm(path, axis=1, keepdims=True)


def curtain(skull: Skull, side: float) -> tuple[np.ndarray, np.ndarray]:
    """The inner layer of one side as points [n, 3] and quads: one continuous surface under the locks."""
    at, origins = np.linspace(0, 1.0, SHEET[1]), np.linspace(0.0, 1.5, SHEET[0])
    tips = TIP - 0.002 - 0.006 * smoothstep(0.1, 0.6, origins) + 0.002 * (np.arange(SHEET[0]) % 2)
    strands = [Strand(side, origin, 0.28, tip) for origin, tip in zip(origins, tips, strict=True)]
    points = np.concatenate([_path(skull, strand, at)[0] for strand in strands])
    corner = (np.arange(SHEET[0] - 1)[:, None] * SHEET[1] + np.arange(SHEET[1] - 1)[None]).ravel()
    quads = np.stack([corner, corner + SHEET[1], corner + SHEET[1] + 1, corner + 1], axis=1)
    return points, quads if side > 0 else quads[:, ::-1]


def _sheet(skull: Skull, side: float) -> Mesh:
    points, quads = curtain(skull, side)
    at = np.tile(np.linspace(0, 1.0, SHEET[1]), SHEET[0])
    return points, drawn.triangulated(quads), blend(np.tile(np.array(DARK), (len(at), 1)), BROWN, 0.3 * at)


def _lock(skull: Skull, side: float, index: int) -> Mesh:
    """One lock: three vertices across, the middle one raised, thin at the root and at the tip."""
    chance = (index * np.array([0.754878, 0.569840, 0.618034, 0.324718]) + 0.5 * (side > 0)) % 1.0
    origin = 1.5 * (index + 0.5) / LOCKS
    broad = index % 3 == 0  # every third lock is broad and lies below its neighbours
    height = 0.72 + 0.12 * chance[0] if broad else 0.88 + 0.50 * chance[0]
    strand = Strand(side, origin, height, TIP + 0.011 * (chance[1] - 0.6), 6.28 * chance[2])
    at = np.array(SECTIONS)
    points, outward = _path(skull, strand, at)
    tangent = np.gradient(points, at, axis=0)
    across = np.cross(tangent, outward)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    width = (0.0024 + 0.0036 * smoothstep(0.0, 0.35, at)) * (1 - 0.66 * smoothstep(0.84, 1.0, at))
    width *= 1.25 if broad else 0.45 + 0.45 * chance[3]
    raised = 0.34 * width[:, None] * outward
    grid = np.stack([points - across * width[:, None], points + raised, points + across * width[:, None]], axis=1)
    return grid.reshape(-1, 3), drawn.grid_triangles(len(at), 3)[:, ::-1], _lock_colors(at, chance)


def _lock_colors(at: np.ndarray, chance: np.ndarray) -> np.ndarray:
    tone = np.array(BROWN) * (0.72 + 0.52 * chance[1])
    colors = blend(np.tile(tone, (len(at), 1)), DARK, 0.7 * smoothstep(0.14, 0.0, at))
    colors = blend(colors, SHEEN, 0.42 * np.exp(-(((at - 0.30 - 0.10 * (chance[2] - 0.5)) / 0.10) ** 2)))
    colors = blend(colors, SHEEN, 0.30 * smoothstep(0.55, 1.0, at) * chance[3])
    return np.stack([colors * 0.66, colors, colors * 0.66], axis=1).reshape(-1, 3)
