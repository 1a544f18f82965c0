"""What becomes of a stream's sound before the network sees it: its own affair, but for the recogniser all share."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from streamingtalker.audio.encoder import FRAME, SpeechEncoder, SpeechFeatures
from streamingtalker.streaming import Stream


class Ear(Protocol):
    """PCM → inputs of the network [k, …]. In two halves, between which somebody runs the recogniser."""

    def hear(self, pcm: np.ndarray) -> list[np.ndarray]:
        """Take float32 [n], give the windows of sound that the recogniser is to hear."""

    def hear_rest(self) -> list[np.ndarray]:
        """The sound is over: give the last windows."""

    def give(self, scores: list[np.ndarray]) -> Tensor:
        """What the recogniser said of these windows → the inputs [k, …] that are complete."""

    def reset(self) -> None:
        """Forget everything."""


class SpeechEar:
    """Of the default network: an input is three columns of log-mel and posteriors, [3, bands + classes]."""

    def __init__(self, encoder: SpeechEncoder, recognises: bool) -> None:
        """``recognises``: whether there is a recogniser at all."""
        self._features = SpeechFeatures(encoder.dims, encoder.fps, _nobody if recognises else None)
        self._width = encoder.dims.mel_bands + encoder.dims.posterior_classes
        self._recognises = recognises
        self.reset()

    def reset(self) -> None:
        """See Ear."""
        self._features.reset()
        self._unheard: list[np.ndarray] = []  # windows that nobody needs to hear

    def hear(self, pcm: np.ndarray) -> list[np.ndarray]:
        """See Ear."""
        return self._asked(self._features.hear(np.asarray(pcm, np.float32)))

    def hear_rest(self) -> list[np.ndarray]:
        """See Ear."""
        return self._asked(self._features.hear_rest())

    def give(self, scores: list[np.ndarray]) -> Tensor:
        """See Ear."""
        scores = scores if self._recognises else self._features.recognised(self._unheard)
        return torch.from_numpy(self._features.give(scores).reshape(-1, FRAME, self._width))

    def _asked(self, windows: list[np.ndarray]) -> list[np.ndarray]:
        self._unheard = [] if self._recognises else windows
        return windows if self._recognises else []


class StreamEar:
    """Of a network whose audio encoder is a stream of its own, HuBERT: an input is an audio frame [A]."""

    def __init__(self, stream: Stream[Tensor]) -> None:
        self._stream = stream

    def reset(self) -> None:
        """See Ear."""
        self._stream.reset()

    @torch.inference_mode()
    def hear(self, pcm: np.ndarray) -> list[np.ndarray]:
        """See Ear."""
        self._inputs = self._stream.feed(np.asarray(pcm, np.float32))
        return []

    @torch.inference_mode()
    def hear_rest(self) -> list[np.ndarray]:
        """See Ear."""
        self._inputs = self._stream.finish()
        return []

    def give(self, scores: list[np.ndarray]) -> Tensor:
        """See Ear."""
        return self._inputs


def _nobody(pcm: np.ndarray) -> np.ndarray:
    raise AssertionError("whoever owns an ear runs the recogniser")
