"""How good a picture may be: the levels, and which of them the machine can afford at the moment.

The levels are one table, from cheap to dear. The governor goes down before pictures are missed or the sound is
threatened, and up again where there is room; a level that proved too dear is tried again ever more seldom.
"""

import logging
from collections import deque
from dataclasses import dataclass

import numpy as np

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quality:
    """What a picture may cost."""

    name: str
    samples: int  # of multisampling; 0: none
    most_pixels: int  # of the scene; a larger picture is drawn smaller and magnified
    per_pixel: bool = False  # light every pixel, not only every vertex
    soften: bool = False  # blur staircases along their edges instead of multisampling


LOWEST = Quality("lowest", 0, 150_000)
LOW = Quality("low", 0, 450_000)
MEDIUM = Quality("medium", 0, 450_000, soften=True)
HIGH = Quality("high", 4, 4_000_000, per_pixel=True)
QUALITIES = (LOWEST, LOW, MEDIUM, HIGH)  # by what they cost

_FULL, _EASY = 0.85, 0.50  # of the time there is for a picture: beyond is too much, below there is room
_TYPICAL = 85  # percentile of the work that must be affordable: one long picture makes the next ones come late, too
_WINDOW = 30  # pictures that are judged together
_FEWEST = 5  # pictures, before which nothing is concluded
_MOMENT, _TRIAL = 1.0, 0.3  # seconds that may be too busy: usually, and where a level is only being tried
_THREAT = 0.5  # seconds for which the sound may seem threatened: the end of every answer does
_PATIENCE, _MOST_PATIENCE = 4.0, 120.0  # seconds of room before the next level is tried
_PROVEN = 30.0  # seconds: a level that held so long was no mistake
_SETTLED = 10.0  # seconds without a change, then the choice is told


class Governor:
    """Chooses the level, picture by picture. Time is told to it, so it has no clock of its own."""

    def __init__(self, interval: float, ceiling: Quality, start: Quality | None = None) -> None:
        """``interval``: seconds there are for a picture. ``ceiling``: the best level ever chosen; ``start``: the first.

        A ceiling that is none of the table's levels stays as it is.
        """
        self.quality = start or ceiling
        self._levels = QUALITIES[: QUALITIES.index(ceiling) + 1] if ceiling in QUALITIES else (self.quality,)
        self._interval = interval
        self._work: deque[float] = deque(maxlen=_WINDOW)  # seconds that the last pictures of this level took
        self._threatened_since: float | None = None
        self._changed: float | None = None  # when the level was taken
        self._room_since: float | None = None
        self._patience = _PATIENCE
        self._on_trial = self._told = False

    def drawn(self, now: float, took: float, sound_threatened: bool = False) -> Quality:
        """A picture was finished at ``now`` after ``took`` seconds of work; gives the level of the next one."""
        self._changed = now if self._changed is None else self._changed
        held = now - self._changed
        self._work.append(took)
        self._threatened_since = (self._threatened_since or now) if sound_threatened else None
        self._judge(held)
        if self._takes_too_long(held) or self._threatens(now):
            self._lower(now)
        elif self._has_room(now):
            self._raise(now)
        return self.quality

    def _takes_too_long(self, held: float) -> bool:
        """Whether there is no time for pictures of a level that has been ``held`` for so long."""
        enough = len(self._work) >= _FEWEST and held >= (_TRIAL if self._on_trial else _MOMENT)
        return enough and self._typical() > _FULL * self._interval

    def _threatens(self, now: float) -> bool:
        """Whether the sound has been threatened for too long."""
        return self._threatened_since is not None and now - self._threatened_since >= _THREAT

    def _has_room(self, now: float) -> bool:
        """Whether a dearer picture could have been had for long enough."""
        full = len(self._work) == _WINDOW
        if not full or self._threatened_since is not None or self._typical() > _EASY * self._interval:
            self._room_since = None
            return False
        self._room_since = now if self._room_since is None else self._room_since
        return now - self._room_since >= self._patience

    def _typical(self) -> float:
        return float(np.percentile(self._work, _TYPICAL))

    def _lower(self, now: float) -> None:
        if self._on_trial:
            self._patience = min(2 * self._patience, _MOST_PATIENCE)
        self._on_trial = False
        self._step(-1, now)

    def _raise(self, now: float) -> None:
        self._on_trial = self._step(+1, now) or self._on_trial

    def _step(self, up: int, now: float) -> bool:
        """Go to the next level, if there is one, and forget what was measured on the other."""
        self._threatened_since = self._room_since = None
        level = self._levels.index(self.quality) + up
        if not 0 <= level < len(self._levels):
            return False
        self.quality, self._changed = self._levels[level], now
        self._work.clear()
        log.debug("Pictures are drawn at %s quality.", self.quality.name)
        return True

    def _judge(self, held: float) -> None:
        """Trust what has held for long, and tell the user once what was chosen."""
        if self._on_trial and held >= _PROVEN:
            self._on_trial, self._patience = False, _PATIENCE
        if held >= _SETTLED and not self._told:
            self._told = True
            log.info("Pictures are drawn at %s quality.", self.quality.name)
