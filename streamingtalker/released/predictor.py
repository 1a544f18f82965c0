"""The published condition predictor (eq. 4): past latents, audio and style → the condition of the next frame.

Post-norm transformer decoder layers. Positions repeat after a period of p tokens, and ALiBi counts distance in whole
periods, so a token's keys and values depend on its position only modulo p: they can be kept, and forgetting those of
the oldest tokens asks nothing of the others.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamingtalker.layers import AlignedAttention, KeyValueCache, alibi_slopes
from streamingtalker.predictor import PredictorState
from streamingtalker.released.dims import ReleasedPredictor


def sinusoids(period: int, width: int) -> Tensor:
    """Positions 0 … p − 1 as sines (even places) and cosines (odd places) of geometric frequencies, [p, W]."""
    angles = torch.arange(period)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


@dataclass(frozen=True)
class Bias:
    """ALiBi in whole periods: −slope · ⌊age / p⌋ for each head."""

    slopes: Tensor  # [heads]
    period: int

    def of(self, age: Tensor) -> Tensor:
        """Ages [...] in tokens → [heads, ...], −∞ for tokens that are still to come."""
        steps = torch.div(age, self.period, rounding_mode="floor")
        slopes = self.slopes.view(-1, *[1] * age.dim())
        return (-slopes * steps).masked_fill(age < 0, -math.inf)


class PeriodicAttention(nn.Module):
    """Causal self-attention; in a stream over the last ``history`` tokens, held in a ring."""

    def __init__(self, dims: ReleasedPredictor) -> None:
        super().__init__()
        self.heads = dims.heads
        self.history = dims.history
        self.period = dims.period
        self.qkv = nn.Linear(dims.width, 3 * dims.width)
        self.out = nn.Linear(dims.width, dims.width)

    def state(self) -> KeyValueCache:
        """Buffers for a stream."""
        weight = self.out.weight
        shape = (1, self.heads, self.history, weight.shape[0] // self.heads)
        return KeyValueCache(weight.new_zeros(shape), weight.new_zeros(shape))

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """[B, T, W] → [B, T, W]; with a cache, the next token (B = T = 1)."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        time = torch.arange(tokens, device=x.device)
        age = time[:, None] - time
        if cache is not None:
            assert batch == tokens == 1, "a stream goes token by token"
            k, v, slot = cache.append(k, v)
            age = (slot - torch.arange(k.shape[2], device=x.device)[None]) % self.history
        bias = Bias(alibi_slopes(self.heads).to(x), self.period).of(age)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.out(y.transpose(1, 2).reshape(batch, tokens, width))


class PostNormLayer(nn.Module):
    """Self-attention, cross-attention to the token's own audio frame, feed-forward; a norm after each."""

    def __init__(self, dims: ReleasedPredictor) -> None:
        super().__init__()
        self.attention = PeriodicAttention(dims)
        self.attention_norm = nn.LayerNorm(dims.width)
        self.audio = AlignedAttention(dims.width, dims.width)
        self.audio_norm = nn.LayerNorm(dims.width)
        unit = nn.GELU() if dims.activation == "gelu" else nn.ReLU()
        self.feedforward = nn.Sequential(
            nn.Linear(dims.width, dims.feedforward), unit, nn.Linear(dims.feedforward, dims.width)
        )
        self.feedforward_norm = nn.LayerNorm(dims.width)

    def forward(self, tokens: Tensor, audio: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Tokens and their audio frames [B, T, W] → tokens [B, T, W]."""
        tokens = self.attention_norm(tokens + self.attention(tokens, cache))
        tokens = self.audio_norm(tokens + self.audio(audio))
        return self.feedforward_norm(tokens + self.feedforward(tokens))


class ReleasedConditionPredictor(nn.Module):
    """Token i is the latent of frame i − 1 (i = 0: of a face at rest) and gives the condition of frame i.

    ``latent`` embeds the latents; the diffusion head embeds its noisy ones with the same layer.
    """

    positions: Tensor

    def __init__(self, dims: ReleasedPredictor, latent: nn.Linear, styles: int) -> None:
        super().__init__()
        self.latent = latent
        self.audio = nn.Linear(dims.audio, dims.width)
        self.style = nn.Linear(styles, dims.width, bias=False)  # E_s(s_k) of a one-hot vector
        self.register_buffer("positions", sinusoids(dims.period, dims.width))
        self.layers = nn.ModuleList(PostNormLayer(dims) for _ in range(dims.layers))

    def state(self) -> PredictorState:
        """Buffers for a stream."""
        return PredictorState([cast(PostNormLayer, layer).attention.state() for layer in self.layers])

    def forward(
        self, latents: Tensor, audio: Tensor, identity: Tensor, position: int = 0, state: PredictorState | None = None
    ) -> Tensor:
        """Conditions [B, T, W] of T tokens counted from ``position``; with a ``state``, of the next one (B = T = 1).

        latents [B, T, H·C], audio features [B, T, D], identity one-hot [B, K].
        """
        places = torch.arange(position, position + latents.shape[1], device=latents.device) % len(self.positions)
        tokens = self.latent(latents) + self.style(identity)[:, None] + self.positions[places]
        heard = self.audio(audio)
        for i, layer in enumerate(self.layers):
            tokens = layer(tokens, heard, state.caches[i] if state else None)
        return tokens
