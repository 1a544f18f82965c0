"""Stage 1: the latent space of facial motion, a VQ-VAE with a causal encoder and decoder.

Motion enters as vertex offsets from the template, is projected on a linear basis (``MotionBasis``), encoded, quantised
component by component (eq. 1) and decoded again (eq. 2). Encoder and decoder are causal, so a stream of latents decodes
frame by frame to exactly the frames of the whole clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from streamingtalker.config import MotionDims
from streamingtalker.layers import ConvStack, StackState


class MotionBasis(nn.Module):
    """A linear basis of vertex offsets: K coefficients ↔ V vertices.

    ``analysis`` and ``synthesis`` come from a principal component analysis of weighted vertices. Up to one common
    factor, a squared distance of coefficients is the weighted squared distance of vertices. Where brows and lids have
    a basis of their own (the last coefficients), it moves their vertices and no others, and has a factor of its own.
    """

    mean: Tensor
    analysis: Tensor
    synthesis: Tensor

    def __init__(self, vertices: int, coefficients: int, upper: int = 0) -> None:
        super().__init__()
        self.lower = coefficients
        coefficients += upper
        self.register_buffer("mean", torch.zeros(3 * vertices))  # metres
        self.register_buffer("analysis", torch.zeros(3 * vertices, coefficients))
        self.register_buffer("synthesis", torch.zeros(coefficients, 3 * vertices))

    def coefficients(self, offsets: Tensor) -> Tensor:
        """Offsets [..., V, 3] in metres → coefficients [..., K], about unit variance in the first."""
        return (offsets.flatten(-2) - self.mean) @ self.analysis

    def offsets(self, coefficients: Tensor) -> Tensor:
        """Coefficients [..., K] → offsets [..., V, 3] in metres."""
        flat = torch.addmm(self.mean, coefficients.reshape(-1, coefficients.shape[-1]), self.synthesis)
        return flat.view(*coefficients.shape[:-1], -1, 3)

    @torch.no_grad()
    def fit(self, offsets: np.ndarray, weights: np.ndarray, upper: np.ndarray | None = None) -> "MotionBasis":
        """Set the basis from sample ``offsets`` [N, V, 3] in metres and importance ``weights`` [V] > 0 of the vertices.

        ``upper`` bool [V]: the vertices of brows and lids, which get the last ``upper_basis`` coefficients.
        """
        flat = torch.from_numpy(offsets.reshape(len(offsets), -1)).double()
        root = torch.from_numpy(weights).double().sqrt().repeat_interleave(3)
        self.mean.copy_(flat.mean(0))
        self.analysis.zero_()
        self.synthesis.zero_()
        centred = flat - flat.mean(0)
        above = torch.zeros(len(weights), dtype=torch.bool) if upper is None else torch.from_numpy(upper)
        self._fit(centred, root, ~above, 0, self.lower)
        if len(self.synthesis) > self.lower:
            self._fit(centred, root, above, self.lower, len(self.synthesis))
        return self

    def _fit(self, centred: Tensor, root: Tensor, members: Tensor, first: int, last: int) -> None:
        """Coefficients [first, last) from the vertices ``members`` of ``centred`` offsets [N, V·3]."""
        inside = members.repeat_interleave(3)
        seen, root = centred[:, inside] * root[inside], root[inside]
        energy, left = torch.linalg.eigh(seen @ seen.T)  # of N × N: samples are fewer than vertices
        energy, left = energy.flip(0), left.flip(1)
        found = min(last - first, int((energy > 1e-12 * energy[0]).sum()))
        spread = energy[:found].sqrt()
        components = (left[:, :found] / spread).T @ seen
        unit = spread[0] / len(seen) ** 0.5  # the first coefficient's standard deviation
        self.analysis[inside, first : first + found] = ((components * root).T / unit).float()
        self.synthesis[first : first + found, inside] = (components / root * unit).float()


class Quantised(NamedTuple):
    """What the quantiser gives."""

    latents: Tensor  # [B, T, H·C] codes side by side, gradients straight through
    indices: Tensor  # int64 [B, T, H]
    codebook_loss: Tensor  # mean (sg[ẑ] − z_q)², the first term of eq. 9
    commitment_loss: Tensor  # mean (ẑ − sg[z_q])², the second


class Quantiser(nn.Module):
    """Nearest code by squared distance for each of a frame's H components (eq. 1)."""

    def __init__(self, dims: MotionDims) -> None:
        super().__init__()
        self.dims = dims
        books = 1 if dims.shared_codebook else dims.all_components
        self.codebook = nn.Parameter(torch.randn(books, dims.codes, dims.code_dim))

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantised:
        """Continuous latents [B, T, H·C] → quantised; losses over the frames of ``mask`` [B, T]."""
        split = self.split(latents)
        indices = self.nearest(split)
        codes = self.lookup(indices)
        weight = torch.ones_like(split[..., 0]) if mask is None else mask[..., None].expand_as(split[..., 0])
        codebook = _masked_mean((split.detach() - codes).square().mean(-1), weight)
        commitment = _masked_mean((split - codes.detach()).square().mean(-1), weight)
        straight = split + (codes - split).detach()
        return Quantised(straight.flatten(-2), indices, codebook, commitment)

    def split(self, latents: Tensor) -> Tensor:
        """[..., H·C] → [..., H, C]."""
        return latents.unflatten(-1, (self.dims.all_components, self.dims.code_dim))

    def nearest(self, split: Tensor) -> Tensor:
        """[..., H, C] → indices [..., H] of the nearest codes."""
        book = self.codebook.expand(self.dims.all_components, -1, -1)
        dots = torch.einsum("...hc,hnc->...hn", split, book)
        return (book.square().sum(-1) - 2 * dots).argmin(-1)

    def lookup(self, indices: Tensor) -> Tensor:
        """Indices [..., H] → codes [..., H, C]."""
        book = self.codebook.expand(self.dims.all_components, -1, -1)
        return book[torch.arange(self.dims.all_components, device=indices.device), indices]


