"""Cuts the talking mesh out of the whole body. Its vertex order and count are frozen: weights depend on them."""

from dataclasses import dataclass

import numpy as np

from streamingtalker.bake.makehuman import BaseMesh

CUT_HEIGHT = 4.4  # decimetres in the undeformed body: below the collar bones, a bust
HELPERS = {
    "eye_left": "helper-l-eye",
    "eye_right": "helper-r-eye",
    "teeth_upper": "helper-upper-teeth",
    "teeth_lower": "helper-lower-teeth",
    "tongue": "helper-tongue",
}


@dataclass(frozen=True)
class TalkingMesh:
    """Which vertices of the body talk, and their quads. V vertices in ascending order of their body index."""

    source: np.ndarray  # int32 [V] index of each vertex in the body
    quads: dict[str, np.ndarray]  # part ("skin", "eye_left", "tongue", …) -> int32 [Q, 4] over V

    @property
    def size(self) -> int:
        """V."""
        return len(self.source)

    def members(self, part: str) -> np.ndarray:
        """Ascending int32 indices of the vertices of ``part``."""
        return np.unique(self.quads[part]).astype(np.int32)

    def locate(self, body_ids: list[int] | np.ndarray) -> np.ndarray:
        """Indices in this mesh of the given vertices of the body, which must be part of it."""
        found = np.searchsorted(self.source, body_ids)
        assert np.array_equal(self.source[found], body_ids), "a vertex outside the talking mesh was asked for"
        return found.astype(np.int32)

    def triangles(self) -> np.ndarray:
        """int32 [F, 3]: every quad of every part split along its first diagonal."""
        quads = np.concatenate(list(self.quads.values()))
        return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)


def cut(base: BaseMesh) -> TalkingMesh:
    """The bust of the body with its eyes, teeth and tongue."""
    body = base.groups["body"]
    bust = body[(base.vertices[body, 1] > CUT_HEIGHT).all(axis=1)]
    kept = {"skin": bust} | {part: base.groups[group] for part, group in HELPERS.items()}
    source = np.unique(np.concatenate([quads.ravel() for quads in kept.values()]))
    renumbered = {part: np.asarray(np.searchsorted(source, quads), np.int32) for part, quads in kept.items()}
    return TalkingMesh(source.astype(np.int32), renumbered)
