"""The audio encoders: PCM at 16 kHz → one feature vector a motion frame, behind one interface."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from streamingtalker.audio.hubert import HubertEncoder
from streamingtalker.audio.interface import AudioEncoder
from streamingtalker.audio.mel import COLUMNS, LogMelStream, column_centre
from streamingtalker.audio.posteriors import HOP, PosteriorStream, Recogniser, open_recogniser
from streamingtalker.config import AudioDims, ConfigError, frame_count
from streamingtalker.layers import ConvStack
from streamingtalker.streaming import SlidingBuffer, Stream, whole

FRAME = 3  # columns a motion frame
RecogniserFactory = Callable[[], Recogniser | None]


class SpeechFeatures:
    """PCM → columns [3·k, bands + classes], 90 a second: log-mel and the posteriors interpolated to the same times.

    They come by threes, which are the encoder's inputs. A clip is continued by as much digital silence as its last
    frame needs to hear.
    """

    def __init__(self, dims: AudioDims, fps: int, recogniser: Recogniser | None) -> None:
        _check(fps)
        self.dims = dims
        self.fps = fps
        self._mel = LogMelStream(dims.mel_bands)
        self._posteriors = PosteriorStream(recogniser, dims.posterior_classes)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._mel.reset()
        self._posteriors.reset()
        self._samples = 0
        self._columns = SlidingBuffer.empty(self.dims.mel_bands)
        self._phones = SlidingBuffer.empty(self.dims.posterior_classes)
        self._given = 0
        self._total: int | None = None  # columns in all, known at the end

    def feed(self, pcm: np.ndarray) -> np.ndarray:
        """Take float32 [n], give the columns [3·k, bands + classes] that are complete."""
        return self.give(self.recognised(self.hear(pcm)))

    def finish(self) -> np.ndarray:
        """Give the rest [3·k, bands + classes]; in all 3·(frames + lookahead) columns."""
        return self.give(self.recognised(self.hear_rest()))

    def hear(self, pcm: np.ndarray) -> list[np.ndarray]:
        """The first half of ``feed``: take float32 [n], give the windows of sound that a recogniser is to hear."""
        self._samples += len(pcm)
        self._columns.append(self._mel.feed(pcm))
        return self._posteriors.hear(pcm)

    def hear_rest(self) -> list[np.ndarray]:
        """The first half of ``finish``."""
        if self._samples == 0:
            return []
        self._total = FRAME * (frame_count(self._samples, self.fps) + self.dims.lookahead)
        silence = np.zeros(column_centre(self._total - 1) + 2 * HOP - self._samples, np.float32)
        self._columns.append(self._mel.feed(silence))
        return [*self._posteriors.hear(silence), *self._posteriors.hear_rest()]

    def recognised(self, windows: list[np.ndarray]) -> list[np.ndarray]:
        """What lies between both halves."""
        return self._posteriors.recognised(windows)

    def give(self, scores: list[np.ndarray]) -> np.ndarray:
        """The second half of both: the recogniser's scores of these windows, [≥ n // 320, classes] each → the columns
        [3·k, bands + classes] that are complete.
        """
        self._phones.append(self._posteriors.give(scores))
        first = self._given
        limit = self._columns.end if self._total is None else min(self._total, self._columns.end)
        while self._given < limit and _frames_around(self._given)[1] < self._phones.end:
            self._given += 1
        self._given -= self._given % FRAME
        mel = self._columns.take(first, self._given)
        phones = self._interpolate(first, self._given)
        self._columns.forget(self._given)
        self._phones.forget(_frames_around(self._given)[0])
        return np.concatenate([mel, phones], axis=1)

    def _interpolate(self, first: int, last: int) -> np.ndarray:
        around = [_frames_around(column) for column in range(first, last)]
        if not around:
            return np.zeros((0, self.dims.posterior_classes), np.float32)
        base = around[0][0]
        held = self._phones.take(base, around[-1][1] + 1)
        low = np.array([pair[0] for pair in around]) - base
        part = np.array([pair[2] for pair in around], np.float32)[:, None]
        return (1 - part) * held[low] + part * held[low + 1]


def _check(fps: int) -> None:
    if fps * FRAME != COLUMNS:
        raise ConfigError(f"The speech encoder makes {COLUMNS // FRAME} frames a second, not {fps}; correct the fps.")


def _frames_around(column: int) -> tuple[int, int, float]:
    """The posterior frames before and after a column's centre, and how far it lies between them (0 … 1)."""
    centre = max(column_centre(column), 0)
    return centre // HOP, centre // HOP + 1, centre % HOP / HOP