@dataclass
class FaceState:
    """Buffers of a stream of latents to be decoded, one for each part of the face."""

    parts: list[StackState]

    def reset(self) -> None:
        """As before the first frame."""
        for part in self.parts:
            part.reset()


class FaceStack(nn.Module):
    """A causal convolution stack, or two side by side that know nothing of each other: mouth, and brows and lids."""

    def __init__(self, inputs: Sequence[int], widths: Sequence[int], outputs: Sequence[int], dims: MotionDims) -> None:
        super().__init__()
        self.inputs = list(inputs)
        self.parts = nn.ModuleList(
            ConvStack(*sizes, dims.dilations) for sizes in zip(inputs, widths, outputs, strict=True)
        )

    def forward(self, frames: Tensor, state: FaceState | None = None) -> Tensor:
        """[B, T, inputs] → [B, T, outputs]."""
        pieces = frames.split(self.inputs, dim=-1)
        states = state.parts if state else [None] * len(pieces)
        return torch.cat([part(*each) for part, *each in zip(self.parts, pieces, states, strict=True)], dim=-1)

    def state(self, batch: int) -> FaceState:
        """Buffers for a stream."""
        return FaceState([cast(ConvStack, part).state(batch) for part in self.parts])


class Gaussian(nn.Module):
    """In a quantiser's place, to compare: a plain VAE's N(μ, σ²). Latents are μ; in training they are drawn."""

    beta = 0.01  # weight of the divergence: enough to keep the latents together, not so much that they say nothing

    def __init__(self, dims: MotionDims) -> None:
        super().__init__()
        self.log_variance = nn.Linear(dims.latent, dims.latent)

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantised:
        """Latents [B, T, H·C] as a ``Quantised`` that has no codes; its losses are β·KL[N(μ, σ²) ‖ N(0, 1)] and 0."""
        log_variance = self.log_variance(latents)
        per_frame = (latents.square() + log_variance.exp() - 1 - log_variance).mean(-1) / 2
        weight = torch.ones_like(per_frame) if mask is None else mask
        noise = torch.randn_like(latents) if self.training else torch.zeros_like(latents)
        drawn = latents + noise * (log_variance / 2).exp()
        nothing = torch.zeros_like(latents[..., :0], dtype=torch.long)
        return Quantised(drawn, nothing, self.beta * _masked_mean(per_frame, weight), latents.new_zeros(()))


