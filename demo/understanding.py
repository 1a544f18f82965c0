"""The recognising half of the listener: what is understood of an utterance, and whether it is one at all."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from demo.barge_in import SpeechJudge
from demo.garbage import give_back_freed_memory
from demo.hearing import (
    Draft,
    DraftWithdrawn,
    FinalText,
    Hearing,
    ListenerEvent,
    NotUnderstood,
    PartialText,
    RecordingEnded,
    UserSpeaking,
    Utterance,
)
from demo.microphone import RATE
from demo.recognizers import Recognizer
from demo.voice_activity import SpeechAudio, SpeechPaused, SpeechResumed, SpeechStarted

_UNSURE_INTERVAL = 0.6  # seconds of audio after which words are looked for where the sound leaves it open


@dataclass(frozen=True)
class UtteranceEnded:
    """For the recognising thread: the utterance is complete."""

    speech_samples: int  # of its audio, before the silence at its end
    utterance: Utterance


@dataclass(frozen=True)
class Forget:
    """For the recognising thread: drop the utterance in progress."""


Work = SpeechStarted | SpeechAudio | SpeechPaused | SpeechResumed | UtteranceEnded | Forget | RecordingEnded


class Speakers:
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
        return self.told(utterance)

    def told(self, utterance: int) -> bool:
        """Whether somebody surely speaks in it."""
        return self._told >= utterance

    def _tell(self, speaking: UserSpeaking) -> None:
        with self._lock:
            if self._told < speaking.utterance:
                self._told = speaking.utterance
                self._emit(speaking)


class RecogniserThread:
    """The recognising thread: works through what the hearing one leaves it."""

    def __init__(
        self,
        recognizer: Recognizer,
        work: "queue.Queue[Work | None]",
        speakers: Speakers,
        emit: Callable[[ListenerEvent], None],
        judge: Callable[[SpeechPaused, str], bool],
        monotonic: Callable[[], float],
    ) -> None:
        self._recognizer = recognizer
        self._work = work
        self._speakers = speakers
        self._emit = emit
        self._judge = judge  # is told what was understood at a pause; whether that may be all
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

    def _do(self, work: Work) -> None:
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
            case UtteranceEnded():
                self._finish(work)
            case Forget():
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
        interval = self._recognizer.partial_interval
        if not self._speakers.told(self._utterance):  # whoever interrupts waits for it
            interval = min(interval, _UNSURE_INTERVAL)
        if not self._paused and self._new >= interval * RATE and self._work.empty():
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
        understood = self._show()
        may_be_all = self._judge(pause, self._shown if understood else "")
        if understood and may_be_all:  # to answer half a sentence costs the time that its other half wants
            self._draft = self._shown
            self._emit(Draft(self._utterance, self._draft))

    def _withdraw(self) -> None:
        if self._draft:
            self._draft = ""
            self._emit(DraftWithdrawn(self._utterance))

    def _finish(self, ended: UtteranceEnded) -> None:
        text = self._recognizer.finish(ended.speech_samples)
        if text != self._draft:
            self._withdraw()
        utterance = replace(ended.utterance, text_time=self._monotonic())
        if self._speakers.read(utterance.number, text):
            self._emit(FinalText(text, utterance) if text else NotUnderstood(utterance))
        # Whisper leaves 30 MB behind, also of what begins no turn. No answer is heard yet, unless it was mere noise
        give_back_freed_memory()
