"""A bob with a side parting, grown from the scalp: a dark inner sheet and overlapping tapered locks on top of it."""

from dataclasses import dataclass

import numpy as np

from streamingtalker.bake import drawn
from streamingtalker.bake.identity import Bob, HairColor
from streamingtalker.bake.paint import blend, smoothstep
from streamingtalker.bake.strands import Mesh, Skull, lock

FRONT, CROWN = 35.0, 118.0  # degrees above straight ahead where the parting begins and ends
FINE, SMOOTHINGS = 61, 40
OVER = 0.58  # share of a strand that lies on the skull; the rest hangs
SHEET = (36, 18)  # strands and cross-sections of the inner layer on each side
LOCKS = 100  # on each side
SECTIONS = (
    0,
    0.06,
    0.12,
    0.18,
    0.24,
    0.30,
    0.36,
    0.42,
    0.48,
    0.54,
    0.60,
    0.68,
    0.78,
    0.89,
    1,
)  # of a lock; few where it hangs


@dataclass(frozen=True)
class Strand:
    """Where a strand leaves the parting, how far off the skull it runs and how it ends."""

    side: float  # +1 the avatar's left
    origin: float  # 0 at the front of the parting, 1 at the crown, up to 1.5 round the back of the head
    height: float = 1.0  # times the usual distance from the skull
    tip: float = 0.0  # height at which it ends
    sway: float = 0.0  # phase of the slight wave


def layers(skull: Skull, look: Bob) -> tuple[list[Mesh], list[Mesh]]:
    """The dark inner sheets and the locks over them."""
    sheets = [_sheet(skull, look, side) for side in (-1.0, 1.0)]
    return sheets, [_lock(skull, look, side, index) for side in (-1.0, 1.0) for index in range(LOCKS)]


def veil(skull: Skull, look: Bob) -> list[tuple[np.ndarray, np.ndarray]]:
    """What keeps light from the skin: surfaces as points [n, 3] and quads."""
    return [curtain(skull, look, side) for side in (-1.0, 1.0)]


