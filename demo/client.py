"""The client side of a conversation: what the user says goes to the server, what comes back to face and loudspeaker."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from demo.frame_queue import FrameQueue
from demo.messages import (
    MAX_MESSAGE_BYTES,
    PROTOCOL,
    FaceFrame,
    Hello,
    Message,
    Notice,
    PcmChunk,
    Performance,
    ReplyText,
    SayPhrase,
    SayText,
    TurnEnd,
    UserText,
    Welcome,
    WireError,
    decode,
    encode,
)
from demo.openings import Opening, Phrase, Question, Speech
from demo.playback import Playback
from demo.tap import Tap
from demo.trace import TurnTrace
from streamingtalker.errors import UserError
from streamingtalker.mood import Mood, MoodError

log = logging.getLogger(__name__)

_FRAMES_BEFORE_SOUND = 3  # a tenth of a second of face is there before the voice is heard
_AUDIBLE = 0.004  # -48 dBFS: where a voice begins to be heard
_PIECE = 24_000  # samples of a recording in one message
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


@dataclass
class ActiveTurn:
    """The turn now going on."""

    number: int
    opening: Opening
    welcome: Welcome
    spoken: "asyncio.Future[bool]"  # True once the last sample has left the speaker
    captions: list[ReplyText] = field(default_factory=list)
    frames: int = 0  # received
    samples: int = 0  # received
    audible_sample: int | None = None  # the first that can be heard
    end: TurnEnd | None = None

    def note_pcm(self, pcm: np.ndarray) -> None:
        """Count a piece of the answer's audio and find where it becomes audible."""
        if self.audible_sample is None:
            loud = np.flatnonzero(np.abs(pcm) > _AUDIBLE)
            self.audible_sample = self.samples + int(loud[0]) if len(loud) else None
        self.samples += len(pcm)

    def caption_at(self, seconds: float | None) -> str:
        """The sentence being spoken ``seconds`` into the turn."""
        sample = (seconds or 0.0) * self.welcome.sample_rate
        begun = [caption.text for caption in self.captions if caption.start_sample <= sample]
        return begun[-1] if begun else ""

    def mood_at(self, seconds: float | None) -> Mood | None:
        """The mood of the sentence being spoken ``seconds`` into the turn, or about to be; None where none is there."""
        sample = (seconds or 0.0) * self.welcome.sample_rate
        begun = [caption.mood for caption in self.captions if caption.start_sample <= sample]
        return Mood.parse(begun[-1]) if begun else None


