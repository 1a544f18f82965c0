"""The paper's audio encoder: HuBERT, 50 features a second, interpolated to the motion's frames.

The paper's HuBERT hears the whole utterance before it gives its first feature. For a face that is to speak at once it
can hear through a window that slides over the sound (``ContextWindow``), and gives nearly the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamingtalker.audio.interface import AudioEncoder
from streamingtalker.config import ConfigError, frame_count
from streamingtalker.running import Kept, Running
from streamingtalker.streaming import SlidingBuffer, Stream

STRIDE = 320  # samples from feature to feature
FIELD = 400  # samples a feature's convolutions span
FEATURE_RATE = 50  # features a second
SIZES = frozenset(
    {
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "conv_dim",
        "conv_kernel",
        "conv_stride",
        "num_conv_pos_embeddings",
        "num_conv_pos_embedding_groups",
    }
)  # what a file may tell HuBERT's library; other words make it fetch code, or another network


@dataclass(frozen=True)
class ContextWindow:
    """A window of sound, in features of 20 ms: ``step`` new ones at a time, heard with so much before and after.

    The first time only ``first`` are new, so that half a second of sound is enough for a first frame.
    """

    past: int = 50
    step: int = 20
    future: int = 20
    first: int = 4

    def after(self, end: int) -> int:
        """Where the new features end, if the last ones ended at ``end``."""
        return min(self.first, self.step) if end == 0 else (end // self.step + 1) * self.step


class HubertEncoder(AudioEncoder):
    """Normalised sound → HuBERT → (for networks that have one) linear → features at the motion's rate.

    The sound is normalised to zero mean and unit variance, features are interpolated linearly with corners aligned, as
    published. ``context`` None: the stream waits for the end of the sound and then gives exactly these features.
    """

    def __init__(self, hubert: dict[str, Any], fps: int, width: int | None = None) -> None:
        """``hubert``: arguments of transformers.HubertConfig; ``width``: of the linear layer, None for none.

        Raises ConfigError where the library is missing, and for arguments other than ``SIZES``.
        """
        super().__init__()
        if foreign := sorted(set(hubert) - SIZES):
            raise ConfigError(f"The sizes of HuBERT hold {', '.join(foreign)}, which is none of them; leave it out.")
        try:
            from transformers import HubertConfig, HubertModel  # takes seconds to load
        except ImportError as error:
            raise ConfigError(
                "This model hears with HuBERT, which needs a library; pip install transformers."
            ) from error

        self.fps = fps
        self.context: ContextWindow | None = None
        self.running = Running()
        self._runners = Kept()
        self.hubert = HubertModel(HubertConfig(**hubert))
        size = self.hubert.config.hidden_size
        self.width = width or size
        self.project = nn.Linear(size, width) if width else nn.Identity()
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
        hidden = self.encode(features).transpose(1, 2)
        return F.interpolate(hidden, size=frames, align_corners=True, mode="linear").transpose(1, 2)

    def encode(self, pcm: Tensor) -> Tensor:
        """Normalised PCM [B, n] → HuBERT's features [B, m, A], 50 a second."""
        padded = F.pad(pcm, (0, max(FIELD - pcm.shape[1], 0)))  # one feature at least
        return self.project(self.hubert(padded).last_hidden_state)

    def hear_live(self, context: ContextWindow | None = None) -> None:
        """See the interface."""
        self.context = context or ContextWindow()

    def stream(self) -> Stream[Tensor]:
        """See the interface; with a ``context``, nearly ``forward``'s frames."""
        return WholeUtterance(self) if self.context is None else SlidingWindow(self, self.context)

    def runner(self) -> "HubertEncoder":
        """A twin that gives the same and only runs."""
        return self._runners.get(self, self.running, self._runner)

    def _runner(self) -> "HubertEncoder":
        twin = self.running.twin(self)
        twin.hubert = self.running.compile(twin.hubert)
        return twin

    def nothing(self) -> Tensor:
        """No frames, [0, A]."""
        return next(self.hubert.parameters()).new_zeros(0, self.width)


