"""The client thread: hears the user, takes the turns, and keeps the status the screen shows."""

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from demo.active_turn import ActiveTurn
from demo.admission import credentials
from demo.client import Client, ServerConnectionError
from demo.decency import Decency
from demo.devices import PortAudioStreams
from demo.echo import CleanMicrophone, EchoError, Played
from demo.end_of_turn import Patience
from demo.frame_queue import FrameQueue
from demo.garbage import spare_what_is_loaded
from demo.hearing import (
    FinalText,
    Hearing,
    ListenerEvent,
    ListenerFailed,
    NotUnderstood,
    PartialText,
    RecordingEnded,
    UserSpeaking,
)
from demo.kiosk import (
    Action,
    Attendant,
    Event,
    Forget,
    Hush,
    Kiosk,
    Rest,
    Rules,
    Say,
    TranscriptError,
    Transcripts,
    TurnBegun,
    TurnOver,
    Voice,
)
from demo.lasting import lasting_microphone
from demo.listener import LONGEST_SECONDS, Listener
from demo.logs import Words, in_turn
from demo.messages import Notice, Welcome, WireError
from demo.microphone import Microphone, WavMicrophone
from demo.models import ModelStore
from demo.openings import ListenerNews, Opening, Phrase, overheard, performed, recorded, said, typed
from demo.playback import Playback
from demo.recognizers import choose_recognizer
from demo.reconnect import Reach, stay_connected
from demo.settings import Settings
from demo.stage import SyncMeter
from demo.status import Status
from demo.supervision import notify_service_manager
from demo.surroundings import has_script
from demo.tap import Tap
from demo.trace import SessionTrace, TurnTrace
from demo.turn_taking import Asked, Hushed, Muted, Pushed, Renewed
from streamingtalker.mood import Mood

log = logging.getLogger(__name__)
T = TypeVar("T")

_REST_SECONDS = 1.0  # the face comes to rest before a scripted session ends
_STARTING = "Starting …"
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


@dataclass(frozen=True)
class Shared:
    """What the client thread shares with the render thread."""

    playback: Playback
    frames: FrameQueue
    meter: SyncMeter
    vertices: int  # of the mesh that is drawn
    mesh: str  # Topology.mesh of it
    fps: float  # of the frames in the queue
    tap: Tap | None = None  # sees sound and frames
    microphone: Microphone | None = None  # in place of the device
    streams: PortAudioStreams | None = None  # those of the loudspeaker


