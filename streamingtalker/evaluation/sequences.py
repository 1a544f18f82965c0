"""What is scored against: the sequences of a corpus, alone or joined to long ones, with their true motion and sound."""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamingtalker.config import RATE
from streamingtalker.data.dataset import Clip, Corpus, CorpusError
from streamingtalker.errors import UserError
from streamingtalker.topology import Topology, avatar_path

CHUNK_FRAMES = 50  # frames of true motion in memory at once


class SplitError(UserError):
    """A split that is not in the corpus, or too short for what is asked."""


@dataclass(frozen=True)
class Segment:
    """The first ``frames`` frames of a clip."""

    clip: Clip
    frames: int
    template: np.ndarray  # float32 [V, 3] of its speaker


@dataclass(frozen=True)
class Target:
    """A sequence to be scored: one clip, or several joined."""

    name: str
    identity: int  # speaking style; −1: a speaker the models do not know
    segments: tuple[Segment, ...]

    @property
    def frames(self) -> int:
        """T."""
        return sum(segment.frames for segment in self.segments)

    def templates(self, first: int, count: int) -> np.ndarray:
        """Rest shapes [count, V, 3] (or [1, V, 3] where they are one) of the frames from ``first`` on."""
        if len(self.segments) == 1:
            return self.segments[0].template[None]
        ends = np.cumsum([segment.frames for segment in self.segments])
        rows = np.searchsorted(ends, np.arange(first, first + count), side="right")
        return np.stack([self.segments[row].template for row in np.minimum(rows, len(ends) - 1)])


class TestBed:
    """A corpus as ground truth."""

    __test__ = False  # no test of pytest's

    def __init__(self, path: str | Path) -> None:
        """Raises UserError where the corpus or the face it is of cannot be read."""
        self.corpus = Corpus(path)
        self.document: dict[str, Any] = json.loads((self.corpus.path / "corpus.json").read_text())
        self._rig = self.corpus.rig(avatar_path(self.document.get("avatar", "maya")))
        self.topology: Topology = self._rig.topology

    @property
    def kind(self) -> str:
        """``vocaset``, ``biwi`` or ``synthetic``."""
        return str(self.document.get("kind", "synthetic"))

    @property
    def units(self) -> str:
        """Of lengths: ``m``, or ``1`` for coordinates of no unit."""
        return str(self.document.get("units", "m"))

    @property
    def regions(self) -> dict[str, dict[str, Any]]:
        """Where each region's vertices are from, and how many they are."""
        face, source = self.topology, f"avatar {self.topology.name}"
        ours = {name: {"source": source, "vertices": len(getattr(face, name))} for name in ("lips", "upper_face")}
        return dict(self.document.get("regions", ours))

    def targets(self, split: str, count: int | None = None) -> list[Target]:
        """The sequences of a split, the first ``count`` of them. Raises SplitError where there are none."""
        clips = self.corpus.split(split)
        if not clips:
            known = ", ".join(sorted({clip.split for clip in self.corpus.clips})) or "none"
            raise SplitError(f"{self.corpus.path} has no sequences of a split {split!r}; it has {known}.")
        segments = [self._segment(clip) for clip in clips[:count]]
        return [Target(segment.clip.name, segment.clip.style, (segment,)) for segment in segments]

    def true_motion(self, target: Target) -> Iterator[np.ndarray]:
        """Absolute vertices float32 [k, V, 3] of the target, piece by piece."""
        for segment in target.segments:
            weights = self.corpus.weights(segment.clip)
            vertices = self.corpus.vertices(segment.clip) if weights is None else np.zeros(0)
            for first in range(0, segment.frames, CHUNK_FRAMES):
                rows = slice(first, min(first + CHUNK_FRAMES, segment.frames))
                if weights is None:
                    yield np.asarray(vertices[rows], np.float32)
                else:
                    yield segment.template + self._rig.offsets(weights[rows])

    def sound(self, target: Target) -> np.ndarray:
        """Float32 samples at 16 kHz, exactly as long as the motion: cut, or filled up with silence, clip by clip."""
        return np.concatenate([self._sound(segment) for segment in target.segments])

    def _sound(self, segment: Segment) -> np.ndarray:
        pcm = self.corpus.pcm(segment.clip)
        length = segment.frames * RATE // self.corpus.fps
        return np.pad(pcm[:length], (0, max(length - len(pcm), 0)))

    def _segment(self, clip: Clip) -> Segment:
        template, weights = self.corpus.template(clip, self._rig), self.corpus.weights(clip)
        if weights is not None:
            return Segment(clip, len(weights), template)
        vertices = self.corpus.vertices(clip)
        if vertices.shape[1:] != template.shape:
            raise CorpusError(f"{clip.name} has {vertices.shape[1]} vertices where its face has {len(template)}.")
        return Segment(clip, len(vertices), template)


def joined(targets: Sequence[Target], frames: int) -> list[Target]:
    """Long targets of exactly ``frames`` frames: those of the same identity joined in their order, the rest left out.

    Speakers unknown to the models count as one identity, as in the paper's Table 2. Raises SplitError where there is
    not enough for one.
    """
    found = []
    for identity, group in itertools.groupby(sorted(targets, key=lambda t: t.identity), key=lambda t: t.identity):
        segments = [segment for target in group for segment in target.segments]
        found += [Target(f"long{frames}_{identity}_{k}", identity, part) for k, part in _parts(segments, frames)]
    if not found:
        most = max((sum(t.frames for t in targets if t.identity == each.identity) for each in targets), default=0)
        raise SplitError(f"No identity of this split has {frames} frames; ask for at most --long {most}.")
    return found


def _parts(segments: Sequence[Segment], frames: int) -> Iterator[tuple[int, tuple[Segment, ...]]]:
    """Runs of ``segments`` of ``frames`` frames, the last segment of each cut short; each begins with a new segment."""
    part: list[Segment] = []
    number = 0
    for segment in segments:
        room = frames - sum(each.frames for each in part)
        part.append(Segment(segment.clip, min(room, segment.frames), segment.template))
        if segment.frames >= room:
            yield number, tuple(part)
            number, part = number + 1, []