class Untouched(nn.Module):
    """In encoder's, quantiser's and decoder's place, to compare: what comes in goes out."""

    def forward(self, frames: Tensor, state: FaceState | None = None) -> Tensor:
        """[B, T, K] → [B, T, K]."""
        return frames

    def state(self, batch: int) -> FaceState:
        """There is none."""
        return FaceState([])


class VqVae(nn.Module):
    """Vertex offsets ↔ latents. Latents leave and enter normalised to zero mean and unit variance over the corpus."""

    latent_mean: Tensor
    latent_scale: Tensor

    def __init__(self, dims: MotionDims) -> None:
        super().__init__()
        self.dims = dims
        self.basis = MotionBasis(dims.vertices, dims.basis, dims.upper_basis)
        parts = 2 if dims.upper_components else 1
        widths = [dims.width, dims.upper_width][:parts]
        coefficients = [dims.basis, dims.upper_basis][:parts]
        latents = [dims.components * dims.code_dim, dims.upper_latent][:parts]
        bare = dims.bottleneck == "none"
        assert not bare or dims.latent == dims.coefficients, "without a VQ-VAE a latent is the coefficients"
        self.encoder = Untouched() if bare else FaceStack(coefficients, widths, latents, dims)
        self.quantiser = Gaussian(dims) if dims.bottleneck == "gaussian" else Quantiser(dims)
        self.decoder = Untouched() if bare else FaceStack(latents, widths, coefficients, dims)
        self.register_buffer("latent_mean", torch.zeros(dims.latent))
        self.register_buffer("latent_scale", torch.ones(dims.latent))

    def encode(self, offsets: Tensor) -> Tensor:
        """Offsets [B, T, V, 3] in metres → quantised latents z_q [B, T, H·C] (eq. 3)."""
        return self.encode_coefficients(self.basis.coefficients(offsets))

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, H·C] → offsets [B, T, V, 3] in metres (eq. 6)."""
        return self.basis.offsets(self.decode_coefficients(latents))

    def encode_coefficients(self, coefficients: Tensor) -> Tensor:
        """As ``encode``, from the coefficients [B, T, K] of the basis."""
        latents = self.encoder(coefficients)
        if self.dims.bottleneck != "none":
            latents = cast(Quantised, self.quantiser(latents)).latents
        return (latents - self.latent_mean) / self.latent_scale

    def decode_coefficients(self, latents: Tensor, state: FaceState | None = None) -> Tensor:
        """As ``decode``, to the coefficients [B, T, K] of the basis; with a ``state``, the next piece of a stream."""
        return self.decoder(latents * self.latent_scale + self.latent_mean, state)

    def state(self, batch: int = 1) -> FaceState:
        """Buffers for a stream of latents to be decoded."""
        return self.decoder.state(batch)

    def decode_next(self, latents: Tensor, state: FaceState) -> Tensor:
        """The next latents [B, k, H·C] of a stream → their offsets [B, k, V, 3] in metres."""
        return self.basis.offsets(self.decode_coefficients(latents, state))

    @torch.no_grad()
    def still(self) -> Tensor:
        """The latent [H·C] of a face at rest: of the first of two still frames."""
        zeros = torch.zeros(1, 2, self.dims.vertices, 3, device=self.latent_mean.device)
        return self.encode(zeros)[0, 0]


def _masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp_min(1)
