"""The published network for many streams at once."""

from itertools import groupby, islice

import numpy as np
import torch
from torch import Tensor

from streamingtalker.audio.posteriors import Recogniser
from streamingtalker.released import ReleasedTalker
from streamingtalker.released.stream import LatentBlock, LatentBlocks
from streamingtalker.sessions.ears import StreamEar
from streamingtalker.sessions.rings import RingRows

TOGETHER = 16  # windows decoded at once


class ReleasedRows:
    """The states of ``count`` streams. Row by row they give what a ``FaceStreamer`` of its own would, to 1e-5.

    Latents are drawn for all rows of a batch at once; blocks of frames that are complete at the same time are decoded
    together. HuBERT hears each stream alone.
    """

    def __init__(self, talker: ReleasedTalker, count: int) -> None:
        """Raises SamplingError."""
        begun = talker.state()
        self.talker = talker
        self.count = count
        self.fps = talker.dims.fps
        self.moods = talker.dims.moods
        self.vertices = talker.dims.motion.vertices
        self.warm_up = 0
        self._network = begun.network
        self._noise = talker.noise(talker.dims.sampling, count)
        self._rings = RingRows(talker.predictor.state(count).caches, kinds=1)
        self._styles = begun.style.detach().repeat(count, 1, 1)
        self._latents = talker.start.expand(count, 1, -1).clone()
        self._positions = np.zeros(count, np.int64)  # tokens so far
        self._blocks = [LatentBlocks(talker.dims) for _ in range(count)]

    def open_recogniser(self) -> Recogniser | None:
        """None: HuBERT is all that hears."""
        return None

    def ear(self, recognises: bool) -> StreamEar:
        """What makes the sound of one stream into audio features."""
        return StreamEar(self.talker.audio.stream())

    def identity(self, index: int) -> Tensor:
        """The style of a speaker. Raises IdentityError."""
        return self.talker.identity(index)

    def reset(self, row: int, seed: int, identity: int = 0) -> None:
        """A stream begins. Raises IdentityError."""
        talker = self.talker
        self._styles[row] = talker.predictor.style(talker.identity(identity))
        self._noise.reset(seed, row)
        self._rings.reset(row)
        self._latents[row] = talker.start
        self._blocks[row].reset(talker.start)
        self._positions[row] = 0

    def hear(self, rows: np.ndarray, inputs: Tensor) -> Tensor:
        """Audio features [n, k, D] are heard as they are."""
        return inputs.to(self._latents)

    def draw(self, rows: np.ndarray, audio: Tensor, moods: Tensor) -> list[np.ndarray]:
        """Audio features [n, k, D] of each row's next frames → the offsets [m, V, 3] of the blocks they complete."""
        drawn = zip(rows, self._drawn(rows, audio), strict=True)
        return self._offsets([self._blocks[row].add(latents) for row, latents in drawn])

    def rest(self, row: int) -> np.ndarray:
        """The sound is over: the offsets [m, V, 3] of the block that was begun."""
        return self._offsets([self._blocks[row].rest()])[0]

    def _drawn(self, rows: np.ndarray, audio: Tensor) -> Tensor:
        """The next latents [n, k, H·C]."""
        frames = audio.shape[1]
        device = self._latents.device
        places, positions = torch.from_numpy(rows).to(device), torch.from_numpy(self._positions[rows]).to(device)
        noise, state = self._noise.draw(frames, rows), self._rings.batch(rows, frames)
        before, style = self._latents[places], self._styles[places]
        latents = self._network.draw(before, audio, style, noise, positions[:, None], state)
        self._positions[rows] += frames
        self._latents[places] = latents[:, -1:]
        return latents

    def _offsets(self, blocks: list[list[LatentBlock]]) -> list[np.ndarray]:
        """The blocks of each of n streams → their offsets [m, V, 3]."""
        made = iter(self._decoded([block for each in blocks for block in each]))
        nothing = np.zeros((0, self.vertices, 3), np.float32)
        return [np.concatenate([nothing, *islice(made, len(each))]) for each in blocks]

    def _decoded(self, blocks: list[LatentBlock]) -> list[np.ndarray]:
        """The offsets [frames, V, 3] of each block; blocks alike go together."""

        def alike(index: int) -> tuple[int, int]:
            return len(blocks[index].latents), blocks[index].frames

        made: dict[int, np.ndarray] = {}
        for (_, frames), group in groupby(sorted(range(len(blocks)), key=alike), alike):
            members = list(group)
            for start in range(0, len(members), TOGETHER):
                part = members[start : start + TOGETHER]
                offsets = self._network.decode(torch.stack([blocks[index].latents for index in part]), frames)
                made.update(zip(part, offsets.cpu().numpy(), strict=True))
        return [made[index] for index in range(len(blocks))]
