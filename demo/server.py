"""The server: listens on a WebSocket and holds one conversation per connection."""

import asyncio
import contextlib
import errno
import logging
import signal
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import IO

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.exceptions import ConnectionClosed

from demo.admission import Admission, Pace, WaitingRoom, open_door, welcome
from demo.animator import Activity, WatchedStreamer
from demo.conversation import Conversation
from demo.engines import Engines, load_engines
from demo.logs import beside, set_up_logging
from demo.messages import PROTOCOL, Hello, Message, Notice, Welcome, WireError, decode, encode
from demo.readiness import Failed, Ready, ServerError, socket_url
from demo.settings import Settings
from demo.supervision import Part, guard_process
from demo.voices import Notify
from streamingtalker.errors import UserError
from streamingtalker.mood import Mood, MoodError

log = logging.getLogger(__name__)

SERVE_PORT = 8765  # with --serve and no --port
PROTOCOL_ERROR = 1002  # WebSocket close codes
TRY_AGAIN_LATER = 1013
NOTICES_KEPT = 20

LoadEngines = Callable[[Settings, Notify], Awaitable[Engines]]


class FullError(UserError):
    """The server holds as many conversations as it may."""


class NoticeBoard:
    """Sentences for every operator: those connected hear them, and those who connect later."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._past: list[Notice] = []
        self._readers: set[asyncio.Queue[Notice]] = set()

    def warn(self, text: str) -> None:
        """Post a warning; from any thread."""
        log.info("%s", text)  # no louder: the operator of a client hears it from there
        self._loop.call_soon_threadsafe(self._post, Notice("warning", text))

    def _post(self, notice: Notice) -> None:
        self._past = [*self._past, notice][-NOTICES_KEPT:]
        for reader in self._readers:
            if reader.qsize() < NOTICES_KEPT:
                reader.put_nowait(notice)

    async def read(self) -> AsyncGenerator[Notice]:
        """All notices, past and to come."""
        queue: asyncio.Queue[Notice] = asyncio.Queue()
        for notice in self._past:
            queue.put_nowait(notice)
        self._readers.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._readers.discard(queue)


class Server:
    """Conversations over WebSocket connections, several at once, on shared engines."""

    def __init__(
        self,
        engines: Engines,
        notices: NoticeBoard,
        most: int = Settings().max_sessions,
        admission: Admission | None = None,
    ) -> None:
        """``most``: conversations at the same time. One more client is told so and sent away."""
        self._engines = engines
        self._notices = notices
        self._most = most
        self._held = 0  # conversations going on
        self._admission = admission or Admission()
        self._limits = self._admission.limits
        self._waiting = WaitingRoom(self._limits.waiting)

    @contextlib.asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[int]:
        """Take connections inside the ``async with``, which gives the port. Raises ServerError."""
        limits, tls = self._limits, self._admission.tls
        try:
            listener = await listen(
                self._hold,
                host,
                port,
                process_request=self._admission.refuses,
                create_connection=self._waiting.connection,
                ssl=tls,
                ssl_handshake_timeout=limits.header_seconds if tls else None,
                open_timeout=limits.header_seconds,
                max_size=limits.hello_bytes,  # until it is welcome
                close_timeout=limits.close_seconds,
                ping_interval=limits.ping_seconds,
                ping_timeout=limits.pong_seconds,
                compression=None,  # motion and sound do not shrink, and the cores have better work
                origins=[None],  # programs only: a page in somebody's browser must not talk to this machine
            )
        except OSError as error:
            raise ServerError(_why_not(host, port, error)) from error
        async with listener:
            try:
                yield listener.sockets[0].getsockname()[1]
            finally:
                listener.close()
                self._waiting.close()  # else it ends with the deadline of the slowest of them

    async def _hold(self, socket: ServerConnection) -> None:
        """One connection from hello to goodbye."""
        address = socket.remote_address  # afterwards nobody knows
        try:
            mood = await self._mood_wanted(socket)
            with self._seat():
                welcome(socket)
                await self._converse(socket, mood)
        except FullError as error:
            log.warning("%s was sent away: %d conversations are going on", address, self._held)
            await _refuse(socket, str(error), TRY_AGAIN_LATER)
        except WireError as error:
            log.warning("%s sent something else than a message: %s", address, error)
            await _refuse(socket, f"Not understood: {error}.")
        except ConnectionClosed:
            pass
        log.info("%s disconnected", address)

    @contextlib.contextmanager
    def _seat(self) -> Iterator[None]:
        """A place among the conversations, free again however this one ends. Raises FullError."""
        if self._held >= self._most:
            raise FullError(
                f"All {self._most} places of this server are taken; come back later, or start it with a larger "
                "--max-sessions."
            )
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    async def _mood_wanted(self, socket: ServerConnection) -> Mood | None:
        """What the client says in its Hello. Raises WireError where it says none."""
        try:
            async with asyncio.timeout(self._limits.hello_seconds):
                hello = decode(await socket.recv())
        except TimeoutError:
            raise WireError(f"no Hello within {self._limits.hello_seconds:g} s") from None
        if not isinstance(hello, Hello):
            raise WireError(f"{type(hello).__name__} before Hello")
        if hello.protocol != PROTOCOL:
            raise WireError(f"client speaks protocol {hello.protocol}, this server {PROTOCOL}; update the older one")
        try:
            return Mood.parse(hello.mood) if hello.mood else None
        except MoodError as error:
            raise WireError(str(error).rstrip(".")) from error

    def _welcome(self, resting: Mood) -> Welcome:
        face, rate, names = self._engines.face, self._engines.voice.sample_rate, self._engines.names()
        draws_moods = bool(face.moods)
        return Welcome(
            PROTOCOL, face.avatar, face.vertices, face.fps, rate, names, face.mesh, str(resting), draws_moods
        )

    async def _converse(self, socket: ServerConnection, mood: Mood | None) -> None:
        async def send(message: Message) -> None:
            try:
                await socket.send(encode(message))
            except ConnectionClosed as error:
                raise ConnectionError("the client has gone") from error

        async def forward_notices() -> None:
            with contextlib.suppress(ConnectionError):
                async with contextlib.aclosing(self._notices.read()) as notices:
                    async for notice in notices:
                        await send(notice)

        conversation = Conversation(self._engines, send, mood)
        forwarding: asyncio.Task[None] | None = None
        try:
            log.info("%s connected", socket.remote_address)
            await socket.send(encode(self._welcome(conversation.resting_mood)))
            forwarding = asyncio.create_task(forward_notices())
            pace = Pace(self._limits)
            async for data in socket:
                await conversation.handle(decode(data))
                if wait := pace.wait(len(data)):
                    await asyncio.sleep(wait)
        finally:
            if forwarding is not None:
                forwarding.cancel()
            await conversation.close()


async def serve(
    settings: Settings, ready: Callable[[Ready], None], stop: asyncio.Event, load: LoadEngines = load_engines
) -> None:
    """Load the engines, take connections until ``stop`` is set. ``ready`` is called once clients may come.

    Raises UserError where the server cannot start.
    """
    admission = open_door(settings)
    notices = NoticeBoard()
    engines = await load(settings, notices.warn)
    port = settings.port or (SERVE_PORT if settings.serve else 0)
    try:
        async with Server(engines, notices, settings.max_sessions, admission).listening(settings.host, port) as port:
            ready(Ready(port, engines.names()))
            await stop.wait()
    finally:
        await engines.llm.close()
        await asyncio.to_thread(engines.face.close)


async def _serve_guarded(
    settings: Settings, ready: Callable[[Ready], None], stop: asyncio.Event, load: LoadEngines, stacks: IO[str]
) -> None:
    """``serve`` in a process that ends itself when its event loop hangs, or its face model."""
    activity = Activity()
    guards: list[asyncio.Task[None]] = []

    async def load_watched(settings: Settings, notify: Notify) -> Engines:
        engines = await load(settings, notify)
        new_streamer = engines.face.new_streamer
        watched = replace(engines.face, new_streamer=lambda: WatchedStreamer(new_streamer(), activity))
        return replace(engines, face=watched)

    def begin(report: Ready) -> None:
        animator = Part("animator", lambda: activity.done, lambda: activity.busy)
        guards.append(asyncio.create_task(guard_process([animator], stacks)))
        ready(report)

    try:
        await serve(settings, begin, stop, load_watched)
    finally:
        for guard in guards:
            guard.cancel()
        await asyncio.gather(*guards, return_exceptions=True)


def serve_in_foreground(settings: Settings, load: LoadEngines = load_engines, stacks: IO[str] = sys.stderr) -> None:
    """Serve until interrupted, for ``--serve``. Where a part of it hangs, ``stacks`` gets the stacks of all threads.

    Raises UserError where the server cannot start.
    """

    def ready(ready: Ready) -> None:
        url = socket_url(settings.host, ready.port, "wss" if settings.tls_cert else "ws")
        log.info("Listening on %s with %s", url, ready.engines)

    async def main() -> None:
        stop = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
                asyncio.get_running_loop().add_signal_handler(name, stop.set)
        await _serve_guarded(settings, ready, stop, load, stacks)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())


def run_server(settings: Settings, pipe: Connection, load: LoadEngines = load_engines) -> None:
    """The server process of ``run_demo.py``: tells ``pipe`` Ready or Failed, ends when the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides

    def tell(report: Ready | Failed) -> None:
        with contextlib.suppress(OSError):  # the parent has gone: the waiting thread sees it, too
            pipe.send(report)

    async def main() -> None:
        stop = asyncio.Event()
        threading.Thread(target=_wait_for_parent, args=(pipe, asyncio.get_running_loop(), stop), daemon=True).start()
        await _serve_guarded(settings, tell, stop, load, stacks)

    try:
        stacks = set_up_logging(beside(settings.log, "server"), logging.WARNING)
        asyncio.run(main())
    except UserError as error:
        tell(Failed(str(error)))


def _wait_for_parent(pipe: Connection, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Set ``stop`` when the parent closes its end of the pipe, on purpose or by dying."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.recv()
    with contextlib.suppress(RuntimeError):  # the loop may have ended by itself
        loop.call_soon_threadsafe(stop.set)


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use; stop the other program or choose another port with --port."
    return f"The server cannot listen on {host} port {port} ({error.strerror or error}); check --host and --port."


async def _refuse(socket: ServerConnection, text: str, code: int = PROTOCOL_ERROR) -> None:
    with contextlib.suppress(ConnectionClosed):
        await socket.send(encode(Notice("error", text)))
        await socket.close(code, text[:100])
