"""Hair that lies along the head: locks that set out from the scalp and follow a direction over the skull."""

from collections.abc import Callable

import numpy as np

from streamingtalker.bake.identity import Gathered, Hair, HairColor, Parted
from streamingtalker.bake.paint import blend, smoothstep
from streamingtalker.bake.scalp import Scalp, height
from streamingtalker.bake.strands import Mesh, Skull, lock

PROUD = 0.0015  # metres that a root may lie off the smooth skull: more is an ear
SIDEBURN = 0.036  # in front of the ears no locks grow below
SHORT, LONG = 5, 7  # cross-sections of a lock
Heading = Callable[[np.ndarray], np.ndarray]  # from points [n, 3] to the directions [n, 3] hair is combed in there


def parted(skull: Skull, scalp: Scalp, look: Parted) -> list[Mesh]:
    """A short cut: above the hair sweeps away from the parting, at the sides and behind it runs down."""
    roots = scalp.roots(look.locks)
    at, plan, inside = (scalp.at(field, roots) for field in (scalp.positions, scalp.plan, scalp.inside))
    shaved = (plan[:, 1] < SIDEBURN) & (plan[:, 2] > -0.02)
    torn = (np.abs(at[:, 0] - look.parting - 0.005) < 0.012) & (plan[:, 2] > 0.045)  # where the front parts
    kept = ~shaved & ~torn
    at, plan, inside = at[kept], plan[kept], inside[kept]
    above = smoothstep(0.078, 0.110, plan[:, 1])
    chance = _chances(len(at))
    long = (look.sides + (look.top - look.sides) * above) * (0.8 + 0.4 * chance[:, 0])
    long *= 0.35 + 0.65 * smoothstep(0.0, 0.02, inside + 0.03 * above)
    front = smoothstep(0.02, 0.07, plan[:, 2]) * above
    volume = look.volume * above * (0.25 + 0.45 * front) * (0.5 + chance[:, 1])
    lift = _over(inside, long, look, SHORT) + (0.0006 + 0.0016 * chance[:, 2:3]) + volume[:, None] * _arch(SHORT)

    def heading(points: np.ndarray) -> np.ndarray:
        side = np.tanh((points[:, :1] - look.parting) / 0.008)
        behind = smoothstep(0.0, -0.06, points[:, 2:])
        sweep = np.concatenate([side, np.where(side > 0, -0.30, -0.75), np.where(side > 0, -0.90, -0.45)], axis=1)
        return sweep * (1 - behind) + np.array([0, -1.0, -0.2]) * behind

    paths = _march(skull, at, heading, long, lift)
    return _locks(skull, paths, 0.0035 * (0.7 + 0.5 * chance[:, 2]), look, chance, 0.25)


def gathered(skull: Skull, scalp: Scalp, look: Gathered) -> list[Mesh]:
    """Hair combed from all sides to a bun, and the bun."""
    roots = scalp.roots(look.locks * 9)
    at, inside = (scalp.at(field, roots) for field in (scalp.positions, scalp.inside))
    first = np.sort(np.argsort(inside, kind="stable")[: look.locks])  # all begin at the hairline
    chance = _chances(len(first))
    knot = np.array(look.bun) / np.linalg.norm(look.bun)
    middle = skull.centre + knot * (skull(knot[None])[0] + 0.62 * look.radius)

    def heading(points: np.ndarray) -> np.ndarray:
        return middle - points

    long = np.linalg.norm(middle - at[first], axis=1) * 1.22 - 0.4 * look.radius
    lift = _over(inside[first], long, look, LONG) + (0.0012 + 0.0022 * chance[:, :1])
    paths = _march(skull, at[first], heading, long, lift)
    combed = _locks(skull, paths, 0.0040 * (0.7 + 0.6 * chance[:, 2]), look, chance, 0.03)
    return [*combed, *_bun(middle, knot, look)]


def _chances(count: int) -> np.ndarray:
    """Numbers [count, 4] in [0, 1) that are the same every time and look like none of one another."""
    return (np.arange(count)[:, None] + 0.5) * [0.754878, 0.569840, 0.618034, 0.324718] % 1.0


def _over(inside: np.ndarray, long: np.ndarray, look: Hair, steps: int) -> np.ndarray:
    """Heights [n, steps] just over the layer next to the skin, for locks that run inwards from ``inside`` [n]."""
    return height(inside[:, None] + long[:, None] * _shares(steps), look)


