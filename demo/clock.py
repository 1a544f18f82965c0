"""The one clock of the program: how many samples have left the loudspeaker.

The audio callback writes it, the renderer reads it, and nobody signals anybody. Two counts run side by side: the
*session* counts every sample since the stream was opened, silence too; the *turn* counts only samples of the answer
now being spoken. Positions between callbacks come from monotonic time, which never decides what is due: it only says
how far into the block last handed over the loudspeaker must be.
"""

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_SETTLE = 0.05  # share of a callback's timing error that the clock takes on: jitter of a sound server is averaged out
_JUMP_SECONDS = 0.04  # a larger error, that many times in a row, is no jitter: the device has jumped, follow it
_JUMP_CALLBACKS = 4
_KEPT_SECONDS = 3.0  # blocks stay known until the loudspeaker has surely played them


@dataclass(frozen=True)
class PlaybackTime:
    """Where the loudspeaker is in a turn."""

    turn: int
    seconds: float | None  # of this turn heard so far; negative shortly before its first sample; None: nothing to hear
    handed: float = 0.0  # seconds of this turn handed to the device; the position stands still when it gets there

    @property
    def running(self) -> bool:
        """Whether more of the turn is being heard right now."""
        return self.seconds is not None and self.seconds < self.handed


@dataclass(frozen=True)
class _Block:
    session: int  # samples handed over before this block
    count: int
    turn: int | None  # None: silence
    first: int  # samples of its turn before this block


class PlaybackClock:
    """Samples heard, interpolated between audio callbacks.

    ``rate`` is the device's in Hz. ``offset_seconds`` is the calibration: the face is shown that much later. Positions
    never run backwards within a turn, nor past what was handed over.
    """

    def __init__(self, rate: int, monotonic: Callable[[], float], offset_seconds: float = 0.0) -> None:
        self.rate = rate
        self._monotonic = monotonic
        self._offset = offset_seconds
        self._lock = threading.Lock()
        self._blocks: deque[_Block] = deque()
        self._handed = 0  # session samples handed to the device
        self._anchor: tuple[int, float] | None = None  # this session sample is heard at this monotonic time
        self._callbacks = 0
        self._astray = 0  # callbacks in a row whose timing is far from what was foretold
        self._turn = -1
        self._turn_handed = 0  # samples of the turn handed to the device
        self._furthest: float | None = None  # last position given out for the turn
        self._heard = -math.inf  # last session position given out, in samples

    def begin(self, turn: int) -> None:
        """From now on positions are those of ``turn``; blocks of older ones no longer count."""
        with self._lock:
            self._turn, self._furthest, self._turn_handed = turn, None, 0

    def advance(self, turn: int | None, first_sample: int, count: int, dac_time: float) -> None:
        """The next ``count`` samples were handed over; the first is heard at monotonic ``dac_time``.

        They are samples ``first_sample`` … of ``turn``, or silence where ``turn`` is None. The audio callback calls it.
        """
        if count <= 0:
            return
        with self._lock:
            self._anchor = (self._handed, self._settled(dac_time))
            self._blocks.append(_Block(self._handed, count, turn, first_sample))
            self._handed += count
            if turn == self._turn:
                self._turn_handed = first_sample + count
            oldest = self._handed - int(_KEPT_SECONDS * self.rate)
            while self._blocks[0].session + self._blocks[0].count < oldest:
                self._blocks.popleft()

    def now(self) -> PlaybackTime:
        """The position in the current turn."""
        with self._lock:
            seconds = self._turn_seconds(self._session_samples() - self._offset * self.rate)
            if seconds is not None and self._furthest is not None:
                seconds = max(seconds, self._furthest)
            self._furthest = self._furthest if seconds is None else seconds
            return PlaybackTime(self._turn, self._furthest, self._turn_handed / self.rate)

    def session(self) -> float:
        """Seconds of sound heard since the stream was opened, silence included."""
        with self._lock:
            return max(self._session_samples(), 0.0) / self.rate

    def _settled(self, dac_time: float) -> float:
        """``dac_time`` with its jitter averaged out: a callback only nudges what the ones before it foretold."""
        if self._anchor is None:
            return dac_time
        sample, time = self._anchor
        foretold = time + (self._handed - sample) / self.rate
        error = dac_time - foretold
        self._callbacks += 1
        self._astray = self._astray + 1 if abs(error) > _JUMP_SECONDS else 0
        if self._astray >= _JUMP_CALLBACKS:
            self._astray = self._callbacks = 0
            return dac_time
        if self._astray:
            return foretold
        return foretold + max(_SETTLE, 1 / (self._callbacks + 1)) * error

    def _session_samples(self) -> float:
        if self._anchor is None:
            return -math.inf
        sample, time = self._anchor
        heard = sample + (self._monotonic() - time) * self.rate
        self._heard = max(self._heard, min(heard, float(self._handed)))
        return self._heard

    def _turn_seconds(self, session: float) -> float | None:
        """Position in the turn when session sample ``session`` is heard, None while none of it was handed over."""
        position = None
        for block in self._blocks:
            if block.turn != self._turn:
                continue
            if position is not None and block.session > session:
                break  # not yet heard, and something before it was
            position = (block.first + min(session - block.session, block.count)) / self.rate
        return position
