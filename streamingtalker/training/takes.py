"""Recordings of faces as the published network trains on them: whole sequences of vertices beside their sound."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

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


class TakeBatches(Iterator[TakeBatch]):
    """Endless batches of ``size`` sequences, every sequence once an epoch, read from disk when their turn comes."""

    def __init__(self, bed: TestBed, targets: list[Target], styles: int, size: int, seed: int) -> None:
        self._bed = bed
        self._targets = targets
        self._styles = styles
        self._groups = self._shuffled(np.random.default_rng(seed), size)
        self._others = 0

    def begin(self, done: int, rank: int = 0, count: int = 1) -> None:
        """Go on after ``done`` batches, as process ``rank`` of ``count`` that take turns."""
        self._skip(done * count + rank)
        self._others = count - 1

    def __next__(self) -> TakeBatch:
        group = next(self._groups)
        self._skip(self._others)
        return TakeBatch.of([load_take(self._bed, self._targets[index]) for index in group], self._styles)

    def _skip(self, count: int) -> None:
        for _ in range(count):
            next(self._groups)

    def _shuffled(self, random: np.random.Generator, size: int) -> Iterator[list[int]]:
        while True:
            order = random.permutation(len(self._targets))
            yield from (order[first : first + size].tolist() for first in range(0, len(order), size))
