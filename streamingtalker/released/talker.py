"""The published talker, joined: its three ways of sampling, number for number, and a stream of constant cost."""

import itertools
import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from streamingtalker.audio.hubert import HubertEncoder
from streamingtalker.audio.interface import AudioEncoder
from streamingtalker.config import Sampling
from streamingtalker.diffusion import LinearHead, LoopSampler, Sampler, SamplingError, check
from streamingtalker.errors import UserError
from streamingtalker.predictor import PredictorState
from streamingtalker.released.dims import ReleasedDims
from streamingtalker.released.predictor import ReleasedConditionPredictor
from streamingtalker.released.vqvae import ReleasedVqVae
from streamingtalker.talker import IdentityError
from streamingtalker.topology import Topology

TOGETHER = 16  # windows decoded at once: the weights are read once for all of them


class SpeechlessError(UserError):
    """A talker without an audio encoder is to hear sound."""


@dataclass
class ReleasedState:
    """What one stream of frames remembers."""

    predictor: PredictorState
    identity: Tensor  # one-hot [1, K]
    position: int  # tokens so far
    latent: Tensor  # [1, H·C] of the newest frame
    recent: Tensor  # [1, n, H·C] the newest decoded latents, at most a window
    random: torch.Generator
    noise: Tensor | None  # [1, H·C] of the newest frame, unit variance
    sampling: Sampling
    sampler: Sampler

    def reset(self, still: Tensor, seed: int) -> None:
        """As before the first frame."""
        self.predictor.reset()
        self.position = 0
        self.latent = still[None]
        self.recent = still[None, None]
        self.random.manual_seed(seed)
        self.noise = None

    def draw(self) -> Tensor:
        """The next frame's noise [1, H·C]."""
        fresh = torch.randn(1, self.latent.shape[1], generator=self.random).to(self.latent)
        memory = self.sampling.noise_memory
        self.noise = fresh if self.noise is None else memory * self.noise + math.sqrt(1 - memory**2) * fresh
        return self.noise * self.sampling.temperature


class ReleasedTalker(nn.Module):
    """VQ-VAE, condition predictor, diffusion head and (where the file has one) HuBERT.

    Four ways lead from audio to motion:

    * ``sample_fixed`` with ``history`` = h: the published evaluation.
    * ``sample_fixed`` with ``history`` = 0: the same, looking back on everything.
    * ``sample_live`` and ``decode_live``: the published live path. Its cost grows with time.
    * ``state``, ``next_latents`` and ``next_offsets``, which ``FaceStreamer`` drives: the live path at constant cost.
      Equal to it for the first h frames' latents and, of these, for the first ``window`` − 1 frames' vertices. Later
      the predictor's layers look back on h tokens each instead of all, and the decoder hears of ``window`` latents.
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
        self._samplers: dict[Sampling, Sampler] = {}

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

    def forget_samplers(self) -> None:
        """The head's weights have changed: what it was collapsed to holds no more."""
        self._samplers.clear()

    def _collapsed(self, sampling: Sampling) -> Sampler:
        """Made once for each way of sampling: at the published size it takes seconds."""
        if sampling not in self._samplers:
            self._samplers[sampling] = self.head.sampler(sampling).to(self.start.device)
        return self._samplers[sampling]

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
            predictor=self.predictor.state(),
            identity=self.identity(identity),
            position=0,
            latent=self.start[None],
            recent=self.start[None, None],
            random=torch.Generator(),
            noise=None,
            sampling=sampling,
            sampler=self._collapsed(sampling),
        )
        state.reset(self.start, seed)
        return state

    def next_latents(self, audio: Tensor, state: ReleasedState, moods: Tensor | None = None) -> Tensor:
        """Draw the latents [k, H·C] of the frames that ``audio`` [k, D] belongs to. ``moods`` are not known here."""
        latents = []
        for frame in audio:
            conditions = self.predictor(
                state.latent[None], frame[None, None], state.identity, state.position, state.predictor
            )
            state.latent = self._draw(state.sampler, state.draw()[None], conditions)[0]
            state.position += 1
            latents.append(state.latent)
        return torch.cat([audio.new_zeros(0, self.dims.motion.latent), *latents])

    def next_offsets(self, latents: Tensor, state: ReleasedState) -> Tensor:
        """The next latents [k, H·C] → their offsets [k, V, 3], each the last of its window decoded."""
        before, window = state.recent.shape[1], self.dims.window
        known = torch.cat([state.recent[0], latents])
        state.recent = known[None, -window:]
        pasts = [known[max(end - window, 0) : end] for end in range(before + 1, len(known) + 1)]
        frames = [latents.new_zeros(0, 3 * self.dims.motion.vertices)]
        for _, alike in itertools.groupby(pasts, len):
            group = list(alike)
            parts = [group[start : start + TOGETHER] for start in range(0, len(group), TOGETHER)]
            frames += [self.vqvae.decode_last(torch.stack(part)) for part in parts]
        return torch.cat(frames).unflatten(1, (-1, 3))

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
