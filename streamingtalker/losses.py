"""Training losses, eq. 7–13 of the paper and the auxiliary ones of the default model.

Motion is compared through the basis' coefficients, from which the vertices that matter (the *probe*: every lip vertex
and a share of the others) follow linearly. Masks [B, T] say which frames are inside their clip; all losses are means
over those frames. Distances are counted in the lips' root-mean-square motion, so that weights mean the same for any
face.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamingtalker.topology import Topology
from streamingtalker.vqvae import MotionBasis, Quantised

NEAR, CLOSURE = 0.002, 3.0  # metres between lips that count as near, and how much more their errors weigh


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the frames of ``mask`` [B, T] of values [B, T, …], further dimensions averaged."""
    per_frame = values.flatten(2).mean(2) if values.dim() > 2 else values
    return (per_frame * mask).sum() / mask.sum().clamp_min(1)


def quantisation_loss(quantised: Quantised, beta: float = 0.25) -> Tensor:
    """L_quant (eq. 9): mean (sg[ẑ] − z_q)² + β · mean (ẑ − sg[z_q])²."""
    return quantised.codebook_loss + beta * quantised.commitment_loss


def latent_loss(predicted: Tensor, true: Tensor, mask: Tensor, upper: int = 0) -> Tensor:
    """L_latent (eq. 10): L1 of latents [B, T, H·C], but the square for the last ``upper`` of them.

    What minimises the square is the mean, from which diffusion draws all of the truth's variety; L1 gives the median.
    """
    difference = predicted - true
    kept = difference.shape[-1] - upper
    return masked_mean(torch.cat([difference[..., :kept].abs(), difference[..., kept:].square()], dim=-1), mask)


@dataclass(frozen=True)
class MotionLosses:
    """Terms over vertices, each a scalar."""

    vertex_l1: Tensor  # L_rec of eq. 8
    vertex_l2: Tensor  # L_vert, eq. 11
    velocity: Tensor  # L_vel, eq. 12
    lip_gap: Tensor  # L1 of the vectors between upper and lower inner lip, most of all where they are near


class MotionLoss(nn.Module):
    """Compares motions given as coefficients [B, T, K]."""

    probe: Tensor
    gaps: Tensor
    rest: Tensor

    def __init__(self, basis: MotionBasis, face: Topology, others: int = 400) -> None:
        super().__init__()
        synthesis = basis.synthesis.unflatten(1, (-1, 3))  # [K, V, 3]
        lips = torch.from_numpy(face.lips).long()
        stride = max(face.vertex_count // max(others, 1), 1)
        chosen = torch.cat([lips, torch.arange(0, face.vertex_count, stride)])
        probe = synthesis[:, chosen]
        lip_motion = synthesis[:, lips].square().sum((0, 2)).mean().sqrt()  # coefficients have about unit variance
        upper, lower = torch.from_numpy(face.lip_pairs).long().T
        gaps = synthesis[:, upper] - synthesis[:, lower]
        rest = basis.mean.unflatten(0, (-1, 3)) + torch.from_numpy(face.template).to(basis.mean)
        self.register_buffer("probe", probe.flatten(1) / lip_motion)  # [K, P·3]
        self.register_buffer("gaps", gaps.flatten(1) / lip_motion)  # [K, 15]
        self.register_buffer("rest", (rest[upper] - rest[lower]).flatten() / lip_motion)  # [15]
        self.near = NEAR / float(lip_motion)

    def forward(self, predicted: Tensor, true: Tensor, mask: Tensor) -> MotionLosses:
        """Coefficients [B, T, K] each."""
        difference = (predicted - true).float()
        vertices = difference @ self.probe
        steps = vertices[:, 1:] - vertices[:, :-1]
        return MotionLosses(
            vertex_l1=masked_mean(vertices.abs(), mask),
            vertex_l2=masked_mean(vertices.square(), mask),
            velocity=masked_mean(steps.square(), mask[:, 1:]),
            lip_gap=masked_mean(self._gap_errors(difference, true), mask),
        )

    def _gap_errors(self, difference: Tensor, true: Tensor) -> Tensor:
        """[B, T, 5]: a millimetre counts more the nearer the lips really are, up to 1 + CLOSURE times."""
        errors = (difference @ self.gaps).unflatten(-1, (-1, 3)).abs().mean(-1)
        opening = (true.float() @ self.gaps + self.rest).unflatten(-1, (-1, 3)).norm(dim=-1)
        return errors * (1 + CLOSURE * torch.exp(-opening / self.near))


def phone_loss(logits: Tensor, phones: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of phone logits [B, T, P] against indices [B, T]; −1 is no phone."""
    known = mask * (phones >= 0)
    entropy = F.cross_entropy(logits.float().transpose(1, 2), phones.clamp_min(0), reduction="none")
    return masked_mean(entropy, known)
