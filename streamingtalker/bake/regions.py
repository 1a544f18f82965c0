"""Named places on the base mesh, found by walking its edge loops from a few known vertices."""

from dataclasses import dataclass

import numpy as np

from streamingtalker.bake.makehuman import BaseMesh, Library
from streamingtalker.bake.parts import TalkingMesh

LIP_RIM, LIP_SEAL = (474, 7229), (520, 7267)  # where the closed lips touch: outer and inner edge of the contact
LIP_LOOPS = ((466, 7222), (467, 7223), (509, 7257), (468, 7224), LIP_RIM, LIP_SEAL, (537, 7282))
LID_EDGES = {"eye_left": (6785, 6784), "eye_right": (1, 0)}  # the front edge of the lids, from above the pupil
LID_ROWS = {"eye_left": (6787, 6786), "eye_right": (3, 2)}  # the next loop outwards
PALATE = 639  # a vertex inside the mouth
UPPER_FACE_SHAPES = ("brow", "eyeBlink", "eyeSquint", "eyeWide")


@dataclass(frozen=True)
class LipLoop:
    """A loop of vertices around the mouth opening. Both chains run along ascending x and share the corners."""

    upper: np.ndarray  # int32
    lower: np.ndarray  # int32


def edge_loop(quads: np.ndarray, start: int, second: int) -> list[int]:
    """The closed loop of edges through regular (four-edge) vertices that begins ``start``, ``second``."""
    neighbours: dict[int, set[int]] = {}
    faces: dict[int, set[int]] = {}
    for index, quad in enumerate(quads.tolist()):
        for corner, following in zip(quad, quad[1:] + quad[:1], strict=True):
            neighbours.setdefault(corner, set()).add(following)
            neighbours.setdefault(following, set()).add(corner)
            faces.setdefault(corner, set()).add(index)
    loop = [start, second]
    while True:
        here = loop[-1]
        beside = {int(v) for face in faces[here] & faces[loop[-2]] for v in quads[face]}
        (ahead,) = neighbours[here] - beside
        if ahead == start:
            return loop
        loop.append(ahead)


def lip_loop(base: BaseMesh, mesh: TalkingMesh, start: tuple[int, int]) -> LipLoop:
    """The loop through ``start`` (its first vertex lies on the middle of the upper lip), split at the corners."""
    loop = edge_loop(base.groups["body"], *start)
    x = base.vertices[loop, 0]
    left, right = sorted((int(x.argmin()), int(x.argmax())), key=lambda corner: x[corner])
    # The loop runs from the middle of the upper lip over the avatar's left corner, the lower lip, the right corner.
    upper = loop[left:] + loop[: right + 1]
    lower = loop[right : left + 1][::-1]
    return LipLoop(mesh.locate(upper), mesh.locate(lower))


def depth_behind(quads: np.ndarray, size: int, border: np.ndarray, inside: int) -> np.ndarray:
    """int [size]: edges from ``border`` to each vertex on the side of ``inside``, 0 everywhere else."""
    beside = [set[int]() for _ in range(size)]
    for quad in quads.tolist():
        for corner in quad:
            beside[corner].update(quad)
    pocket, front = {inside}, [inside]
    closed = set(border.tolist())
    while front:
        front = sorted({v for u in front for v in beside[u]} - pocket - closed)
        pocket.update(front)
    depth, level, reached = np.zeros(size, int), 0, set(closed)
    while pending := pocket - reached:
        level += 1
        ring = {v for v in pending if beside[v] & reached}
        depth[list(ring)] = level
        reached |= ring
    return depth


def lip_pairs(template: np.ndarray, seal: LipLoop) -> np.ndarray:
    """int32 [5, 2]: vertices of the inner lips that face each other, from the viewer's left to right."""
    middle = len(seal.lower) // 2
    lower = seal.lower[middle - 2 : middle + 3]
    distance = np.abs(template[seal.upper, 0][None] - template[lower, 0][:, None])
    return np.stack([seal.upper[distance.argmin(axis=1)], lower], axis=1)


def lips(base: BaseMesh, mesh: TalkingMesh) -> np.ndarray:
    """Ascending indices [L] of the red of the lips and of their inner edge."""
    loops = [edge_loop(base.groups["body"], *start) for start in LIP_LOOPS]
    return np.unique(mesh.locate(np.concatenate(loops)))


def ears(library: Library, base: BaseMesh, mesh: TalkingMesh) -> np.ndarray:
    """float [V]: 1 on what makes ears stand off when it is moved, 0 elsewhere."""
    moved = sum(np.abs(library.target(f"ears/{side}-ear-wing-incr", len(base.vertices))) for side in "lr")
    return (moved[mesh.source].max(axis=1) > 0).astype(float)


def upper_face(mesh: TalkingMesh, names: tuple[str, ...], shapes: np.ndarray) -> np.ndarray:
    """Ascending indices of the skin that brows and lids move by more than 0.3 mm. Shapes [S, V, 3] in metres."""
    chosen = [index for index, name in enumerate(names) if name.startswith(UPPER_FACE_SHAPES)]
    moved = np.linalg.norm(shapes[chosen], axis=2).max(axis=0) > 3e-4
    return np.intersect1d(np.flatnonzero(moved), mesh.members("skin")).astype(np.int32)
