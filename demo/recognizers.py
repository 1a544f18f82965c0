"""Speech recognition: Vosk, which hears as one speaks, and Whisper tiny.en where no Vosk model can be had.

A recogniser belongs to one thread. It hears one utterance at a time: ``feed`` its audio, look at ``partial`` now and
then, and ``finish`` gives the text and makes it ready for the next.
"""

import json
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from demo.languages import language_of
from demo.messages import Notice
from demo.microphone import RATE
from demo.models import ModelError, ModelStore, Progress
from demo.settings import Settings
from streamingtalker.errors import UserError

log = logging.getLogger(__name__)

WHISPER_MODEL = "whisper-tiny-en"


# What the small Vosk models make of a breath, a knock or a chair, when it is all they hear.
_BREATHS = {"en": frozenset({"huh", "the", "a", "uh", "hm", "hmm"})}
_HUMS = frozenset(
    {"ah", "eh", "er", "hm", "hmm", "hmmm", "huh", "mm", "mmm", "uh", "um"}
)  # no words, as Whisper spells


class RecognizerError(UserError):
    """No recogniser for this language can be had, or its package or model is broken."""


class Recognizer(Protocol):
    """Turns the audio of one utterance into text."""

    @property
    def name(self) -> str:
        """Engine and model, for the log and the trace."""
        ...

    @property
    def partial_interval(self) -> float:
        """Seconds of new audio after which ``partial`` is worth its cost."""
        ...

    def feed(self, pcm: np.ndarray) -> None:
        """Hear the next samples (float32 at 16 kHz)."""
        ...

    def partial(self) -> str:
        """What was said so far, to the best of present knowledge."""
        ...

    def finish(self, speech_samples: int | None = None) -> str:
        """The whole text, empty where nothing was understood; then begin anew.

        After the first ``speech_samples`` of what was fed, nothing was said any more.
        """
        ...

    def reset(self) -> None:
        """Forget the utterance."""
        ...


class VoskRecognizer:
    """Kaldi through Vosk: streaming, with partial results at almost no cost."""

    partial_interval = 0.2

    def __init__(self, model: Path, language: str) -> None:
        """``model``: a folder with a Vosk model. Loads in 1–2 s. Raises RecognizerError."""
        vosk = _load_vosk()
        vosk.SetLogLevel(-1)  # Kaldi tells its life on standard error
        if not (model / "am").is_dir() and not (model / "final.mdl").is_file():
            raise RecognizerError(f"{model} holds no Vosk model; run 'python -m demo.models' to fetch it again.")
        try:
            graph = vosk.Model(str(model))
            self._recognizer = vosk.KaldiRecognizer(graph, RATE)
        except Exception as error:  # vosk raises the bare class
            raise RecognizerError(
                f"The Vosk model in {model} cannot be loaded ({error}); run 'python -m demo.models' to fetch it again."
            ) from error
        self.name = f"vosk-{language}"
        self._breaths = _BREATHS.get(language, frozenset())
        self._parts: list[str] = []
        noise = np.random.default_rng(0).normal(0, 3000, RATE).astype("<i2")
        vosk.KaldiRecognizer(graph, RATE).AcceptWaveform(noise.tobytes())  # reads the model's pages in

    def feed(self, pcm: np.ndarray) -> None:
        """Hear the next samples (float32 at 16 kHz)."""
        samples = np.clip(pcm * 32767, -32768, 32767).astype("<i2").tobytes()
        if self._recognizer.AcceptWaveform(samples):  # Kaldi saw a pause and closed a segment
            self._keep(self._recognizer.Result())

    def partial(self) -> str:
        """What was said so far."""
        return " ".join([*self._parts, _words(json.loads(self._recognizer.PartialResult()).get("partial", ""))]).strip()

    def finish(self, speech_samples: int | None = None) -> str:
        """The whole text, empty where nothing was understood; then begin anew."""
        self._keep(self._recognizer.FinalResult())
        text = " ".join(self._parts)
        self.reset()
        return "" if text in self._breaths else text

    def reset(self) -> None:
        """Forget the utterance."""
        self._recognizer.Reset()
        self._parts = []

    def _keep(self, result: str) -> None:
        if text := _words(json.loads(result)["text"]):
            self._parts.append(text)


def _words(text: str) -> str:
    """The text without the marks Vosk puts where it knows no word, as in [unk]."""
    return " ".join(word for word in text.split() if not (word.startswith("[") and word.endswith("]")))


