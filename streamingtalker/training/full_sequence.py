"""The baseline of DiffSpeaker's kind: diffusion over a whole sequence at once, from the layers of the other networks.

It can begin only when the whole clip has been heard, and every denoising step looks at all frames together.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from streamingtalker.audio.interface import AudioEncoder
from streamingtalker.config import Sampling, TalkerDims
from streamingtalker.data.dataset import Batch, Example
from streamingtalker.diffusion import NoiseSchedule, TimeEmbedding
from streamingtalker.layers import AlignedAttention
from streamingtalker.losses import MotionLoss, masked_mean
from streamingtalker.released.dims import ReleasedMotion
from streamingtalker.released.predictor import sinusoids
from streamingtalker.released.vqvae import Block
from streamingtalker.talker import Talker
from streamingtalker.training.stages import Recipe, StageRun, disturb

LONGEST = 2000  # frames it has positions for
DRAWN = Sampling(steps=50)


class Layer(nn.Module):
    """Attention over all frames, each frame's own audio, feed-forward."""

    def __init__(self, dims: TalkerDims) -> None:
        super().__init__()
        size = dims.predictor
        self.audio = AlignedAttention(size.width, dims.audio.width)
        motion = ReleasedMotion(0, width=size.width, heads=size.heads, feedforward=size.feedforward)
        self.block = Block(motion)

    def forward(self, tokens: Tensor, audio: Tensor, mask: Tensor | None) -> Tensor:
        """Tokens [B, T, W], audio frames [B, T, A], mask [B, T] → tokens."""
        return self.block(tokens + self.audio(audio), mask)


class FullSequence(nn.Module):
    """Predicts the clean motion, coefficients [B, T, K], from noisy ones."""

    positions: Tensor

    def __init__(self, dims: TalkerDims, audio: AudioEncoder) -> None:
        super().__init__()
        width, coefficients = dims.predictor.width, dims.motion.coefficients
        self.audio = audio
        self.schedule = NoiseSchedule(dims.head)
        self.motion = nn.Linear(coefficients, width)
        self.style = nn.Linear(dims.style_width, width, bias=False)
        self.time = TimeEmbedding(dims.head.time_features, width)
        self.register_buffer("positions", sinusoids(LONGEST, width), persistent=False)
        self.layers = nn.ModuleList(Layer(dims) for _ in range(dims.predictor.layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, coefficients)

    def forward(self, noisy: Tensor, t: Tensor, audio: Tensor, style: Tensor, mask: Tensor | None = None) -> Tensor:
        """Noisy coefficients [B, T, K] at times [B, 1], audio frames [B, T, A], style [B, T, S] → clean ones."""
        tokens = self.motion(noisy) + self.style(style) + self.time(t) + self.positions[: noisy.shape[1]]
        for layer in self.layers:
            tokens = layer(tokens, audio, mask)
        return self.out(self.norm(tokens))

    @torch.inference_mode()
    def draw(self, features: Tensor, style: Tensor, seed: int = 0, sampling: Sampling = DRAWN) -> Tensor:
        """A clip's motion [T, K] from its features [1, …] and style [1, T, S]."""
        audio = self.audio(features)
        size = (1, audio.shape[1], self.out.out_features)
        noise = torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(audio)
        motion = sampling.temperature * noise
        for step in self.schedule.steps(sampling):
            clean = self(motion, torch.full((1, 1), step.t, device=audio.device), audio, style)
            motion = step.clean * clean + step.noisy * motion
        return motion[0]


@dataclass(frozen=True)
class Denoising:
    """What it minimises: the losses over vertices that stage 2 has."""

    network: FullSequence
    loss: MotionLoss
    recipe: Recipe
    dims: TalkerDims

    def __call__(self, batch: Batch, spent: float) -> dict[str, Tensor]:
        """Weighted terms."""
        network, true = self.network, batch.coefficients
        audio = network.audio(disturb(batch.features, self.dims.audio, self.recipe))
        t = torch.randint(self.dims.head.train_steps, (len(true), 1), device=true.device)
        noisy = network.schedule.diffuse(true, torch.randn_like(true), t)
        guess = network(noisy, t, audio, batch.style, batch.mask)
        terms = self.recipe.weights.motion(self.loss(guess.float(), true, batch.mask))
        return terms | {"coefficients": masked_mean((guess - true).abs(), batch.mask)}


def train_full_sequence(talker: Talker, examples: list[Example], run: StageRun) -> FullSequence:
    """A network that begins with the ``talker``'s audio encoder and moves in its basis."""
    network = FullSequence(talker.dims, talker.audio).to(talker.start.device)
    objective = Denoising(network, MotionLoss(talker.vqvae.basis, talker.topology), run.recipe, talker.dims)
    groups: list[dict[str, Any]] = [
        {"params": list(network.audio.parameters()), "scale": run.recipe.encoder_rate},
        {"params": [p for name, p in network.named_parameters() if not name.startswith("audio.")]},
    ]
    run.fit(network, groups, objective, examples, talker.dims.styles, "full-sequence diffusion")
    return network
