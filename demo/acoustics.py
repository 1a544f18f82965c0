"""A simulated room for measurements and tests: the loudspeaker's echo, a hall's babble, claps and coughs.

All sound is float32 mono at 16 kHz; all randomness comes from the generator or seed given. Nothing here is heard in a
real session.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.signal

from demo.echo import Played
from demo.microphone import RATE, AudioBlock, Microphone


@dataclass(frozen=True)
class Room:
    """The way from the loudspeaker to the microphone."""

    delay: float = 0.08  # seconds until the first sound of it arrives, beyond what the sound card reports
    echo_db: float = -20.0  # power of the echo to that of what is played
    reverberation: float = 0.3  # seconds for the room to fall by 60 dB
    direct_db: float = 6.0  # power of the first arrival to that of the reverberation
    seed: int = 0

    def response(self) -> np.ndarray:
        """The impulse response after ``delay``, float32 [n]."""
        length = max(1, int(self.reverberation * RATE))
        tail = np.random.default_rng(self.seed).standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
        tail *= 10 ** (-self.direct_db / 20) / np.sqrt(np.sum(tail**2))
        tail[0] = 1.0
        return (tail * 10 ** (self.echo_db / 20) / np.sqrt(np.sum(tail**2))).astype(np.float32)

    def echo(self, played: np.ndarray) -> np.ndarray:
        """What the microphone hears of float32 [n]; as long as that."""
        late = np.pad(played, (round(self.delay * RATE), 0))[: len(played)]
        return scipy.signal.fftconvolve(late, self.response())[: len(played)].astype(np.float32)


class RoomMicrophone:
    """A microphone in a room with a loudspeaker: what ``inner`` hears, the echo of what is played, and ``noise``."""

    def __init__(self, inner: Microphone, played: Played, room: Room, noise: np.ndarray | None = None) -> None:
        """``noise``: float32 [n], heard over and over; None for a silent room."""
        self._inner = inner
        self._played = played
        self._response = room.response()
        self._delay = room.delay
        self._pointer: int | None = None  # sample of ``played`` that is next
        self._noise = np.zeros(1, np.float32) if noise is None else noise

    @property
    def name(self) -> str:
        """For people."""
        return f"{self._inner.name} in a room"

    def open(self) -> None:
        """Begin to capture. Raises DeviceError."""
        self._inner.open()

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks as they are captured, until ``close``."""
        for block in self._inner.blocks():
            yield replace(block, pcm=block.pcm + self._echo(block) + self._noise_at(block))

    def close(self) -> None:
        """Stop; ``blocks`` ends."""
        self._inner.close()

    def _echo(self, block: AudioBlock) -> np.ndarray:
        wanted = self._played.sample_at(block.time_of(block.position) - self._delay)
        if self._pointer is None or abs(wanted - self._pointer) > RATE // 20:  # sound knows no jitter of timestamps
            self._pointer = wanted
        before = len(self._response) - 1
        played = self._played.read(self._pointer - before, before + len(block.pcm))
        self._pointer += len(block.pcm)
        return scipy.signal.fftconvolve(played, self._response, "valid").astype(np.float32)

    def _noise_at(self, block: AudioBlock) -> np.ndarray:
        return self._noise[np.arange(block.position, block.end) % len(self._noise)]


def level_db(pcm: np.ndarray) -> float:
    """Root mean square in dB below full scale."""
    return float(10 * np.log10(np.mean(np.square(pcm, dtype=np.float64)) + 1e-12))


def at_level(pcm: np.ndarray, decibels: float) -> np.ndarray:
    """``pcm`` with that root mean square in dB below full scale."""
    return (pcm * 10 ** ((decibels - level_db(pcm)) / 20)).astype(np.float32)


