"""When lids close and how: about fifteen times a minute, now and then twice in a row, often where a phrase ends."""

from dataclasses import dataclass

import numpy as np

from demo.life.motion import ease

# Blinks a minute. People at rest blink about 17 times, in conversation more, and less while they attend.
_RATES = {"idle": 13.0, "inviting": 14.0, "listening": 13.0, "hearing": 11.0, "thinking": 15.0, "speaking": 17.0}
_SHORTEST = 0.9  # seconds between two blinks that are no doublet
_SPREAD = 0.55  # of the logarithm of pauses: many short ones, few long ones
_DOUBLET = 0.13  # chance that a second blink follows at once
_PARTIAL = 0.12  # chance that lids do not close wholly
_CLOSING, _CLOSED, _OPENING = 0.075, 0.025, 0.17  # seconds


@dataclass(frozen=True)
class Blink:
    """One blink: when it begins, how far it closes, and how slow it is (1 is usual)."""

    start: float
    depth: float = 1.0
    slowness: float = 1.0

    @property
    def seconds(self) -> float:
        """From its beginning to the open eye."""
        return (_CLOSING + _CLOSED + _OPENING) * self.slowness

    def closed(self, seconds: float) -> float:
        """How far the lids are closed at ``seconds``, from 0 to 1."""
        since = (seconds - self.start) / self.slowness
        if since < _CLOSING:
            return self.depth * float(ease(since / _CLOSING))
        return self.depth * (1 - float(ease((since - _CLOSING - _CLOSED) / _OPENING)))


class Blinks:
    """The blinks of one face, drawn from a generator as time goes on."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._blink = Blink(-np.inf)
        self._following: Blink | None = None
        self._patience = 0.5 * self._pause()  # pauses of mean 1; the next blink comes when it is used up

    @property
    def last(self) -> Blink:
        """The blink that began last."""
        return self._blink

    def step(self, seconds: float, passed: float, state: str) -> float:
        """How far the lids are closed at ``seconds``, which is ``passed`` after the last step; from 0 to 1."""
        free = max(0.0, min(passed, seconds - (self._blink.start + self._blink.seconds + _SHORTEST)))
        self._patience -= free / self._mean_wait(state)
        if self._following is not None and seconds >= self._following.start:
            self._blink, self._following = self._following, None
        elif self._patience <= 0:
            self._begin(max(seconds + self._patience * self._mean_wait(state), seconds - passed))
        return self._blink.closed(seconds)

    def invite(self, seconds: float, chance: float, within: float = 0.2) -> None:
        """An occasion to blink: with ``chance`` the next blink comes within so many seconds, in place of a later one.

        Phrase ends and large glances are such occasions. Who has just blinked does not blink again.
        """
        rested = seconds - self._blink.start - self._blink.seconds > _SHORTEST
        if self._random.random() < chance and rested and self._following is None:
            self._following = Blink(seconds + self._random.uniform(0.02, within), slowness=self._slowness())
            self._patience = self._pause()

    def _begin(self, start: float) -> None:
        depth = self._random.uniform(0.55, 0.8) if self._random.random() < _PARTIAL else 1.0
        self._blink = Blink(start, depth, self._slowness())
        self._patience = self._pause()
        if self._random.random() < _DOUBLET:
            again = start + self._blink.seconds + self._random.uniform(0.03, 0.15)
            self._following = Blink(again, slowness=self._slowness())

    def _mean_wait(self, state: str) -> float:
        """Seconds that the lids rest on average, beyond the shortest pause."""
        every = 60.0 / _RATES[state] * (1 + _DOUBLET)
        return every - _SHORTEST - Blink(0.0).seconds

    def _pause(self) -> float:
        return float(self._random.lognormal(-(_SPREAD**2) / 2, _SPREAD))

    def _slowness(self) -> float:
        return float(self._random.uniform(0.88, 1.2))
