"""The program in a simulated hall: all its real parts, with a loudspeaker that its microphone hears, and no devices.

``Hall`` puts together what ``app.py`` does for a headless run. What leaves the loudspeaker, what the mouth does and in
which state the conversation is are written down with their times, which are monotonic seconds everywhere.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np

from demo.acoustics import Room, RoomMicrophone
from demo.bare import shown_face
from demo.client_thread import ClientThread, Shared
from demo.echo import Played
from demo.life import Life
from demo.look import Look, camera_pose
from demo.measure.visitors import Sound
from demo.microphone import BLOCK, RATE, AudioBlock, Recording
from demo.overlay import Patch
from demo.playback import Playback, SimulatedSpeaker
from demo.preflight import avatar_file
from demo.renderer import Canvas, OffscreenCanvas, Renderer
from demo.screen import Screen
from demo.server_process import ServerProcess
from demo.settings import Settings
from demo.stage import Stage
from demo.threads import limit_blas
from demo.trace import SessionTrace, TurnTrace
from streamingtalker.errors import UserError

T = TypeVar("T")

AUDIBLE = 0.004  # -48 dBFS
FLOOR_DB = -65.0  # of the microphone itself
QUEUED_SECONDS = 4.0
_BEHIND = 0.15  # seconds: who listens so late does not keep up
_STEP = 0.005  # seconds between two looks at what is waited for


class HallError(UserError):
    """The program did not do in the hall what it has to."""


class VirtualMicrophone:
    """Hears in real time what is played to it, and silence else."""

    name = "visitors"

    def __init__(self) -> None:
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._pcm = np.zeros(0, np.float32)
        self._current: Recording | None = None
        self._position = 0
        self._began = 0.0
        self.lag = self.longest_lag = 0.0  # seconds by which whoever listens is behind

    def open(self) -> None:
        """Begin its time."""
        self._began = time.monotonic()

    def play(self, sound: Sound) -> tuple[float, float]:
        """Have ``sound`` heard from now on, in place of what is; when its first and its last audible sample are."""
        with self._lock:
            start = self._position + BLOCK
            self._current = replace(sound.recording, start=start)
            self._pcm = np.concatenate([np.zeros(BLOCK, np.float32), sound.pcm])
        first, last = int(sound.recording.loud[0]) - RATE // 100, int(sound.recording.loud[-1])
        return self._began + (start + first) / RATE, self._began + (start + last) / RATE

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks when they are due, until ``close``."""
        while not self._closing.is_set():
            due = self._began + (self._position + BLOCK) / RATE
            if self._closing.wait(max(0.0, due - time.monotonic())):
                return
            self.lag = time.monotonic() - due
            self.longest_lag = max(self.lag, self.longest_lag)
            with self._lock:
                pcm, self._pcm = self._pcm[:BLOCK], self._pcm[BLOCK:]
                block = AudioBlock(np.pad(pcm, (0, BLOCK - len(pcm))), self._position, due, self._current)
                self._position += BLOCK
            yield block

    def close(self) -> None:
        """Stop; ``blocks`` ends."""
        self._closing.set()


