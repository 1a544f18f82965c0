"""Hair that lies along the head: locks that set out from the scalp and follow a direction over the skull."""

from collections.abc import Callable

import numpy as np

from streamingtalker.bake.identity import Gathered, Hair, HairColor, Parted
from streamingtalker.bake.paint import blend, smoothstep
from streamingtalker.bake.scalp import Scalp
from streamingtalker.bake.strands import Mesh, Skull, lock

STEPS = 7  # cross-sections of a lock
Heading = Callable[[np.ndarray], np.ndarray]  # from points [n, 3] to the directions [n, 3] hair is combed in there


def parted(skull: Skull, scalp: Scalp, look: Parted) -> list[Mesh]:
    """A short cut: above the hair sweeps away from the parting, at the sides and behind it runs down."""
    roots = scalp.roots(look.locks)
    at, plan, inside = (scalp.at(field, roots) for field in (scalp.positions, scalp.plan, scalp.inside))
    above = smoothstep(0.078, 0.110, plan[:, 1])
    chance = _chances(look.locks)
    long = (look.sides + (look.top - look.sides) * above) * (0.8 + 0.4 * chance[:, 0])
    long *= 0.35 + 0.65 * smoothstep(0.0, 0.02, inside + 0.03 * above)
    front = smoothstep(0.02, 0.07, plan[:, 2]) * above
    lift = 0.0015 + look.thickness + look.volume * above * (0.35 + 0.45 * front) * (0.75 + 0.5 * chance[:, 1])

    def heading(points: np.ndarray) -> np.ndarray:
        side = np.where(points[:, :1] > look.parting, 1.0, -1.0)
        behind = smoothstep(0.0, -0.06, points[:, 2:])
        sweep = np.concatenate([side, np.full_like(side, -0.75), np.full_like(side, -0.45)], axis=1)
        return sweep * (1 - behind) + np.array([0, -1.0, -0.2]) * behind

    paths = _march(skull, at, heading, long, lift)
    return _locks(skull, paths, 0.0042 * (0.7 + 0.5 * chance[:, 2]), look, chance)


def gathered(skull: Skull, scalp: Scalp, look: Gathered) -> list[Mesh]:
    """Hair combed from all sides to a bun, and the bun."""
    roots = scalp.roots(look.locks * 3)
    at, inside = (scalp.at(field, roots) for field in (scalp.positions, scalp.inside))
    first = np.sort(np.argsort(inside, kind="stable")[: look.locks])  # most begin at the hairline
    chance = _chances(len(first))
    knot = np.array(look.bun) / np.linalg.norm(look.bun)
    middle = skull.centre + knot * (skull(knot[None])[0] + 0.62 * look.radius)

    def heading(points: np.ndarray) -> np.ndarray:
        return middle - points

    long = np.linalg.norm(middle - at[first], axis=1) * 1.22 - 0.4 * look.radius
    lift = 0.0018 + look.thickness * (0.8 + 0.6 * chance[:, 0])
    paths = _march(skull, at[first], heading, long, lift)
    combed = _locks(skull, paths, 0.0046 * (0.7 + 0.6 * chance[:, 2]), look, chance)
    return [*combed, *_bun(middle, knot, look)]


def _chances(count: int) -> np.ndarray:
    """Numbers [count, 4] in [0, 1) that are the same every time and look like none of one another."""
    return (np.arange(count)[:, None] + 0.5) * [0.754878, 0.569840, 0.618034, 0.324718] % 1.0


def _march(skull: Skull, at: np.ndarray, heading: Heading, long: np.ndarray, lift: np.ndarray) -> np.ndarray:
    """Paths [n, STEPS, 3] from ``at`` [n, 3] over the skull, ``long`` [n] and ``lift`` [n] off it in the middle."""
    path, here = [at], at
    for step in range(1, STEPS):
        outward = _unit(here - skull.centre)
        ahead = heading(here)
        ahead = _unit(ahead - (ahead * outward).sum(axis=1, keepdims=True) * outward)
        here = here + ahead * (long / (STEPS - 1))[:, None]
        share = step / (STEPS - 1)
        off = lift * (smoothstep(0.0, 0.45, np.array(share)) - 0.45 * smoothstep(0.6, 1.0, np.array(share)))
        direction = _unit(here - skull.centre)
        here = skull.centre + direction * (skull(direction) + off)[:, None]
        path.append(here)
    return np.stack(path, axis=1)


def _locks(skull: Skull, paths: np.ndarray, width: np.ndarray, look: Hair, chance: np.ndarray) -> list[Mesh]:
    share = np.linspace(0, 1, paths.shape[1])
    slim = (0.55 + 0.45 * smoothstep(0.0, 0.3, share)) * (1 - 0.8 * smoothstep(0.6, 1.0, share))
    return [
        lock(path, _unit(path - skull.centre), broad * slim, _lock_colors(look.color, share, luck))
        for path, broad, luck in zip(paths, width, chance, strict=True)
    ]


def _lock_colors(color: HairColor, share: np.ndarray, chance: np.ndarray) -> np.ndarray:
    strand = color.grey if color.grey is not None and chance[3] < 0.35 else color.middle
    colors = np.tile(np.array(strand) * (0.78 + 0.44 * chance[1]), (len(share), 1))
    colors = blend(colors, color.dark, 0.6 * smoothstep(0.25, 0.0, share))
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
        height = 1.8 * (luck[1] - 0.5) * 0.75
        angle = np.linspace(0, 3.6, 9) + turn
        ring = np.cos(angle)[:, None] * east + np.sin(angle)[:, None] * north
        outward = _unit(ring * np.sqrt(1 - height**2) + pole * height)
        squeezed = outward - 0.18 * (outward @ axis)[:, None] * axis
        points = middle + squeezed * look.radius * (0.93 + 0.1 * luck[2])
        width = 0.0068 * (1 - 0.55 * np.abs(np.linspace(-1, 1, 9)) ** 3)
        bands.append(lock(points, outward, width, _lock_colors(look.color, np.linspace(0.1, 0.9, 9), luck)))
    return bands


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
