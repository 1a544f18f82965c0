"""Who an avatar is: the shape of the face and everything that is seen of it. Data only; ``characters`` has the people.

Colours are sRGB in [0, 1], lengths metres. What lies on the skin (brows, hairline, neckline) is given on the face of
``characters.MAYA`` and carried to every other one by the mesh they share.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from streamingtalker.bake.makehuman import BaseMesh, Library

Color = tuple[float, float, float]
Knots = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class SkinLook:
    """Colours of the skin."""

    tone: Color = (0.940, 0.785, 0.700)
    blush: Color = (0.85, 0.46, 0.41)
    flush: float = 1.0  # how much of it, 1 the usual
    lid: Color = (0.74, 0.52, 0.46)
    lid_share: float = 0.42
    lips: Color = (0.74, 0.37, 0.37)
    tint: float = 0.92  # how far the lips have that colour
    seam: Color = (0.46, 0.17, 0.18)  # where the lips touch
    rim: Color = (0.80, 0.50, 0.46)  # of the lids, and the inner corners of the eyes
    stubble: float = 0.0  # how dark a shaved beard shows
    stubble_color: Color = (0.30, 0.28, 0.28)
    freckles: float = 0.0  # or the spots of age


@dataclass(frozen=True)
class EyeLook:
    """Colours of the eyes."""

    iris: Color = (0.30, 0.185, 0.10)
    fibres: Color = (0.58, 0.37, 0.17)
    ring: Color = (0.10, 0.06, 0.045)
    white: Color = (0.885, 0.865, 0.85)


@dataclass(frozen=True)
class BrowLook:
    """Where the brows run and what hairs they have."""

    # The middle line from the nose outwards: distance from the middle of the face, height.
    line: Knots = (
        (0.0118, 0.0468),
        (0.0190, 0.0496),
        (0.0280, 0.0523),
        (0.0375, 0.0535),
        (0.0450, 0.0510),
        (0.0515, 0.0468),
    )
    half_width: tuple[float, ...] = (0.0022, 0.0026, 0.0025, 0.0021, 0.0014, 0.0005)  # at each knot
    color: Color = (0.345, 0.230, 0.170)
    shade: Color = (0.46, 0.325, 0.26)  # of the skin between the hairs
    density: float = 0.85  # of that shade
    length: float = 0.0054


@dataclass(frozen=True)
class LashLook:
    """Lashes: long and dark on made-up eyes."""

    upper: float = 0.0074  # length
    color: Color = (0.055, 0.038, 0.032)
    lower: Color = (0.56, 0.40, 0.34)
    liner: float = 1.0  # width of the dark line along the lid


@dataclass(frozen=True)
class HairColor:
    """Between the locks, of the locks, and where they shine."""

    dark: Color = (0.085, 0.052, 0.038)
    middle: Color = (0.305, 0.175, 0.105)
    sheen: Color = (0.56, 0.36, 0.23)
    grey: Color | None = None  # of single locks in between


# Degrees from straight ahead -> height of the hairline.
HIDDEN_HAIRLINE: Knots = (
    (0, 0.098), (30, 0.094), (50, 0.080), (66, 0.060), (78, 0.030), (100, 0.012), (140, -0.010), (180, -0.028)
)  # fmt: skip
# Past temples, sideburns and ears to the nape.
SHORT_HAIRLINE: Knots = (
    (0, 0.100), (30, 0.100), (48, 0.088), (58, 0.066), (66, 0.052), (71, 0.012), (74, -0.002), (82, -0.002),
    (86, 0.028), (92, 0.040), (104, 0.038), (110, 0.015), (118, -0.03), (140, -0.05), (180, -0.055)
)  # fmt: skip

# Rounder, without sideburns.
SOFT_HAIRLINE: Knots = (
    (0, 0.0965), (14, 0.0960), (28, 0.0915), (40, 0.083), (51, 0.070), (60, 0.055), (68, 0.040), (75, 0.024),
    (80, 0.014), (85, 0.024), (92, 0.040), (104, 0.038), (110, 0.015), (118, -0.005), (140, -0.02), (180, -0.025)
)  # fmt: skip


@dataclass(frozen=True)
class Hair:
    """What all hair has."""

    color: HairColor = HairColor()
    hairline: Knots = SHORT_HAIRLINE
    scalp: Color = (0.14, 0.09, 0.065)  # of the skin under it
    over_ears: bool = False
    ragged: float = 0.0  # how far the hairline strays
    thickness: float = 0.004  # of the layer that keeps the scalp from showing


@dataclass(frozen=True)
class Bob(Hair):
    """Hair that falls from a parting to one length all round."""

    hairline: Knots = HIDDEN_HAIRLINE
    over_ears: bool = True
    parting: float = 0.014  # to the avatar's left of the middle
    tip: float = -0.098  # height of the tips in front
    rise: float = 0.022  # how much shorter the back is
    volume: float = 0.014  # how far it stands off the head


@dataclass(frozen=True)
class Cropped(Hair):
    """Dense curls cut close to the head."""

    tufts: int = 2600
    tuft: float = 0.0034  # height of one


@dataclass(frozen=True)
class Parted(Hair):
    """A short cut, combed to either side of a parting."""

    ragged: float = 0.0012
    parting: float = 0.034  # to the avatar's left of the middle
    locks: int = 720
    top: float = 0.062  # length of the hair above, and on the sides
    sides: float = 0.026
    volume: float = 0.012  # how far the hair above rises


@dataclass(frozen=True)
class Gathered(Hair):
    """Long hair combed back into a bun."""

    hairline: Knots = SOFT_HAIRLINE
    thickness: float = 0.002
    locks: int = 400
    bun: tuple[float, float, float] = (0.0, 0.80, -0.60)  # direction from the middle of the skull
    radius: float = 0.030


@dataclass(frozen=True)
class Garment:
    """A top with a hem round the neck."""

    cloth: Color = (0.150, 0.315, 0.345)
    hem: Color = (0.125, 0.270, 0.300)
    # Degrees round the neck from the front -> height of the neckline.
    neckline: Knots = (
        (0, -0.166), (25, -0.160), (50, -0.143), (75, -0.127), (100, -0.118), (140, -0.112), (180, -0.110)
    )  # fmt: skip


@dataclass(frozen=True)
class Look:
    """All that is seen of somebody."""

    skin: SkinLook = SkinLook()
    eyes: EyeLook = EyeLook()
    brows: BrowLook = BrowLook()
    lashes: LashLook = LashLook()
    hair: Hair = Bob()
    garment: Garment = Garment()


@dataclass(frozen=True)
class Identity:
    """A person."""

    name: str
    shape: Mapping[str, float]  # MakeHuman target -> weight, on top of the androgynous base mesh
    look: Look = Look()
    rest: Mapping[str, float] = field(default_factory=dict)  # ARKit shapes that the face wears when it does nothing


def both_sides(targets: Mapping[str, float]) -> dict[str, float]:
    """The same weight for the left and the right target of a pair, ``eyes/l-eye-x`` and its twin for ``eyes/eye-x``."""
    return {
        f"{folder}/{side}-{name}": weight
        for path, weight in targets.items()
        for folder, name in [path.split("/")]
        for side in "lr"
    }


def apply(library: Library, base: BaseMesh, recipe: Mapping[str, float]) -> np.ndarray:
    """Vertices [N, 3] in decimetres of the base mesh with the targets of ``recipe`` applied."""
    vertices = base.vertices.copy()
    for name, weight in recipe.items():
        vertices += weight * library.target(name, len(vertices))
    return vertices
