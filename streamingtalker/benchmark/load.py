"""Many listeners, one processor, virtual time: who gets their frames when they need them?

Sound comes in pieces at the pace of speech, every listener's at moments of its own. The processor does one thing at a
time, always the most urgent; what it does is really computed and takes as long as it took. Only waiting takes no time.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from streamingtalker.audio.posteriors import Recogniser
from streamingtalker.config import RATE
from streamingtalker.mood import MoodBlend
from streamingtalker.sessions.recognition import Ask, RecognitionRequest, WindowQueue, recognise
from streamingtalker.sessions.scheduler import Round, Rows, Scheduler, Session
from streamingtalker.streamer import FaceStreamer

SERVER_CHUNK = RATE // 5  # samples the demo's server hands to the face at once
ALLOWANCE = 0.1  # seconds of face that a client has in hand when the voice begins
GOLDEN = 0.618034  # fractions of its multiples lie evenly: when the listeners begin

Clock = Callable[[], float]


def babble(seconds: float, seed: int) -> np.ndarray:
    """Something like speech, float32 at 16 kHz: a gliding voice, syllables of changing colour, pauses, breath."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    syllable = np.cumsum(0.8 + 0.4 * random.random(len(time) // 100 + 1)).repeat(100)[: len(time)] / 40
    pitch = 110 + 60 * random.random() + 25 * np.sin(2 * np.pi * 0.4 * time + seed)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    colour = 500 + 350 * np.sin(2 * np.pi * syllable / 2.7)
    voice = sum(np.sin(n * phase) * np.exp(-(((n * pitch - colour) / 900) ** 2)) for n in range(1, 16))
    loud = np.clip(np.sin(2 * np.pi * syllable), 0, 1) * (np.sin(2 * np.pi * time / 3.1 + seed) > -0.8)
    return (0.1 * voice * loud + 0.003 * random.normal(size=len(time))).astype(np.float32)


@dataclass(frozen=True)
class Job:
    """Something for the processor. ``done`` is told when it was finished and gives (listener, frames) pairs."""

    work: Callable[[], Any]
    done: Callable[[Any, float], list[tuple[int, int]]]


class Server(Protocol):
    """Takes the sound of many listeners, says what is to be done next."""

    def arrive(self, who: int, pcm: np.ndarray, now: float) -> None:
        """A piece of sound for listener ``who``."""

    def next_job(self) -> Job | None:
        """The most urgent thing to do."""


class Together:
    """As the farm does it: recogniser windows and frames in batches."""

    def __init__(self, rows: Rows, recogniser: Recogniser | None) -> None:
        self._recogniser = recogniser
        self._scheduler = Scheduler(rows)
        self._windows = WindowQueue()
        self._ears = [rows.ear(recogniser is not None) for _ in range(rows.count)]
        self._sessions = [Session(MoodBlend(rows.fps, rows.moods), 0, seed) for seed in range(rows.count)]
        self._who = {session: who for who, session in enumerate(self._sessions)}
        self._inboxes: list[deque[tuple[np.ndarray, float]]] = [deque() for _ in range(rows.count)]
        self._idle = set(range(rows.count))
        self._heard: deque[int] = deque()  # whose next piece is to be heard
        for session in self._sessions:
            self._scheduler.begin(session)

    def arrive(self, who: int, pcm: np.ndarray, now: float) -> None:
        """See Server."""
        self._inboxes[who].append((pcm, now))
        self._go_on(who)

    def next_job(self) -> Job | None:
        """See Server."""
        if self._heard:
            return self._hear(self._heard.popleft())
        windows, frames = self._windows.next_due, self._scheduler.next_due
        if windows is not None and (frames is None or windows <= frames):
            batch = self._windows.next_batch()
            sounds = [request.windows[number] for request, number in batch]
            recogniser = self._recogniser
            assert recogniser is not None, "nobody asks for one that is not there"
            return Job(lambda: recognise(recogniser, sounds), lambda scores, now: self._told(batch, scores, now))
        return None if frames is None else self._frames()

    def _hear(self, who: int) -> Job:
        pcm, came = self._inboxes[who].popleft()

        def done(windows: list[np.ndarray], now: float) -> list[tuple[int, int]]:
            session = self._sessions[who]
            due = self._scheduler.due(session, came)
            if windows:
                self._windows.add(RecognitionRequest(session, windows, due))
            else:
                self._bring(session, [], now)
            return []

        return Job(lambda: self._ears[who].hear(pcm), done)

    def _told(self, batch: list[Ask], scores: list[np.ndarray], now: float) -> list[tuple[int, int]]:
        for request in self._windows.deliver(batch, scores):
            self._bring(request.owner, request.scores, now)
        return []

    def _bring(self, session: Session, scores: list[np.ndarray], now: float) -> None:
        who = self._who[session]
        inputs = self._ears[who].give(scores)
        self._scheduler.bring(session, inputs, now)
        if not self._scheduler.waits(session):
            self._idle.add(who)
            self._go_on(who)

    def _frames(self) -> Job:
        def work() -> tuple[Round, list[np.ndarray]]:
            round = self._scheduler.next_round()
            assert round is not None, "who is urgent has a row"
            return round, self._scheduler.compute(round)

        def done(result: tuple[Round, list[np.ndarray]], now: float) -> list[tuple[int, int]]:
            round, made = result
            self._scheduler.deliver(round, made, now)
            for session in round.sessions:
                if not self._scheduler.waits(session):
                    self._idle.add(self._who[session])
                    self._go_on(self._who[session])
            return [(self._who[each], sum(map(len, each.taken()))) for each in round.sessions]

        return Job(work, done)

    def _go_on(self, who: int) -> None:
        if who in self._idle and self._inboxes[who]:
            self._idle.discard(who)
            self._heard.append(who)


