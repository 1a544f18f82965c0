"""The noise that frames are drawn from: each stream's own process, which remembers, so that faces do not tremble."""

import numpy as np
import torch
from torch import Tensor

_ONLY = np.zeros(1, np.int64)  # the rows of a stream alone


class AutoregressiveNoise:
    """Of ``count`` streams: first-order autoregressive processes of unit variance, scaled by the temperature."""

    def __init__(self, like: Tensor, temperature: Tensor | float, memory: Tensor | float, count: int = 1) -> None:
        """``like``: a latent [H·C]. ``memory``: the correlation of a frame's noise with that of the frame before.

        Temperature and memory are numbers, or [H·C] with one for each of a latent's.
        """
        self._temperature = torch.as_tensor(temperature).to(like)
        self._memory = torch.as_tensor(memory).to(like)
        self._renewal = (1 - self._memory.square()).sqrt()
        self._random = [torch.Generator() for _ in range(count)]
        self._last = like.new_zeros(count, len(like))
        self._begun = np.zeros(count, bool)

    def reset(self, seed: int, row: int = 0) -> None:
        """As before the first frame of the stream ``row``."""
        self._random[row].manual_seed(seed)
        self._begun[row] = False

    def draw(self, frames: int, rows: np.ndarray = _ONLY) -> Tensor:
        """The noise of the next ``frames`` of each of the streams ``rows``, int64 [n]: [n, frames, H·C]."""
        places = torch.from_numpy(rows).to(self._last.device)
        fresh = torch.stack([self._fresh(row, frames) for row in rows]).to(self._last)
        begun = torch.from_numpy(self._begun[rows]).to(fresh.device)[:, None]
        last = torch.where(begun, self._memory * self._last[places] + self._renewal * fresh[:, 0], fresh[:, 0])
        noise = [last]
        for k in range(1, frames):
            noise.append(self._memory * noise[-1] + self._renewal * fresh[:, k])
        self._last[places] = noise[-1]
        self._begun[rows] = True
        return torch.stack(noise, dim=1) * self._temperature

    def _fresh(self, row: int, frames: int) -> Tensor:
        """[frames, H·C], frame by frame: drawn at once they would be other numbers."""
        shape = (1, self._last.shape[1])
        return torch.cat([torch.randn(shape, generator=self._random[row]) for _ in range(frames)])
