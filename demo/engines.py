"""The engines that conversations share, loaded side by side."""

import asyncio
import functools
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from demo.animator import Streamer
from demo.answering import REPLY_CHARACTERS
from demo.decency import Decency
from demo.kiosk import LETTERS_A_SECOND
from demo.llm import LanguageModel, LlmError, open_model
from demo.models import ModelStore
from demo.persona import Persona, load_persona
from demo.settings import Settings
from demo.speech_text import speakable
from demo.threads import limit_blas
from demo.voices import Notify, Voice, open_voice
from streamingtalker.mood import Mood

if TYPE_CHECKING:
    from streamingtalker.released import ReleasedTalker
    from streamingtalker.sessions.farm import FrameFarm
    from streamingtalker.talker import Talker

log = logging.getLogger(__name__)
T = TypeVar("T")


def _nothing() -> None:
    """Nothing is to be done."""


@dataclass(frozen=True)
class Face:
    """The face model. Every conversation makes a streamer of its own and closes it."""

    avatar: str
    fps: float
    vertices: int
    talker: str  # which weights
    device: str
    new_streamer: Callable[[], Streamer]
    mesh: str = ""  # Topology.mesh
    moods: tuple[str, ...] = ()  # that it has learnt to show
    close: Callable[[], None] = _nothing  # once no conversation needs it any more


@dataclass(frozen=True)
class Engines:
    """What conversations are made of."""

    llm: LanguageModel
    voice: Voice
    face: Face
    persona: Persona
    lang: str = "en"
    mood: Mood | None = None  # in which everything is said, whatever it is
    decency: Decency | None = None  # what judges questions and answers, if anything does
    reply_characters: int = REPLY_CHARACTERS  # an answer ends with the sentence that reaches them

    def names(self) -> dict[str, str]:
        """What was chosen, for the trace."""
        return {
            "llm": self.llm.name,
            "tts": self.voice.name,
            "talker": self.face.talker,
            "device": self.face.device,
        }


async def load_engines(settings: Settings, notify: Notify) -> Engines:
    """All engines that ``settings`` choose, loaded in threads beside one another. Raises UserError.

    A language model service that is not there yet is only reported: it may come.
    """
    persona = load_persona(settings.persona, settings.avatar)
    decency = Decency(settings.lang) if settings.filters else None
    if sentence := persona.untranslated(settings.lang):
        notify(sentence)
    persona = persona.in_language(settings.lang)
    llm, voice, face, _ = await asyncio.gather(
        _load_llm(settings, persona, notify),
        asyncio.to_thread(_timed, "voice", lambda: open_voice(settings, notify, persona.voice)),
        asyncio.to_thread(_timed, "face model", lambda: load_face(settings)),
        asyncio.to_thread(_timed, "text tables", lambda: speakable(persona.greeting, settings.lang)),
    )
    longest = round(settings.longest_reply * LETTERS_A_SECOND) if settings.kiosk else REPLY_CHARACTERS
    return Engines(llm, voice, face, persona, settings.lang, settings.mood, decency, longest)


async def _load_llm(settings: Settings, persona: Persona, notify: Notify) -> LanguageModel:
    open_it = functools.partial(open_model, settings, ModelStore(), os.environ)
    llm = await asyncio.to_thread(_timed, "language model", open_it)
    try:
        await llm.warm_up(persona.opening())
    except LlmError as error:
        notify(str(error))
    return llm


def load_face(settings: Settings) -> Face:
    """The face model in ``settings.talker``, warmed up, for so many conversations as may be. Raises CheckpointError."""
    import torch

    from streamingtalker.checkpoint import load_talker

    torch.set_num_threads(settings.threads)
    limit_blas(settings.threads)
    device = best_device() if settings.device == "auto" else settings.device
    talker = load_talker(settings.talker, device)
    talker.audio.hear_live()
    farm = open_farm(talker, settings.max_sessions)
    streamer = farm.stream()
    streamer.feed(np.zeros(16_000, np.float32))
    streamer.finish()  # feed gave the first frames only
    streamer.close()
    return Face(
        avatar=talker.topology.name,
        fps=streamer.fps,
        vertices=streamer.vertex_count,
        talker=settings.talker.stem,
        device=device,
        new_streamer=lambda: farm.stream(seed=settings.seed),
        mesh=talker.topology.mesh,
        moods=tuple(talker.dims.moods),
        close=farm.close,
    )


def open_farm(talker: "Talker | ReleasedTalker", sessions: int) -> "FrameFarm":
    """What computes the frames of so many conversations side by side; its recognisers leave a processor to the rest."""
    from streamingtalker.sessions.farm import FrameFarm, side_by_side

    rows = side_by_side(talker, sessions)
    listeners = min(sessions, max((os.cpu_count() or 1) - 1, 1))
    recognisers = [rows.open_recogniser() for _ in range(listeners)]
    return FrameFarm(rows, [each for each in recognisers if each is not None])


def best_device() -> str:
    """The fastest of cuda, mps and cpu that this machine has."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _timed(what: str, load: Callable[[], T]) -> T:
    start = time.monotonic()
    loaded = load()
    log.info("%s loaded in %.1f s", what, time.monotonic() - start)
    return loaded
