"""One picture after another with all that is said over it, and what the keys do meanwhile."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from demo.canvas import Canvas, WindowCanvas
from demo.clock import PlaybackTime
from demo.controls import Controls, Talker, help_rows
from demo.figures import Figures
from demo.life import Life
from demo.overlay import Captions, Meter
from demo.playback import Playback
from demo.stage import Stage
from demo.status import Status
from demo.trace import SessionTrace


class Session(Talker, Protocol):
    """The conversation that is shown."""

    @property
    def status(self) -> Status:
        """What it is doing."""

    @property
    def trace(self) -> SessionTrace:
        """What was measured so far."""


class Screen:
    """Joins the conversation's status, stage and keys. Belongs to the renderer's thread."""

    def __init__(
        self,
        stage: Stage,
        life: Life,
        canvas: Canvas,
        session: Session,
        playback: Playback,
        meter: Meter | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``meter`` None: nobody hears a microphone."""
        self._stage, self._life, self._session, self._playback = stage, life, session, playback
        self._window = canvas if isinstance(canvas, WindowCanvas) else None
        self._controls = Controls(self._window, session, monotonic) if self._window else None
        self._figures = Figures(
            session.trace, lambda: (stage.pictures, stage.dropped), stage.meter.summary, playback.counts, monotonic
        )
        self._meter = meter
        self._monotonic = monotonic

    def step(self) -> bool:
        """Show one picture and obey the keys; whether the user wants to end."""
        status, now = self._session.status, self._playback.clock.now()
        self._life.bearing = status.bearing(now)
        self._stage.captions = self._captions(status, now)
        self._stage.step()
        if self._window is None or self._controls is None:
            return False
        return self._controls.obey(self._window.poll()) or self._window.closed

    def _captions(self, status: Status, now: PlaybackTime) -> Captions:
        captions = status.captions(now)
        if self._meter is not None:
            level = status.level if status.listening or status.turn or status.muted else None  # else it is not open yet
            reading = self._meter.read(level, status.muted and not status.pushed, self._monotonic())
            captions = replace(captions, microphone=reading)
        if self._controls is None:
            return captions
        if not self._controls.captions:
            captions = replace(captions, user="", reply="")
        figures = self._figures.rows() if self._controls.figures else ()
        return replace(captions, figures=figures, keys=help_rows() if self._controls.help else ())
