"""From phones in time to mouth shapes in time: a dominance model with hard closures.

Each viseme pulls at each channel with a dominance that falls off around the middle of its phone; a channel's value is
the mean of all targets weighted by dominance (after Cohen and Massaro, 1993). What must touch is laid over it: lips
meet at m b p, the lower lip meets the upper teeth at f v, whatever the neighbours want.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from streamingtalker.data.moods import factor
from streamingtalker.data.phones import (
    BILABIALS,
    LABIODENTALS,
    SECONDARY,
    SILENCE,
    STRESSED,
    UNSTRESSED,
    VOWELS,
    Phone,
)
from streamingtalker.data.visemes import (
    CHANNEL_NAMES,
    DIPHTHONG_SPLIT,
    VISEMES,
    LipSeal,
    to_shapes,
    visemes_of,
)
from streamingtalker.mood import MOODS

JAW_GROUP, LIPS, ROUNDING, TONGUE = 0, 1, 2, 3
_GROUP = {"funnel": ROUNDING, "pucker": ROUNDING, "jaw": JAW_GROUP, "tongue": TONGUE, "close": JAW_GROUP}
GROUP_OF_CHANNEL = np.array([_GROUP.get(name, LIPS) for name in CHANNEL_NAMES])


@dataclass(frozen=True)
class Style:
    """A way of speaking, independent of the voice: factors on the targets."""

    name: str
    jaw: float = 1.0
    lips: float = 1.0
    rounding: float = 1.0
    tightness: float = 1.0  # above 1 the visemes blur less into each other
    asymmetry: float = 0.0  # share of the lips' spread that leans to the avatar's left
    smile: float = 0.0  # weight that stays in the corners of the mouth
    brows: float = 1.0  # liveliness of the upper face


STYLES: tuple[Style, ...] = (
    Style("even"),
    Style("lively", jaw=1.22, lips=1.2, rounding=1.1, smile=0.06, brows=1.5),
    Style("reserved", jaw=0.74, lips=0.75, rounding=0.85, tightness=0.9, asymmetry=0.10, brows=0.6),
    Style("precise", jaw=0.95, lips=1.1, rounding=1.3, tightness=1.2, asymmetry=-0.05, smile=0.03, brows=0.9),
)


@dataclass(frozen=True)
class Articulation:
    """The constants of the dominance model."""

    lead: np.ndarray = field(
        default_factory=lambda: np.array([0.075, 0.075, 0.130, 0.055])
    )  # seconds, by group, before
    lag: np.ndarray = field(default_factory=lambda: np.array([0.085, 0.085, 0.100, 0.055]))  # seconds, by group, after
    steepness: float = 1.3  # exponent of the fall of the dominance
    core: tuple[float, float] = (0.30, 0.65)  # share of the phone over which it has its full dominance
    stress_jaw: tuple[float, float, float] = (0.80, 1.0, 1.15)  # on a vowel's jaw: un-, secondary, stressed
    # What cannot be heard cannot be learnt: chance has little to say about the mouth.
    jitter: float = 0.03  # standard deviation of the targets' random factor
    floor: float = 0.02  # dominance of rest, which is what remains far from any phone


ARTICULATION = Articulation()

# Dominance of a viseme over jaw, lips and rounding.
_VOWEL = {"ax": (0.5, 0.35, 0.3), "ih": (0.7, 0.7, 0.5), "uh": (0.9, 0.7, 1.0), "er": (0.8, 0.7, 1.0)}
_ROUND_VOWEL = {"uw": (1.2, 1.1, 2.0), "ow": (1.1, 0.9, 1.6), "ao": (1.1, 0.9, 1.2)}
_CONSONANT = {
    "w": (1.5, 1.5, 3.0), "sh": (1.2, 1.0, 1.8), "s": (1.3, 0.8, 0.35), "r": (0.6, 0.6, 0.8), "y": (0.7, 0.7, 0.4),
    "th": (0.9, 0.6, 0.2), "t": (0.6, 0.35, 0.15), "n": (0.5, 0.3, 0.15), "k": (0.4, 0.25, 0.1), "l": (0.5, 0.3, 0.2),
    "hh": (0.2, 0.1, 0.08), "p": (0.6, 0.5, 0.2), "f": (0.9, 0.8, 0.3),
}  # fmt: skip
DOMINANCE = dict.fromkeys(VISEMES, (1.1, 0.9, 0.6)) | _VOWEL | _ROUND_VOWEL | _CONSONANT | {"sil": (1.0, 1.0, 0.8)}
_TONGUE = {"th": 3.0, "l": 2.0, "n": 1.6, "t": 1.2}  # dominance over the tongue
_REACH = {"sil": 0.65, "s": 0.85, "t": 0.8}  # factor on how far a viseme's dominance spreads


@dataclass(frozen=True)
class _Target:
    """A viseme in time."""

    viseme: str
    start: float
    end: float
    values: np.ndarray  # [C]
    tightness: float = 1.0


def mouth(phones: Sequence[Phone], frames: int, fps: float, style: Style, rng: np.random.Generator, seal: LipSeal,
          shape_names: Sequence[str], moods: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """Weights float32 [frames, S] of the rig's mouth shapes while ``phones`` are spoken; frame k is at k / fps.

    ``moods`` [frames, M], intensities of MOODS, change the way of speaking; None: neutral throughout.
    """
    times = np.arange(frames) / fps
    moods = np.zeros((frames, len(MOODS))) if moods is None else moods
    manners = {name: factor(name, moods) for name in ("jaw", "lips", "rounding", "tightness")}
    targets = [
        target
        for phone in phones
        for target in _targets(phone, style, {name: _at(phone, curve, fps) for name, curve in manners.items()}, rng)
    ]
    channels = blend(targets, times)
    channels[:, CHANNEL_NAMES.index("jaw")] = _within_reach(channels[:, CHANNEL_NAMES.index("jaw")])
    weights = _lean(to_shapes(np.clip(channels, 0.0, 1.0), shape_names), style.asymmetry, shape_names)
    return close_lips(weights, phones, times, seal, shape_names)


def held_visemes(seal: LipSeal, shape_names: Sequence[str]) -> dict[str, np.ndarray]:
    """Weights float32 [S] of each viseme held for long, closures included; m b p are "p", f v are "f"."""
    at_once = np.zeros(1)
    return {
        name: close_lips(to_shapes(values[None], shape_names), [Phone(name, -1.0, 1.0)], at_once, seal, shape_names)[0]
        for name, values in VISEMES.items()
    }


def _at(phone: Phone, curve: np.ndarray, fps: float) -> float:
    """What ``curve`` [T] is in the middle of ``phone``."""
    return float(curve[min(round((phone.start + phone.end) / 2 * fps), len(curve) - 1)])


def _targets(phone: Phone, style: Style, manner: Mapping[str, float], rng: np.random.Generator) -> list[_Target]:
    """The visemes of ``phone``, as large as stress, length, style, the mood's ``manner`` and chance make them."""
    keys = visemes_of(phone.name)
    scale = np.array([style.jaw * manner["jaw"], style.lips * manner["lips"], style.rounding * manner["rounding"], 1.0])
    scale *= (1 + ARTICULATION.jitter * rng.standard_normal(4)).clip(0.9, 1.1)
    scale = scale[GROUP_OF_CHANNEL]
    if phone.name in VOWELS:
        index = {UNSTRESSED: 0, SECONDARY: 1, STRESSED: 2}[phone.stress]
        scale[CHANNEL_NAMES.index("jaw")] *= ARTICULATION.stress_jaw[index] * min(1.12, 0.80 + 2.2 * phone.seconds)
    split = phone.start + (DIPHTHONG_SPLIT if len(keys) == 2 else 1.0) * phone.seconds
    edges = [*[phone.start, split, phone.end][: len(keys)], phone.end]
    tightness = style.tightness * manner["tightness"]
    return [
        _Target(key, start, end, VISEMES[key] * scale, tightness)
        for key, start, end in zip(keys, edges, edges[1:], strict=False)
    ]


