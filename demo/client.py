"""The client side of a conversation: what the user says goes to the server, what comes back to face and loudspeaker."""

import asyncio
import contextlib
import dataclasses
import functools
import logging
import math
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from demo.active_turn import ActiveTurn
from demo.connection import receive_while_alive
from demo.frame_queue import NOBODY, FrameQueue
from demo.hearing import Hearing
from demo.messages import (
    MAX_MESSAGE_BYTES,
    PROTOCOL,
    Commit,
    FaceFrame,
    Hello,
    Interrupt,
    Message,
    NewConversation,
    Notice,
    PcmChunk,
    ReplyText,
    TurnEnd,
    Welcome,
    WireError,
    decode,
    encode,
)
from demo.openings import Opening, requests
from demo.playback import Playback
from demo.speech_text import printable
from demo.tap import Tap
from demo.trace import TurnTrace, waited_ms
from demo.turn_taking import (
    Action,
    Asked,
    Begin,
    Event,
    Finish,
    Forget,
    Found,
    Lost,
    Muted,
    Pushed,
    Reveal,
    Spoken,
    Stop,
    TurnTaking,
)
from streamingtalker.errors import UserError
from streamingtalker.mood import Mood, MoodError

log = logging.getLogger(__name__)

SendBytes = Callable[[bytes], Awaitable[None]]
ReceiveBytes = Callable[[], Awaitable[bytes | str]]

_FRAMES_BEFORE_SOUND = 3  # a tenth of a second of face is there before the voice is heard
_ROOM_SECONDS = 0.25  # until it is looked what has been passed over of a full queue
_RATES = range(8_000, 192_001)  # Hz
_VERTEX_BYTES = 3 * 2  # float16
_CONNECTION: dict[str, Any] = {
    "max_size": MAX_MESSAGE_BYTES,
    "compression": None,
    "proxy": None,
    "ping_timeout": 60,  # a window that is being dragged may hold everything up for a while
    "close_timeout": 1,  # who leaves in the middle of an answer no longer reads the server's goodbye
}


class ServerConnectionError(UserError):
    """The server is not there, is another program, or has gone."""


class ServerLostError(ServerConnectionError):
    """The server was there, or may yet be: another attempt may reach it."""


