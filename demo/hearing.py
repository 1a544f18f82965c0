"""What listening comes to: how much is heard, and the events that tell of it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Hearing(StrEnum):
    """How much the listener hears."""

    OPEN = "open"  # everything: it is the user's turn
    GUARDED = "guarded"  # only what interrupts the avatar, whose turn it is
    DEAF = "deaf"  # nothing: half-duplex, or muted by the user


@dataclass(frozen=True)
class UserSpeaking:
    """Somebody has begun to speak."""

    utterance: int  # counts from 1
    time: float  # monotonic seconds of the first sound, roughly
    interrupts: bool = False  # it came while the avatar had the turn, and is no cough or "mm-hm"


@dataclass(frozen=True)
class PartialText:
    """What was understood so far, for the caption."""

    utterance: int
    text: str


@dataclass(frozen=True)
class Draft:
    """What was understood up to the first short silence: perhaps all of it, perhaps the user goes on."""

    utterance: int
    text: str


@dataclass(frozen=True)
class DraftWithdrawn:
    """The user went on speaking, or meant something else: the draft was not all."""

    utterance: int


@dataclass(frozen=True)
class Utterance:
    """When an utterance was. Times are monotonic seconds."""

    number: int
    last_speech_sample: int  # position in the microphone's stream
    last_speech_time: float  # when that sample was captured
    exact: bool  # measured in the recording that plays; else estimated by voice activity, up to 0.1 s late
    decided_time: float  # when it was clear that the user has finished
    text_time: float  # when the text was there


@dataclass(frozen=True)
class FinalText:
    """What the user said: the words of the draft, if there was one and it was not withdrawn."""

    text: str
    utterance: Utterance


@dataclass(frozen=True)
class NotUnderstood:
    """Somebody spoke, but no text came of it."""

    utterance: Utterance


@dataclass(frozen=True)
class RecordingEnded:
    """A recording is over and all that came of it has been told."""

    path: Path
    attempts: int  # FinalText and NotUnderstood told while it played


@dataclass(frozen=True)
class ListenerFailed:
    """Nothing is heard any more; the message is for the user."""

    message: str


ListenerEvent = (
    UserSpeaking | PartialText | Draft | DraftWithdrawn | FinalText | NotUnderstood | RecordingEnded | ListenerFailed
)