def blend(targets: Sequence[_Target], times: np.ndarray) -> np.ndarray:
    """The dominance-weighted mean of ``targets`` at ``times`` (seconds), float32 [T, C]."""
    values = np.stack([target.values for target in targets])
    strengths = np.array([(*DOMINANCE[target.viseme], _TONGUE.get(target.viseme, 0.6)) for target in targets])
    reach = np.array([_REACH.get(target.viseme, 1.0) / target.tightness for target in targets])
    start, end = (np.array([getattr(target, edge) for target in targets]) for edge in ("start", "end"))
    core_start, core_end = (start + share * (end - start) for share in ARTICULATION.core)
    # A silence is flat but for its edges, so that a long one holds the mouth shut to its ends.
    silent = np.array([target.viseme == SILENCE for target in targets])
    margin = np.minimum(0.06, (end - start) / 3)
    core_start, core_end = np.where(silent, start + margin, core_start), np.where(silent, end - margin, core_end)
    before = np.maximum(core_start - times[:, None], 0)[..., None] / (reach[:, None] * ARTICULATION.lead)
    after = np.maximum(times[:, None] - core_end, 0)[..., None] / (reach[:, None] * ARTICULATION.lag)
    dominance = strengths * np.exp(-((before + after) ** ARTICULATION.steepness))  # [T, targets, groups]
    pulled = np.einsum("tkc,kc->tc", dominance[..., GROUP_OF_CHANNEL], values)
    return (pulled / (dominance.sum(axis=1) + ARTICULATION.floor)[:, GROUP_OF_CHANNEL]).astype(np.float32)


def _within_reach(jaw: np.ndarray) -> np.ndarray:
    """Jaw weights [T] eased towards the widest that running speech opens."""
    comfortable, spare = 0.45, 0.15
    return np.where(jaw > comfortable, comfortable + spare * np.tanh((jaw - comfortable) / spare), jaw)


