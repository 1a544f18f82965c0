"""Streaming: what a stream is, and the two buffers every stream is made of.

A network that streams makes its state (``module.state(batch)``), a small dataclass of preallocated buffers, and takes
it as an optional last argument of ``forward``: without it the input is a whole clip, with it the next piece of one.
Both give the same numbers. A *stream* owns such states and has three verbs: feed, finish, reset. "Nothing yet" is an
empty result.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

Out = TypeVar("Out", covariant=True)


class Stream(Protocol[Out]):
    """PCM in, something aligned to it out."""

    def feed(self, pcm: np.ndarray) -> Out:
        """Take float32 [n] samples, give what has become final."""

    def finish(self) -> Out:
        """Give the rest. Only ``reset`` may follow."""

    def reset(self) -> None:
        """Forget everything."""


def whole(stream: Stream[np.ndarray], pcm: np.ndarray) -> np.ndarray:
    """All that a fresh ``stream`` makes of a clip ``pcm``, float32 [n]."""
    return np.concatenate([stream.feed(pcm), stream.finish()])


@dataclass
class SlidingBuffer:
    """The part of a growing sequence that is still needed, addressed by absolute position.

    Positions before the beginning of the sequence read as zeros.
    """

    items: np.ndarray  # [n, ...] positions start … start + n
    start: int = 0

    @classmethod
    def empty(cls, *shape: int) -> "SlidingBuffer":
        """No items of this ``shape`` yet."""
        return cls(np.zeros((0, *shape), np.float32))

    @property
    def end(self) -> int:
        """Number of items seen so far."""
        return self.start + len(self.items)

    def append(self, items: np.ndarray) -> None:
        """Add ``items`` [n, ...] at the end."""
        self.items = np.concatenate([self.items, items])

    def forget(self, before: int) -> None:
        """Drop what lies before position ``before``."""
        drop = min(max(before - self.start, 0), len(self.items))
        self.items = self.items[drop:].copy()
        self.start += drop

    def take(self, start: int, end: int) -> np.ndarray:
        """Positions from ``start`` to before ``end``, [end − start, ...]; zeros where they are negative."""
        assert end <= self.end and (start >= self.start or self.start == 0), "position no longer or not yet held"
        missing = min(max(-start, 0), end - start)
        held = self.items[max(start, 0) - self.start : max(end, 0) - self.start]
        return np.concatenate([np.zeros((missing, *self.items.shape[1:]), np.float32), held]) if missing else held
