"""What a face does while it speaks, read off its vertices: opening, width and rounding of the mouth, lip at teeth.

Everything is a curve over the frames of a clip, in metres, the same for a target and for a model. Only the vertices
that are looked at are needed, a third of the mesh.
"""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass

import numpy as np

from streamingtalker import metrics
from streamingtalker.data.phones import BILABIALS, INVENTORY, LABIODENTALS, ROUNDED, SILENCE, VOWELS
from streamingtalker.topology import Topology

CLOSED = 0.0015  # metres: lips nearer than this, mean of five pairs, are shut
AT_TEETH = 0.002  # metres: how near the lower lip comes to where targets put it at f and v
MARGIN = 1  # frames before and after a phone in which its shape may be reached
LIPS_APART = frozenset(INVENTORY) - BILABIALS - LABIODENTALS - {SILENCE}
LINGUAL_NASALS = frozenset({"n", "ng"})  # the tongue shuts the mouth, not the lips: the likeliest to be taken for m

Intervals = Sequence[tuple[str, int, int]]  # phones with their frames [from, to)


@dataclass(frozen=True)
class Motion:
    """A clip as the measures see it. T frames, L lip vertices."""

    lips: np.ndarray  # float32 [T, L, 3] offsets from rest
    opening: np.ndarray  # [T] between the inner lips, mean of five pairs
    width: np.ndarray  # [T] from corner to corner
    protrusion: np.ndarray  # [T] of the middle of the lips, forward of rest
    lower_lip: np.ndarray  # [T, 3] of the middle of the inner lower lip, from rest
    upper_face: np.ndarray  # [U] standard deviation over time of the squared offset, m²

    def __len__(self) -> int:
        return len(self.opening)


@dataclass(frozen=True)
class Mouth:
    """Where on a mesh to look. W vertices are watched."""

    watched: np.ndarray  # int [W] ascending vertex indices
    rest: np.ndarray  # float32 [W, 3]
    lips: np.ndarray  # int [L] rows of the watched vertices, as all below
    pairs: np.ndarray  # int [5, 2]
    corners: np.ndarray  # int [2]
    upper_face: np.ndarray  # int [U]

    @classmethod
    def of(cls, face: Topology) -> "Mouth":
        """The places of ``face``. The corners of its mouth are the outermost lip vertices."""
        watched = np.unique(np.concatenate([face.lips, face.lip_pairs.ravel(), face.upper_face]))
        across = face.template[face.lips, 0]
        corners = face.lips[[across.argmin(), across.argmax()]]
        lips, pairs, ends, upper = (
            np.searchsorted(watched, part) for part in (face.lips, face.lip_pairs, corners, face.upper_face)
        )
        return cls(watched, face.template[watched], lips, pairs, ends, upper)

    def observe(self, offsets: np.ndarray) -> Motion:
        """The motion of offsets [T, W, 3] of the watched vertices."""
        positions = self.rest + offsets
        middle = self.pairs[1:4]
        return Motion(
            lips=offsets[:, self.lips],
            opening=metrics.mouth_opening(positions, self.pairs).mean(1),
            width=np.linalg.norm(positions[:, self.corners[1]] - positions[:, self.corners[0]], axis=1),
            protrusion=offsets[:, middle.ravel(), 2].mean(1),
            lower_lip=offsets[:, middle[:, 1]].mean(1),
            upper_face=metrics.dynamics(offsets[:, self.upper_face]),
        )


@dataclass(frozen=True)
class Thresholds:
    """What counts as a sound's shape; taken from the targets, never from a model."""

    contact: tuple[float, float, float]  # metres: the lower lip at the teeth, from rest (right, up, forward)
    narrow: float  # metres: the widest mouth that is round
    forward: float  # metres: the least protrusion that is round

    @classmethod
    def of(cls, targets: Iterable[tuple[Motion, Intervals]]) -> "Thresholds":
        """Contact: the median over the middles of f and v. Round: nearer to the median u o w than to the median of
        the other vowels, in width and in protrusion.
        """
        targets = list(targets)
        lip = _middles(targets, LABIODENTALS, lambda motion: motion.lower_lip)
        shapes = [_middles(targets, phones, _roundness) for phones in (ROUNDED, VOWELS - ROUNDED - {"ao", "uh", "oy"})]
        narrow, forward = np.mean([np.median(shape, axis=0) for shape in shapes], axis=0)
        right, up, ahead = np.median(lip, axis=0)
        return cls((float(right), float(up), float(ahead)), float(narrow), float(forward))

    @classmethod
    def usual(cls, mouth: Mouth) -> "Thresholds":
        """For recordings, which have no targets: those that the shipped corpus gave for its face, a narrow mouth as a
        share of its width at rest.
        """
        corners = mouth.rest[mouth.corners]
        return cls((0.0, 0.0005, -0.0031), 0.94 * float(np.linalg.norm(corners[1] - corners[0])), 0.0026)

    def closed(self, motion: Motion) -> np.ndarray:
        """bool [T]: the lips are shut."""
        return motion.opening < CLOSED

    def at_teeth(self, motion: Motion) -> np.ndarray:
        """bool [T]: the lower lip is at the upper teeth, and the upper lip is out of its way."""
        near = np.linalg.norm(motion.lower_lip - np.array(self.contact), axis=1) < AT_TEETH
        return near & ~self.closed(motion)

    def round(self, motion: Motion) -> np.ndarray:
        """bool [T]: the mouth is narrow and the lips stand out."""
        return (motion.width < self.narrow) & (motion.protrusion > self.forward)


def frames_of(intervals: Intervals, frames: int, phones: Set[str], margin: int = 0) -> np.ndarray:
    """bool [frames]: inside ``phones``, ``margin`` frames from their ends."""
    inside = np.zeros(frames, bool)
    for phone, first, last in intervals:
        if phone in phones:
            inside[first + margin : max(last - margin, 0)] = True
    return inside


def _roundness(motion: Motion) -> np.ndarray:
    return np.stack([motion.width, motion.protrusion], axis=1)


def _middles(
    targets: list[tuple[Motion, Intervals]], phones: Set[str], curve: Callable[[Motion], np.ndarray]
) -> np.ndarray:
    """Values [n, …] of a curve in the middle frame of every one of ``phones``."""
    rows = [
        curve(motion)[min((first + last) // 2, len(motion) - 1)]
        for motion, intervals in targets
        for phone, first, last in intervals
        if phone in phones
    ]
    return np.stack(rows) if rows else np.full((1, curve(targets[0][0]).shape[1]), np.nan)
