"""The face of one conversation: sound at the voice's rate in, frames of the face out."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from streamingtalker.audio import RATE, Resampler


class Streamer(Protocol):
    """What the animator needs of the face model; ``streamingtalker.streamer.FaceStreamer`` is the one."""

    @property
    def fps(self) -> float:
        """Frames a second."""
        ...

    @property
    def vertex_count(self) -> int:
        """V."""
        ...

    def feed(self, pcm: np.ndarray) -> np.ndarray:
        """Take float32 [n] at 16 kHz, give the frames that are final: float32 [k, V, 3], metres from the template."""
        ...

    def finish(self) -> np.ndarray:
        """Give the remaining frames."""
        ...

    def reset(self, seed: int | None = None) -> None:
        """Forget everything."""
        ...


@dataclass(frozen=True)
class Frame:
    """Frame ``index`` of a turn."""

    index: int
    offsets: bytes  # float16 little-endian [V, 3], metres


class Animator:
    """Turns the sound of a turn into frames. Blocks while it computes; used by one thread at a time."""

    def __init__(self, streamer: Streamer, sample_rate: int) -> None:
        self._streamer = streamer
        self._resampler = Resampler(sample_rate, RATE)
        self._next = 0

    def begin(self) -> None:
        """Start a turn: the face is at rest and nothing has been heard."""
        self._streamer.reset()
        self._resampler.reset()
        self._next = 0

    def feed(self, pcm: np.ndarray) -> list[Frame]:
        """Take float32 [n] of the turn's sound, give the frames that have become final."""
        return self._numbered(self._streamer.feed(self._resampler.feed(pcm)))

    def finish(self) -> list[Frame]:
        """Give the rest of the turn's frames."""
        last = self._streamer.feed(self._resampler.finish())
        return self._numbered(np.concatenate([last, self._streamer.finish()]))

    def _numbered(self, offsets: np.ndarray) -> list[Frame]:
        frames = [Frame(self._next + number, frame.astype("<f2").tobytes()) for number, frame in enumerate(offsets)]
        self._next += len(frames)
        return frames
