"""The server over real sockets on loopback, with stand-ins for the engines; and in a process of its own."""

import asyncio
import contextlib
import logging
import multiprocessing
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from demo.admission import TOKEN_VARIABLE
from demo.engines import open_farm
from demo.messages import (
    PROTOCOL,
    FaceFrame,
    Hello,
    Interrupt,
    Notice,
    PcmChunk,
    ReplyText,
    TurnEnd,
    UserText,
    Welcome,
    decode,
    encode,
)
from demo.readiness import Failed, Ready, ServerError
from demo.server import LoadEngines, NoticeBoard, Server, run_server, serve
from demo.settings import Settings
from demo.voices import HibariVoice
from streamingtalker.mood import Mood
from tests.conftest import tiny_talker
from tests.server_fakes import (
    TALKATIVE,
    TestClient,
    TinyStreamer,
    check_turn,
    client,
    fail_to_load,
    load_fakes,
    make_engines,
    of,
    served,
)

LONG = ["This is one of very many sentences. ", *(f"Here is number {number}. " for number in range(500))]


def with_client(test: Callable[[TestClient], Awaitable[None]], **engines: object) -> None:
    """Run ``test`` with a welcomed client of a fresh server."""

    async def main() -> None:
        async with served(make_engines(**engines)) as url, client(url) as me, asyncio.timeout(60):
            await test(me)

    asyncio.run(main())


def test_a_question_is_answered_with_sound_and_frames():
    async def test(me: TestClient) -> None:
        names = {"llm": "scripted", "tts": "sine", "talker": "tiny", "device": "cpu"}
        assert me.welcome == Welcome(PROTOCOL, "tiny", 5, 30.0, 24_000, names, draws_moods=False)
        await me.send(UserText(1, "Hi!"))
        messages = await me.until(TurnEnd)
        end = check_turn(messages, 1)
        assert end.reply == "Hello. How are you?"
        assert list(end.spans_ms) == ["llm_first_token", "llm_first_sentence", "tts_first_audio", "first_frame"]
        assert [text.text for text in of(messages, ReplyText)] == ["Hello.", "How are you?"]

    with_client(test, script=["Hel", "lo. ", "How are", " you?"])


def test_an_interruption_in_the_middle():
    async def test(me: TestClient) -> None:
        for turn in (1, 3, 5):
            await me.send(UserText(turn, "Tell me everything."))
            await me.until(FaceFrame, turn)
            await me.send(Interrupt(turn), UserText(turn + 1, "Stop."))
            messages = await me.until(FaceFrame, turn + 1)
            turns = [message.turn for message in messages]
            assert turns == sorted(turns), "nothing of the older turn after the first of the newer"
            assert not of(messages, TurnEnd), "an interrupted turn has no end"

    with_client(test, script=LONG, persona=TALKATIVE)


def test_three_clients_at_once_with_a_real_voice():
    async def main() -> None:
        voice = HibariVoice()
        async with served(make_engines(["Hello there. ", "This is number one."], voice)) as url, asyncio.timeout(60):

            async def talk(turns: int) -> list[str]:
                async with client(url) as me:
                    said = []
                    for turn in range(turns):
                        await me.send(UserText(turn, f"Question {turn}"))
                        messages = await me.until(TurnEnd)
                        said.append(check_turn(messages, turn).reply)
                        pcm = np.concatenate([np.frombuffer(chunk.pcm, "<i2") for chunk in of(messages, PcmChunk)])
                        assert np.abs(pcm).max() > 1000
                    return said

            replies = await asyncio.gather(talk(3), talk(2), talk(1))
            assert replies == [["Hello there. This is number one."] * turns for turns in (3, 2, 1)]

    asyncio.run(main())


