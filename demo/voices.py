"""Voices: text in, sound out. All speak at one rate, so that one may stand in for another in mid-answer."""

import io
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from demo.languages import LANGUAGES, language_of
from demo.settings import Settings, SettingsError
from streamingtalker.audio import Resampler
from streamingtalker.errors import UserError

if TYPE_CHECKING:
    import gtts

log = logging.getLogger(__name__)

SAMPLE_RATE = 24_000  # Hz, of every voice
GTTS_SECONDS = 2.2  # a sentence: who waits for longer takes the silence for the end
LONGEST_START = 1.5  # seconds that any text may take to say
LONGEST_CHARACTER = 0.4  # and so many more for each character: slow syllables, written in one
SILENCE = 0.002  # RMS below which nothing is heard
KEPT_SILENCE_SECONDS = 0.08  # around the sound: the mouth opens before it and closes after it
GOOGLE = "https://translate.google.com"
_LONG_SENTENCE = "This is about the longest sentence that is ever spoken in one piece" + ", and so it goes on" * 8 + "."

Notify = Callable[[str], None]  # takes one sentence for the operator; called from any thread


class VoiceError(UserError):
    """A voice that cannot speak. The message names it and the remedy."""


class Voice(Protocol):
    """What a conversation needs of a voice."""

    name: str
    sample_rate: int

    def speak(self, text: str) -> Iterator[np.ndarray]:
        """The sound of ``text``, float32 mono in [-1, 1], in pieces as they are ready. Blocks; raises VoiceError."""
        ...


def checked(voice: Voice, text: str) -> Iterator[np.ndarray]:
    """What ``voice`` says, as far as it is sound. Raises VoiceError for whatever else it does."""
    sayable = round((LONGEST_START + LONGEST_CHARACTER * len(text)) * voice.sample_rate)
    heard = False
    pieces = voice.speak(text)
    while True:
        try:
            pcm = next(pieces, None)
        except VoiceError:
            raise
        except Exception as error:
            log.error("%s failed", voice.name, exc_info=error)
            raise _wrong(voice, f"failed ({type(error).__name__})") from error
        if pcm is None:
            break
        if pcm.ndim != 1 or not np.issubdtype(pcm.dtype, np.floating):
            raise _wrong(voice, "gave something else than sound")
        if not len(pcm):
            continue  # it would be waited for, and nothing comes of it
        if not np.isfinite(pcm).all():
            raise _wrong(voice, "gave sound that is not finite")
        heard = heard or bool((np.abs(pcm) > SILENCE).any())
        if len(pcm) > sayable:
            yield pcm[:sayable]
            raise _wrong(voice, "speaks far longer than the text takes")
        sayable -= len(pcm)
        yield pcm
    if not heard:
        raise _wrong(voice, "said nothing")


def _wrong(voice: Voice, what: str) -> VoiceError:
    return VoiceError(f"The voice {voice.name} {what}; a sentence was skipped. Use another voice with --tts.")


class HibariVoice:
    """The offline English voice: 100 times faster than real time on one core, its weights come with its package."""

    name = "hibari"
    sample_rate = SAMPLE_RATE

    def __init__(self, seed: int = 0) -> None:
        from hibari import Hibari

        self._hibari = Hibari(threads=1)
        self._seed = seed
        self._lock = threading.Lock()  # conversations share it, and its dictionaries are filled as it goes
        for _ in self.speak(_LONG_SENTENCE):  # the first is slow, and what the longest needs of memory is kept
            pass

    def speak(self, text: str) -> Iterator[np.ndarray]:
        """The sound of ``text``; see Voice."""
        with self._lock:
            phrases = self._hibari.phonemize(text)
        for phonemes in phrases:
            with self._lock:
                pcm = self._hibari.from_phonemes(phonemes, seed=self._seed)
            yield trimmed(np.clip(pcm, -1.0, 1.0))  # outside the lock: whoever listens may never come back


class GttsVoice:
    """Google Translate's voice through gTTS: many languages, needs the internet. Raises SettingsError for others."""

    sample_rate = SAMPLE_RATE

    def __init__(self, lang: str, site: str = GOOGLE, seconds: float = GTTS_SECONDS) -> None:
        from gtts.lang import tts_langs

        known = tts_langs()
        if lang not in known:
            lang = LANGUAGES[language_of(lang)].gtts if language_of(lang) in LANGUAGES else language_of(lang)
        if lang not in known:
            raise SettingsError(f"gTTS does not speak {lang!r}; 'gtts-cli --all' lists its languages for --lang.")
        self.name = f"gTTS ({lang})"
        self._lang = lang
        self._site = site
        self._seconds = seconds

    def speak(self, text: str) -> Iterator[np.ndarray]:
        """The sound of ``text``; see Voice. Silence of the network longer than the time limit is an error."""
        import gtts

        heard = False
        try:
            for mp3 in _google_speech(text, self._lang, self._site, self._seconds).stream():
                yield trimmed(decode_mp3(mp3))
                heard = True
            if not heard:
                raise ValueError("an answer without sound")
        except (gtts.gTTSError, AssertionError, OSError, ValueError) as error:
            raise VoiceError(f"gTTS cannot speak ({error}); check the network or use --tts hibari.") from error


