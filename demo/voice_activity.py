"""Voice activity: when somebody begins to speak, pauses and has finished.

Silero's network gives a probability of speech for each 32 ms; a hysteresis over it makes utterances. The network runs
in onnxruntime from the file inside the ``silero-vad`` wheel: the same figures as its torch twin to 1e-5, 13 times as
fast, and the process that listens needs no torch.
"""

import importlib.util
import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from demo.microphone import BLOCK, RATE
from streamingtalker.errors import UserError

_CONTEXT = 64  # samples of the previous window that the network wants to see again


@dataclass(frozen=True)
class SpeechStarted:
    """Somebody speaks. ``audio`` holds everything up to now, a little silence before the first sound included."""

    sample: int  # position of audio[0]
    first: int  # position of the first window with speech in it
    audio: np.ndarray  # float32 [n]


@dataclass(frozen=True)
class SpeechAudio:
    """The next block of the utterance."""

    audio: np.ndarray  # float32 [512]


@dataclass(frozen=True)
class SpeechPaused:
    """The first short silence: perhaps the end. A good moment to recognise what was said so far."""

    last_speech_sample: int


@dataclass(frozen=True)
class SpeechResumed:
    """The short silence was not the end."""


@dataclass(frozen=True)
class SpeechEnded:
    """The silence was long enough, or the utterance too long."""

    last_speech_sample: int  # position after the last window with speech in it
    decided_sample: int  # position at which this was known


SpeechEvent = SpeechStarted | SpeechAudio | SpeechPaused | SpeechResumed | SpeechEnded


class SpeechDetector(Protocol):
    """Something that tells speech from everything else."""

    def probability(self, pcm: np.ndarray) -> float:
        """Of speech in the next 512 samples (float32 at 16 kHz)."""
        ...

    def reset(self) -> None:
        """Forget what was heard."""
        ...


class SileroDetector:
    """Silero VAD, one thread, about 0.1 ms a window. Loads at construction, in 0.1 s. Raises UserError if missing."""

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(_silero_file(), options, providers=["CPUExecutionProvider"])
        self._rate = np.array(RATE, np.int64)
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)

    def probability(self, pcm: np.ndarray) -> float:
        """Of speech in the next 512 samples (float32 at 16 kHz)."""
        assert len(pcm) == BLOCK
        window = np.concatenate([self._context, pcm])[None]
        self._context = window[0, -_CONTEXT:]
        speech, self._state = self._session.run(None, {"input": window, "state": self._state, "sr": self._rate})
        return float(speech[0, 0])


def _silero_file() -> bytes:
    # Importing the package would import torch and set its thread count for the whole process: only its folder is asked.
    found = importlib.util.find_spec("silero_vad")
    places = (found.submodule_search_locations if found else None) or []
    for place in places:
        path = Path(place) / "data" / "silero_vad.onnx"
        if path.is_file():
            return path.read_bytes()
    raise UserError("The package silero-vad with its data is missing; run 'pip install -r requirements.txt'.")


@dataclass(frozen=True)
class VoiceActivityOptions:
    """What counts as an utterance. Times in milliseconds."""

    start_probability: float = 0.5  # begins speech, and takes it up again after a pause
    keep_probability: float = 0.35  # keeps it going
    min_speech_ms: int = 160  # of windows with speech, before anything counts as an utterance
    min_interruption_ms: int = 96  # of them where whether it is speech is judged by its sound besides
    max_gap_ms: int = 130  # between them
    preroll_ms: int = 300  # kept from before the first of them
    pause_ms: int = 64  # silence that may be the end
    end_silence_ms: int = 480  # silence that is the end
    near_db: float = 8.0  # a voice is at least so much louder than the quietest moment of the last seconds: no babble
    max_utterance_ms: int = 30_000  # longer ones are cut here, pre-roll included


class Loudness:
    """Tells a voice nearby from a hall full of them, which a network for speech cannot.

    The quietest third of a second of the last few is the hall. A voice begins where it is much louder; it goes on while
    it is nearer to its own loudness than to the hall's.
    """

    _SHORT, _LONG = 3, 10  # blocks averaged: of the voice, of the hall, which noise suppression tears to pieces
    _MEMORY = 156  # blocks, 5 s, in which anybody draws breath
    _SETTLING = 8  # blocks of a microphone just opened that say nothing of the hall

    def __init__(self) -> None:
        self._powers: deque[float] = deque(maxlen=self._LONG)
        self._past: deque[float] = deque(maxlen=self._MEMORY)  # dB, smooth
        self._settling = self._SETTLING
        self._hall = self._loudest = -math.inf  # dB, when the voice began; of the voice

    def feed(self, pcm: np.ndarray, near_db: float, *, during: bool) -> bool:
        """Whether a voice in float32 [512] is near; ``during`` an utterance or before one."""
        if self._settling:
            self._settling -= 1
            return math.isinf(near_db)
        self._powers.append(float(np.square(pcm).mean()))
        self._past.append(_mean_db(self._powers))
        level, hall = _mean_db(list(self._powers)[-self._SHORT :]), min(self._past)
        if not during:
            self._hall, self._loudest = hall, level
            return level >= hall + near_db
        self._hall, self._loudest = min(self._hall, hall), max(self._loudest, level)
        return level >= self._hall + min(near_db, (self._loudest - self._hall) / 2)


