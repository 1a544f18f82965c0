"""The default network for many streams at once: every row of its buffers is a stream, any rows advance together."""

import numpy as np
import torch
from torch import Tensor

from streamingtalker.audio.encoder import SpeechEncoder
from streamingtalker.audio.posteriors import Recogniser
from streamingtalker.config import ConfigError
from streamingtalker.diffusion import Sampler, check
from streamingtalker.sessions.ears import SpeechEar
from streamingtalker.sessions.rings import RingRows, StackRows
from streamingtalker.talker import Talker
from streamingtalker.vqvae import FaceState


class TalkerRows:
    """The states of ``count`` streams. Row by row they give what a ``FaceStreamer`` of their own would, to 1e-5.

    A batch is the rows it is made of, int64 [n], ascending. Memory is taken here, once.
    """

    def __init__(self, talker: Talker, count: int) -> None:
        """Raises SamplingError, and ConfigError for a talker that does not hear as the default one does."""
        if not isinstance(talker.audio, SpeechEncoder):
            raise ConfigError("This talker's HuBERT cannot serve live streams; choose one with a 'speech' encoder.")
        sampling = talker.dims.sampling
        check(sampling)
        self.talker = talker
        self.count = count
        self.fps = talker.dims.fps
        self.moods = talker.dims.moods
        self.vertices = talker.dims.motion.vertices
        self.encoder = talker.audio
        self.warm_up = self.encoder.dims.lookahead  # inputs before that of frame 0
        self._mixing = talker.mixing(sampling)
        self._sampler: Sampler = talker.head.sampler(sampling)
        self._noise = talker.noise(sampling, count)
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

    def identity(self, index: int) -> Tensor:
        """The style of a speaker. Raises IdentityError."""
        return self.talker.identity(index)

    def reset(self, row: int, seed: int, identity: int = 0) -> None:
        """A stream begins. Raises IdentityError."""
        self._identities[row] = self.talker.identity(identity)[0]
        self._noise.reset(seed, row)
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

    def draw(self, rows: np.ndarray, audio: Tensor, moods: Tensor) -> list[np.ndarray]:
        """Audio frames [n, k, A] and intensities [n, k, moods] of each row's next frames → their offsets [k, V, 3]."""
        places, frames = self._places(rows), audio.shape[1]
        style = self.talker.style(self._identities[places], moods.to(audio))
        noise = self._noise.draw(frames, rows)
        state = self._rings.batch(rows, frames)
        latents = self.talker.draw(self._latents[places], audio, style, noise, state, self._sampler, self._mixing)
        self._latents[places] = latents[:, -1:]
        return list(self._decode(places, latents).cpu().numpy())

    def rest(self, row: int) -> np.ndarray:
        """Nothing [0, V, 3]: this decoder awaits nothing."""
        return np.zeros((0, self.vertices, 3), np.float32)

    def _decode(self, places: Tensor, latents: Tensor) -> Tensor:
        states = [part.take(places) for part in self._decoded]
        offsets = self.talker.vqvae.decode_next(latents, FaceState(states))
        for part, state in zip(self._decoded, states, strict=True):
            part.put(places, state)
        return offsets

    def _places(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(rows).to(self._latents.device)
