"""Who is let in and how much of the server anybody may take, over real sockets on loopback."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from demo.admission import (
    TOKEN_VARIABLE,
    Admission,
    AdmissionError,
    Limits,
    Pace,
    credentials,
    is_loopback,
    open_door,
    read_secret,
    read_token,
)
from demo.client import Client, ServerConnectionError
from demo.frame_queue import FrameQueue
from demo.messages import MAX_MESSAGE_BYTES, PROTOCOL, Hello, TurnEnd, UserText, Welcome, decode, encode
from demo.openings import Question
from demo.playback import Playback, SimulatedSpeaker
from demo.server import NoticeBoard, Server, serve
from demo.settings import Settings
from tests.conftest import missing
from tests.fuzz_messages import WHOLE, bent
from tests.server_fakes import TestClient, TinyStreamer, check_turn, client, load_fakes, make_engines

TOKEN = "correct-horse-battery"
OPEN_TO_ALL = replace(Settings(), host="0.0.0.0")


@contextlib.asynccontextmanager
async def guarded(admission: Admission, most: int = 8, **engines: object) -> AsyncIterator[int]:
    """A server that asks for ``admission``; gives its port."""
    async with Server(make_engines(**engines), NoticeBoard(), most, admission).listening("127.0.0.1", 0) as port:
        yield port


def limited(**limits: float) -> Admission:
    return Admission(limits=Limits(**limits))


async def let_in(port: int) -> bool:
    """Whether one more client is welcome, who leaves at once."""
    async with connect(f"ws://127.0.0.1:{port}", proxy=None) as socket:
        await socket.send(encode(Hello(PROTOCOL)))
        return isinstance(decode(await socket.recv()), Welcome)


def bearer(token: str) -> dict[str, dict[str, str]]:
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


def private(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


# --- whom the server asks for what -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_on_this_machine_nothing_is_asked_for(host):
    assert is_loopback(host)
    assert open_door(replace(Settings(), host=host), {}) == Admission()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.7", "stand.example", "127.0.0.1.example"])
def test_another_host_demands_a_token(host):
    settings = replace(Settings(), host=host)
    with pytest.raises(AdmissionError, match=r"token is needed: .*--token-file FILE, or set STREAM"):
        open_door(settings, {})
    assert open_door(settings, {TOKEN_VARIABLE: TOKEN}).token == TOKEN


def test_without_a_token_no_engine_is_loaded(monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    loaded = []

    async def load(settings, notify):
        loaded.append(settings)

    with pytest.raises(AdmissionError):
        asyncio.run(serve(OPEN_TO_ALL, lambda ready: None, asyncio.Event(), load))
    assert not loaded


def test_words_in_the_clear_are_warned_of(caplog):
    open_door(OPEN_TO_ALL, {TOKEN_VARIABLE: TOKEN})
    assert "in the clear" in caplog.text and TOKEN not in caplog.text


def test_the_token_file_goes_before_the_environment(tmp_path):
    settings = replace(Settings(), token_file=private(tmp_path / "token", f"{TOKEN}\n"))
    assert read_token(settings, {TOKEN_VARIABLE: "another-token-altogether"}) == TOKEN
    assert credentials(settings, {}) == bearer(TOKEN)
    assert credentials(Settings(), {}) == {}


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_secret_that_others_can_read_is_refused(tmp_path, mode):
    path = private(tmp_path / "token", TOKEN, mode)
    with pytest.raises(AdmissionError, match=rf"chmod 600 {path}") as refused:
        read_secret(path)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("text", ["", "short", "two words of a token", "tökentökentökentöken", "token\x00token\x00tok"])
def test_a_poor_token_is_refused_and_not_repeated(tmp_path, text):
    with pytest.raises(AdmissionError) as refused:
        read_token(replace(Settings(), token_file=private(tmp_path / "token", text)), {})
    assert not text or text not in str(refused.value)
    if text:
        with pytest.raises(AdmissionError, match=TOKEN_VARIABLE):
            read_token(Settings(), {TOKEN_VARIABLE: text})


def test_a_token_is_in_no_representation():
    assert TOKEN not in repr(Admission(TOKEN))


@pytest.mark.parametrize("shown", [None, "", "Bearer", "Bearer correct-horse-batterx", TOKEN, f"Basic {TOKEN}"])
def test_a_wrong_token_is_refused_before_any_work(shown, caplog):
    made: list[TinyStreamer] = []

    def new_streamer() -> TinyStreamer:
        made.append(TinyStreamer())
        return made[-1]

    async def main() -> None:
        headers = {} if shown is None else {"Authorization": shown}
        async with guarded(Admission(TOKEN), new_streamer=new_streamer) as port:
            url = f"ws://127.0.0.1:{port}"
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, proxy=None, additional_headers=headers)
            assert refused.value.response.status_code == 401
            assert not made, "a conversation was begun"
            async with connect(url, proxy=None, **bearer(TOKEN)) as socket:
                await socket.send(encode(Hello(PROTOCOL)))
                me = TestClient(socket, decode(await socket.recv()))
                await me.send(UserText(1, "Hi"))
                check_turn(await me.until(TurnEnd), 1)

    asyncio.run(main())
    assert "showed no token, or a wrong one" in caplog.text and TOKEN not in caplog.text


def client_without_sound() -> Client:
    return Client(Playback(SimulatedSpeaker()), FrameQueue())


def test_a_client_without_the_token_is_told_what_is_missing():
    async def nothing() -> AsyncIterator[object]:
        return
        yield

    async def main() -> None:
        async with guarded(Admission(TOKEN)) as port:
            with pytest.raises(ServerConnectionError, match="it wants its token, see --token-file"):
                await client_without_sound().run(f"ws://127.0.0.1:{port}", nothing)

    asyncio.run(main())


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that has signed itself, and its key."""
    if shutil.which("openssl") is None:
        missing("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=stand"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    key.chmod(0o600)
    return cert, key


def test_a_client_talks_tls_to_the_certificate_it_was_given(certificate):
    cert, key = certificate
    settings = replace(OPEN_TO_ALL, tls_cert=cert, tls_key=key)
    door = open_door(settings, {TOKEN_VARIABLE: TOKEN})
    shown = credentials(replace(Settings(), server="wss://127.0.0.1:1", tls_cert=cert), {TOKEN_VARIABLE: TOKEN})

    async def main() -> None:
        async with guarded(door) as port:
            url = f"wss://127.0.0.1:{port}"
            async with connect(url, proxy=None, **shown) as socket:
                await socket.send(encode(Hello(PROTOCOL)))
                assert isinstance(decode(await socket.recv()), Welcome)
                assert socket.transport.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
            with pytest.raises(ssl.SSLCertVerificationError):
                await connect(url, proxy=None)  # nobody it trusts has signed it
            with pytest.raises((WebSocketException, OSError, EOFError)):
                await connect(f"ws://127.0.0.1:{port}", proxy=None)

    asyncio.run(main())


def test_a_client_says_in_words_that_it_does_not_trust_a_certificate(certificate):
    cert, key = certificate
    door = open_door(replace(OPEN_TO_ALL, tls_cert=cert, tls_key=key), {TOKEN_VARIABLE: TOKEN})

    async def nothing() -> AsyncIterator[object]:
        return
        yield

    async def main() -> None:
        async with guarded(door) as port:
            with pytest.raises(
                ServerConnectionError, match=r"its certificate is not to be trusted, .*; see --tls-cert"
            ):
                await client_without_sound().run(f"wss://127.0.0.1:{port}", nothing)

    asyncio.run(main())


def test_connections_that_never_begin_their_handshake_keep_nobody_out_and_are_cut_off(certificate):
    cert, key = certificate
    tls = open_door(replace(Settings(), tls_cert=cert, tls_key=key), {}).tls
    shown = credentials(replace(Settings(), server="wss://127.0.0.1:1", tls_cert=cert), {})

    async def main() -> None:
        async with (
            guarded(Admission(tls=tls, limits=Limits(waiting=4, header_seconds=2.0))) as port,
            asyncio.timeout(20),
        ):
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            async with connect(f"wss://127.0.0.1:{port}", proxy=None, **shown) as socket:
                await socket.send(encode(Hello(PROTOCOL)))
                assert isinstance(decode(await socket.recv()), Welcome)
            for reader, writer in silent:
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
                writer.close()

    asyncio.run(main())


def test_a_certificate_that_does_not_serve_is_one_sentence(certificate, tmp_path):
    cert, key = certificate
    wrong = private(tmp_path / "wrong.pem", "no certificate")
    open_key = private(tmp_path / "open.pem", key.read_text(), 0o644)
    token = {TOKEN_VARIABLE: TOKEN}
    for settings, said in (
        (replace(OPEN_TO_ALL, tls_cert=wrong), r"wrong\.pem .* cannot be used"),
        (replace(OPEN_TO_ALL, tls_cert=cert, tls_key=open_key), r"Others can read .*open\.pem"),
        (replace(OPEN_TO_ALL, tls_cert=cert, tls_key=tmp_path / "gone"), r"gone cannot be read"),
        (replace(OPEN_TO_ALL, tls_key=key), "--tls-key is of no use alone"),
    ):
        with pytest.raises(AdmissionError, match=said):
            open_door(settings, token)
    with pytest.raises(AdmissionError, match=r"wrong\.pem cannot be used"):
        credentials(replace(Settings(), server="wss://x", tls_cert=wrong), {})


# --- limits ----------------------------------------------------------------------------------------------------------


def test_the_pace_lets_bursts_through_and_slows_down_floods():
    now = [0.0]
    limits = Limits(messages_a_second=10, messages_at_once=5, bytes_a_second=1000, bytes_at_once=2000)
    pace = Pace(limits, lambda: now[0])
    assert [pace.wait(10) for _ in range(5)] == [0.0] * 5
    assert pace.wait(10) == pytest.approx(0.1)
    now[0] = 100.0
    assert pace.wait(2000) == 0.0, "filled again, to the brim and no more"
    assert pace.wait(1000) == pytest.approx(1.0)
    now[0] = 101.0
    assert pace.wait(0) == 0.0


def test_a_flood_of_messages_is_slowed_down_and_answered():
    async def main() -> None:
        admission = limited(messages_a_second=50, messages_at_once=5)
        async with guarded(admission) as port, client(f"ws://127.0.0.1:{port}") as me, asyncio.timeout(30):
            began = time.monotonic()
            await me.send(*(UserText(turn, "Hm?") for turn in range(30)))
            check_turn([message for message in await me.until(TurnEnd, 29) if message.turn == 29], 29)
            assert time.monotonic() - began >= 0.4, "24 messages too many, 50 a second"

    asyncio.run(main())


def test_a_connection_without_an_end_to_its_request_is_cut_off():
    async def main() -> None:
        async with guarded(limited(header_seconds=0.2)) as port, asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
            began = time.monotonic()
            await reader.read()
            assert 0.1 < time.monotonic() - began < 2.0
            writer.close()

    asyncio.run(main())


def test_a_client_that_never_says_hello_is_cut_off():
    async def main() -> None:
        async with (
            guarded(limited(hello_seconds=0.2)) as port,
            connect(f"ws://127.0.0.1:{port}", proxy=None) as silent,
            asyncio.timeout(10),
        ):
            await silent.recv()  # the notice
            with pytest.raises(ConnectionClosed):
                await silent.recv()
            assert "no Hello within 0.2 s" in silent.close_reason

    asyncio.run(main())


def test_a_client_that_has_gone_silent_is_cut_off():
    """Its machine was switched off: no pong comes, and its place is free again."""

    async def main() -> None:
        admission = limited(ping_seconds=0.1, pong_seconds=0.2)
        async with (
            guarded(admission, most=1) as port,
            client(f"ws://127.0.0.1:{port}") as gone,
            asyncio.timeout(20),
        ):
            gone.socket.transport.pause_reading()
            while not await let_in(port):
                await asyncio.sleep(0.02)
            gone.socket.transport.abort()

    asyncio.run(main())


def test_only_a_hello_may_be_sent_by_whoever_is_not_welcome():
    async def main() -> None:
        async with guarded(Admission()) as port, asyncio.timeout(20):
            async with connect(f"ws://127.0.0.1:{port}", proxy=None) as stranger:
                await stranger.send(bytes(Limits().hello_bytes + 1))
                with pytest.raises(ConnectionClosed):
                    await stranger.recv()
                assert stranger.close_code == 1009
            async with client(f"ws://127.0.0.1:{port}") as me:
                await me.send(UserText(1, "H" * 100_000))
                check_turn(await me.until(TurnEnd), 1)
                me.socket.transport.write(b"\x82\xff" + (MAX_MESSAGE_BYTES + 1).to_bytes(8, "big") + b"mask")
                with pytest.raises(ConnectionClosed):
                    await me.receive()

    asyncio.run(main())


@pytest.mark.realtime
def test_fifty_slow_clients_hold_up_nobody(measured):
    """Bytes that trickle in, requests without an end, and clients that never say Hello."""

    async def trickle(port: int, head: bytes) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError):
            while True:
                for byte in head:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.05)

    async def stay_silent(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}", proxy=None) as silent:
            await silent.wait_closed()

    async def a_turn(port: int) -> float:
        began = time.monotonic()
        async with client(f"ws://127.0.0.1:{port}") as me:
            await me.send(UserText(1, "Hm?"))
            check_turn(await me.until(TurnEnd), 1)
        return time.monotonic() - began

    async def main() -> tuple[float, float]:
        async with guarded(Admission()) as port, asyncio.timeout(60):
            alone = await a_turn(port)
            slow = [asyncio.create_task(trickle(port, b"GET / HTTP/1.1\r\nX: ")) for _ in range(25)]
            slow += [asyncio.create_task(stay_silent(port)) for _ in range(25)]
            await asyncio.sleep(0.3)
            crowded = max([await a_turn(port) for _ in range(3)])
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
            return alone, crowded

    alone, crowded = asyncio.run(main())
    measured("a turn alone", alone)
    measured("among fifty slow clients", crowded)
    assert crowded - alone < 1.0


