"""Microphone and loudspeaker: whether one hears the other, how late and how loud.

A short rising tone is played again and again until it has been heard twice at the same delay. What the microphone hears
is kept in memory for the few seconds of the check and nowhere else.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.signal import fftconvolve

from demo.devices import DeviceError
from demo.doctor.findings import Finding, Level
from demo.microphone import RATE, AudioBlock, SoundDeviceMicrophone
from demo.playback import SoundDeviceSpeaker
from demo.settings import Settings

CHIRP_SECONDS, PERIOD_SECONDS, LOUDNESS = 0.15, 0.8, 0.25
_LOW, _HIGH = 600.0, 5000.0  # Hz, from where to where the chirp rises
_QUIET_SECONDS = 1.0  # of listening before anything is played
_LONGEST_SECONDS = 6.0  # of playing
_EARLIEST, _LATEST = -0.25, 0.5  # seconds about the moment at which the sound system says it is heard
_ALIKE = 0.15  # correlation with the chirp: noise has 0.03
_SAME_DELAY = 0.03  # seconds between the delays of two chirps
_NOTHING_DB, _SILENT_DB, _FAINT_DB, _NOISY_DB = -180.0, -95.0, -75.0, -35.0
_LOUD_ECHO_DB = 6.0
_LATE_MS = 120.0  # by which sound systems misjudge themselves, wires given; the air of a hall takes 3 ms a metre
_CLIPPED = 0.99


@dataclass(frozen=True)
class Heard:
    """A chirp in what the microphone heard."""

    time: float  # monotonic seconds of its beginning
    gain_db: float  # of what was heard over what was played
    alike: float  # correlation, from 0 to 1


@dataclass(frozen=True)
class Echo:
    """The way from the program through loudspeaker and microphone back to it."""

    delay_ms: float  # from handing samples over to having them back
    late_ms: float  # by which they are heard later than the sound system says
    gain_db: float


def chirp(rate: int) -> np.ndarray:
    """The test sound, float32 [n]: a tone that rises from 600 Hz to 5 kHz."""
    t = np.arange(int(CHIRP_SECONDS * rate)) / rate
    phase = 2 * np.pi * (_LOW * t + (_HIGH - _LOW) * t**2 / (2 * CHIRP_SECONDS))
    return (LOUDNESS * np.sin(phase) * np.hanning(len(t))).astype(np.float32)


def find_chirp(pcm: np.ndarray, began: float, earliest: float, latest: float) -> Heard | None:
    """The chirp that begins between two monotonic times in ``pcm`` [n] at 16 kHz, which began at ``began``."""
    wanted = chirp(RATE).astype(np.float64)
    first = max(0, round((earliest - began) * RATE))
    piece = pcm[first : max(0, round((latest - began) * RATE)) + len(wanted)].astype(np.float64)
    if len(piece) <= len(wanted):
        return None
    product = fftconvolve(piece, wanted[::-1], "valid")
    energy = np.maximum(fftconvolve(piece**2, np.ones(len(wanted)), "valid"), 1e-9)
    alike = np.abs(product) / np.sqrt(energy * (wanted @ wanted))
    best = int(np.abs(product).argmax())
    if alike[best] < _ALIKE:
        return None
    gain = 20 * np.log10(np.abs(product[best]) / (wanted @ wanted))
    return Heard(began + (first + best) / RATE, float(gain), float(alike[best]))


def level_db(pcm: np.ndarray) -> float:
    """RMS of ``pcm`` [n] without its mean, in dB below full scale; -180 of silence."""
    if not len(pcm):
        return _NOTHING_DB
    return float(20 * np.log10(np.std(pcm, dtype=np.float64) + 1e-9))


@dataclass
class Chirps:
    """Fills a loudspeaker with chirps and keeps the times of each: when it was asked for, when it is said to sound."""

    rate: int
    played: list[tuple[float, float]] = field(default_factory=list)  # monotonic seconds
    _position: int = 0

    def fill(self, out: np.ndarray, dac_time: float) -> None:
        """The loudspeaker's callback."""
        period, tone = round(PERIOD_SECONDS * self.rate), chirp(self.rate)
        places = (self._position + np.arange(len(out))) % period
        out[:] = np.where(places < len(tone), tone[np.minimum(places, len(tone) - 1)], 0)
        for start in np.flatnonzero(places == 0):
            self.played.append((time.monotonic(), dac_time + start / self.rate))
        self._position += len(out)


