"""Face frames between the socket and the renderer: ordered, of one turn, bounded.

Being full is the program's only back-pressure: ``put`` waits, so the socket waits, so the server waits.
"""

import math
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from demo.clock import PlaybackTime

NOBODY = -1  # a turn that nobody has
_HOLD_SECONDS = 0.1  # a starved face keeps its pose this long before it counts as having nothing to show


@dataclass(frozen=True)
class FrameCounts:
    """What became of a turn's frames."""

    received: int = 0
    drawn: int = 0  # looked at by the renderer at least once
    skipped: int = 0  # passed between two drawn pictures: the display is slower than the model
    late: int = 0  # came after they were due


class FrameQueue:
    """Frames of the current turn, of which the renderer takes the one that is due."""

    def __init__(self, capacity_frames: int = 240) -> None:
        self._capacity = capacity_frames
        self._frames: deque[tuple[int, np.ndarray]] = deque()
        self._changed = threading.Condition()
        self._turn = NOBODY
        self._total: int | None = None  # frames of the turn, once known
        self._position = -math.inf  # furthest position asked for, in frames
        self._counts = FrameCounts()
        self._seen = -1  # last frame index that was looked at
        self._closed = False

    def begin(self, turn: int) -> None:
        """Empty the queue for ``turn``; whoever waits to put a frame of an older one is sent away."""
        with self._changed:
            self._turn, self._total, self._position, self._seen = turn, None, -math.inf, -1
            self._counts = FrameCounts()
            self._frames.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Send everybody away who waits, for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def put(self, turn: int, index: int, offsets: np.ndarray, timeout: float | None = None) -> bool:
        """Add frame ``index``: ``offsets`` [V, 3] in metres. Waits while the queue is full.

        False where the frame is of another turn (also when the turn changes meanwhile), comes after it was due, is out
        of order, or where ``timeout`` seconds passed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._may_go_on(turn), timeout)
            if self._closed or turn != self._turn or len(self._frames) >= self._capacity:
                return False
            self._count(received=1)
            if index + 1 <= self._position:
                self._count(late=1)
                return False
            if self._frames and index <= self._frames[-1][0]:
                return False
            self._frames.append((index, offsets))
            return True

    def wait_for_room(self, timeout: float) -> None:
        """Wait, ``timeout`` seconds at most, while the queue is full."""
        with self._changed:
            self._changed.wait_for(lambda: self._may_go_on(self._turn), timeout)

    def pass_over(self, turn: int, heard: PlaybackTime, fps: float) -> None:
        """Drop what was due before the sound that is ``heard`` now, whether or not somebody draws."""
        with self._changed:
            if turn == self._turn == heard.turn and heard.seconds is not None:
                self._position = max(heard.seconds * fps, self._position)
                self._drop_passed(math.floor(self._position))

    def end(self, turn: int, frames: int) -> None:
        """The turn has ``frames`` frames and no more."""
        with self._changed:
            if turn == self._turn:
                self._total = frames

    def at(self, turn: int, seconds: float, fps: float) -> np.ndarray | None:
        """Offsets [V, 3] float32 due ``seconds`` into the turn, interpolated between two frames.

        None where there is nothing to show: another turn, before the first frame, after the last, or starved for longer
        than a moment. Frames that are passed are dropped and counted.
        """
        with self._changed:
            if turn != self._turn:
                return None
            position = max(seconds * fps, self._position)
            self._position = position
            self._drop_passed(math.floor(position))
            return self._interpolated(position, _HOLD_SECONDS * fps)

    def counts(self) -> FrameCounts:
        """What became of the current turn's frames so far."""
        with self._changed:
            return self._counts

    def full(self) -> bool:
        """Whether ``put`` would wait now."""
        with self._changed:
            return not self._may_go_on(self._turn)

    def waiting(self) -> int:
        """Frames in the queue."""
        with self._changed:
            return len(self._frames)

    def _may_go_on(self, turn: int) -> bool:
        return self._closed or turn != self._turn or len(self._frames) < self._capacity

    def _drop_passed(self, floor: int) -> None:
        """Keep the frame at or just before the position, so that there is something to interpolate from or to hold."""
        while len(self._frames) > 1 and self._frames[1][0] <= floor:
            index, _ = self._frames.popleft()
            if index > self._seen:
                self._count(skipped=1)
            self._changed.notify_all()

    def _interpolated(self, position: float, hold: float) -> np.ndarray | None:
        if not self._frames or position < self._frames[0][0] - hold:
            return None
        index, offsets = self._frames[0]
        if len(self._frames) == 1 and position > index + 1 + hold:
            self._empty_when_over(position)
            return None
        self._look_at(index)
        current = offsets.astype(np.float32)
        fraction = position - index
        if len(self._frames) == 1 or fraction <= 0:
            return current
        following, target = self._frames[1]
        weight = np.float32(min(fraction / (following - index), 1.0))
        if weight >= 0.5:
            self._look_at(following)
        return current + weight * (target - current)

    def _empty_when_over(self, position: float) -> None:
        if self._total is not None and position >= self._total:
            self._frames.clear()
            self._changed.notify_all()

    def _look_at(self, index: int) -> None:
        if index > self._seen:
            self._seen = index
            self._count(drawn=1)

    def _count(self, received: int = 0, drawn: int = 0, skipped: int = 0, late: int = 0) -> None:
        old = self._counts
        self._counts = FrameCounts(old.received + received, old.drawn + drawn, old.skipped + skipped, old.late + late)