def _mean_db(powers: Collection[float]) -> float:
    return 10 * math.log10(sum(powers) / len(powers) + 1e-10)


class VoiceActivity:
    """Turns blocks of 512 samples into utterances.

    ``feed`` blocks in the order of their positions; ``reset`` between phases in which it did not listen.
    """

    def __init__(self, detector: SpeechDetector, options: VoiceActivityOptions | None = None) -> None:
        self._detector = detector
        self._options = options or VoiceActivityOptions()
        self._held = False
        self._end_silence = (0, self._options.end_silence_ms)  # after this sample, milliseconds
        self._loudness = Loudness()
        self._preroll = -(-_samples(self._options.preroll_ms) // BLOCK)  # blocks
        self.reset()

    @property
    def speaking(self) -> bool:
        """Whether an utterance has started and not ended."""
        return self._speaking

    def reset(self) -> None:
        """Forget everything; an utterance in progress never ends."""
        self._detector.reset()
        self._before: deque[np.ndarray] = deque()  # blocks not yet part of an utterance
        self._idle()

    def feed(
        self,
        pcm: np.ndarray,
        position: int,
        *,
        clear: np.ndarray | None = None,
        held: bool = False,
        guarded: bool = False,
    ) -> list[SpeechEvent]:
        """What the block of float32 [512] that begins at sample ``position`` brings about.

        ``clear`` is the same with less noise, to be passed on: where noise was taken away, a hall sounds like speech.
        While ``held`` no silence ends the utterance; it ends with the first block that is not held any more. While
        ``guarded`` an utterance begins sooner: somebody else judges whether it is one.
        """
        speech = self._detector.probability(pcm)
        if not self._loudness.feed(pcm, self._options.near_db, during=self._speaking):
            speech = 0.0
        released, self._held = self._held and not held, held
        audio = pcm if clear is None else clear
        if not self._speaking:
            return self._await(audio, position, speech, guarded)
        return self._during(audio, position, speech, released)

    def end_after(self, last_speech_sample: int, milliseconds: int) -> None:
        """How long the silence after that sample has to be to end the utterance. From any thread."""
        self._end_silence = (last_speech_sample, milliseconds)

    def _silence_needed(self) -> int:
        after, milliseconds = self._end_silence
        return milliseconds if after == self._last else self._options.end_silence_ms

    def _idle(self) -> None:
        self._speaking = self._paused = False
        self._voiced = 0  # blocks of a candidate
        self._first = 0  # position of the first of them
        self._last = 0  # position after the last block with speech

    def _await(self, pcm: np.ndarray, position: int, speech: float, guarded: bool) -> list[SpeechEvent]:
        """No utterance yet: collect blocks with speech until there are enough of them close together."""
        end = position + BLOCK
        self._before.append(pcm)
        if speech >= self._options.start_probability:
            self._first = self._first if self._voiced else position
            self._voiced += 1
            self._last = end
        elif self._voiced and end - self._last > _samples(self._options.max_gap_ms):
            self._voiced = 0
        if not self._voiced:
            self._trim(self._preroll)
        elif self._voiced == 1 and self._last == end:
            self._trim(self._preroll + 1)
        needed = self._options.min_interruption_ms if guarded else self._options.min_speech_ms
        if self._voiced * BLOCK < _samples(needed):
            return []
        audio = np.concatenate(self._before)
        self._before.clear()
        self._speaking, self._start = True, end - len(audio)
        return [SpeechStarted(self._start, self._first, audio)]

    def _trim(self, blocks: int) -> None:
        while len(self._before) > blocks:
            self._before.popleft()

    def _during(self, pcm: np.ndarray, position: int, speech: float, released: bool) -> list[SpeechEvent]:
        events: list[SpeechEvent] = [SpeechAudio(pcm)]
        end = position + BLOCK
        threshold = self._options.start_probability if self._paused else self._options.keep_probability
        if speech >= threshold:
            if self._paused:
                events.append(SpeechResumed())
            self._last, self._paused = end, False
        silence = end - self._last
        if silence >= _samples(self._options.pause_ms) and not self._paused:
            self._paused = True
            events.append(SpeechPaused(self._last))
        too_long = end + BLOCK - self._start > _samples(self._options.max_utterance_ms)
        silent = silence >= _samples(self._silence_needed()) and not self._held
        if silent or released or too_long:
            events.append(SpeechEnded(self._last, end))
            self._idle()
        return events


def _samples(milliseconds: int) -> int:
    return milliseconds * RATE // 1000