def _shares(steps: int) -> np.ndarray:
    """Of a lock's length at its cross-sections [steps]: close together where it comes out of the skin."""
    return np.linspace(0, 1, steps) ** 1.5


def _arch(steps: int) -> np.ndarray:
    """From 0 at the root over 1 to the tip [steps]."""
    share = _shares(steps)
    return smoothstep(0.0, 0.5, share) - 0.6 * smoothstep(0.5, 1.0, share)


def _march(skull: Skull, at: np.ndarray, heading: Heading, long: np.ndarray, lift: np.ndarray) -> np.ndarray:
    """Paths [n, steps, 3] from ``at`` [n, 3] over the skull, ``long`` [n] and ``lift`` [n, steps] metres off it."""
    path, here, steps = [], at, lift.shape[1]
    proud = np.linalg.norm(at - skull.centre, axis=1) - skull(_unit(at - skull.centre))
    proud = np.minimum(proud, PROUD)
    for step, (share, ahead_by) in enumerate(zip(_shares(steps), np.diff(_shares(steps), append=1.0), strict=True)):
        outward = _unit(here - skull.centre)
        off = skull(outward) + proud * (1 - share) + lift[:, step]
        path.append(skull.centre + outward * off[:, None])
        ahead = heading(here)
        ahead = _unit(ahead - (ahead * outward).sum(axis=1, keepdims=True) * outward)
        here = here + ahead * (long * ahead_by)[:, None]
    return np.stack(path, axis=1)


def _locks(
    skull: Skull, paths: np.ndarray, width: np.ndarray, look: Hair, chance: np.ndarray, root: float
) -> list[Mesh]:
    """Locks along ``paths`` [n, steps, 3], ``width`` [n] to either side; a share ``root`` of each is dark."""
    share = _shares(paths.shape[1])
    slim = (0.50 + 0.50 * smoothstep(0.0, 0.3, share)) * (1 - 0.8 * smoothstep(0.6, 1.0, share))
    return [
        lock(path, _unit(path - skull.centre), broad * slim, _lock_colors(look.color, share, luck, root))
        for path, broad, luck in zip(paths, width, chance, strict=True)
    ]


def _lock_colors(color: HairColor, share: np.ndarray, chance: np.ndarray, root: float = 0.02) -> np.ndarray:
    strand = color.grey if color.grey is not None and chance[3] < 0.35 else color.middle
    colors = np.tile(np.array(strand) * (0.78 + 0.44 * chance[1]), (len(share), 1))
    colors = blend(colors, color.dark, 0.6 * smoothstep(root, 0.0, share))
    return blend(colors, color.sheen, 0.45 * np.exp(-(((share - 0.45 - 0.2 * (chance[2] - 0.5)) / 0.2) ** 2)))


def _bun(middle: np.ndarray, axis: np.ndarray, look: Gathered) -> list[Mesh]:
    """Coils: bands that wind round a flattened ball, each a little askew."""
    count = 26
    chance = _chances(count)
    aside = _unit(np.cross(axis, [1.0, 0.1, 0])[None])[0]
    third = np.cross(axis, aside)
    bands = []
    for luck, turn in zip(chance, np.arange(count) * 2.399963, strict=True):
        tilt = 0.95 * (luck[0] - 0.5)
        pole = _unit((axis * np.cos(tilt) + (aside * np.cos(turn) + third * np.sin(turn)) * np.sin(tilt))[None])[0]
        east = _unit(np.cross(pole, [0.2, 0.1, 1.0])[None])[0]
        north = np.cross(pole, east)
        level = 1.8 * (luck[1] - 0.5) * 0.75
        angle = np.linspace(0, 3.6, 9) + turn
        ring = np.cos(angle)[:, None] * east + np.sin(angle)[:, None] * north
        outward = _unit(ring * np.sqrt(1 - level**2) + pole * level)
        squeezed = outward - 0.18 * (outward @ axis)[:, None] * axis
        points = middle + squeezed * look.radius * (0.93 + 0.1 * luck[2])
        width = 0.0068 * (1 - 0.55 * np.abs(np.linspace(-1, 1, 9)) ** 3)
        bands.append(lock(points, outward, width, _lock_colors(look.color, np.linspace(0.1, 0.9, 9), luck)))
    return bands


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
