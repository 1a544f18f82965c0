"""What every audio encoder can do."""

from abc import ABC, abstractmethod

import numpy as np
from torch import Tensor, nn

from streamingtalker.streaming import Stream


class AudioEncoder(nn.Module, ABC):
    """PCM at 16 kHz → one feature vector a motion frame. A is its width, T = frame_count(samples)."""

    @abstractmethod
    def features(self, pcm: np.ndarray) -> np.ndarray:
        """float32 [n] → what ``forward`` takes for a whole clip, without a batch dimension: [columns, …] or the sound.

        No weights have a part in it, so it can be kept on disk.
        """

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Features [B, …] → [B, T, A]."""

    @abstractmethod
    def stream(self) -> Stream[Tensor]:
        """A stream that gives the frames [k, A] of ``forward(features(pcm))``, as early as they are final."""

    def hear_live(self) -> None:
        """Do not wait for the end of the sound where that would be usual: an avatar is to answer at once."""
