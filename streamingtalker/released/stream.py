"""One stream of the published network: the same numbers as its live path, at constant cost.

What makes it fast, exactly: keys and values are kept; the sampler's 50 steps are one affine map, of which the noise's
part is computed for all new frames at once, as is what they hear; the decoder, which no later frame depends on, runs
once for a block of new frames; all weights are laid out for the machine (``running``).
"""

import math
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from streamingtalker.config import Sampling
from streamingtalker.diffusion import AffineSampler, Sampler
from streamingtalker.predictor import PredictorState
from streamingtalker.released.predictor import ReleasedConditionPredictor
from streamingtalker.released.vqvae import ReleasedVqVae
from streamingtalker.running import Running


class LatentMap(nn.Module):
    """The collapsed sampler in two halves: latent = (N·noise + d) + M·condition. Only the second waits for the past."""

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        assert isinstance(sampler, AffineSampler), "only a head without activation collapses"
        parts = {name: cast(Tensor, getattr(sampler, name)) for name in ("noise", "condition", "mixed", "offset")}
        self.of_noise = _linear(parts["noise"], parts["offset"])
        self.of_condition = _linear((parts["condition"].double() @ parts["mixed"].double()).float())

    def begin(self, noise: Tensor) -> Tensor:
        """Noise [k, H·C] → the part of the latents [k, H·C] that it makes."""
        return cast(Tensor, self.of_noise(noise))

    def forward(self, begun: Tensor, condition: Tensor) -> Tensor:
        """That part and the conditions [..., W] → latents [..., H·C]."""
        return begun + cast(Tensor, self.of_condition(condition))


class MotionDecoder(nn.Module):
    """What of the VQ-VAE leads from latents to offsets."""

    def __init__(self, vqvae: ReleasedVqVae) -> None:
        super().__init__()
        self.from_latent, self.decoder, self.out = vqvae.from_latent, vqvae.decoder, vqvae.out

    def forward(self, latents: Tensor, frames: int) -> Tensor:
        """The last ``frames`` of ``vqvae.decode``: latents [B, T, H·C] → offsets [B, frames, 3V]."""
        return cast(Tensor, self.out(self.decoder(self.from_latent(latents), newest=frames)))


@dataclass(frozen=True)
class Network:
    """The parts of a talker that a stream uses, as they run. Any number of streams share them."""

    predictor: ReleasedConditionPredictor
    latent: LatentMap
    decoder: MotionDecoder

    @classmethod
    def of(
        cls, predictor: ReleasedConditionPredictor, sampler: Sampler, vqvae: ReleasedVqVae, running: Running
    ) -> "Network":
        """Raises RunningError."""
        decoder = running.compile(running.twin(MotionDecoder(vqvae)))
        return cls(running.twin(predictor), running.twin(LatentMap(sampler)), decoder)


@dataclass
class ReleasedState:
    """What one stream of frames remembers."""

    network: Network
    predictor: PredictorState
    style: Tensor  # embedded, [1, 1, W]
    random: torch.Generator
    sampling: Sampling
    position: int = 0  # tokens so far
    decoded: int = 0  # frames so far
    latent: Tensor = field(init=False)  # [1, H·C] of the newest frame
    recent: Tensor = field(init=False)  # [n, H·C] the newest decoded latents, at most a window
    waiting: Tensor = field(init=False)  # [m, H·C] latents after them, less than a block
    noise: Tensor | None = None  # [1, H·C] of the newest frame, unit variance

    def reset(self, still: Tensor, seed: int) -> None:
        """As before the first frame."""
        self.predictor.reset()
        self.position = self.decoded = 0
        self.latent = self.recent = still[None]
        self.waiting = still.new_zeros(0, len(still))
        self.random.manual_seed(seed)
        self.noise = None

    def draw(self, audio: Tensor) -> Tensor:
        """The latents [k, H·C] of the next frames, which hear ``audio`` [k, D]."""
        if len(audio) == 0:
            return self.waiting[:0]
        predictor, latent = self.network.predictor, self.network.latent
        begun = latent.begin(torch.cat([self._next_noise() for _ in audio]))
        heard = predictor.hear(audio[None])
        drawn = []
        for k in range(len(audio)):
            now = [layer[:, k : k + 1] for layer in heard]
            condition = predictor.follow(self.latent[None], now, self.style, self.position, self.predictor)
            self.latent = latent(begun[k : k + 1], condition[0])
            self.position += 1
            drawn.append(self.latent)
        return torch.cat(drawn)

    def decode(self, frames: int, window: int) -> Tensor:
        """The offsets [frames, 3V] of the first that are waiting, out of ``window`` latents that end with them."""
        assert frames > 0, "nothing is decoded out of nothing"
        self.recent = torch.cat([self.recent, self.waiting[:frames]])[-window:]
        self.waiting = self.waiting[frames:]
        self.decoded += frames
        return cast(Tensor, self.network.decoder(self.recent[None], frames)[0])

    def _next_noise(self) -> Tensor:
        """[1, H·C]."""
        fresh = torch.randn(1, self.latent.shape[1], generator=self.random).to(self.latent)
        memory = self.sampling.noise_memory
        self.noise = fresh if self.noise is None else memory * self.noise + math.sqrt(1 - memory**2) * fresh
        return self.noise * self.sampling.temperature


def _linear(matrix: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """x ↦ x·matrix + bias."""
    into, out = matrix.shape
    layer = nn.Linear(into, out, bias=bias is not None)
    layer.weight = nn.Parameter(matrix.T.contiguous(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer
