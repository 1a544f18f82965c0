"""How turns begin: somebody asks aloud, a question was typed, a line is to be said, a recording performed."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demo.hearing import ListenerFailed, RecordingEnded
from demo.messages import Message, Performance, SayPhrase, SayText, UserText
from streamingtalker.audio import AudioError, load_audio
from streamingtalker.errors import UserError

log = logging.getLogger(__name__)

_PIECE = 24_000  # samples of a recording in one message

ListenerNews = RecordingEnded | ListenerFailed  # what is no part of a turn


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


async def overheard(news: "asyncio.Queue[ListenerNews]") -> AsyncIterator[Opening]:
    """A greeting, then only what is said. Raises ListeningError when the microphone is lost."""
    yield Phrase("greeting")
    while True:
        _check(await news.get())


async def recorded(
    paths: Iterable[Path],
    play: Callable[[Path], None],
    news: "asyncio.Queue[ListenerNews]",
    quiet: Callable[[], Awaitable[None]],
) -> AsyncIterator[Opening]:
    """Have one recording after another played, when the turns of the one before are over: ``quiet`` waits for that.

    No turn begins here. Raises ListeningError.
    """
    for path in paths:
        await asyncio.to_thread(play, path)
        ended = _check(await news.get())
        if not ended.attempts:
            log.info("Nobody speaks in %s.", path)
        await quiet()
    for opening in iter(tuple[Opening]()):
        yield opening


def _check(news: ListenerNews) -> RecordingEnded:
    if isinstance(news, ListenerFailed):
        raise ListeningError(news.message)
    return news


def requests(turn: int, opening: Opening, tentative: bool) -> list[Message]:
    """What tells the server of an opening."""
    match opening:
        case Question():
            return [UserText(turn, opening.text, tentative)]
        case Phrase():
            return [SayPhrase(turn, opening.phrase)]
        case Speech():
            return _performance(turn, opening)
        case _:
            return [SayText(turn, opening.text)]


def _performance(turn: int, speech: Speech) -> list[Message]:
    pcm = (np.clip(speech.pcm, -1, 1) * 32767).astype("<i2")
    pieces = [pcm[start : start + _PIECE] for start in range(0, len(pcm), _PIECE)]
    return [
        Performance(turn, piece.tobytes(), speech.sample_rate, last=number == len(pieces) - 1)
        for number, piece in enumerate(pieces)
    ]
