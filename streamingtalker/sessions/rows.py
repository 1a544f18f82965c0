"""The default network for many streams at once: every row of its buffers is a stream, any rows advance together."""

from typing import cast

import numpy as np
import torch
from torch import Tensor

from streamingtalker.audio.encoder import SpeechEncoder
from streamingtalker.audio.posteriors import Recogniser
from streamingtalker.config import Sampling
from streamingtalker.diffusion import Sampler, check
from streamingtalker.sessions.ears import SpeechEar
from streamingtalker.sessions.rings import RingRows, StackRows
from streamingtalker.talker import Talker
from streamingtalker.vqvae import FaceState


class TalkerRows:
    """The states of ``count`` streams. Row by row they give what a ``FaceStreamer`` of their own would, to 1e-5.

    A batch is the rows it is made of, int64 [n], ascending. Memory is taken here, once.
    """

    def __init__(self, talker: Talker, count: int, sampling: Sampling | None = None) -> None:
        """Raises SamplingError."""
        sampling = sampling or talker.dims.sampling
        check(sampling)
        self.talker = talker
        self.count = count
        self.fps = talker.dims.fps
        self.moods = talker.dims.moods
        self.vertices = talker.dims.motion.vertices
        self.encoder = cast(SpeechEncoder, talker.audio)
        self.warm_up = self.encoder.dims.lookahead  # inputs before that of frame 0
        self._mixing = talker.mixing(sampling)
        self._sampler: Sampler = talker.head.sampler(sampling)
        self._noise = _Noise(talker, sampling, count)
        self._heard = StackRows(self.encoder.network.state(count))
        self._decoded = [StackRows(part) for part in talker.vqvae.state(count).parts]
        self._rings = RingRows(talker.predictor.state(count * len(self._mixing)).caches, len(self._mixing))
        self._latents = talker.start.expand(count, 1, -1).clone()
        self._identities = talker.start.new_zeros(count, 1, talker.dims.style_width)

    def open_recogniser(self) -> Recogniser | None:
        """One of those that hear for the streams; every thread needs its own."""
        return self.encoder.recogniser()

    def ear(self, recognises: bool) -> SpeechEar:
        """What makes the sound of one stream into inputs; knows nothing of the other streams."""
        return SpeechEar(self.encoder, recognises)

    def reset(self, row: int, seed: int, identity: int = 0) -> None:
        """A stream begins. Raises IdentityError."""
        self._identities[row] = self.talker.identity(identity)[0]
        self._noise.reset(row, seed)
        self._rings.reset(row)
        for stack in (self._heard, *self._decoded):
            stack.reset(row)
        self._latents[row] = self.talker.start

    def hear(self, rows: np.ndarray, inputs: Tensor) -> Tensor:
        """The next inputs [n, k, 3, bands + classes] of each row → audio frames [n, k, A]."""
        places = self._places(rows)
        state = self._heard.take(places)
        audio = self.encoder.network(self.encoder.stack(inputs.to(self._latents).flatten(1, 2)), state)
        self._heard.put(places, state)
        return audio

    def draw(self, rows: np.ndarray, audio: Tensor, moods: Tensor) -> Tensor:
        """Audio frames [n, k, A] and intensities [n, k, moods] of the next frames → their offsets [n, k, V, 3]."""
        places, frames = self._places(rows), audio.shape[1]
        style = self.talker.style(self._identities[places], moods.to(audio))
        noise = self._noise.draw(rows, places, frames)
        state = self._rings.batch(rows, frames)
        latents = self.talker.draw(self._latents[places], audio, style, noise, state, self._sampler, self._mixing)
        self._latents[places] = latents[:, -1:]
        return self._decode(places, latents)

    def _decode(self, places: Tensor, latents: Tensor) -> Tensor:
        states = [part.take(places) for part in self._decoded]
        offsets = self.talker.vqvae.decode_next(latents, FaceState(states))
        for part, state in zip(self._decoded, states, strict=True):
            part.put(places, state)
        return offsets

    def _places(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(rows).to(self._latents.device)


class _Noise:
    """What each row draws its frames from: ``TalkerState.draw`` for many."""

    def __init__(self, talker: Talker, sampling: Sampling, count: int) -> None:
        state = talker.state(0, 0, sampling)
        self._temperature, self._memory = state.temperature, state.memory
        self._renewal = (1 - state.memory.square()).sqrt()
        self._random = [torch.Generator() for _ in range(count)]
        self._last = talker.start.new_zeros(count, len(talker.start))
        self._begun = np.zeros(count, bool)

    def reset(self, row: int, seed: int) -> None:
        """As before the first frame."""
        self._random[row].manual_seed(seed)
        self._begun[row] = False

    def draw(self, rows: np.ndarray, places: Tensor, frames: int) -> Tensor:
        """The noise of each row's next frames, [n, k, H·C]."""
        shape = (1, self._last.shape[1])
        fresh = torch.stack(
            [torch.cat([torch.randn(shape, generator=self._random[row]) for _ in range(frames)]) for row in rows]
        )
        fresh = fresh.to(self._last)
        begun = torch.from_numpy(self._begun[rows]).to(fresh.device)[:, None]
        noises = [torch.where(begun, self._memory * self._last[places] + self._renewal * fresh[:, 0], fresh[:, 0])]
        for k in range(1, frames):
            noises.append(self._memory * noises[-1] + self._renewal * fresh[:, k])
        self._last[places] = noises[-1]
        self._begun[rows] = True
        return torch.stack(noises, dim=1) * self._temperature
