"""What the listening side makes of sounds: words right and wrong, clean and in a hall. Not in real time, as fast as it
goes, with the program's own echo and noise processing, voice activity and recogniser."""

import queue
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from demo.acoustics import at_level, in_noise
from demo.echo import CleanMicrophone, Played
from demo.hearing import FinalText, ListenerEvent, NotUnderstood, UserSpeaking
from demo.listener import Listener
from demo.measure.visitors import Sound
from demo.microphone import BLOCK, RATE, AudioBlock
from demo.recognizers import Recognizer

_BEFORE, _AFTER = 2 * RATE, 2 * RATE  # samples of the hall around what is said
_SPEAKER_RATE = 48_000


@dataclass
class Understood:
    """What came of some sound."""

    texts: list[str] = field(default_factory=list)
    voices: int = 0  # utterances begun
    lost: int = 0  # of them, nothing was understood


class Replay:
    """A microphone that hears ``pcm``, float32 [n] at 16 kHz, as fast as it is read.

    ``before`` is called with the position of each block before that is heard.
    """

    name = "replay"

    def __init__(self, pcm: np.ndarray, before: Callable[[int], None]) -> None:
        self._pcm = pcm
        self._before = before

    def open(self) -> None:
        """Nothing is needed."""

    def close(self) -> None:
        """Nothing is needed."""

    def blocks(self) -> Iterator[AudioBlock]:
        """All of it."""
        for position in range(0, len(self._pcm) - BLOCK + 1, BLOCK):
            self._before(position)
            yield AudioBlock(self._pcm[position : position + BLOCK], position, (position + BLOCK) / RATE)


def understand(pcm: np.ndarray, recognizer: Recognizer) -> Understood:
    """What is understood of float32 [n] at 16 kHz."""
    events: queue.SimpleQueue[ListenerEvent] = queue.SimpleQueue()
    replay = Replay(pcm, before=lambda _: listener.settle())
    listener = Listener(CleanMicrophone(replay, Played(_SPEAKER_RATE)), recognizer, events.put)
    listener.start()
    listener.join()
    found = Understood()
    while not events.empty():
        event = events.get()
        found.voices += isinstance(event, UserSpeaking)
        found.lost += isinstance(event, NotUnderstood)
        if isinstance(event, FinalText):
            found.texts.append(event.text)
    return found


def in_hall(sound: Sound, hall: np.ndarray, snr_db: float) -> np.ndarray:
    """``sound`` with the hall around and beneath it, that much below the speech; infinity: a silent room."""
    if np.isinf(snr_db):
        return np.pad(sound.pcm, (_BEFORE, _AFTER))
    noisy = in_noise(sound.pcm, hall, snr_db)
    quiet = at_level(hall, float(10 * np.log10(np.mean(np.square(sound.pcm)) + 1e-12)) - snr_db)
    return np.concatenate([np.resize(quiet, _BEFORE), noisy, np.resize(quiet, _AFTER)])


def word_error(sounds: Sequence[Sound], hall: np.ndarray, snr_db: float, recognizer: Recognizer) -> float:
    """Wrong, missing and invented words in % of those said."""
    errors = said = 0
    for sound in sounds:
        heard = understand(in_hall(sound, hall, snr_db), recognizer)
        expected = words(sound.text)
        errors += edits(words(" ".join(heard.texts)), expected)
        said += len(expected)
    return 100 * errors / said


def words(text: str) -> list[str]:
    """In lower case, without signs and without sounds of thinking."""
    return [word for word in re.findall(r"[\w']+", text.casefold()) if word not in ("um", "uh", "hm")]


def edits(found: Sequence[str], expected: Sequence[str]) -> int:
    """Words to be changed, added or left out to make the one of the other (Levenshtein's distance)."""
    row = list(range(len(expected) + 1))
    for i, word in enumerate(found, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(expected, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]
