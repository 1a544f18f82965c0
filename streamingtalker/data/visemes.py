"""How each phone looks when it is held: its viseme as weights of ARKit's mouth shapes.

Channels are mouth shapes moved together left and right. A diphthong passes through two visemes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streamingtalker.topology import Rig

# Channel → ARKit shapes that it drives.
CHANNELS: Mapping[str, tuple[str, ...]] = {
    "jaw": ("jawOpen",),
    "funnel": ("mouthFunnel",),
    "pucker": ("mouthPucker",),
    "lower": ("mouthLowerDownLeft", "mouthLowerDownRight"),
    "upper": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "stretch": ("mouthStretchLeft", "mouthStretchRight"),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "tongue": ("tongueOut",),
    "roll_lower": ("mouthRollLower",),
    "roll_upper": ("mouthRollUpper",),
    "press": ("mouthPressLeft", "mouthPressRight"),
    "close": ("mouthClose",),
}
CHANNEL_NAMES = tuple(CHANNELS)
JAW, CLOSE = CHANNEL_NAMES.index("jaw"), CHANNEL_NAMES.index("close")
DIPHTHONG_SPLIT = 0.55  # share of a diphthong's time before it turns to its second viseme


def _viseme(
    jaw: float, funnel: float = 0, pucker: float = 0, lower: float = 0, upper: float = 0, stretch: float = 0,
    smile: float = 0, tongue: float = 0,
) -> np.ndarray:  # fmt: skip
    values = {"jaw": jaw, "funnel": funnel, "pucker": pucker, "lower": lower, "upper": upper}
    values |= {"stretch": stretch, "smile": smile, "tongue": tongue}
    return np.array([values.get(name, 0.0) for name in CHANNEL_NAMES], np.float32)


# Lip shapes of m b p and f v are those around the closure, which `coarticulation` lays over them.
VISEMES: Mapping[str, np.ndarray] = {
    "sil": _viseme(0.0),
    "aa": _viseme(0.54, 0, 0, 0.34, 0.14),
    "ae": _viseme(0.46, 0, 0, 0.42, 0.24, 0.32, 0.14),
    "ah": _viseme(0.38, 0, 0, 0.28, 0.12),
    "ax": _viseme(0.23, 0, 0, 0.20, 0.08),
    "ao": _viseme(0.46, 0.44, 0.20, 0.12),
    "eh": _viseme(0.36, 0, 0, 0.36, 0.20, 0.28, 0.12),
    "ih": _viseme(0.22, 0, 0, 0.30, 0.14, 0.24, 0.12),
    "iy": _viseme(0.15, 0, 0, 0.40, 0.20, 0.42, 0.30),
    "uh": _viseme(0.21, 0.34, 0.30, 0.08),
    "uw": _viseme(0.12, 0.25, 0.75),
    "ow": _viseme(0.32, 0.48, 0.36, 0.05),
    "er": _viseme(0.20, 0.38, 0.20, 0.15, 0.10),
    "w": _viseme(0.07, 0.22, 0.88),
    "y": _viseme(0.10, 0, 0, 0.28, 0.12, 0.32, 0.22),
    "r": _viseme(0.13, 0.44, 0.26, 0.10),
    "l": _viseme(0.20, 0, 0, 0.24, 0.10, tongue=0.45),
    "n": _viseme(0.12, 0, 0, 0.22, 0.10, tongue=0.40),
    "t": _viseme(0.09, 0, 0, 0.26, 0.10, tongue=0.30),
    "s": _viseme(0.05, 0, 0, 0.40, 0.18, 0.24, 0.08),
    "sh": _viseme(0.07, 0.64, 0.22, 0.24, 0.16),
    "th": _viseme(0.16, 0, 0, 0.26, 0.16, tongue=0.62),
    "k": _viseme(0.17, 0, 0, 0.18, 0.08),
    "hh": _viseme(0.20, 0, 0, 0.14, 0.06),
    "p": _viseme(0.05),
    "f": _viseme(0.08, 0, 0, 0.04, 0.20),
}  # fmt: skip

_LIKE = {
    "d": "t",
    "z": "s",
    "zh": "sh",
    "ch": "sh",
    "jh": "sh",
    "dh": "th",
    "g": "k",
    "ng": "k",
    "b": "p",
    "m": "p",
    "v": "f",
}
_GLIDES = {"ay": ("aa", "ih"), "aw": ("aa", "uw"), "ey": ("eh", "iy"), "oy": ("ao", "iy"), "ow": ("ow", "uw")}


def visemes_of(phone: str) -> Sequence[str]:
    """The keys of VISEMES that ``phone`` passes through: one, or two for a diphthong."""
    return _GLIDES.get(phone) or (_LIKE.get(phone, phone),)


@dataclass(frozen=True)
class LipSeal:
    """The opening between the lips of a rig as a linear function of its shapes' weights, and how to bring it about.

    The rest face's opening plus the weights times ``per_shape`` is the signed distance of the inner lips, upper over
    lower, averaged from corner to corner; negative where they press into each other.
    """

    rest: float  # metres
    per_shape: np.ndarray  # float32 [S] metres at full weight
    close: int  # index of mouthClose among the shapes
    jaw: int  # index of jawOpen

    @classmethod
    def of(cls, rig: Rig) -> "LipSeal":
        """The seal measured on the lip pairs of ``rig``."""
        upper, lower = rig.topology.lip_pairs.T
        height = rig.topology.template[:, 1]
        per_shape = (rig.shapes[:, upper, 1] - rig.shapes[:, lower, 1]).mean(axis=1)
        close, jaw = (rig.shape_names.index(name) for name in ("mouthClose", "jawOpen"))
        return cls(float((height[upper] - height[lower]).mean()), per_shape, close, jaw)

    def opening(self, weights: np.ndarray) -> np.ndarray:
        """Signed lip opening [T] in metres for ``weights`` [T, S]."""
        return self.rest + weights @ self.per_shape

    def bring_to(self, weights: np.ndarray, opening: np.ndarray | float, strength: np.ndarray) -> np.ndarray:
        """``weights`` [T, S] with mouthClose changed so that the lips come to ``opening`` (metres).

        Where lips press into each other with mouthClose at rest already, as a smile makes them, the jaw gives way.
        ``strength`` [T] in [0, 1] is the part of the way that they go.
        """
        missing = strength * (np.asarray(opening) - self.opening(weights))
        sealed = weights.copy()
        wanted = weights[:, self.close] + missing / self.per_shape[self.close]
        sealed[:, self.close] = np.clip(wanted, 0.0, 1.0)
        beyond = np.minimum(wanted, 0.0) * self.per_shape[self.close]  # metres that mouthClose cannot give
        sealed[:, self.jaw] = np.clip(weights[:, self.jaw] + beyond / self.per_shape[self.jaw], 0.0, 1.0)
        return sealed


def to_shapes(channels: np.ndarray, shape_names: Sequence[str]) -> np.ndarray:
    """Weights float32 [T, S] of the rig's shapes for ``channels`` [T, C]; shapes outside the mouth stay at zero."""
    weights = np.zeros((len(channels), len(shape_names)), np.float32)
    for column, shapes in enumerate(CHANNELS.values()):
        for shape in shapes:
            weights[:, shape_names.index(shape)] = channels[:, column]
    return weights
