"""Parts of the drawn surface: every drawn vertex is a weighted mean of vertices of the talking mesh."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sparse


@dataclass(frozen=True)
class Material:
    """How light meets a part; the colour itself is in the vertices."""

    roughness: float = 0.6
    metallic: float = 0.0
    double_sided: bool = False


@dataclass(frozen=True)
class Drawn:
    """One part of the drawn surface, r vertices over the V of the talking mesh."""

    name: str
    matrix: sparse.csr_matrix  # [r, V]; every row sums to 1
    triangles: np.ndarray  # int32 [F, 3] over this part's own vertices, counter-clockwise seen from outside
    colors: np.ndarray  # float64 [r, 3] sRGB in [0, 1]
    material: Material = Material()
    loose: bool = False  # full of slits: hides nothing for sure

    def only(self, kept: np.ndarray) -> "Drawn":
        """The part with those of its triangles that ``kept`` bool [F] names, and the vertices they use."""
        used, renumbered = np.unique(self.triangles[kept], return_inverse=True)
        faces = renumbered.reshape(-1, 3).astype(np.int32)
        return replace(self, matrix=self.matrix[used], triangles=faces, colors=self.colors[used])


class Anchors:
    """A few vertices that span space, so that any point that moves with them can be written as their weighted mean."""

    def __init__(
        self, template: np.ndarray, candidates: np.ndarray, count: int = 6, plan: np.ndarray | None = None
    ) -> None:
        """``count`` of the ``candidates`` that lie far apart on ``template`` [V, 3], or on ``plan`` [V, 3]."""
        place = template if plan is None else plan
        chosen = [int(candidates[np.argmax(place[candidates, 2])])]
        for _ in range(count - 1):
            distance = np.linalg.norm(place[candidates][:, None] - place[chosen][None], axis=2).min(axis=1)
            chosen.append(int(candidates[distance.argmax()]))
        self._ids = np.array(chosen)
        self._size = len(template)
        self._inverse = np.linalg.pinv(np.vstack([template[chosen].T, np.ones(count)]))

    def points(self, positions: np.ndarray) -> sparse.csr_matrix:
        """Rows [n, V] that sum to 1 and give ``positions`` [n, 3] on the rest face."""
        return self._rows(np.column_stack([positions, np.ones(len(positions))]))

    def vectors(self, directions: np.ndarray) -> sparse.csr_matrix:
        """Rows [n, V] that sum to 0 and give ``directions`` [n, 3]: constant offsets to add to other rows."""
        return self._rows(np.column_stack([directions, np.zeros(len(directions))]))

    def _rows(self, homogeneous: np.ndarray) -> sparse.csr_matrix:
        weights = homogeneous @ self._inverse.T
        rows = np.repeat(np.arange(len(weights)), weights.shape[1])
        columns = np.tile(self._ids, len(weights))
        return sparse.coo_matrix((weights.ravel(), (rows, columns)), shape=(len(weights), self._size)).tocsr()


def triangulated(quads: np.ndarray) -> np.ndarray:
    """int32 [2 Q, 3]."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)


def grid_triangles(rows: int, columns: int, closed: bool = False) -> np.ndarray:
    """Triangles int32 [n, 3] of a grid of ``rows`` by ``columns`` vertices in row-major order.

    ``closed`` joins the last column to the first. Outside is where columns run counter-clockwise and rows run down.
    """
    across = np.arange(columns if closed else columns - 1)
    corner = (np.arange(rows - 1)[:, None] * columns + across[None]).ravel()
    beside = (np.arange(rows - 1)[:, None] * columns + (across[None] + 1) % columns).ravel()
    quads = np.stack([corner, corner + columns, beside + columns, beside], axis=1)
    return triangulated(quads)


