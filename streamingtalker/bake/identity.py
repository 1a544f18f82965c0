"""Who the avatar is: MakeHuman targets and how much of each, on top of the androgynous base mesh."""

from collections.abc import Mapping

import numpy as np

from streamingtalker.bake.makehuman import BaseMesh, Library


def both_sides(targets: Mapping[str, float]) -> dict[str, float]:
    """The same weight for a left and a right target; ``eyes/eye-x`` stands for ``eyes/l-eye-x`` and ``eyes/r-eye-x``."""
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
    "macrodetails/proportions/female-young-averagemuscle-averageweight-idealproportions": 0.6,
}


def apply(library: Library, base: BaseMesh, recipe: Mapping[str, float]) -> np.ndarray:
    """Vertices [N, 3] in decimetres of the base mesh with the targets of ``recipe`` applied."""
    vertices = base.vertices.copy()
    for name, weight in recipe.items():
        vertices += weight * library.target(name, len(vertices))
    return vertices
