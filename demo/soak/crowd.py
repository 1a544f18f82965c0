"""A seeded crowd: who says what into the microphone, and when.

What people do is drawn from one generator, so the same seed is the same crowd, sound by sound; only how long they wait
for an answer follows the program.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from demo.acoustics import NO_INTERRUPTIONS, babble
from demo.microphone import RATE, read_recording
from demo.surroundings import bundled_questions
from demo.voices import HibariVoice

log = logging.getLogger(__name__)

QUESTIONS = (
    "Who are you?",
    "What is the capital of Japan?",
    "Why is the sky blue?",
    "How old are you?",
    "Can you tell me a story about a lighthouse and the sea?",
    "What can I do in this museum?",
    "How do you move your mouth?",
    "Do you dream when nobody is here?",
    "Where is the exit, please?",
    "Please count from one to ten.",
)
_ANSWER_SECONDS = 45.0  # beyond that nobody waits for an answer


class Hall(Protocol):
    """Where the crowd is."""

    def play(self, wav: Path, volume: float = 1.0, *, wait: bool = True) -> None:
        """Sound into the microphone; ``wait`` until it has been heard."""

    def answering(self, seconds: float) -> bool:
        """Wait up to ``seconds`` for an answer to begin."""

    def answered(self, seconds: float) -> bool:
        """Wait up to ``seconds`` until it has been said."""

    def rest(self, seconds: float) -> None:
        """Let time pass."""


@dataclass(frozen=True)
class Sounds:
    """What the crowd can utter, as files."""

    questions: tuple[Path, ...]
    babble: tuple[Path, ...]
    noises: tuple[Path, ...]  # claps, coughs, laughs, an "mm-hm"


def record_sounds(folder: Path, seed: int) -> Sounds:
    """Speak and draw them all into ``folder``."""
    rng = np.random.default_rng(seed)
    asked = [*bundled_questions(), *_spoken(folder)]
    speech = [read_recording(path)[1] for path in asked]
    halls = [_written(folder / f"babble_{k}.wav", babble(speech, 12.0, rng)) for k in range(2)]
    noises = [
        _written(folder / f"{name}_{k}.wav", make(rng)) for name, make in NO_INTERRUPTIONS.items() for k in range(2)
    ]
    return Sounds(tuple(asked), tuple(halls), tuple(noises))


def _spoken(folder: Path) -> Iterator[Path]:
    voice = HibariVoice(seed=1)
    for number, question in enumerate(QUESTIONS):
        pcm = np.concatenate(list(voice.speak(question)))
        yield _written(folder / f"question_{number}.wav", pcm, voice.sample_rate)


def _written(path: Path, pcm: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, pcm, rate)
    return path


class Crowd:
    """People, one deed after another."""

    def __init__(self, hall: Hall, sounds: Sounds, seed: int) -> None:
        self._hall, self._sounds = hall, sounds
        self._rng = np.random.default_rng(seed)
        self._deeds: tuple[tuple[float, Callable[[], None]], ...] = (
            (0.45, self._ask),
            (0.15, self._interrupt),
            (0.10, self._flood),
            (0.10, self._babble),
            (0.08, self._ask_in_babble),
            (0.07, self._noise),
            (0.05, self._silence),
        )

    def act(self) -> str:
        """Do the next thing; what it was, in a word."""
        weights, deeds = zip(*self._deeds, strict=True)
        deed = deeds[int(self._rng.choice(len(deeds), p=np.array(weights) / sum(weights)))]
        deed()
        self._hall.rest(float(self._rng.uniform(0.5, 4.0)))
        return deed.__name__.strip("_")

    def _ask(self) -> None:
        self._hall.play(self._one(self._sounds.questions))
        if self._hall.answering(_ANSWER_SECONDS):
            self._hall.answered(_ANSWER_SECONDS)

    def _interrupt(self) -> None:
        self._hall.play(self._one(self._sounds.questions))
        pause = float(self._rng.uniform(0.3, 3.0))
        if self._hall.answering(_ANSWER_SECONDS):
            self._hall.rest(pause)
        self._ask()

    def _flood(self) -> None:
        """Many questions on top of each other; nobody waits."""
        for _ in range(int(self._rng.integers(3, 7))):
            self._hall.play(self._one(self._sounds.questions), float(self._rng.uniform(0.5, 1.0)), wait=False)
            self._hall.rest(float(self._rng.uniform(0.2, 1.5)))
        self._hall.answered(_ANSWER_SECONDS)

    def _babble(self) -> None:
        self._hall.play(self._one(self._sounds.babble))

    def _ask_in_babble(self) -> None:
        self._hall.play(self._one(self._sounds.babble), 0.3, wait=False)
        self._ask()

    def _noise(self) -> None:
        self._hall.play(self._one(self._sounds.noises))

    def _silence(self) -> None:
        self._hall.rest(float(self._rng.uniform(10.0, 30.0)))

    def _one(self, paths: tuple[Path, ...]) -> Path:
        return paths[int(self._rng.integers(len(paths)))]