def _load_vosk() -> Any:  # noqa: ANN401 - a module
    try:
        import vosk
    except (ImportError, OSError, TypeError) as error:  # its library is missing on some platforms
        raise RecognizerError(f"Vosk does not work on this machine ({error}); use --stt whisper.") from error
    return vosk


@dataclass(frozen=True)
class Transcript:
    """What Whisper made of some audio."""

    text: str
    logprob: float  # average per token
    no_speech: float  # probability that nobody spoke
    complete: bool  # it stopped by itself


class WhisperRecognizer:
    """Whisper tiny.en in int8. It hears only whole pieces of audio, so partial texts cost as much as final ones.

    Whisper was trained on 30 s windows. One that holds the utterance and 8 s gives the same words in a third of the
    time and less; where the shorter window makes it stammer, the full one is taken.
    """

    partial_interval = 0.8

    # A few lengths only: for each that it met the library keeps a convolution of its own, 2 MB.
    _WINDOWS = tuple(int(seconds * RATE) for seconds in (10, 12.5, 15, 20, 25, 30))
    _MARGIN = 8 * RATE  # silence a window must have after the speech, or Whisper begins to repeat itself
    _FULL = _WINDOWS[-1]
    _TAIL = RATE // 10  # kept after the last speech: endings are soft
    # One is as quick as two: there are a thousand small steps to a sentence, at each of which two wait for one another,
    # and where something else has the other processor such a step takes milliseconds, the sentence seconds.
    _THREADS = 1
    _BEAM = 5  # instead of one: a third fewer words wrong, for a tenth more time

    def __init__(self, model: Path, *, threads: int = _THREADS) -> None:
        """``model``: a folder with a CTranslate2 Whisper model. Loads in 1 s. Raises RecognizerError."""
        try:
            from faster_whisper import WhisperModel
            from faster_whisper.tokenizer import Tokenizer
        except (ImportError, OSError) as error:
            raise RecognizerError(f"faster-whisper does not work on this machine ({error}); use --stt vosk.") from error
        try:
            self._whisper = WhisperModel(
                str(model), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
            )
        except Exception as error:  # ctranslate2 and tokenizers raise a family of unrelated types
            raise RecognizerError(
                f"The Whisper model in {model} cannot be loaded ({error}); run 'python -m demo.models' to fetch it "
                "again."
            ) from error
        self._tokenizer = Tokenizer(self._whisper.hf_tokenizer, multilingual=False)
        self.name = "whisper-tiny.en"
        self.reset()
        self.transcribe(np.zeros(RATE, np.float32))  # the first inference is slow

    def feed(self, pcm: np.ndarray) -> None:
        """Hear the next samples (float32 at 16 kHz)."""
        self._audio.append(pcm)
        self._fed += len(pcm)

    def partial(self) -> str:
        """What was said so far; recognises all of it again if there is anything new."""
        self._recognise(self._fed)
        return self._text

    def finish(self, speech_samples: int | None = None) -> str:
        """The whole text, empty where nothing was understood; then begin anew.

        Costs nothing if ``partial`` was called after the last of the ``speech_samples``.
        """
        self._recognise(self._fed if speech_samples is None else min(speech_samples, self._fed))
        text = self._text
        self.reset()
        return text

    def reset(self) -> None:
        """Forget the utterance."""
        self._audio: list[np.ndarray] = []
        self._fed = 0
        self._recognised = 0  # samples that _text covers
        self._text = ""

    def _recognise(self, samples: int) -> None:
        if samples <= self._recognised:
            return
        pcm = np.concatenate(self._audio)[: samples + self._TAIL]
        self._recognised = len(pcm)
        self._text = believable(self.transcribe(pcm))

    def transcribe(self, pcm: np.ndarray) -> Transcript:
        """What float32 [n] at 16 kHz, 30 s at most, seems to say."""
        pcm = pcm[: self._FULL]
        window = next((window for window in self._WINDOWS if window >= len(pcm) + self._MARGIN), self._FULL)
        if window < self._FULL:
            transcript = self._decode(pcm, window)
            if transcript.complete and not repeats(transcript.text):
                return transcript
        return self._decode(pcm, self._FULL)

    def _decode(self, pcm: np.ndarray, window: int) -> Transcript:
        from ctranslate2 import StorageView

        frames = window // self._whisper.feature_extractor.hop_length // 2 * 2
        features = self._whisper.feature_extractor(np.pad(pcm, (0, window - len(pcm))), padding=0)[None, :, :frames]
        most = 12 + 8 * len(pcm) // RATE  # nobody speaks more tokens a second
        result = self._whisper.model.generate(
            self._whisper.model.encode(StorageView.from_array(np.ascontiguousarray(features, np.float32))),
            [[self._tokenizer.sot, self._tokenizer.no_timestamps]],
            beam_size=self._BEAM,
            max_length=most,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
        )[0]
        tokens = result.sequences_ids[0]
        text = self._tokenizer.decode(tokens).strip()
        return Transcript(text, result.scores[0], result.no_speech_prob, complete=len(tokens) < most - 2)


