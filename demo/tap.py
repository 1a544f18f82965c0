"""Who may look at a turn as it passes through the client: a protocol that does nothing by itself."""

import numpy as np


class Tap:
    """Is shown every turn's sound and frames, in the client's thread: it must return soon and raise nothing."""

    def begin(self, turn: int, rate: int, fps: float) -> None:
        """A turn begins, with sound at ``rate`` Hz and ``fps`` frames a second."""

    def sound(self, turn: int, pcm: np.ndarray) -> None:
        """The next samples, float32 [n]."""

    def frame(self, turn: int, index: int, offsets: np.ndarray) -> None:
        """Frame ``index``: offsets float16 [V, 3] in metres. Frames come in order."""

    def end(self, turn: int, seconds: float) -> None:
        """The turn is over; the first ``seconds`` of it left the loudspeaker, none of a turn that was taken back."""
