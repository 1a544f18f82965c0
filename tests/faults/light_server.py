"""A whole server process with light engines, which faults can be done to."""

import asyncio
import multiprocessing
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from demo.client_thread import ClientThread, Shared
from demo.engines import Engines
from demo.frame_queue import FrameQueue
from demo.persona import ChatMessage
from demo.playback import Playback, SimulatedSpeaker
from demo.server import run_server
from demo.server_process import ServerProcess
from demo.settings import Settings
from demo.stage import SyncMeter
from demo.supervision import Restarts
from demo.trace import SessionTrace
from tests.server_fakes import FPS, TALKATIVE, VERTICES, ScriptedModel, SineVoice, TinyStreamer, make_engines

MESH = ""


class EchoModel(ScriptedModel):
    """Answers with the question, after it has thought a little."""

    asked = 0

    async def stream(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[str]:
        self.asked += 1
        await asyncio.sleep(0.02)
        yield f"You said: {messages[-1]['content']}. That "
        await asyncio.sleep(5 if "slowly" in messages[-1]["content"] else 0.02)
        yield "is all."


class TrappedStreamer(TinyStreamer):
    """Hangs at the sound of a question about it: one that is spoken for long."""

    def finish(self) -> np.ndarray:
        if len(self._pcm) > 16_000 * 5:
            time.sleep(1000)
        return super().finish()


class TrappedModel(EchoModel):
    """Hangs with its whole process when asked to."""

    async def stream(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[str]:
        if messages[-1]["content"] == "hang the loop":
            time.sleep(1000)
        async for piece in super().stream(messages):
            yield piece


async def load_light(settings: object, notify: Callable[[str], None]) -> Engines:
    """In place of ``load_engines``: there in a moment."""
    engines = make_engines(voice=SineVoice(), persona=TALKATIVE, new_streamer=TrappedStreamer)
    return replace(engines, llm=TrappedModel(()))


def run_light_server(settings: Settings, pipe: object) -> None:
    """In place of ``run_server``. What it says goes to a file: the file that pytest captured is another test's."""
    if settings.trace is not None:
        sys.stderr = settings.trace.open("a")
    run_server(settings, pipe, load_light)


multiprocessing.set_forkserver_preload(["tests.faults.light_server"])


class Bench:
    """A client thread without a picture, and the server process that it talks to."""

    def __init__(self, playback: Playback, server: ServerProcess, client: ClientThread, frames: FrameQueue) -> None:
        self.playback, self.server, self.client, self.frames = playback, server, client, frames

    @property
    def pid(self) -> int:
        """The server's process now."""
        assert self.server._process.pid is not None
        return self.server._process.pid

    def until(self, true: Callable[[], object], seconds: float = 30.0) -> float:
        """Wait for it; how long that took."""
        began = time.monotonic()
        while not true():
            assert not self.client.over.is_set(), self.client.error
            assert time.monotonic() - began < seconds, "it never came"
            time.sleep(0.002)
        return time.monotonic() - began

    def answered(self, text: str) -> bool:
        """Whether the answer to ``text`` was heard to its end."""
        return any(
            trace.transcript == text and not trace.interrupted and trace.reply.startswith(f"You said: {text}")
            for trace in self.client.trace.turns
        )


@contextmanager
def bench(most: int = 10_000, **settings: object):
    """A session that waits to be asked, whose server may be restarted so often at once."""
    playback, frames = Playback(SimulatedSpeaker(latency=0.01)), FrameQueue()
    playback.open()
    options = Settings(**settings)
    try:
        with ServerProcess(options, run_light_server, "forkserver") as server:
            shared = Shared(playback, frames, SyncMeter(), VERTICES, MESH, FPS)
            client = ClientThread(options, shared, SessionTrace(), server.wait, time.monotonic(), server.end)
            reach = client._reach()
            client._reach = lambda: replace(reach, restarts=Restarts(most=most))
            client._openings = lambda: _silent
            client.start()
            yield Bench(playback, server, client, frames)
            server.give_up()
            client.stop()
    finally:
        playback.close()


async def _silent():
    """Nobody asks by himself."""
    await asyncio.Event().wait()
    yield
