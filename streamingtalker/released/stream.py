"""One stream of the published network: the same numbers as its live path, at constant cost.

What makes it fast, exactly: keys and values are kept; the sampler's 50 steps are one affine map, of which the noise's
part is computed for all new frames at once, as is what they hear; the decoder, which no later frame depends on, runs
once for a block of new frames; all weights are laid out for the machine (``running``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from streamingtalker.diffusion import AffineSampler, Sampler
from streamingtalker.noise import AutoregressiveNoise
from streamingtalker.predictor import PredictorState
from streamingtalker.released.dims import ReleasedDims
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
        """Noise [..., H·C] → the part of the latents [..., H·C] that it makes."""
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

    def draw(
        self, before: Tensor, audio: Tensor, style: Tensor, noise: Tensor, position: int | Tensor,
        state: PredictorState,
    ) -> Tensor:  # fmt: skip
        """Draw the latents [B, k, H·C] of the next k frames of B streams, one after another.

        ``before`` [B, 1, H·C] are the latents they go on from; audio [B, k, D], style embedded [B, 1, W], noise
        [B, k, H·C]; ``position``: tokens so far, of all streams or [B, 1].
        """
        begun, heard = self.latent.begin(noise), self.predictor.hear(audio)
        latents = [before]
        for k in range(audio.shape[1]):
            now = [layer[:, k : k + 1] for layer in heard]
            condition = self.predictor.follow(latents[-1], now, style, position + k, state)
            latents.append(self.latent(begun[:, k : k + 1], condition))
        return torch.cat(latents[1:], dim=1)

    def decode(self, windows: Tensor, frames: int) -> Tensor:
        """The offsets [B, frames, V, 3] of the last ``frames`` of latents [B, n, H·C]."""
        return cast(Tensor, self.decoder(windows, frames)).unflatten(2, (-1, 3))


@dataclass(frozen=True)
class LatentBlock:
    """Frames that are decoded together."""

    latents: Tensor  # [n, H·C] theirs, and before them those that the decoder looks back on
    frames: int


@dataclass
class LatentBlocks:
    """The latents of one stream, gathered into blocks."""

    dims: ReleasedDims
    decoded: int = field(init=False)  # frames so far
    recent: Tensor = field(init=False)  # [n, H·C] the newest latents in blocks, at most a window
    waiting: Tensor = field(init=False)  # [m, H·C] latents after them, less than a block

    def reset(self, still: Tensor) -> None:
        """As before the first frame, whose past is the latent ``still`` [H·C]."""
        self.decoded, self.recent, self.waiting = 0, still[None], still[None][:0]

    def add(self, latents: Tensor) -> list[LatentBlock]:
        """The next latents [k, H·C] → the blocks they complete."""
        self.waiting = torch.cat([self.waiting, latents])
        blocks = []
        while len(self.waiting) >= (frames := self.dims.block_at(self.decoded)):
            blocks.append(self._take(frames))
        return blocks

    def rest(self) -> list[LatentBlock]:
        """The sound is over: the block that was begun, if one was."""
        return [self._take(len(self.waiting))] if len(self.waiting) else []

    def _take(self, frames: int) -> LatentBlock:
        self.recent = torch.cat([self.recent, self.waiting[:frames]])[-self.dims.window :]
        self.waiting = self.waiting[frames:]
        self.decoded += frames
        return LatentBlock(self.recent, frames)


@dataclass
class ReleasedState:
    """What one stream of frames remembers."""

    network: Network
    predictor: PredictorState
    style: Tensor  # embedded, [1, 1, W]
    noise: AutoregressiveNoise
    blocks: LatentBlocks
    latent: Tensor  # [1, 1, H·C] of the newest frame
    position: int = 0  # tokens so far

    def reset(self, still: Tensor, seed: int) -> None:
        """As before the first frame, whose past is the latent ``still`` [H·C]."""
        self.predictor.reset()
        self.blocks.reset(still)
        self.noise.reset(seed)
        self.latent = still[None, None]
        self.position = 0

    def draw(self, audio: Tensor) -> Tensor:
        """The latents [k, H·C] of the next frames, which hear ``audio`` [k, D]."""
        if len(audio) == 0:
            return self.latent[0, :0]
        noise = self.noise.draw(len(audio))
        drawn = self.network.draw(self.latent, audio[None], self.style, noise, self.position, self.predictor)
        self.latent = drawn[:, -1:]
        self.position += len(audio)
        return drawn[0]

    def decode(self, blocks: Sequence[LatentBlock]) -> Tensor:
        """The offsets [n, V, 3] of all frames of some blocks."""
        nothing = self.latent.new_zeros(0, self.blocks.dims.motion.vertices, 3)
        return torch.cat([nothing, *(self.network.decode(each.latents[None], each.frames)[0] for each in blocks)])


def _linear(matrix: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """x ↦ x·matrix + bias."""
    into, out = matrix.shape
    layer = nn.Linear(into, out, bias=bias is not None)
    layer.weight = nn.Parameter(matrix.T.contiguous(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer
