"""Life outside speech: the mood that a face holds, and brows, lids and cheeks that follow the voice.

Brows rise on stressed vowels, the more the higher and louder these are spoken, follow the melody, rise with a question
and settle at a phrase's end. Their sizes and sides vary from take to take, drawn from a generator. Blinks and glances
are not here: the demo lays them over any face.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from streamingtalker.data.coarticulation import Style
from streamingtalker.data.moods import SIDES, factor, held_weights
from streamingtalker.data.phones import SILENCE, STRESSED, Phone
from streamingtalker.data.prosody import Prosody, listen
from streamingtalker.data.visemes import LipSeal
from streamingtalker.mood import smooth

PAUSE = 0.15  # seconds of silence that end a phrase
QUESTION = (0.3, 2.5)  # semitones that a phrase's end lies above the rest: none of a question, wholly one
FROWN = 0.8  # semitones under its surroundings at which an emphasis draws the brows together instead of raising them
CALM = 0.06  # seconds, the blur that leaves no corner in a curve
_HELD_WHILE_SPEAKING = 0.85  # of what a mood holds in the mouth


@dataclass(frozen=True)
class Phrase:
    """What is said in one breath."""

    start: float  # seconds
    end: float
    rise: float  # semitones of its end over the rest

    @property
    def asking(self) -> float:
        """How much it sounds like a question, from 0 to 1."""
        return float(smooth((np.asarray(self.rise) - QUESTION[0]) / (QUESTION[1] - QUESTION[0])))


@dataclass(frozen=True)
class Variation:
    """What is drawn once for a take of the upper face."""

    lively: float
    outer: float  # how far the outer brows follow the inner ones
    frowning: float  # semitones by which it frowns the more readily
    left: float  # the left side's share over the right one's

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Variation":
        """Of another take."""
        return cls(float(np.exp(rng.normal(0, 0.2))), rng.uniform(0.5, 1.0), rng.normal(0, 0.3), rng.normal(0, 0.08))


def expression(
    phones: Sequence[Phone], frames: int, fps: float, style: Style, moods: np.ndarray, rng: np.random.Generator,
    shape_names: Sequence[str], pcm: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Weights float32 [frames, S] of what is not speech; frame k is at k / fps.

    ``moods`` [frames, M] intensities of MOODS; ``pcm`` float32 at 16 kHz is what is heard, None: stress alone tells.
    """
    times = np.arange(frames) / fps
    variation = Variation.draw(rng)
    heard = Prosody.flat(frames) if pcm is None else listen(pcm, frames, fps)
    phrases = phrases_of(phones, heard.pitch, fps)
    speaking = _largest(times, (_plateau(times, phrase.start, phrase.end, 0.2, 0.3) for phrase in phrases))
    lively = style.brows * variation.lively * factor("brows", moods)
    weights = _held(moods, speaking, style, shape_names)
    for name, curve in _upper_face(phones, phrases, times, heard, speaking, lively, variation, rng).items():
        curve = ndimage.gaussian_filter1d(curve, CALM * fps, mode="nearest")
        for side in SIDES:
            if name + side in shape_names:
                lean = {"Left": 1 + variation.left, "Right": 1 - variation.left}.get(side, 1.0)
                column = weights[:, shape_names.index(name + side)]
                column += lean * curve * np.where(curve > 0, 1 - column, 1)  # nothing is held so far that it ends there
    return np.clip(weights, 0.0, 1.0)


def join(spoken: np.ndarray, lively: np.ndarray, seal: LipSeal, shape_names: Sequence[str]) -> np.ndarray:
    """Weights [T, S] of a face that speaks and is lively, with the lips as far apart as speech alone has them.

    What a mood holds in the corners of the mouth gives way where the lips are round, and what it presses together
    gives way where they part or where the lower lip is at the teeth.
    """
    column = {name: index for index, name in enumerate(shape_names)}
    opening = seal.opening(spoken)
    at_teeth = np.clip(spoken[:, column["mouthRollLower"]] / 0.6 - 0.3, 0, 1)
    round_lips = np.clip(1.5 * spoken[:, column["mouthPucker"]] + 1.1 * spoken[:, column["mouthFunnel"]], 0, 1)
    corners = (1 - _around(0.9 * round_lips)) * (1 - _around(0.5 * at_teeth))
    firm = np.clip(1 - opening / 0.004, 0, 1) * (1 - at_teeth)
    lively = lively.copy()
    for name, index in column.items():
        if name.startswith(("mouthSmile", "mouthDimple", "mouthFrown", "mouthStretch")):
            lively[:, index] *= corners
        elif name.startswith(("mouthPress", "mouthShrug", "mouthRoll")):
            lively[:, index] *= firm
    return seal.bring_to(np.clip(spoken + lively, 0.0, 1.0), opening, np.ones(len(spoken)))


def _around(share: np.ndarray) -> np.ndarray:
    """``share`` [T], come to a little earlier and left a little later: corners move slower than lips."""
    return ndimage.gaussian_filter1d(ndimage.maximum_filter1d(share, 3), 1.3, mode="nearest")


def phrases_of(phones: Sequence[Phone], pitch: np.ndarray, fps: float) -> list[Phrase]:
    """The phrases between the pauses of ``phones``, whose ``pitch`` [T] in semitones is given."""
    pauses = [phone for phone in phones if phone.name == SILENCE and phone.seconds > PAUSE]
    edges = [phones[0].start, *(edge for pause in pauses for edge in (pause.start, pause.end)), phones[-1].end]
    spans = zip(edges[::2], edges[1::2], strict=True)
    return [Phrase(start, end, _rise(pitch, start, end, fps)) for start, end in spans if end - start > 1e-3]


