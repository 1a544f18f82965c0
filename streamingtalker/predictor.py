"""The autoregressive condition predictor (eq. 4): past latents, audio and style → the condition of the next frame."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from streamingtalker.config import PredictorDims
from streamingtalker.layers import AlignedAttention, BandedAttention, FeedForward, KeyValueCache


class PredictorLayer(nn.Module):
    """Pre-norm transformer decoder layer: banded self-attention, aligned cross-attention, feed-forward."""

    def __init__(self, dims: PredictorDims, audio_width: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dims.width)
        self.attention = BandedAttention(dims.width, dims.heads, dims.history)
        self.audio = AlignedAttention(dims.width, audio_width)
        self.attends, self.hears = dims.self_attention, dims.cross_attention
        self.feedforward_norm = nn.LayerNorm(dims.width)
        self.feedforward = FeedForward(dims.width, dims.feedforward)

    def forward(self, tokens: Tensor, heard: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Tokens [B, T, W] and what ``self.audio`` made of their audio frames → tokens [B, T, W]."""
        if self.attends:
            tokens = tokens + self.attention(self.attention_norm(tokens), cache)
        if self.hears:
            tokens = tokens + heard
        return tokens + self.feedforward(self.feedforward_norm(tokens))


@dataclass
class PredictorState:
    """One ring cache a layer."""

    caches: list[KeyValueCache]

    def reset(self) -> None:
        """An empty history."""
        for cache in self.caches:
            cache.reset()


class ConditionPredictor(nn.Module):
    """Token t is the latent of frame t − 1 (t = 0: of a face at rest) and gives the condition C_A of frame t.

    A row of the batch may have *no history*: its latents are replaced by one learned vector, so it knows only the audio
    it has heard and the style. Training drops the history now and then; sampling mixes both predictions.
    """

    def __init__(self, dims: PredictorDims, latent: int, audio_width: int, styles: int) -> None:
        super().__init__()
        self.latent = nn.Linear(latent, dims.width)
        self.no_history = nn.Parameter(torch.zeros(dims.width))
        self.style = nn.Linear(styles, dims.width, bias=False)  # E_s(s_k) of a one-hot vector, moods beside it
        self.layers = nn.ModuleList(PredictorLayer(dims, audio_width) for _ in range(dims.layers))
        self.norm = nn.LayerNorm(dims.width)

    def state(self, batch: int = 1) -> PredictorState:
        """Buffers for a stream."""
        return PredictorState([cast(PredictorLayer, layer).attention.state(batch) for layer in self.layers])

    def hear(self, audio: Tensor) -> list[Tensor]:
        """Audio frames [B, T, A] → what each layer's cross-attention adds, [B, T, W] each. Needs no history."""
        return [cast(PredictorLayer, layer).audio(audio) for layer in self.layers]

    def forward(
        self, latents: Tensor, heard: list[Tensor], style: Tensor, keep: Tensor, state: PredictorState | None = None
    ) -> Tensor:
        """Conditions [B, T, W] of T frames; with a ``state``, of the next frame (T = 1).

        latents [B, T, H·C] of the frame before each, ``heard`` from ``hear``, style condition [B, T or 1, S], ``keep``
        bool [B, T] or [B, 1]: does the token know its latent.
        """
        tokens = torch.where(keep[..., None], self.latent(latents), self.no_history)
        tokens = tokens + self.style(style)
        for i, layer in enumerate(self.layers):
            tokens = layer(tokens, heard[i], state.caches[i] if state else None)
        return self.norm(tokens)
