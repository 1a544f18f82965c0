"""Who the avatar is: MakeHuman targets and how much of each, on top of the androgynous base mesh."""

from collections.abc import Mapping

import numpy as np

from streamingtalker.bake.makehuman import BaseMesh, Library


def both_sides(targets: Mapping[str, float]) -> dict[str, float]:
    """The same weight for the left and the right target of a pair, ``eyes/l-eye-x`` and its twin for ``eyes/eye-x``."""
    return {
        f"{folder}/{side}-{name}": weight
        for path, weight in targets.items()
        for folder, name in [path.split("/")]
        for side in "lr"
    }


MAYA: Mapping[str, float] = {
    "macrodetails/caucasian-female-young": 0.62,
    "macrodetails/asian-female-young": 0.2,
    "macrodetails/african-female-young": 0.18,
    "macrodetails/universal-female-young-averagemuscle-averageweight": 1.0,
    "macrodetails/proportions/female-young-averagemuscle-averageweight-idealproportions": 0.5,
    "head/head-oval": 0.45,
    "head/head-scale-vert-decr": 0.1,
    "head/head-scale-horiz-decr": 0.2,
    "eyebrows/eyebrows-trans-up": 0.35,
    "eyebrows/eyebrows-trans-backward": 0.3,
    "nose/nose-scale-horiz-decr": 0.35,
    "nose/nose-point-width-decr": 0.35,
    "nose/nose-nostrils-width-decr": 0.35,
    "nose/nose-curve-concave": 0.2,
    "nose/nose-point-up": 0.15,
    "nose/nose-scale-depth-decr": 0.15,
    "mouth/mouth-angles-up": 0.35,
    "mouth/mouth-upperlip-volume-incr": 0.3,
    "mouth/mouth-lowerlip-volume-incr": 0.15,
    "mouth/mouth-cupidsbow-incr": 0.25,
    "mouth/mouth-scale-horiz-incr": 0.1,
    "chin/chin-width-decr": 0.35,
    "chin/chin-prominent-decr": 0.15,
    "neck/neck-scale-horiz-decr": 0.45,
    "neck/neck-scale-depth-decr": 0.3,
    "torso/measure-shoulder-dist-decr": 0.4,
    **both_sides(
        {
            "eyes/eye-scale-incr": 0.35,
            "eyes/eye-height2-incr": 0.3,
            "eyes/eye-corner2-up": 0.2,
            "cheek/cheek-bones-incr": 0.3,
            "cheek/cheek-volume-incr": 0.1,
            "ears/ear-wing-decr": 0.4,
            "ears/ear-scale-decr": 0.3,
        }
    ),
}


def apply(library: Library, base: BaseMesh, recipe: Mapping[str, float]) -> np.ndarray:
    """Vertices [N, 3] in decimetres of the base mesh with the targets of ``recipe`` applied."""
    vertices = base.vertices.copy()
    for name, weight in recipe.items():
        vertices += weight * library.target(name, len(vertices))
    return vertices
