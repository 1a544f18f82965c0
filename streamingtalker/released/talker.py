"""The published talker, joined: its three ways of sampling, number for number, and a stream of constant cost."""

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from streamingtalker.diffusion import LinearHead, LoopSampler, Sampler
from streamingtalker.released.dims import ReleasedDims
from streamingtalker.released.predictor import ReleasedConditionPredictor
from streamingtalker.released.vqvae import ReleasedVqVae
from streamingtalker.topology import Topology


class ReleasedTalker(nn.Module):
    """VQ-VAE, condition predictor, diffusion head and (where the file has one) HuBERT."""

    start: Tensor

    def __init__(self, dims: ReleasedDims, topology: Topology) -> None:
        super().__init__()
        self.dims = dims
        self.topology = topology
        self.vqvae = ReleasedVqVae(dims.motion)
        self.head = LinearHead(dims.head, dims.motion.latent, dims.predictor.width)
        self.predictor = ReleasedConditionPredictor(dims.predictor, self.head.latent, dims.styles)
        self.register_buffer("start", torch.zeros(dims.motion.latent))  # the latent before frame 0

    def conditions(self, latents: Tensor, audio_features: Tensor, identity: Tensor) -> Tensor:
        """Conditions C_A [B, T, W] (eq. 4).

        latents [B, T, H·C] of the frame *before* each (the first: of a face at rest), audio_features [B, T, D] at the
        motion's frame rate, identity one-hot [B, K].
        """
        return self.predictor(latents, audio_features, identity)

    def sampler(self, rule: str = "released", collapsed: bool = True) -> Sampler:
        """How latents are drawn: the DDIM loop, or the one affine map it collapses to."""
        sampling = replace(self.dims.sampling, rule=rule)
        return self.head.sampler(sampling) if collapsed else LoopSampler(self.head, sampling)

    @torch.no_grad()
    def sample_fixed(
        self, start: Tensor, audio_features: Tensor, identity: Tensor, history: int, noise: Tensor,
        rule: str = "released", collapsed: bool = True,
    ) -> Tensor:  # fmt: skip
        """The published evaluation: latents [1, T, H·C], to be decoded together.

        Step i runs the predictor over the last min(i + 1, history) latents (all of them where ``history`` is 0), with
        positions counted from the window's start, draws every frame of the window anew and replaces it.

        start [1, 1, H·C], audio_features [1, T, D], identity one-hot [1, K]. noise: standard normal numbers in the
        order they are drawn, flat; step i takes tokens · H·C. ``rule`` of DDIM: ``released`` or ``textbook``.
        """
        sampler = self.sampler(rule, collapsed)
        draws = _Draws(noise, self.dims.motion.latent)
        latents = start
        for i in range(audio_features.shape[1]):
            first = max(i + 1 - history, 0) if history else 0
            window = latents[:, first : i + 1]
            conditions = self.conditions(window, audio_features[:, first : i + 1], identity)
            drawn = self._draw(sampler, draws.next(i + 1 - first), conditions)
            latents = torch.cat([latents[:, : first + 1], drawn], dim=1)
        return latents[:, 1:]

    @torch.no_grad()
    def sample_live(
        self, start: Tensor, audio_features: Tensor, identity: Tensor, noise: Tensor,
        rule: str = "released", collapsed: bool = True,
    ) -> Tensor:  # fmt: skip
        """The published live path: latents [1, T + 1, H·C], the start first; ``decode_live`` makes the frames.

        Step i runs the predictor over the whole past, draws every frame of it and keeps only the newest. Arguments as
        in ``sample_fixed``.
        """
        sampler = self.sampler(rule, collapsed)
        draws = _Draws(noise, self.dims.motion.latent)
        latents = start
        for i in range(audio_features.shape[1]):
            conditions = self.conditions(latents, audio_features[:, : i + 1], identity)
            newest = self._draw(sampler, draws.next(i + 1)[:, -1:], conditions[:, -1:])
            latents = torch.cat([latents, newest], dim=1)
        return latents

    @torch.no_grad()
    def decode_live(self, latents: Tensor) -> Tensor:
        """Latents [1, T + 1, H·C] of ``sample_live`` → offsets [1, T, 3V] of its frames.

        Every frame decodes the whole past, the start included, and gives its last.
        """
        pasts = range(2, latents.shape[1] + 1)
        return torch.cat([self.vqvae.decode(latents[:, :k])[:, -1:] for k in pasts], dim=1)

    def _draw(self, sampler: Sampler, noise: Tensor, conditions: Tensor) -> Tensor:
        return cast(Tensor, sampler(noise, conditions[None], conditions.new_ones(1, 1)))


@dataclass
class _Draws:
    """Standard normal numbers in the order they are drawn."""

    numbers: Tensor  # flat
    latent: int
    taken: int = 0

    def next(self, tokens: int) -> Tensor:
        """Of the next step, [1, tokens, H·C]."""
        end = self.taken + tokens * self.latent
        assert end <= len(self.numbers), "there are fewer numbers of noise than the frames draw"
        drawn = self.numbers[self.taken : end].view(1, tokens, self.latent)
        self.taken = end
        return drawn
