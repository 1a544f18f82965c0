"""How well a face follows speech it has not been trained on: a training's own look at what it made.

``evaluation.measures`` looks at the same lips with the same threshold, yet its figures are others. They pool sums over
all clips, those here are means of each clip's figure; they ask for what the target itself does, those here for every m,
b and p of the labels. Those here stand in the card of every file of weights, so what they count stays as it is.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from streamingtalker import metrics
from streamingtalker.data.dataset import Example
from streamingtalker.data.phones import BILABIALS, SILENCE, VOWELS
from streamingtalker.evaluation.mouth import CLOSED, LINGUAL_NASALS, MARGIN, frames_of
from streamingtalker.talker import Talker
from streamingtalker.training.stages import Regression
from streamingtalker.vqvae import MotionBasis

Predict = Callable[[Example], Tensor]  # → coefficients [T, K]


@dataclass(frozen=True)
class ValidationMetrics:
    """Means over clips; shares are of phones or frames."""

    clips: int
    lip_error_mm: float  # largest distance of a lip vertex, mean over frames
    still_mm: float  # the same of a face that does not move
    lve: float  # m², the paper's
    opening_error_mm: float  # MOD
    correlation: float  # of the opening
    closure_recall: float  # m b p that shut the lips
    vowels_open: float  # frames of vowels open in truth, that are open
    nasals_open: float  # the same of n and ng
    silence_shut: float  # frames well inside silence whose lips are shut

    def __str__(self) -> str:
        return (
            f"{self.clips} clips: lips {self.lip_error_mm:.2f} mm (still {self.still_mm:.2f}), correlation "
            f"{self.correlation:.2f}, m b p shut {self.closure_recall:.0%}, vowels open {self.vowels_open:.0%}, "
            f"n ng open {self.nasals_open:.0%}, silence shut {self.silence_shut:.0%}"
        )


def judge(predict: Predict, examples: list[Example], talker: Talker) -> ValidationMetrics:
    """Average over the ``examples`` with speech in them. A figure a clip has no phones for is left out of its mean."""
    spoken = [example for example in examples if any(phone in VOWELS for phone, _, _ in example.intervals)]
    rows = [_judge_clip(predict(example), example, talker) for example in spoken]
    names = [field.name for field in dataclasses.fields(ValidationMetrics) if field.name != "clips"]
    return ValidationMetrics(clips=len(rows), **{name: _mean([row[name] for row in rows]) for name in names})


def talker_predicts(talker: Talker, seed: int = 0) -> Predict:
    """Free-running frames, as a stream gives them."""

    @torch.inference_mode()
    def predict(example: Example) -> Tensor:
        audio = talker.audio(inputs(example, talker)[0])[0]
        state = talker.state(example.clip.style, seed)
        latents = talker.next_latents(audio, state, example.moods.to(audio))
        return talker.vqvae.decode_coefficients(latents[None])[0].cpu()

    return predict


def regression_predicts(regression: Regression, talker: Talker) -> Predict:
    """The baseline's frames."""

    @torch.inference_mode()
    def predict(example: Example) -> Tensor:
        return regression(*inputs(example, talker))[0][0].cpu()

    return predict


def reconstruction(talker: Talker) -> Predict:
    """The truth through the VQ-VAE: what the latent space can show at best."""

    @torch.inference_mode()
    def predict(example: Example) -> Tensor:
        coefficients = example.coefficients[None].to(talker.start)
        return talker.vqvae.decode_coefficients(talker.vqvae.encode_coefficients(coefficients))[0].cpu()

    return predict


def inputs(example: Example, talker: Talker) -> tuple[Tensor, Tensor]:
    """What a network of the ``talker``'s kind is given of an example: features [1, …] and style condition [1, T, S]."""
    features = torch.from_numpy(example.features).float()[None].to(talker.start)
    return features, talker.style(talker.identity(example.clip.style), example.moods[None].to(talker.start))


def without_posteriors(examples: list[Example], bands: int) -> list[Example]:
    """The examples as they sound where there is no phoneme recogniser."""
    deaf = []
    for example in examples:
        features = example.features.copy()
        features[:, bands:] = 0
        deaf.append(dataclasses.replace(example, features=features))
    return deaf


def _judge_clip(predicted: Tensor, example: Example, talker: Talker) -> dict[str, float]:
    face = talker.topology
    true, guess = (_vertices(talker.vqvae.basis, each) for each in (example.coefficients, predicted))
    resting = np.zeros_like(true)
    true_gaps, gaps = (metrics.mouth_opening(offsets + face.template, face.lip_pairs) for offsets in (true, guess))
    true_gap, gap = true_gaps.mean(1), gaps.mean(1)
    shut = true_gap <= CLOSED
    closing = [(max(a - MARGIN, 0), b + MARGIN) for phone, a, b in example.intervals if phone in BILABIALS]
    vowels, nasals = (frames_of(example.intervals, len(shut), phones) for phones in (VOWELS, LINGUAL_NASALS))
    silence = frames_of(example.intervals, len(shut), {SILENCE}, margin=4)
    return {
        "lip_error_mm": metrics.lip_distance_mm(guess, true, face.lips),
        "still_mm": metrics.lip_distance_mm(resting, true, face.lips),
        "lve": metrics.lip_vertex_error(guess, true, face.lips),
        "opening_error_mm": 1000 * float(np.abs(gaps - true_gaps).mean()),
        "correlation": metrics.correlation(gap, true_gap),
        "closure_recall": metrics.closure_recall(gap, closing, CLOSED),
        "vowels_open": metrics.openness_precision(gap, vowels & ~shut, CLOSED),
        "nasals_open": metrics.openness_precision(gap, nasals & ~shut, CLOSED),
        "silence_shut": 1 - metrics.openness_precision(gap, silence & shut, CLOSED),
    }


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _vertices(basis: MotionBasis, coefficients: Tensor) -> np.ndarray:
    return basis.offsets(coefficients.to(basis.mean)).cpu().numpy()