@dataclass(frozen=True)
class Listened:
    """What a microphone heard so far."""

    pcm: np.ndarray  # float32 [n] at 16 kHz
    began: float = 0.0  # monotonic seconds at which the first sample was captured, by what the device says
    lag: float = 0.0  # seconds from a sample's being captured, by what the device says, to its being here

    @classmethod
    def of(cls, blocks: list[AudioBlock], arrivals: list[float]) -> "Listened":
        """All of some blocks. Single callbacks are late or early: medians are not."""
        if not blocks:
            return cls(np.zeros(0, np.float32))
        began = float(np.median([block.time_of(0) for block in blocks]))
        here = np.median([at - block.end / RATE for at, block in zip(arrivals, blocks, strict=True)])
        return cls(np.concatenate([block.pcm for block in blocks]), began, float(here) - began)


class Ear:
    """Listens in a thread for the time of a ``with`` block."""

    def __init__(self, microphone: SoundDeviceMicrophone) -> None:
        self._blocks: list[AudioBlock] = []
        self._arrivals: list[float] = []  # monotonic seconds, at least as many as blocks
        self._microphone = microphone
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Ear":
        self._microphone.open()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._microphone.close()

    def heard(self) -> Listened:
        """Everything until now."""
        blocks = list(self._blocks)
        return Listened.of(blocks, self._arrivals[: len(blocks)])

    def _listen(self) -> None:
        with contextlib.suppress(DeviceError):  # what is lost is told by what was heard
            for block in self._microphone.blocks():
                self._arrivals.append(time.monotonic())
                self._blocks.append(block)


def check_sound(settings: Settings) -> Iterator[Finding]:
    """Microphone and loudspeaker, each by itself and both together."""
    if settings.headless:
        yield Finding("sound", Level.GREEN, "is not used with --headless")
        return
    try:
        microphone = SoundDeviceMicrophone(settings.input_device)
        with Ear(microphone) as ear:
            yield from _check_both(microphone.name, ear, settings)
    except DeviceError as error:
        yield Finding("microphone", Level.RED, str(error))
        yield play_unheard(settings)


def _check_both(name: str, ear: Ear, settings: Settings) -> Iterator[Finding]:
    time.sleep(_QUIET_SECONDS)
    quiet = ear.heard().pcm
    try:
        speaker = SoundDeviceSpeaker(settings.output_device)
        echo = measure_echo(speaker, ear)
    except DeviceError as error:
        yield judge_microphone(name, quiet, ear.heard().pcm)
        yield Finding("loudspeaker", Level.RED, str(error))
        return
    everything = ear.heard().pcm
    yield judge_microphone(name, quiet, everything)
    yield judge_loudspeaker(speaker.name, echo, can_hear=level_db(everything) > _SILENT_DB)


def measure_echo(speaker: SoundDeviceSpeaker, ear: Ear) -> Echo | None:
    """Play until two chirps in a row were heard alike; None where they were not. Raises DeviceError."""
    chirps = Chirps(speaker.rate)
    speaker.open(chirps.fill)
    try:
        ends = time.monotonic() + _LONGEST_SECONDS
        while time.monotonic() < ends:
            time.sleep(PERIOD_SECONDS / 2)
            if (echo := find_echo(ear.heard(), list(chirps.played))) is not None:
                return echo
        return None
    finally:
        speaker.close()


