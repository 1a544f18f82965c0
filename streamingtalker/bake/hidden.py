"""Drops what nobody in front of the face ever sees, whatever it says and wherever it turns: scalp, ears and nape under
the hair, the back of everything, roots of teeth, the far side of the eyeballs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy.sparse as sparse

from streamingtalker.bake.drawn import Drawn
from streamingtalker.bake.paint import smoothstep
from streamingtalker.bake.rig import BakedRig
from streamingtalker.bake.rig import weights as rig_weights

DISTANCE = 1.7  # metres from the eyes to whoever looks
CELL = 0.0013  # metres; the fineness of the picture in which things hide one another
SLACK = 0.0006  # metres by which something may lie behind what hides it and still count as seen
NECK, STIFF = -0.03, -0.15  # all above the first height turns with the head, nothing below the second
BODY_SHARE = 0.25  # of a turn that the shoulders take part in
STRAIGHT = (0, 0, 0)
# Yaw, pitch and roll of the head in degrees; a face that speaks turns by a few.
TURNS = (*product((-38, -19, 0, 19, 38), (-20, 0, 20), (0,)), (-29, 0, 0), (29, 0, 0), (0, 0, 22), (0, 0, -22))
FEW_TURNS = (STRAIGHT, (-32, 0, 0), (32, 0, 0), (0, -16, 0), (0, 16, 0))
# Weights of shapes; a name without its side means both.
EXPRESSIONS: tuple[dict[str, float], ...] = (
    {"jawOpen": 1.0, "mouthLowerDown": 0.8, "mouthUpperUp": 0.8, "mouthStretch": 0.5},
    {"jawOpen": 0.45, "mouthSmile": 1.0, "mouthUpperUp": 1.0, "noseSneer": 1.0, "eyeSquint": 1.0},
    {"jawOpen": 0.6, "mouthFunnel": 1.0, "eyeBlink": 1.0, "browDown": 1.0},
    {"jawOpen": 0.8, "tongueOut": 1.0, "mouthRollLower": 0.5, "eyeBlink": 0.4},
    {"jawOpen": 0.2, "mouthPucker": 1.0, "eyeLookUp": 1.0, "eyeWide": 1.0, "browInnerUp": 1.0},
    {"jawOpen": 0.3, "jawLeft": 1.0, "mouthLeft": 1.0, "eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0, "eyeWide": 1.0},
    {"jawOpen": 0.3, "jawRight": 1.0, "mouthRight": 1.0, "eyeLookOutRight": 1.0, "eyeLookInLeft": 1.0, "eyeWide": 1.0},
    {"jawOpen": 0.1, "mouthFrown": 1.0, "cheekPuff": 1.0, "eyeLookDown": 1.0, "eyeWide": 1.0},
)


@dataclass(frozen=True)
class _Whole:
    """All parts as one surface."""

    triangles: np.ndarray  # int [F, 3] over all vertices
    both_sides: np.ndarray  # bool [F]: seen from behind, too
    firm: np.ndarray  # bool [F]: hides what is behind
    samples: sparse.csr_matrix  # [s, R]; points all over the triangles
    owner: np.ndarray  # int [s]: the triangle of each


def without_hidden(parts: list[Drawn], rig: BakedRig) -> list[Drawn]:
    """The parts without the triangles that are never seen of a face that speaks."""
    return visible(parts, [rig.template, *_poses(rig)])


def visible(parts: list[Drawn], poses: Sequence[np.ndarray]) -> list[Drawn]:
    """The triangles that are seen in one of ``poses`` [V, 3]; what touches a seen one stays, it shapes its normals."""
    matrix = sparse.vstack([part.matrix for part in parts]).tocsr()
    whole = _joined(parts, matrix @ poses[0])
    seen = np.zeros(len(whole.triangles), bool)
    for vertices in poses:
        seen |= _seen(whole, (matrix @ vertices).astype(np.float32))
    near = np.zeros(matrix.shape[0], bool)
    near[whole.triangles[seen]] = True
    kept = np.split(near[whole.triangles].any(axis=1), np.cumsum([len(part.triangles) for part in parts])[:-1])
    return [part.only(mask) for part, mask in zip(parts, kept, strict=True)]


def _joined(parts: list[Drawn], positions: np.ndarray) -> _Whole:
    """The parts, with ``positions`` [R, 3] of all their vertices at rest."""
    counts = [len(part.triangles) for part in parts]
    starts = np.cumsum([0, *(part.matrix.shape[0] for part in parts)])
    triangles = np.concatenate([part.triangles + start for part, start in zip(parts, starts, strict=False)])
    both_sides = np.repeat([part.material.double_sided for part in parts], counts)
    firm = np.repeat([not part.loose for part in parts], counts)
    return _Whole(triangles, both_sides, firm, *_sampling(positions, triangles))


def _poses(rig: BakedRig) -> Iterator[np.ndarray]:
    """Talking meshes [V, 3] of a face that says anything and turns anywhere."""
    yield from (_turned(rig.template, turn) for turn in TURNS)
    for weights in EXPRESSIONS:
        vertices = rig.template + np.tensordot(rig_weights(weights), rig.shapes, axes=1)
        yield from (_turned(vertices, turn) for turn in FEW_TURNS)


def _turned(vertices: np.ndarray, turn: tuple[float, float, float]) -> np.ndarray:
    """The head turned by degrees (yaw, pitch, roll) on its neck."""
    share = smoothstep(STIFF, NECK, vertices[:, 1:2]) * (1 - BODY_SHARE) + BODY_SHARE
    pivot = np.array([0.0, -0.06, 0.0])
    head = (vertices - pivot) @ _rotation(turn).T + pivot
    return vertices + share * (head - vertices)


def _rotation(turn: tuple[float, float, float]) -> np.ndarray:
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    return yaw @ pitch @ np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])


def _sampling(positions: np.ndarray, triangles: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Rows [s, R] of points that cover every triangle at the fineness of CELL, and the triangle [s] of each."""
    sides = [np.linalg.norm(positions[triangles[:, k]] - positions[triangles[:, k - 1]], axis=1) for k in range(3)]
    steps = np.ceil(np.max(sides, axis=0) / (0.8 * CELL)).astype(int)
    shares, owners = [], []
    for count in np.unique(steps):
        ids = np.flatnonzero(steps == count)
        i, j = (grid.ravel() for grid in np.mgrid[:count, :count])
        inner = i + j < count
        a, b = (i[inner] + 1 / 3) / count, (j[inner] + 1 / 3) / count
        shares.append(np.tile(np.stack([a, b, 1 - a - b], axis=1), (len(ids), 1)))
        owners.append(np.repeat(ids, len(a)))
    owner, share = np.concatenate(owners), np.concatenate(shares)
    starts = np.arange(len(owner) + 1) * 3
    shape = (len(owner), len(positions))
    return sparse.csr_matrix((share.ravel().astype(np.float32), triangles[owner].ravel(), starts), shape), owner


