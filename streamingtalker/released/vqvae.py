"""Stage 1 of the published network: a transformer VQ-VAE over whole sequences of vertex offsets (eq. 1 and 2).

Nothing here is causal. Attention sees the whole sequence and the instance norm takes its statistics over it, so what a
frame becomes depends on the sequence it is given with.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamingtalker.layers import FeedForward
from streamingtalker.released.dims import ReleasedMotion
from streamingtalker.vqvae import Quantised, Quantiser

KERNEL = 5  # frames a convolution spans


class FullAttention(nn.Module):
    """Multi-head attention without a mask. Scores are scaled by W^−½, W the whole width and not a head's."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        assert heads > 0 and width % heads == 0, "heads share the width evenly"
        self.heads = heads
        self.scale = width**-0.5
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None, newest: int = 0) -> Tensor:
        """[B, T, W] → [B, T, W]; nobody looks at the frames outside the ``mask`` [B, T].

        ``newest``: where only so many frames at the end are wanted; gives these.
        """
        batch, frames, width = x.shape
        q, k, v = self.qkv(x).view(batch, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = None if mask is None else mask[:, None, None, :] > 0
        y = F.scaled_dot_product_attention(q[:, :, -newest:], k, v, attn_mask=seen, scale=self.scale)
        return self.out(y.transpose(1, 2).reshape(batch, -1, width))


class Block(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, dims: ReleasedMotion) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dims.width)
        self.attention = FullAttention(dims.width, dims.heads)
        self.feedforward_norm = nn.LayerNorm(dims.width)
        self.feedforward = FeedForward(dims.width, dims.feedforward)

    def forward(self, x: Tensor, mask: Tensor | None = None, newest: int = 0) -> Tensor:
        """[B, T, W] → [B, T, W], or of the ``newest`` frames alone."""
        x = x[:, -newest:] + self.attention(self.attention_norm(x), mask, newest)
        return x + self.feedforward(self.feedforward_norm(x))


class MotionTransformer(nn.Module):
    """What encoder and decoder share: convolution, instance norm over time, linear, position, blocks.

    The published network adds the positional vector of the *sequence's place in the batch*, and runs with one sequence:
    every frame gets the vector of position 0 (0, 1, 0, 1, …). So does every frame of every sequence here.
    """

    position: Tensor

    def __init__(self, dims: ReleasedMotion) -> None:
        super().__init__()
        self.slope = dims.slope
        self.conv = nn.Conv1d(dims.width, dims.width, KERNEL, padding=KERNEL // 2, padding_mode="replicate")
        self.mix = nn.Linear(dims.width, dims.width)
        self.register_buffer("position", torch.tensor([0.0, 1.0]).repeat(dims.width // 2))
        self.blocks = nn.ModuleList(Block(dims) for _ in range(dims.layers))

    def forward(self, x: Tensor, mask: Tensor | None = None, newest: int = 0) -> Tensor:
        """[B, T, W] → [B, T, W]. With a ``mask`` [B, T], 1 until each sequence's end, as if there were nothing else.

        ``newest``: give only so many frames at the end, without the last block's work for the others.
        """
        x = x if mask is None else _hold_last(x, mask)
        x = F.leaky_relu(self.conv(x.transpose(1, 2)), self.slope)
        x = self.mix(_normalise(x, mask).transpose(1, 2)) + self.position
        for block in self.blocks[:-1]:
            x = block(x, mask)
        return cast(Tensor, self.blocks[-1](x, mask, newest))


def _hold_last(x: Tensor, mask: Tensor) -> Tensor:
    """[B, T, W] with each sequence's last frame repeated to the end: what replicate padding does."""
    last = mask.sum(1, keepdim=True).long() - 1
    places = torch.minimum(torch.arange(x.shape[1], device=x.device), last)
    return x.gather(1, places[..., None].expand_as(x))


def _normalise(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Zero mean and unit variance over time, [B, W, T]; a single frame becomes zero."""
    if mask is None:
        variance, mean = torch.var_mean(x, dim=2, correction=0, keepdim=True)
    else:
        weight = (mask / mask.sum(1, keepdim=True))[:, None]
        mean = (x * weight).sum(2, keepdim=True)
        variance = ((x - mean).square() * weight).sum(2, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


class ReleasedVqVae(nn.Module):
    """Vertex offsets ↔ latents of whole sequences."""

    def __init__(self, dims: ReleasedMotion) -> None:
        super().__init__()
        self.dims = dims
        assert dims.bridged or dims.latent == dims.width, "latents as wide as the layers, or a bridge between them"
        self.into = nn.Linear(3 * dims.vertices, dims.width)
        self.encoder = MotionTransformer(dims)
        self.to_latent = nn.Linear(dims.width, dims.latent) if dims.bridged else nn.Identity()
        self.quantiser = Quantiser(dims.codebook)
        self.from_latent = nn.Linear(dims.latent, dims.width) if dims.bridged else nn.Identity()
        self.decoder = MotionTransformer(dims)
        self.out = nn.Linear(dims.width, 3 * dims.vertices)

    def encode(self, offsets: Tensor) -> Tensor:
        """Offsets [B, T, 3V] or [B, T, V, 3] from the template → quantised latents z_q [B, T, H·C] (eq. 3)."""
        return self.quantise(offsets).latents

    def quantise(self, offsets: Tensor, mask: Tensor | None = None) -> Quantised:
        """As ``encode``, with the codes' indices [B, T, H] and the two losses of eq. 9.

        ``mask`` [B, T]: 1 until each sequence's end, where sequences of different length lie side by side.
        """
        return cast(Quantised, self.quantiser(self.continuous(offsets, mask), mask))

    def continuous(self, offsets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Offsets [B, T, 3V] or [B, T, V, 3] → latents [B, T, H·C] that are not quantised yet."""
        hidden = self.encoder(F.leaky_relu(self.into(offsets.flatten(2)), self.dims.slope), mask)
        return self.to_latent(hidden)

    def decode(self, latents: Tensor, mask: Tensor | None = None) -> Tensor:
        """Latents [B, T, H·C] → offsets [B, T, 3V] from the template (eq. 6)."""
        return self.out(self.decoder(self.from_latent(latents), mask))

    def still(self) -> Tensor:
        """The latent [H·C] of a face at rest: of the first of two still frames."""
        weight = self.into.weight
        return self.encode(weight.new_zeros(1, 2, weight.shape[1]))[0, 0]
