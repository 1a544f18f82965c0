"""The clips of the synthetic corpus: what is said in which voice, style and mood, its sound, and the face that says it.

All that is random in a clip comes from its own seed: it is the same whatever others are made. Nothing is written here.
"""

import hashlib
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from streamingtalker.config import RATE
from streamingtalker.data import augment
from streamingtalker.data.augment import SPEECHLESS_VOICE
from streamingtalker.data.coarticulation import STYLES, mouth
from streamingtalker.data.expression import expression, join
from streamingtalker.data.phones import SILENCE, Phone, merge_silences
from streamingtalker.data.sentences import draw_text
from streamingtalker.data.speakers import VOICES, Manner, Voice, find_voice, speaker
from streamingtalker.data.visemes import LipSeal
from streamingtalker.mood import MOODS, Mood, MoodChange, mood_curve
from streamingtalker.topology import Rig

FPS = 30.0
LETTERS_A_SECOND = 14.5  # of English speech; how many clips make the minutes asked for
SPLIT_SHARES = {"train": 0.88, "val": 0.04, "test": 0.08}
NEW_VOICE_SHARE = 0.55  # of the minutes of validation and test, spoken by their unseen voices
SPEECHLESS_SHARE = 0.04  # of each split's minutes
NEUTRAL_SHARE = 0.35  # of the moods that a clip or a part of it is in
MOOD_CHANGE = 0.25  # chance that the mood turns within a clip


@dataclass(frozen=True)
class PlannedClip:
    """A clip to be made. All that is random in it comes from ``seed``."""

    name: str
    voice: str
    split: str
    style: int  # index into STYLES
    text: str  # what is said; the kind of sound where nothing is
    seed: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """How long it will be, roughly."""
        return 5.0 if self.voice == SPEECHLESS_VOICE else len(self.text) / LETTERS_A_SECOND + 0.7


@dataclass(frozen=True)
class Sound:
    """What is heard in a clip."""

    pcm: np.ndarray  # float32 [samples] at 16 kHz
    phones: tuple[Phone, ...]


ALL_VOICES = (SPEECHLESS_VOICE, *(voice.name for voice in VOICES))


def plan(minutes: float, seed: int, voices: Collection[str] = ALL_VOICES) -> list[PlannedClip]:
    """The clips of a corpus of about ``minutes`` with all voices, sorted by name; those of ``voices`` alone.

    What a voice says does not depend on which others are there.
    """
    clips: list[PlannedClip] = []
    for split, share in SPLIT_SHARES.items():
        for voice, part in _voices_of(split):
            if voice in voices:
                clips += _plan_voice(voice, split, 60 * minutes * share * part, seed)
    return sorted(clips, key=lambda clip: clip.name)


def _voices_of(split: str) -> Iterator[tuple[str, float]]:
    """The voices heard in a split and their share of it."""
    new = [voice.name for voice in VOICES if voice.split == split != "train"]
    seen = {voice.name: voice.share for voice in VOICES if voice.share > 0}
    new_share = NEW_VOICE_SHARE if new else 0.0
    yield SPEECHLESS_VOICE, SPEECHLESS_SHARE
    for name in new:
        yield name, (1 - SPEECHLESS_SHARE) * new_share / len(new)
    for name, share in seen.items():
        yield name, (1 - SPEECHLESS_SHARE) * (1 - new_share) * share / sum(seen.values())


def _plan_voice(voice: str, split: str, seconds: float, seed: int) -> Iterator[PlannedClip]:
    key = (seed, int.from_bytes(hashlib.sha256(f"{voice} {split}".encode()).digest()[:4], "little"))
    rng = np.random.default_rng(key)
    styles = np.random.default_rng((*key, 1))
    made = 0.0
    first = {"train": 1, "val": 8001, "test": 9001}[split]
    number = first
    while made < seconds:
        text = str(rng.choice(augment.SPEECHLESS)) if voice == SPEECHLESS_VOICE else draw_text(split, rng)
        style = int(styles.integers(len(STYLES)))
        clip = PlannedClip(f"{voice}_sentence{number:04d}", voice, split, style, text, (*key, number))
        made += clip.seconds
        number += 1
        yield clip


