"""One drawn picture after another: what the clock says is due, on the face, on the screen and on film.

Pictures are made for the moment they will be seen. The moments lie on a grid of the turn's own time, so that every
frame of the model meets its own moment; the stage begins to draw early enough, waits until the moment has come, and
shows the picture. One that would be seen too late is not shown at all.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from demo.clock import PlaybackClock, PlaybackTime
from demo.frame_queue import FrameQueue
from demo.life import Life
from demo.overlay import Captions, Overlay
from demo.quality import Governor
from demo.recorder import Recorder
from demo.renderer import ContextLostError, Renderer
from demo.supervision import Restarts

log = logging.getLogger(__name__)

_RISE_SECONDS = 0.08  # from rest into speech
_REST_SECONDS = 0.07  # from speech to rest: there within 0.1 s of a voice that stops, also where a picture is late
_TOO_LATE = 0.025  # seconds it would be seen late: the next one is due; 40 ms are noticed, showing may take 15 longer
_LITTLE_FACE = 0.25  # seconds of face ahead of the sound: who makes it needs the processor more than pictures do
_AWAITED = ("hearing", "thinking")  # states in which somebody waits for the processor, to be understood or answered
_FROZEN = 0.25  # seconds: after that one is shown whatever its time, a face that stands still is worse


@dataclass(frozen=True)
class SyncSummary:
    """How far pictures were from their moment, in ms: due time minus audio clock when shown; negative is late."""

    count: int
    p5: float
    p50: float
    p95: float
    max_abs: float
    least: float = 0.0
    most: float = 0.0

    def as_trace(self) -> dict[str, float]:
        """The fields of ``av_offset_ms``; empty where no picture was shown."""
        values = {"p5": self.p5, "p50": self.p50, "p95": self.p95, "max_abs": self.max_abs}
        values |= {"min": self.least, "max": self.most}
        return values if self.count else {}


class SyncMeter:
    """Collects the offset of every picture shown while the avatar speaks."""

    def __init__(self) -> None:
        self._offsets: list[float] = []

    def add(self, due: float, presented: float) -> None:
        """A picture due at ``due`` was shown at ``presented``, both in seconds of the turn's audio."""
        self._offsets.append(due - presented)

    def reset(self) -> None:
        """Begin a new turn."""
        self._offsets = []

    def summary(self) -> SyncSummary:
        """Of all pictures since the last reset."""
        if not self._offsets:
            return SyncSummary(0, 0.0, 0.0, 0.0, 0.0)
        ms = np.array(self._offsets) * 1000
        p5, p50, p95 = (float(value) for value in np.percentile(ms, (5, 50, 95)))
        return SyncSummary(len(ms), p5, p50, p95, float(np.abs(ms).max()), float(ms.min()), float(ms.max()))


@dataclass(frozen=True)
class Shown:
    """One step of the stage."""

    turn: int
    due: float | None  # seconds of the turn's audio the picture was made for; None: nobody speaks
    presented: float | None  # where the audio clock was when it was shown; None: nobody speaks
    dropped: bool  # it came too late and was not shown


