"""Many live faces at once: a stream for each, and behind them the threads that compute for all."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from streamingtalker.audio.posteriors import Recogniser
from streamingtalker.config import frame_count
from streamingtalker.mood import Mood, MoodBlend
from streamingtalker.released import ReleasedTalker
from streamingtalker.sessions.ears import Ear
from streamingtalker.sessions.recognition import RecognitionRequest, WindowQueue, recognise
from streamingtalker.sessions.released_rows import ReleasedRows
from streamingtalker.sessions.rows import TalkerRows
from streamingtalker.sessions.scheduler import FRAMES, Rows, Scheduler, Session
from streamingtalker.talker import Talker

W = TypeVar("W")


class LeftError(Exception):
    """The stream was closed, or its farm, while somebody waited for its frames."""


def side_by_side(talker: Talker | ReleasedTalker, count: int) -> Rows:
    """The talker's network for ``count`` streams at once."""
    return ReleasedRows(talker, count) if isinstance(talker, ReleasedTalker) else TalkerRows(talker, count)


class FrameFarm:
    """Computes the frames of up to ``rows.count`` streams, each what a ``FaceStreamer`` of its own would give, to 1e-5.

    One thread computes frames, each recogniser has a thread of its own. What a stream need not share, its log-mel, is
    done by the thread that calls it. A stream has at most one call under way, so no queue can grow.
    """

    def __init__(self, rows: Rows, recognisers: list[Recogniser]) -> None:
        """``recognisers``: none, or as many alike as shall hear at the same time."""
        self.rows = rows
        self.recognises = bool(recognisers)
        self._scheduler = Scheduler(rows)
        self._windows = WindowQueue()
        self._answers: dict[Session, Future[list[np.ndarray]]] = {}  # of the streams that wait
        self._sessions: set[Session] = set()
        self._changed = threading.Condition()
        self._open = True
        work = [self._compute, *(lambda each=each: self._listen(each) for each in recognisers)]
        self._threads = [threading.Thread(target=each, name="frame farm", daemon=True) for each in work]
        for thread in self._threads:
            thread.start()

    def stream(self, *, identity: int = 0, mood: Mood = Mood(), seed: int = 0) -> "FarmStream":
        """A new stream, to be closed when it is not needed any more. At most ``rows.count`` are open at a time.

        Raises IdentityError.
        """
        self.rows.identity(identity)
        session = Session(MoodBlend(self.rows.fps, self.rows.moods, mood), identity, seed)
        with self._changed:
            assert self._open and len(self._sessions) < self.rows.count, "whoever lets streams in counts them"
            self._sessions.add(session)
            self._scheduler.begin(session)
        return FarmStream(self, session)

    def begin(self, session: Session) -> None:
        """A clip begins."""
        with self._changed:
            self._scheduler.begin(session)

    def scores(self, session: Session, windows: list[np.ndarray]) -> list[np.ndarray]:
        """What a recogniser says of ``windows``. Blocks. Raises LeftError."""
        if not windows:
            return []
        with self._changed:
            self._windows.add(RecognitionRequest(session, windows, self._scheduler.due(session, time.monotonic())))
            answer = self._ask(session)
        return answer.result()

    def frames(self, session: Session, inputs: Tensor, last: bool) -> list[np.ndarray]:
        """The frames, offsets [k, V, 3] in pieces, that come of ``inputs``; ``last``: the sound is over.

        Blocks. Raises LeftError.
        """
        with self._changed:
            self._scheduler.bring(session, inputs, time.monotonic(), last)
            answer = self._ask(session) if self._scheduler.waits(session) else None
        return answer.result() if answer else []

    def leave(self, session: Session) -> None:
        """A stream ends, whatever it was doing, and its row is free."""
        with self._changed:
            if session in self._sessions:
                self._sessions.discard(session)
                self._scheduler.leave(session)
                self._windows.forget(session)
                self._answer(session, LeftError())

    def close(self) -> None:
        """End every stream and the threads."""
        with self._changed:
            self._open = False  # first, so that no stream begins that nobody would compute
            for session in list(self._sessions):
                self.leave(session)
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _ask(self, session: Session) -> "Future[list[np.ndarray]]":
        answer: Future[list[np.ndarray]] = Future()
        if session in self._sessions:
            assert session not in self._answers, "a stream does one thing at a time"
            self._answers[session] = answer
            self._changed.notify_all()
        else:
            answer.set_exception(LeftError())
        return answer

    def _answer(self, session: Session, result: list[np.ndarray] | Exception) -> None:
        if (answer := self._answers.pop(session, None)) is None:
            return  # it has left
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    def _compute(self) -> None:
        """The thread of frames: one round after another."""
        while round := self._wait_for(self._scheduler.next_round):
            try:
                made = self._scheduler.compute(round)
            except Exception as error:
                with self._changed:
                    self._scheduler.fail(round)
                    for session in round.sessions:
                        self._answer(session, error)
                continue
            with self._changed:
                self._scheduler.deliver(round, made, time.monotonic())
                for session in round.sessions:
                    if not self._scheduler.waits(session):
                        self._answer(session, session.taken())

    def _listen(self, recogniser: Recogniser) -> None:
        """The thread of a recogniser: one batch of windows after another."""
        while batch := self._wait_for(self._windows.next_batch):
            try:
                scores = recognise(recogniser, [request.windows[number] for request, number in batch])
            except Exception as error:
                with self._changed:
                    for request, _ in batch:
                        self._windows.forget(request.owner)
                        self._answer(request.owner, error)
                continue
            with self._changed:
                for request in self._windows.deliver(batch, scores):
                    self._answer(request.owner, request.scores)

    def _wait_for(self, work: Callable[[], W]) -> W | None:
        """Wait until there is work; None once the farm is closed."""
        with self._changed:
            while self._open:
                if found := work():
                    return found
                self._changed.wait()
        return None