def test_a_vanished_client_leaves_nothing_running():
    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(3))  # its idle threads stay
        async with served(make_engines(LONG, persona=TALKATIVE)) as url, asyncio.timeout(60):
            before = asyncio.all_tasks()
            threads = threading.active_count()
            for _ in range(5):
                async with client(url) as me:
                    await me.send(UserText(1, "Hm?"))
                    await me.until(FaceFrame)
                    me.socket.transport.abort()
            async with client(url) as me:
                await me.send(UserText(1, "Hm?"))
                await me.until(FaceFrame)
            while asyncio.all_tasks() - before or threading.active_count() > threads + 3:
                await asyncio.sleep(0.01)  # ended by the connections' own end, not by us

    asyncio.run(main())


def test_a_client_that_stops_reading_holds_up_nobody_else():
    async def main() -> None:
        engines = make_engines(LONG, persona=TALKATIVE)
        async with served(engines) as url, connect(url, proxy=None, max_queue=1, close_timeout=0.1) as lazy:
            await lazy.send(encode(Hello(PROTOCOL)))
            await lazy.send(encode(UserText(1, "Hm?")))
            await asyncio.sleep(0.2)
            async with client(url) as me, asyncio.timeout(60):
                await me.send(UserText(1, "Hm?"))
                await me.until(FaceFrame)

    asyncio.run(main())


@pytest.mark.parametrize(
    "first, why",
    [
        (encode(Hello(PROTOCOL + 1)), f"protocol {PROTOCOL + 1}, this server {PROTOCOL}"),
        (encode(Hello(PROTOCOL, "grumpy")), "no mood 'grumpy'"),
        (encode(UserText(1, "Hi")), "UserText before Hello"),
        (b"\x00garbage", "Not understood"),
        ("text", "text message"),
    ],
)
def test_a_stranger_is_told_why_and_sent_away(first, why):
    async def main() -> None:
        async with served(make_engines()) as url, connect(url, proxy=None) as stranger, asyncio.timeout(60):
            await stranger.send(first)
            notice = decode(await stranger.recv())
            assert isinstance(notice, Notice) and why in notice.text
            with pytest.raises(ConnectionClosed):
                await stranger.recv()
            assert stranger.close_code == 1002

    asyncio.run(main())


def test_garbage_in_mid_conversation_ends_only_that_one():
    async def main() -> None:
        async with (
            served(make_engines(LONG, persona=TALKATIVE)) as url,
            client(url) as good,
            client(url) as bad,
            asyncio.timeout(60),
        ):
            await good.send(UserText(1, "Hm?"))
            await bad.send(UserText(1, "Hm?"))
            await bad.socket.send(b"\xc1")
            with pytest.raises(ConnectionClosed):
                await bad.until(TurnEnd)
            await good.until(FaceFrame)

    asyncio.run(main())


def test_a_web_page_is_not_let_in():
    async def main() -> None:
        async with served(make_engines()) as url:
            with pytest.raises(InvalidStatus):
                await connect(url, origin="https://example.com", proxy=None)

    asyncio.run(main())


def test_the_claim_of_a_message_too_large_ends_the_connection():
    async def main() -> None:
        async with served(make_engines()) as url, client(url) as me, asyncio.timeout(60):
            four_gigabytes = (4 << 30).to_bytes(8, "big")
            me.socket.transport.write(b"\x82\xff" + four_gigabytes + b"mask")  # a frame's head, and nothing of it
            with pytest.raises(ConnectionClosed):
                await me.receive()
            assert me.socket.close_code == 1009

    asyncio.run(main())


def test_notices_reach_those_connected_and_those_who_come_later():
    async def main() -> None:
        board = NoticeBoard()
        async with Server(make_engines(), board).listening("127.0.0.1", 0) as port, asyncio.timeout(60):
            url = f"ws://127.0.0.1:{port}"
            async with client(url) as early:
                await asyncio.to_thread(board.warn, "The voice has changed.")
                assert await early.receive() == Notice("warning", "The voice has changed.")
            async with client(url) as late:
                assert await late.receive() == Notice("warning", "The voice has changed.")

    asyncio.run(main())


