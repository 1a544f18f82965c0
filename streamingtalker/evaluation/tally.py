"""The measures of many motions over the test sentences: by system, group and voice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from streamingtalker import metrics
from streamingtalker.evaluation.measures import KEYS, SEEN, UNSEEN, measure_clip, ratios
from streamingtalker.evaluation.mouth import Motion, Mouth, Thresholds
from streamingtalker.evaluation.testset import Sentence
from streamingtalker.vqvae import MotionBasis


@dataclass(frozen=True)
class Viewer:
    """Turns a network's coefficients into what the measures see."""

    mouth: Mouth
    mean: Tensor  # [W, 3]
    synthesis: Tensor  # [K, W·3]

    @classmethod
    def of(cls, mouth: Mouth, basis: MotionBasis) -> "Viewer":
        """The watched rows of ``basis``."""
        mean = basis.mean.cpu().unflatten(0, (-1, 3))[mouth.watched]
        synthesis = basis.synthesis.cpu().unflatten(1, (-1, 3))[:, mouth.watched]
        return cls(mouth, mean, synthesis.flatten(1))

    def offsets(self, coefficients: Tensor) -> np.ndarray:
        """Offsets [T, W, 3] in metres of the watched vertices."""
        return ((coefficients @ self.synthesis).unflatten(1, (-1, 3)) + self.mean).numpy()

    def __call__(self, coefficients: Tensor) -> Motion:
        """The motion of coefficients [T, K]."""
        return self.mouth.observe(self.offsets(coefficients))


@dataclass(frozen=True)
class Scores:
    """Sums [seeds, sentences, measures, 2] of one system."""

    sums: np.ndarray

    def table(self, chosen: np.ndarray) -> dict[str, dict[str, float]]:
        """Mean and half the 95 % interval over seeds of each measure; ``chosen`` bool [sentences]."""
        values = ratios(self.sums[:, chosen].sum(1))
        rows = (metrics.mean_and_interval(values[:, index]) for index in range(len(KEYS)))
        return {key: {"mean": mean, "interval": half} for key, (mean, half) in zip(KEYS, rows, strict=True)}


def score(motions: Sequence[Motion], sentences: Sequence[Sentence], limits: Thresholds) -> np.ndarray:
    """Sums [sentences, measures, 2] of one seed; where motion and target differ in length, the common part counts."""
    rows = []
    for guess, sentence in zip(motions, sentences, strict=True):
        frames = min(len(guess), len(sentence.target))
        intervals = [(phone, a, min(b, frames)) for phone, a, b in sentence.intervals if a < frames]
        rows.append(measure_clip(_first(guess, frames), _first(sentence.target, frames), intervals, limits))
    return np.stack(rows)


def _first(motion: Motion, frames: int) -> Motion:
    """The first ``frames`` of a motion; its upper face's dynamics stay those of the whole."""
    if frames == len(motion):
        return motion
    curves = {name: value[:frames] for name, value in vars(motion).items() if name != "upper_face"}
    return Motion(**curves, upper_face=motion.upper_face)


def tables(scores: Scores, sentences: Sequence[Sentence]) -> dict[str, dict[str, dict[str, float]]]:
    """Tables of both groups and of each voice."""
    of_group = {group: np.array([each.group == group for each in sentences]) for group in (SEEN, UNSEEN)}
    voices = sorted({each.clip.voice for each in sentences})
    of_voice = {voice: np.array([each.clip.voice == voice for each in sentences]) for voice in voices}
    return {name: scores.table(chosen) for name, chosen in (of_group | of_voice).items() if chosen.any()}


def still(sentences: Sequence[Sentence], mouth: Mouth) -> list[Motion]:
    """A face that does not move."""
    return [mouth.observe(np.zeros_like(each.offsets)) for each in sentences]


def shuffled(motions: Sequence[Motion]) -> list[Motion]:
    """To each sentence the motion of another of about its length: the neighbour in the order of lengths."""
    order = np.argsort([len(motion) for motion in motions], kind="stable")
    moved: list[Any] = [None] * len(motions)
    for here, other in zip(order, np.roll(order, 1), strict=True):
        moved[here] = motions[other]
    return moved
