"""Everything that is drawn, part by part."""

import numpy as np

from streamingtalker.bake import eyes, garment, hair, hidden, lashes_and_brows, mouth, scalp, shading, skin
from streamingtalker.bake.drawn import Anchors, Drawn
from streamingtalker.bake.identity import Look
from streamingtalker.bake.makehuman import BaseMesh
from streamingtalker.bake.rig import BakedRig

SCALP_MARGIN = 0.016  # metres of scalp that stay under the hair


def parts(base: BaseMesh, rig: BakedRig, reference: BakedRig, look: Look) -> list[Drawn]:
    """The parts of the drawn surface, opaque all. What lies on the skin is laid out on that of the ``reference``."""
    surface, plan = skin.subdivided(rig), skin.subdivided(reference)
    still = Anchors(rig.template, _never_moving(rig), 4)
    inside = scalp.grown(plan, surface.matrix @ rig.ears, look.hair)
    colors = skin.paint(base, reference, plan, inside, look) * _shade(rig, surface, plan, look)
    under_cloth = garment.below_neckline(plan.positions, look.garment.neckline) - garment.OVERLAP
    throat = surface.matrix @ skin.mouth_depth(base, rig).astype(float) > 1.2
    triangles = surface.refined.triangles(skin.detailed(rig, surface, colors))
    bare = skin.parts(surface, triangles, colors, -np.maximum(under_cloth, inside - SCALP_MARGIN), throat)
    face = [*bare, *eyes.parts(rig, look.eyes), *mouth.parts(rig, reference)]
    face += lashes_and_brows.parts(base, rig, surface, plan, look, still)
    head = [*face, *hair.parts(surface, plan, inside, look.hair, still)]
    return hidden.without_hidden([*head, garment.part(rig, surface, plan, look.garment)], rig)


def _shade(rig: BakedRig, surface: skin.Surface, plan: skin.Surface, look: Look) -> np.ndarray:
    """Colour factors [r, 3]: how little of the sky each point of the skin sees past skin and hair."""
    body = shading.discs_of(rig.template, rig.mesh.quads["skin"])
    hidden = shading.occlusion(surface.positions, surface.normals, *body, two_sided=False)
    curtain = [shading.discs_of(*sheet) for sheet in hair.veil(surface, plan, look.hair)]
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
