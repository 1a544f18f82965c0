"""The listening side: microphone → voice activity → recogniser, told as events.

Two threads: one hears and decides when somebody speaks, the other recognises, so that a slow recogniser never lets the
microphone overflow. Events are emitted from these threads; whoever receives them hands them to his own
(``loop.call_soon_threadsafe``). How much it hears is its ``Hearing``: while the avatar speaks it waits for an
interruption, or is deaf where the avatar would hear itself.
"""

import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from demo.barge_in import SpeechJudge
from demo.end_of_turn import Patience
from demo.microphone import RATE, AudioBlock, Microphone, Recording
from demo.recognizers import Recognizer
from demo.voice_activity import (
    SileroDetector,
    SpeechAudio,
    SpeechDetector,
    SpeechEnded,
    SpeechEvent,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    VoiceActivity,
    VoiceActivityOptions,
)
from streamingtalker.errors import UserError

log = logging.getLogger(__name__)

LONGEST_SECONDS = 30.0  # of an utterance
_TAIL_SECONDS = 0.25  # stays deaf after the avatar fell silent: rooms reverberate
_SILENCE_DB = -100.0  # the lowest level told
_ATTACK = RATE // 10  # samples by which a voice begins before it is taken for one
_RECORDING_GRACE = RATE // 2  # samples after a recording within which an utterance in it has begun, if there is one


class Hearing(StrEnum):
    """How much the listener hears."""

    OPEN = "open"  # everything: it is the user's turn
    GUARDED = "guarded"  # only what interrupts the avatar, whose turn it is
    DEAF = "deaf"  # nothing: half-duplex, or muted by the user


@dataclass(frozen=True)
class UserSpeaking:
    """Somebody has begun to speak."""

    utterance: int  # counts from 1
    time: float  # monotonic seconds of the first sound, roughly
    interrupts: bool = False  # it came while the avatar had the turn, and is no cough or "mm-hm"


@dataclass(frozen=True)
class PartialText:
    """What was understood so far, for the caption."""

    utterance: int
    text: str


@dataclass(frozen=True)
class Draft:
    """What was understood up to the first short silence: perhaps all of it, perhaps the user goes on."""

    utterance: int
    text: str


@dataclass(frozen=True)
class DraftWithdrawn:
    """The user went on speaking, or meant something else: the draft was not all."""

    utterance: int


@dataclass(frozen=True)
class Utterance:
    """When an utterance was. Times are monotonic seconds."""

    number: int
    last_speech_sample: int  # position in the microphone's stream
    last_speech_time: float  # when that sample was captured
    exact: bool  # measured in the recording that plays; else estimated by voice activity, up to 0.1 s late
    decided_time: float  # when it was clear that the user has finished
    text_time: float  # when the text was there


@dataclass(frozen=True)
class FinalText:
    """What the user said: the words of the draft, if there was one and it was not withdrawn."""

    text: str
    utterance: Utterance


@dataclass(frozen=True)
class NotUnderstood:
    """Somebody spoke, but no text came of it."""

    utterance: Utterance


@dataclass(frozen=True)
class RecordingEnded:
    """A recording is over and all that came of it has been told."""

    path: Path
    attempts: int  # FinalText and NotUnderstood told while it played


@dataclass(frozen=True)
class ListenerFailed:
    """Nothing is heard any more; the message is for the user."""

    message: str


ListenerEvent = (
    UserSpeaking | PartialText | Draft | DraftWithdrawn | FinalText | NotUnderstood | RecordingEnded | ListenerFailed
)


@dataclass(frozen=True)
class _Ended:
    """For the recognising thread: the utterance is complete."""

    speech_samples: int  # of its audio, before the silence at its end
    utterance: Utterance


@dataclass(frozen=True)
class _Forget:
    """For the recognising thread: drop the utterance in progress."""


_Work = SpeechStarted | SpeechAudio | SpeechPaused | SpeechResumed | _Ended | _Forget | RecordingEnded


