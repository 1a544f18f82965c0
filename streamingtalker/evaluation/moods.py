"""Whether a mood asked for is seen, and whether lips still do what speech needs in it."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from streamingtalker.data.dataset import Example
from streamingtalker.evaluation.freerun import Rollout
from streamingtalker.evaluation.measures import KEYS, ratios
from streamingtalker.evaluation.mouth import Thresholds
from streamingtalker.evaluation.tally import Viewer, score
from streamingtalker.evaluation.testset import Sentence
from streamingtalker.mood import NEUTRAL

SENTENCES = 30  # of the test set, each spoken in every mood
KEPT = ("closed", "wrongly_closed", "at_teeth", "rounded")  # what a mood must leave as it is
STRONG = 0.5  # intensity from which a target's frame shows a mood


class Actor(Protocol):
    """What speaks."""

    @property
    def view(self) -> Viewer:
        """How its motion is seen."""

    def draw(self, rollouts: Sequence[Rollout]) -> list[Tensor]:
        """Coefficients [T, K] of every rollout."""


def measure(
    actor: Actor, moods: Sequence[str], examples: Sequence[Example], sentences: Sequence[Sentence], limits: Thresholds
) -> dict[str, dict[str, float]]:
    """By mood at full intensity: the share of sentences whose mean face is nearest to the targets' mean face in that
    mood (``recognised``), and the measures that must stay as they are.
    """
    centres = mean_faces(moods, examples, sentences)
    step = max(len(examples) // SENTENCES, 1)
    chosen, spoken = examples[::step][:SENTENCES], sentences[::step][:SENTENCES]
    found = {}
    for mood in (NEUTRAL, *moods):
        drawn = actor.draw([Rollout(dataclasses.replace(each, moods=_held(each, moods, mood)), 0) for each in chosen])
        seen = [actor.view.offsets(motion).mean(0) for motion in drawn]
        hits = [nearest(face, centres) == mood for face in seen]
        sums = score([actor.view(motion) for motion in drawn], spoken, limits).sum(0)
        kept = dict(zip(KEYS, ratios(sums), strict=True))
        found[mood] = {"recognised": float(np.mean(hits))} | {key: float(kept[key]) for key in KEPT}
    return found


def mean_faces(
    moods: Sequence[str], examples: Sequence[Example], sentences: Sequence[Sentence]
) -> dict[str, np.ndarray]:
    """The mean offsets [W, 3] of the targets' frames in each mood; moods that no target shows are left out."""
    frames: dict[str, list[np.ndarray]] = {}
    for example, sentence in zip(examples, sentences, strict=True):
        length = min(len(example.moods), len(sentence.offsets))
        intensities, offsets = example.moods[:length].numpy(), sentence.offsets[:length]
        frames.setdefault(NEUTRAL, []).append(offsets[intensities.max(1, initial=0) == 0])
        for column, mood in enumerate(moods):
            frames.setdefault(mood, []).append(offsets[intensities[:, column] > STRONG])
    joined = {mood: np.concatenate(parts) for mood, parts in frames.items()}
    return {mood: offsets.mean(0) for mood, offsets in joined.items() if len(offsets)}


def nearest(face: np.ndarray, centres: dict[str, np.ndarray]) -> str:
    """The mood whose mean face is nearest to ``face`` [W, 3]."""
    return min(centres, key=lambda mood: float(np.square(centres[mood] - face).sum()))


def _held(example: Example, moods: Sequence[str], mood: str) -> Tensor:
    """Intensities [T, moods] of one mood all along."""
    held = torch.zeros(len(example.moods), len(moods))
    if mood in moods:
        held[:, list(moods).index(mood)] = 1
    return held