def find_echo(listened: Listened, played: list[tuple[float, float]]) -> Echo | None:
    """The first two chirps in a row that came back after the same time. ``played``: as Chirps keeps it."""
    before: tuple[float, Heard] | None = None
    for handed, due in played:
        heard = find_chirp(listened.pcm, listened.began, due + _EARLIEST, due + _LATEST)
        if heard is None:
            before = None
            continue
        late = heard.time - due
        if before is not None and abs(late - before[0]) < _SAME_DELAY:
            return Echo(1000 * (heard.time + listened.lag - handed), 1000 * late, heard.gain_db)
        before = late, heard
    return None


def judge_microphone(name: str, quiet: np.ndarray, everything: np.ndarray) -> Finding:
    """What is to be said of a microphone, by what it heard before [n] and in all [m]."""
    if not len(everything):
        return Finding(
            "microphone", Level.RED, f"{name!r} delivers nothing", "plug it in again, or choose one with --input-device"
        )
    level, loudest = level_db(quiet), float(np.abs(everything).max())
    figures = {"level_dbfs": round(level, 1), "peak_dbfs": round(float(20 * np.log10(loudest + 1e-9)), 1)}

    def finding(grade: Level, text: str, remedy: str = "") -> Finding:
        return Finding("microphone", grade, f"{name!r} {text}", remedy, figures)

    if level_db(everything) < _SILENT_DB:
        return finding(Level.RED, "is silent", "unmute it and turn it up, or choose another with --input-device")
    if loudest > _CLIPPED:
        return finding(Level.YELLOW, "is overdriven", "turn the microphone down")
    if level > _NOISY_DB:
        return finding(Level.YELLOW, f"hears noise of {level:.0f} dBFS", "bring it nearer to the speaker, turn it down")
    if level_db(everything) < _FAINT_DB:
        return finding(Level.YELLOW, "hears next to nothing", "turn the microphone up")
    words = "silence" if level < _SILENT_DB else f"{level:.0f} dBFS"
    return finding(Level.GREEN, f"hears; {words} while nobody speaks")


def judge_loudspeaker(name: str, echo: Echo | None, can_hear: bool) -> Finding:
    """What is to be said of a loudspeaker that played, by its echo in a microphone that hears or does not."""
    if echo is None and not can_hear:
        remedy = "mend the microphone, then look again"
        return Finding("loudspeaker", Level.YELLOW, f"{name!r} plays; nothing hears whether it sounds", remedy)
    if echo is None:
        remedy = "turn the loudspeaker up, or choose another with --output-device; with headphones all is well"
        return Finding("loudspeaker", Level.YELLOW, f"{name!r} plays; the microphone does not hear it", remedy)
    figures = {"delay_ms": round(echo.delay_ms), "late_ms": round(echo.late_ms), "echo_db": round(echo.gain_db, 1)}
    text = f"{name!r} is heard after {echo.delay_ms:.0f} ms, echo {echo.gain_db:+.0f} dB"
    if echo.gain_db > _LOUD_ECHO_DB:
        return Finding("loudspeaker", Level.YELLOW, text, "turn the loudspeaker down", figures)
    if echo.late_ms > _LATE_MS:
        text += f", {echo.late_ms:.0f} ms later than the sound system says"
        remedy = f"use a loudspeaker with a wire, or run with --av-offset-ms {echo.late_ms:.0f}"
        return Finding("loudspeaker", Level.YELLOW, text, remedy, figures)
    return Finding("loudspeaker", Level.GREEN, text, "", figures)


def play_unheard(settings: Settings) -> Finding:
    """The loudspeaker where there is no microphone."""
    try:
        speaker = SoundDeviceSpeaker(settings.output_device)
        chirps = Chirps(speaker.rate)
        speaker.open(chirps.fill)
        time.sleep(2 * PERIOD_SECONDS)
        speaker.close()
    except DeviceError as error:
        return Finding("loudspeaker", Level.RED, str(error))
    if not chirps.played:
        remedy = "restart the sound system, or choose another with --output-device"
        return Finding("loudspeaker", Level.RED, f"{speaker.name!r} takes no sound", remedy)
    return judge_loudspeaker(speaker.name, None, can_hear=False)