class WholeUtterance:
    """Collects the sound and encodes it at the end."""

    def __init__(self, encoder: HubertEncoder) -> None:
        self._encoder = encoder.runner()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._pieces: list[np.ndarray] = []

    def feed(self, pcm: np.ndarray) -> Tensor:
        """Nothing yet."""
        self._pieces.append(np.array(pcm, np.float32))
        return self._encoder.nothing()

    def finish(self) -> Tensor:
        """All frames [T, A]."""
        pcm = np.concatenate([*self._pieces, np.zeros(0, np.float32)])
        if len(pcm) == 0:
            return self._encoder.nothing()
        features = torch.from_numpy(self._encoder.features(pcm)).to(self._encoder.nothing())
        return self._encoder(features[None])[0]


class SlidingWindow:
    """Encodes the sound block by block, each with some sound before and after it.

    Differs from the whole utterance in three ways: HuBERT's attention and its first layer's norm see a window, the
    sound is normalised by what was heard until the window's end, and frame k is at feature 50·k/fps exactly, where the
    whole utterance is stretched by up to half a feature to align its corners. Blocks lie at fixed places, so it does
    not matter in which pieces the sound comes.
    """

    def __init__(self, encoder: HubertEncoder, context: ContextWindow) -> None:
        self._encoder = encoder.runner()
        self._context = context
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._sound = SlidingBuffer.empty()
        self._level = _Level()
        self._features = self._encoder.nothing()  # from number _first on
        self._first = 0
        self._frames = 0  # given

    def feed(self, pcm: np.ndarray) -> Tensor:
        """See Stream."""
        self._sound.append(np.asarray(pcm, np.float32))
        total = _features_in(self._sound.end)
        while (end := self._context.after(self._end_of_features)) + self._context.future <= total:
            self._encode(end, total)
        return self._give(lambda feature: feature < self._end_of_features - 1)

    def finish(self) -> Tensor:
        """See Stream."""
        if self._sound.end == 0:
            return self._encoder.nothing()
        total = max(_features_in(self._sound.end), 1)
        while self._end_of_features < total:
            self._encode(min(self._context.after(self._end_of_features), total), total)
        frames = frame_count(self._sound.end, self._encoder.fps)
        return self._give(lambda _: self._frames < frames)

    @property
    def _end_of_features(self) -> int:
        return self._first + len(self._features)

    def _encode(self, end: int, total: int) -> None:
        """Add the features up to number ``end``; ``total`` can be had."""
        begin, last = max(self._end_of_features - self._context.past, 0), min(end + self._context.future, total)
        until = min(STRIDE * (last - 1) + FIELD, self._sound.end)
        self._level.hear(self._sound.take(self._level.heard, until))
        heard = self._level.normalise(self._sound.take(STRIDE * begin, until))
        features = self._encoder.encode(torch.from_numpy(heard).to(self._features)[None])[0]
        fresh = features[self._end_of_features - begin : end - begin]
        self._features = torch.cat([self._features, fresh])
        self._sound.forget(min(STRIDE * max(end - self._context.past, 0), self._level.heard))

    def _give(self, ready: Callable[[int], bool]) -> Tensor:
        """Interpolate the frames whose feature before is ``ready``."""
        given = [self._encoder.nothing()]
        while True:
            before, part = divmod(FEATURE_RATE * self._frames, self._encoder.fps)
            if not ready(before):
                break
            given.append(self._between(before, part / self._encoder.fps)[None])
            self._frames += 1
        self._forget(FEATURE_RATE * self._frames // self._encoder.fps)
        return torch.cat(given)

    def _between(self, before: int, part: float) -> Tensor:
        last = len(self._features) - 1
        low, high = (min(place - self._first, last) for place in (before, before + 1))
        return torch.lerp(self._features[low], self._features[high], part)

    def _forget(self, before: int) -> None:
        drop = min(max(before - self._first, 0), max(len(self._features) - 1, 0))
        self._features = self._features[drop:]
        self._first += drop


class _Level:
    """Mean and variance of all that was heard, float32 [n] at a time."""

    def __init__(self) -> None:
        self.heard = 0
        self._sum = self._squares = 0.0

    def hear(self, pcm: np.ndarray) -> None:
        self.heard += len(pcm)
        self._sum += float(pcm.sum(dtype=np.float64))
        self._squares += float(np.square(pcm, dtype=np.float64).sum())

    def normalise(self, pcm: np.ndarray) -> np.ndarray:
        mean = self._sum / self.heard
        variance = max(self._squares / self.heard - mean**2, 0.0)
        return ((pcm - mean) / np.sqrt(variance + 1e-7)).astype(np.float32)


def _features_in(samples: int) -> int:
    return max((samples - FIELD) // STRIDE + 1, 0)
