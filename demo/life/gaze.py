"""Where the eyes look: at the viewer, now and then elsewhere, up and aside while thinking.

Directions are (yaw, pitch) in radians away from the viewer: to the avatar's left, and up.
"""

from dataclasses import dataclass

import numpy as np

from demo.life.motion import Waves, ease

_DEGREE = np.pi / 180


@dataclass(frozen=True)
class Manner:
    """How eyes behave in a state: share of looks at the viewer, and seconds that looks there and away last."""

    contact: float
    there: tuple[float, float]
    away: tuple[float, float]
    yaw: tuple[float, float] = (4.0, 11.0)  # degrees aside, to either side
    pitch: tuple[float, float] = (-5.0, 3.0)  # degrees up


# People look at a speaker for most of the time, and at a listener for about half of it; a screen's face a little more.
_MANNERS = {
    "idle": Manner(0.60, (1.0, 3.5), (0.6, 2.0)),
    "inviting": Manner(0.45, (0.9, 2.6), (0.9, 2.2), yaw=(9.0, 24.0), pitch=(-5.0, 4.0)),
    "listening": Manner(0.75, (1.5, 4.5), (0.5, 1.3)),
    "hearing": Manner(0.92, (2.0, 5.0), (0.3, 0.7), yaw=(2.0, 6.0)),
    "thinking": Manner(0.15, (0.4, 0.9), (0.8, 2.0), yaw=(8.0, 16.0), pitch=(4.0, 11.0)),
    "speaking": Manner(0.70, (1.2, 3.5), (0.4, 1.0), yaw=(3.0, 10.0), pitch=(-4.0, 5.0)),
}
_SCAN = (0.35, 1.1)  # seconds between small glances over the viewer's face
_FACE = 0.7 * _DEGREE  # how far they go
_DRIFT = 0.10 * _DEGREE  # of an eye that holds still
_LARGE = 7.0 * _DEGREE  # glances beyond this take the lids along


def saccade_seconds(angle: float) -> float:
    """How long an eye takes to jump by ``angle`` radians: 21 ms and 2.2 ms a degree (Carpenter, 1988)."""
    return 0.021 + 0.0022 * abs(angle) / _DEGREE


class Gaze:
    """The looks of one face, drawn from a generator as time goes on."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._drift = Waves(random, 2, (0.3, 1.7))
        self._state = "idle"
        self._from = self._to = self._centre = np.zeros(2)
        self._jump = -np.inf  # when the last saccade began
        self._until = 0.0  # when this look ends
        self._scan = 0.0  # when the next small glance begins
        self._side = 1.0
        self.started_large = False  # whether a large glance has begun with the last step

    @property
    def centre(self) -> np.ndarray:
        """Where this look is directed, without small glances and drift; what the head follows."""
        return self._centre

    @property
    def at_viewer(self) -> bool:
        """Whether this look is at the viewer."""
        return not self._centre.any()

    def step(self, seconds: float, state: str) -> np.ndarray:
        """The direction at ``seconds``, [2]."""
        self.started_large = False
        if state != self._state:
            self._turn_to(seconds, state)
        if seconds >= self._until:
            self._look(seconds)
        elif seconds >= self._scan:
            self._glance(seconds, self._centre + self._random.normal(0, 0.5, 2).clip(-1, 1) * _FACE)
        jumped = ease((seconds - self._jump) / saccade_seconds(float(np.abs(self._to - self._from).max())))
        return self._from + jumped * (self._to - self._from) + _DRIFT * self._drift.at(seconds)

    def _turn_to(self, seconds: float, state: str) -> None:
        """A new state: the eyes react within a quarter of a second; what they do then is up to the state's manner."""
        self._state = state
        wait = self._random.uniform(0.12, 0.28)
        wants_viewer = _MANNERS[state].contact > 0.5
        if wants_viewer != self.at_viewer:
            self._until = seconds + wait
        self._side = 1.0 if self._random.random() < 0.5 else -1.0

    def _look(self, seconds: float) -> None:
        manner = _MANNERS[self._state]
        contact = not self.at_viewer if manner.contact > 0.5 else self._random.random() < manner.contact
        if contact or self._stays(manner):
            self._centre = np.zeros(2)
            self._until = seconds + self._random.uniform(*manner.there)
        else:
            self._centre = self._aside(manner)
            self._until = seconds + self._random.uniform(*manner.away)
        self._glance(seconds, self._centre)

    def _stays(self, manner: Manner) -> bool:
        """Whether a look at the viewer is followed by another: so often that the shares of time come out."""
        there, away = sum(manner.there) / 2, sum(manner.away) / 2  # seconds, on average
        leaving = (1 - manner.contact) * there / (manner.contact * away)
        return manner.contact > 0.5 and self._random.random() > leaving

    def _aside(self, manner: Manner) -> np.ndarray:
        if self._random.random() < 0.25:
            self._side = -self._side
        yaw, pitch = self._random.uniform(*manner.yaw), self._random.uniform(*manner.pitch)
        return np.array([self._side * yaw, pitch]) * _DEGREE

    def _glance(self, seconds: float, target: np.ndarray) -> None:
        now = self._from + ease((seconds - self._jump) / 0.05) * (self._to - self._from)
        self.started_large = bool(np.abs(target - now).max() > _LARGE)
        self._from, self._to, self._jump = now, target, seconds
        self._scan = seconds + self._random.uniform(*_SCAN)