class Ear:
    """Stands at the loudspeaker: when something is to be heard. ``add`` belongs to the audio thread."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._heard: list[tuple[float, float]] = []  # first and last audible sample of each block that has one

    def add(self, pcm: np.ndarray, dac_time: float) -> None:
        """float32 [n] whose first sample is heard at ``dac_time``."""
        loud = np.flatnonzero(np.abs(pcm) > AUDIBLE)
        if len(loud):
            self._heard.append((dac_time + loud[0] / self._rate, dac_time + loud[-1] / self._rate))

    def first_after(self, moment: float) -> float | None:
        """When something was heard first after ``moment``."""
        return next((first for first, _ in self._heard[:] if first >= moment), None)

    def last_between(self, begin: float, end: float) -> float | None:
        """When something was heard last."""
        return next((last for _, last in reversed(self._heard[:]) if begin <= last <= end), None)


class WatchedRenderer(Renderer):
    """Writes down how far the lips are apart in every picture that is shown."""

    def __init__(self, look: Look, canvas: Canvas, lip_pairs: np.ndarray, *, draws: bool) -> None:
        """Without ``draws`` pictures are only thought of, which takes no processor."""
        super().__init__(look, canvas)
        self.shown: list[tuple[float, float]] = []  # when, and millimetres
        self._pairs = lip_pairs
        self._draws = draws
        self._opening = 0.0

    def draw(self, vertices: np.ndarray, patches: Sequence[Patch] = ()) -> None:
        """Draw the vertices [V, 3]."""
        upper, lower = self._pairs.T
        self._opening = 1000 * float(np.linalg.norm(vertices[upper] - vertices[lower], axis=1).mean())
        if self._draws:
            super().draw(vertices, patches)

    def present(self) -> None:
        """Show it."""
        if self._draws:
            super().present()
        self.shown.append((time.monotonic(), self._opening))

    def widest(self, begin: float, end: float) -> float:
        """Millimetres between the lips at most."""
        return max((opening for moment, opening in self.shown[:] if begin <= moment <= end), default=0.0)


@dataclass(frozen=True)
class Moment:
    """What a picture found going on."""

    time: float
    state: str  # idle, listening, hearing, thinking or speaking
    turn: int | None
    attracting: bool
    muted: bool


class Hall:
    """One session of the program with ``settings``; enter it, then ``run`` what is to happen."""

    def __init__(self, settings: Settings, *, room: Room | None = None, draws: bool = True) -> None:
        self._settings = replace(settings, headless=True)
        self._room = room or Room()
        self._draws = draws
        self._stack = contextlib.ExitStack()
        self.moments: list[Moment] = []
        self.visitors = VirtualMicrophone()

    def __enter__(self) -> "Hall":
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, script: Callable[["Hall"], T]) -> T:
        """What ``script`` gives, done in a thread of its own while pictures are drawn here."""
        done: Future[T] = Future()

        def play() -> None:
            try:
                self.until(lambda: self.client.trace.engines.get("llm") is not None, 180)
                done.set_result(script(self))
            except BaseException as error:
                done.set_exception(error)

        threading.Thread(target=play, name="script", daemon=True).start()
        while not done.done() and not self.client.over.is_set():
            self._screen.step()
            self._note()
        if self.client.error is not None:
            raise self.client.error
        return done.result(1)

    def until(self, reached: Callable[[], object], seconds: float) -> bool:
        """Wait for it; whether it came in time."""
        deadline = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > deadline or self.client.over.is_set():
                return False
            time.sleep(_STEP)
        return True

    @property
    def turns(self) -> list[TurnTrace]:
        """Those that are over."""
        return self.client.trace.turns

    def quiet(self, seconds: float = 60.0) -> None:
        """Wait until nobody speaks, all was listened to, and the room has fallen silent. Raises HallError."""
        self.until(self._is_quiet, seconds)  # a machine that does not keep up is told of by its lag
        if not self.until(lambda: self.client.status.turn is None, seconds):
            raise HallError(f"The conversation did not come to rest in {seconds:.0f} s; free the processor.")
        time.sleep(0.8)

    def turns_between(self, begin: float, end: float) -> set[int]:
        """Numbers of the turns that the screen showed then."""
        return {moment.turn for moment in self.moments if moment.turn is not None and begin <= moment.time <= end}

    def next_turn_from(self, old: int, end: float) -> float:
        """When the last picture before the first turn after ``old`` was shown, or ``end``."""
        moments = self.moments[:]
        newer = (m.time for m, after in pairwise(moments) if after.turn is not None and after.turn > old)
        return min(next(newer, end), end)

    def _is_quiet(self) -> bool:
        status = self.client.status
        return status.turn is None and not status.hearing and self.visitors.lag < _BEHIND

    def _note(self) -> None:
        status = self.client.status
        state = status.captions(self._playback.clock.now()).state
        turn = None if status.turn is None else status.turn.number
        self.moments.append(Moment(time.monotonic(), state, turn, status.attracting, status.muted))

    def _open(self) -> None:
        settings, stack, started = self._settings, self._stack, time.monotonic()
        limit_blas()
        server = stack.enter_context(ServerProcess(settings))
        face = shown_face(settings, avatar_file(settings))
        canvas = OffscreenCanvas(settings.size, settings.size)
        self.renderer = WatchedRenderer(face.look, canvas, face.landmarks.topology.lip_pairs, draws=self._draws)
        stack.callback(self.renderer.close)
        speaker = SimulatedSpeaker()
        self._playback = playback = Playback(speaker)
        self.ear, played = Ear(speaker.rate), Played(speaker.rate)
        playback.taps += [self.ear.add, played.add]
        frames = face.queue(int(QUEUED_SECONDS * face.fps))
        life = Life(face.landmarks, settings.seed, viewer=camera_pose(face.look)[:3, 3])
        stage = Stage(self.renderer, life, playback.clock, frames, face.fps)
        stage.step()
        server.wait()
        playback.open()
        stack.callback(playback.close)
        hiss = np.random.default_rng(0).normal(0, 10 ** (FLOOR_DB / 20), 10 * RATE).astype(np.float32)
        microphone = RoomMicrophone(self.visitors, played, self._room, hiss)
        shared = Shared(
            playback,
            frames,
            stage.meter,
            face.talking.vertex_count,
            face.talking.mesh,
            face.fps,
            microphone=microphone,
        )
        self.client = ClientThread(settings, shared, SessionTrace(), server.wait, started, server.end)
        stack.callback(self.client.stop)
        self.client.start()
        self._screen = Screen(stage, life, canvas, self.client, playback)
