"""Where pauses begin and end, heard in the clean sound of a synthesizer.

Labels are least exact beside pauses: a neural voice's last phone may keep the time of the comma that follows, or give
it a part of its own. A boundary between a pause and any sound but a stop is moved to where the sound fades or begins.
Stops stay as they are: their closure is as silent as the pause.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from streamingtalker.data.phones import SILENCE, STOPS, Phone

STEP = 0.005  # seconds
LOUD, QUIET = -35.0, -45.0  # dB beside the loudest: a pause has nothing above, a sound something above
FARTHEST = 0.25  # seconds by which a boundary is moved
SHORTEST = 0.03  # seconds that phone and pause keep


def fit_pauses(phones: Sequence[Phone], pcm: np.ndarray, rate: int) -> list[Phone]:
    """``phones`` of the sound ``pcm`` [samples] with pauses that begin and end where the sound does."""
    levels = _levels(pcm, rate)
    fitted = list(phones)
    for index in range(len(fitted) - 1):
        before, after = fitted[index : index + 2]
        if after.name == SILENCE and before.name not in STOPS:
            at = _fade(levels, before, after)
        elif before.name == SILENCE and after.name not in STOPS:
            at = _onset(levels, before, after)
        else:
            continue
        fitted[index] = dataclasses.replace(before, end=at)
        fitted[index + 1] = dataclasses.replace(after, start=at)
    return fitted


def _levels(pcm: np.ndarray, rate: int) -> np.ndarray:
    """dB beside the loudest, float [steps], in windows of two steps."""
    step = round(STEP * rate)
    power = np.add.reduceat(np.square(pcm, dtype=np.float64), np.arange(0, len(pcm), step)) / step
    smooth = np.convolve(power, np.ones(2) / 2, mode="same") + 1e-12
    return 10 * np.log10(smooth / smooth.max())


def _fade(levels: np.ndarray, sound: Phone, pause: Phone) -> float:
    """Where ``sound`` fades into the ``pause`` after it, in seconds."""
    first, last = _range(sound, pause)
    at = round(sound.end / STEP)
    if at < last and at < len(levels) and levels[at] > LOUD:
        return STEP * _first(levels[at:last] < LOUD, at, last)
    return STEP * (at - _first(levels[first:at][::-1] > QUIET, 0, at - first)) if first < at else sound.end


def _onset(levels: np.ndarray, pause: Phone, sound: Phone) -> float:
    """Where ``sound`` begins after the ``pause`` before it, in seconds."""
    first, last = _range(pause, sound)
    at = round(sound.start / STEP)
    if first < at <= len(levels) and levels[at - 1] > LOUD:
        return STEP * (at - _first(levels[first:at][::-1] < LOUD, 0, at - first))
    return STEP * _first(levels[at:last] > QUIET, at, last) if at < last else sound.start


def _range(before: Phone, after: Phone) -> tuple[int, int]:
    """The steps between which the boundary of the two may lie."""
    first = max(before.end - FARTHEST, min(before.end, before.start + SHORTEST))
    last = min(after.start + FARTHEST, max(after.start, after.end - SHORTEST))
    return round(first / STEP), round(last / STEP)


def _first(found: np.ndarray, start: int, otherwise: int) -> int:
    """``start`` plus the index of the first that is true; ``otherwise`` where none is."""
    return start + int(np.argmax(found)) if found.any() else otherwise
