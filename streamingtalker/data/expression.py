"""Life in the rest of the face: blinks, brows that follow stress and phrases, a smile that comes and goes.

Everything is drawn from a generator, so that it varies from take to take and is the same for the same seed.
"""

from collections.abc import Callable, Sequence

import numpy as np

from streamingtalker.data.coarticulation import Style
from streamingtalker.data.phones import SILENCE, STRESSED, Phone

BLINK_INTERVAL = 3.4  # seconds, mean between blinks
DOUBLET = 0.12  # chance that a second blink follows at once
CLOSING, HOLDING, OPENING = 0.075, 0.035, 0.160  # seconds of a blink


def expression(phones: Sequence[Phone], frames: int, fps: float, style: Style, rng: np.random.Generator,
               shape_names: Sequence[str]) -> np.ndarray:  # fmt: skip
    """Weights float32 [frames, S] of the shapes outside speech; frame k is at k / fps."""
    times = np.arange(frames) / fps
    weights = np.zeros((frames, len(shape_names)), np.float32)
    curves = {
        "eyeBlink": _largest(times, blink_times(phones, rng), _blink),
        **_brows(phones, times, style, rng),
        **_corners(times, style, rng),
    }
    for name, curve in curves.items():
        for side in ("", "Left", "Right"):
            if name + side in shape_names:
                lean = 1 + 0.08 * rng.standard_normal() if name != "eyeBlink" else 1.0
                weights[:, shape_names.index(name + side)] = np.clip(curve * lean, 0, 1)
    return weights


def blink_times(phones: Sequence[Phone], rng: np.random.Generator) -> list[float]:
    """When blinks begin, in seconds: at random, often at the end of a phrase, now and then twice in a row."""
    seconds = phones[-1].end
    times: list[float] = []
    at = rng.uniform(0, BLINK_INTERVAL)
    pauses = [phone.start for phone in phones if phone.name == SILENCE and phone.seconds > 0.12]
    while at < seconds:
        near = [pause for pause in pauses if abs(pause - at) < 0.7]
        begin = near[0] + 0.05 if near and rng.random() < 0.6 else at
        times.append(begin)
        if rng.random() < DOUBLET:
            times.append(begin + CLOSING + HOLDING + OPENING + rng.uniform(0.02, 0.12))
        at = max(at, begin) + 0.6 + rng.gamma(2.5, (BLINK_INTERVAL - 0.6) / 2.5)
    return times


def _blink(since: np.ndarray) -> np.ndarray:
    """How far the lids are closed ``since`` seconds after a blink began."""
    closing = _smooth(since / CLOSING)
    opening = _smooth((since - CLOSING - HOLDING) / OPENING)
    return closing * (1 - opening)


def _brows(phones: Sequence[Phone], times: np.ndarray, style: Style, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Raised on some stressed vowels and on phrases' beginnings, drawn together now and then."""
    stressed = [phone for phone in phones if phone.stress == STRESSED]
    beats = [phone.start - 0.06 for phone in stressed if rng.random() < 0.28]
    starts = [a.end for a in phones if a.name == SILENCE and a.seconds > 0.15 and rng.random() < 0.5]
    heights = {at: style.brows * rng.uniform(0.10, 0.34) for at in [*beats, *starts]}
    raised = _largest(times, list(heights), lambda since: _beat(since, 0.12, 0.45), list(heights.values()))
    raised = np.minimum(raised + style.brows * 0.05 * (1 + _wander(times, rng, 2.5)), 0.6)
    outer = raised * rng.uniform(0.3, 0.9)
    frowns = [phone.start for phone in stressed if rng.random() < 0.05]
    lowered = _largest(times, frowns, lambda since: _beat(since, 0.2, 0.7), [style.brows * 0.25] * len(frowns))
    squint = 0.05 * (1 + _wander(times, rng, 3.0)) + 0.25 * lowered
    return {"browInnerUp": raised, "browOuterUp": outer, "browDown": lowered, "eyeSquint": squint,
            "eyeWide": 0.35 * np.maximum(raised - 0.2, 0)}  # fmt: skip


def _corners(times: np.ndarray, style: Style, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A slight smile that wanders, cheeks with it."""
    level = max(0.0, rng.normal(0.03, 0.03)) + style.smile * 0.5
    smile = np.maximum(level * (1 + 0.8 * _wander(times, rng, 4.0)), 0)
    return {"mouthSmile": smile, "cheekSquint": 0.6 * smile, "mouthDimple": 0.3 * smile}


def _largest(
    times: np.ndarray,
    begins: Sequence[float],
    shape: Callable[[np.ndarray], np.ndarray],
    heights: Sequence[float] | None = None,
) -> np.ndarray:
    """The largest of ``shape(times - begin)`` over all begins, each times its height, [T]."""
    total = np.zeros(len(times))
    for begin, height in zip(begins, heights or [1.0] * len(begins), strict=True):
        total = np.maximum(total, height * shape(times - begin))
    return total


def _beat(since: np.ndarray, rise: float, fall: float) -> np.ndarray:
    return _smooth(since / rise) * (1 - _smooth((since - rise) / fall))


def _smooth(share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)


def _wander(times: np.ndarray, rng: np.random.Generator, period: float) -> np.ndarray:
    """A slow random curve in [-1, 1], its waves between half and twice ``period`` seconds long."""
    periods, phases = period * rng.uniform(0.5, 2.0, 3), rng.uniform(0, 2 * np.pi, 3)
    return np.sin(2 * np.pi * times[:, None] / periods + phases).mean(axis=1)
