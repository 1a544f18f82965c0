"""The published condition predictor (eq. 4): past latents, audio and style → the condition of the next frame.

Post-norm transformer decoder layers. Positions repeat after a period of p tokens, and ALiBi counts distance in whole
periods, so a token's keys and values depend on its position only modulo p: they can be kept, and forgetting those of
the oldest tokens asks nothing of the others.
"""

import math
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


class PeriodicAttention(nn.Module):
    """Causal self-attention with ALiBi in whole periods, −slope · ⌊age / p⌋ for each head.

    In a stream it goes over the last ``history`` tokens, held in a ring.
    """

    ring_bias: Tensor

    def __init__(self, dims: ReleasedPredictor) -> None:
        super().__init__()
        assert dims.heads > 0 and dims.width % dims.heads == 0, "heads share the width evenly"
        self.heads = dims.heads
        self.history = dims.history
        self.period = dims.period
        self.qkv = nn.Linear(dims.width, 3 * dims.width)
        self.out = nn.Linear(dims.width, dims.width)
        slots = torch.arange(dims.history)
        ages = (slots[:, None] - slots) % dims.history
        full = self._bias(ages)
        filling = full.masked_fill(slots > slots[:, None], -math.inf)
        rings = torch.cat([full, filling], dim=1).transpose(0, 1)[:, :, None]  # as in layers.BandedAttention
        self.register_buffer("ring_bias", rings.contiguous(), persistent=False)  # [2 · slot, heads, 1, h]

    def state(self, batch: int = 1) -> KeyValueCache:
        """Buffers for ``batch`` streams."""
        shape = (batch, self.heads, self.history, self.out.weight.shape[0] // self.heads)
        return KeyValueCache(self.ring_bias.new_zeros(shape), self.ring_bias.new_zeros(shape))

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """[B, T, W] → [B, T, W]; with a cache, the next token of each row (T = 1)."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if cache is None:
            time = torch.arange(tokens, device=x.device)
            bias = self._bias(time[:, None] - time)
        else:
            assert tokens == 1, "a stream goes token by token"
            k, v, slot = cache.append(k, v)
            bias = self.ring_bias[slot][..., : k.shape[2]]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.out(y.transpose(1, 2).reshape(batch, tokens, width))

    def _bias(self, age: Tensor) -> Tensor:
        """Ages [n, m] in tokens → [heads, n, m], −∞ for tokens that are still to come."""
        periods = torch.div(age, self.period, rounding_mode="floor")
        slopes = alibi_slopes(self.heads).to(age.device)[:, None, None]
        return (-slopes * periods).masked_fill(age < 0, -math.inf)


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

    def forward(self, tokens: Tensor, heard: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Tokens [B, T, W] and what ``self.audio`` made of their audio frames → tokens [B, T, W]."""
        tokens = self.attention_norm(tokens + self.attention(tokens, cache))
        tokens = self.audio_norm(tokens + heard)
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

    def state(self, batch: int = 1) -> PredictorState:
        """Buffers for ``batch`` streams."""
        return PredictorState([cast(PostNormLayer, layer).attention.state(batch) for layer in self.layers])

    def forward(self, latents: Tensor, audio: Tensor, identity: Tensor) -> Tensor:
        """Conditions [B, T, W] of T tokens. Latents [B, T, H·C], audio features [B, T, D], identity one-hot [B, K]."""
        return self.follow(latents, self.hear(audio), self.style(identity)[:, None])

    def hear(self, audio: Tensor) -> list[Tensor]:
        """Audio features [B, T, D] → what each layer's cross-attention adds, [B, T, W] each. Needs no history."""
        frames = self.audio(audio)
        return [cast(PostNormLayer, layer).audio(frames) for layer in self.layers]

    def follow(
        self,
        latents: Tensor,
        heard: list[Tensor],
        style: Tensor,
        position: int | Tensor = 0,
        state: PredictorState | None = None,
    ) -> Tensor:
        """Conditions [B, T, W] of T tokens counted from ``position``; with a ``state``, of the next one (T = 1).

        Latents [B, T, H·C], ``heard`` from ``hear``, embedded style [B, 1, W]. Streams that are side by side in a batch
        have a ``position`` [B, 1] each.
        """
        places = (position + torch.arange(latents.shape[1], device=latents.device)) % len(self.positions)
        tokens = self.latent(latents) + style + self.positions[places]
        for i, layer in enumerate(self.layers):
            tokens = layer(tokens, heard[i], state.caches[i] if state else None)
        return tokens