class Listener:
    """Owns the two threads and, while they run, microphone and recogniser."""

    def __init__(
        self,
        microphone: Microphone,
        recognizer: Recognizer,
        emit: Callable[[ListenerEvent], None],
        *,
        patience: Patience | None = None,
        language: str = "en",
        detector: SpeechDetector | None = None,
        tail: float = _TAIL_SECONDS,
        longest: float = LONGEST_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``emit`` is called from the listener's threads. ``language`` is what the user speaks.

        ``tail``: seconds it stays deaf after having been DEAF; ``longest``: seconds an utterance can take.
        """
        self._microphone = microphone
        self._emit = emit
        self._monotonic = monotonic
        patience = patience or Patience()
        options = VoiceActivityOptions(
            end_silence_ms=patience.longest_ms,  # less once the words are known
            max_utterance_ms=round(longest * 1000),
        )
        self._activity = VoiceActivity(detector or SileroDetector(), options)
        self._wish = _Wish(tail)
        self._work: queue.Queue[_Work | None] = queue.Queue()
        self._speakers = _Speakers(emit)

        def judge(pause: SpeechPaused, text: str) -> None:
            self._activity.end_after(pause.last_speech_sample, patience.silence_ms(text, language))

        self._recogniser = _Recogniser(recognizer, self._work, self._speakers, emit, judge, monotonic)
        self._threads = [
            threading.Thread(target=self._guard, args=(self._hear,), name="listener", daemon=True),
            threading.Thread(target=self._guard, args=(self._recogniser.run,), name="recogniser", daemon=True),
        ]
        self._level = _SILENCE_DB
        self._deaf = False
        self._utterance = 0
        self._started = 0  # position of the utterance's first sample
        self._recordings = _RecordingWatch()

    def start(self) -> None:
        """Open the microphone and listen. Raises DeviceError."""
        self._microphone.open()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Close the microphone and end both threads; what is being recognised is dropped."""
        self._microphone.close()
        self._recogniser.abandon()
        self.join()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until nothing is heard any more, ``timeout`` seconds a thread at most; whether it is so."""
        running = [thread for thread in self._threads if thread.ident and thread is not threading.current_thread()]
        for thread in running:
            thread.join(timeout)
        return not any(thread.is_alive() for thread in running)

    def settle(self) -> None:
        """Wait until all that was heard so far has been worked through; for those whose time is virtual."""
        self._work.join()

    def set_mode(self, mode: Hearing) -> None:
        """How much to hear from now on; when DEAF, an utterance in progress is forgotten. From any thread."""
        self._wish.set_mode(mode, self._monotonic())

    def hold(self, held: bool) -> None:
        """Push-to-talk: while held an utterance does not end, and it ends when let go. From any thread."""
        self._wish.held = held

    @property
    def level(self) -> float:
        """Of the last block, in dB below full scale (root mean square), for a meter; also while DEAF."""
        return self._level

    def _guard(self, body: Callable[[], None]) -> None:
        """Run a thread's body; its end by an error is told, not swallowed."""
        try:
            body()
        except UserError as error:
            self._emit(ListenerFailed(str(error)))
        except Exception as error:
            log.exception("Listening has failed.")
            self._emit(ListenerFailed(f"Listening has failed ({error}); restart the demo and look into the log."))
            self._microphone.close()

    def _hear(self) -> None:
        try:
            for block in self._microphone.blocks():
                self._level = _decibels(block.pcm)
                if over := self._recordings.ended(block, self._activity.speaking):
                    self._work.put(over)
                mode = self._wish.mode_at(block.time)
                if mode is Hearing.DEAF:
                    self._fall_deaf()
                    continue
                self._deaf = False
                for event in self._activity.feed(block.pcm, block.position, clear=block.clear, held=self._wish.held):
                    self._handle(event, block, mode)
        finally:
            self._work.put(None)

    def _fall_deaf(self) -> None:
        if self._deaf:
            return
        self._deaf = True
        if self._activity.speaking:
            self._work.put(_Forget())
        self._activity.reset()

    def _handle(self, event: SpeechEvent, block: AudioBlock, mode: Hearing) -> None:
        if isinstance(event, SpeechStarted):
            self._utterance += 1
            self._started = event.sample
            self._speakers.begin(self._utterance, block.time_of(event.first))
            self._speakers.hear(event.audio[max(0, event.first - event.sample - _ATTACK) :], mode)
        if isinstance(event, SpeechAudio):
            self._speakers.hear(event.audio, mode)
        if isinstance(event, SpeechEnded):
            self._recordings.utterance_ended()
            self._work.put(_Ended(event.last_speech_sample - self._started, self._times(event, block)))
        else:
            self._work.put(event)

    def _times(self, event: SpeechEnded, block: AudioBlock) -> Utterance:
        true = block.recording.last_speech_before(event.decided_sample) if block.recording else None
        last = event.last_speech_sample if true is None else true
        now = self._monotonic()
        return Utterance(self._utterance, last, block.time_of(last), true is not None, now, now)


class _RecordingWatch:
    """Knows when a recording is over: past its end and nobody speaks, so nothing more can come of it."""

    def __init__(self) -> None:
        self._current: Recording | None = None
        self._told = True
        self._attempts = 0  # utterances that ended since it began

    def utterance_ended(self) -> None:
        """An utterance was complete."""
        self._attempts += 1

    def ended(self, block: AudioBlock, speaking: bool) -> RecordingEnded | None:
        """Told once for every recording."""
        if speaking or block.recording is None:
            return None
        if self._current is None or block.recording.start != self._current.start:
            self._current, self._told, self._attempts = block.recording, False, 0
        if self._told or block.position < self._current.end + _RECORDING_GRACE:
            return None
        self._told = True
        return RecordingEnded(self._current.path, self._attempts)


class _Wish:
    """What was asked of the listener, and from when on."""

    def __init__(self, tail: float) -> None:
        self.held = False
        self._tail = tail
        self._lock = threading.Lock()
        self._mode = Hearing.OPEN
        self._deaf_until = float("-inf")

    def set_mode(self, mode: Hearing, now: float) -> None:
        with self._lock:
            if self._mode is Hearing.DEAF and mode is not Hearing.DEAF:
                self._deaf_until = now + self._tail
            self._mode = mode

    def mode_at(self, captured: float) -> Hearing:
        """How what was captured at that time is to be heard."""
        with self._lock:
            return self._mode if captured > self._deaf_until else Hearing.DEAF


class _Speakers:
    """Tells that somebody speaks, once an utterance; over the avatar's voice only if it is surely speech.

    Two threads find out: the hearing one by the sound, the recognising one by the words.
    """

    def __init__(self, emit: Callable[[ListenerEvent], None]) -> None:
        self._emit = emit
        self._judge = SpeechJudge()
        self._lock = threading.Lock()
        self._told = 0  # the last utterance that was told of
        self._current = UserSpeaking(0, 0.0)

    def begin(self, utterance: int, time: float) -> None:
        """Perhaps somebody speaks, since monotonic ``time``."""
        self._judge.reset()
        self._current = UserSpeaking(utterance, time)

    def hear(self, pcm: np.ndarray, mode: Hearing) -> None:
        """The next float32 [n] of that, heard in ``mode``."""
        if self._told == self._current.utterance:
            return
        self._judge.feed(pcm)
        if mode is Hearing.OPEN:
            self._tell(self._current)
        elif self._judge.sure:
            self._tell(replace(self._current, interrupts=True))

    def read(self, utterance: int, text: str) -> bool:
        """Whether ``utterance``, in which ``text`` was recognised, is one at all."""
        current = self._current
        if current.utterance == utterance and self._judge.believes(text):
            self._tell(replace(current, interrupts=True))
        return self._told >= utterance

    def _tell(self, speaking: UserSpeaking) -> None:
        with self._lock:
            if self._told < speaking.utterance:
                self._told = speaking.utterance
                self._emit(speaking)


class _Recogniser:
    """The recognising thread: works through what the hearing one leaves it."""

    def __init__(
        self,
        recognizer: Recognizer,
        work: "queue.Queue[_Work | None]",
        speakers: _Speakers,
        emit: Callable[[ListenerEvent], None],
        judge: Callable[[SpeechPaused, str], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._recognizer = recognizer
        self._work = work
        self._speakers = speakers
        self._emit = emit
        self._judge = judge  # is told what was understood at a pause
        self._monotonic = monotonic
        self._abandoned = threading.Event()
        self._utterance = 0
        self._shown = ""
        self._draft = ""
        self._paused = False
        self._new = 0  # samples since the last partial text

    def abandon(self) -> None:
        """End after what is being done now."""
        self._abandoned.set()

    def run(self) -> None:
        while (work := self._work.get()) is not None and not self._abandoned.is_set():
            try:
                self._do(work)
            finally:
                self._work.task_done()
        self._work.task_done()

    def _do(self, work: _Work) -> None:
        match work:
            case SpeechStarted():
                self._begin()
                self._feed(work.audio)
            case SpeechAudio():
                self._feed(work.audio)
                self._perhaps_show()
            case SpeechPaused():
                self._paused = True
                self._write_draft(work)
            case SpeechResumed():
                self._paused = False
                self._withdraw()
            case _Ended():
                self._finish(work)
            case _Forget():
                self._recognizer.reset()
            case RecordingEnded():
                self._emit(work)

    def _begin(self) -> None:
        self._utterance += 1
        self._recognizer.reset()
        self._shown, self._draft, self._new, self._paused = "", "", 0, False

    def _feed(self, audio: np.ndarray) -> None:
        self._recognizer.feed(audio)
        self._new += len(audio)

    def _perhaps_show(self) -> None:
        """A partial text when there is enough new audio and no work waits: it must not delay the final one."""
        if not self._paused and self._new >= self._recognizer.partial_interval * RATE and self._work.empty():
            self._show()

    def _show(self) -> bool:
        """Whether there is anything to show."""
        self._new = 0
        text = self._recognizer.partial()
        if not text or not self._speakers.read(self._utterance, text):
            return False
        if text != self._shown:
            self._shown = text
            self._emit(PartialText(self._utterance, text))
        return True

    def _write_draft(self, pause: SpeechPaused) -> None:
        if self._show():
            self._draft = self._shown
            self._emit(Draft(self._utterance, self._draft))
        self._judge(pause, self._draft)

    def _withdraw(self) -> None:
        if self._draft:
            self._draft = ""
            self._emit(DraftWithdrawn(self._utterance))

    def _finish(self, ended: _Ended) -> None:
        text = self._recognizer.finish(ended.speech_samples)
        if text != self._draft:
            self._withdraw()
        utterance = replace(ended.utterance, text_time=self._monotonic())
        if self._speakers.read(utterance.number, text):
            self._emit(FinalText(text, utterance) if text else NotUnderstood(utterance))


def _decibels(pcm: np.ndarray) -> float:
    """Root mean square in dB below full scale."""
    return max(_SILENCE_DB, 10 * math.log10(float(np.square(pcm).mean()) + 1e-12))
