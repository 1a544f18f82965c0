"""Making few voices many: speed and pitch, vocal tract, microphone, room, noise and level; and sounds without speech.

All randomness comes from the generator given, all sound is float32 mono at 16 kHz.
"""

from dataclasses import dataclass

import numpy as np
import scipy.signal
import soxr

from streamingtalker.config import RATE

_FFT, _HOP = 512, 128


@dataclass(frozen=True)
class Recording:
    """What one clip's sound goes through; the defaults leave it as it is."""

    resampling: float = 1.0  # factor on speed and pitch together; 1.1 is a tenth faster and higher
    tract: float = 1.0  # factor on formant frequencies; above 1 a shorter vocal tract
    equalizer: tuple[float, ...] = ()  # dB at frequencies spread evenly over 0 … 8 kHz
    reverberation: float = 0.0  # seconds for the room to fall by 60 dB; 0 without a room
    direct: float = 1.0  # share of the direct sound's amplitude to the room's
    band: tuple[float, float] = (0.0, 8000.0)  # Hz that the microphone or a codec lets pass
    clipping: float = 1.0  # share of the loudest sample's amplitude at which the sound is cut off
    snr_db: float = np.inf  # of the noise floor
    noise_slope: float = 0.0  # exponent of the noise's spectrum over frequency: 0 white, 0.5 pink, 1 brown
    peak: float = 0.5  # amplitude of the loudest sample


def draw_recording(rng: np.random.Generator) -> Recording:
    """A random recording. A third are clean but for speed and level, like the voices the program itself speaks with."""
    resampling = float(np.clip(np.exp(rng.normal(0, 0.06)), 0.85, 1.15))
    peak = float(10 ** (-rng.uniform(1, 22) / 20))
    if rng.random() < 0.33:
        return Recording(resampling=resampling, peak=peak)
    return Recording(
        resampling=resampling,
        tract=float(np.clip(np.exp(rng.normal(0, 0.08)), 0.84, 1.19)),
        equalizer=tuple(rng.normal(0, 4.0, 7)) if rng.random() < 0.6 else (),
        reverberation=float(rng.uniform(0.08, 0.45)) if rng.random() < 0.4 else 0.0,
        direct=float(rng.uniform(0.4, 0.95)),
        band=_draw_band(rng),
        clipping=float(rng.uniform(0.25, 0.8)) if rng.random() < 0.08 else 1.0,
        snr_db=float(rng.uniform(12, 55)) if rng.random() < 0.7 else np.inf,
        noise_slope=float(rng.uniform(0, 1)),
        peak=peak,
    )


def _draw_band(rng: np.random.Generator) -> tuple[float, float]:
    """Mostly all; otherwise a telephone's, a small microphone's or a strong compression's."""
    kind = rng.random()
    if kind < 0.70:
        return 0.0, 8000.0
    if kind < 0.80:
        return float(rng.uniform(200, 350)), float(rng.uniform(3200, 4000))
    if kind < 0.90:
        return float(rng.uniform(80, 250)), 8000.0
    return 0.0, float(rng.uniform(4500, 7000))


def record(pcm: np.ndarray, rate: int, recording: Recording, rng: np.random.Generator) -> np.ndarray:
    """``pcm`` float32 [n] at ``rate`` Hz as recorded, float32 [m] at 16 kHz. Its length in seconds is divided by
    ``recording.resampling``.
    """
    sound = soxr.resample(pcm, rate * recording.resampling, RATE).astype(np.float32)
    if recording.tract != 1.0 or recording.equalizer:
        sound = _shape_spectrum(sound, recording.tract, recording.equalizer)
    if recording.reverberation > 0:
        sound = _reverberate(sound, recording.reverberation, recording.direct, rng)
    if recording.band != (0.0, 8000.0):
        sound = _limit(sound, *recording.band)
    if recording.clipping < 1:
        loudest = float(np.abs(sound).max()) * recording.clipping
        sound = np.clip(sound, -loudest, loudest)
    if np.isfinite(recording.snr_db):
        power = float(np.mean(np.square(sound))) + 1e-12
        noise = coloured_noise(len(sound), recording.noise_slope, rng)
        sound = sound + noise * np.sqrt(power / 10 ** (recording.snr_db / 10)).astype(np.float32)
    return (sound * (recording.peak / max(float(np.abs(sound).max()), 1e-4))).astype(np.float32)


def play_faster(pcm: np.ndarray, rate: int, factor: float) -> np.ndarray:
    """``pcm`` float32 [n] at ``rate`` Hz played ``factor`` times as fast, float32 [m] at 16 kHz: its pitch rises, its
    formants stay.
    """
    return _shape_spectrum(soxr.resample(pcm, rate * factor, RATE).astype(np.float32), 1 / factor, ())


def _limit(sound: np.ndarray, low: float, high: float) -> np.ndarray:
    """The sound between ``low`` and ``high`` Hz, filtered forwards and backwards so that it keeps its time."""
    if low > 0:
        sound = scipy.signal.sosfiltfilt(scipy.signal.butter(2, low, "highpass", fs=RATE, output="sos"), sound)
    if high < RATE / 2:
        sound = scipy.signal.sosfiltfilt(scipy.signal.butter(4, high, "lowpass", fs=RATE, output="sos"), sound)
    return sound.astype(np.float32)


