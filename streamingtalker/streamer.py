"""PCM in, face frames out: the only way frames are made, live and offline."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from streamingtalker.audio.interface import AudioEncoder
from streamingtalker.config import RATE, Sampling, frame_count
from streamingtalker.mood import Mood, MoodBlend
from streamingtalker.topology import Topology

FEED_SAMPLES = RATE // 10  # what ``stream`` feeds at once, so that a long recording gives its first frame early


class FaceMotion(Protocol):
    """The size of a motion."""

    @property
    def vertices(self) -> int:
        """V, points of the mesh."""


class FaceDims(Protocol):
    """What the streamer needs to know of a model's dimensions; the rest is the model's own."""

    @property
    def fps(self) -> int:
        """Frames a second."""

    @property
    def moods(self) -> tuple[str, ...]:
        """Those it was trained with."""

    @property
    def motion(self) -> FaceMotion:
        """Of its vertices."""


class FaceModel(Protocol):
    """What the streamer needs of a model. ``talker.Talker`` and ``released.ReleasedTalker`` have it."""

    @property
    def dims(self) -> FaceDims:
        """Its dimensions."""

    @property
    def topology(self) -> Topology:
        """The face it moves."""

    @property
    def audio(self) -> AudioEncoder:
        """What hears."""

    @property
    def start(self) -> Tensor:
        """The latent [H·C] before the first frame."""

    def state(self, identity: int = 0, seed: int = 0, sampling: Sampling | None = None) -> Any:  # noqa: ANN401
        """The state of a stream, the model's own; it has ``reset(start, seed)``."""

    def next_latents(self, audio: Tensor, state: Any, moods: Tensor | None = None) -> Tensor:  # noqa: ANN401
        """Audio frames [k, A] → the latents [k, H·C] of the next frames."""

    def next_offsets(self, latents: Tensor, state: Any) -> Tensor:  # noqa: ANN401
        """Latents [k, H·C] → the offsets [n, V, 3] of the frames they complete."""

    def last_offsets(self, state: Any) -> Tensor:  # noqa: ANN401
        """The sound is over: the offsets [n, V, 3] of the frames that awaited more."""


class FaceStreamer:
    """One voice driving one face.

    Any chopping of the sound gives the same frames, and more sound never changes a frame already given. In all there
    are ceil(samples · fps / 16000) frames; frame k belongs to the sound at k / fps seconds. Memory and work per frame
    do not grow with the length, except where HuBERT hears the whole utterance (see ``hear_live``): then all sound is
    kept, and heard at its end.

    A call takes as long as the frames it gives; who wants the first frame early feeds pieces of about 0.1 s.
    """

    def __init__(
        self,
        talker: FaceModel,
        *,
        identity: int = 0,
        mood: Mood = Mood(),
        seed: int = 0,
        sampling: Sampling | None = None,
    ) -> None:
        self.fps = talker.dims.fps
        self.vertex_count = talker.dims.motion.vertices
        self._talker = talker
        self._moods = MoodBlend(self.fps, talker.dims.moods, mood)
        self._seed = seed
        with torch.inference_mode():
            self._audio = talker.audio.stream()
            self._state = talker.state(identity, seed, sampling)
        self.reset()

    def set_mood(self, mood: Mood) -> None:
        """Turn to ``mood``, within half a second from the next frame on. A model without moods stays as it is."""
        self._moods.turn_to(mood)

    def follow_moods(self, curve: np.ndarray) -> None:
        """Have the next frames in moods that are known ahead: intensities [T, M] of the model's moods."""
        self._moods.follow(curve)

    def reset(self, seed: int | None = None) -> None:
        """Forget the sound and the motion; begin again, in the mood last set, with ``seed`` or that it had."""
        self._seed = self._seed if seed is None else seed
        self._samples = 0
        self._frames = 0
        self._finished = False
        self._moods.reset(self._moods.mood)
        with torch.inference_mode():
            self._audio.reset()
            self._state.reset(self._talker.start, self._seed)

    def feed(self, pcm: np.ndarray) -> np.ndarray:
        """Take float32 [n] mono samples at 16 kHz, give the frames that became final: offsets [k, V, 3] in metres."""
        assert not self._finished, "reset before feeding again"
        self._samples += len(pcm)
        with torch.inference_mode():
            return self._animate(self._audio.feed(np.asarray(pcm, np.float32)))

    def finish(self) -> np.ndarray:
        """The sound is over: give the remaining frames [k, V, 3]. Only ``reset`` may follow."""
        assert not self._finished, "reset before finishing again"
        self._finished = True
        with torch.inference_mode():
            frames = self._animate(self._audio.finish())
            rest = self._talker.last_offsets(self._state).cpu().numpy()
        assert self._frames == frame_count(self._samples, self.fps), "the audio encoder gave a wrong number of frames"
        return np.concatenate([frames, rest])

    def close(self) -> None:
        """Nothing is held that others wait for. (A ``FarmStream`` holds a row.)"""

    def stream(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Feed ``chunks`` of any length in small pieces and finish; yields the frames as they come, [k, V, 3] each."""
        for chunk in chunks:
            for start in range(0, len(chunk), FEED_SAMPLES):
                yield self.feed(chunk[start : start + FEED_SAMPLES])
        yield self.finish()

    def _animate(self, audio: Tensor) -> np.ndarray:
        moods = torch.from_numpy(self._moods.next(len(audio))).to(audio)
        latents = self._talker.next_latents(audio, self._state, moods)
        self._frames += len(latents)
        return self._talker.next_offsets(latents, self._state).cpu().numpy()
