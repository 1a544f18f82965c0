"""Layers of the default network, each the same for a whole clip and for a stream.

Shapes: B batch, T frames, W width. Everything here is causal: output frame t depends on input frames ≤ t.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class ConvState:
    """The last inputs of a causal convolution, [B, W, reach]."""

    tail: Tensor

    def reset(self) -> None:
        """Before the clip there is silence: zeros."""
        self.tail.zero_()


class CausalConv(nn.Conv1d):
    """A convolution over time that sees the present and the past; before the clip lie zeros."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__(width, width, kernel, dilation=dilation)
        self.reach = (kernel - 1) * dilation

    def state(self, batch: int = 1) -> ConvState:
        """Buffers for a stream."""
        return ConvState(self.weight.new_zeros(batch, self.in_channels, self.reach))

    def forward(self, x: Tensor, state: ConvState | None = None) -> Tensor:
        """[B, W, T] → [B, W, T]."""
        if state is None:
            return super().forward(F.pad(x, (self.reach, 0)))
        joined = torch.cat([state.tail, x], dim=2)
        state.tail.copy_(joined[:, :, joined.shape[2] - self.reach :])
        return super().forward(joined)


class ResidualConv(nn.Module):
    """x + pointwise(GELU(conv(GELU(norm(x)))))."""

    def __init__(self, width: int, dilation: int, kernel: int = 3) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = CausalConv(width, kernel, dilation)
        self.mix = nn.Linear(width, width)

    def forward(self, x: Tensor, state: ConvState | None = None) -> Tensor:
        """[B, T, W] → [B, T, W]."""
        y = F.gelu(self.norm(x)).transpose(1, 2)
        y = self.conv(y, state).transpose(1, 2)
        return x + self.mix(F.gelu(y))


@dataclass
class StackState:
    """The states of a stack of convolutions."""

    convs: list[ConvState]

    def reset(self) -> None:
        """As before the clip."""
        for conv in self.convs:
            conv.reset()


class ConvStack(nn.Module):
    """Linear in, residual causal convolutions, norm, linear out."""

    def __init__(self, into: int, width: int, out: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.into = nn.Linear(into, width)
        self.blocks = nn.ModuleList(ResidualConv(width, dilation) for dilation in dilations)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, out)

    def state(self, batch: int = 1) -> StackState:
        """Buffers for a stream."""
        return StackState([cast(ResidualConv, block).conv.state(batch) for block in self.blocks])

    def forward(self, x: Tensor, state: StackState | None = None) -> Tensor:
        """[B, T, into] → [B, T, out]."""
        x = self.into(x)
        for i, block in enumerate(self.blocks):
            x = block(x, state.convs[i] if state else None)
        return self.out(self.norm(x))


def alibi_slopes(heads: int) -> Tensor:
    """[heads] slopes 2^(−8k/heads), k = 1 … heads (Press et al. 2021)."""
    return torch.tensor([2.0 ** (-8.0 * (k + 1) / heads) for k in range(heads)])


@dataclass
class KeyValueCache:
    """A ring of the last h keys and values, [B, heads, h, W/heads]; token i lies in slot i mod h.

    Keys carry no absolute position, only ALiBi's distance is added to the scores. So forgetting the oldest token is
    exact: what remains is what a clip's forward sees through its band of h tokens.
    """

    keys: Tensor
    values: Tensor
    tokens: int = 0  # written so far

    def reset(self) -> None:
        """No tokens; old slots are never read before they are written again."""
        self.tokens = 0

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, int | Tensor]:
        """Add one token's [B, heads, 1, d]. Gives the keys and values held and the new token's slot.

        Where the rows of a batch hold different numbers of tokens (``sessions``) there is a slot for each, [B], and
        ``history`` is added to that of a ring in which slots are still empty.
        """
        history = self.keys.shape[2]
        slot = self.tokens % history
        self.keys[:, :, slot] = key[:, :, 0]
        self.values[:, :, slot] = value[:, :, 0]
        self.tokens += 1
        held = min(self.tokens, history)
        return self.keys[:, :, :held], self.values[:, :, :held], slot


class BandedAttention(nn.Module):
    """Causal multi-head self-attention with ALiBi over the last ``history`` tokens, the newest included.

    The band holds in every layer, in training and in a stream alike. A stack of L such layers therefore hears of up to
    L·(history − 1) + 1 tokens, and its ring caches equal the forward over a whole clip exactly.
    """

    def __init__(self, width: int, heads: int, history: int) -> None:
        super().__init__()
        assert heads > 0 and width % heads == 0, "heads share the width evenly"
        self.heads = heads
        self.history = history
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        ages = (torch.arange(history)[:, None] - torch.arange(history)[None, :]) % history
        bias = -alibi_slopes(heads)[None, :, None] * ages[:, None, :]
        empty = torch.ones(history, history, dtype=torch.bool).triu(1)[:, None, :]
        bias = torch.cat([bias, bias.masked_fill(empty, -math.inf)])  # of full rings, of those being filled
        self.register_buffer("ring_bias", bias[:, :, None, :], persistent=False)  # [2 · slot, heads, 1, h]

    def state(self, batch: int = 1) -> KeyValueCache:
        """Buffers for a stream."""
        weight = self.out.weight
        shape = (batch, self.heads, self.history, weight.shape[0] // self.heads)
        return KeyValueCache(weight.new_zeros(shape), weight.new_zeros(shape))

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """[B, T, W] → [B, T, W]; with a cache, T = 1."""
        batch, frames, width = x.shape
        q, k, v = self.qkv(x).view(batch, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if cache is None:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=self._band(frames).to(q.dtype))
        else:
            assert frames == 1, "a stream goes frame by frame"
            k, v, slot = cache.append(k, v)
            bias = cast(Tensor, self.ring_bias)[slot][..., : k.shape[2]]
            scores = torch.matmul(q, k.transpose(2, 3)) * (1 / math.sqrt(q.shape[3]))
            y = torch.matmul((scores + bias).softmax(dim=3), v)
        return self.out(y.transpose(1, 2).reshape(batch, frames, width))

    def _band(self, frames: int) -> Tensor:
        """[heads, T, T] ALiBi's penalty inside the band, −∞ outside."""
        time = torch.arange(frames, device=self.out.weight.device)
        age = time[:, None] - time[None, :]
        outside = (age < 0) | (age >= self.history)
        bias = -alibi_slopes(self.heads).to(age.device)[:, None, None] * age
        return bias.masked_fill(outside, -math.inf)


class AlignedAttention(nn.Module):
    """Cross-attention whose mask lets token t see exactly audio frame t (the paper's alignment mask).

    The softmax over one key is 1, so queries and keys drop out and what remains is the value and output projections of
    that frame.
    """

    def __init__(self, width: int, audio_width: int) -> None:
        super().__init__()
        self.value = nn.Linear(audio_width, width)
        self.out = nn.Linear(width, width)

    def forward(self, audio: Tensor) -> Tensor:
        """Audio frames [B, T, A] → what is added to the tokens [B, T, W]."""
        return self.out(self.value(audio))


class FeedForward(nn.Sequential):
    """Linear, GELU, linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
