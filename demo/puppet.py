"""A head of anybody, moved by the frames of our talking mesh through ARKit's weights."""

import logging

import numpy as np
from scipy import sparse

from demo.export.arkit import SHAPES
from demo.export.fitting import Solver
from demo.frame_queue import FrameQueue
from demo.gltf_head import GltfHead
from demo.life import Landmarks
from demo.life.landmarks import Eye
from streamingtalker.topology import Rig, Topology

log = logging.getLogger(__name__)

_AROUND = 0.35  # of the way from mouth to eyes: what is as near to the mouth counts as lips
_RHYTHM = 5  # vertices of the jaw whose fall tells the rhythm of speech


class Puppet:
    """Turns the talking mesh's frames into a head's."""

    def __init__(self, head: GltfHead, rig: Rig) -> None:
        """``rig``: of the talking mesh. Of its shapes those are used that the head has."""
        self._solver = Solver.of(rig, head.shape_names)
        order = [head.shape_names.index(name) for name in self._solver.names]
        self._shapes = sparse.csr_matrix(head.shapes[order].reshape(len(order), -1).T)  # few vertices move by each

    def offsets(self, frame: np.ndarray) -> np.ndarray:
        """Offsets float32 [V of the head, 3] for a frame [V of the talking mesh, 3], both in metres."""
        return (self._shapes @ self._solver.weights(frame[None])[0]).reshape(-1, 3)

    def queue(self, capacity_frames: int) -> "PuppetQueue":
        """A queue that takes the talking mesh's frames and gives out the head's."""
        return PuppetQueue(capacity_frames, self)


class PuppetQueue(FrameQueue):
    """Holds the talking mesh's frames and gives out the head's."""

    def __init__(self, capacity_frames: int, puppet: Puppet) -> None:
        super().__init__(capacity_frames)
        self._puppet = puppet

    def at(self, turn: int, seconds: float, fps: float) -> np.ndarray | None:
        """As FrameQueue's, in offsets of the head."""
        frame = super().at(turn, seconds, fps)
        return None if frame is None else self._puppet.offsets(frame)


def head_landmarks(head: GltfHead, name: str) -> Landmarks:
    """What of a head can live: its lids, its gaze, its looks and its neck, as far as it has the shapes.

    Its eyeballs have no members: shapes turn them. How its lips touch is not known well enough to seal them.
    """
    shapes = dict(zip(head.shape_names, head.shapes, strict=True))
    lips = _near(head, head.mouth)
    jaw = shapes["jawOpen"][:, 1]
    falling, still = lips[jaw[lips].argsort()[:_RHYTHM]], lips[np.abs(jaw[lips]).argsort()[:_RHYTHM]]
    topology = Topology(
        name=name,
        template=head.template,
        faces=head.faces,
        lip_pairs=np.stack([still, falling], axis=1).astype(np.int32),
        lips=lips.astype(np.int32),
        upper_face=np.concatenate([_near(head, pivot) for pivot in head.pivots]).astype(np.int32),
    )
    nobody = np.zeros(0, np.int64)
    eyes = Eye(nobody, head.pivots[0]), Eye(nobody, head.pivots[1])
    return Landmarks.of_shapes(topology, eyes, {key: shape for key, shape in shapes.items() if key != "mouthClose"})


def missing_shapes(head: GltfHead) -> tuple[str, ...]:
    """ARKit's shapes that the head has not."""
    return tuple(name for name in SHAPES if name not in head.shape_names)


def _near(head: GltfHead, place: np.ndarray) -> np.ndarray:
    """Vertices about a place [3], one at least."""
    unit = float(head.pivots[:, 1].mean() - head.mouth[1])
    distance = np.linalg.norm(head.template - place, axis=1)
    return np.flatnonzero(distance <= max(_AROUND * unit, float(distance.min())))
