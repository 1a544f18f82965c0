"""Recordings of faces as the published network trains on them: whole sequences of vertices beside their sound."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streamingtalker.data.dataset import Batches
from streamingtalker.evaluation.sequences import Target, TestBed


@dataclass(frozen=True)
class Take:
    """One sequence."""

    offsets: Tensor  # float32 [T, 3V] from the speaker's own template
    sound: Tensor  # float32 [n] at 16 kHz, exactly as long
    identity: int  # −1: nobody the network learns


def load_take(bed: TestBed, target: Target) -> Take:
    """Read a sequence from disk."""
    vertices = np.concatenate(list(bed.true_motion(target)))
    offsets = vertices - target.templates(0, len(vertices))
    return Take(torch.from_numpy(offsets).flatten(1), torch.from_numpy(bed.sound(target)), target.identity)


@dataclass(frozen=True)
class TakeBatch:
    """Sequences side by side, shorter ones padded at their end."""

    offsets: Tensor  # [B, T, 3V]
    sounds: tuple[Tensor, ...]  # [n] each, not padded: HuBERT would hear it
    identity: Tensor  # [B, K] one-hot
    mask: Tensor  # [B, T] 1 inside the sequence

    @classmethod
    def of(cls, takes: list[Take], styles: int) -> "TakeBatch":
        """Pad to the longest."""
        frames = max(len(take.offsets) for take in takes)
        rows = [F.pad(take.offsets, (0, 0, 0, frames - len(take.offsets))) for take in takes]
        masks = [F.pad(torch.ones(len(take.offsets)), (0, frames - len(take.offsets))) for take in takes]
        identity = torch.stack([F.one_hot(torch.tensor(max(take.identity, 0)), styles).float() for take in takes])
        return cls(torch.stack(rows), tuple(take.sound for take in takes), identity, torch.stack(masks))

    def to(self, device: torch.device) -> "TakeBatch":
        """The batch on another device."""
        sounds = tuple(sound.to(device) for sound in self.sounds)
        return TakeBatch(self.offsets.to(device), sounds, self.identity.to(device), self.mask.to(device))


def take_batches(bed: TestBed, targets: list[Target], styles: int, size: int, seed: int) -> Batches[TakeBatch]:
    """Batches of ``size`` sequences, every sequence once an epoch, read from disk when their turn comes."""
    groups = _shuffled(len(targets), size, np.random.default_rng(seed))
    return Batches(groups, lambda group: TakeBatch.of([load_take(bed, targets[index]) for index in group], styles))


def _shuffled(count: int, size: int, random: np.random.Generator) -> Iterator[list[int]]:
    while True:
        order = random.permutation(count)
        yield from (order[first : first + size].tolist() for first in range(0, count, size))