def make_sound(clip: PlannedClip) -> Sound:
    """Speak a clip. Raises SpeakerError where its synthesizer is not installed."""
    pcm, phones = _sound(clip, np.random.default_rng((*clip.seed, 0)))
    return Sound(pcm, tuple(phones))


def make_face(clip: PlannedClip, sound: Sound, rig: Rig) -> np.ndarray:
    """Weights float32 [frames, S] of the face that says ``sound``."""
    rng = np.random.default_rng((*clip.seed, 1))
    frames = math.ceil(len(sound.pcm) * FPS / RATE)
    style = STYLES[clip.style]
    moods = mood_curve(draw_moods(clip, sound.phones), frames, FPS)
    spoken = mouth(sound.phones, frames, FPS, style, rng, _seal(rig), rig.shape_names, moods)
    lively = expression(sound.phones, frames, FPS, style, moods, rng, rig.shape_names, sound.pcm)
    return combine(spoken, lively, rig)


def draw_moods(clip: PlannedClip, phones: Sequence[Phone]) -> list[MoodChange]:
    """The moods that a clip is spoken in; where it turns, it does so in a pause if there is one."""
    rng = np.random.default_rng((*clip.seed, 2))
    changes = [MoodChange(0.0, _draw_mood(rng))]
    if rng.random() < MOOD_CHANGE:
        seconds = phones[-1].end
        pauses = [phone.start for phone in phones[1:-1] if phone.name == SILENCE and phone.seconds > 0.12]
        at = float(rng.choice(pauses)) if pauses else rng.uniform(0.2, 0.8) * seconds
        changes.append(MoodChange(round(at, 3), _draw_mood(rng)))
    return changes


def _draw_mood(rng: np.random.Generator) -> Mood:
    if rng.random() < NEUTRAL_SHARE:
        return Mood()
    return Mood(str(rng.choice(MOODS)), round(float(rng.uniform(0.3, 1.0)), 2))


def combine(spoken: np.ndarray, lively: np.ndarray, rig: Rig) -> np.ndarray:
    """Weights [T, S] of a face that speaks and is lively, with the lips as far apart as speech alone has them."""
    return join(spoken, lively, _seal(rig), rig.shape_names)


def _seal(rig: Rig) -> LipSeal:
    return LipSeal.of(rig)


def _sound(clip: PlannedClip, rng: np.random.Generator) -> tuple[np.ndarray, list[Phone]]:
    """The clip's sound, float32 at 16 kHz, and its phones."""
    if clip.voice == SPEECHLESS_VOICE:
        pcm = augment.speechless(clip.text, rng.uniform(2.5, 8.0), rng)
        return pcm, [Phone(SILENCE, 0.0, len(pcm) / RATE)]
    training = clip.split == "train"
    manner = _draw_manner(find_voice(clip.voice), rng) if training else Manner(seed=clip.seed[-1])
    recording = augment.draw_recording(rng) if training else augment.Recording()
    speech = speaker(clip.voice).speak(clip.text, manner)
    lead = float(rng.choice([0.0, rng.uniform(0, 0.5)]))
    tail = float(rng.choice([0.0, rng.uniform(0, 0.8)]))
    silences = [np.zeros(round(seconds * speech.rate), np.float32) for seconds in (lead, tail)]
    dry = np.concatenate([silences[0], speech.pcm, silences[1]])
    pcm = augment.record(dry, speech.rate, recording, rng)
    shift = len(silences[0]) / speech.rate / recording.resampling
    phones = [phone.moved(shift, 1 / recording.resampling) for phone in speech.phones]
    pads = [Phone(SILENCE, 0.0, phones[0].start), Phone(SILENCE, phones[-1].end, len(pcm) / RATE)]
    return pcm, merge_silences([pads[0], *phones, pads[1]])


def _draw_manner(voice: Voice, rng: np.random.Generator) -> Manner:
    pace = float(np.clip(np.exp(rng.normal(0, 0.12)), 0.78, 1.28))
    spread = {"espeak": 0.25, "hibari": 0.15, "piper": 0.15}.get(voice.engine, 0.10)
    return Manner(pace, float(np.exp(rng.normal(0, spread))), int(rng.integers(2**31)))
