"""How a face looks: the drawn surface that follows the talking mesh, its colours and materials."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sparse

from streamingtalker.tensor_file import CheckpointError, read_tensors
from streamingtalker.topology import DEFAULT_AVATAR, Rig, Topology, load_rig


@dataclass(frozen=True)
class Part:
    """A piece of the drawn surface with one material."""

    name: str
    faces: tuple[int, int]  # from, to
    vertices: tuple[int, int]  # from, to
    roughness: float = 0.6  # 0 … 1
    metallic: float = 0.0  # 0 … 1
    double_sided: bool = False
    smooth: bool = True


@dataclass(frozen=True)
class Avatar:
    """A face with its rig and its look: R drawn vertices, each a weighted mean of the V vertices that talk.

    Whatever moves the talking mesh (speech, blinks, a turn of the head) moves everything drawn.
    """

    rig: Rig
    faces: np.ndarray  # int32 [F, 3] over the R drawn vertices, counter-clockwise seen from outside
    colors: np.ndarray  # uint8 [R, 4] sRGB and alpha
    parts: tuple[Part, ...]
    credits: tuple[str, ...] = ()
    weights: sparse.csr_matrix = field(repr=False, default_factory=lambda: sparse.csr_matrix((0, 0)))  # [R, V]

    @property
    def topology(self) -> Topology:
        """The talking mesh."""
        return self.rig.topology

    @property
    def template(self) -> np.ndarray:
        """The talking mesh at rest, float32 [V, 3] metres."""
        return self.topology.template

    @property
    def pivots(self) -> np.ndarray:
        """Centres of the left and the right eyeball, float32 [2, 3] metres."""
        return self.rig.pivots

    @property
    def mouth(self) -> np.ndarray:
        """The middle of the closed lips, float32 [3] metres."""
        return self.template[self.topology.lip_pairs].mean(axis=(0, 1))

    def surface(self, vertices: np.ndarray) -> np.ndarray:
        """Positions float32 [R, 3] of what is drawn for a talking mesh at ``vertices`` [V, 3]."""
        return self.weights @ vertices.astype(np.float32, copy=False)

    def normals(self, positions: np.ndarray) -> np.ndarray:
        """Unit normals float32 [R, 3] of the drawn surface at ``positions`` [R, 3], smooth within each part."""
        a, b, c = (positions.take(corners, axis=0) for corners in self.faces.T)  # indexing is half as fast
        total = self._fans @ _cross(b - a, c - a)
        length = np.sqrt(np.einsum("ij,ij->i", total, total))
        return total / np.maximum(length, 1e-20)[:, None]

    @cached_property
    def _fans(self) -> sparse.csr_matrix:
        """[R, F]: which triangles meet in each vertex."""
        count = len(self.faces)
        entries = (np.ones(3 * count, np.float32), (self.faces.ravel(), np.repeat(np.arange(count), 3)))
        return sparse.coo_matrix(entries, shape=(len(self.colors), count)).tocsr()


def load_avatar(path: str | Path = DEFAULT_AVATAR) -> Avatar:
    """The avatar in a file. Raises CheckpointError where the file cannot serve."""
    rig = load_rig(path)
    tensors, metadata = read_tensors(path, kind="avatar")
    try:
        return _avatar(rig, tensors, metadata)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has no drawable surface ({error}); restore or bake it again.") from error


def _avatar(rig: Rig, tensors: dict[str, np.ndarray], metadata: dict[str, Any]) -> Avatar:
    colors = tensors["look/colors"]
    compressed = tuple(tensors[f"surface/{name}"] for name in ("data", "indices", "indptr"))
    return Avatar(
        rig=rig,
        faces=tensors["look/faces"],
        colors=colors,
        parts=tuple(_part(entry) for entry in metadata["parts"]),
        credits=tuple(metadata["credits"]),
        weights=sparse.csr_matrix(compressed, shape=(len(colors), rig.topology.vertex_count)),
    )


def _part(entry: dict[str, Any]) -> Part:
    spans = {key: tuple(entry[key]) for key in ("faces", "vertices")}
    return Part(**{**entry, **spans})


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products [n, 3]; several times faster than numpy's own."""
    result = np.empty_like(a)
    result[:, 0] = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
    result[:, 1] = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
    result[:, 2] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return result
