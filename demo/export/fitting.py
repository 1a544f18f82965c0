"""The ARKit weights that come nearest to a motion.

The weights w of a frame are those within [0, 1] whose shapes come nearest to its offsets o, min ‖A w − o‖² with the
shapes as the columns of A. The shapes are linearly independent, so there is one answer, and it depends continuously on
the frame: the answer is the projection of the frame on the box of all poses, and a projection never widens a distance.
So frames that lie near each other get poses that lie as near; what does not jump in the motion jumps in no pose.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import solve_triangular
from scipy.optimize import lsq_linear, nnls

from demo.export.arkit import Fit
from streamingtalker.topology import Rig

_CHUNK = 256  # frames at a time: a minute of vertices beside its copy needs much memory


@dataclass(frozen=True)
class Solver:
    """Finds the weights nearest to a frame."""

    names: tuple[str, ...]  # of the S shapes it may use
    matrix: sparse.csr_matrix  # float64 [S, 3 V], the shapes as rows; most shapes move little of the mesh
    factor: np.ndarray  # float64 [S, S], upper; ‖A w − o‖² is ‖factor w − target‖² and a constant

    @classmethod
    def of(cls, rig: Rig, names: Sequence[str] | None = None) -> "Solver":
        """For the shapes of a rig, or those of them that are named."""
        chosen = tuple(name for name in rig.shape_names if names is None or name in names)
        shapes = rig.shapes[[rig.shape_names.index(name) for name in chosen]]
        matrix = sparse.csr_matrix(shapes.reshape(len(chosen), -1), dtype=np.float64)
        return cls(chosen, matrix, np.linalg.cholesky((matrix @ matrix.T).toarray()).T)

    def weights(self, offsets: np.ndarray) -> np.ndarray:
        """The weights float32 [T, S] nearest to ``offsets`` [T, V, 3] in metres."""
        targets = solve_triangular(self.factor, self.matrix @ offsets.reshape(len(offsets), -1).T, trans="T").T
        return np.array([_bounded(self.factor, target) for target in targets], np.float32)


def fit_weights(rig: Rig, offsets: np.ndarray) -> Fit:
    """The weights nearest to ``offsets`` float [T, V, 3] in metres, and the residual."""
    solver = Solver.of(rig)
    pieces = []
    for start in range(0, len(offsets), _CHUNK):
        piece = offsets[start : start + _CHUNK].astype(np.float32)
        weights = solver.weights(piece)
        pieces.append((weights, *_residual(rig, piece, weights)))
    weights, mean, furthest = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return Fit(rig.shape_names, weights, mean, furthest)


def _bounded(factor: np.ndarray, target: np.ndarray) -> np.ndarray:
    """argmin ‖factor w − target‖² with 0 ≤ w ≤ 1, [S]."""
    weights, _ = nnls(factor, target)
    if weights.max(initial=0.0) <= 1.0:
        return weights  # the best without a ceiling is under it, so it is the best with one
    return np.clip(lsq_linear(factor, target, (0.0, 1.0), method="bvls").x, 0.0, 1.0)


def _residual(rig: Rig, offsets: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and greatest distance [T] in mm between a motion [T, V, 3] and what ``weights`` [T, S] make of the mesh."""
    distance = np.linalg.norm(rig.offsets(weights) - offsets, axis=2) * 1000
    return distance.mean(axis=1), distance.max(axis=1)
