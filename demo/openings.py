"""How turns begin: somebody asks aloud, a question was typed, a line is to be said, a recording performed."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demo.listener import FinalText, ListenerEvent, ListenerFailed, NotUnderstood, RecordingEnded, Utterance
from streamingtalker.audio import AudioError, load_audio
from streamingtalker.errors import UserError

log = logging.getLogger(__name__)


class ListeningError(UserError):
    """Nothing is heard any more."""


@dataclass(frozen=True)
class Question:
    """The user's words, spoken or typed; the language model answers them."""

    text: str
    asked_at: float = field(default_factory=time.monotonic)  # monotonic seconds of the true last speech sample
    spans_ms: dict[str, float] = field(default_factory=dict)  # "endpoint" and "stt" of a spoken question

    @property
    def transcript(self) -> str:
        """What the user said."""
        return self.text


@dataclass(frozen=True)
class Line:
    """Words for the avatar to say as they are."""

    text: str
    asked_at: float = field(default_factory=time.monotonic)
    spans_ms: dict[str, float] = field(default_factory=dict)
    transcript: str = ""


@dataclass(frozen=True)
class Phrase:
    """One of the persona's set phrases: "greeting" or "not_heard"."""

    phrase: str
    asked_at: float = field(default_factory=time.monotonic)
    spans_ms: dict[str, float] = field(default_factory=dict)
    transcript: str = ""


@dataclass(frozen=True, eq=False)
class Speech:
    """Recorded speech for the avatar to perform."""

    transcript: str  # the recording's name stands for what was said
    pcm: np.ndarray  # float32 [n]
    sample_rate: int  # Hz
    asked_at: float = field(default_factory=time.monotonic)
    spans_ms: dict[str, float] = field(default_factory=dict)


Opening = Question | Line | Phrase | Speech


def load_speech(path: Path) -> Speech:
    """The recording at ``path``. Raises AudioError where it cannot be read or is empty."""
    pcm, rate = load_audio(path)
    if not len(pcm):
        raise AudioError(f"{path} is empty; record it again.")
    return Speech(path.name, pcm, rate)


async def typed(questions: Iterable[str]) -> AsyncIterator[Opening]:
    """A turn for each question."""
    for question in questions:
        yield Question(question)


async def said(text: str) -> AsyncIterator[Opening]:
    """One turn: the text, spoken as it is."""
    yield Line(text)


async def performed(path: Path) -> AsyncIterator[Opening]:
    """One turn: the recording at ``path``."""
    yield await asyncio.to_thread(load_speech, path)


async def overheard(events: "asyncio.Queue[ListenerEvent]") -> AsyncIterator[Opening]:
    """A greeting, then a turn for whatever is said, for ever. Raises ListeningError when the microphone is lost."""
    yield Phrase("greeting")
    while True:
        opening = _opening(await events.get())
        if opening is not None:
            yield opening


async def recorded(
    paths: Iterable[Path], play: Callable[[Path], None], events: "asyncio.Queue[ListenerEvent]"
) -> AsyncIterator[Opening]:
    """Have one recording after another played, and a turn for whatever is said in it.

    The next one is played when the turns of the one before are over.
    """
    for path in paths:
        await asyncio.to_thread(play, path)
        while not isinstance(event := await events.get(), RecordingEnded):
            opening = _opening(event)
            if opening is not None:
                yield opening
        if not event.attempts:
            log.info("Nobody speaks in %s.", path)


def _opening(event: ListenerEvent) -> Opening | None:
    """The turn an event of the listener begins, if it does."""
    match event:
        case FinalText():
            return Question(event.text, event.utterance.last_speech_time, _spans(event.utterance))
        case NotUnderstood():
            return Phrase("not_heard", event.utterance.last_speech_time, _spans(event.utterance))
        case ListenerFailed():
            raise ListeningError(event.message)
        case _:
            return None


def _spans(utterance: Utterance) -> dict[str, float]:
    return {
        "endpoint": (utterance.decided_time - utterance.last_speech_time) * 1000,
        "stt": (utterance.text_time - utterance.decided_time) * 1000,
    }
