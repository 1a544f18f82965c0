"""The turn that is going on, as the client knows it: what has come of it so far."""

import asyncio
from dataclasses import dataclass, field

import numpy as np

from demo.messages import ReplyText, TurnEnd, Welcome
from demo.openings import Opening
from streamingtalker.mood import Mood

_AUDIBLE = 0.004  # -48 dBFS: where a voice begins to be heard


@dataclass
class ActiveTurn:
    """The turn now going on."""

    number: int
    opening: Opening
    welcome: Welcome
    begun_at: float  # monotonic, when the server was asked
    over: "asyncio.Future[None]"
    secret: bool = False  # nothing of it is heard or shown
    speculative: bool = False  # it was secret at first
    captions: list[ReplyText] = field(default_factory=list)
    frames: int = 0  # received
    samples: int = 0  # received
    audible_sample: int | None = None  # the first that can be heard
    end: TurnEnd | None = None
    _first_frame_at: float | None = None  # monotonic
    _made_by: float | None = None  # monotonic, when ``_made`` frames were there: as many as may wait, or all
    _made: int = 0

    @property
    def generation_speed(self) -> float | None:
        """How many times as fast as it is shown the answer was made while there was room for it; None: not known."""
        if self._first_frame_at is None or self._made_by is None or self._made_by <= self._first_frame_at:
            return None
        return (self._made - 1) / self.welcome.fps / (self._made_by - self._first_frame_at)

    def note_frame(self, now: float, full: bool) -> None:
        """Count a frame that comes at ``now``; ``full``: it has to wait for room."""
        if self._first_frame_at is None:
            self._first_frame_at = now
        if full and self._made_by is None:
            self._made, self._made_by = self.frames, now
        self.frames += 1

    def note_end(self, now: float, end: TurnEnd) -> None:
        """All has come."""
        self.end = end
        if self._made_by is None:
            self._made, self._made_by = self.frames, now

    def note_pcm(self, pcm: np.ndarray) -> None:
        """Count a piece of the answer's audio and find where it becomes audible."""
        if self.audible_sample is None:
            loud = np.flatnonzero(np.abs(pcm) > _AUDIBLE)
            self.audible_sample = self.samples + int(loud[0]) if len(loud) else None
        self.samples += len(pcm)

    def mood_at(self, seconds: float | None) -> Mood | None:
        """The mood of the sentence being spoken ``seconds`` into the turn, or about to be; None where none is there."""
        sample = (seconds or 0.0) * self.welcome.sample_rate
        begun = [caption.mood for caption in self.captions if caption.start_sample <= sample]
        return Mood.parse(begun[-1]) if begun else None
