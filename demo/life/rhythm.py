"""The rhythm of speech, read off the frames that are due: stressed openings of the mouth, and where phrases end."""

from dataclasses import dataclass

import numpy as np

_RISING = 0.9  # of a usual opening, in a second: faster than that the mouth opens for a stressed vowel
_APART = 0.38  # seconds between beats: heads do not nod at every syllable
_CLOSED = 0.12  # of a usual opening
_PHRASE, _PAUSE = 0.6, 0.16  # seconds of speech that make a phrase, and of closed lips that end it
_FORGETTING = 2.5  # seconds in which the usual opening is learnt anew


@dataclass(frozen=True)
class Heard:
    """What a picture of the face tells of the rhythm."""

    beat: float = 0.0  # strength of the stress that begins now, about 1; 0: none
    phrase_ends: bool = False


class Rhythm:
    """Follows the distance between the lips, picture by picture."""

    def __init__(self) -> None:
        self._opening = 0.0
        self._usual = 0.0
        self._last_beat = -np.inf
        self._speech = 0.0  # seconds of this phrase so far
        self._closed = 0.0  # seconds that the lips have been closed

    def hear(self, seconds: float, passed: float, opening: float) -> Heard:
        """``opening`` of the mouth at ``seconds``, in any unit; ``passed`` seconds after the last one."""
        if passed <= 0:
            return Heard()
        speed, self._opening = (opening - self._opening) / passed, opening
        decay = np.exp(-passed / _FORGETTING)
        self._usual = max(opening, self._usual * decay)
        if self._usual <= 0:
            return Heard()
        return Heard(self._beat(seconds, speed), self._phrase_ends(passed))

    def _beat(self, seconds: float, speed: float) -> float:
        strength = self._opening / self._usual
        if speed < _RISING * self._usual or strength < 0.35 or seconds - self._last_beat < _APART:
            return 0.0
        self._last_beat = seconds
        return min(strength + 0.08 * speed / self._usual, 1.5)

    def _phrase_ends(self, passed: float) -> bool:
        if self._opening > _CLOSED * self._usual:
            self._speech, self._closed = self._speech + passed, 0.0
            return False
        self._closed += passed
        if self._closed < _PAUSE or self._speech < _PHRASE:
            return False
        self._speech = 0.0
        return True
