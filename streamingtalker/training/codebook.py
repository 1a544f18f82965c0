"""What keeps a codebook in use. Left to gradients alone, most codes are never the nearest and so never learn."""

import torch
from torch import Tensor, nn

from streamingtalker.training.machines import ALONE, Machines
from streamingtalker.vqvae import Quantiser


class CodeKeeper(nn.Module):
    """Begins a codebook from data and replaces the codes nobody uses."""

    usage: Tensor
    begun: Tensor

    def __init__(self, quantiser: Quantiser, machines: Machines = ALONE) -> None:
        super().__init__()
        self._quantiser = [quantiser]  # a list, so that the codebook is not counted twice
        self._machines = machines
        book = quantiser.codebook
        self.register_buffer("usage", torch.ones(book.shape[:2], device=book.device))
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool, device=book.device))

    @property
    def quantiser(self) -> Quantiser:
        """Whose codebook it is."""
        return self._quantiser[0]

    @torch.no_grad()
    def observe(self, split: Tensor, spent: float) -> None:
        """See the encoder's outputs [n, H, C] of a step."""
        pools = self._pools(split)
        if not self.begun:
            self.begun.fill_(True)
            for book, pool in zip(self.quantiser.codebook, pools, strict=True):
                book.copy_(cluster(pool, len(book)))
        indices = self._indices(split)
        for book, (used, pool) in enumerate(zip(indices, pools, strict=True)):
            counts = torch.bincount(used, minlength=self.usage.shape[1]).float() / len(used)
            self.usage[book].lerp_(counts * self.usage.shape[1], 0.02)
            dead = (self.usage[book] < 0.02).nonzero()[:, 0]
            if len(dead) and spent < 0.8:
                self.quantiser.codebook[book, dead] = pool[torch.randint(len(pool), (len(dead),))]
                self.usage[book, dead] = 1.0
        self.quantiser.codebook.copy_(self._machines.same(self.quantiser.codebook.detach()))

    def _pools(self, split: Tensor) -> list[Tensor]:
        shared = len(self.quantiser.codebook) == 1
        return [split.flatten(0, 1)] if shared else list(split.unbind(1))

    def _indices(self, split: Tensor) -> list[Tensor]:
        indices = self.quantiser.nearest(split)
        return [indices.flatten()] if len(self.quantiser.codebook) == 1 else list(indices.unbind(1))


def cluster(points: Tensor, count: int, rounds: int = 10) -> Tensor:
    """k-means: ``count`` centres [count, C] of points [n, C]."""
    centres = points[torch.randint(len(points), (count,))].clone()
    for _ in range(rounds):
        nearest = torch.cdist(points, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        sizes = torch.bincount(nearest, minlength=count)[:, None]
        centres = torch.where(sizes > 0, sums / sizes.clamp_min(1), centres)
    return centres