class ClientThread:
    """Runs one session: connects to the server, listens if it has to, takes turn after turn.

    ``set_muted``, ``push_to_talk`` and ``new_conversation`` may be called from any thread. ``wait_for_server`` returns
    the server's address once it answers. ``trace`` grows with every turn. ``over`` is set when nothing more comes;
    ``error`` then says whether something went wrong.
    """

    def __init__(
        self,
        settings: Settings,
        shared: Shared,
        trace: SessionTrace,
        wait_for_server: Callable[[], str],
        started: float,
        end_server: Callable[[], None] | None = None,
    ) -> None:
        """``end_server`` where it is ours: ends it when it hangs, and ``wait_for_server`` then starts another."""
        self._thread = threading.Thread(target=self._run, name="client", daemon=True)
        self._status = Status(notice=_STARTING)
        self.trace = trace
        self.over = threading.Event()
        self.error: BaseException | None = None
        self._settings = settings
        self._decency = Decency(settings.lang) if settings.filters else None
        self._shared = shared
        self._wait_for_server = wait_for_server
        self._started = started
        self._end_server = end_server
        self._open_microphone: Callable[[], Microphone] | None = None
        self._listener: Listener | None = None
        self._news: asyncio.Queue[ListenerNews] = asyncio.Queue()
        self._noticed_in = 0  # the turn in which the notice came
        self._newest_turn = 0
        self._attendant: Attendant | None = None  # with --kiosk, while connected
        self._muted_by_user = False
        self._transcripts = Transcripts(settings.keep_transcripts) if settings.keep_transcripts else None
        self._transcribed = True  # what was said last could be written down
        self._client = Client(
            shared.playback,
            shared.frames,
            mood=settings.mood,
            on_turn=self._begin_turn,
            on_trace=self._end_turn,
            on_hearing=self._hear,
            on_notice=self._notice,
            offsets_ms=lambda: shared.meter.summary().as_trace(),
            tap=shared.tap,
            credentials=functools.partial(credentials, settings),
        )
        self._lock = threading.Lock()  # over the three below
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: asyncio.Task[None] | None = None

    @property
    def status(self) -> Status:
        """What the conversation is doing right now."""
        muted, pushed = self._client.switches
        level = self._status.level if self._listener is None else self._listener.level
        return replace(self._status, muted=muted, pushed=pushed, level=level)

    def set_muted(self, muted: bool) -> None:
        """Switch the microphone off, or on again. What is being said is forgotten; the avatar may go on speaking."""
        self._call(self._mute, muted)

    def push_to_talk(self, held: bool) -> None:
        """While held the avatar listens, also if muted, and what is said has no end before it is let go."""
        self._call(self._switch, Pushed(held))

    def new_conversation(self) -> None:
        """Somebody else is there: the avatar falls silent, and what was said is forgotten."""
        self._call(self._renew, None)

    def tell(self, notice: Notice) -> None:
        """Log and show a sentence."""
        self._notice_from_thread(notice)

    def ask(self, opening: Opening) -> None:
        """Have it answered or said now, whoever has the turn."""
        self._call(self._client.take, Asked(opening))

    def start(self) -> None:
        """Begin the session."""
        self._thread.start()

    def stop(self) -> None:
        """End the session from another thread, and wait for it."""
        self._shared.frames.close()
        self._cancel()
        if self._thread.ident is not None:
            self._thread.join()

    def fail(self, error: Exception) -> None:
        """End the session because of ``error``, from any thread."""
        self.error = error
        self._cancel()

    def _cancel(self) -> None:
        """End the session at its next step, also one that has not begun."""
        with self._lock:
            self._ended = True
            if self._loop is not None and self._session is not None:
                with contextlib.suppress(RuntimeError):  # it has just ended by itself
                    self._loop.call_soon_threadsafe(self._session.cancel)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            log.info("The session was ended.")  # ``error`` says whether by a failure
        except BaseException as error:
            self.error = error
        finally:
            self.over.set()

    async def _main(self) -> None:
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._session = asyncio.current_task()
            if self._ended:
                return
        openings = self._openings()
        try:
            await asyncio.gather(_in_background(self._wait_for_server), _in_background(self._start_listening))
            await stay_connected(self._client, self._reach(), openings(), self._welcome, self._away)
            await asyncio.sleep(_REST_SECONDS)
        except ServerConnectionError as error:
            explained = self._explained(error)
            if explained is error:
                raise
            raise explained from error
        finally:
            if self._attendant is not None:
                self._attendant.close()
                self._attendant = None
            await self._stop_listening()

    def _reach(self) -> Reach:
        return Reach(
            lambda: _in_background(self._wait_for_server), self._end_server, lasting=not has_script(self._settings)
        )

    def _away(self, too_often: bool) -> None:
        """The server is gone; another one is being started, or waited for."""
        if too_often:
            notify_service_manager("STATUS=The server was lost more than five times in a minute.")
            log.error("The server was lost more than five times in a minute; it is started ever more slowly.")
        self._show(away=True, hearing=False, turn=None if self._client.idle else self._status.turn)

    async def _stop_listening(self) -> None:
        with self._lock:
            self._ended = True  # a listener that is still being made will not start
            listener = self._listener
        if listener is not None:
            await asyncio.to_thread(listener.stop)

    def _explained(self, error: ServerConnectionError) -> ServerConnectionError:
        """The same for a server of our own, which has no address a user knows."""
        if self._settings.server is not None or error.__cause__ is None or isinstance(error.__cause__, WireError):
            return error
        return ServerConnectionError(
            "The server process was lost again and again; look at what it printed above, and start the demo anew."
        )

    def _openings(self) -> Callable[[], AsyncIterator[Opening]]:
        """Where this session's turns come from; sets up the microphone if from there."""
        settings = self._settings
        if settings.say is not None:
            text = settings.say
            return lambda: said(text)
        if settings.speech is not None:
            path = settings.speech
            return lambda: performed(path)
        if settings.text:
            return lambda: typed(settings.text)
        if settings.question:
            microphone = WavMicrophone()
            self._open_microphone = lambda: microphone
            return lambda: recorded(settings.question, microphone.play, self._news, self._client.quiet)
        self._open_microphone = self._real_microphone
        return lambda: overheard(self._news)

    def _real_microphone(self) -> Microphone:
        """One that does not hear the loudspeaker; else nothing is to be heard while the avatar speaks."""
        microphone = self._shared.microphone or lasting_microphone(
            self._settings.input_device, self._notice_from_thread, self._shared.streams
        )
        if not self._settings.half_duplex:
            try:
                return self._without_echo(microphone)
            except EchoError as error:
                told = f"{error} As it is, the avatar does not listen while it speaks."
                self._notice_from_thread(Notice("warning", told))
        self._client.half_duplex = True
        return microphone

    def _without_echo(self, microphone: Microphone) -> Microphone:
        played = Played(self._shared.playback.clock.rate)
        clean = CleanMicrophone(microphone, played)
        self._shared.playback.taps.append(played.add)
        return clean

    def _start_listening(self) -> None:
        """Load the recogniser and open the microphone, where the session needs them."""
        if self._open_microphone is None:
            return
        recognizer = choose_recognizer(self._settings, ModelStore(), self._notice_from_thread)
        self.trace.engines["stt"] = recognizer.name
        listener = Listener(
            self._open_microphone(),
            recognizer,
            self._heard_from_thread,
            patience=Patience(factor=self._settings.patience),
            language=self._settings.lang,
            longest=self._settings.longest_question if self._settings.kiosk else LONGEST_SECONDS,
        )
        with self._lock:
            if self._ended:
                return
            self._listener = listener
        spare_what_is_loaded()  # the recogniser
        listener.set_mode(self._client.hearing)
        listener.start()  # which may hang; it is stopped all the same

    def _welcome(self, welcome: Welcome) -> None:
        if (welcome.vertices, welcome.fps) != (self._shared.vertices, self._shared.fps):
            raise ServerConnectionError(
                f"The server's face model moves {welcome.vertices} vertices {welcome.fps:g} times a second and the "
                f"avatar needs {self._shared.vertices} and {self._shared.fps:g}; use weights made for it (--talker), "
                "or another --avatar."
            )
        if welcome.mesh != self._shared.mesh:
            raise ServerConnectionError(
                f"The server's face model was made for the mesh of {welcome.avatar!r}, whose points are in another "
                "order than the avatar's; use weights made for it (--talker), or another --avatar."
            )
        notify_service_manager(f"STATUS=There is a server, with {welcome.engines.get('llm')}.")
        if self.trace.engines.keys() & welcome.engines.keys():  # there was a server before
            self._show(away=False)
            self._notice(Notice("warning", "The server was lost; what was said before is forgotten."))
            return
        self.trace.engines |= welcome.engines
        self.trace.cold_start_s = time.monotonic() - self._started
        notice = "" if self._status.notice == _STARTING else self._status.notice
        self._show(
            listening=self._listener is not None,
            notice=notice,
            resting_mood=Mood.parse(welcome.mood),
            draws_moods=welcome.draws_moods,
        )
        log.info("Ready after %.1f s: %s", self.trace.cold_start_s, self.trace.engines)
        if self._settings.kiosk:
            self._attend()

    def _begin_turn(self, turn: ActiveTurn) -> None:
        self._newest_turn = turn.number
        user = turn.opening.transcript
        with in_turn(turn.number):
            log.info("Turn %d: %s", turn.number, Words(self._loggable(user)) or "no question")
        self._show(hearing=False, user=user, turn=turn)
        self._tell_attendant(TurnBegun(asked=bool(user)))

    def _end_turn(self, trace: TurnTrace) -> None:
        self._transcribe(trace)
        if self._settings.kiosk:
            trace = replace(trace, transcript="", reply="")
        self.trace.add(trace)
        broken_off = ", interrupted" if trace.interrupted else ""
        with in_turn(trace.turn):
            said = Words(self._loggable(trace.reply))
            log.info("Answer %d (%.1f s%s): %s", trace.turn, trace.audio_seconds, broken_off, said)
        notice = self._status.notice if self._noticed_in >= trace.turn else ""  # it stays for a turn at least
        self._show(hearing=False, user="", turn=None, notice=notice, spans_ms=trace.spans_ms)
        # It may want another one, and this is just ending.
        asyncio.get_running_loop().call_soon(self._tell_turn_over)

    def _transcribe(self, trace: TurnTrace) -> None:
        """Write down what was said, where that is wanted. Where it cannot be, that is told once, and all goes on."""
        if self._transcripts is None or not trace.transcript:
            return
        try:
            self._transcripts.add(trace)
            self._transcribed = True
        except TranscriptError as error:
            if self._transcribed:
                self._notice(Notice("error", str(error)))
            self._transcribed = False

    def _tell_turn_over(self) -> None:
        if self._status.turn is None:  # else the next one began as this one ended
            self._tell_attendant(TurnOver())

    def _loggable(self, words: str) -> str:
        """At a stand the log is kept by the system, and words are not to be."""
        return "…" if words and self._settings.kiosk else words

    def _attend(self) -> None:
        """Leave the stand to its rules."""
        loop = asyncio.get_running_loop()
        kiosk = Kiosk(Rules.of(self._settings), self._settings.seed, loop.time())
        self._attendant = Attendant(kiosk, self._obey, loop)

    def _tell_attendant(self, event: Event) -> None:
        if self._attendant is None:
            return
        self._attendant.tell(event)
        attracting = self._attendant.kiosk.attracting
        self._client.asks_again = not attracting
        self._show(attracting=attracting)

    def _obey(self, action: Action) -> None:
        match action:
            case Say(phrase):
                self._client.take(Asked(Phrase(phrase)))
            case Forget():
                self._renew(None)
            case Hush():
                self._client.take(Hushed())
            case Rest(resting):
                self._switch(Muted(resting or self._muted_by_user))

    def _renew(self, _: None) -> None:
        self._client.take(Renewed())
        if self._transcripts is not None:
            self._transcripts.next_conversation()
        self._show(user="")

    def _mute(self, muted: bool) -> None:
        self._muted_by_user = muted
        rests = self._attendant is not None and self._attendant.kiosk.resting
        self._switch(Muted(muted or rests))

    def _switch(self, switch: Muted | Pushed) -> None:
        self._client.take(switch)
        if self._listener is not None and isinstance(switch, Pushed):
            self._listener.hold(switch.held)

    def _hear(self, hearing: Hearing) -> None:
        if self._listener is not None:
            self._listener.set_mode(hearing)
            self._show(listening=hearing is Hearing.OPEN, hearing=self._status.hearing and hearing is not Hearing.DEAF)

    def _show(self, **changes: Any) -> None:  # noqa: ANN401 - fields of Status
        if self._decency and "user" in changes:
            changes["user"] = self._decency.masked(changes["user"])
        self._status = replace(self._status, **changes)

    def _notice(self, notice: Notice) -> None:
        log.log(_LEVELS.get(notice.level, logging.INFO), notice.text)
        self._noticed_in = self._newest_turn
        self._show(notice=notice.text)

    def _notice_from_thread(self, notice: Notice) -> None:
        self._call(self._notice, notice)

    def _heard_from_thread(self, event: ListenerEvent) -> None:
        self._call(self._heard, event)

    def _call(self, function: Callable[[T], None], value: T) -> None:
        """Have it called in the client thread, if that runs."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the session is over
                loop.call_soon_threadsafe(function, value)

    def _heard(self, event: ListenerEvent) -> None:
        match event:
            case RecordingEnded() | ListenerFailed():
                self._news.put_nowait(event)
            case PartialText():
                if self._client.hearing is Hearing.OPEN:
                    self._show(user=event.text)
            case _:
                self._client.take(event)
                self._show_speaking(event)
                if isinstance(event, UserSpeaking):
                    self._tell_attendant(Voice())

    def _show_speaking(self, event: ListenerEvent) -> None:
        """Whether somebody speaks into a microphone that listens."""
        if isinstance(event, UserSpeaking) and self._client.hearing is Hearing.OPEN:
            self._show(hearing=True, user="")
        elif isinstance(event, FinalText | NotUnderstood):
            self._show(hearing=False)


async def _in_background(work: Callable[[], T]) -> T:
    """The result of ``work``, done in a thread that nobody waits for when the session ends: it may be downloading."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(settle: Callable[[Any], None], value: object) -> None:
        with contextlib.suppress(RuntimeError):  # the session is over
            loop.call_soon_threadsafe(lambda: None if done.done() else settle(value))

    def run() -> None:
        try:
            result = work()
        except Exception as error:
            tell(done.set_exception, error)
        else:
            tell(done.set_result, result)

    threading.Thread(target=run, name=f"loading, {work.__name__}", daemon=True).start()
    return await done
