"""Sample rate conversion of a stream."""

import numpy as np
import soxr


class Resampler:
    """Converts mono float32 PCM from one rate to another, piece by piece; any chopping gives the same samples.

    It holds back about 10 ms that its filter still needs; ``finish`` gives them. Equal rates pass through untouched.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self.from_rate = from_rate
        self.to_rate = to_rate
        self.reset()

    def feed(self, pcm: np.ndarray) -> np.ndarray:
        """Take float32 [n] at ``from_rate``, give what is ready at ``to_rate``, float32 [m]."""
        return self._convert(pcm, last=False)

    def finish(self) -> np.ndarray:
        """Give the rest, float32 [m]. Only ``reset`` may follow."""
        return self._convert(np.zeros(0, np.float32), last=True)

    def reset(self) -> None:
        """Forget everything."""
        same = self.from_rate == self.to_rate
        self._stream = None if same else soxr.ResampleStream(self.from_rate, self.to_rate, 1, dtype="float32")

    def _convert(self, pcm: np.ndarray, last: bool) -> np.ndarray:
        pcm = np.ascontiguousarray(pcm, np.float32)
        return pcm if self._stream is None else self._stream.resample_chunk(pcm, last=last)