def test_whoever_floods_the_waiting_room_drives_out_its_own():
    async def main() -> None:
        async with (
            guarded(limited(waiting=3)) as port,
            client(f"ws://127.0.0.1:{port}") as welcomed,
            asyncio.timeout(20),
        ):
            connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            ended = [asyncio.create_task(reader.read()) for reader, _ in connections]
            await asyncio.wait(ended[:17])
            assert not any(task.done() for task in ended[17:]), "only the oldest have to go"
            assert await let_in(port)
            await welcomed.send(UserText(1, "Hm?"))
            check_turn(await welcomed.until(TurnEnd), 1)
            for task, (_, writer) in zip(ended, connections, strict=True):
                task.cancel()
                writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("before_hello", [True, False])
def test_a_claim_of_four_gigabytes_allocates_nothing(before_hello):
    async def main() -> None:
        async with guarded(Admission()) as port, asyncio.timeout(20):
            async with connect(f"ws://127.0.0.1:{port}", proxy=None) as claimant:
                if not before_hello:
                    await claimant.send(encode(Hello(PROTOCOL)))
                    await claimant.recv()
                tracemalloc.start()
                claimant.transport.write(b"\x82\xff" + (4 << 30).to_bytes(8, "big") + b"mask")
                with pytest.raises(ConnectionClosed):
                    await claimant.recv()
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
            assert peak < 1_000_000

    asyncio.run(main())


