"""How each mood looks: what it holds in the face, and what it does to the way of speaking.

Everything is linear in the intensities, so that a mood that blends into another passes through both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from streamingtalker.data.visemes import LipSeal
from streamingtalker.mood import MOODS, Mood

SIDES = ("", "Left", "Right")


@dataclass(frozen=True)
class MoodFace:
    """A mood at full intensity. Factors are 1 where it changes nothing."""

    held: Mapping[str, float] = field(default_factory=dict)  # weights of ARKit's shapes, without Left and Right
    jaw: float = 1.0  # on the opening of vowels
    lips: float = 1.0  # on spreading and parting of the lips
    rounding: float = 1.0
    tightness: float = 1.0  # above 1 the visemes blur less into each other
    brows: float = 1.0  # liveliness of the upper face


NEUTRAL_FACE = MoodFace({"mouthSmile": 0.18, "cheekSquint": 0.06, "browInnerUp": 0.05, "browOuterUp": 0.06})
FACES: Mapping[str, MoodFace] = {
    "happy": MoodFace(
        {"mouthSmile": 0.48, "mouthDimple": 0.14, "mouthRollUpper": 0.05, "cheekSquint": 0.64, "eyeSquint": 0.20,
         "browOuterUp": 0.18, "browInnerUp": 0.08},
        jaw=1.05, lips=1.10, brows=1.35,
    ),
    "serious": MoodFace(
        {"browDown": 0.75, "browInnerUp": -0.05, "browOuterUp": -0.06, "eyeSquint": 0.22, "mouthPress": 0.12,
         "mouthFrown": 0.20, "mouthSmile": -0.18, "cheekSquint": -0.06},
        jaw=0.88, lips=0.85, tightness=1.05, brows=0.7,
    ),
    "sad": MoodFace(
        {"browInnerUp": 0.76, "browDown": 0.16, "browOuterUp": -0.06, "eyeBlink": 0.17, "mouthFrown": 0.66,
         "mouthShrugLower": 0.12, "mouthSmile": -0.18, "cheekSquint": -0.06},
        jaw=0.78, lips=0.75, rounding=0.9, tightness=0.85, brows=0.6,
    ),
    "surprised": MoodFace(
        {"browInnerUp": 0.70, "browOuterUp": 0.74, "eyeWide": 0.60, "mouthSmile": -0.10},
        jaw=1.15, rounding=1.05, brows=1.2,
    ),
}  # fmt: skip


def factor(name: str, moods: np.ndarray) -> np.ndarray:
    """The factor ``name`` (a field of MoodFace) [T] at intensities ``moods`` [T, M] of MOODS."""
    return 1 + moods @ np.array([getattr(FACES[mood], name) - 1 for mood in MOODS])


def held_weights(moods: np.ndarray, shape_names: Sequence[str]) -> np.ndarray:
    """Weights float32 [T, S] that the face holds at intensities ``moods`` [T, M] of MOODS, lips not yet sealed."""
    table = np.stack([_row(FACES[mood], shape_names) for mood in MOODS])
    return np.clip(_row(NEUTRAL_FACE, shape_names) + moods @ table, 0.0, 1.0).astype(np.float32)


def mood_weights(mood: Mood, shape_names: Sequence[str], seal: LipSeal | None = None) -> np.ndarray:
    """Weights float32 [S] of a face at rest in ``mood``; its lips touch where a ``seal`` is given."""
    weights = held_weights(mood.vector()[None], shape_names)
    return (seal.bring_to(weights, 0.0, np.ones(1)) if seal else weights)[0]


def _row(face: MoodFace, shape_names: Sequence[str]) -> np.ndarray:
    row = np.zeros(len(shape_names))
    for name, weight in face.held.items():
        for side in SIDES:
            if name + side in shape_names:
                row[shape_names.index(name + side)] = weight
    return row
