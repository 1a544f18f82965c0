"""The paper's two stages for the published network: what each minimises, which weights learn, how fast.

Where the paper names two numbers (stage 2 lasts 200 or 400 epochs) the appendix is followed. Diffusion times are drawn
for each sequence.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from streamingtalker.config import Sampling
from streamingtalker.losses import masked_mean, quantisation_loss
from streamingtalker.released import ReleasedDims, ReleasedTalker
from streamingtalker.released.dims import NETWORKS, PUBLISHED
from streamingtalker.training.codebook import CodeKeeper
from streamingtalker.training.loop import LoopOptions
from streamingtalker.training.takes import TakeBatch

HUBERT_BASE: dict[str, Any] = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
DRAWN: Sampling = replace(PUBLISHED, rule="textbook", spacing="trailing")  # of networks trained here: it ends clean


@dataclass(frozen=True)
class Preset:
    """How the paper trains on a data set."""

    dims: ReleasedDims  # but the face's vertices and the styles come from the corpus
    halve_every: int  # of 400 epochs of stage 1, after which the learning rate is halved; 0: never
    tune_decoder: bool  # in stage 2 the VQ-VAE's decoder learns too
    epochs: int = 400  # of each stage
    rate: float = 1e-4

    def loop(self, stage: str, bf16: bool) -> LoopOptions:
        """AdamW as in the paper: no warm-up, no averaging, no clipping."""
        halvings = self.epochs // self.halve_every if stage == "vqvae" and self.halve_every else 0
        return LoopOptions(
            rate=self.rate,
            average=0.0,
            clip=float("inf"),
            bf16=bf16,
            betas=(0.9, 0.999),
            schedule=Halving(halvings),
        )


@dataclass(frozen=True)
class Halving:
    """A learning rate halved ``times`` times, evenly over the training; 0 leaves it as it is."""

    times: int

    def __call__(self, spent: float) -> float:
        """Factor on the first rate."""
        return 0.5 ** min(int(spent * self.times), max(self.times - 1, 0))


def _untrained(name: str) -> ReleasedDims:
    return replace(NETWORKS[name], hubert=HUBERT_BASE, sampling=DRAWN)


PRESETS = {
    "vocaset": Preset(_untrained("vocaset"), halve_every=20, tune_decoder=False),
    "biwi": Preset(_untrained("biwi"), halve_every=40, tune_decoder=True),
}


@dataclass(frozen=True)
class Lambdas:
    """λ of eq. 7 and 13."""

    reconstruction: float = 1.0
    quantisation: float = 1.0
    latent: float = 1.0
    vertex: float = 1.0
    velocity: float = 1.0


@dataclass(frozen=True)
class StageOne:
    """Objective of stage 1, eq. 7: L_rec + L_quant. A ``keeper`` begins the codebook and keeps all of it in use."""

    talker: ReleasedTalker
    lambdas: Lambdas = field(default_factory=Lambdas)
    keeper: CodeKeeper | None = None

    def __call__(self, batch: TakeBatch, spent: float) -> dict[str, Tensor]:
        """Weighted terms."""
        vqvae, mask = self.talker.vqvae, batch.mask
        latents = vqvae.continuous(batch.offsets, mask)
        if self.keeper is not None:
            self.keeper.observe(vqvae.quantiser.split(latents.detach()[mask > 0]), spent)
        quantised = vqvae.quantiser(latents, mask)
        error = (vqvae.decode(quantised.latents, mask) - batch.offsets).abs()
        return {
            "reconstruction": self.lambdas.reconstruction * masked_mean(error, mask),
            "quantisation": self.lambdas.quantisation * quantisation_loss(quantised),
        }


@dataclass(frozen=True)
class StageTwo:
    """Objective of stage 2, eq. 13: L_latent + L_vert + L_vel over a window of h frames, teacher-forced."""

    talker: ReleasedTalker
    history: int  # h, frames of the window that is drawn from each sequence; 0: all of it
    lambdas: Lambdas = field(default_factory=Lambdas)

    def __call__(self, batch: TakeBatch, spent: float) -> dict[str, Tensor]:
        """Weighted terms."""
        talker = self.talker
        latents = self._latents(batch)
        window = self._window(batch)
        mask, offsets = batch.mask[:, window], batch.offsets[:, window]
        past, true = latents[:, :-1][:, window], latents[:, 1:][:, window]
        audio = hear(talker, batch)[:, window]
        guess = talker.head(true, talker.conditions(past, audio, batch.identity))
        error = talker.vqvae.decode(guess, mask) - offsets
        steps = error[:, 1:] - error[:, :-1]
        return {
            "latent": self.lambdas.latent * masked_mean((guess - true).abs(), mask),
            "vertex": self.lambdas.vertex * masked_mean(error.square(), mask),
            "velocity": self.lambdas.velocity * masked_mean(steps.square(), mask[:, 1:]),
        }

    @torch.no_grad()
    def _latents(self, batch: TakeBatch) -> Tensor:
        """The start latent, as sampling begins with it, and after it z_q of the sequence: [B, T + 1, H·C]."""
        true = self.talker.vqvae.quantise(batch.offsets, batch.mask).latents
        return torch.cat([self.talker.start.expand_as(true[:, :1]), true], dim=1)

    def _window(self, batch: TakeBatch) -> slice:
        """``history`` frames from a random one on, inside the shortest sequence where that is long enough."""
        frames = batch.mask.shape[1]
        if not self.history or frames <= self.history:
            return slice(0, frames)
        shortest = max(int(batch.mask.sum(1).min()), self.history)
        first = int(torch.randint(shortest - self.history + 1, ()))
        return slice(first, first + self.history)


def hear(talker: ReleasedTalker, batch: TakeBatch) -> Tensor:
    """HuBERT's features [B, T, D] of each sound alone, padded with zeros."""
    assert talker.hearing is not None, "a network without HuBERT cannot be trained on sound"
    frames = batch.mask.shape[1]
    rows = []
    for sound in batch.sounds:
        level = (sound - sound.mean()) / (sound.var(correction=0) + 1e-7).sqrt()
        heard = talker.hearing(level[None])[0, :frames]
        rows.append(nn.functional.pad(heard, (0, 0, 0, frames - len(heard))))
    return torch.stack(rows)


def choose_learning(talker: ReleasedTalker, stage: str, preset: Preset) -> list[dict]:
    """Let the weights learn that learn in a stage, and no others. Gives the optimiser's group.

    Stage 1: the VQ-VAE. Stage 2: predictor, head, HuBERT without its convolutions; for BIWI the VQ-VAE's decoder too.
    """
    talker.requires_grad_(False)
    vqvae = talker.vqvae
    learning: list[nn.Module] = [vqvae]
    if stage == "talker":
        assert talker.hearing is not None, "a network without HuBERT cannot be trained on sound"
        learning = [talker.predictor, talker.head, talker.hearing]
        learning += [vqvae.from_latent, vqvae.decoder, vqvae.out] if preset.tune_decoder else []
    for module in learning:
        module.requires_grad_(True)
    if stage == "talker" and talker.hearing is not None:
        talker.hearing.hubert.feature_extractor.requires_grad_(False)
    return [{"params": [parameter for parameter in talker.parameters() if parameter.requires_grad]}]