@pytest.mark.parametrize("flood", [b"GET /" + b"a" * 1_000_000, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000])
def test_a_head_without_an_end_is_cut_off_early(flood):
    async def main() -> None:
        async with guarded(Admission()) as port, asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(flood)
            began = time.monotonic()
            with contextlib.suppress(OSError):
                assert b"101" not in await reader.read()
            assert time.monotonic() - began < 5.0, "before its deadline"
            writer.close()

    asyncio.run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of this machine")
def test_the_server_listens_on_one_loopback_address_by_default():
    async def main() -> None:
        stop, ready = asyncio.Event(), asyncio.Queue()
        serving = asyncio.create_task(serve(Settings(), ready.put_nowait, stop, load_fakes))
        port = (await ready.get()).port
        async with client(f"ws://127.0.0.1:{port}"):
            pass
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.2", port)
        stop.set()
        await serving

    asyncio.run(main())


def test_a_server_survives_whatever_is_sent_after_the_hello():
    async def main() -> None:
        async with guarded(Admission()) as port, asyncio.timeout(60):
            for seed, message in enumerate(message for whole in WHOLE for message in bent(whole, 8, len(whole))):
                async with connect(f"ws://127.0.0.1:{port}", proxy=None, close_timeout=0.2) as stranger:
                    await stranger.send(encode(Hello(PROTOCOL)))
                    with contextlib.suppress(ConnectionClosed, TimeoutError):
                        await stranger.send(WHOLE[seed % len(WHOLE)])
                        await stranger.send(message)
                        async with asyncio.timeout(0.02):
                            while True:
                                decode(await stranger.recv())
            async with client(f"ws://127.0.0.1:{port}") as me:
                await me.send(UserText(1, "Hm?"))
                check_turn(await me.until(TurnEnd), 1)

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(4))
def test_a_client_ends_in_one_sentence_whatever_the_server_sends(seed):
    """A welcome, a turn begun, and then messages out of shape, out of order and out of range."""
    sent: list[bytes] = []

    async def answer(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(encode(Welcome(PROTOCOL, "tiny", 5, 30.0, 24_000, {})))
        await socket.recv()
        with contextlib.suppress(ConnectionClosed):
            await socket.send(sent[-1])

    async def question() -> AsyncIterator[Question]:
        yield Question("Hm?", time.monotonic(), {})

    async def main() -> None:
        async with listen(answer, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            for whole in WHOLE:
                for message in bent(whole, 3, seed):
                    sent.append(message)
                    with pytest.raises(ServerConnectionError, match="cannot be talked to"):
                        async with asyncio.timeout(10):
                            await client_without_sound().run(url, question)

    asyncio.run(main())