def _seen(whole: _Whole, positions: np.ndarray) -> np.ndarray:
    """Which triangles bool [F] nothing hides from the camera, at least in one point, with vertices at [R, 3]."""
    a, b, c = (positions[whole.triangles[:, corner]] for corner in range(3))
    normal = np.cross(b - a, c - a)
    towards = (normal * ([0, 0, DISTANCE] - a)).sum(axis=1)
    shown = ((towards > 0) | whole.both_sides)[whole.owner]
    slope = np.linalg.norm(normal[:, :2], axis=1) / np.maximum(np.abs(normal[:, 2]), 1e-12)
    slack = (SLACK + CELL * np.minimum(slope, 2.0)).astype(np.float32)
    owner = whole.owner[shown]
    x, y, z = (whole.samples @ positions)[shown].T.copy()
    column, row = (_cells(axis * (DISTANCE / (DISTANCE - z))) for axis in (x, y))
    cell, firm = row * (column.max() + 1) + column, whole.firm[owner]
    front = np.full(cell.max() + 1, -np.inf, np.float32)
    np.maximum.at(front, cell[firm], z[firm])
    seen = np.zeros(len(whole.triangles), bool)
    seen[owner[z > front[cell] - slack[owner]]] = True
    return seen


def _cells(metres: np.ndarray) -> np.ndarray:
    """In which row or column of the picture points lie; the first is 0."""
    cells = np.floor(metres / CELL).astype(np.int32)
    return cells - cells.min()
