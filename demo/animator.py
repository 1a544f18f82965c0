"""The face of one conversation: sound at the voice's rate in, frames of the face out."""

import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from streamingtalker.audio import RATE, Resampler
from streamingtalker.mood import Mood

log = logging.getLogger(__name__)
T = TypeVar("T")

_EASE = 0.75  # of the last pose is left in the next frame of a face that goes to rest


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
        """Take float32 [n] at 16 kHz, give the frames that are final: float32 [k, V, 3], metres from the template.

        The first ones may come alone; the others that are final then come with the next piece, were it empty.
        """
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
    """Turns the sound of a turn into frames. Blocks while it computes; used by one thread at a time.

    There is a frame for every moment of the sound, whatever the face model does: where it fails, or is passed over, the
    last good pose is eased to rest.
    """

    def __init__(self, streamer: Streamer, sample_rate: int) -> None:
        self._streamer = streamer
        self._rate = sample_rate
        self._resampler = Resampler(sample_rate, RATE)
        self._next = 0
        self._mood = Mood()
        self._heard = False
        self._samples = 0  # of the turn
        self._failed = False  # in this turn
        self._closed = False
        self._rests = False  # the last piece was passed over
        self._pose: np.ndarray | None = None  # the last one that was shown, when it was good
        self._troubles: list[str] = []

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self._streamer.fps

    def begin(self, mood: Mood = Mood()) -> None:
        """Start a turn: the face is at rest, in ``mood``, and nothing has been heard."""
        self._next = self._samples = 0
        self._heard = self._failed = self._rests = False
        self._pose = None
        self._resampler.reset()
        self._try(lambda: self._start(mood))

    def feed(self, mood: Mood, pcm: np.ndarray) -> list[Frame]:
        """Take float32 [n] of the turn's sound, said in ``mood``, give the frames that have become final.

        A turn that has not been heard yet begins in the mood; later the face blends into another one.
        """
        self._samples += len(pcm)
        if self._rests:
            self._rests = False
            self._resampler.reset()
            self._try(self._streamer.reset)
        frames = self._try(lambda: self._hear(mood, pcm))
        return self._resting() if frames is None else self._numbered(frames)

    def skip(self, mood: Mood, pcm: np.ndarray) -> list[Frame]:
        """Let float32 [n] of the turn's sound pass: it is too late for it."""
        if not self._rests and not self._failed:
            self._troubles.append(
                "The face model is slower than the voice, so the face rests now and then; free the processor, or "
                "choose another with --device or --talker."
            )
        self._rests = True
        self._samples += len(pcm)
        return self._resting()

    def finish(self) -> list[Frame]:
        """Give the rest of the turn's frames."""
        frames = None if self._rests else self._try(self._end)
        return self._resting() if frames is None else self._numbered(frames)

    def troubles(self) -> list[str]:
        """What the operator is to know, each once."""
        troubles, self._troubles = self._troubles, []
        return troubles

    def close(self) -> None:
        """The conversation is over; from any thread, whatever is being computed."""
        self._closed = True
        self._streamer.close()

    def _start(self, mood: Mood) -> None:
        self._turn_to(mood)
        self._streamer.reset()

    def _hear(self, mood: Mood, pcm: np.ndarray) -> np.ndarray:
        if mood != self._mood:
            self._turn_to(mood)
            if not self._heard:
                self._streamer.reset()
        self._heard = True
        return self._streamer.feed(self._resampler.feed(pcm))

    def _end(self) -> np.ndarray:
        last = self._streamer.feed(self._resampler.finish())
        return np.concatenate([last, self._streamer.finish()])

    def _turn_to(self, mood: Mood) -> None:
        self._mood = mood
        self._streamer.set_mood(mood)

    def _try(self, work: Callable[[], T]) -> T | None:
        """The result of ``work``; None where the face model fails now, or did before in this turn."""
        if self._failed:
            return None
        try:
            result = work()
            if isinstance(result, np.ndarray) and not np.isfinite(result).all():
                raise ArithmeticError("frames that are not finite")
        except Exception as error:
            self._failed = True
            if self._closed:
                return None  # nobody waits for it any more
            log.error("the face model failed", exc_info=error)
            self._troubles.append(
                f"The face model failed ({error or type(error).__name__}), so the face rests during this answer; "
                "the log says more."
            )
            return None
        return result

    def _resting(self) -> list[Frame]:
        """The frames of the sound so far that are missing, on the way from the last good pose to rest."""
        count = max(0, math.ceil(self._samples * self.fps / self._rate) - self._next)
        shape = (self._streamer.vertex_count, 3)
        frames = []
        for _ in range(count):
            self._pose = (np.zeros(shape, np.float32) if self._pose is None else self._pose) * np.float32(_EASE)
            frames.append(self._pose)
        return self._numbered(np.stack(frames)) if frames else []

    def _numbered(self, offsets: np.ndarray) -> list[Frame]:
        frames = [Frame(self._next + number, frame.astype("<f2").tobytes()) for number, frame in enumerate(offsets)]
        self._next += len(frames)
        if len(offsets):
            self._pose = offsets[-1]
        return frames