def _google_speech(text: str, lang: str, site: str, seconds: float) -> "gtts.gTTS":
    import gtts

    class Speech(gtts.gTTS):
        """gTTS with the site to ask as a parameter: it knows only translate.google.<tld>, over https."""

        def _prepare_requests(self) -> list[Any]:
            prepared = super()._prepare_requests()
            for request in prepared:
                request.url = request.url.replace(GOOGLE, site, 1)
            return prepared

    return Speech(text, lang=lang, lang_check=False, timeout=seconds)


class FallbackVoice:
    """``first`` speaks where it can do so in time, else ``second``; said once for every time ``first`` is lost."""

    def __init__(
        self,
        first: Voice,
        second: Voice,
        notify: Notify,
        seconds: float = GTTS_SECONDS,
        retry_seconds: float = 60.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        assert first.sample_rate == second.sample_rate
        self.name = first.name
        self.sample_rate = first.sample_rate
        self._first, self._second = first, second
        self._notify, self._monotonic = notify, monotonic
        self._seconds, self._retry_seconds = seconds, retry_seconds
        self._retry_at: float | None = None  # None while ``first`` is trusted

    def speak(self, text: str) -> Iterator[np.ndarray]:
        """The sound of ``text``; see Voice."""
        pieces = self._try_first(text)
        yield from self._second.speak(text) if pieces is None else pieces

    def _try_first(self, text: str) -> list[np.ndarray] | None:
        if self._retry_at is not None and self._monotonic() < self._retry_at:
            return None
        try:
            pieces = _in_time(lambda: list(self._first.speak(text)), self._seconds)
        except (VoiceError, TimeoutError) as error:
            if self._retry_at is None:
                reason = str(error) or f"{self._first.name} took longer than {self._seconds:g} s."
                self._notify(f"{reason} {self._second.name} speaks instead for now.")
            self._retry_at = self._monotonic() + self._retry_seconds
            return None
        self._retry_at = None
        return pieces


def _in_time(call: Callable[[], list[np.ndarray]], seconds: float) -> list[np.ndarray]:
    """What ``call`` returns. TimeoutError where it takes too long: it is left behind in a thread nobody waits for."""
    answer: Future[list[np.ndarray]] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="voice", daemon=True).start()
    return answer.result(seconds)


def open_voice(settings: Settings, notify: Notify, wanted: str | None = None) -> Voice:
    """The voice that ``settings`` choose, or else the one ``wanted``, or else one that speaks the language.

    Blocks while it loads; raises SettingsError.
    """
    english = language_of(settings.lang) == "en"
    name = settings.tts if settings.tts != "auto" else wanted or ("hibari" if english else "gtts")
    hibari = HibariVoice(settings.seed)
    if name == "gtts":
        return FallbackVoice(GttsVoice(settings.lang), hibari, notify)
    if not english:
        notify(f"The offline voice hibari speaks English only; for {settings.lang!r} use --tts gtts.")
    return hibari


def trimmed(pcm: np.ndarray) -> np.ndarray:
    """``pcm`` without most of the silence around it: voices bring up to half a second, which would be waited for."""
    window = SAMPLE_RATE // 100
    windows = pcm[: len(pcm) // window * window].reshape(-1, window)
    loud = np.flatnonzero(np.sqrt(np.mean(windows**2, axis=1)) > SILENCE)
    if not len(loud):
        return pcm
    margin = round(KEPT_SILENCE_SECONDS * SAMPLE_RATE)
    return pcm[max(0, loud[0] * window - margin) : (loud[-1] + 1) * window + margin]


def decode_mp3(mp3: bytes) -> np.ndarray:
    """float32 mono at SAMPLE_RATE of an MP3. Raises ValueError where it is none."""
    import imageio_ffmpeg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that there is no ffmpeg on the path: we bring one
        from pydub import AudioSegment
        from pydub.exceptions import PydubException

    class Segment(AudioSegment):  # pydub keeps the decoder's path on the class; ours is nobody else's business
        converter = imageio_ffmpeg.get_ffmpeg_exe()

    try:
        # Naming the codec spares pydub its call of ffprobe, which the imageio-ffmpeg package lacks.
        sound = Segment.from_file(io.BytesIO(mp3), format="mp3", codec="mp3").set_channels(1).set_sample_width(2)
    except (PydubException, IndexError, OSError) as error:
        raise ValueError("what came is not an MP3") from error
    pcm = np.frombuffer(sound.raw_data, np.int16).astype(np.float32) / 32768.0
    resampler = Resampler(sound.frame_rate, SAMPLE_RATE)
    return np.concatenate([resampler.feed(pcm), resampler.finish()])
