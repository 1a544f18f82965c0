"""Hair: locks over a dark layer that keeps the scalp from showing. All of it turns rigidly with the head."""

import numpy as np

from streamingtalker.bake import bob, combed, cropped, drawn, scalp
from streamingtalker.bake.drawn import Anchors, Drawn, Material
from streamingtalker.bake.identity import Bob, Cropped, Gathered, Hair, Parted
from streamingtalker.bake.skin import Surface
from streamingtalker.bake.strands import Mesh, Skull


def parts(surface: Surface, plan: Surface, inside: np.ndarray, look: Hair, still: Anchors) -> list[Drawn]:
    """The layers of somebody's hair; ``inside`` [r] tells how far inside the hairline the skin lies."""
    under, locks = _layers(surface, plan, inside, look)
    matt = isinstance(look, Cropped)
    return [
        _joined("hair_under", under, still, 0.9 if matt else 1.0),
        _joined("hair", locks, still, 0.9 if matt else 0.5),
    ]


def veil(surface: Surface, plan: Surface, look: Hair) -> list[tuple[np.ndarray, np.ndarray]]:
    """What of the hair keeps light from the skin: surfaces as points [n, 3] and quads."""
    return bob.veil(Skull(surface, plan), look) if isinstance(look, Bob) else []


def _layers(surface: Surface, plan: Surface, inside: np.ndarray, look: Hair) -> tuple[list[Mesh], list[Mesh]]:
    if isinstance(look, Bob):
        return bob.layers(Skull(surface, plan), look)
    skull = Skull(surface, plan, sharpness=900.0)
    ground = scalp.cut(surface, plan, inside)
    under = [scalp.layer(ground, look)]
    match look:
        case Cropped():
            return under, [cropped.tufts(ground, look)]
        case Parted():
            return under, combed.parted(skull, ground, look)
        case Gathered():
            return under, combed.gathered(skull, ground, look)
    raise AssertionError(look)


def _joined(name: str, meshes: list[Mesh], still: Anchors, roughness: float) -> Drawn:
    starts = np.cumsum([0, *(len(points) for points, _, _ in meshes)])
    points = np.concatenate([points for points, _, _ in meshes])
    triangles = np.concatenate([faces + start for (_, faces, _), start in zip(meshes, starts, strict=False)])
    colors = np.concatenate([color for _, _, color in meshes])
    solid = drawn.with_area(points, triangles)  # at the crown many strands share one root
    used, local = np.unique(solid, return_inverse=True)
    faces = local.reshape(-1, 3).astype(np.int32)
    material = Material(roughness, double_sided=True)
    return Drawn(name, still.points(points[used]), faces, colors[used], material, loose=name == "hair")