def in_noise(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """``speech`` with ``noise``, repeated as often as needed, that much below it; as long as ``speech``."""
    heard = np.resize(noise, len(speech))
    return (speech + at_level(heard, level_db(speech) - snr_db)).astype(np.float32)


def babble(speech: Sequence[np.ndarray], seconds: float, rng: np.random.Generator, voices: int = 8) -> np.ndarray:
    """A hall full of people: ``voices`` at a time, from near and far, reverberating; its level is -30 dB."""
    samples = int(seconds * RATE)
    hall = np.zeros(samples)
    for _ in range(voices):
        order = np.concatenate([speech[k] for k in rng.permutation(len(speech))])
        hall += np.roll(np.resize(order, samples), rng.integers(samples)) * rng.uniform(0.5, 1.0)
    room = Room(delay=0.0, echo_db=0.0, reverberation=1.0, direct_db=-6.0, seed=int(rng.integers(1 << 30)))
    return at_level(room.echo(hall.astype(np.float32)), -30.0)


def clap(rng: np.random.Generator) -> np.ndarray:
    """Two to six claps of hands in a small room."""
    pieces = []
    for _ in range(rng.integers(2, 7)):
        time = np.arange(int(rng.uniform(0.12, 0.35) * RATE)) / RATE
        burst = rng.standard_normal(len(time)) * np.exp(-time / rng.uniform(0.004, 0.015))
        pieces.append(_band(burst, rng.uniform(400, 900), rng.uniform(2500, 5000)))
    return _reverberant(np.concatenate(pieces), rng)


def cough(rng: np.random.Generator) -> np.ndarray:
    """One to three coughs: a burst, breath through an open vocal tract, and in some a short voiced end."""
    pieces = []
    for _ in range(rng.integers(1, 4)):
        burst = _tract(rng.standard_normal(_samples(rng, 0.03, 0.06)), rng) * 1.5
        breath = _tract(rng.standard_normal(_samples(rng, 0.08, 0.2)), rng) * rng.uniform(0.2, 0.5)
        voiced = _tract(_pulses(_samples(rng, 0.04, 0.14), rng.uniform(120, 350), rng, 0.08), rng)
        voiced *= np.hanning(len(voiced)) * rng.uniform(0.0, 0.7)
        pieces += [burst, breath, voiced, np.zeros(_samples(rng, 0.08, 0.3))]
    return _reverberant(np.concatenate(pieces), rng)


def laugh(rng: np.random.Generator) -> np.ndarray:
    """Three to seven ha's: breath and a voiced vowel, always the same, five a second, falling in pitch and loudness."""
    formants, pitch = _formants(rng), rng.uniform(150, 420)
    pieces = []
    for number in range(rng.integers(3, 8)):
        breath = _filtered(rng.standard_normal(_samples(rng, 0.05, 0.11)), formants) * rng.uniform(0.05, 0.2)
        vowel = _filtered(_pulses(_samples(rng, 0.06, 0.11), pitch * 0.95**number, rng, 0.03), formants)
        pieces += [breath, vowel * np.hanning(len(vowel)) * 0.9**number, np.zeros(_samples(rng, 0.01, 0.04))]
    return _reverberant(np.concatenate(pieces), rng)


def hum(rng: np.random.Generator) -> np.ndarray:
    """An "mm-hm" or "mm": a nasal murmur with closed lips, in two parts or one."""
    pitch = rng.uniform(95, 260)
    nasal = [(rng.uniform(230, 320), 60.0), (rng.uniform(900, 1200), 150.0), (rng.uniform(2000, 2600), 300.0)]
    first = _filtered(_pulses(_samples(rng, 0.12, 0.25), pitch, rng, 0.01), nasal)
    second = _filtered(_pulses(_samples(rng, 0.15, 0.3), pitch * rng.uniform(0.85, 1.3), rng, 0.01), nasal)
    breath = _filtered(rng.standard_normal(_samples(rng, 0.03, 0.07)), nasal) * 0.05
    parts = [first, breath, second] if rng.random() < 0.7 else [np.concatenate([first, second])]
    return _reverberant(np.concatenate([part * _edges(len(part)) for part in parts]), rng)


NO_INTERRUPTIONS = {"clap": clap, "cough": cough, "laugh": laugh, "mm-hm": hum}


def _samples(rng: np.random.Generator, least: float, most: float) -> int:
    return int(rng.uniform(least, most) * RATE)


def _edges(samples: int) -> np.ndarray:
    """Fades in and out over 20 ms."""
    ramp = np.arange(samples) / (0.02 * RATE)
    return np.clip(np.minimum(ramp, ramp[::-1]), 0, 1)


def _pulses(samples: int, pitch: float, rng: np.random.Generator, jitter: float) -> np.ndarray:
    """A voice's source: glottal pulses at ``pitch`` Hz, a low-passed train with some breath."""
    period = RATE / pitch * np.exp(jitter * rng.standard_normal(samples))
    phase = np.cumsum(1 / period)
    train = np.diff(np.floor(phase), prepend=0.0)
    return scipy.signal.lfilter([1], [1, -0.9], train) + 0.01 * rng.standard_normal(samples)


def _formants(rng: np.random.Generator) -> list[tuple[float, float]]:
    """An open vowel's resonances: frequency and bandwidth in Hz."""
    return [(rng.uniform(500, 850), 90.0), (rng.uniform(1100, 1700), 120.0), (rng.uniform(2300, 2900), 180.0)]


def _tract(source: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _filtered(source, [(frequency, 3 * width) for frequency, width in _formants(rng)])


def _filtered(source: np.ndarray, formants: Sequence[tuple[float, float]]) -> np.ndarray:
    """``source`` through resonances, one after another, to a peak of 1."""
    for frequency, width in formants:
        radius = np.exp(-np.pi * width / RATE)
        denominator = [1, -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2]
        source = scipy.signal.lfilter([sum(denominator)], denominator, source)
    return source / max(float(np.abs(source).max()), 1e-9)


def _band(sound: np.ndarray, low: float, high: float) -> np.ndarray:
    return scipy.signal.sosfilt(scipy.signal.butter(2, (low, high), "bandpass", fs=RATE, output="sos"), sound)


def _reverberant(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The sound in a living room, with a silent end, its loudest sample 0.5."""
    room = Room(delay=0.0, echo_db=0.0, direct_db=8.0, seed=int(rng.integers(1 << 30)))
    heard = room.echo(np.pad(sound, (0, RATE // 4)).astype(np.float32))
    return (heard * 0.5 / np.abs(heard).max()).astype(np.float32)