def _shape_spectrum(sound: np.ndarray, tract: float, equalizer: tuple[float, ...]) -> np.ndarray:
    """The sound with its spectral envelope stretched by ``tract`` and an equalizer, harmonics left in place."""
    _, _, spectrum = scipy.signal.stft(sound, RATE, nperseg=_FFT, noverlap=_FFT - _HOP)
    bins = spectrum.shape[0]
    gain = np.zeros((bins, 1))
    if equalizer:
        gain += np.interp(np.linspace(0, 1, bins), np.linspace(0, 1, len(equalizer)), equalizer)[:, None]
    if tract != 1.0:
        envelope = _envelope(spectrum)
        source = np.minimum(np.arange(bins) / tract, bins - 1)
        low = np.minimum(source.astype(int), bins - 2)
        share = (source - low)[:, None]
        gain = gain + (envelope[low] * (1 - share) + envelope[low + 1] * share) - envelope
    _, shaped = scipy.signal.istft(spectrum * 10 ** (np.clip(gain, -30, 30) / 20), RATE, nperseg=_FFT,
                                   noverlap=_FFT - _HOP)  # fmt: skip
    return np.pad(shaped, (0, max(0, len(sound) - len(shaped))))[: len(sound)].astype(np.float32)


def _envelope(spectrum: np.ndarray) -> np.ndarray:
    """Spectral envelope in dB [bins, frames]: the log spectrum without what its cepstrum has beyond 1.5 ms."""
    levels = 20 * np.log10(np.abs(spectrum) + 1e-6)
    cepstrum = np.fft.irfft(levels, axis=0)
    keep = int(0.0015 * RATE)
    cepstrum[keep:-keep] = 0
    return np.fft.rfft(cepstrum, axis=0).real


def _reverberate(sound: np.ndarray, seconds: float, direct: float, rng: np.random.Generator) -> np.ndarray:
    """The sound in a room whose echoes begin at once, so that the direct sound keeps its time."""
    length = int(seconds * RATE)
    decay = 10 ** (-3 * np.arange(length) / length)
    room = rng.standard_normal(length) * decay
    room *= (1 - direct) / np.sqrt(np.sum(room**2))
    room[0] = direct
    return scipy.signal.fftconvolve(sound, room)[: len(sound)].astype(np.float32)


def coloured_noise(samples: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of unit power, float32 [samples], whose amplitude falls as frequency to the power of ``slope``."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum /= np.maximum(np.arange(len(spectrum)), 20 * samples / RATE + 1) ** slope
    noise = np.fft.irfft(spectrum, samples)
    return (noise / np.sqrt(np.mean(noise**2))).astype(np.float32)


def speechless(kind: str, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A sound, float32 [16000 · seconds], to which the mouth stays shut; its kind is one of ``SPEECHLESS``."""
    samples = int(seconds * RATE)
    peak = 10 ** (-rng.uniform(3, 40) / 20)
    sound = {"silence": _nothing, "noise": _gusts, "clicks": _clicks, "hum": _hum, "music": _music}[kind](samples, rng)
    return (sound * (peak / max(float(np.abs(sound).max()), 1e-4)) if kind != "silence" else sound).astype(np.float32)


SPEECHLESS_VOICE = "noise"  # stands for a voice where sounds without speech are made
SPEECHLESS = ("silence", "noise", "clicks", "hum", "music")


def _nothing(samples: int, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(samples) * (1e-4 if rng.random() < 0.5 else 0.0)


def _gusts(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise that swells and fades, and bursts of it."""
    swell = np.interp(np.arange(samples), np.linspace(0, samples, 12), rng.uniform(0.1, 1, 12))
    sound = coloured_noise(samples, rng.uniform(0, 1), rng) * swell
    for _ in range(rng.integers(0, 4)):
        at, length = rng.integers(samples), rng.integers(RATE // 20, RATE // 2)
        sound[at : at + length] *= rng.uniform(2, 8)
    return sound


def _clicks(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Keys, knocks and taps: short decaying rings."""
    sound = coloured_noise(samples, 0.5, rng) * 0.003
    for _ in range(max(1, int(samples / RATE * rng.uniform(1, 6)))):
        time = np.arange(int(rng.uniform(0.004, 0.08) * RATE)) / RATE
        ring = np.exp(-time * rng.uniform(60, 600)) * np.sin(2 * np.pi * rng.uniform(150, 5000) * time)
        at = rng.integers(max(1, samples - len(ring)))
        sound[at : at + len(ring)] += (ring * rng.uniform(0.3, 1))[: samples - at]
    return sound


def _hum(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Mains, fans and engines: harmonics of a low tone in noise."""
    time = np.arange(samples) / RATE
    tone = rng.choice([50.0, 60.0, rng.uniform(70, 220)])
    sound = coloured_noise(samples, 0.7, rng) * 0.2
    for harmonic in range(1, 9):
        sound += rng.uniform(0, 1) / harmonic * np.sin(2 * np.pi * tone * harmonic * time + rng.uniform(0, 6))
    return sound


def _music(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Chords and a melody of plucked and held tones."""
    sound = np.zeros(samples)
    beat = int(RATE * rng.uniform(0.15, 0.5))
    root = rng.uniform(90, 260)
    for at in range(0, samples, beat):
        for step in rng.choice([0, 3, 4, 5, 7, 9, 12, 15, 16, 19, 24], size=rng.integers(1, 4), replace=False):
            length = min(int(beat * rng.uniform(0.8, 3)), samples - at)
            time = np.arange(length) / RATE
            tone = root * 2 ** (step / 12)
            decay = np.exp(-time * rng.uniform(0.5, 8)) * np.minimum(time * 100, 1)
            partials = sum(np.sin(2 * np.pi * tone * k * time) / k ** rng.uniform(0.8, 2) for k in range(1, 7))
            sound[at : at + length] += decay * partials
    return sound