class Client:
    """One connection to a server; takes turns one after another.

    ``mood`` is what the server is asked to say everything in. ``on_turn`` is called with each turn when it begins and
    ``on_trace`` with its trace when it is over; ``on_notice`` with sentences for the operator; ``tap`` sees sound and
    frames. All of it happens in the event loop's thread.
    """

    def __init__(
        self,
        playback: Playback,
        frames: FrameQueue,
        *,
        mood: Mood | None = None,
        on_turn: Callable[[ActiveTurn], None] = lambda turn: None,
        on_trace: Callable[[TurnTrace], None] = lambda trace: None,
        on_notice: Callable[[Notice], None] = lambda notice: None,
        tap: Tap | None = None,
    ) -> None:
        self._tap = tap or Tap()
        self._playback = playback
        self._frames = frames
        self._mood = mood
        self._on_turn = on_turn
        self._on_trace = on_trace
        self._on_notice = on_notice
        self._turn: ActiveTurn | None = None
        self._turns = 0

    async def run(
        self,
        url: str,
        openings: Callable[[], AsyncIterator[Opening]],
        on_welcome: Callable[[Welcome], None] = lambda welcome: None,
    ) -> None:
        """Connect to ``url`` and take a turn for each of ``openings``.

        Raises ServerConnectionError where the server cannot be reached or leaves, and what ``openings`` and
        ``on_welcome`` raise.
        """
        try:
            async with connect(url, **_CONNECTION) as socket:
                welcome = await self._greet(socket)
                on_welcome(welcome)
                async with asyncio.TaskGroup() as tasks:
                    receiver = tasks.create_task(self._receive(socket))
                    async for opening in openings():
                        await self._take_turn(socket, welcome, opening)
                    receiver.cancel()
        except Exception as error:
            cause = _first(error)
            if not isinstance(cause, OSError | WebSocketException | WireError):
                raise cause from None
            raise ServerConnectionError(
                f"The server at {url} cannot be talked to ({_reason(cause)}); check that it runs there, or leave out "
                "--server."
            ) from cause

    async def _greet(self, socket: ClientConnection) -> Welcome:
        await socket.send(encode(Hello(PROTOCOL, str(self._mood or ""))))
        welcome = decode(await asyncio.wait_for(socket.recv(), 30))
        if isinstance(welcome, Notice):
            raise WireError(f"it says: {welcome.text}")
        if not isinstance(welcome, Welcome):
            raise WireError(f"it answered with {type(welcome).__name__} instead of a welcome")
        if welcome.sample_rate not in _RATES or not 0 < welcome.fps < 1000:
            raise WireError("its welcome promises sound or pictures at an impossible rate")
        _check_mood(welcome.mood)
        return welcome

    async def _take_turn(self, socket: ClientConnection, welcome: Welcome, opening: Opening) -> None:
        self._turns += 1
        self._frames.begin(self._turns)
        loop = asyncio.get_running_loop()
        spoken: asyncio.Future[bool] = loop.create_future()
        played = self._playback.begin(self._turns, welcome.sample_rate)
        played.add_done_callback(lambda done: _settle(loop, spoken, done.result()))
        turn = self._turn = ActiveTurn(self._turns, opening, welcome, spoken)
        self._on_turn(turn)
        self._tap.begin(turn.number, welcome.sample_rate, welcome.fps)
        try:
            for message in _messages(turn.number, opening):
                await socket.send(encode(message))
            await spoken
        finally:  # a turn that was broken off happened, too
            self._turn = None
            self._tap.end(turn.number, self._playback.counts().played / self._playback.clock.rate)
            self._on_trace(self._trace(turn))

    async def _receive(self, socket: ClientConnection) -> None:
        """Hand on what the server sends, until it ends the connection: ConnectionClosed."""
        while True:
            message = decode(await socket.recv())
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
                turn.end = message
                self._frames.end(turn.number, message.frames)
                self._playback.end(turn.number)

    async def _queue(self, turn: ActiveTurn, message: FaceFrame) -> None:
        """Put a frame into the queue, waiting in a worker thread while it is full; let the voice start."""
        if len(message.offsets) != turn.welcome.vertices * _VERTEX_BYTES:
            raise WireError("it sent a frame of another face than it promised")
        offsets = np.frombuffer(message.offsets, "<f2").reshape(-1, 3)
        self._tap.frame(turn.number, message.index, offsets)
        if self._frames.full():
            await asyncio.to_thread(self._frames.put, turn.number, message.index, offsets)
        else:
            self._frames.put(turn.number, message.index, offsets)
        turn.frames += 1
        if turn.frames == _FRAMES_BEFORE_SOUND:
            self._playback.start(turn.number)

    def _trace(self, turn: ActiveTurn) -> TurnTrace:
        counts = self._frames.counts()
        trace = TurnTrace(
            turn=turn.number,
            transcript=turn.opening.transcript,
            reply=turn.end.reply if turn.end else " ".join(caption.text for caption in turn.captions),
            audio_seconds=turn.samples / turn.welcome.sample_rate,
            frames_generated=turn.frames,
            frames_rendered=counts.drawn,
            frames_late=counts.late,
            spans_ms=dict(turn.opening.spans_ms) | (turn.end.spans_ms if turn.end else {}),
        )
        heard_at = self._playback.first_sample_at(turn.number)
        if heard_at is not None:
            audible_at = heard_at + (turn.audible_sample or 0) / turn.welcome.sample_rate
            trace.finish_spans((audible_at - turn.opening.asked_at) * 1000)
        return trace


def _check_mood(text: str) -> None:
    try:
        Mood.parse(text)
    except MoodError as error:
        raise WireError("it names a mood that there is not") from error


def _messages(turn: int, opening: Opening) -> list[Message]:
    """What tells the server of an opening."""
    match opening:
        case Question():
            return [UserText(turn, opening.text)]
        case Phrase():
            return [SayPhrase(turn, opening.phrase)]
        case Speech():
            return _performance(turn, opening)
        case _:
            return [SayText(turn, opening.text)]


def _performance(turn: int, speech: Speech) -> list[Message]:
    pcm = (np.clip(speech.pcm, -1, 1) * 32767).astype("<i2")
    pieces = [pcm[start : start + _PIECE] for start in range(0, len(pcm), _PIECE)]
    return [
        Performance(turn, piece.tobytes(), speech.sample_rate, last=number == len(pieces) - 1)
        for number, piece in enumerate(pieces)
    ]


def _settle(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[bool]", value: bool) -> None:
    """Set the result of a future of ``loop`` that nobody has set, from another thread."""

    def settle() -> None:
        if not future.done():
            future.set_result(value)

    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits
        loop.call_soon_threadsafe(settle)


def _first(error: Exception) -> Exception:
    """The first plain exception of a group of groups, or ``error`` itself."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _reason(error: Exception) -> str:
    """Why there is no talking to a server, in words."""
    if isinstance(error, ConnectionClosed):
        return f"it ended the connection{f': {error.rcvd.reason}' if error.rcvd and error.rcvd.reason else ''}"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    return str(error) or type(error).__name__