def _rise(pitch: np.ndarray, start: float, end: float, fps: float) -> float:
    """Semitones by which the last fifth of a second lies over what came before; 0 for a phrase too short to tell."""
    first, turn, last = (round(at * fps) for at in (start, end - 0.2, end))
    return float(pitch[turn:last].max() - np.median(pitch[first:turn])) if turn - first > 6 and last > turn else 0.0


def _held(moods: np.ndarray, speaking: np.ndarray, style: Style, shape_names: Sequence[str]) -> np.ndarray:
    """What mood and style hold in the face, a little less of it in the mouth while it speaks."""
    weights = held_weights(moods, shape_names)
    weights[:, [name.startswith("mouthSmile") for name in shape_names]] += style.smile
    of_mouth = [name.startswith(("mouth", "jaw")) for name in shape_names]
    weights[:, of_mouth] *= (1 - (1 - _HELD_WHILE_SPEAKING) * speaking)[:, None]
    return weights


def _upper_face(
    phones: Sequence[Phone], phrases: Sequence[Phrase], times: np.ndarray, heard: Prosody, speaking: np.ndarray,
    lively: np.ndarray, variation: Variation, rng: np.random.Generator,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Curves [T] by the name of a shape without its side."""
    raised, drawn = _beats(phones, times, heard, variation, rng)
    questions = (p.asking * _plateau(times, p.end - 0.30, p.end + 0.25, 0.22, 0.5) for p in phrases)
    ends = ((1 - p.asking) * _plateau(times, p.end - 0.12, p.end + 0.30, 0.25, 0.5) for p in phrases)
    asking, ending = _largest(times, questions), _largest(times, ends)
    melody = speaking * np.clip(heard.pitch / 6, -0.5, 1)
    brows = (
        lively * (0.38 * raised + 0.10 * melody + 0.04 * _wander(times, rng, 3.5)) + 0.38 * asking * variation.lively
    )
    brows = _limited(brows - 0.05 * ending * speaking)
    return {
        "browInnerUp": brows,
        "browOuterUp": brows * variation.outer,
        "browDown": _limited(lively * 0.30 * drawn) + 0.05 * ending,
        "eyeWide": 0.30 * np.maximum(brows - 0.12, 0) + 0.06 * asking,
        "eyeSquint": 0.03 + lively * (0.20 * drawn + 0.03 * _wander(times, rng, 4.0)) + 0.10 * ending,
        "cheekSquint": 0.05 * lively * (speaking + 0.6 * np.clip(heard.loudness / 10, -1, 1) * speaking),
        "eyeBlink": 0.06 * ending,
    }


def _beats(
    phones: Sequence[Phone], times: np.ndarray, heard: Prosody, variation: Variation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """How far emphasis raises the brows and how far it draws them together, [T] each."""
    raised, drawn = np.zeros(len(times)), np.zeros(len(times))
    for vowel in [phone for phone in phones if phone.stress == STRESSED]:
        weight, over = emphasis(vowel, times, heard)
        height = np.clip(1.6 * (weight + 0.10 * rng.standard_normal() - 0.35), 0, 1) * rng.uniform(0.8, 1.2)
        curve = height * _plateau(times, vowel.start, vowel.end, rng.uniform(0.14, 0.20), rng.uniform(0.30, 0.50))
        onto = drawn if over < variation.frowning - FROWN else raised
        np.maximum(onto, curve, out=onto)
    return raised, drawn


def emphasis(vowel: Phone, times: np.ndarray, heard: Prosody) -> tuple[float, float]:
    """How much a stressed vowel stands out, about 0 to 1, by pitch, loudness and length; and its semitones over the
    second before and after it."""
    inside = (times >= vowel.start - 0.02) & (times <= vowel.end + 0.02)
    if not inside.any():
        return 0.0, 0.0
    near = (times >= vowel.start - 1.0) & (times <= vowel.end + 1.0)
    pitch, loudness = (curve[inside].mean() - curve[near].mean() for curve in (heard.pitch, heard.loudness))
    weight = 0.15 + 0.11 * abs(pitch) + 0.02 * loudness + 1.2 * min(vowel.seconds, 0.25)
    return float(weight), float(pitch)


def _largest(times: np.ndarray, curves: Iterable[np.ndarray]) -> np.ndarray:
    """The largest of ``curves`` at every one of ``times``, [T]; 0 where there are none."""
    return np.max([np.zeros(len(times)), *curves], axis=0)


def _plateau(times: np.ndarray, start: float, end: float, rise: float, fall: float) -> np.ndarray:
    """1 from ``start`` to ``end``, reached and left within so many seconds."""
    return smooth((times - start) / rise + 1) * (1 - smooth((times - end) / fall))


def _limited(curve: np.ndarray) -> np.ndarray:
    """Nearly the same while small, never above 0.6."""
    return 0.6 * np.tanh(curve / 0.6)


def _wander(times: np.ndarray, rng: np.random.Generator, period: float) -> np.ndarray:
    """A slow random curve in [-1, 1], its waves between half and twice ``period`` seconds long."""
    periods, phases = period * rng.uniform(0.5, 2.0, 3), rng.uniform(0, 2 * np.pi, 3)
    return np.sin(2 * np.pi * times[:, None] / periods + phases).mean(axis=1)