def with_area(positions: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Those triangles [n, 3] of vertices [V, 3] that have an area; at the poles of a grid they have none."""
    a, b, c = (positions[triangles[:, corner]] for corner in range(3))
    return triangles[np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-12]


def normals(positions: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit vertex normals [n, 3], the mean of the triangles around each vertex weighted by their areas."""
    a, b, c = (positions[triangles[:, corner]] for corner in range(3))
    total = np.zeros_like(positions)
    for corner in range(3):
        np.add.at(total, triangles[:, corner], np.cross(b - a, c - a))
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def clip(matrix: sparse.csr_matrix, triangles: np.ndarray, field: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
    """The part of a surface where ``field`` [n], linear in each triangle, is positive: its rows and triangles."""
    kept = [triangles[(field[triangles] > 0).all(axis=1)]]
    crossing: dict[tuple[int, int], int] = {}

    def cut(one: int, other: int) -> int:
        edge = (min(one, other), max(one, other))
        return crossing.setdefault(edge, len(field) + len(crossing))

    extra = []
    inside = field[triangles] > 0
    for triangle, flags in zip(triangles, inside, strict=True):
        if not 0 < flags.sum() < 3:
            continue
        lone = int(np.flatnonzero(flags == (flags.sum() == 1))[0])
        a, b, c = (int(v) for v in np.roll(triangle, -lone))
        ab, ac = cut(a, b), cut(a, c)
        extra += [(a, ab, ac)] if flags.sum() == 1 else [(ab, b, c), (ab, c, ac)]
    if crossing:
        kept.append(np.array(extra, np.int32))
        matrix = sparse.vstack([matrix, _crossing_rows(matrix, np.array(list(crossing)), field)]).tocsr()
    return compact(matrix, np.concatenate(kept))


def compact(matrix: sparse.csr_matrix, triangles: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Rows [n, V] and triangles int32 [m, 3] of a surface, without the rows that no triangle uses."""
    used, renumbered = np.unique(triangles, return_inverse=True)
    return matrix[used], renumbered.reshape(-1, 3).astype(np.int32)


def assemble(drawn: list[Drawn]) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """The tensors ``surface/*`` and ``look/*`` of an avatar file and its list of parts."""
    matrix = sparse.vstack([part.matrix for part in drawn]).tocsr()
    matrix.sort_indices()
    starts = np.cumsum([0, *(part.matrix.shape[0] for part in drawn)])
    faces = np.cumsum([0, *(len(part.triangles) for part in drawn)])
    tensors = {
        "surface/data": matrix.data.astype(np.float32),
        "surface/indices": matrix.indices.astype(np.int32),
        "surface/indptr": matrix.indptr.astype(np.int32),
        "look/faces": np.concatenate(
            [part.triangles + start for part, start in zip(drawn, starts[:-1], strict=True)]
        ).astype(np.int32),
        "look/colors": np.concatenate([_bytes(part.colors) for part in drawn]),
    }
    spans = zip(drawn, pairwise(faces.tolist()), pairwise(starts.tolist()), strict=True)
    return tensors, [_described(part, *span) for part, *span in spans]


def _crossing_rows(matrix: sparse.csr_matrix, edges: np.ndarray, field: np.ndarray) -> sparse.csr_matrix:
    one, other = field[edges[:, 0]], field[edges[:, 1]]
    share = one / (one - other)
    return sparse.diags(1 - share) @ matrix[edges[:, 0]] + sparse.diags(share) @ matrix[edges[:, 1]]


def _bytes(colors: np.ndarray) -> np.ndarray:
    rgb = np.clip(np.round(colors * 255), 0, 255).astype(np.uint8)
    return np.column_stack([rgb, np.full(len(rgb), 255, np.uint8)])


def _described(part: Drawn, face_span: tuple[int, int], vertex_span: tuple[int, int]) -> dict[str, Any]:
    return {
        "name": part.name,
        "faces": list(face_span),
        "vertices": list(vertex_span),
        "roughness": part.material.roughness,
        "metallic": part.material.metallic,
        "double_sided": part.material.double_sided,
        "smooth": True,
    }
