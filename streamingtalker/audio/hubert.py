"""The paper's audio encoder: HuBERT, interpolated to the motion's frames."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamingtalker.audio.interface import AudioEncoder
from streamingtalker.config import AudioDims, ConfigError, frame_count
from streamingtalker.streaming import Stream


class HubertEncoder(AudioEncoder):
    """HuBERT over the whole utterance → linear → features interpolated linearly (corners aligned) to T frames.

    The network hears the whole utterance at once, as in the paper, so its stream gives everything at ``finish``.
    """

    def __init__(self, dims: AudioDims, fps: int) -> None:
        super().__init__()
        if dims.kind != "hubert":
            raise ConfigError(f"A {dims.kind!r} audio encoder does not exist; choose 'speech' or 'hubert'.")
        from transformers import HubertConfig, HubertModel  # takes seconds to load

        self.dims = dims
        self.fps = fps
        self.hubert = HubertModel(HubertConfig(**dims.hubert))
        self.project = nn.Linear(self.hubert.config.hidden_size, dims.width)
        self.hubert.eval()

    def train(self, mode: bool = True) -> "HubertEncoder":
        """HuBERT's own dropout and masking stay off, as in the paper's training."""
        super().train(mode)
        self.hubert.eval()
        return self

    def features(self, pcm: np.ndarray) -> np.ndarray:
        """float32 [n] → the same with zero mean and unit variance (the Wav2Vec2 processor's normalisation)."""
        return ((pcm - pcm.mean()) / np.sqrt(pcm.var() + 1e-7)).astype(np.float32)

    def forward(self, features: Tensor) -> Tensor:
        """Normalised PCM [B, n] → [B, T, A]."""
        frames = frame_count(features.shape[1], self.fps)
        hidden = self.project(self.hubert(_at_least_one_frame(features)).last_hidden_state)
        return F.interpolate(hidden.transpose(1, 2), size=frames, align_corners=True, mode="linear").transpose(1, 2)

    def stream(self) -> Stream[Tensor]:
        """See the interface."""
        return WholeUtterance(self)


class WholeUtterance:
    """Collects the sound and encodes it at the end."""

    def __init__(self, encoder: HubertEncoder) -> None:
        self._encoder = encoder
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._pieces: list[np.ndarray] = []

    def feed(self, pcm: np.ndarray) -> Tensor:
        """Nothing yet."""
        self._pieces.append(np.array(pcm, np.float32))
        return self._nothing()

    def finish(self) -> Tensor:
        """All frames [T, A]."""
        pcm = np.concatenate([*self._pieces, np.zeros(0, np.float32)])
        if len(pcm) == 0:
            return self._nothing()
        features = torch.from_numpy(self._encoder.features(pcm)).to(self._encoder.project.weight)
        return self._encoder(features[None])[0]

    def _nothing(self) -> Tensor:
        return self._encoder.project.weight.new_zeros(0, self._encoder.dims.width)


def _at_least_one_frame(pcm: Tensor) -> Tensor:
    """HuBERT's convolutions need 400 samples for their first frame."""
    missing = max(400 - pcm.shape[1], 0)
    return F.pad(pcm, (0, missing))
