"""How head and chest move: breath, sway, nods with the stress, and a posture for every state and mood."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from demo.life.gaze import Gaze
from demo.life.motion import Spring, Waves, bump
from streamingtalker.mood import MOODS

_DEGREE = np.pi / 180
_YAW, _PITCH, _ROLL, _LEAN = range(4)

# Yaw, pitch up, roll in degrees, and lean of the whole body towards the viewer in degrees. Yaw and roll are to the
# side that was drawn for this turn.
_POSTURES: Mapping[str, tuple[float, float, float, float]] = {
    "idle": (0.0, 0.0, 0.0, 0.0),
    "inviting": (0.0, 0.6, 1.2, 0.4),
    "listening": (0.5, 0.3, 1.0, 0.2),
    "hearing": (1.5, -0.6, 3.6, 1.4),
    "thinking": (3.0, 1.6, -1.8, -0.5),
    "speaking": (0.0, 0.2, 0.4, 0.5),
}
_MOOD_POSTURES: Mapping[str, tuple[float, float, float, float]] = {
    "happy": (0.0, 0.8, 1.8, 0.2),
    "serious": (0.0, -1.4, 0.0, 0.4),
    "sad": (1.5, -4.0, 2.0, -0.4),
    "surprised": (0.0, 1.8, 0.0, -0.9),
}
_STIR = np.array([1.0, 0.6, 0.8, 0.15])  # how far a posture is varied, degrees
_STIR_WHILE_SPEAKING = np.array([2.4, 1.2, 1.6, 0.35])
_STIRS = {"speaking": (1.6, 4.0), "inviting": (2.0, 5.0)}  # seconds between such changes
_STIRS_ELSEWHERE = (3.5, 9.0)
_SWAY = np.array([1.6, 1.0, 0.8, 0.35]) * _DEGREE
_FOLLOWS_GAZE = 0.28  # share of a look aside that the head takes part in
_NOD = 2.6 * _DEGREE  # at a strong stress
_NODS_AT_BEATS = 0.6  # chance of a nod
_LISTENERS_NOD = 2.2 * _DEGREE
_LISTENERS_NODS = (3.5, 9.0)  # seconds between them
_BREATHS = {"speaking": 0.30, "thinking": 0.26}  # a second
_BREATHS_ELSEWHERE = 0.23
_INHALING = 0.4  # share of a breath


@dataclass(frozen=True)
class Carriage:
    """Where head and chest are."""

    yaw: float  # radians of the head, to the avatar's left
    pitch: float  # up
    roll: float  # towards the avatar's right shoulder
    lean: float  # radians of the whole body towards the viewer
    breath: float  # from 0, breathed out, to 1


@dataclass(frozen=True)
class _Nod:
    start: float
    angle: float  # radians down
    roll: float
    seconds: float

    def at(self, seconds: float) -> float:
        return bump((seconds - self.start) / self.seconds)


class Head:
    """The carriage of one head, drawn from a generator as time goes on."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._waves = Waves(random, 4, (0.06, 0.22))
        self._posture = Spring(np.zeros(4))
        self._variation = Spring(np.zeros(4))
        self._turn = Spring(np.zeros(2))  # what it takes of the gaze
        self._stirred = np.zeros(4)
        self._stir_at = 0.0
        self._nods: list[_Nod] = []
        self._nod_at = np.inf
        self._state = "idle"
        self._side = 1.0
        self._breathed = random.uniform(0, 1)  # breaths

    def step(self, seconds: float, passed: float, state: str, mood: np.ndarray, gaze: Gaze) -> Carriage:
        """The carriage at ``seconds``, ``passed`` after the last step. ``mood`` [M]: intensities."""
        if state != self._state:
            self._turn_to(seconds, state)
        self._stir(seconds)
        self._nod_while_listening(seconds)
        posture = self._posture.follow(self._goal(mood), passed, 1.1)
        turn = self._turn.follow(_FOLLOWS_GAZE * gaze.centre, passed, 0.55)
        variation = self._variation.follow(self._stirred, passed, 1.5)
        yaw, pitch, roll, lean = posture + variation + _SWAY * self._waves.at(seconds)
        nod = sum(nod.angle * nod.at(seconds) for nod in self._nods)
        tilt = sum(nod.roll * nod.at(seconds) for nod in self._nods)
        breath = self._breathe(passed)
        pitch += turn[1] - nod + 0.006 * breath
        return Carriage(yaw + turn[0], pitch, roll + tilt, lean, breath)

    def beat(self, seconds: float, strength: float) -> None:
        """A stress is heard: often the head goes with it."""
        if self._random.random() > _NODS_AT_BEATS:
            return
        angle = _NOD * strength * self._random.uniform(0.35, 1.0)
        self._nod(_Nod(seconds, angle, self._random.normal(0, 0.25) * angle, self._random.uniform(0.36, 0.52)))

    def phrase_ends(self, seconds: float) -> None:
        """A phrase has ended: the head settles elsewhere."""
        self._stir_at = min(self._stir_at, seconds + self._random.uniform(0.0, 0.3))

    def _turn_to(self, seconds: float, state: str) -> None:
        if (self._state, state) == ("hearing", "thinking"):
            self._agree(seconds + 0.15)  # "I see"
        self._state = state
        self._side = 1.0 if self._random.random() < 0.5 else -1.0
        self._stir_at = seconds
        self._nod_at = seconds + self._random.uniform(1.2, 3.0) if state == "hearing" else np.inf

    def _goal(self, mood: np.ndarray) -> np.ndarray:
        """Of the posture: radians [4]."""
        sides = np.array([self._side, 1.0, self._side, 1.0])
        goal = np.array(_POSTURES[self._state])
        for name, intensity in zip(MOODS, mood, strict=True):
            goal = goal + intensity * np.array(_MOOD_POSTURES[name])
        return goal * sides * _DEGREE

    def _stir(self, seconds: float) -> None:
        if seconds < self._stir_at:
            return
        speaking = self._state == "speaking"
        size = _STIR_WHILE_SPEAKING if speaking else _STIR
        self._stirred = self._random.normal(0, 0.6, 4).clip(-1.3, 1.3) * size * _DEGREE
        self._stir_at = seconds + self._random.uniform(*_STIRS.get(self._state, _STIRS_ELSEWHERE))

    def _nod_while_listening(self, seconds: float) -> None:
        if seconds >= self._nod_at:
            self._agree(seconds)
            self._nod_at = seconds + self._random.uniform(*_LISTENERS_NODS)

    def _agree(self, seconds: float) -> None:
        """A small nod, mostly doubled."""
        angle = _LISTENERS_NOD * self._random.uniform(0.6, 1.1)
        length = self._random.uniform(0.45, 0.6)
        self._nod(_Nod(seconds, angle, 0.0, length))
        if self._random.random() < 0.6:
            self._nod(_Nod(seconds + 0.8 * length, 0.6 * angle, 0.0, length))

    def _nod(self, nod: _Nod) -> None:
        over = [old for old in self._nods if old.start + old.seconds < nod.start]
        self._nods = [old for old in self._nods if old not in over] + [nod]

    def _breathe(self, passed: float) -> float:
        self._breathed = (self._breathed + passed * _BREATHS.get(self._state, _BREATHS_ELSEWHERE)) % 1.0
        return bump(self._breathed, _INHALING)
