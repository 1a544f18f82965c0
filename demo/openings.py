"""How turns begin: somebody asks aloud, a question was typed, a line is to be said, a recording performed."""

import time
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Question:
    """The user's words, spoken or typed; the language model answers them."""

    text: str
    asked_at: float = field(default_factory=time.monotonic)  # monotonic seconds of the true last speech sample
    spans_ms: dict[str, float] = field(default_factory=dict)  # "endpoint" and "stt" of a spoken question


@dataclass(frozen=True)
class Line:
    """Words for the avatar to say as they are."""

    text: str
    transcript: str = ""  # what the user had said, where the line answers it
    asked_at: float = field(default_factory=time.monotonic)
    spans_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Recording:
    """Speech for the avatar to perform."""

    name: str
    pcm: np.ndarray  # float32 [n]
    sample_rate: int  # Hz
    asked_at: float = field(default_factory=time.monotonic)
    spans_ms: dict[str, float] = field(default_factory=dict)

    @property
    def transcript(self) -> str:
        """What stands for the user's words in the trace."""
        return self.name


Opening = Question | Line | Recording
