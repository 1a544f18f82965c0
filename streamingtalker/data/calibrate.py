"""How early or late a voice's phone labels are against its sound.

``python -m streamingtalker.data.calibrate`` speaks sentences with each voice, shifts the labels over a range and
measures three contrasts at each shift, in dB:

* stops: mean level inside vowels over that inside stop consonants;
* sibilants: how much more of the sound lies above 4 kHz inside s z sh ch jh than inside vowels, nasals and liquids;
* pauses: mean level inside vowels over that inside pauses.

Each peaks where the labels fit, and the median of the three peaks is the offset, positive where labels come later than
the sound. Where the three disagree, the labels mean something else than the sound: espeak-ng marks the burst of a
voiceless stop instead of its closure, which moved the first contrast alone by 35 ms until the engine's labels were
mended.
"""

import argparse
import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from streamingtalker.data.phones import INVENTORY, SILENCE, STOPS, VOWELS, Phone
from streamingtalker.data.sentences import draw_sentence
from streamingtalker.data.speakers import VOICES, Manner, Speech, find_voice, speaker

RATE, HOP, WINDOW = 16000, 80, 320  # the analysis: 5 ms steps, 20 ms windows
SHIFTS = np.arange(-0.150, 0.1501, 0.005)  # seconds
SIBILANTS = frozenset(["s", "z", "sh", "ch", "jh"])
SONORANTS = VOWELS | frozenset(["m", "n", "ng", "l", "r", "w", "y"])


@dataclass(frozen=True)
class Calibration:
    """What was found for one voice: offsets in seconds by which labels come later than the sound."""

    stops: float
    sibilants: float
    pauses: float
    contrast_db: float  # of the stops, at the offset

    @property
    def offset(self) -> float:
        """The median of the three."""
        return float(np.median([self.stops, self.sibilants, self.pauses]))


@dataclass(frozen=True)
class _Levels:
    """The sound of an utterance in dB [steps]; step k is centred at k * HOP samples of 16 kHz sound."""

    overall: np.ndarray
    sharpness: np.ndarray  # above 4 kHz relative to below 1 kHz


def _levels(speech: Speech) -> _Levels:
    padded = np.pad(soxr.resample(speech.pcm, speech.rate, RATE), WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames)) ** 2
    kilohertz = power.shape[1] // 8
    low, high = power[:, 2:kilohertz].sum(axis=1), power[:, 4 * kilohertz :].sum(axis=1)
    return _Levels(10 * np.log10(power.sum(axis=1) + 1e-6), 10 * np.log10((high + 1e-6) / (low + 1e-6)))


def labels_at(phones: Sequence[Phone], times: np.ndarray) -> np.ndarray:
    """Index into INVENTORY of the phone that sounds at each of ``times`` (seconds), int [times]; silence outside."""
    starts = np.array([phone.start for phone in phones])
    names = np.array([INVENTORY.index(phone.name) for phone in phones])
    found = names[np.clip(np.searchsorted(starts, times, side="right") - 1, 0, len(phones) - 1)]
    return np.where((times < phones[0].start) | (times >= phones[-1].end), 0, found)


def calibrate(speeches: Sequence[Speech]) -> Calibration:
    """The offset of the labels of ``speeches``, which one voice spoke."""
    levels = [_levels(speech) for speech in speeches]
    curves = np.array([_contrasts(levels, speeches, shift) for shift in SHIFTS]).T
    stops, sibilants, pauses = (_peak(curve) for curve in curves)
    found = Calibration(stops, sibilants, pauses, 0.0)
    return dataclasses.replace(found, contrast_db=float(np.interp(found.offset, SHIFTS, curves[0])))


def _contrasts(levels: Sequence[_Levels], speeches: Sequence[Speech], shift: float) -> tuple[float, float, float]:
    """The three contrasts in dB when every label comes ``shift`` seconds earlier than given."""
    labels = np.concatenate(
        [
            labels_at(speech.phones, np.arange(len(level.overall)) * HOP / RATE + shift)
            for level, speech in zip(levels, speeches, strict=True)
        ]
    )
    overall = np.concatenate([level.overall for level in levels])
    sharpness = np.concatenate([level.sharpness for level in levels])

    def mean(values: np.ndarray, names: Collection[str]) -> float:
        chosen = np.isin(labels, [INVENTORY.index(name) for name in names])
        return float(values[chosen].mean()) if chosen.any() else 0.0

    vowels = mean(overall, VOWELS)
    return (
        vowels - mean(overall, STOPS),
        mean(sharpness, SIBILANTS) - mean(sharpness, SONORANTS),
        vowels - mean(overall, [SILENCE]),
    )


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
    print("voice       pace  offset ms  (stops, sibilants, pauses)  in use ms  contrast dB")
    for name in options.voices:
        for pace in options.paces:
            speeches = speak_for_calibration(name, options.sentences, pace, calibrated=options.residual)
            print(_line(name, pace, calibrate(speeches)), flush=True)


def _line(name: str, pace: float, found: Calibration) -> str:
    peaks = ", ".join(f"{1e3 * peak:6.1f}" for peak in (found.stops, found.sibilants, found.pauses))
    in_use = 1e3 * find_voice(name).label_offset
    return f"{name:10} {pace:5.2f} {1e3 * found.offset:10.1f}  ({peaks}) {in_use:14.1f} {found.contrast_db:12.1f}"


if __name__ == "__main__":
    main()
