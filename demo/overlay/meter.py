"""The microphone's level as a sign can show it: steps, and what a presenter must notice before the talk."""

from dataclasses import dataclass
from enum import StrEnum

SEGMENTS = 10
_QUIETEST, _LOUDEST = -60.0, -6.0  # dBFS of a block, where the first and the last segment light up
_CLIPPING = -5.0  # dBFS of a block: speech that loud is cut off at the top
_CLIPPED_SECONDS = 1.5  # that clipping stays to be seen
_DEAD = -85.0  # dBFS: a room is never that quiet, an unplugged microphone is
DEAD_SECONDS = 3.0  # of it before it is said
_FALL = 40.0  # dB a second: bars rise at once and sink slowly


class Trouble(StrEnum):
    """What is the matter with the microphone, in the words shown."""

    NONE = ""
    MUTED = "Muted"
    DEAD = "No sound"
    LOUD = "Too loud"


@dataclass(frozen=True)
class Reading:
    """The microphone at a glance."""

    lit: int = 0  # of SEGMENTS
    trouble: Trouble = Trouble.NONE


class Meter:
    """Follows the level of a microphone."""

    def __init__(self, dead_seconds: float = DEAD_SECONDS) -> None:
        """After ``dead_seconds`` without any sound the microphone counts as dead."""
        self._dead_seconds = dead_seconds
        self._shown = _QUIETEST
        self._before: float | None = None  # when it was read last
        self._alive: float | None = None  # when something was last heard, or listening began
        self._clipped: float | None = None  # when it was last too loud

    def read(self, level: float | None, muted: bool, seconds: float) -> Reading | None:
        """What to show at monotonic ``seconds`` for a block of ``level`` dBFS; None where there is no microphone."""
        if level is None:
            return None
        if muted:
            self._alive = self._clipped = None
            self._shown = _QUIETEST
            return Reading(0, Trouble.MUTED)
        if self._alive is None or level > _DEAD:
            self._alive = seconds
        if level >= _CLIPPING:
            self._clipped = seconds
        passed = 0.0 if self._before is None else seconds - self._before
        self._before = seconds
        self._shown = max(level, self._shown - _FALL * passed, _QUIETEST)
        return Reading(self._lit(), self._trouble(seconds))

    def _lit(self) -> int:
        share = (self._shown - _QUIETEST) / (_LOUDEST - _QUIETEST)
        return max(0, min(SEGMENTS, round(share * SEGMENTS)))

    def _trouble(self, seconds: float) -> Trouble:
        if self._clipped is not None and seconds - self._clipped < _CLIPPED_SECONDS:
            return Trouble.LOUD
        dead = self._alive is not None and seconds - self._alive >= self._dead_seconds
        return Trouble.DEAD if dead else Trouble.NONE
