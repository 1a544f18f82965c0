"""Who is computed next: the stream whose listener will starve first, and with it as many others as fit.

Continuous batching: nobody waits for company. What comes in while a round is computed joins the next one, so rounds
grow with the load by themselves. Nothing here has a thread or reads a clock: ``farm`` runs it in time,
``benchmark.sessions`` in virtual time.
"""

import heapq
import itertools
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from streamingtalker.audio.posteriors import Recogniser
from streamingtalker.mood import MoodBlend
from streamingtalker.sessions.ears import Ear

TOGETHER = 64  # streams in a round at most: a round must not last longer than listeners can wait
FRAMES = 3  # of each stream in a round at most: what comes meanwhile shall not wait long


class Rows(Protocol):
    """The network for many streams: ``rows.TalkerRows``, ``released_rows.ReleasedRows``."""

    count: int
    fps: int
    moods: tuple[str, ...]
    vertices: int
    warm_up: int  # inputs before that of frame 0

    def open_recogniser(self) -> Recogniser | None:
        """One of those that hear for the streams; every thread needs its own. None where the network has none."""

    def ear(self, recognises: bool) -> Ear:
        """What makes the sound of one stream into inputs."""

    def identity(self, index: int) -> Tensor:
        """The style of a speaker. Raises IdentityError."""

    def reset(self, row: int, seed: int, identity: int = 0) -> None:
        """A stream begins."""

    def hear(self, rows: np.ndarray, inputs: Tensor) -> Tensor:
        """The next inputs [n, k, …] of each row → audio frames [n, k, A]."""

    def draw(self, rows: np.ndarray, audio: Tensor, moods: Tensor) -> list[np.ndarray]:
        """Audio frames and moods [n, k, M] of each row's next frames → the offsets [m, V, 3] that are ready then."""

    def rest(self, row: int) -> np.ndarray:
        """The sound is over: the offsets [m, V, 3] of the frames that awaited more."""


@dataclass(eq=False)
class Session:
    """One stream, as the scheduler sees it."""

    moods: MoodBlend
    identity: int
    seed: int
    arrived: float | None = None  # when the first sound of the clip came, seconds
    started: float | None = None  # when its first frame was given: then the listener's clock runs
    given: int = 0  # frames of the clip
    cold: int = 0  # inputs still to come before that of frame 0
    fresh: bool = True  # the clip has not reached the network yet
    last: bool = False  # after these inputs the sound is over
    row: int | None = None
    inputs: Tensor = field(default_factory=lambda: torch.zeros(0))  # [p, …] to be computed
    curve: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # [f, M] of the frames they give
    made: list[np.ndarray] = field(default_factory=list)  # offsets not yet taken

    def due(self, fps: float) -> float:
        """When the listener needs the next frame. Before the first one, as soon as there is sound."""
        assert self.arrived is not None, "nobody is urgent who has heard nothing"
        return self.arrived if self.started is None else self.started + self.given / fps

    def taken(self) -> list[np.ndarray]:
        """The offsets [k, V, 3] made since they were last taken, in pieces."""
        made, self.made = self.made, []
        return made


@dataclass(frozen=True)
class Round:
    """What is computed together: as many inputs of each session. Those that are cold only listen."""

    sessions: list[Session]
    rows: np.ndarray  # int64 [n], ascending
    inputs: Tensor  # [n, steps, …]
    moods: Tensor  # [s, steps, M] of those that are sounding
    beginning: np.ndarray  # bool [n] with these inputs the clip begins
    sounding: np.ndarray  # bool [n]
    ending: np.ndarray  # bool [n] with these inputs the clip ends