class OneByOne:
    """The reference: a FaceStreamer each, the most urgent listener first, nobody's work shared."""

    def __init__(self, streamers: list[FaceStreamer]) -> None:
        self._streamers = streamers
        self._inboxes: list[deque[np.ndarray]] = [deque() for _ in streamers]
        self._started: list[float | None] = [None] * len(streamers)
        self._given = [0] * len(streamers)
        self._urgent: list[tuple[float, int]] = []

    def arrive(self, who: int, pcm: np.ndarray, now: float) -> None:
        """See Server."""
        self._inboxes[who].append(pcm)
        started = self._started[who]
        due = now if started is None else started + self._given[who] / self._streamers[who].fps
        heapq.heappush(self._urgent, (due, who))

    def next_job(self) -> Job | None:
        """See Server."""
        if not self._urgent:
            return None
        _, who = heapq.heappop(self._urgent)

        def done(frames: np.ndarray, now: float) -> list[tuple[int, int]]:
            if len(frames) and self._started[who] is None:
                self._started[who] = now
            self._given[who] += len(frames)
            return [(who, len(frames))]

        return Job(lambda: self._streamers[who].feed(self._inboxes[who].popleft()), done)


@dataclass
class Outcome:
    """When each frame of each listener was there, in seconds after the listener's sound began, less k / fps."""

    lags: list[list[float]]
    busy: float = 0.0  # seconds the processor worked
    until: float = 0.0  # the end of the last job

    def on_time(self, lag: float) -> float:
        """The share of frames that were there ``lag`` seconds after their sound."""
        everyone = np.concatenate([np.asarray(each) for each in self.lags])
        return float((everyone <= lag).mean()) if len(everyone) else 0.0


def simulate(server: Server, sounds: list[np.ndarray], fps: float, clock: Clock) -> Outcome:
    """Let ``server`` serve a listener for each of ``sounds``. ``clock`` is that of the work."""
    pieces: Iterator[tuple[float, int, np.ndarray]] = heapq.merge(*(_pieces(n, each) for n, each in enumerate(sounds)))
    outcome, now, coming = Outcome([[] for _ in sounds]), 0.0, next(pieces, None)
    while True:
        while coming is not None and coming[0] <= now:
            server.arrive(coming[1], coming[2], coming[0])
            coming = next(pieces, None)
        job = server.next_job()
        if job is None and coming is None:
            return outcome
        if job is None:
            now = coming[0] if coming is not None else now
            continue
        began = clock()
        result = job.work()
        spent = clock() - began
        now += spent
        outcome.busy += spent
        outcome.until = now
        for who, frames in job.done(result, now):
            lags = outcome.lags[who]
            lags += [now - _begins(who) - k / fps for k in range(len(lags), len(lags) + frames)]


def _begins(who: int) -> float:
    return who * GOLDEN % 1.0


def _pieces(who: int, sound: np.ndarray) -> Iterator[tuple[float, int, np.ndarray]]:
    """When each piece of a listener's sound is complete, and for whom it is."""
    for number in itertools.count():
        piece = sound[number * SERVER_CHUNK : (number + 1) * SERVER_CHUNK]
        if len(piece) == 0:
            return
        yield _begins(who) + (number * SERVER_CHUNK + len(piece)) / RATE, who, piece
