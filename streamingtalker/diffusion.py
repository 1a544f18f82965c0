"""The diffusion head (eq. 5): from noise and a condition to the clean latent of one frame, in a few DDIM steps.

``predict`` is the network z̃₀ = MLP(z_t, C_A, E_t(t)), ``sample`` draws. Two networks share the interface: the paper's
single layer without activation, whose whole DDIM loop is one affine map, and a small adaLN network for few steps.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from streamingtalker.config import HeadDims, Sampling
from streamingtalker.errors import UserError


class SamplingError(UserError):
    """A way of sampling that does not exist."""


def check(sampling: Sampling) -> None:
    """Raises SamplingError for numbers nothing can be drawn with. Steps, rule and spacing are a sampler's to judge."""
    if not 0 <= sampling.temperature < math.inf:
        raise SamplingError(f"A sampling temperature of {sampling.temperature} does not exist; choose 0 or more.")
    if not 0 <= sampling.noise_memory < 1:
        raise SamplingError(f"A noise memory of {sampling.noise_memory} does not exist; choose one from 0 to below 1.")
    if not 0 <= sampling.guidance < math.inf:
        raise SamplingError(f"A guidance of {sampling.guidance} does not exist; choose 0 or more.")


@dataclass(frozen=True)
class Step:
    """One DDIM update: predict at time ``t``, then z ← clean·z̃₀ + noisy·z."""

    t: int
    clean: float
    noisy: float


