"""Everything that is drawn, part by part."""

import numpy as np

from streamingtalker.bake import eyes, garment, hair, hidden, lashes_and_brows, mouth, shading, skin
from streamingtalker.bake.drawn import Anchors, Drawn
from streamingtalker.bake.makehuman import BaseMesh
from streamingtalker.bake.rig import BakedRig

SCALP_MARGIN = 0.016  # metres of scalp that stay under the hair


def parts(base: BaseMesh, rig: BakedRig) -> list[Drawn]:
    """The parts of the drawn surface, opaque all."""
    surface = skin.subdivided(rig)
    still = Anchors(rig.template, _never_moving(rig), 4)
    colors = skin.paint(base, rig, surface) * _shade(rig, surface)
    under_cloth = garment.below_neckline(surface.positions) - garment.OVERLAP
    under_hair = np.where(surface.positions[:, 1] > 0, skin.above_hairline(surface.positions), -1) - SCALP_MARGIN
    inside = surface.matrix @ skin.mouth_depth(base, rig).astype(float) > 1.2
    triangles = surface.refined.triangles(skin.detailed(rig, surface, colors))
    bare = skin.parts(surface, triangles, colors, -np.maximum(under_cloth, under_hair), inside)
    face = [*bare, *eyes.parts(rig), *mouth.parts(rig), *lashes_and_brows.parts(base, rig, surface, still)]
    return hidden.without_hidden([*face, *hair.parts(surface, still), garment.part(rig, surface)], rig)


def _shade(rig: BakedRig, surface: skin.Surface) -> np.ndarray:
    """Colour factors [r, 3]: how little of the sky each point of the skin sees past skin and hair."""
    body = shading.discs_of(rig.template, rig.mesh.quads["skin"])
    hidden = shading.occlusion(surface.positions, surface.normals, *body, two_sided=False)
    curtain = [shading.discs_of(*hair.curtain(hair.Skull(surface), side)) for side in (-1.0, 1.0)]
    veiled = sum(shading.occlusion(surface.positions, surface.normals, *discs, two_sided=True) for discs in curtain)
    return shading.darkening((hidden + 0.6 * veiled) * (1 - 0.55 * _around_eyes(rig, surface)), 0.65)


def _around_eyes(rig: BakedRig, surface: skin.Surface) -> np.ndarray:
    """1 at the eyes, 0 elsewhere [r]: lids that move must not carry the shadow of their pose at rest."""
    apart = [(surface.positions - centre - [0, 0.004, 0.012]) / [0.022, 0.016, 0.02] for centre in rig.pivots]
    return sum(np.exp(-((offset**2).sum(axis=1) ** 1.5)) for offset in apart)


def _never_moving(rig: BakedRig) -> np.ndarray:
    """Skin vertices of the skull that no shape moves."""
    moved = np.abs(rig.shapes).max(axis=(0, 2)) > 1e-6
    skull = (rig.template[:, 1] > 0.0) & np.isin(np.arange(rig.mesh.size), rig.mesh.members("skin"))
    return np.flatnonzero(skull & ~moved)
