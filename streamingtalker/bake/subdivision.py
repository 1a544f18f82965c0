"""Catmull–Clark subdivision as one sparse matrix, so that any motion of the cage moves the smooth surface."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy.sparse as sparse

from streamingtalker.bake.drawn import triangulated


@dataclass(frozen=True)
class Refined:
    """A subdivided mesh. Its first vertices are the cage's own, in their order, then one per edge, one per quad."""

    matrix: sparse.csr_matrix  # [n', n]; every row sums to 1
    quads: np.ndarray  # int32 [4 Q, 4]; first the quads at the first corner of each of the cage's, then …
    flat: sparse.csr_matrix  # [n', n]; what a mere split without any rounding would give

    def triangles(self, split: np.ndarray) -> np.ndarray:
        """int32 [F, 3]: fine where ``split`` bool [Q], elsewhere the cage's own quads, which take in the points that
        finer neighbours have on their edges, so that nothing gapes."""
        corners = self.quads.reshape(4, -1, 4)
        outline = np.stack([corners[corner, :, side] for corner in range(4) for side in (0, 1)], axis=1)
        finer = np.zeros(self.matrix.shape[0], bool)
        finer[outline[split, 1::2]] = True
        coarse = outline[~split]
        fine = corners[:, split].reshape(-1, 4)
        return np.concatenate([triangulated(fine), *_fans(coarse, finer[coarse[:, 1::2]])]).astype(np.int32)

    def fineness(self, field: np.ndarray) -> np.ndarray:
        """float [Q]: how far off ``field`` [n', d], one value per vertex, would be where its quad is not split."""
        cage = self.flat.shape[1]
        error = np.linalg.norm(field - self.flat @ field[:cage], axis=1)
        corners = self.quads.reshape(4, -1, 4)
        return error[corners[:, :, 1:3]].max(axis=(0, 2))


def catmull_clark(quads: np.ndarray, size: int) -> Refined:
    """One step on a mesh of ``size`` vertices, all of them used by ``quads`` [Q, 4]; open borders stay curves."""
    count = len(quads)
    edges, edge_of = _edges(quads)
    face_points = _rows(np.repeat(np.arange(count), 4), quads.ravel(), 0.25, (count, size))
    ends = _rows(np.repeat(np.arange(len(edges)), 2), edges.ravel(), 0.5, (len(edges), size))
    uses = np.bincount(edge_of.ravel(), minlength=len(edges))
    beside = _rows(edge_of.ravel(), np.repeat(np.arange(count), 4), 0.5, (len(edges), count)) @ face_points
    inner = sparse.diags((uses == 2).astype(float))
    edge_points = inner @ (ends + beside) * 0.5 + (sparse.identity(len(edges)) - inner) @ ends
    moved = _vertex_points(quads, size, edges, uses, face_points, ends)
    matrix = sparse.vstack([moved, edge_points, face_points]).tocsr()
    flat = sparse.vstack([sparse.identity(size), ends, face_points]).tocsr()
    return Refined(matrix, _split(quads, edge_of, size, len(edges)), flat)


def _fans(outline: np.ndarray, used: np.ndarray) -> list[np.ndarray]:
    """Triangles of polygons given as corner, edge point, corner, … [Q, 8], of whose edge points only some are ``used``
    [Q, 4]; fans begin at an edge point, for at a corner they would have triangles without area."""
    fans = []
    for pattern in product((False, True), repeat=4):
        chosen = outline[(used == pattern).all(axis=1)]
        ring = [place for place in range(8) if place % 2 == 0 or pattern[place // 2]]
        first = next((at for at, place in enumerate(ring) if place % 2), 0)
        ring = ring[first:] + ring[:first]
        fans += [chosen[:, [ring[0], ring[at], ring[at + 1]]] for at in range(1, len(ring) - 1)]
    return fans


def _edges(quads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unique edges [E, 2] and, per quad, the edge after each corner [Q, 4]."""
    sides = np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2)
    edges, edge_of = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True)
    return edges, edge_of.reshape(-1, 4)


def _rows(rows: np.ndarray, columns: np.ndarray, value: float, shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.coo_matrix((np.full(len(rows), value), (rows, columns)), shape=shape).tocsr()


def _vertex_points(
    quads: np.ndarray,
    size: int,
    edges: np.ndarray,
    uses: np.ndarray,
    face_points: sparse.csr_matrix,
    ends: sparse.csr_matrix,
) -> sparse.csr_matrix:
    """Where the cage's vertices go: (F + 2 R + (n - 3) P) / n inside, (R + P) / 2 on a border."""
    around = _rows(quads.ravel(), np.repeat(np.arange(len(quads)), 4), 1.0, (size, len(quads)))
    touching = _rows(edges.ravel(), np.repeat(np.arange(len(edges)), 2), 1.0, (size, len(edges)))
    border = sparse.diags((uses == 1).astype(float))
    valence = np.asarray(touching.sum(axis=1)).ravel()
    faces = np.asarray(around.sum(axis=1)).ravel()
    on_border = np.asarray((touching @ border).sum(axis=1)).ravel() > 0
    inside = sparse.diags(np.where(on_border, 0.0, 1.0 / valence))
    smooth = inside @ (
        sparse.diags(1 / faces) @ around @ face_points
        + 2 * sparse.diags(1 / valence) @ touching @ ends
        + sparse.diags(valence - 3)
    )
    curve = sparse.diags(np.where(on_border, 0.5, 0.0)) @ (0.5 * touching @ border @ ends + sparse.identity(size))
    return (smooth + curve).tocsr()


def _split(quads: np.ndarray, edge_of: np.ndarray, size: int, edge_count: int) -> np.ndarray:
    """Each quad becomes four around its centre, wound as before."""
    centre = size + edge_count + np.arange(len(quads))
    after, before = size + edge_of, size + np.roll(edge_of, 1, axis=1)
    corners = [np.stack([quads[:, c], after[:, c], centre, before[:, c]], axis=1) for c in range(4)]
    return np.concatenate(corners).astype(np.int32)