def believable(transcript: Transcript) -> str:
    """The text, or nothing where Whisper only dreamt it: it fills noise with words rather than say nothing."""
    dreamt = transcript.no_speech > 0.6 and transcript.logprob < -0.5
    babbled = transcript.logprob < -1.5 or _compression(transcript.text) > 2.4
    sound = transcript.text.startswith(("[", "(", "*")) and transcript.text.endswith(("]", ")", "*"))  # [MUSIC]
    words = {"".join(filter(str.isalnum, word)).casefold() for word in transcript.text.split()} - {""}
    if dreamt or babbled or sound or words <= _HUMS:
        log.debug("Not taken for speech: %r", transcript)  # no louder: nothing that was said is for a log
        return ""
    return transcript.text


def repeats(text: str) -> bool:
    """Whether the text is one phrase said several times over."""
    words = ["".join(filter(str.isalnum, word)).casefold() for word in text.split()]
    return any(
        words[:size] * (len(words) // size) + words[: len(words) % size] == words
        for size in range(1, len(words) // 2 + 1)
    )


def _compression(text: str) -> float:
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def choose_recognizer(settings: Settings, store: ModelStore, notify: Callable[[Notice], None]) -> Recognizer:
    """The recogniser that ``settings.stt`` asks for; ``auto`` is Vosk where it can be had, else Whisper, and says so.

    Loads it, after fetching its model if need be: call it in a thread. Where ``auto`` has one that understands the
    language, nothing is fetched: a session calls nobody. Raises UserError.
    """
    language = language_of(settings.lang)
    if settings.stt == "vosk":
        return _vosk(language, store, notify)
    if settings.stt == "whisper":
        return _whisper(language, store, notify)
    if language == "en" and store.has(WHISPER_MODEL) and not store.installed("vosk-en"):
        notify(Notice("info", "Whisper tiny.en listens; Vosk's model is not here: 'python -m demo.models' fetches it."))
        return _whisper(language, store, notify)
    try:
        return _vosk(language, store, notify)
    except (ModelError, RecognizerError) as error:
        if language != "en":
            raise RecognizerError(f"{error} Whisper tiny.en, the stand-in, understands only English.") from error
        recognizer = _whisper(language, store, notify)
        notify(Notice("info", f"Whisper tiny.en listens instead of Vosk: {error}"))
        return recognizer


def _vosk(language: str, store: ModelStore, notify: Callable[[Notice], None]) -> VoskRecognizer:
    name = f"vosk-{language}"
    if name not in store.models:
        known = sorted(model.removeprefix("vosk-") for model in store.models if model.startswith("vosk-"))
        raise RecognizerError(
            f"There is no Vosk model for the language {language!r}, only for {', '.join(known)}; choose with --lang."
        )
    return VoskRecognizer(store.fetch(name, _announced(notify)), language)


def _whisper(language: str, store: ModelStore, notify: Callable[[Notice], None]) -> WhisperRecognizer:
    if language != "en":
        raise RecognizerError(
            f"Whisper tiny.en understands only English, not {language!r}; use --stt vosk or --lang en."
        )
    return WhisperRecognizer(store.fetch(WHISPER_MODEL, _announced(notify)))


def _announced(notify: Callable[[Notice], None]) -> Progress:
    """Progress of a fetch that says once that it has begun: a start that takes a minute needs an explanation."""
    told: set[str] = set()

    def progress(name: str, done: int, total: int) -> None:
        if 0 < done < total and name not in told:
            told.add(name)
            notify(Notice("info", f"Fetching the model {name}, {total // 1_000_000} MB, once."))

    return progress
