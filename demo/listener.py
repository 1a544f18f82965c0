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

import numpy as np

from demo.end_of_turn import Completeness, Patience, completeness
from demo.hearing import (
    Hearing,
    ListenerEvent,
    ListenerFailed,
    RecordingEnded,
    Utterance,
)
from demo.microphone import RATE, AudioBlock, Microphone, Recording
from demo.recognizers import Recognizer
from demo.understanding import Forget, RecogniserThread, Speakers, UtteranceEnded, Work
from demo.voice_activity import (
    SileroDetector,
    SpeechAudio,
    SpeechDetector,
    SpeechEnded,
    SpeechEvent,
    SpeechPaused,
    SpeechStarted,
    VoiceActivity,
    VoiceActivityOptions,
)
from streamingtalker.errors import UserError

log = logging.getLogger(__name__)

LONGEST_SECONDS = 30.0  # of an utterance
_TAIL_SECONDS = 0.25  # stays deaf after the avatar fell silent: rooms reverberate
_SILENCE_DB = -100.0  # the lowest level told
ATTACK = RATE // 10  # samples by which a voice begins before it is taken for one
_GOODBYE_SECONDS = 2.0  # a microphone that hangs is left to itself
_RECORDING_GRACE = RATE // 2  # samples after a recording within which an utterance in it has begun, if there is one


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
        self._work: queue.Queue[Work | None] = queue.Queue()
        self._speakers = Speakers(emit)

        def judge(pause: SpeechPaused, text: str) -> bool:
            complete = completeness(text, language)
            self._activity.end_after(pause.last_speech_sample, patience.silence_ms(complete))
            return complete is not Completeness.UNFINISHED

        self._recogniser = RecogniserThread(recognizer, self._work, self._speakers, emit, judge, monotonic)
        self._hearing = threading.Thread(target=self._guard, args=(self._hear,), name="listener", daemon=True)
        self._recognising = threading.Thread(
            target=self._guard, args=(self._recogniser.run,), name="recogniser", daemon=True
        )
        self._stopped = threading.Event()
        self._level = _SILENCE_DB
        self._deaf = False
        self._utterance = 0
        self._started = 0  # position of the utterance's first sample
        self._recordings = _RecordingWatch()

    def start(self) -> None:
        """Open the microphone and listen, unless it was stopped meanwhile. Raises DeviceError."""
        self._microphone.open()
        self._hearing.start()
        self._recognising.start()
        if self._stopped.is_set():
            self._microphone.close()  # now that it is open

    def stop(self) -> None:
        """Close the microphone and end both threads; what is being recognised is dropped. ``start`` may hang."""
        self._stopped.set()
        self._microphone.close()
        self._recogniser.abandon()
        self._work.put(None)  # a microphone that hangs does not say that nothing more comes
        if not _ended(self._hearing, _GOODBYE_SECONDS):
            log.warning("The microphone hangs; it is left to itself.")
        _ended(self._recognising)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until nothing is heard any more, ``timeout`` seconds a thread at most; whether it is so."""
        return all(_ended(thread, timeout) for thread in (self._hearing, self._recognising))

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
                guarded = mode is Hearing.GUARDED
                for event in self._activity.feed(
                    block.pcm, block.position, clear=block.clear, held=self._wish.held, guarded=guarded
                ):
                    self._handle(event, block, mode)
        finally:
            self._work.put(None)

    def _fall_deaf(self) -> None:
        if self._deaf:
            return
        self._deaf = True
        if self._activity.speaking:
            self._work.put(Forget())
        self._activity.reset()

    def _handle(self, event: SpeechEvent, block: AudioBlock, mode: Hearing) -> None:
        if isinstance(event, SpeechStarted):
            self._utterance += 1
            self._started = event.sample
            self._speakers.begin(self._utterance, block.time_of(event.first))
            self._speakers.hear(event.audio[max(0, event.first - event.sample - ATTACK) :], mode)
        if isinstance(event, SpeechAudio):
            self._speakers.hear(event.audio, mode)
        if isinstance(event, SpeechEnded):
            self._recordings.utterance_ended()
            self._work.put(UtteranceEnded(event.last_speech_sample - self._started, self._times(event, block)))
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


def _ended(thread: threading.Thread, timeout: float | None = None) -> bool:
    """Wait for a thread, ``timeout`` seconds at most; whether it has ended, or has not begun, or is the caller's."""
    if thread.ident is None or thread is threading.current_thread():
        return True
    thread.join(timeout)
    return not thread.is_alive()


def _decibels(pcm: np.ndarray) -> float:
    """Root mean square in dB below full scale."""
    return max(_SILENCE_DB, 10 * math.log10(float(np.square(pcm).mean()) + 1e-12))