class Stage:
    """Joins clock, frames, life, overlay, renderer and recorder. Belongs to the renderer's thread."""

    def __init__(
        self,
        renderer: Renderer,
        life: Life,
        clock: PlaybackClock,
        frames: FrameQueue,
        fps: float = 30.0,
        *,
        pictures_per_frame: int = 1,
        recorder: Recorder | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``fps`` is the model's; ``pictures_per_frame`` of 2 interpolates for a display of 60 Hz."""
        self.captions = Captions()  # replaced by whoever has something to say
        self.meter = SyncMeter()  # of the current turn
        self.pictures = 0
        self.dropped = 0
        self.presented_at = monotonic()  # when the last picture was shown
        self._renderer, self._life, self._clock, self._frames = renderer, life, clock, frames
        self._fps = fps
        self._step = 1 / (fps * pictures_per_frame)
        self._recorder = recorder
        self._monotonic = monotonic
        self._sleep = sleep
        self._governor = Governor(self._step, renderer.quality)
        self._overlay = Overlay()
        self._template = life.template
        self._drawing: deque[float] = deque([0.02], maxlen=12)  # seconds the last pictures took to draw
        self._showing: deque[float] = deque([0.002], maxlen=12)  # and to show
        self._speech: np.ndarray | None = None  # last offsets that were due
        self._speaking = 0.0
        self._turn = -1
        self._last_due = -np.inf
        self._restarts = Restarts()

    def step(self) -> Shown:
        """Draw and show one picture, at its moment. Call it again and again.

        Where OpenGL is lost the picture is left out, and the next one is drawn with what was made anew. Raises
        DisplayError where that cannot be, or does not last.
        """
        try:
            return self._step_on()
        except ContextLostError as error:
            self._restore(error)
            return Shown(self._turn, None, None, True)

    def _restore(self, error: ContextLostError) -> None:
        began = self._monotonic()
        self._restarts.delay(began)
        if self._restarts.exhausted:
            raise error
        self._renderer.restore()
        self.dropped += 1
        log.warning("The picture was lost (%s), and made anew in %.1f s.", error.why, self._monotonic() - began)

    def _step_on(self) -> Shown:
        self._stand_back()
        began = self._monotonic()
        time_now = self._clock.now()
        if time_now.turn != self._turn:
            self._turn, self._last_due = time_now.turn, -np.inf
            self.meter.reset()
        lead = self._lead()
        due, moment = self._next_moment(time_now, began, lead)
        self._wait_until(moment - lead)
        started = self._monotonic()
        self._draw(due, moment)
        self._drawing.append(self._monotonic() - started)
        shown = self._show(due, moment)
        self._govern(due, self._drawing[-1] + self._film(shown))
        return shown

    def _stand_back(self) -> None:
        """Where the processor draws a face at rest, leave every other picture's time to whoever makes the answer."""
        awaited = self._renderer.software and self._life.bearing.state in _AWAITED
        if awaited and self._speaking == 0 and self._clock.now().seconds is None:
            self._wait_until(self.presented_at + self._step)

    def _next_moment(self, time_now: PlaybackTime, now: float, lead: float) -> tuple[float | None, float]:
        """The next point of the grid that can be met: in seconds of the turn, and in monotonic seconds."""
        at_rest = max(self.presented_at + self._step, now + lead)
        if time_now.seconds is None:
            return None, at_rest
        due = float(np.ceil(round((time_now.seconds + lead) / self._step, 6)) * self._step)
        due = max(due, self._last_due + self._step)
        if not time_now.running and due - time_now.seconds > lead + 2 * self._step:
            return None, at_rest  # the sound stands still: it has ended, or waits for a voice that is late
        self._last_due = due
        return due, now + due - time_now.seconds

    def _lead(self) -> float:
        """Seconds to begin before the moment: what drawing took lately, on the careful side, and showing."""
        return float(np.percentile(self._drawing, 85)) + float(np.median(self._showing))

    def _draw(self, due: float | None, moment: float) -> None:
        offsets = None if due is None else self._frames.at(self._turn, due, self._fps)
        self._ease(offsets, max(moment - self.presented_at, 0.0))
        speech = None if self._speech is None else self._speech * np.float32(self._speaking)
        posed = self._template + self._life.offsets(moment, self._speaking, speech)
        width, height = self._renderer.canvas.size
        self._renderer.draw(posed, self._overlay.patches(self.captions, width, height))

    def _ease(self, offsets: np.ndarray | None, passed: float) -> None:
        """Follow speech where there is some, go to rest from the last pose where there is none."""
        if offsets is not None:
            self._speech = offsets
            self._speaking = min(1.0, self._speaking + passed / _RISE_SECONDS)
        else:
            self._speaking = max(0.0, self._speaking - passed / _REST_SECONDS)

    def _show(self, due: float | None, moment: float) -> Shown:
        if due is not None and self._is_too_late(moment):
            return Shown(self._turn, due, None, True)
        self._wait_until(moment - float(np.median(self._showing)))
        started = self._monotonic()
        self._renderer.present()
        self.presented_at = self._monotonic()
        self._showing.append(self.presented_at - started)
        self.pictures += 1
        presented = self._clock.now()
        if due is not None and presented.seconds is not None and presented.running and presented.turn == self._turn:
            self.meter.add(due, presented.seconds)
        return Shown(self._turn, due, presented.seconds, False)

    def _film(self, shown: Shown) -> float:
        """Hand what was shown to the recorder; gives the seconds that took."""
        if self._recorder is None or shown.dropped:
            return 0.0
        at = self._clock.session()
        started = self._monotonic()
        self._recorder.video(self._renderer.read_pixels(), at)
        return self._monotonic() - started

    def _govern(self, due: float | None, work: float) -> None:
        """Have the next picture drawn as well as there is time for."""
        short = due is not None and self._frames.waiting() < _LITTLE_FACE * self._fps
        self._renderer.quality = self._governor.drawn(self._monotonic(), work, short)

    def _is_too_late(self, moment: float) -> bool:
        now = self._monotonic()
        late = now + float(np.median(self._showing)) - moment > _TOO_LATE and now - self.presented_at < _FROZEN
        self.dropped += late
        return late

    def _wait_until(self, moment: float) -> None:
        if (remaining := moment - self._monotonic()) > 0:
            self._sleep(remaining)
