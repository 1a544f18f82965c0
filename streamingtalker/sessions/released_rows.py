"""The published network for many streams at once."""

from collections.abc import Iterator
from itertools import groupby
from typing import cast

import numpy as np
import torch
from torch import Tensor

from streamingtalker.audio.posteriors import Recogniser
from streamingtalker.config import Sampling
from streamingtalker.released import ReleasedTalker
from streamingtalker.sessions.ears import StreamEar
from streamingtalker.sessions.rings import NoiseRows, RingRows

TOGETHER = 16  # windows decoded at once


class ReleasedRows:
    """The states of ``count`` streams. Row by row they give what a ``FaceStreamer`` of its own would, to 1e-5.

    Latents are drawn for all rows of a batch at once; blocks of frames that are complete at the same time are decoded
    together. HuBERT hears each stream alone.
    """

    def __init__(self, talker: ReleasedTalker, count: int, sampling: Sampling | None = None) -> None:
        """Raises SamplingError."""
        begun = talker.state(sampling=sampling)
        self.talker = talker
        self.count = count
        self.fps = talker.dims.fps
        self.moods = talker.dims.moods
        self.vertices = talker.dims.motion.vertices
        self.warm_up = 0
        self._network = begun.network
        self._noise = NoiseRows(count, talker.start, begun.sampling.temperature, begun.sampling.noise_memory)
        self._rings = RingRows(talker.predictor.state(count).caches, kinds=1)
        self._styles = begun.style.detach().repeat(count, 1, 1)
        self._latents = talker.start.expand(count, 1, -1).clone()
        self._positions = np.zeros(count, np.int64)  # tokens so far
        self._decoded = np.zeros(count, np.int64)  # frames so far
        self._recent = [talker.start[None]] * count  # [n, H·C] the newest decoded latents, at most a window
        self._waiting = [talker.start[None][:0]] * count  # [m, H·C] latents after them, less than a block

    def open_recogniser(self) -> Recogniser | None:
        """None: HuBERT is all that hears."""
        return None

    def ear(self, recognises: bool) -> StreamEar:
        """What makes the sound of one stream into audio features."""
        return StreamEar(self.talker.audio.stream())

    @torch.inference_mode()
    def reset(self, row: int, seed: int, identity: int = 0) -> None:
        """A stream begins. Raises IdentityError."""
        talker = self.talker
        self._styles[row] = talker.predictor.style(talker.identity(identity))
        self._noise.reset(row, seed)
        self._rings.reset(row)
        self._latents[row] = talker.start
        self._positions[row] = self._decoded[row] = 0
        self._recent[row], self._waiting[row] = talker.start[None], talker.start[None][:0]

    def hear(self, rows: np.ndarray, inputs: Tensor) -> Tensor:
        """Audio features [n, k, D] are heard as they are."""
        return inputs.to(self._latents)

    def draw(self, rows: np.ndarray, audio: Tensor, moods: Tensor) -> list[np.ndarray]:
        """Audio features [n, k, D] of each row's next frames → the offsets [m, V, 3] of the blocks they complete."""
        for row, latents in zip(rows, self._drawn(rows, audio), strict=True):
            self._waiting[row] = torch.cat([self._waiting[row], latents])
        made: dict[int, list[np.ndarray]] = {int(row): [] for row in rows}
        while blocks := [(row, size) for row in made if (size := self._block(row))]:
            for row, frames in self._decode(blocks):
                made[row].append(frames)
        nothing = np.zeros((0, self.vertices, 3), np.float32)
        return [np.concatenate([nothing, *made[int(row)]]) for row in rows]

    def rest(self, row: int) -> np.ndarray:
        """The sound is over: the offsets [m, V, 3] of the block that was begun."""
        frames = len(self._waiting[row])
        return next(self._decode([(row, frames)]))[1] if frames else np.zeros((0, self.vertices, 3), np.float32)

    def _drawn(self, rows: np.ndarray, audio: Tensor) -> Tensor:
        """The next latents [n, k, H·C]."""
        frames = audio.shape[1]
        device = self._latents.device
        places, positions = torch.from_numpy(rows).to(device), torch.from_numpy(self._positions[rows]).to(device)
        predictor, latent_map = self._network.predictor, self._network.latent
        begun = latent_map.begin(self._noise.draw(rows, places, frames))
        heard, style = predictor.hear(audio), self._styles[places]
        state = self._rings.batch(rows, frames)
        latents = [self._latents[places]]
        for k in range(frames):
            now = [layer[:, k : k + 1] for layer in heard]
            condition = predictor.follow(latents[-1], now, style, positions[:, None] + k, state)
            latents.append(latent_map(begun[:, k : k + 1], condition))
        self._positions[rows] += frames
        self._latents[places] = latents[-1]
        return torch.cat(latents[1:], dim=1)

    def _block(self, row: int) -> int:
        """Frames in the row's next block, 0 while it is not complete."""
        size = self.talker.dims.block_at(int(self._decoded[row]))
        return size if len(self._waiting[row]) >= size else 0

    def _decode(self, blocks: list[tuple[int, int]]) -> Iterator[tuple[int, np.ndarray]]:
        """Each row's next block of so many frames → row and offsets [frames, V, 3]; blocks alike go together."""
        for row, frames in blocks:
            joined = torch.cat([self._recent[row], self._waiting[row][:frames]])
            self._recent[row] = joined[-self.talker.dims.window :]
            self._waiting[row] = self._waiting[row][frames:]
            self._decoded[row] += frames

        def alike(block: tuple[int, int]) -> tuple[int, int]:
            return len(self._recent[block[0]]), block[1]

        for (_, frames), group in groupby(sorted(blocks, key=alike), alike):
            members = [row for row, _ in group]
            for start in range(0, len(members), TOGETHER):
                part = members[start : start + TOGETHER]
                offsets = cast(Tensor, self._network.decoder(torch.stack([self._recent[row] for row in part]), frames))
                yield from zip(part, offsets.unflatten(2, (-1, 3)).cpu().numpy(), strict=True)
