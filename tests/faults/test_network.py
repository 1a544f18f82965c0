"""Networks that are slow, have holes, or take everything to pieces: every question gets its answer once."""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from websockets.asyncio.client import connect

from demo.client import Client
from demo.frame_queue import FrameQueue
from demo.messages import PROTOCOL, Hello, UserText, Welcome, decode, encode
from demo.openings import typed
from demo.playback import Playback, SimulatedSpeaker
from demo.reconnect import Reach, stay_connected
from demo.server import NoticeBoard, Server
from tests.faults.light_server import EchoModel
from tests.faults.proxy import Weather, proxy
from tests.server_fakes import FPS, RATE, TALKATIVE, SineVoice, make_engines

QUESTIONS = ("Who are you?", "Where are you?", "Why?")


def light_engines(voice=None):
    return replace(make_engines(voice=voice, persona=TALKATIVE), llm=EchoModel(()))


@contextlib.asynccontextmanager
async def serving(port=0, most=8, voice=None):
    async with Server(light_engines(voice), NoticeBoard(), most).listening("127.0.0.1", port) as port:
        yield f"ws://127.0.0.1:{port}"


class Session:
    """A client in this loop, and what became of it."""

    def __init__(self) -> None:
        self.traces, self.away, self.welcomed = [], [], []
        self.playback = Playback(SimulatedSpeaker(latency=0.01))
        self.frames = FrameQueue(100_000)
        self.client = Client(self.playback, self.frames, on_trace=self.traces.append)

    async def hold(self, url, questions=QUESTIONS) -> None:
        async def find() -> str:
            return url

        def lost(_: bool) -> None:
            self.away.append(time.monotonic())

        def welcome(_: Welcome) -> None:
            self.welcomed.append(time.monotonic())

        self.playback.open()
        try:
            await stay_connected(self.client, Reach(find), typed(questions), welcome, lost)
        finally:
            self.playback.close()

    def check(self, questions=QUESTIONS) -> None:
        """Each question was answered once, and all of the answer arrived."""
        heard = [trace for trace in self.traces if not trace.interrupted]
        assert [trace.transcript for trace in heard] == list(questions)
        for trace in heard:
            assert trace.reply == f"You said: {trace.transcript}. That is all."
            assert trace.heard_seconds == pytest.approx(trace.audio_seconds, abs=0.05)
            assert trace.frames_generated == pytest.approx(trace.audio_seconds * FPS, abs=1.01)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "weather", [{"delay": 0.3, "jitter": 0.2}, {"most_bytes": 64}], ids=["300 +- 200 ms", "64 bytes at a time"]
)
def test_a_slow_network_loses_and_repeats_nothing(weather, measured):
    async def main() -> Session:
        session = Session()
        async with serving() as far, proxy(far, Weather(**weather)) as url:
            await session.hold(url)
        return session

    session = asyncio.run(main())
    session.check()
    measured("voice to voice at most", max(trace.spans_ms["voice_to_voice"] for trace in session.traces) / 1000)
    assert not session.away and len(session.welcomed) == 1


class PacedVoice(SineVoice):
    """Speaks little faster than is heard, so that in mid answer most of it is still to come."""

    def speak(self, text: str) -> Iterator[np.ndarray]:
        for pcm in super().speak(text):
            for start in range(0, len(pcm), RATE // 10):
                time.sleep(0.08)
                yield pcm[start : start + RATE // 10]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("when", ["before it is heard", "in mid answer"])
def test_ten_seconds_without_a_network_lose_and_repeat_nothing(when, measured):
    def begun(session: Session) -> bool:
        heard = session.playback.counts().played if when == "in mid answer" else 1
        return session.client._turn is not None and bool(session.client._turn.samples) and heard > 0

    async def main() -> Session:
        session, weather = Session(), Weather()
        async with serving(voice=PacedVoice()) as far, proxy(far, weather) as url:
            talk = asyncio.create_task(session.hold(url))
            while not begun(session):
                await asyncio.sleep(0.001)
            weather.hole(10)
            await talk
        return session

    session = asyncio.run(main())
    session.check()
    waited = [(trace.starved_ms + trace.spans_ms["voice_to_voice"]) / 1000 for trace in session.traces]
    assert 9 < measured("the voice waited", waited[0]) < 12 and max(waited[1:]) < 2
    assert not session.away


@pytest.mark.timeout(60)
def test_a_server_elsewhere_is_found_again_within_a_second(measured):
    async def main() -> tuple[Session, float]:
        session = Session()
        async with serving() as url:
            talk = asyncio.create_task(session.hold(url))
            while session.client._turn is None:
                await asyncio.sleep(0.001)
        await asyncio.sleep(1.5)
        async with serving(int(url.rsplit(":", 1)[1])):
            back = time.monotonic()
            await talk
        return session, session.welcomed[1] - back

    session, seconds = asyncio.run(main())
    assert len(session.welcomed) == 2 and measured("found again", seconds) < 1
    answered = [trace.transcript for trace in session.traces if not trace.interrupted]
    assert answered[-2:] == list(QUESTIONS[1:])
    assert answered[0] in (QUESTIONS[0], "")  # again, or an apology where something had been heard


def frame_of(message) -> bytes:
    """A WebSocket frame as clients send it."""
    payload = encode(message)
    assert len(payload) < 126
    mask = os.urandom(4)
    return bytes([0x82, 0x80 | len(payload)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


async def upgraded(url):
    """A connection whose handshake is done."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def seat_is_free(url) -> None:
    while True:
        async with connect(url, proxy=None) as socket:
            await socket.send(encode(Hello(PROTOCOL)))
            if isinstance(decode(await socket.recv()), Welcome):
                return


HELLO, QUESTION = frame_of(Hello(PROTOCOL)), frame_of(UserText(1, "Hm?"))


@pytest.mark.timeout(60)
def test_a_client_that_vanishes_after_any_number_of_bytes_leaves_its_place_and_no_half_turn(measured):
    async def main() -> None:
        engines = light_engines()
        async with Server(engines, NoticeBoard(), 1).listening("127.0.0.1", 0) as port, asyncio.timeout(55):
            url = f"ws://127.0.0.1:{port}"
            for sent in range(len(HELLO) + len(QUESTION)):
                reader, writer = await upgraded(url)
                writer.write(HELLO[:sent])
                if sent >= len(HELLO):
                    await reader.readexactly(2)  # the welcome
                    writer.write(QUESTION[: sent - len(HELLO)])
                await writer.drain()
                writer.transport.abort()
                await seat_is_free(url)
        assert engines.llm.asked == 0

    began = time.monotonic()
    asyncio.run(main())
    measured(f"all {len(HELLO) + len(QUESTION)} numbers of bytes", time.monotonic() - began)
