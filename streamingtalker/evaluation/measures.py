"""The measures of articulation. Each is a ratio of two sums over clips, so that clips pool without care for length.

A measure a clip says nothing about (no f in it, a face that does not move) gives 0 / 0 and leaves the sums alone.

What a training says of itself (``training.judge``) looks at the same lips with the same threshold, but its figures are
not these: see there.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from streamingtalker import metrics
from streamingtalker.data.phones import BILABIALS, LABIODENTALS, ROUNDED, VOWELS
from streamingtalker.evaluation.mouth import (
    LINGUAL_NASALS,
    LIPS_APART,
    MARGIN,
    Intervals,
    Motion,
    Thresholds,
    frames_of,
)

SEEN, UNSEEN = "seen", "unseen"
NOTHING = (0.0, 0.0)


@dataclass(frozen=True)
class Measure:
    """A row of the table: what it is called, what is wanted of it and how it is written."""

    key: str
    title: str
    least: dict[str, float] | None = None  # by group of voices
    most: dict[str, float] | None = None
    unit: str = "%"  # "%", "" for ratios, "mm" or "frames"
    relative: bool = False  # drift is a share of the first value, else a difference
    digits: int = 2  # after the point, where it is no percentage

    def goal(self, group: str) -> str:
        """What is wanted, in words; empty where nothing is."""
        low, high = (bounds.get(group) if bounds else None for bounds in (self.least, self.most))
        if low is not None and high is not None:
            return f"{self.write(low)} to {self.write(high)}"
        return f"≥ {self.write(low)}" if low is not None else f"≤ {self.write(high)}" if high is not None else ""

    def passes(self, value: float, group: str) -> bool | None:
        """Whether ``value`` is as wanted; None where nothing is."""
        if not self.goal(group):
            return None
        low = (self.least or {}).get(group, -math.inf)
        return low <= value <= (self.most or {}).get(group, math.inf)

    def write(self, value: float) -> str:
        """A value as it stands in the table."""
        if math.isnan(value):
            return "–"
        return f"{100 * value:.1f} %" if self.unit == "%" else f"{value:.{self.digits}f} {self.unit}".rstrip()

    def write_spread(self, value: float) -> str:
        """Half a confidence interval as it stands in the table."""
        return f"± {100 * value:.1f}" if self.unit == "%" else f"± {value:.{self.digits}f}"


def _bounds(seen: float, unseen: float) -> dict[str, float]:
    return {SEEN: seen, UNSEEN: unseen}


MEASURES = (
    Measure("lip_error", "lip error (LVE), mm", unit="mm", relative=True),
    Measure("lip_share", "lip error, as share of a still face's", most=_bounds(0.20, 0.28), relative=True),
    Measure("closed", "m b p: lips closed", least=_bounds(0.98, 0.97)),
    Measure("wrongly_closed", "frames closed that should be open", most=_bounds(0.03, 0.05)),
    Measure("nasals_closed", "of these in n, ng"),
    Measure("at_teeth", "f v: lower lip at the upper teeth", least=_bounds(0.95, 0.88)),
    Measure("rounded", "u o w: rounded", least=_bounds(0.95, 0.90)),
    Measure("wrongly_rounded", "frames rounded in i, e, a"),
    Measure("correlation", "correlation of the opening", least=_bounds(0.95, 0.92), unit="", relative=True, digits=3),
    Measure("lag", "lag of the opening", most=_bounds(1.0, 1.0), unit="frames"),
    Measure(
        "jitter", "acceleration, of the target's", _bounds(0.8, 0.8), _bounds(1.2, 1.25), unit="", relative=True
    ),
    Measure(
        "upper_face", "upper-face dynamics, of the target's", _bounds(0.8, 0.8), _bounds(1.2, 1.2), "", relative=True
    ),
)  # fmt: skip
KEYS = tuple(measure.key for measure in MEASURES)

SPREAD = VOWELS - ROUNDED - {"ao", "uh", "oy", "aw", "er"}


def measure_clip(guess: Motion, target: Motion, intervals: Intervals, limits: Thresholds) -> np.ndarray:
    """Numerators and denominators float64 [measures, 2] of a clip, in the order of ``MEASURES``.

    Only what the target itself does is asked for: an f whose lip the target does not bring to the teeth, for a b
    beside it, is not counted.
    """
    errors, still = (1000 * _largest(motion.lips - target.lips) for motion in (guess, _still(target)))
    open_frames = ~_widened(limits.closed(target))
    closed, round_ = limits.closed(guess), limits.round(guess)
    should_open = frames_of(intervals, len(target), LIPS_APART) & open_frames
    nasals = frames_of(intervals, len(target), LINGUAL_NASALS) & open_frames
    spread = frames_of(intervals, len(target), SPREAD) & ~limits.round(target)
    moves = np.ptp(guess.opening) > 1e-9
    rows = {
        "lip_error": (errors.sum(), len(errors)),
        "lip_share": (errors.sum(), still.sum()),
        "closed": reached(closed, limits.closed(target), intervals, BILABIALS),
        "wrongly_closed": (closed[should_open].sum(), should_open.sum()),
        "nasals_closed": (closed[nasals].sum(), nasals.sum()),
        "at_teeth": reached(limits.at_teeth(guess), limits.at_teeth(target), intervals, LABIODENTALS),
        "rounded": reached(round_, limits.round(target), intervals, ROUNDED),
        "wrongly_rounded": (round_[spread].sum(), spread.sum()),
        "correlation": _once(metrics.correlation(guess.opening, target.opening)),
        "lag": _once(abs(metrics.lag(guess.opening, target.opening)) if moves else math.nan),
        "jitter": tuple(metrics.acceleration(motion.lips).sum() for motion in (guess, target)),
        "upper_face": tuple(motion.upper_face.mean() for motion in (guess, target)),
    }
    return np.array([rows[key] for key in KEYS], np.float64)


def reached(guess: np.ndarray, target: np.ndarray, intervals: Intervals, phones: Iterable[str]) -> tuple[float, float]:
    """How many of ``phones`` a shape is reached in, and in how many the target reaches it. Both flags bool [T]."""
    spans = [slice(max(first - MARGIN, 0), last + MARGIN) for phone, first, last in intervals if phone in set(phones)]
    asked = [span for span in spans if target[span].any()]
    return float(sum(guess[span].any() for span in asked)), float(len(asked))


def ratios(sums: np.ndarray) -> np.ndarray:
    """Values [..., measures] of summed numerators and denominators [..., measures, 2]; NaN where nothing was seen."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], np.nan)


def _widened(flags: np.ndarray) -> np.ndarray:
    """bool [T]: true within ``MARGIN`` frames of a frame that is."""
    return np.convolve(flags, np.ones(2 * MARGIN + 1), mode="same") > 0


def _once(value: float) -> tuple[float, float]:
    return NOTHING if math.isnan(value) else (value, 1.0)


def _still(target: Motion) -> Motion:
    return Motion(*(np.zeros_like(part) for part in vars(target).values()))


def _largest(differences: np.ndarray) -> np.ndarray:
    """The largest length in each frame [T] of differences [T, L, 3]."""
    return np.linalg.norm(differences, axis=2).max(1)