def test_a_port_in_use_is_one_clear_sentence():
    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            settings = replace(Settings(), port=port)
            with pytest.raises(ServerError, match=f"Port {port} on 127.0.0.1 is in use; .* --port"):
                await serve(settings, lambda ready: None, asyncio.Event(), load_fakes)

    asyncio.run(main())


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
def test_an_address_that_is_not_ours_is_one_clear_sentence(host, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "a token nobody guesses".replace(" ", "-"))

    async def main() -> None:
        with pytest.raises(ServerError, match="cannot listen on"):
            await serve(replace(Settings(), host=host), lambda ready: None, asyncio.Event(), load_fakes)

    asyncio.run(main())


def test_serving_ends_when_told_and_closes_the_language_model():
    async def main() -> None:
        engines = make_engines()
        stop = asyncio.Event()
        heard: list[Ready] = []

        async def load(settings: Settings, notify: Callable[[str], None]) -> object:
            return engines

        def ready(report: Ready) -> None:
            heard.append(report)
            stop.set()

        async with asyncio.timeout(60):
            await serve(Settings(), ready, stop, load)
        assert heard[0].port > 0 and heard[0].engines["tts"] == "sine"
        assert engines.llm.closed

    asyncio.run(main())


@contextlib.contextmanager
def server_process(load: LoadEngines) -> Iterator[tuple[Connection, SpawnProcess]]:
    """``run_server`` in a process of its own, and our end of its pipe."""
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe()
    process = context.Process(target=run_server, args=(Settings(), far_end, load))
    process.start()
    far_end.close()
    try:
        assert pipe.poll(60)
        yield pipe, process
    finally:
        process.kill()
        process.join()


def test_the_server_process_reports_serves_and_ends_with_its_parent():
    async def main(port: int) -> None:
        async with client(f"ws://127.0.0.1:{port}") as me:
            await me.send(UserText(1, "Hi"))
            check_turn(await me.until(TurnEnd), 1)

    with server_process(load_fakes) as (pipe, process):
        report = pipe.recv()
        assert isinstance(report, Ready) and report.engines["llm"] == "scripted"
        asyncio.run(main(report.port))
        pipe.close()
        process.join(60)
        assert process.exitcode == 0


def test_a_server_process_that_cannot_load_reports_the_sentence():
    with server_process(fail_to_load) as (pipe, process):
        assert pipe.recv() == Failed("The test's engines are missing; add them.")
        process.join(60)
        assert process.exitcode == 0


def test_missing_weights_are_one_clear_sentence(tmp_path):
    from demo.engines import load_face
    from streamingtalker.tensor_file import CheckpointError

    with pytest.raises(CheckpointError, match=r"none\.safetensors does not exist"):
        load_face(replace(Settings(), talker=tmp_path / "none.safetensors"))


def test_the_log_names_connections_not_words(caplog):
    async def test(me: TestClient) -> None:
        await me.send(UserText(1, "My secret."))
        await me.until(TurnEnd)

    with caplog.at_level(logging.DEBUG, logger="demo"):
        with_client(test)
    assert "secret" not in caplog.text


def test_the_tiny_streamer_gives_a_frame_for_every_thirtieth_of_a_second():
    streamer = TinyStreamer()
    assert len(streamer.feed(np.zeros(8_000, np.float32))) + len(streamer.finish()) == 15


def test_a_client_may_want_everything_in_one_mood():
    async def main() -> None:
        engines = replace(make_engines(["I am sorry."]), mood=Mood("sad"))
        async with served(engines) as url, connect(url, proxy=None) as socket, asyncio.timeout(60):
            await socket.send(encode(Hello(PROTOCOL, "happy:0.5")))
            assert decode(await socket.recv()).mood == "happy:0.5"
            await socket.send(encode(UserText(1, "Hm?")))
            reply = decode(await socket.recv())
            assert (reply.text, reply.mood) == ("I am sorry.", "happy:0.5")
        async with served(engines) as url, client(url) as other:
            assert other.welcome.mood == "sad", "what the server was started with"

    asyncio.run(main())


