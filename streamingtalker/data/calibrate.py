"""How early or late a voice's phone labels are against its sound.

``python -m streamingtalker.data.calibrate`` speaks sentences with each voice, shifts the labels over a range and
measures at each shift

* the contrast: mean level of the sound inside vowels minus that inside stop consonants, in dB;
* the share of the variance of a log spectrum explained by the phone that the labels name.

Both peak where the labels fit. The contrast decides: a buzzing formant voice changes its spectrum so little within a
phone that the second measure is flat. The offset printed is positive where labels come later than the sound.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from streamingtalker.data.phones import INVENTORY, STOPS, VOWELS, Phone
from streamingtalker.data.sentences import draw_sentence
from streamingtalker.data.speakers import VOICES, Manner, Speech, find_voice, speaker

RATE, HOP, WINDOW, BANDS = 16000, 80, 400, 20  # the analysis: 5 ms steps, 25 ms windows
SHIFTS = np.arange(-0.150, 0.1501, 0.005)  # seconds


@dataclass(frozen=True)
class Calibration:
    """What was found for one voice."""

    offset: float  # seconds by which labels come later than the sound, where the contrast peaks
    by_variance: float  # seconds, where the explained variance peaks
    contrast_db: float  # at the offset
    explained: float  # share of variance at the offset, 0 to 1


def spectrum(pcm: np.ndarray) -> np.ndarray:
    """Log band levels, float32 [steps, BANDS] in dB; step k is centred at k * HOP samples of 16 kHz sound."""
    padded = np.pad(pcm, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    edges = np.unique(np.round(np.geomspace(3, power.shape[1], BANDS + 1)).astype(int))
    bands = np.add.reduceat(power, edges[:-1], axis=1)
    return (10 * np.log10(bands + 1e-7)).astype(np.float32)


def labels_at(phones: Sequence[Phone], times: np.ndarray) -> np.ndarray:
    """Index into INVENTORY of the phone that sounds at each of ``times`` (seconds), int [times]; silence outside."""
    starts = np.array([phone.start for phone in phones])
    names = np.array([INVENTORY.index(phone.name) for phone in phones])
    found = names[np.clip(np.searchsorted(starts, times, side="right") - 1, 0, len(phones) - 1)]
    return np.where((times < phones[0].start) | (times >= phones[-1].end), 0, found)


def measure(speeches: Sequence[Speech], shift: float) -> tuple[float, float]:
    """Contrast in dB and explained share of variance when every label comes ``shift`` seconds earlier than given."""
    spectra = [spectrum(soxr.resample(speech.pcm, speech.rate, RATE)) for speech in speeches]
    return _measure(spectra, speeches, shift)


def calibrate(speeches: Sequence[Speech]) -> Calibration:
    """The offset of the labels of ``speeches``, which one voice spoke."""
    spectra = [spectrum(soxr.resample(speech.pcm, speech.rate, RATE)) for speech in speeches]
    curves = np.array([_measure(spectra, speeches, shift) for shift in SHIFTS])
    offset, by_variance = (_peak(curve) for curve in curves.T)
    at = int(np.argmin(np.abs(SHIFTS - offset)))
    return Calibration(offset, by_variance, *(float(value) for value in curves[at]))


def _measure(spectra: Sequence[np.ndarray], speeches: Sequence[Speech], shift: float) -> tuple[float, float]:
    labels = np.concatenate(
        [
            labels_at(speech.phones, np.arange(len(levels)) * HOP / RATE + shift)
            for levels, speech in zip(spectra, speeches, strict=True)
        ]
    )
    levels = np.concatenate(spectra)
    loudness = levels.max(axis=1)
    vowels, stops = (np.isin(labels, [INVENTORY.index(name) for name in group]) for group in (VOWELS, STOPS))
    return float(loudness[vowels].mean() - loudness[stops].mean()), _explained(levels, labels)


def _explained(levels: np.ndarray, labels: np.ndarray) -> float:
    speech = labels != 0
    levels, labels = levels[speech], labels[speech]
    counts = np.bincount(labels, minlength=len(INVENTORY))[:, None]
    sums = np.zeros((len(INVENTORY), levels.shape[1]))
    np.add.at(sums, labels, levels)
    means = sums / np.maximum(counts, 1)
    between = (counts * (means - levels.mean(axis=0)) ** 2).sum()
    return float(between / ((levels - levels.mean(axis=0)) ** 2).sum())


def _peak(curve: np.ndarray) -> float:
    """Where the curve over SHIFTS is highest, in seconds, between samples by a parabola."""
    smooth = np.convolve(np.pad(curve, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    at = int(np.clip(np.argmax(smooth), 1, len(smooth) - 2))
    left, middle, right = smooth[at - 1 : at + 2]
    bend = left - 2 * middle + right
    return float(SHIFTS[at] + (0.0 if bend == 0 else 0.5 * (left - right) / bend) * (SHIFTS[1] - SHIFTS[0]))


def speak_for_calibration(name: str, count: int, pace: float, *, calibrated: bool) -> list[Speech]:
    """``count`` utterances of the voice, the same sentences for every voice."""
    rng = np.random.default_rng(20)
    texts = [draw_sentence("train", rng) for _ in range(count)]
    return [speaker(name).speak(text, Manner(pace=pace), calibrated=calibrated) for text in texts]


def main() -> None:
    """Print a line for each voice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voices", nargs="*", default=[voice.name for voice in VOICES])
    parser.add_argument("--sentences", type=int, default=40)
    parser.add_argument("--paces", type=float, nargs="*", default=[1.0])
    parser.add_argument("--residual", action="store_true", help="what is left after the offsets in use are taken off")
    options = parser.parse_args()
    print("voice       pace  offset ms  by variance  in use ms  contrast dB  explained")
    for name in options.voices:
        for pace in options.paces:
            speeches = speak_for_calibration(name, options.sentences, pace, calibrated=options.residual)
            print(_line(name, pace, calibrate(speeches)), flush=True)


def _line(name: str, pace: float, found: Calibration) -> str:
    in_use = find_voice(name).label_offset_at(pace)
    return (
        f"{name:10} {pace:5.2f} {found.offset * 1e3:10.1f} {found.by_variance * 1e3:12.1f} {in_use * 1e3:10.1f} "
        f"{found.contrast_db:12.1f} {found.explained:10.2f}"
    )


if __name__ == "__main__":
    main()
