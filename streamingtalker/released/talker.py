"""The published talker, joined: its three ways of sampling, number for number, and a stream of constant cost."""

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from streamingtalker.audio.hubert import HubertEncoder
from streamingtalker.audio.interface import AudioEncoder
from streamingtalker.config import Sampling
from streamingtalker.diffusion import LinearHead, LoopSampler, Sampler, SamplingError, check
from streamingtalker.errors import UserError
from streamingtalker.noise import AutoregressiveNoise
from streamingtalker.released.dims import ReleasedDims
from streamingtalker.released.predictor import ReleasedConditionPredictor
from streamingtalker.released.stream import LatentBlocks, Network, ReleasedState
from streamingtalker.released.vqvae import ReleasedVqVae
from streamingtalker.running import Kept, Running
from streamingtalker.talker import IdentityError
from streamingtalker.topology import Topology


class SpeechlessError(UserError):
    """A talker without an audio encoder is to hear sound."""


class ReleasedTalker(nn.Module):
    """VQ-VAE, condition predictor, diffusion head and (where the file has one) HuBERT.

    Four ways lead from audio to motion:

    * ``sample_fixed`` with ``history`` = h: the published evaluation.
    * ``sample_fixed`` with ``history`` = 0: the same, looking back on everything.
    * ``sample_live`` and ``decode_live``: the published live path. Its cost grows with time.
    * ``state``, ``next_latents``, ``next_offsets`` and ``last_offsets``, which ``FaceStreamer`` drives: the live path
      at constant cost. The first h latents are those of ``sample_live``; later the predictor's layers look back on h
      tokens each instead of all. Frames are decoded in blocks (``dims.block_at``), not one by one: those of a block are
      the newest of ``vqvae.decode`` over the ``window`` latents that end with it. With a ``block`` of 0 seconds each
      frame is a block, and the first ``window`` − 1 frames are those of ``decode_live``.

    All of it is exact but for rounding (1e-5 of the largest number) as long as it runs in float32.
    """

    start: Tensor

    def __init__(self, dims: ReleasedDims, topology: Topology) -> None:
        super().__init__()
        self.dims = dims
        self.topology = topology
        self.vqvae = ReleasedVqVae(dims.motion)
        self.head = LinearHead(dims.head, dims.motion.latent, dims.predictor.width)
        self.predictor = ReleasedConditionPredictor(dims.predictor, self.head.latent, dims.styles)
        self.register_buffer("start", torch.zeros(dims.motion.latent))  # the latent before frame 0
        self.hearing = HubertEncoder(dims.hubert, dims.fps) if dims.hubert else None
        self.running = Running()
        self._samplers, self._networks = Kept(), Kept()

    @property
    def audio(self) -> AudioEncoder:
        """The audio encoder. Raises SpeechlessError where the weights came without."""
        if self.hearing is None:
            raise SpeechlessError("This talker has no HuBERT; convert it again from a talker file that holds one.")
        return self.hearing

    def identity(self, index: int) -> Tensor:
        """The one-hot style vector s_k, [1, K]. Raises IdentityError for a style that does not exist."""
        if not 0 <= index < self.dims.styles:
            raise IdentityError(f"Identity {index} does not exist; this model knows 0 to {self.dims.styles - 1}.")
        style = torch.zeros(1, self.dims.styles, device=self.start.device)
        style[:, index] = 1
        return style

    def conditions(self, latents: Tensor, audio_features: Tensor, identity: Tensor) -> Tensor:
        """Conditions C_A [B, T, W] (eq. 4).

        latents [B, T, H·C] of the frame *before* each (the first: of a face at rest), audio_features [B, T, D] at the
        motion's frame rate, identity one-hot [B, K].
        """
        return self.predictor(latents, audio_features, identity)

    def sampler(self, rule: str = "released", collapsed: bool = True) -> Sampler:
        """How latents are drawn: the DDIM loop, or the one affine map it collapses to."""
        sampling = replace(self.dims.sampling, rule=rule)
        return self._collapsed(sampling) if collapsed else LoopSampler(self.head, sampling)

    def run_as(self, running: Running) -> None:
        """How streams that begin from now on are computed.

        The precision is HuBERT's alone, the dearest part by far. Rounding to bfloat16 there moves vertices by 0.02 mm
        at most; in the predictor and the decoder, which stay in float32, it would by more than 0.05 mm.
        """
        self.running = running
        if self.hearing is not None:
            self.hearing.running = running

    def _collapsed(self, sampling: Sampling) -> Sampler:
        """Made once for each way of sampling: at the published size it takes seconds."""
        return self._samplers.get(self.head, sampling, lambda: self.head.sampler(sampling).to(self.start.device))

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

    def state(self, identity: int = 0, seed: int = 0, sampling: Sampling | None = None) -> ReleasedState:
        """The state of a stream that has not begun. Raises IdentityError and SamplingError."""
        sampling = sampling or self.dims.sampling
        check(sampling)
        if sampling.guidance != 1:
            raise SamplingError("The published network was trained without guidance; choose a guidance of 1.")
        state = ReleasedState(
            network=self._networks.get(self, (self.running, sampling), lambda: self._network(sampling)),
            predictor=self.predictor.state(),
            style=self.predictor.style(self.identity(identity))[:, None],
            noise=self.noise(sampling),
            blocks=LatentBlocks(self.dims),
            latent=self.start[None, None],
        )
        state.reset(self.start, seed)
        return state

    def noise(self, sampling: Sampling, count: int = 1) -> AutoregressiveNoise:
        """What ``count`` streams draw their frames from."""
        return AutoregressiveNoise(self.start, sampling.temperature, sampling.noise_memory, count)

    def _network(self, sampling: Sampling) -> Network:
        exact = replace(self.running, precision=Running().precision)
        return Network.of(self.predictor, self._collapsed(sampling), self.vqvae, exact)

    def next_latents(self, audio: Tensor, state: ReleasedState, moods: Tensor | None = None) -> Tensor:
        """Draw the latents [k, H·C] of the frames that ``audio`` [k, D] belongs to. ``moods`` are not known here."""
        return state.draw(audio)

    def next_offsets(self, latents: Tensor, state: ReleasedState) -> Tensor:
        """The next latents [k, H·C] → the offsets [n, V, 3] of the blocks they complete."""
        return state.decode(state.blocks.add(latents))

    def last_offsets(self, state: ReleasedState) -> Tensor:
        """The sound is over: the offsets [n, V, 3] of the block that was begun."""
        return state.decode(state.blocks.rest())

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
