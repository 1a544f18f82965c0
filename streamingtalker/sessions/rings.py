"""States of many streams, row by row in the same buffers, and the batch that some of the rows make."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from streamingtalker.layers import ConvState, KeyValueCache, StackState
from streamingtalker.predictor import PredictorState


@dataclass(frozen=True)
class Place:
    """Where rows whose rings are filled to different lengths write their next token, and how much they read."""

    rows: Tensor  # int64 [B] of the buffers
    slots: Tensor  # int64 [B]
    bias: Tensor  # int64 [B] slots, or slots + h in a ring that still has empty ones
    held: int  # slots to be read: up to the longest ring's end


@dataclass
class RingBatch(KeyValueCache):
    """The rings of some rows, as a batch; ``places`` are those of its next tokens."""

    places: Sequence[Place] = ()

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, int | Tensor]:
        """Add one token's [B, heads, 1, d] to each row."""
        place = self.places[self.tokens]
        self.tokens += 1
        self.keys[place.rows, :, place.slots] = key[:, :, 0]
        self.values[place.rows, :, place.slots] = value[:, :, 0]
        keys, values = (ring[:, :, : place.held].index_select(0, place.rows) for ring in (self.keys, self.values))
        return keys, values, place.bias


class RingRows:
    """The rings of all rows, one a layer; each row of a stream is ``kinds`` rows of the buffers."""

    def __init__(self, caches: Sequence[KeyValueCache], kinds: int) -> None:
        self._caches = caches
        self._kinds = kinds
        self._history = caches[0].keys.shape[2]
        self._tokens = np.zeros(len(caches[0].keys) // kinds, np.int64)

    def reset(self, row: int) -> None:
        """No tokens."""
        self._tokens[row] = 0

    def batch(self, rows: np.ndarray, tokens: int) -> PredictorState:
        """The rings of these rows, int64 [n] ascending, which take so many tokens now.

        A stream alone, and streams in step that lie side by side, are a batch like any other: nothing is copied.
        """
        begun = self._tokens[rows]
        self._tokens[rows] += tokens
        if rows[-1] - rows[0] + 1 == len(rows) and (begun == begun[0]).all():
            run = slice(int(rows[0]) * self._kinds, (int(rows[-1]) + 1) * self._kinds)
            caches = [KeyValueCache(each.keys[run], each.values[run], int(begun[0])) for each in self._caches]
            return PredictorState(caches)
        places = self._places(rows, begun, tokens)
        return PredictorState([RingBatch(each.keys, each.values, places=places) for each in self._caches])

    def _places(self, rows: np.ndarray, begun: np.ndarray, tokens: int) -> list[Place]:
        numbers = np.repeat(begun, self._kinds) + np.arange(tokens)[:, None]  # [tokens, B]
        slots = numbers % self._history
        bias = slots + np.where(numbers < self._history, self._history, 0)
        buffers = (rows[:, None] * self._kinds + np.arange(self._kinds)).reshape(-1)
        device = self._caches[0].keys.device
        at, write, read = (torch.from_numpy(each).to(device) for each in (buffers, slots, bias))
        held = np.minimum(numbers.max(1) + 1, self._history)
        return [Place(at, write[k], read[k], int(held[k])) for k in range(tokens)]


@dataclass
class StackRows:
    """The states of a convolution stack for all rows."""

    stack: StackState

    def take(self, rows: Tensor) -> StackState:
        """The states of some rows, int64 [n], as a batch of its own."""
        return StackState([ConvState(conv.tail.index_select(0, rows)) for conv in self.stack.convs])

    def put(self, rows: Tensor, batch: StackState) -> None:
        """Keep what the batch of these rows, int64 [n], has become."""
        for conv, changed in zip(self.stack.convs, batch.convs, strict=True):
            conv.tail.index_copy_(0, rows, changed.tail)

    def reset(self, row: int) -> None:
        """As before the clip."""
        for conv in self.stack.convs:
            conv.tail[row].zero_()