def _lean(weights: np.ndarray, asymmetry: float, shape_names: Sequence[str]) -> np.ndarray:
    for index, name in enumerate(shape_names):
        if name.endswith(("Left", "Right")):
            weights[:, index] *= 1 + (asymmetry if name.endswith("Left") else -asymmetry)
    return weights


@dataclass(frozen=True)
class _Closure:
    """When something must touch: full from ``start`` to ``end``, with ramps of so many seconds before and after."""

    start: float
    end: float
    attack: float
    release: float

    def strength(self, times: np.ndarray) -> np.ndarray:
        """How far it is carried out at ``times``, [T] in [0, 1]."""
        rising = (times - (self.start - self.attack)) / self.attack
        falling = ((self.end + self.release) - times) / self.release
        ramp = np.clip(np.minimum(rising, falling), 0.0, 1.0)
        return ramp * ramp * (3 - 2 * ramp)


SHORTEST_HOLD = 0.045  # seconds: longer than a frame, so that a closure is seen whatever the phase of the frames


def _bilabial(phone: Phone) -> _Closure:
    share = 1.0 if phone.name == "m" else 0.7
    return _hold(phone.start, phone.start + share * phone.seconds, 0.065, 0.060)


def _labiodental(phone: Phone) -> _Closure:
    return _hold(phone.start + 0.1 * phone.seconds, phone.start + 0.85 * phone.seconds, 0.080, 0.080)


def _silence(phone: Phone) -> _Closure:
    """Lips rest on each other in a pause, reached gently and left a little before speech."""
    settle = min(0.09, phone.seconds / 3)
    return _Closure(phone.start + settle, phone.end - min(0.04, phone.seconds / 3), 0.10, 0.09)


def _hold(start: float, end: float, attack: float, release: float) -> _Closure:
    missing = max(0.0, SHORTEST_HOLD - (end - start)) / 2
    return _Closure(start - missing, end + missing, attack, release)


def _strength(closures: Sequence[_Closure], times: np.ndarray) -> np.ndarray:
    return np.max([np.zeros(len(times)), *(closure.strength(times) for closure in closures)], axis=0)


# Factors on, and least values of, shapes while the lips are closed for m b p, and while they are for f v.
_BILABIAL_LIMITS = {"jawOpen": 0.07, "mouthPucker": 0.55, "mouthFunnel": 0.05}
_BILABIAL_SHAPES = {"mouthRollLower": 0.10, "mouthRollUpper": 0.08, "mouthPressLeft": 0.08, "mouthPressRight": 0.08}
_BILABIAL_GONE = ("mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "tongueOut")
_LABIODENTAL_SHAPES = {"mouthRollLower": 0.80, "mouthUpperUpLeft": 0.28, "mouthUpperUpRight": 0.28}
_LABIODENTAL_LIMITS = {"jawOpen": 0.08, "mouthPucker": 0.20, "mouthFunnel": 0.05, "tongueOut": 0.0}
_LABIODENTAL_GONE = ("mouthLowerDownLeft", "mouthLowerDownRight")
_SILENCE_LIMITS = {"jawOpen": 0.02, "mouthPucker": 0.15, "mouthFunnel": 0.05}
PRESSED, TOUCHING, LABIODENTAL_OPENING = -0.0001, 0.0001, 0.0018  # metres between the lips


def close_lips(
    weights: np.ndarray, phones: Sequence[Phone], times: np.ndarray, seal: LipSeal, shape_names: Sequence[str]
) -> np.ndarray:
    """``weights`` [T, S] with what must touch made to touch: lips at m b p and in silence, lip and teeth at f v."""
    bilabial = _strength([_bilabial(phone) for phone in phones if phone.name in BILABIALS], times)
    labiodental = _strength([_labiodental(phone) for phone in phones if phone.name in LABIODENTALS], times)
    silence = _strength([_silence(phone) for phone in phones if phone.name == SILENCE and phone.seconds > 0.06], times)
    labiodental = labiodental * (1 - bilabial)
    column = {name: index for index, name in enumerate(shape_names)}

    def ease(name: str, target: np.ndarray | float, strength: np.ndarray) -> None:
        weights[:, column[name]] += strength * (target - weights[:, column[name]])

    def apply(strength: np.ndarray, shapes: dict[str, float], limits: dict[str, float], gone: Sequence[str]) -> None:
        for name, value in shapes.items():
            ease(name, value, strength)
        for name, most in limits.items():
            ease(name, np.minimum(weights[:, column[name]], most), strength)
        for name in gone:
            ease(name, 0.0, strength)

    weights = weights.copy()
    apply(labiodental, _LABIODENTAL_SHAPES, _LABIODENTAL_LIMITS, _LABIODENTAL_GONE)
    apply(bilabial, _BILABIAL_SHAPES, _BILABIAL_LIMITS, _BILABIAL_GONE)
    apply(silence, {}, _SILENCE_LIMITS, _BILABIAL_GONE)
    weights = seal.bring_to(weights, LABIODENTAL_OPENING, labiodental)
    weights = seal.bring_to(weights, TOUCHING, silence)
    return seal.bring_to(weights, PRESSED, bilabial)