class Scheduler:
    """Streams come, bring inputs, take frames and go; ``next_round`` says what to compute, ``deliver`` what came of it.

    Not for several threads at once, but for ``compute``, which may run beside everything else.
    """

    def __init__(self, rows: Rows, together: int = TOGETHER, frames: int = FRAMES) -> None:
        self.rows = rows
        self._together, self._frames = together, frames
        self._free = list(range(rows.count))
        self._ready: set[Session] = set()
        self._computing: set[Session] = set()
        self._gone: set[Session] = set()

    def begin(self, session: Session) -> None:
        """A clip begins: nothing is heard yet."""
        session.arrived, session.started, session.given, session.fresh = None, None, 0, True
        session.cold = self.rows.warm_up
        session.made.clear()
        session.moods.reset(session.moods.mood)

    def due(self, session: Session, now: float) -> float:
        """When the listener of a session that hears something now needs the next frame."""
        if session.arrived is None:
            session.arrived = now
        return session.due(self.rows.fps)

    def bring(self, session: Session, inputs: Tensor, now: float, last: bool = False) -> None:
        """Inputs [k, …] of a session, to be computed; ``last``: its sound is over.

        The moods of the frames they give are those of this moment.
        """
        if len(inputs) == 0 and (session.fresh or not last):
            return
        assert session not in self._ready, "a session brings its next inputs when it has taken its frames"
        self.due(session, now)
        session.inputs, session.last = inputs, last
        session.curve = session.moods.next(max(len(inputs) - session.cold, 0))
        self._ready.add(session)

    def leave(self, session: Session) -> None:
        """A session goes; its row is free at once, or after the round that it is in."""
        self._ready.discard(session)
        session.inputs = session.inputs[:0]
        if session in self._computing:
            self._gone.add(session)
        else:
            self._release(session)

    def waits(self, session: Session) -> bool:
        """Whether some of the session's inputs are still to be computed."""
        return session in self._ready

    @property
    def next_due(self) -> float | None:
        """When the most urgent listener needs a frame."""
        return min((session.due(self.rows.fps) for session in self._ready), default=None)

    def next_round(self) -> Round | None:
        """The most urgent sessions, with as many steps as all of them have. None where nobody waits."""
        urgent = heapq.nsmallest(self._together, self._ready, key=lambda session: session.due(self.rows.fps))
        chosen = [session for session in urgent if self._seated(session)]
        if not chosen:
            return None
        if len(chosen[0].inputs):
            chosen = [session for session in chosen if len(session.inputs)]
        chosen.sort(key=lambda session: session.row or 0)
        frames = self._frames if self.rows.count - len(self._free) > 1 else len(chosen[0].inputs)  # nobody is kept
        steps = min(frames, *(min(len(each.inputs), each.cold or frames) for each in chosen))
        self._computing.update(chosen)
        sounding = [session.cold == 0 for session in chosen]
        curves = [session.curve[:steps] for session in itertools.compress(chosen, sounding)]
        return Round(
            sessions=chosen,
            rows=np.array([session.row for session in chosen], np.int64),
            inputs=torch.stack([session.inputs[:steps] for session in chosen]),
            moods=torch.from_numpy(np.stack(curves)) if curves else torch.zeros(0),
            beginning=np.array([session.fresh for session in chosen]),
            sounding=np.array(sounding),
            ending=np.array([session.last and len(session.inputs) == steps for session in chosen]),
        )

    @torch.inference_mode()
    def compute(self, round: Round) -> list[np.ndarray]:
        """The offsets float32 [m, V, 3] that become ready for each session of a round."""
        for row, session in itertools.compress(zip(round.rows, round.sessions, strict=True), round.beginning):
            self.rows.reset(int(row), session.seed, session.identity)
        made = [np.zeros((0, self.rows.vertices, 3), np.float32)] * len(round.sessions)
        if round.inputs.shape[1]:
            audio = self.rows.hear(round.rows, round.inputs)
            for place, frames in zip(np.flatnonzero(round.sounding), self._drawn(round, audio), strict=True):
                made[place] = frames
        for place in np.flatnonzero(round.ending):
            made[place] = np.concatenate([made[place], self.rows.rest(int(round.rows[place]))])
        return made

    def _drawn(self, round: Round, audio: Tensor) -> list[np.ndarray]:
        """The frames of those that are sounding."""
        if round.sounding.all():
            return self.rows.draw(round.rows, audio, round.moods)
        if not round.sounding.any():
            return []
        sounding = torch.from_numpy(round.sounding).to(audio.device)
        return self.rows.draw(round.rows[round.sounding], audio[sounding], round.moods)

    def deliver(self, round: Round, made: list[np.ndarray], now: float) -> None:
        """Hand the frames of a round to its sessions."""
        steps = round.inputs.shape[1]
        for session, sounds, frames in zip(round.sessions, round.sounding, made, strict=True):
            session.fresh = False
            session.inputs = session.inputs[steps:]
            if sounds:
                session.curve = session.curve[steps:]
            else:
                session.cold -= steps
            if len(frames):
                session.made.append(frames)
                session.given += len(frames)
                session.started = now if session.started is None else session.started
        self._end(round)

    def fail(self, round: Round) -> None:
        """A round came to nothing: its sessions have no more inputs."""
        for session in round.sessions:
            session.inputs = session.inputs[:0]
        self._end(round)

    def _end(self, round: Round) -> None:
        self._computing.difference_update(round.sessions)
        self._ready.difference_update(session for session in round.sessions if len(session.inputs) == 0)
        for session in self._gone.intersection(round.sessions):
            self._gone.discard(session)
            self._release(session)

    def _seated(self, session: Session) -> bool:
        """Whether the session has a row, or gets one now."""
        if session.row is None and self._free:
            session.row = self._free.pop()
        return session.row is not None

    def _release(self, session: Session) -> None:
        if session.row is not None:
            self._free.append(session.row)
            session.row = None
        session.made.clear()