@contextlib.asynccontextmanager
async def a_server_for(most: int, **engines: object) -> AsyncIterator[str]:
    async with Server(make_engines(**engines), NoticeBoard(), most).listening("127.0.0.1", 0) as port:
        yield f"ws://127.0.0.1:{port}"


async def welcomed(url: str) -> bool:
    """Whether the server takes one more client, who leaves at once."""
    async with connect(url, proxy=None) as socket:
        await socket.send(encode(Hello(PROTOCOL)))
        return isinstance(decode(await socket.recv()), Welcome)


def test_one_client_too_many_is_told_so_before_any_work():
    made: list[TinyStreamer] = []

    def new_streamer() -> TinyStreamer:
        made.append(TinyStreamer())
        return made[-1]

    async def main() -> None:
        async with a_server_for(2, new_streamer=new_streamer) as url, asyncio.timeout(60):
            async with client(url) as one, client(url):
                async with connect(url, proxy=None) as refused:
                    await refused.send(encode(Hello(PROTOCOL)))
                    notice = decode(await refused.recv())
                    assert isinstance(notice, Notice) and notice.level == "error"
                    assert "All 2 places" in notice.text and "--max-sessions" in notice.text
                    with pytest.raises(ConnectionClosed):
                        await refused.recv()
                    assert refused.close_code == 1013
                assert len(made) == 2
                await one.send(UserText(1, "Hi"))
                check_turn(await one.until(TurnEnd), 1)
            while not await welcomed(url):
                await asyncio.sleep(0.01)  # they leave in their own time
        assert all(streamer.closed for streamer in made)

    asyncio.run(main())


@pytest.mark.parametrize("how", ["goodbye", "vanished", "in mid message", "garbage", "in mid turn", "before hello"])
def test_a_place_is_free_again_however_a_client_goes(how):
    async def go(url: str) -> None:
        if how == "before hello":
            async with connect(url, proxy=None) as stranger:
                stranger.transport.abort()
            return
        async with client(url) as me:
            if how in ("in mid turn", "vanished"):
                await me.send(UserText(1, "Hm?"))
                await me.until(FaceFrame)
            if how == "garbage":
                await me.socket.send(b"\xc1")
            if how == "in mid message":
                me.socket.transport.write(b"\x82\xfe\x10\x00mask" + b"x" * 100)  # 100 of 4096 bytes
                await asyncio.sleep(0.05)
            if how != "goodbye":
                me.socket.transport.abort()

    async def main() -> None:
        async with a_server_for(1, script=LONG, persona=TALKATIVE) as url, asyncio.timeout(60):
            for _ in range(3):
                await go(url)
                while not await welcomed(url):
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_clients_of_a_farm_get_whole_turns_side_by_side():
    """The real thing but for voice and words: sockets, conversations, animators, one farm, a tiny network."""
    talker = tiny_talker()
    farm = open_farm(talker, 6)
    engines = make_engines(["Hello there. ", "This is number one."])
    engines = replace(engines, face=replace(engines.face, vertices=12, new_streamer=farm.stream, close=farm.close))

    async def talk(url: str) -> list[bytes]:
        async with client(url) as me:
            await me.send(UserText(1, "Hi"))
            frames = of(await me.until(TurnEnd), FaceFrame)
            assert [frame.index for frame in frames] == list(range(len(frames)))
            return [frame.offsets for frame in frames]

    async def main() -> None:
        async with Server(engines, NoticeBoard(), 6).listening("127.0.0.1", 0) as port, asyncio.timeout(60):
            faces = await asyncio.gather(*(talk(f"ws://127.0.0.1:{port}") for _ in range(6)))
            alone = await talk(f"ws://127.0.0.1:{port}")
        assert len(alone) > 20
        for face in faces:
            together, single = (np.frombuffer(b"".join(each), "<f2").astype(float) for each in (face, alone))
            np.testing.assert_allclose(together, single, atol=1e-4)  # half precision

    asyncio.run(main())
    farm.close()
