"""Whose motion is scored: a model's, or vertices that any method saved."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from streamingtalker.errors import UserError
from streamingtalker.evaluation.sequences import CHUNK_FRAMES, Target, TestBed
from streamingtalker.released import ReleasedTalker
from streamingtalker.streamer import FaceStreamer
from streamingtalker.talker import Talker


class PredictionError(UserError):
    """Predictions that are missing, broken or of another face."""


class Method(Protocol):
    """Something that moves a face."""

    name: str

    def conditions(self, target: Target) -> Sequence[str]:
        """The speaking styles a target is asked for in; its figures are averaged over them."""

    def motion(self, target: Target, condition: str, seed: int) -> Iterator[np.ndarray]:
        """Absolute vertices float32 [k, V, 3], piece by piece."""


class TalkerMethod:
    """One of our models, streaming.

    Identity policy of the paper: a speaker the model knows is asked for in their own style; for an unknown one every
    style is tried, and the figures are averaged.
    """

    def __init__(self, talker: Talker | ReleasedTalker, bed: TestBed, name: str, identity: int | None = None) -> None:
        """``identity``: use this style for everybody. Raises PredictionError where the model is of another face."""
        if talker.topology.vertex_count != bed.topology.vertex_count or talker.dims.fps != bed.corpus.fps:
            raise PredictionError(
                f"{name} moves {talker.topology.vertex_count} vertices at {talker.dims.fps} frames a second, "
                f"{bed.corpus.path} has {bed.topology.vertex_count} at {bed.corpus.fps}; score it on the corpus of its "
                "own face."
            )
        self.name = name
        self._talker = talker
        self._bed = bed
        self._identity = identity

    def conditions(self, target: Target) -> Sequence[str]:
        """The target's own style, or all where it has none."""
        if self._identity is not None:
            return [str(self._identity)]
        return [str(target.identity)] if target.identity >= 0 else [str(k) for k in range(self._talker.dims.styles)]

    def motion(self, target: Target, condition: str, seed: int) -> Iterator[np.ndarray]:
        """The stream's frames on the target's templates."""
        streamer = FaceStreamer(self._talker, identity=int(condition), seed=seed)
        streamer.follow_moods(self._moods(target))
        given = 0
        for frames in streamer.stream([self._bed.sound(target)]):
            if len(frames):
                yield target.templates(given, len(frames)) + frames
            given += len(frames)

    def _moods(self, target: Target) -> np.ndarray:
        """What is asked for in each frame, [T, moods of the talker]: in each segment the moods of its clip."""
        corpus, moods = self._bed.corpus, self._talker.dims.moods
        return np.concatenate([corpus.mood_curve(each.clip, each.frames, moods) for each in target.segments])


class SavedMethod:
    """Vertices that a method saved: ``<sequence>.npy``, or ``<sequence>_condition_<style>.npy`` for each style.

    Each [frames, V·3] or [frames, V, 3], absolute, at the corpus' frame rate. The end of a longer one is left out; one
    that is up to half a second shorter is scored as far as it goes.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        """Raises PredictionError where there is no such folder."""
        if not folder.is_dir():
            raise PredictionError(f"{folder} is no folder; give the one that holds the method's .npy files.")
        self.name = name or folder.name
        self._folder = folder

    def conditions(self, target: Target) -> Sequence[str]:
        """The styles there are files for."""
        marked = sorted(path.stem for path in self._folder.glob(f"{target.name}_condition_*.npy"))
        if marked:
            return [stem.removeprefix(f"{target.name}_condition_") for stem in marked]
        if not (self._folder / f"{target.name}.npy").is_file():
            raise PredictionError(f"{self._folder / target.name}.npy does not exist; let the method make it.")
        return [""]

    def motion(self, target: Target, condition: str, seed: int) -> Iterator[np.ndarray]:
        """The file's frames; saved motion has no seed."""
        path = self._folder / f"{target.name}{f'_condition_{condition}' if condition else ''}.npy"
        vertices = self._read(path, target)
        for first in range(0, len(vertices), CHUNK_FRAMES):
            piece = np.asarray(vertices[first : first + CHUNK_FRAMES], np.float32)
            if not np.isfinite(piece).all():
                raise PredictionError(f"{path} holds values that are not finite numbers; make it again.")
            yield piece

    def _read(self, path: Path, target: Target) -> np.ndarray:
        count = len(target.segments[0].template)
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise PredictionError(f"{path} is damaged ({error}); make it again.") from error
        if array.ndim == 3 and array.shape[0] == 1:
            array = array[0]
        if array.dtype.kind != "f" or (array.shape[1:] != (3 * count,) and array.shape[1:] != (count, 3)):
            shape = " × ".join(map(str, array.shape))
            raise PredictionError(f"{path} is {array.dtype} {shape}, not frames × {3 * count} of floats.")
        return array.reshape(len(array), count, 3)[: target.frames]
