"""One phoneme recogniser for many streams: the most urgent window first, windows of the same length together."""

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from streamingtalker.audio.posteriors import Recogniser
from streamingtalker.sessions.scheduler import Session

WINDOWS = 8  # heard together at most, by a recogniser that can


@runtime_checkable
class ManyEared(Protocol):
    """A recogniser that hears several windows of the same length at once."""

    def together(self, windows: np.ndarray) -> np.ndarray:
        """PCM float32 [B, n] → log-probabilities [B, n // 320, classes]."""


def recognise(recogniser: Recogniser, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The scores of windows of the same length. hama hears one at a time: it would take a batch for one long sound."""
    if isinstance(recogniser, ManyEared) and len(windows) > 1:
        return list(recogniser.together(np.stack(windows)))
    return [recogniser(window) for window in windows]


@dataclass(eq=False)
class RecognitionRequest:
    """Windows of one stream that are to be heard."""

    owner: Session
    windows: list[np.ndarray]
    due: float  # when its listener needs a frame
    scores: list[np.ndarray] = field(init=False)
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.scores = [np.zeros(0)] * len(self.windows)
        self.left = len(self.windows)


Ask = tuple[RecognitionRequest, int]  # window number so and so of a request


class WindowQueue:
    """Windows that wait for a recogniser. Nothing here has a thread or reads a clock."""

    def __init__(self, together: int = WINDOWS) -> None:
        self._together = together
        self._waiting: list[tuple[float, int, Ask]] = []
        self._count = itertools.count()

    def add(self, request: RecognitionRequest) -> None:
        """Let its windows be heard."""
        for number in range(len(request.windows)):
            heapq.heappush(self._waiting, (request.due, next(self._count), (request, number)))

    def forget(self, owner: Session) -> None:
        """Nobody waits for the windows of this stream any more."""
        self._waiting = [each for each in self._waiting if each[2][0].owner is not owner]
        heapq.heapify(self._waiting)

    @property
    def next_due(self) -> float | None:
        """When the most urgent listener needs a frame."""
        return self._waiting[0][0] if self._waiting else None

    def next_batch(self) -> list[Ask]:
        """The most urgent window, and the most urgent others as long as it; empty where nobody waits."""
        if not self._waiting:
            return []
        request, number = self._waiting[0][2]
        length = len(request.windows[number])
        alike = [each for each in self._waiting if len(each[2][0].windows[each[2][1]]) == length]
        batch = heapq.nsmallest(self._together, alike)
        chosen = {each[1] for each in batch}
        self._waiting = [each for each in self._waiting if each[1] not in chosen]
        heapq.heapify(self._waiting)
        return [each[2] for each in batch]

    @staticmethod
    def deliver(batch: Sequence[Ask], scores: Sequence[np.ndarray]) -> list[RecognitionRequest]:
        """Keep the scores; the requests that are complete now."""
        complete = []
        for (request, number), each in zip(batch, scores, strict=True):
            request.scores[number] = each
            request.left -= 1
            if request.left == 0:
                complete.append(request)
        return complete
