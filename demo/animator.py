"""The face of one conversation: sound at the voice's rate in, frames of the face out."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from streamingtalker.audio import RATE, Resampler
from streamingtalker.mood import Mood


class Streamer(Protocol):
    """What the animator needs of the face model: a ``FaceStreamer`` of its own, or a ``FarmStream`` among others."""

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
        """Forget everything but the mood."""
        ...

    def set_mood(self, mood: Mood) -> None:
        """Turn to ``mood``, within half a second from the next frame on."""
        ...

    def close(self) -> None:
        """Give back what is held; from any thread. Whoever is waiting for frames gets an error."""
        ...


@dataclass
class Activity:
    """What the streamers of all conversations do: how often one was asked for frames, and how often it gave them."""

    asked: int = 0
    done: int = 0

    @property
    def busy(self) -> bool:
        """Whether somebody waits for frames."""
        return self.asked != self.done

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """Frames are made inside."""
        self.asked += 1
        try:
            yield
        finally:
            self.done += 1


class WatchedStreamer:
    """A streamer whose work is counted."""

    def __init__(self, streamer: Streamer, activity: Activity) -> None:
        self._streamer, self._activity = streamer, activity
        self.fps, self.vertex_count = streamer.fps, streamer.vertex_count
        self.reset, self.set_mood, self.close = streamer.reset, streamer.set_mood, streamer.close

    def feed(self, pcm: np.ndarray) -> np.ndarray:
        """See Streamer."""
        with self._activity.work():
            return self._streamer.feed(pcm)

    def finish(self) -> np.ndarray:
        """See Streamer."""
        with self._activity.work():
            return self._streamer.finish()


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
        self._mood = Mood()
        self._heard = False

    def begin(self, mood: Mood = Mood()) -> None:
        """Start a turn: the face is at rest, in ``mood``, and nothing has been heard."""
        self._turn_to(mood)
        self._streamer.reset()
        self._resampler.reset()
        self._next = 0
        self._heard = False

    def feed(self, mood: Mood, pcm: np.ndarray) -> list[Frame]:
        """Take float32 [n] of the turn's sound, said in ``mood``, give the frames that have become final.

        A turn that has not been heard yet begins in the mood; later the face blends into another one.
        """
        if mood != self._mood:
            self._turn_to(mood)
            if not self._heard:
                self._streamer.reset()
        self._heard = True
        return self._numbered(self._streamer.feed(self._resampler.feed(pcm)))

    def close(self) -> None:
        """The conversation is over; from any thread, whatever is being computed."""
        self._streamer.close()

    def _turn_to(self, mood: Mood) -> None:
        self._mood = mood
        self._streamer.set_mood(mood)

    def finish(self) -> list[Frame]:
        """Give the rest of the turn's frames."""
        last = self._streamer.feed(self._resampler.finish())
        return self._numbered(np.concatenate([last, self._streamer.finish()]))

    def _numbered(self, offsets: np.ndarray) -> list[Frame]:
        frames = [Frame(self._next + number, frame.astype("<f2").tobytes()) for number, frame in enumerate(offsets)]
        self._next += len(frames)
        return frames
