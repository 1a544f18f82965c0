"""The look of a face while nobody speaks: friendly, attentive or thoughtful, in the mood of what was said last.

While the face speaks, its model moves mouth and brows and shows the mood, and this look is faded out.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from demo.life.landmarks import Landmarks
from demo.life.motion import Spring, Waves
from streamingtalker.data.moods import held_weights
from streamingtalker.data.visemes import LipSeal
from streamingtalker.mood import MOODS
from streamingtalker.topology import Rig

Weights = Mapping[str, float]  # of ARKit's shapes; a name without its side is meant for both sides

_FRIENDLY: Weights = {"mouthSmile": 0.16, "mouthDimple": 0.05, "cheekSquint": 0.12, "eyeSquint": 0.08,
                      "browInnerUp": 0.05, "browOuterUp": 0.04}  # fmt: skip
_STATES: Mapping[str, Weights] = {
    "idle": {},
    "inviting": {"browInnerUp": 0.10, "browOuterUp": 0.12, "mouthSmile": 0.06, "cheekSquint": 0.04},
    "listening": {"browInnerUp": 0.06, "browOuterUp": 0.04},
    "hearing": {"browInnerUp": 0.26, "browOuterUp": 0.24, "eyeSquint": -0.05, "mouthSmile": 0.04},
    "thinking": {"browDownLeft": 0.18, "browInnerUp": 0.08, "browOuterUpRight": 0.36, "eyeSquint": 0.14,
                 "mouthPress": 0.06, "mouthSmile": -0.12, "mouthLeft": 0.10, "mouthPucker": 0.06},
    "speaking": {},
}  # fmt: skip
_RESTLESS: Weights = {"mouthSmile": 0.05, "browInnerUp": 0.06, "browOuterUp": 0.05, "eyeSquint": 0.05,
                      "cheekSquint": 0.04}  # fmt: skip
_KEPT = {"brow": 1.0, "eye": 1.0, "cheek": 0.8, "mouthSmile": 0.6, "mouthFrown": 0.7}
_SEALING = ("mouthClose", "jawOpen")
_TOUCHING = -0.0005  # metres between lips that leave no slit
_SETTLES = 0.6  # seconds from the look of one state to that of the next


def names_used(names: Sequence[str]) -> tuple[str, ...]:
    """Those of a face's shapes ``names`` that any look uses."""
    looks = [_row(look, names) for look in (_FRIENDLY, _RESTLESS, *_STATES.values())]
    used = np.any([*looks, *held_weights(np.eye(len(MOODS)), names)], axis=0)
    return tuple(name for name, is_used in zip(names, used, strict=True) if is_used or name in _SEALING)


class Expression:
    """The look of one face, going gently from one to the next."""

    def __init__(self, random: np.random.Generator, face: Landmarks, names: Sequence[str]) -> None:
        """``names`` [S]: the shapes whose weights are wanted."""
        self.mood = Spring(np.zeros(len(MOODS)))  # intensities [M]
        self._names = names
        self._friendly, self._restless = _row(_FRIENDLY, names), _row(_RESTLESS, names)
        self._states = {state: _row(look, names) for state, look in _STATES.items()}
        self._neutral = held_weights(np.zeros((1, len(MOODS))), names)[0]
        self._moods = held_weights(np.eye(len(MOODS)), names) - self._neutral
        self._mouth = np.array([name.startswith(("mouth", "jaw")) for name in names], float)
        self._kept = np.array([next((_KEPT[stem] for stem in _KEPT if name.startswith(stem)), 0.0) for name in names])
        self._waves = Waves(random, len(names), (0.07, 0.5))
        self._look = Spring(self._friendly)
        self._seal = _seal(face, names)

    def step(self, seconds: float, passed: float, state: str, speaking: float, mood_is_drawn: bool) -> np.ndarray:
        """Weights [S] at ``seconds``. ``speaking`` from 0 to 1; ``mood_is_drawn``: speech shows the mood itself."""
        friendly = (state != "speaking") * max(0.0, 1 - float(self.mood.value.sum()))  # a mood takes its place
        look = self._look.follow(friendly * self._friendly + self._states[state], passed, _SETTLES)
        held = np.clip(self._neutral + self.mood.value @ self._moods, 0.0, 1.0)
        silent = self._closed(held + look + self._restless * self._waves.at(seconds))
        spoken = 0.0 if mood_is_drawn else self._kept * held
        return (1 - speaking) * silent + speaking * (spoken + (1 - self._mouth) * look)

    def _closed(self, weights: np.ndarray) -> np.ndarray:
        """``weights`` with lips that touch."""
        weights = np.clip(weights, 0.0, 1.0)
        return weights if self._seal is None else self._seal.bring_to(weights[None], _TOUCHING, np.ones(1))[0]


def _row(weights: Weights, names: Sequence[str]) -> np.ndarray:
    """``weights`` as a row [S] over the shapes ``names``; what a face lacks is left out."""
    return np.array([weights.get(name, 0.0) + weights.get(_without_side(name), 0.0) for name in names])


def _without_side(name: str) -> str:
    """The name that both sides share; nothing for a shape that is a side itself, as mouthLeft."""
    stem = name.removesuffix("Left").removesuffix("Right")
    return "" if stem in (name, "mouth", "jaw") else stem


def _seal(face: Landmarks, names: Sequence[str]) -> LipSeal | None:
    """How the lips of a face that has the shapes for it are kept together."""
    if not set(_SEALING) <= set(names):
        return None
    shapes = np.stack([face.shapes[name] for name in names])
    nothing = np.zeros(0, np.int32)
    return LipSeal.of(Rig(face.topology, tuple(names), shapes, (nothing, nothing), np.zeros((2, 3), np.float32)))