def _path(skull: Skull, look: Bob, strand: Strand, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, 3] of a strand at shares ``at`` of its length, and the outward direction at each."""
    fine = np.linspace(0.0, 1.0, FINE)
    points, outward = _raw_path(skull, look, strand, fine)
    for _ in range(SMOOTHINGS):  # where it leaves the skull a strand bends, it does not break
        points[1:-1] = (points[:-2] + 2 * points[1:-1] + points[2:]) / 4
        outward[1:-1] = (outward[:-2] + 2 * outward[1:-1] + outward[2:]) / 4
    points, outward = (np.stack([np.interp(at, fine, axis) for axis in field.T], axis=1) for field in (points, outward))
    return points, outward / np.linalg.norm(outward, axis=1, keepdims=True)


def _raw_path(skull: Skull, look: Bob, strand: Strand, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    over = np.minimum(at / OVER, 1.0)
    direction = _over_the_skull(look, strand, over)
    volume = look.volume * np.interp(strand.origin, [0, 0.15, 0.4, 1.0, 1.5], [0.25, 0.57, 0.89, 1, 1])
    lift = 0.0055 + strand.height * volume * smoothstep(0.0, 0.55, over)
    points = skull.centre + direction * (skull(direction) + lift)[:, None]
    level = direction[-1:] * [1, 0, 1] / np.linalg.norm(direction[-1, [0, 2]])
    fall = np.clip((at - OVER) / (1 - OVER), 0, 1)
    points[:, 1] += (strand.tip + look.rise * strand.origin / 1.5 - points[-1, 1]) * fall
    inward = 0.006 * np.sin(np.pi * fall) - 0.024 * fall**2.2
    points += level * inward[:, None]
    sway = 0.0032 * np.sin(6.5 * at + strand.sway) * smoothstep(0.3, 0.8, at)
    points += np.cross(level, [0, 1.0, 0]) * sway[:, None]
    return points, direction * (1 - fall)[:, None] + level * fall[:, None]


def _over_the_skull(look: Bob, strand: Strand, over: np.ndarray) -> np.ndarray:
    """Unit vectors [n, 3] from the parting along a great circle to the side of the head, at shares ``over`` of it."""
    along = np.radians(FRONT + (CROWN - FRONT) * min(strand.origin, 1.0))
    root = np.array([look.parting / 0.09, np.sin(along), np.cos(along)])
    root /= np.linalg.norm(root)
    turn = np.radians(np.interp(strand.origin, [0, 0.35, 0.7, 1.0, 1.5], [50, 70, 92, 122, 183]))
    low = np.radians(-6.0)
    goal = np.array([strand.side * np.sin(turn) * np.cos(low), np.sin(low), np.cos(turn) * np.cos(low)])
    angle = np.arccos(root @ goal)
    path = np.sin((1 - over) * angle)[:, None] * root + np.sin(over * angle)[:, None] * goal
    path = path / np.sin(angle)
    path[:, 1] += 0.16 * max(0.0, 1 - strand.origin / 0.5) * np.sin(np.pi * over)  # the front sweeps up before it falls
    return path / np.linalg.norm(path, axis=1, keepdims=True)


def curtain(skull: Skull, look: Bob, side: float) -> tuple[np.ndarray, np.ndarray]:
    """The inner layer of one side as points [n, 3] and quads: one continuous surface under the locks."""
    at, origins = np.linspace(0, 1.0, SHEET[1]), np.linspace(0.0, 1.5, SHEET[0])
    tips = look.tip - 0.002 - 0.006 * smoothstep(0.1, 0.6, origins) + 0.002 * (np.arange(SHEET[0]) % 2)
    strands = [Strand(side, origin, 0.28, tip) for origin, tip in zip(origins, tips, strict=True)]
    points = np.concatenate([_path(skull, look, strand, at)[0] for strand in strands])
    corner = (np.arange(SHEET[0] - 1)[:, None] * SHEET[1] + np.arange(SHEET[1] - 1)[None]).ravel()
    quads = np.stack([corner, corner + SHEET[1], corner + SHEET[1] + 1, corner + 1], axis=1)
    return points, quads if side > 0 else quads[:, ::-1]


def _sheet(skull: Skull, look: Bob, side: float) -> Mesh:
    points, quads = curtain(skull, look, side)
    at = np.tile(np.linspace(0, 1.0, SHEET[1]), SHEET[0])
    return (
        points,
        drawn.triangulated(quads),
        blend(np.tile(np.array(look.color.dark), (len(at), 1)), look.color.middle, 0.3 * at),
    )


def _lock(skull: Skull, look: Bob, side: float, index: int) -> Mesh:
    """One lock: three vertices across, the middle one raised, thin at the root and at the tip."""
    chance = (index * np.array([0.754878, 0.569840, 0.618034, 0.324718]) + 0.5 * (side > 0)) % 1.0
    origin = 1.5 * (index + 0.5) / LOCKS
    broad = index % 3 == 0  # every third lock is broad and lies below its neighbours
    height = 0.72 + 0.12 * chance[0] if broad else 0.88 + 0.50 * chance[0]
    strand = Strand(side, origin, height, look.tip + 0.011 * (chance[1] - 0.6), 6.28 * chance[2])
    at = np.array(SECTIONS)
    points, outward = _path(skull, look, strand, at)
    width = (0.0024 + 0.0036 * smoothstep(0.0, 0.35, at)) * (1 - 0.66 * smoothstep(0.84, 1.0, at))
    width *= 1.45 if broad else 0.55 + 0.5 * chance[3]
    return lock(points, outward, width, _lock_colors(look.color, at, chance))


def _lock_colors(color: HairColor, at: np.ndarray, chance: np.ndarray) -> np.ndarray:
    tone = np.array(color.middle) * (0.72 + 0.52 * chance[1])
    colors = blend(np.tile(tone, (len(at), 1)), color.dark, 0.7 * smoothstep(0.14, 0.0, at))
    colors = blend(colors, color.sheen, 0.42 * np.exp(-(((at - 0.30 - 0.10 * (chance[2] - 0.5)) / 0.10) ** 2)))
    return blend(colors, color.sheen, 0.30 * smoothstep(0.55, 1.0, at) * chance[3])