class SpeechEncoder(AudioEncoder):
    """The default: log-mel and phoneme posteriors through causal convolutions with a bounded look-ahead."""

    def __init__(self, dims: AudioDims, fps: int, recogniser: RecogniserFactory = open_recogniser) -> None:
        """Raises ConfigError for a frame rate it does not have."""
        super().__init__()
        _check(fps)
        self.dims = dims
        self.fps = fps
        self.recogniser = recogniser
        self.posteriors = nn.Linear(dims.posterior_classes, dims.posterior_width, bias=False)
        joined = FRAME * (dims.mel_bands + dims.posterior_width)
        self.network = ConvStack(joined, dims.width, dims.width, dims.dilations)

    def features(self, pcm: np.ndarray) -> np.ndarray:
        """float32 [n] → columns [3·(T + lookahead), bands + classes]."""
        return whole(SpeechFeatures(self.dims, self.fps, self.recogniser()), pcm)

    def stack(self, columns: Tensor) -> Tensor:
        """Columns [B, 3·n, bands + classes] → the network's input [B, n, …]: three columns a frame."""
        mel, phones = columns.split([self.dims.mel_bands, self.dims.posterior_classes], dim=2)
        joined = torch.cat([mel, self.posteriors(phones)], dim=2)
        return joined.reshape(joined.shape[0], joined.shape[1] // FRAME, -1)

    def forward(self, features: Tensor) -> Tensor:
        """Columns [B, 3·(T + lookahead), bands + classes] → [B, T, A]."""
        return self.network(self.stack(features))[:, self.dims.lookahead :]

    def stream(self) -> Stream[Tensor]:
        """See the interface."""
        return SpeechStream(self)


class SpeechStream:
    """The stream of a SpeechEncoder."""

    def __init__(self, encoder: SpeechEncoder) -> None:
        self._encoder = encoder
        self._features = SpeechFeatures(encoder.dims, encoder.fps, encoder.recogniser())
        self._state = encoder.network.state()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._features.reset()
        self._state.reset()
        self._ahead = self._encoder.dims.lookahead  # outputs still to be dropped: they lie before frame 0

    def feed(self, pcm: np.ndarray) -> Tensor:
        """See Stream."""
        return self._encode(self._features.feed(pcm))

    def finish(self) -> Tensor:
        """See Stream."""
        return self._encode(self._features.finish())

    def _encode(self, columns: np.ndarray) -> Tensor:
        weight = self._encoder.posteriors.weight
        if len(columns) == 0:
            return weight.new_zeros(0, self._encoder.dims.width)
        inputs = self._encoder.stack(torch.from_numpy(columns).to(weight)[None])
        frames = self._encoder.network(inputs, self._state)[0]
        dropped = min(self._ahead, len(frames))
        self._ahead -= dropped
        return frames[dropped:]


def build_encoder(dims: AudioDims, fps: int, recogniser: RecogniserFactory = open_recogniser) -> AudioEncoder:
    """The encoder that ``dims.kind`` names. Raises ConfigError for a kind that does not exist."""
    if dims.kind == "speech":
        return SpeechEncoder(dims, fps, recogniser)
    if dims.kind == "hubert":
        return HubertEncoder(dims.hubert, fps, dims.width)
    raise ConfigError(f"A {dims.kind!r} audio encoder does not exist; choose 'speech' or 'hubert'.")
