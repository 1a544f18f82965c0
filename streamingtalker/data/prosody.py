"""What the upper face listens to in a voice: its pitch and its loudness, frame by frame."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, signal

from streamingtalker.config import RATE

_DECIMATION = 2  # pitch lies low: half the rate is enough
_HOP, _WINDOW = 0.010, 0.040  # seconds
_LOWEST, _HIGHEST = 65.0, 420.0  # Hz
_VOICED = 0.55  # least normalised autocorrelation of a voiced frame
_QUIET = 35.0  # dB under the clip's loudest at which nothing counts as voiced
_WIDEST = 9.0  # semitones from the median, beyond which an estimate is an octave error rather than a melody


@dataclass(frozen=True)
class Prosody:
    """Curves [T] of a clip; both lie about zero, and stay there where nothing can be heard."""

    pitch: np.ndarray  # semitones over the clip's median, carried on through what has none
    loudness: np.ndarray  # dB over the median of what is not silent, at least -30

    @classmethod
    def flat(cls, frames: int) -> "Prosody":
        """That of a voice nobody hears."""
        return cls(np.zeros(frames), np.zeros(frames))


def listen(pcm: np.ndarray, frames: int, fps: float) -> Prosody:
    """The prosody of ``pcm`` (float32, 16 kHz) at ``frames`` times k / fps."""
    if len(pcm) < RATE * _WINDOW or not np.abs(pcm).max() > 1e-4:
        return Prosody.flat(frames)
    windows = _windows(signal.resample_poly(pcm.astype(np.float64), 1, _DECIMATION))
    decibels = 10 * np.log10(np.square(windows).mean(axis=1) + 1e-10)
    audible = decibels > decibels.max() - _QUIET
    at = np.arange(frames) / fps / _HOP
    hops = np.arange(len(windows))
    loudness = np.maximum(decibels - np.median(decibels[audible]), -30.0)
    loudness = ndimage.gaussian_filter1d(loudness, 0.05 / _HOP)
    return Prosody(np.interp(at, hops, _semitones(windows, audible)), np.interp(at, hops, loudness))


def _windows(pcm: np.ndarray) -> np.ndarray:
    """Windows [H, N], the k-th centred on k hops."""
    rate = RATE // _DECIMATION
    size, hop = round(_WINDOW * rate), round(_HOP * rate)
    padded = np.pad(pcm, size // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]


def _semitones(windows: np.ndarray, audible: np.ndarray) -> np.ndarray:
    """Pitch [H] over the median, smooth and without gaps."""
    hertz, clarity = pitches(windows, RATE // _DECIMATION)
    voiced = audible & (clarity > _VOICED)
    if voiced.sum() < 5:
        return np.zeros(len(windows))
    semitones = 12 * np.log2(hertz)
    semitones -= np.median(semitones[voiced])
    voiced &= np.abs(semitones) < _WIDEST
    hops = np.arange(len(windows))
    through = np.interp(hops, hops[voiced], semitones[voiced])
    return ndimage.gaussian_filter1d(ndimage.median_filter(through, 7), 0.03 / _HOP)


def pitches(windows: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Fundamental frequency in Hz [H] of ``windows`` [H, N] and how clear it is, from 0 to 1.

    The autocorrelation of the tapered window over that of the taper (Boersma, 1993); of the peaks nearly as high as
    the highest, the one of the shortest period, which keeps from falling an octave.
    """
    size = windows.shape[1]
    taper = np.hanning(size)
    shortest, longest = int(rate / _HIGHEST), int(rate / _LOWEST)
    own = _autocorrelation(taper[None], longest + 2)[0]
    centred = windows - windows.mean(axis=1, keepdims=True)
    likeness = _autocorrelation(centred * taper, longest + 2) / own
    inside = likeness[:, shortest : longest + 1]
    peak = (inside >= likeness[:, shortest - 1 : longest]) & (inside >= likeness[:, shortest + 1 : longest + 2])
    heights = np.where(peak, inside, 0.0)
    highest = heights.max(axis=1)
    first = (heights >= 0.9 * highest[:, None]).argmax(axis=1)
    return rate / (shortest + first), np.clip(highest, 0.0, 1.0)


def _autocorrelation(windows: np.ndarray, lags: int) -> np.ndarray:
    """[H, lags], 1 at lag 0."""
    power = np.abs(np.fft.rfft(windows, 2 * windows.shape[1])) ** 2
    product = np.fft.irfft(power)[:, :lags]
    return product / np.maximum(product[:, :1], 1e-12)
