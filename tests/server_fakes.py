"""Stand-ins for the engines, plugged into the same seams as the real ones."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from demo.engines import Engines, Face
from demo.messages import PROTOCOL, FaceFrame, Hello, Message, Notice, PcmChunk, TurnEnd, Welcome, decode, encode
from demo.persona import ChatMessage, Persona
from demo.server import NoticeBoard, Server
from streamingtalker.errors import UserError
from streamingtalker.mood import Mood

RATE = 24_000
FPS = 30.0
VERTICES = 5
Step = str | float | asyncio.Event | Exception


@dataclass
class ScriptedModel:
    """A language model that answers from ``script``: pieces of text, what to wait for, or errors to raise."""

    script: Sequence[Step]
    name: str = "scripted"
    prompts: list[list[ChatMessage]] = field(default_factory=list)
    history_characters: int = 200
    foreseen: list[list[ChatMessage]] = field(default_factory=list)
    closed: bool = False

    async def stream(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[str]:
        self.prompts.append(list(messages))
        for item in self.script:
            if isinstance(item, Exception):
                raise item
            if isinstance(item, float):
                await asyncio.sleep(item)
            elif isinstance(item, asyncio.Event):
                await item.wait()
            else:
                yield item

    async def warm_up(self, messages: Sequence[ChatMessage]) -> None:
        self.prompts.append(list(messages))

    async def foresee(self, messages: Sequence[ChatMessage]) -> None:
        self.foreseen.append(list(messages))

    async def close(self) -> None:
        self.closed = True


@dataclass
class SineVoice:
    """Speaks 20 ms of a 220 Hz tone a letter. ``gate`` holds it back until it is set."""

    name: str = "sine"
    sample_rate: int = RATE
    gate: threading.Event | None = None
    spoken: list[str] = field(default_factory=list)

    def speak(self, text: str) -> Iterator[np.ndarray]:
        self.spoken.append(text)
        if self.gate is not None:
            assert self.gate.wait(10)
        seconds = np.arange(len(text) * self.sample_rate // 50) / self.sample_rate
        yield np.sin(2 * np.pi * 220 * seconds).astype(np.float32)


class TinyStreamer:
    """A face of five vertices that opens with the sound's loudness; a frame becomes final 100 ms late."""

    fps = FPS
    vertex_count = VERTICES
    LATE = 1_600  # samples

    def __init__(self) -> None:
        self.reset()

    def close(self) -> None:
        self.closed = True

    def reset(self, seed: int | None = None) -> None:
        self._pcm = np.zeros(0, np.float32)
        self._given = 0

    def set_mood(self, mood: Mood) -> None:
        self.moods = [*getattr(self, "moods", []), (self._given, mood)]  # with the frames given before

    def feed(self, pcm: np.ndarray) -> np.ndarray:
        self._pcm = np.concatenate([self._pcm, pcm])
        return self._give(max(0, int((len(self._pcm) - self.LATE) * FPS / 16_000)))

    def finish(self) -> np.ndarray:
        return self._give(int(np.ceil(len(self._pcm) * FPS / 16_000)))

    def _give(self, total: int) -> np.ndarray:
        step = 16_000 / FPS
        frames = [
            np.full((VERTICES, 3), np.abs(self._pcm[int(k * step) : int((k + 1) * step)]).mean(), np.float32)
            for k in range(self._given, max(self._given, total))
        ]
        self._given += len(frames)
        return np.stack(frames) if frames else np.zeros((0, VERTICES, 3), np.float32)


PERSONA = Persona(name="Test", greeting="Hello there.", manner="You are a test.")
TALKATIVE = replace(PERSONA, longest_answer=1000)


def make_engines(
    script: Sequence[Step] = ("Hello. ", "How are you?"),
    voice: SineVoice | None = None,
    persona: Persona = PERSONA,
    new_streamer: Callable[[], TinyStreamer] = TinyStreamer,
) -> Engines:
    face = Face("tiny", FPS, VERTICES, "tiny", "cpu", new_streamer)
    return Engines(ScriptedModel(script), voice or SineVoice(), face, persona)


@contextlib.asynccontextmanager
async def served(engines: Engines) -> AsyncIterator[str]:
    """A server on a free loopback port; gives its URL."""
    async with Server(engines, NoticeBoard()).listening("127.0.0.1", 0) as port:
        yield f"ws://127.0.0.1:{port}"


@dataclass
class TestClient:
    """The other end of the socket, without a face."""

    socket: ClientConnection
    welcome: Welcome

    async def send(self, *messages: Message) -> None:
        for message in messages:
            await self.socket.send(encode(message))

    async def receive(self) -> Message:
        return decode(await asyncio.wait_for(self.socket.recv(), 60))

    async def until(self, kind: type[Message], turn: int | None = None) -> list[Message]:
        """Everything up to and with the first message of this kind (and turn)."""
        messages = [await self.receive()]
        while not (isinstance(messages[-1], kind) and turn in (None, getattr(messages[-1], "turn", None))):
            messages.append(await self.receive())
        return messages


TestClient.__test__ = False


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncIterator[TestClient]:
    """A client that has been welcomed."""
    async with connect(url, compression=None, proxy=None, max_queue=None) as socket:
        await socket.send(encode(Hello(PROTOCOL)))
        welcome = decode(await asyncio.wait_for(socket.recv(), 60))
        assert isinstance(welcome, Welcome)
        yield TestClient(socket, welcome)


def of(messages: Sequence[Message], kind: type) -> list:
    return [message for message in messages if isinstance(message, kind)]


def check_turn(messages: Sequence[Message], turn: int) -> TurnEnd:
    """The end of a complete turn, after checking that sound and frames are whole and agree with one another."""
    messages = [message for message in messages if not isinstance(message, Notice)]
    assert all(message.turn == turn for message in messages)
    end = messages[-1]
    assert isinstance(end, TurnEnd)
    position = 0
    for chunk in of(messages, PcmChunk):
        assert chunk.start_sample == position
        position += len(chunk.pcm) // 2
    frames = of(messages, FaceFrame)
    assert [frame.index for frame in frames] == list(range(end.frames))
    assert all(len(frame.offsets) == VERTICES * 3 * 2 for frame in frames)
    assert end.samples == position
    assert abs(end.frames - position / RATE * FPS) <= 1.01
    return end


async def load_fakes(settings: object, notify: Callable[[str], None]) -> Engines:
    """In place of ``load_engines``, also in another process."""
    return make_engines()


async def fail_to_load(settings: object, notify: Callable[[str], None]) -> Engines:
    raise UserError("The test's engines are missing; add them.")
