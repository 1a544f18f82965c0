"""Catmull–Clark subdivision as one sparse matrix, so that any motion of the cage moves the smooth surface."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse


@dataclass(frozen=True)
class Refined:
    """A subdivided mesh. Its first vertices are the cage's own, in their order, then one per edge, one per quad."""

    matrix: sparse.csr_matrix  # [n', n]; every row sums to 1
    quads: np.ndarray  # int32 [4 Q, 4]


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
    return Refined(sparse.vstack([moved, edge_points, face_points]).tocsr(), _split(quads, edge_of, size, len(edges)))


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