class NoiseSchedule:
    """Scaled-linear β over N training steps; ᾱ_t = Π (1 − β)."""

    def __init__(self, dims: HeadDims) -> None:
        betas = np.linspace(dims.beta_start**0.5, dims.beta_end**0.5, dims.train_steps, dtype=np.float64) ** 2
        self.alphas = np.cumprod(1 - betas)  # ᾱ, float64 [N]

    def diffuse(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """z_t = √ᾱ_t·z₀ + √(1−ᾱ_t)·ε for latents [..., D] and times [...]."""
        alpha = torch.from_numpy(self.alphas).to(clean)[t][..., None]
        return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise

    def steps(self, sampling: Sampling) -> list[Step]:
        """The DDIM updates (η = 0, no clipping) from noise to clean.

        Rule ``textbook`` derives the direction from the prediction: ε = (z_t − √ᾱ_t·z̃₀)/√(1−ᾱ_t) and
        z_prev = √ᾱ_prev·z̃₀ + √(1−ᾱ_prev)·ε. Rule ``released`` is diffusers 0.11's for a network that predicts the clean
        sample: z_prev = (√ᾱ_prev + √(1−ᾱ_prev))·z̃₀. Spacing ``leading`` with 50 steps is t = 981, 961, …, 1 and ends on
        ᾱ of t = 0, as in the release; ``trailing`` begins on the last training step and ends clean.
        """
        times = self._times(sampling)
        trailing = sampling.spacing == "trailing"
        stride = len(self.alphas) // sampling.steps
        before = [self.alphas[max(t - stride, 0)] for t in times]
        if trailing:
            before = [self.alphas[t] for t in times[1:]] + [1.0]
        return [self._step(t, alpha, sampling.rule) for t, alpha in zip(times, before, strict=True)]

    def _times(self, sampling: Sampling) -> list[int]:
        total = len(self.alphas)
        if not 1 <= sampling.steps < total:
            raise SamplingError(f"{sampling.steps} sampling steps are not between 1 and {total - 1}.")
        if sampling.spacing == "trailing":
            return [round(total * (1 - i / sampling.steps)) - 1 for i in range(sampling.steps)]
        if sampling.spacing == "leading":
            return [i * (total // sampling.steps) + 1 for i in reversed(range(sampling.steps))]
        raise SamplingError(f"Spacing {sampling.spacing!r} does not exist; choose 'trailing' or 'leading'.")

    def _step(self, t: int, before: float, rule: str) -> Step:
        if rule == "released":
            return Step(t, clean=math.sqrt(before) + math.sqrt(1 - before), noisy=0.0)
        if rule != "textbook":
            raise SamplingError(f"Rule {rule!r} does not exist; choose 'textbook' or 'released'.")
        direction = math.sqrt((1 - before) / (1 - self.alphas[t]))
        return Step(t, clean=math.sqrt(before) - direction * math.sqrt(self.alphas[t]), noisy=direction)


class TimeEmbedding(nn.Module):
    """E_t(t): sinusoids (cosines first, longest period 10000) → linear → SiLU → linear."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.features = features
        self.layers = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """Times [...] → [..., width]."""
        half = self.features // 2
        weight = cast(nn.Linear, self.layers[0]).weight
        rates = torch.exp(-math.log(10000) * torch.arange(half, device=t.device, dtype=weight.dtype) / half)
        angles = t[..., None].to(weight.dtype) * rates
        return self.layers(torch.cat([angles.cos(), angles.sin()], dim=-1))


class DiffusionHead(nn.Module, ABC):
    """The interface of both heads. D = H·C numbers a latent, W the width of a condition."""

    def __init__(self, dims: HeadDims) -> None:
        super().__init__()
        self.schedule = NoiseSchedule(dims)
        self.train_steps = dims.train_steps

    @abstractmethod
    def predict(self, noisy: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        """z̃₀ [..., D] from z_t [..., D], the condition [..., W] and the embedded time [..., w]."""

    @abstractmethod
    def embed_time(self, t: Tensor) -> Tensor:
        """Times [...] → what ``predict`` takes."""

    def forward(self, clean: Tensor, condition: Tensor) -> Tensor:
        """One training guess: diffuse ``clean`` [B, T, D] to a random time a row and predict it back, z̃₀ [B, T, D].

        All frames of a row share their time, so that losses over the row's motion see one noise level.
        """
        t = torch.randint(self.train_steps, (len(clean), 1), device=clean.device)
        noisy = self.schedule.diffuse(clean, torch.randn_like(clean), t)
        return self.predict(noisy, condition, self.embed_time(t))

    def sampler(self, sampling: Sampling) -> "Sampler":
        """How this head draws: the loop, for any network."""
        return LoopSampler(self, sampling)


class Sampler(nn.Module):
    """Draws latents: noise [..., D] and conditions [G, ..., W] with mixing weights → clean latents [..., D].

    At every step the G predictions are mixed with the weights [G, D] (or [G, 1]), which sum to 1 over G: how much each
    condition counts may differ from number to number of a latent.
    """


class LoopSampler(Sampler):
    """DDIM step by step."""

    def __init__(self, head: DiffusionHead, sampling: Sampling) -> None:
        super().__init__()
        self.head = [head]  # a list, so that the head's weights are not counted twice
        self.steps = head.schedule.steps(sampling)
        device = next(head.parameters()).device
        times = torch.tensor([step.t for step in self.steps], device=device)
        self.register_buffer("times", head.embed_time(times).detach(), persistent=False)  # [steps, w]

    def forward(self, noise: Tensor, conditions: Tensor, weights: Tensor) -> Tensor:
        """See the interface."""
        head = self.head[0]
        times = cast(Tensor, self.times)
        latent = noise
        for i, step in enumerate(self.steps):
            guesses = head.predict(latent.expand(len(conditions), *latent.shape), conditions, times[i])
            latent = step.clean * mix(guesses, weights) + step.noisy * latent
        return latent


def mix(rows: Tensor, weights: Tensor) -> Tensor:
    """Σ_g w_g · row_g for rows [G, ..., D] and weights [G, D] or [G, 1] → [..., D]."""
    shape = (len(weights), *[1] * (rows.dim() - 2), weights.shape[-1])
    return (rows * weights.view(shape)).sum(0)


class AffineSampler(Sampler):
    """The exact collapse of the loop of a head that is affine: z₀ = N·noise + M·(Σ_g w_g · C·condition_g) + d.

    The head predicts z̃₀ = A·z + C·condition + b(t), so each DDIM update z ← clean·z̃₀ + noisy·z maps (N, M, d) on.
    """

    def __init__(self, head: "LinearHead", sampling: Sampling, latent: int, width: int) -> None:
        super().__init__()
        reference = next(head.parameters())
        exact = LinearHead(head.dims, latent, width).double()
        exact.load_state_dict(head.state_dict())
        exact.to("cpu")
        silence, nothing = torch.zeros(width).double(), torch.zeros(latent).double()
        bias = exact.predict(nothing, silence, silence)
        eye, eyes = torch.eye(latent).double(), torch.eye(width).double()
        of_latent = exact.predict(eye, silence.expand(latent, -1), silence) - bias
        of_condition = exact.predict(nothing.expand(width, -1), eyes, silence) - bias
        noise, mixed, offset = eye, torch.zeros_like(eye), torch.zeros_like(nothing)
        for step in head.schedule.steps(sampling):
            at_time = exact.predict(nothing, silence, exact.embed_time(torch.tensor(step.t)))
            noise = step.clean * noise @ of_latent + step.noisy * noise
            mixed = step.clean * (mixed @ of_latent + eye) + step.noisy * mixed
            offset = step.clean * (offset @ of_latent + at_time) + step.noisy * offset
        for name, value in {"noise": noise, "condition": of_condition, "mixed": mixed, "offset": offset}.items():
            self.register_buffer(name, value.detach().to(reference), persistent=False)

    def forward(self, noise: Tensor, conditions: Tensor, weights: Tensor) -> Tensor:
        """See the interface."""
        guide = mix(conditions @ cast(Tensor, self.condition), weights) @ cast(Tensor, self.mixed)
        return noise @ cast(Tensor, self.noise) + guide + cast(Tensor, self.offset)


class LinearHead(DiffusionHead):
    """The paper's single layer: no activation between noise, condition and prediction."""

    def __init__(self, dims: HeadDims, latent: int, width: int) -> None:
        super().__init__(dims)
        self.dims = dims
        self.shape = (latent, width)
        self.time = TimeEmbedding(dims.time_features, width)
        self.latent = nn.Linear(latent, width)
        self.join = nn.Linear(2 * width, width)
        self.out = nn.Linear(width, latent)

    def embed_time(self, t: Tensor) -> Tensor:
        """[...] → [..., W]."""
        return self.time(t)

    def predict(self, noisy: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        """See the interface."""
        return self.out(self.join(torch.cat([self.latent(noisy), condition + time], dim=-1)))

    def sampler(self, sampling: Sampling) -> Sampler:
        """One affine map."""
        return AffineSampler(self, sampling, *self.shape)


class AdaLayer(nn.Module):
    """A residual SiLU block whose norm is scaled, shifted and gated by the condition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 3 * width)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[..., w], [..., w] → [..., w]."""
        shift, scale, gate = self.modulation(condition).chunk(3, dim=-1)
        return x + gate * self.layers(self.norm(x) * (1 + scale) + shift)


class MlpHead(DiffusionHead):
    """A few adaLN-SiLU blocks; draws well in 4 steps."""

    def __init__(self, dims: HeadDims, latent: int, width: int) -> None:
        super().__init__(dims)
        self.time = TimeEmbedding(dims.time_features, dims.width)
        self.latent = nn.Linear(latent, dims.width)
        self.condition = nn.Linear(width, dims.width)
        self.blocks = nn.ModuleList(AdaLayer(dims.width) for _ in range(dims.blocks))
        self.norm = nn.LayerNorm(dims.width)
        self.out = nn.Linear(dims.width, latent)
        self.skip = nn.Linear(width, latent)  # the part of the answer that needs no noise

    def embed_time(self, t: Tensor) -> Tensor:
        """[...] → [..., w]."""
        return self.time(t)

    def predict(self, noisy: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        """See the interface."""
        guide = nn.functional.silu(self.condition(condition) + time)
        x = self.latent(noisy) + guide
        for block in self.blocks:
            x = block(x, guide)
        return self.out(self.norm(x)) + self.skip(condition)


class DirectHead(DiffusionHead):
    """No diffusion, to compare: the condition alone says the latent. Every seed gives the same."""

    def __init__(self, dims: HeadDims, latent: int, width: int) -> None:
        super().__init__(dims)
        self.layers = nn.Sequential(nn.Linear(width, 2 * dims.width), nn.SiLU(), nn.Linear(2 * dims.width, latent))
        self.skip = nn.Linear(width, latent)

    def embed_time(self, t: Tensor) -> Tensor:
        """Nothing: there is no time."""
        return t[..., None] * 0.0

    def predict(self, noisy: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        """See the interface."""
        return self.layers(condition) + self.skip(condition)

    def sampler(self, sampling: Sampling) -> "Sampler":
        """One step, whatever ``sampling`` says."""
        return LoopSampler(self, replace(sampling, steps=1, spacing="trailing", rule="textbook"))


def build_head(dims: HeadDims, latent: int, width: int) -> DiffusionHead:
    """The head that ``dims.kind`` names. Raises SamplingError for a kind that does not exist."""
    kinds: dict[str, type[LinearHead] | type[MlpHead] | type[DirectHead]] = {
        "linear": LinearHead,
        "mlp": MlpHead,
        "direct": DirectHead,
    }
    if dims.kind not in kinds:
        raise SamplingError(f"A {dims.kind!r} diffusion head does not exist; choose 'linear', 'mlp' or 'direct'.")
    return kinds[dims.kind](dims, latent, width)
