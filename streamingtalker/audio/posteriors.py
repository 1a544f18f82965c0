"""Phoneme posteriors of a pretrained recogniser, on a window grid that depends only on the sample count."""

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from streamingtalker.config import RATE
from streamingtalker.errors import UserError
from streamingtalker.streaming import SlidingBuffer

HOP = 320  # samples a posterior frame, 20 ms

Recogniser = Callable[[np.ndarray], np.ndarray]  # PCM [n] at 16 kHz → log-probabilities [≥ n // 320, classes]

RECOGNISERS = ("hama", "student", "none")
_MISSING = (ImportError, OSError, RuntimeError)  # what a package without a build for this machine fails with

log = logging.getLogger(__name__)


class RecogniserError(UserError):
    """A phoneme recogniser that does not exist, or not on this machine."""


@dataclass(frozen=True)
class WindowGrid:
    """Which audio the recogniser hears for which frames. Samples, multiples of 320.

    For the sound of [s, s + hop) it hears [s − left, s + hop + right), cut at the ends of the clip, and the middle is
    kept. The first hop may be short, so that the first frame comes early.
    """

    left: int = 4 * RATE // 5
    hop: int = 3 * RATE // 5
    right: int = RATE // 5
    first_hop: int = 2 * RATE // 5

    def window(self, index: int) -> tuple[int, int]:
        """[from, to) of the sound that hop ``index`` is responsible for."""
        start = 0 if index == 0 else self.first_hop + (index - 1) * self.hop
        return start, start + (self.first_hop if index == 0 else self.hop)


DEFAULT_GRID = WindowGrid()
_DEAF_GRID = WindowGrid(left=0, hop=HOP, right=0, first_hop=HOP)


class PosteriorStream:
    """PCM → square roots of phoneme probabilities, 50 a second, frame i about sample 320·i.

    Without a recogniser they are zeros and come at once. ``feed`` is ``hear``, the recogniser and ``give``; who runs
    the recogniser elsewhere calls these two.
    """

    def __init__(self, recogniser: Recogniser | None, classes: int) -> None:
        self.classes = classes
        self.grid = DEFAULT_GRID if recogniser else _DEAF_GRID
        self._recognise = recogniser or (lambda pcm: np.full((len(pcm) // HOP, classes), -np.inf, np.float32))
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._pcm = SlidingBuffer.empty()
        self._hops = 0
        self._kept: list[slice] = []  # of the scores of each window heard whose scores are not yet given

    def feed(self, pcm: np.ndarray) -> np.ndarray:
        """Take float32 [n] at 16 kHz, give the frames [k, classes] of the hops whose right context is there."""
        return self.give(self.recognised(self.hear(pcm)))

    def finish(self) -> np.ndarray:
        """Give the frames [k, classes] of the sound that is left, with what context there is."""
        return self.give(self.recognised(self.hear_rest()))

    def recognised(self, windows: list[np.ndarray]) -> list[np.ndarray]:
        """The scores of windows of sound, [≥ n // 320, classes] each."""
        return [self._recognise(window) for window in windows]

    def hear(self, pcm: np.ndarray) -> list[np.ndarray]:
        """Take float32 [n], give the windows of sound that the recogniser can now hear."""
        self._pcm.append(pcm)
        windows = []
        while self.grid.window(self._hops)[1] + self.grid.right <= self._pcm.end:
            windows.append(self._window())
        return windows

    def hear_rest(self) -> list[np.ndarray]:
        """The windows of the sound that is left."""
        windows = []
        while self.grid.window(self._hops)[0] + HOP <= self._pcm.end:
            windows.append(self._window())
        return windows

    def give(self, scores: list[np.ndarray]) -> np.ndarray:
        """The recogniser's scores of the windows last heard, in order → the middles of them, [k, classes]."""
        kept = [np.exp(0.5 * each[middle]) for each, middle in zip(scores, self._kept, strict=True)]
        self._kept = []
        return np.concatenate([np.zeros((0, self.classes), np.float32), *kept]).astype(np.float32)

    def _window(self) -> np.ndarray:
        """The sound of the next hop and round it."""
        start, end = self.grid.window(self._hops)
        first = max(start - self.grid.left, 0)
        heard = self._pcm.take(first, min(end + self.grid.right, self._pcm.end))
        self._kept.append(slice((start - first) // HOP, (min(end, first + len(heard)) - first) // HOP))
        self._hops += 1
        self._pcm.forget(self.grid.window(self._hops)[0] - self.grid.left)
        return heard


def open_recogniser(name: str | None = None) -> Recogniser | None:
    """The recogniser of that name; unnamed, the best that exists here, which is said in the log.

    ``hama`` is the large pretrained one, ``student`` our own small one taught by it, ``none`` none at all. Raises
    RecogniserError where the named one cannot be had.
    """
    if name is None:
        return _best()
    if name not in RECOGNISERS:
        raise RecogniserError(f"A phoneme recogniser {name!r} does not exist; choose {', '.join(RECOGNISERS)}.")
    if name == "hama":
        try:
            return _hama()
        except _MISSING as error:
            raise RecogniserError(
                f"hama cannot be loaded ({error}); install it anew, or choose the recogniser 'student'."
            ) from error
    return _student() if name == "student" else None


def usual_recogniser() -> str:
    """The name of the recogniser that is best here, by what is installed; loads nothing."""
    return "hama" if importlib.util.find_spec("hama") else "student"


def recogniser_version(name: str | None = None) -> str:
    """The recogniser of that name (unnamed: the usual one), told apart from others of the name that hear otherwise.

    The weights of hama and of none never change here; ours may be taught anew. Raises CheckpointError where ours are
    missing.
    """
    name = name or usual_recogniser()
    if name != "student":
        return name
    from streamingtalker.audio.student import student_version

    return f"{name}-{student_version()}"


def _best() -> Recogniser:
    """hama where it exists, else the student."""
    try:
        recogniser = _hama()
    except _MISSING as error:
        log.warning("The phoneme recogniser hama does not exist here (%s): our own small one hears instead.", error)
        return _student()
    log.info("The phoneme recogniser is hama.")
    return recogniser


def _student() -> Recogniser:
    from streamingtalker.audio.student import StudentRecogniser, load_student

    return StudentRecogniser(load_student())


def _hama() -> Recogniser:
    import hama

    session = hama.ASRModel().session

    def recognise(pcm: np.ndarray) -> np.ndarray:
        feeds = {"waveform": pcm[None], "waveform_lengths": np.array([len(pcm)], np.int64)}
        return session.run(["log_probs"], feeds)[0][0]

    return recognise