class FarmStream:
    """A ``FaceStreamer`` whose frames are computed by a farm. Of one thread; only ``close`` may come from another.

    The first frames of a clip come alone, three of them, because somebody waits for them: those that are final as well
    come with the next piece of sound, were it empty.
    """

    def __init__(self, farm: FrameFarm, session: Session) -> None:
        self.fps = farm.rows.fps
        self.vertex_count = farm.rows.vertices
        self._farm = farm
        self._session = session
        self._ear: Ear = farm.rows.ear(farm.recognises)
        self._samples = self._frames = 0
        self._later: list[Tensor] = []  # inputs that are not brought yet
        self._finished = False

    def set_mood(self, mood: Mood) -> None:
        """See FaceStreamer."""
        self._session.moods.turn_to(mood)

    def reset(self, seed: int | None = None) -> None:
        """See FaceStreamer."""
        self._session.seed = self._session.seed if seed is None else seed
        self._samples = self._frames = 0
        self._later = []
        self._finished = False
        self._ear.reset()
        self._farm.begin(self._session)

    def feed(self, pcm: np.ndarray) -> np.ndarray:
        """See FaceStreamer. Raises LeftError where the stream is closed meanwhile."""
        assert not self._finished, "reset before feeding again"
        self._samples += len(pcm)
        return self._animate(self._ear.hear(pcm), last=False)

    def finish(self) -> np.ndarray:
        """See FaceStreamer. Raises LeftError where the stream is closed meanwhile."""
        assert not self._finished, "reset before finishing again"
        self._finished = True
        frames = self._animate(self._ear.hear_rest(), last=True)
        assert self._frames == frame_count(self._samples, self.fps), "the network gave a wrong number of frames"
        return frames

    def close(self) -> None:
        """The stream is not needed any more. Whoever waits for its frames hears LeftError."""
        self._farm.leave(self._session)

    def _animate(self, windows: list[np.ndarray], last: bool) -> np.ndarray:
        inputs = torch.cat([*self._later, self._ear.give(self._farm.scores(self._session, windows))])
        now = len(inputs) if last or self._frames else self._session.cold + FRAMES
        self._later = [inputs[now:]]
        inputs = inputs[:now]
        frames = [np.zeros((0, self.vertex_count, 3), np.float32), *self._farm.frames(self._session, inputs, last)]
        self._frames += sum(map(len, frames))
        return np.concatenate(frames)
