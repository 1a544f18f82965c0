"""Log-mel columns, 90 a second: three a motion frame at 30 fps."""

import functools

import numpy as np

from streamingtalker.config import RATE
from streamingtalker.streaming import SlidingBuffer

COLUMNS = 90  # a second
WINDOW = 512  # samples, 32 ms
_FLOOR = 1e-6


def column_centre(column: int) -> int:
    """The sample in the middle of a column's window, rounded half up. Column 1 lies on sample 0.

    So the columns 3k, 3k + 1, 3k + 2 of motion frame k at 30 fps lie around k/30 s.
    """
    return ((column - 1) * RATE * 2 + COLUMNS) // (2 * COLUMNS)


class LogMelStream:
    """PCM → log-mel columns. A column depends on the 512 samples around its centre, zeros before the beginning."""

    def __init__(self, bands: int) -> None:
        self.bands = bands
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._pcm = SlidingBuffer.empty()
        self._columns = 0

    def feed(self, pcm: np.ndarray) -> np.ndarray:
        """Take float32 [n] at 16 kHz, give the columns [k, bands] whose window is complete, about zero mean."""
        self._pcm.append(pcm)
        first = self._columns
        while column_centre(self._columns) + WINDOW // 2 <= self._pcm.end:
            self._columns += 1
        starts = [column_centre(column) - WINDOW // 2 for column in range(first, self._columns)]
        columns = self._transform(starts) if starts else np.zeros((0, self.bands), np.float32)
        self._pcm.forget(column_centre(self._columns) - WINDOW // 2)
        return columns

    def _transform(self, starts: list[int]) -> np.ndarray:
        held = self._pcm.take(starts[0], starts[-1] + WINDOW)
        frames = np.lib.stride_tricks.sliding_window_view(held, WINDOW)[np.array(starts) - starts[0]]
        power = np.abs(np.fft.rfft(frames * _hann(), axis=1)) ** 2
        mel = power.astype(np.float32) @ mel_filterbank(self.bands)
        return (0.25 * np.log(mel + _FLOOR) + 1.5).astype(np.float32)


@functools.cache
def _hann() -> np.ndarray:
    return np.hanning(WINDOW + 1)[:-1].astype(np.float32) / (WINDOW / 4) ** 0.5


@functools.cache
def mel_filterbank(bands: int, stretch: float = 1.0) -> np.ndarray:
    """[257, bands] triangles evenly spaced on the mel scale from 60 Hz to 7600 Hz, each of area 1 bin.

    ``stretch`` multiplies their frequencies up to 4800 Hz and the rest gives way: above 1 a voice sounds as from a
    longer vocal tract.
    """
    mel = np.linspace(_mel(60.0), _mel(7600.0), bands + 2)
    hertz = 700 * (10 ** (mel / 2595) - 1)
    edges = np.interp(hertz, [0, 4800, 7601], [0, 4800 * stretch, 7601]) * WINDOW / RATE
    bins = np.arange(WINDOW // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = np.clip(np.minimum(rising, falling), 0, None)
    return (triangles / np.maximum(triangles.sum(0), 0.5)).astype(np.float32)


def _mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))
