"""Moods of a face: which there are, how strong, and how one blends into the next.

A mood joins the style condition of the paper's predictor as one number a mood, its intensity; a neutral face has zeros.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamingtalker.errors import UserError

NEUTRAL = "neutral"
MOODS = ("happy", "serious", "sad", "surprised")  # what is not neutral, in the order of the condition
BLEND_SECONDS = 0.5


class MoodError(UserError):
    """A mood that does not exist."""


@dataclass(frozen=True)
class Mood:
    """A mood and how strong it is, from 0 to 1."""

    name: str = NEUTRAL
    intensity: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in (NEUTRAL, *MOODS):
            raise MoodError(f"There is no mood {self.name!r}; choose one of {', '.join((NEUTRAL, *MOODS))}.")
        if not 0 <= self.intensity <= 1:
            raise MoodError(f"The intensity {self.intensity} of the mood {self.name} is not between 0 and 1.")

    @classmethod
    def parse(cls, text: str) -> "Mood":
        """``happy`` or ``happy:0.6``. Raises MoodError for anything else."""
        name, colon, intensity = text.strip().lower().partition(":")
        try:
            return cls(name.strip(), float(intensity)) if colon else cls(name)
        except ValueError as error:
            raise MoodError(f"The mood {text!r} cannot be read; write for example 'happy' or 'happy:0.6'.") from error

    def __str__(self) -> str:
        return self.name if self.intensity == 1 else f"{self.name}:{self.intensity:g}"

    def vector(self, moods: Sequence[str] = MOODS) -> np.ndarray:
        """Intensities float32 [len(moods)] of ``moods``, at most one of them not zero.

        A mood that the model has not learnt (``moods`` lacks it) shows a neutral face.
        """
        return np.array([self.intensity if name == self.name else 0.0 for name in moods], np.float32)


@dataclass(frozen=True)
class MoodChange:
    """From ``start`` seconds on, a face turns to ``mood``, and is there ``BLEND_SECONDS`` later."""

    start: float
    mood: Mood


def mood_curve(changes: Sequence[MoodChange], frames: int, fps: float, moods: Sequence[str] = MOODS) -> np.ndarray:
    """Intensities float32 [frames, M] of ``moods``; frame k is at k / fps seconds.

    ``changes`` are in order of time. The first mood is there from the beginning; each change blends from wherever the
    face then is.
    """
    times = np.arange(frames) / fps
    curve = np.tile(changes[0].mood.vector(moods), (frames, 1))
    for change in changes[1:]:
        at = min(int(np.ceil(change.start * fps)), frames)
        before = curve[max(at - 1, 0)].copy() if frames else 0
        share = smooth((times[at:] - change.start) / BLEND_SECONDS)[:, None]
        curve[at:] = before + share * (change.mood.vector(moods) - before)
    return curve.astype(np.float32)


def smooth(share: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, with a gentle start and end between."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)


@dataclass
class MoodBlend:
    """The mood of a stream, frame by frame."""

    fps: float
    moods: Sequence[str] = MOODS
    mood: Mood = dataclasses.field(default_factory=Mood)

    def __post_init__(self) -> None:
        self.reset(self.mood)

    def reset(self, mood: Mood) -> None:
        """Begin in ``mood``."""
        self.mood = mood
        self._from = self._to = mood.vector(self.moods)
        self._since = BLEND_SECONDS
        self._known = np.zeros((0, len(self.moods)), np.float32)

    def follow(self, curve: np.ndarray) -> None:
        """Take the next frames' intensities from ``curve`` float32 [T, M], as ``mood_curve`` makes it; then stay as it
        ends. A mood that is turned to meanwhile waits until then.
        """
        self._known = curve
        if len(curve):
            self._from = self._to = curve[-1]

    def turn_to(self, mood: Mood) -> None:
        """Blend to ``mood``, from the next frame on."""
        self.mood = mood
        self._from, self._to = self._now(), mood.vector(self.moods)
        self._since = 0.0

    def next(self, frames: int) -> np.ndarray:
        """Intensities float32 [frames, M] of the next frames."""
        curve = np.zeros((frames, len(self.moods)), np.float32)
        known, self._known = self._known[:frames], self._known[frames:]
        curve[: len(known)] = known
        for row in curve[len(known) :]:
            self._since += 1 / self.fps
            row[:] = self._now()
        return curve

    def _now(self) -> np.ndarray:
        share = float(smooth(np.asarray(self._since / BLEND_SECONDS)))
        return self._from + share * (self._to - self._from)
