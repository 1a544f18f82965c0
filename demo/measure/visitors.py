"""What visitors say, spoken on the spot by voices that are not the avatar's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from demo.acoustics import NO_INTERRUPTIONS, at_level
from demo.microphone import RATE, Recording, read_recording
from streamingtalker.audio import Resampler
from streamingtalker.data.speakers import Manner, SpeakerError, speaker
from streamingtalker.errors import UserError

VOICES = ("joe", "slt", "espeakus", "rms", "annie", "awb", "espeakgb", "kal", "michael", "steph")
SPEECH_DB = -26.0  # level of a visitor at the microphone

QUESTIONS = (
    "Who are you?",
    "What is your name?",
    "How old are you?",
    "What is the capital of France?",
    "Why is the sky blue?",
    "How does this work?",
    "Can you hear me?",
    "What can you do?",
    "Who built the pyramids?",
    "Where do you come from?",
    "How many people live in Germany?",
    "What is the tallest mountain in the world?",
    "Why is the sea salty?",
    "What is the difference between a frog and a toad?",
    "Can you tell me why leaves turn red in autumn?",
    "How far away is the moon?",
    "Tell me something about the history of this building.",
    "Please explain to me how a steam engine works.",
    "I would like to know how you move your mouth when you speak.",
    "Could you tell me the way to the exit?",
    "What did people eat two thousand years ago?",
    "Do you dream when nobody is here?",
    "Is it going to rain tomorrow afternoon?",
    "When I was a child there was a red train in this room. Do you know where it is now?",
    "My daughter would like to know whether you have a brother or a sister.",
    "I have never talked to a computer before. Are you a real person?",
    "If you could travel anywhere in the world, where would you go and why?",
    "What is love?",
    "Which language do you like best?",
    "How long does it take to learn to play the piano well?",
)
HESITATIONS = (  # a half sentence, and how it goes on after a pause for thought
    ("I would like to know, um,", "how old you are."),
    ("Can you tell me what the", "capital of Japan is?"),
    ("What I want to ask is whether", "you can see me."),
    ("Do you know how to get to", "the railway station?"),
    ("I was wondering if you and", "your sister ever talk to each other."),
)
_HESITATION = 5  # every so many questions one hesitates
_THOUGHT = (0.35, 0.75)  # seconds


@dataclass(frozen=True, eq=False)
class Sound:
    """Something to be heard, at 16 kHz."""

    text: str  # what is said; of a noise, its name
    voice: str
    recording: Recording
    pcm: np.ndarray  # float32 [n]


def questions(count: int, folder: Path, seed: int = 0) -> list[Sound]:
    """``count`` questions in turn by all voices that this machine has, every fifth with a pause for thought.

    Raises UserError where no synthesizer is installed.
    """
    rng, voices = np.random.default_rng(seed), _voices()
    asked = []
    for number in range(count):
        voice = voices[number % len(voices)]
        manner = _manner(rng)
        if number % _HESITATION == _HESITATION - 1:
            parts: tuple[str, ...] = HESITATIONS[number // _HESITATION % len(HESITATIONS)]
        else:
            parts = (QUESTIONS[(number - number // _HESITATION) % len(QUESTIONS)],)
        pause = np.zeros(int(rng.uniform(*_THOUGHT) * RATE), np.float32)
        spoken = [_trimmed(_spoken(voice, part, manner)) for part in parts]
        pcm = np.concatenate([spoken[0]] + [piece for part in spoken[1:] for piece in (pause, part)])
        asked.append(_sound(" ".join(parts), voice, pcm, folder / f"question_{number}.wav"))
    return asked


def sentences(texts: Sequence[str], folder: Path, rng: np.random.Generator) -> list[Sound]:
    """``texts`` by each voice that this machine has. Raises UserError where no synthesizer is installed."""
    return [
        _sound(text, voice, _trimmed(_spoken(voice, text, _manner(rng))), folder / f"{voice}_{number}.wav")
        for voice in _voices()
        for number, text in enumerate(texts)
    ]


def noises(count: int, folder: Path, seed: int = 0) -> list[Sound]:
    """``count`` coughs, laughs, claps and "mm-hm"s in turn."""
    rng = np.random.default_rng(seed)
    names = list(NO_INTERRUPTIONS)
    return [
        _sound(name, "", NO_INTERRUPTIONS[name](rng), folder / f"noise_{number}.wav")
        for number, name in ((number, names[number % len(names)]) for number in range(count))
    ]


def _manner(rng: np.random.Generator) -> Manner:
    return Manner(pace=float(rng.uniform(0.9, 1.15)))


def _voices() -> list[str]:
    found = list(_available())
    if not found:
        raise UserError("No synthesizer for visitors is installed; run 'apt-get install espeak-ng flite'.")
    return found


def _available() -> Iterator[str]:
    for name in VOICES:
        try:
            speaker(name).speak("Hello.")
        except SpeakerError:
            continue
        yield name


def _spoken(voice: str, text: str, manner: Manner) -> np.ndarray:
    speech = speaker(voice).speak(text, manner)
    resampler = Resampler(speech.rate, RATE)
    return np.concatenate([resampler.feed(speech.pcm.astype(np.float32)), resampler.finish()])


def _trimmed(pcm: np.ndarray) -> np.ndarray:
    """Without the silence around it."""
    loud = np.flatnonzero(np.abs(pcm) > 0.02 * np.abs(pcm).max())
    return pcm[loud[0] : loud[-1] + 1]


def _sound(text: str, voice: str, pcm: np.ndarray, path: Path) -> Sound:
    soundfile.write(path, at_level(pcm, SPEECH_DB), RATE)
    return Sound(text, voice, *read_recording(path))