class Client:
    """One connection to a server: does what ``TurnTaking`` decides.

    ``mood`` is what the server is asked to say everything in. ``on_turn`` is called with each turn when it is certain
    that it will be heard, and ``on_trace`` with its trace when it is over; ``on_hearing`` with how much is to be heard;
    ``on_notice`` with sentences for the operator; ``tap`` sees sound and frames. All of it happens in the event loop's
    thread, where ``take`` is to be called, too: not from within ``on_trace``, for the turn is just ending.
    ``offsets_ms`` gives what was measured of the pictures of the turn so far. ``credentials`` gives the options of
    ``connect`` that let us in.
    """

    def __init__(
        self,
        playback: Playback,
        frames: FrameQueue,
        *,
        mood: Mood | None = None,
        on_turn: Callable[[ActiveTurn], None] = lambda turn: None,
        on_trace: Callable[[TurnTrace], None] = lambda trace: None,
        on_hearing: Callable[[Hearing], None] = lambda hearing: None,
        on_notice: Callable[[Notice], None] = lambda notice: None,
        offsets_ms: Callable[[], dict[str, float]] = dict,
        tap: Tap | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        credentials: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._tap = tap or Tap()
        self._playback = playback
        self._frames = frames
        self._mood = mood
        self._taking = TurnTaking()
        self._told_hearing = Hearing.OPEN
        self._on_turn = on_turn
        self._on_trace = on_trace
        self._on_hearing = on_hearing
        self._on_notice = on_notice
        self._offsets_ms = offsets_ms
        self._monotonic = monotonic
        self._credentials = credentials
        self._welcome: Welcome | None = None
        self._turn: ActiveTurn | None = None
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._lost = False  # the server, in mid-session

    async def run(
        self,
        url: str,
        openings: Callable[[], AsyncIterator[Opening]],
        on_welcome: Callable[[Welcome], None] = lambda welcome: None,
        *,
        silence: float = math.inf,
    ) -> None:
        """Connect to ``url`` and take a turn for each of ``openings``, and for what ``take`` is told meanwhile.

        A server of which nothing at all comes for ``silence`` seconds is taken for dead. Raises ServerLostError where
        it cannot be reached or leaves; another ``run`` then goes on with the session, and is asked what waits. Raises
        what ``openings`` and ``on_welcome`` raise.
        """
        try:
            async with connect(url, **_CONNECTION, **self._credentials()) as socket:
                welcome = await self._greet(socket)
                on_welcome(welcome)
                receive = functools.partial(receive_while_alive, socket, silence)
                await self.converse(welcome, socket.send, receive, openings())
        except Exception as error:
            cause = _first(error)
            if not isinstance(cause, OSError | WebSocketException | WireError):
                raise cause from None
            raise ServerLostError(
                f"The server at {url} cannot be talked to ({_reason(cause)}); check that it runs there, or leave out "
                "--server."
            ) from cause

    async def converse(
        self, welcome: Welcome, send: SendBytes, receive: ReceiveBytes, openings: AsyncIterator[Opening]
    ) -> None:
        """Take turns with a server that has welcomed us, whom ``send`` and ``receive`` reach."""
        self._welcome, self._outbox = welcome, asyncio.Queue()
        try:
            async with asyncio.TaskGroup() as tasks:
                others = [tasks.create_task(self._send(send)), tasks.create_task(self._receive(receive))]
                if self._lost:
                    self._lost = False
                    self.take(Found())
                    await self.quiet()
                async for opening in openings:
                    self.take(Asked(opening))
                    await self.quiet()
                for other in others:
                    other.cancel()
        except Exception:
            self._lost = True
            raise
        finally:
            self._welcome = None
            ended = self._turn is not None and self._turn.end is not None
            self.take(Lost(ended, self._playback.counts().played > 0)) if self._lost else self.leave()

    @property
    def idle(self) -> bool:
        """Whether the avatar has no turn, or one that nobody knows of."""
        return self._turn is None or self._turn.secret

    def leave(self) -> None:
        """The session is over, and so is its turn."""
        self._leave()

    def take(self, event: Event) -> None:
        """Something has happened. Before there is a server nobody would answer: then only switches count."""
        connected = self._welcome is not None or self._lost
        if not connected and not isinstance(event, Muted | Pushed):
            log.debug("Nobody is there to answer to %s.", type(event).__name__)
            return
        for action in self._taking.step(event):
            self._do(action)
        if self._told_hearing is not self.hearing:
            self._told_hearing = self.hearing
            self._on_hearing(self.hearing)

    async def quiet(self) -> None:
        """Wait until nobody has the turn."""
        while self._turn is not None:
            await asyncio.shield(self._turn.over)

    @property
    def hearing(self) -> Hearing:
        """How much is to be heard now."""
        return self._taking.hearing

    @property
    def half_duplex(self) -> bool:
        """Whether nothing is to be heard while the avatar has the turn; to be set before the first one."""
        return self._taking.half_duplex

    @half_duplex.setter
    def half_duplex(self, half_duplex: bool) -> None:
        self._taking.half_duplex = half_duplex

    @property
    def asks_again(self) -> bool:
        """Whether somebody who is not understood is told so."""
        return self._taking.asks_again

    @asks_again.setter
    def asks_again(self, asks_again: bool) -> None:
        self._taking.asks_again = asks_again

    @property
    def switches(self) -> tuple[bool, bool]:
        """Whether the microphone is muted, and whether push-to-talk opens it all the same."""
        return self._taking.muted, self._taking.pushed

    def _do(self, action: Action) -> None:
        match action:
            case Begin():
                self._begin(action)
            case Reveal(opening=opening):
                self._reveal(opening)
            case Stop(interrupted_at=interrupted_at):
                self._stop(interrupted_at)
            case Finish():
                self._leave()
            case Forget():
                self._outbox.put_nowait(NewConversation())

    def _begin(self, begin: Begin) -> None:
        assert self._turn is None and self._welcome is not None
        loop, number, welcome = asyncio.get_running_loop(), begin.turn, self._welcome
        self._frames.begin(number)
        self._tap.begin(number, welcome.sample_rate, welcome.fps)
        played = self._playback.begin(number, welcome.sample_rate)
        played.add_done_callback(lambda done: _call(loop, self.take, Spoken(number)) if done.result() else None)
        secret = begin.secretly
        turn = ActiveTurn(number, begin.opening, welcome, self._monotonic(), loop.create_future(), secret, secret)
        self._turn = turn
        for message in requests(number, begin.opening, secret):
            self._outbox.put_nowait(message)
        if not secret:
            self._on_turn(turn)

    def _reveal(self, opening: Opening) -> None:
        assert self._turn is not None
        turn = self._turn
        turn.opening, turn.secret = opening, False
        self._outbox.put_nowait(Commit(turn.number))
        self._on_turn(turn)
        self._let_be_heard(turn)

    def _let_be_heard(self, turn: ActiveTurn) -> None:
        if turn.secret:
            return
        if turn.frames >= _FRAMES_BEFORE_SOUND:
            self._playback.start(turn.number)
        if turn.end is not None:
            self._playback.end(turn.number)

    def _stop(self, interrupted_at: float | None) -> None:
        assert self._turn is not None
        offsets_ms = self._offsets_ms()  # with the sound's end the pictures are another turn's
        heard = self._playback.stop()
        silence_ms = None if interrupted_at is None else (self._playback.silent_at() - interrupted_at) * 1000
        self._outbox.put_nowait(Interrupt(self._turn.number, round(heard * self._turn.welcome.sample_rate)))
        self._leave(interrupted=True, silence_ms=silence_ms, offsets_ms=offsets_ms)
        self._frames.begin(NOBODY)

    def _leave(
        self,
        *,
        interrupted: bool = False,
        silence_ms: float | None = None,
        offsets_ms: dict[str, float] | None = None,
    ) -> None:
        """The turn is over, if there is one."""
        turn, self._turn = self._turn, None
        if turn is None:
            return
        try:
            heard = self._playback.counts().played / self._playback.clock.rate
            self._tap.end(turn.number, heard)
            if not turn.secret:
                trace = self._trace(turn)
                trace.interrupted, trace.heard_seconds, trace.silence_ms = interrupted, heard, silence_ms
                trace.av_offset_ms = self._offsets_ms() if offsets_ms is None else offsets_ms
                self._on_trace(trace)
        finally:
            if not turn.over.done():
                turn.over.set_result(None)

    async def _send(self, send: SendBytes) -> None:
        while True:
            await send(encode(await self._outbox.get()))

    async def _greet(self, socket: ClientConnection) -> Welcome:
        await socket.send(encode(Hello(PROTOCOL, str(self._mood or ""))))
        welcome = decode(await asyncio.wait_for(socket.recv(), 30))
        if isinstance(welcome, Notice):
            raise WireError(f"it says: {printable(welcome.text)}")
        if not isinstance(welcome, Welcome):
            raise WireError(f"it answered with {type(welcome).__name__} instead of a welcome")
        if welcome.sample_rate not in _RATES or not 0 < welcome.fps < 1000:
            raise WireError("its welcome promises sound or pictures at an impossible rate")
        _check_mood(welcome.mood)
        return welcome

    async def _receive(self, receive: ReceiveBytes) -> None:
        """Hand on what the server sends, until it ends the connection: ConnectionClosed."""
        while True:
            message = _readable(decode(await receive()))
            if isinstance(message, Notice):
                self._on_notice(message)
            elif not isinstance(message, ReplyText | PcmChunk | FaceFrame | TurnEnd):
                raise WireError(f"a server does not send {type(message).__name__} now")
            elif self._turn is not None and message.turn == self._turn.number:
                await self._handle(self._turn, message)

    async def _handle(self, turn: ActiveTurn, message: ReplyText | PcmChunk | FaceFrame | TurnEnd) -> None:
        match message:
            case ReplyText():
                _check_mood(message.mood)
                turn.captions.append(message)
            case PcmChunk():
                if len(message.pcm) % 2:
                    raise WireError("it sent half a sample")
                pcm = np.frombuffer(message.pcm, "<i2").astype(np.float32) / 32768
                turn.note_pcm(pcm)
                self._tap.sound(turn.number, pcm)
                self._playback.write(turn.number, pcm)
            case FaceFrame():
                await self._queue(turn, message)
            case TurnEnd():
                turn.note_end(self._monotonic(), message)
                self._frames.end(turn.number, message.frames)
                self._let_be_heard(turn)

    async def _queue(self, turn: ActiveTurn, message: FaceFrame) -> None:
        """Put a frame into the queue, waiting in a worker thread while it is full; let the voice start.

        Where nobody draws any more the sound makes room: the answer goes on.
        """
        if len(message.offsets) != turn.welcome.vertices * _VERTEX_BYTES:
            raise WireError("it sent a frame of another face than it promised")
        offsets = np.frombuffer(message.offsets, "<f2").reshape(-1, 3)
        self._tap.frame(turn.number, message.index, offsets)
        turn.note_frame(self._monotonic(), self._frames.full())
        while self._frames.full():
            self._frames.pass_over(turn.number, self._playback.clock.now(), turn.welcome.fps)
            await asyncio.to_thread(self._frames.wait_for_room, _ROOM_SECONDS)
        self._frames.put(turn.number, message.index, offsets)
        self._let_be_heard(turn)

    def _trace(self, turn: ActiveTurn) -> TurnTrace:
        counts, sound = self._frames.counts(), self._playback.counts()
        trace = TurnTrace(
            turn=turn.number,
            transcript=turn.opening.transcript,
            reply=turn.end.reply if turn.end else " ".join(caption.text for caption in turn.captions),
            audio_seconds=turn.samples / turn.welcome.sample_rate,
            frames_generated=turn.frames,
            frames_rendered=counts.drawn,
            frames_late=counts.late,
            generation_speed=turn.generation_speed,
            speculative=turn.speculative,
            underruns=sound.underruns,
            starved_ms=sound.starved / self._playback.clock.rate * 1000,
            dry=sound.dry,
            spans_ms=self._spans(turn),
        )
        heard_at = self._playback.first_sample_at(turn.number)
        if heard_at is not None:
            audible_at = heard_at + (turn.audible_sample or 0) / turn.welcome.sample_rate
            trace.finish_spans((audible_at - turn.opening.asked_at) * 1000)
        return trace

    def _spans(self, turn: ActiveTurn) -> dict[str, float]:
        """What was waited for, step by step, from the end of the question on."""
        opening = turn.opening
        known_at = opening.asked_at + sum(opening.spans_ms.values()) / 1000
        steps = waited_ms(turn.end.spans_ms, (known_at - turn.begun_at) * 1000) if turn.end else {}
        return dict(opening.spans_ms) | steps


def _readable(message: Message) -> Message:
    """The same without what a screen or a terminal might obey."""
    match message:
        case Notice(text=text) | ReplyText(text=text):
            return dataclasses.replace(message, text=printable(text))
        case TurnEnd(reply=reply):
            return dataclasses.replace(message, reply=printable(reply))
    return message


def _check_mood(text: str) -> None:
    try:
        Mood.parse(text)
    except MoodError as error:
        raise WireError("it names a mood that there is not") from error


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[Event], None], event: Event) -> None:
    """Have it called in the thread of ``loop``, from another one."""
    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits
        loop.call_soon_threadsafe(function, event)


def _first(error: Exception) -> Exception:
    """The first plain exception of a group of groups, or ``error`` itself."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _reason(error: Exception) -> str:
    """Why there is no talking to a server, in words."""
    if isinstance(error, ConnectionClosed):
        return f"it ended the connection{f': {error.rcvd.reason}' if error.rcvd and error.rcvd.reason else ''}"
    if isinstance(error, InvalidStatus) and error.response.status_code == HTTPStatus.UNAUTHORIZED:
        return "it wants its token, see --token-file"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted, {error.verify_message}; see --tls-cert"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    return str(error) or type(error).__name__
