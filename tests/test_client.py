"""The client against a scripted server on a real socket: turns, captions, back-pressure, the trace, and bad servers."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
from websockets.asyncio.server import serve

from demo import messages as m
from demo.active_turn import ActiveTurn
from demo.client import Client, ServerConnectionError
from demo.frame_queue import FrameQueue
from demo.openings import Line, Phrase, Question, Speech
from demo.playback import Playback, SimulatedSpeaker
from streamingtalker.audio import AudioError

pytestmark = pytest.mark.realtime
VERTICES, FPS, RATE = 3, 30.0, 24_000
LATE_SECONDS = 0.5
WELCOME = m.Welcome(m.PROTOCOL, "test", VERTICES, FPS, RATE, {"llm": "scripted"})


def _frame(turn, index):
    return m.FaceFrame(turn, index, np.full((VERTICES, 3), index, "<f2").tobytes())


def _answer(turn, seconds=0.4):
    """Half silence, half sound, with its frames and its end."""
    samples, frames = int(seconds * RATE), int(seconds * FPS)
    pcm = np.zeros(samples, "<i2")
    pcm[samples // 2 :] = 8000
    yield m.ReplyText(turn, "Hello there.", 0)
    yield m.PcmChunk(turn, 0, pcm.tobytes())
    yield from (_frame(turn, index) for index in range(frames))
    yield m.TurnEnd(turn, "Hello there.", samples, frames, {"llm_first_token": 5.0})


@asynccontextmanager
async def scripted_server(respond, received):
    """Sends what ``respond`` makes of each message: messages, what is no message at all, and seconds to wait."""

    async def handle(socket):
        received.append(m.decode(await socket.recv()))
        await socket.send(m.encode(WELCOME))
        async for data in socket:
            message = m.decode(data)
            received.append(message)
            for reply in respond(message):
                if isinstance(reply, float):
                    await asyncio.sleep(reply)
                    continue
                await socket.send(m.encode(reply) if not isinstance(reply, bytes | str) else reply)

    async with serve(handle, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _talk(respond, openings, frames=None):
    """Run a client through ``openings``; what the server got, what the traces say, which turns there were."""
    received, traces, turns = [], [], []

    async def opened():
        for opening in openings:
            yield opening

    playback = Playback(SimulatedSpeaker(latency=0.01))
    playback.open()
    try:
        client = Client(playback, frames or FrameQueue(), on_turn=turns.append, on_trace=traces.append)
        async with scripted_server(respond, received) as url:
            await client.run(url, opened)
    finally:
        playback.close()
    return received, traces, turns


def _respond(message):
    return _answer(message.turn) if isinstance(message, m.UserText | m.SayPhrase) else ()


def test_two_questions_are_two_turns_one_after_the_other():
    received, traces, turns = asyncio.run(_talk(_respond, [Question("Who are you?"), Phrase("not_heard")]))
    assert received == [m.Hello(m.PROTOCOL), m.UserText(1, "Who are you?"), m.SayPhrase(2, "not_heard")]
    assert [trace.turn for trace in traces] == [1, 2]
    assert [trace.transcript for trace in traces] == ["Who are you?", ""]
    assert traces[0].reply == "Hello there."
    assert traces[0].audio_seconds == pytest.approx(0.4)
    assert traces[0].frames_generated == 12
    assert turns[0].captions[0].text == "Hello there."


def test_voice_to_voice_counts_to_the_first_audible_sample():
    _, traces, _ = asyncio.run(_talk(_respond, [Question("Now?")]))
    assert 5.0 <= traces[0].spans_ms["llm_first_token"] < 1000.0  # the server's, and the way there
    assert 200 < traces[0].spans_ms["voice_to_voice"] < 10_000  # the answer begins with 200 ms of silence


def test_a_voice_that_came_too_late_is_in_the_trace():
    def respond(message):
        if not isinstance(message, m.UserText):
            return
        for reply in _answer(message.turn):
            if isinstance(reply, m.PcmChunk):
                first, second = reply.pcm[: RATE // 5], reply.pcm[RATE // 5 :]  # a tenth of a second, and three
                yield m.PcmChunk(message.turn, 0, first)
            elif isinstance(reply, m.TurnEnd):
                yield LATE_SECONDS
                yield m.PcmChunk(message.turn, len(first) // 2, second)
                yield reply
            else:
                yield reply

    _, traces, _ = asyncio.run(_talk(respond, [Question("Now?")]))
    assert traces[0].underruns == 1
    assert (LATE_SECONDS - 0.15) * 1000 < traces[0].starved_ms < 10_000
    _, in_time, _ = asyncio.run(_talk(_respond, [Question("Now?")]))
    assert (in_time[0].underruns, in_time[0].starved_ms) == (0, 0.0)


def test_a_full_queue_holds_the_answer_back_but_loses_nothing():
    frames = FrameQueue(capacity_frames=4)
    drawn = []

    def draw():
        """Go on to the next frame when the one that is due has been seen."""
        pose = frames.at(1, len(drawn) / FPS, FPS)
        if pose is not None and round(float(pose[0, 0])) == len(drawn):
            drawn.append(round(float(pose[0, 0])))

    async def render():
        while not frames.full():
            await asyncio.sleep(0.01)
        while True:
            draw()
            await asyncio.sleep(0.01)

    async def both():
        renderer = asyncio.create_task(render())
        outcome = await _talk(_respond, [Question("Full?")], frames)
        renderer.cancel()
        return outcome

    _, traces, _ = asyncio.run(both())
    for _ in range(frames.waiting()):
        draw()
    assert traces[0].frames_generated == 12
    assert drawn == list(range(12))


def test_an_answer_that_nobody_draws_is_spoken_to_its_end():
    """As where the window hangs: a full queue may hold up the answer, but not for good."""

    def respond(message):
        return _answer(message.turn, 3.0) if isinstance(message, m.UserText) else ()

    _, (trace,), _ = asyncio.run(asyncio.wait_for(_talk(respond, [Question("Full?")], FrameQueue(30)), 20))
    assert trace.heard_seconds == pytest.approx(3.0, abs=0.05)
    assert (trace.frames_generated, trace.frames_rendered, trace.underruns) == (90, 0, 0)


def test_what_belongs_to_an_older_turn_is_dropped():
    def respond(message):
        yield m.ReplyText(message.turn - 1, "old", 0)
        yield _frame(message.turn - 1, 0)
        yield from _answer(message.turn)

    _, traces, turns = asyncio.run(_talk(respond, [Question("Old?")]))
    assert traces[0].frames_generated == 12
    assert [caption.text for caption in turns[0].captions] == ["Hello there."]


def test_a_recording_travels_in_pieces():
    def respond(message):
        return _answer(message.turn) if message.last else ()

    pcm = np.linspace(-1, 1, 60_000, dtype=np.float32)
    received, _, _ = asyncio.run(_talk(respond, [Speech("speech.wav", pcm, 16_000)]))
    pieces = received[1:]
    assert [piece.last for piece in pieces] == [False, False, True]
    joined = np.frombuffer(b"".join(piece.pcm for piece in pieces), "<i2") / 32767
    np.testing.assert_allclose(joined, pcm, atol=1 / 32767)


@pytest.mark.parametrize("reply", [b"rubbish", "text", m.encode(m.Hello(1))], ids=["bytes", "text", "client's"])
def test_a_server_that_talks_rubbish_ends_with_one_sentence(reply):
    with pytest.raises(ServerConnectionError, match="cannot be talked to"):
        asyncio.run(_talk(lambda message: [reply, *_answer(message.turn)], [Question("Hm?")]))


@pytest.mark.parametrize(
    "reply",
    [m.FaceFrame(1, 0, bytes(6)), m.PcmChunk(1, 0, bytes(3))],
    ids=["another face's frame", "half a sample"],
)
def test_a_server_that_breaks_its_promises_ends_with_one_sentence(reply):
    with pytest.raises(ServerConnectionError, match=r"cannot be talked to \(it sent"):
        asyncio.run(_talk(lambda message: [reply], [Question("Hm?")]))


def test_what_fails_on_our_side_is_told_as_it_is():
    async def opened():
        yield Question("Fine?")
        raise AudioError("gone.wav does not exist.")

    async def run():
        playback = Playback(SimulatedSpeaker(latency=0.01))
        playback.open()
        try:
            async with scripted_server(_respond, []) as url:
                await Client(playback, FrameQueue()).run(url, opened)
        finally:
            playback.close()

    with pytest.raises(AudioError, match=r"gone\.wav"):
        asyncio.run(run())


def test_a_server_that_leaves_in_the_middle_of_a_turn_loses_no_trace():
    traces = []

    async def handle(socket):
        await socket.recv()
        await socket.send(m.encode(WELCOME))
        await socket.recv()
        for message in list(_answer(1))[:-2]:
            await socket.send(m.encode(message))
        await socket.close(1001, "out of order")

    async def opened():
        yield Question("Who are you?")

    async def run():
        async with serve(handle, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            await Client(Playback(SimulatedSpeaker()), FrameQueue(), on_trace=traces.append).run(url, opened)

    with pytest.raises(ServerConnectionError, match="it ended the connection: out of order"):
        asyncio.run(run())
    assert [(trace.transcript, trace.reply, trace.frames_generated) for trace in traces] == [
        ("Who are you?", "Hello there.", 11)
    ]


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (m.Notice("error", "Update the older one."), "it says: Update the older one."),
        (m.Welcome(m.PROTOCOL, "test", VERTICES, FPS, 0, {}), "impossible rate"),
        (m.Welcome(m.PROTOCOL, "test", VERTICES, FPS, RATE, {}, mood="grumpy"), "names a mood that there is not"),
        (m.Hello(m.PROTOCOL), "Hello instead of a welcome"),
    ],
    ids=["refusal", "rate", "mood", "echo"],
)
def test_a_server_that_does_not_welcome_us_is_told_why(first, reason):
    async def handle(socket):
        await socket.recv()
        await socket.send(m.encode(first))
        await socket.wait_closed()

    async def nothing():
        return
        yield

    async def run():
        async with serve(handle, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            await Client(Playback(SimulatedSpeaker()), FrameQueue()).run(url, nothing)

    with pytest.raises(ServerConnectionError, match=reason):
        asyncio.run(run())


def test_no_server_is_one_sentence():
    async def nothing():
        return
        yield

    playback = Playback(SimulatedSpeaker())
    with pytest.raises(ServerConnectionError, match=r"ws://127\.0\.0\.1:1 "):
        asyncio.run(Client(playback, FrameQueue()).run("ws://127.0.0.1:1", nothing))


def test_the_mood_follows_the_voice():
    turn = ActiveTurn(1, Line("x"), WELCOME, 0.0, over=None)
    assert turn.mood_at(0.5) is None
    turn.captions = [m.ReplyText(1, "One.", 0, "sad:0.5"), m.ReplyText(1, "Two.", RATE, "happy")]
    moods = [str(turn.mood_at(at)) for at in (None, 0.5, 1.0, 9.0)]
    assert moods == ["sad:0.5", "sad:0.5", "happy", "happy"]
