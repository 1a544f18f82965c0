"""The rest face and the 52 shapes of the talking mesh, with the faults of the raw face units mended."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import spsolve

from streamingtalker.bake import identity, regions
from streamingtalker.bake.makehuman import BaseMesh, Library
from streamingtalker.bake.parts import TalkingMesh
from streamingtalker.bake.regions import LipLoop

METRES = 0.1  # per decimetre
_SHAPE_NAMES = (
    "eyeBlinkLeft eyeLookDownLeft eyeLookInLeft eyeLookOutLeft eyeLookUpLeft eyeSquintLeft eyeWideLeft "
    "eyeBlinkRight eyeLookDownRight eyeLookInRight eyeLookOutRight eyeLookUpRight eyeSquintRight eyeWideRight "
    "jawForward jawLeft jawRight jawOpen mouthClose mouthFunnel mouthPucker mouthLeft mouthRight "
    "mouthSmileLeft mouthSmileRight mouthFrownLeft mouthFrownRight mouthDimpleLeft mouthDimpleRight "
    "mouthStretchLeft mouthStretchRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper "
    "mouthPressLeft mouthPressRight mouthLowerDownLeft mouthLowerDownRight mouthUpperUpLeft mouthUpperUpRight "
    "browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft "
    "cheekSquintRight noseSneerLeft noseSneerRight tongueOut"
)
SHAPES = tuple(_SHAPE_NAMES.split())


@dataclass(frozen=True)
class BakedRig:
    """What the talking mesh looks like at rest and how it moves; metres, origin where the skull meets the spine."""

    mesh: TalkingMesh
    template: np.ndarray  # float64 [V, 3]
    shapes: np.ndarray  # float64 [52, V, 3]
    seals: tuple[LipLoop, ...]  # loops on which the closed lips touch
    lip_pairs: np.ndarray  # int32 [5, 2]
    lips: np.ndarray  # int32
    upper_face: np.ndarray  # int32
    pivots: np.ndarray  # float64 [2, 3] centres of the left and the right eyeball

    def shape(self, name: str) -> np.ndarray:
        """Displacements [V, 3] of the ARKit shape ``name`` at full weight."""
        return self.shapes[SHAPES.index(name)]


def bake(library: Library, base: BaseMesh, mesh: TalkingMesh) -> BakedRig:
    """The rig of the avatar."""
    body = identity.apply(library, base, identity.MAYA) * METRES
    template = (body - body[base.vertex_ids("joint-head")].mean(axis=0))[mesh.source]
    shapes = np.stack([library.face_unit(name, len(body))[mesh.source] * METRES for name in SHAPES])
    seals = tuple(regions.lip_loop(base, mesh, start) for start in (regions.LIP_RIM, regions.LIP_SEAL))
    template += _closing(mesh, template, seals)
    template += _lowered_tongue(mesh, template)
    shapes[SHAPES.index("tongueOut")] += _raised_tip(mesh, template)
    closed = template + shapes[SHAPES.index("jawOpen")] + shapes[SHAPES.index("mouthClose")]
    shapes[SHAPES.index("mouthClose")] += _closing(mesh, closed, seals)
    return BakedRig(
        mesh=mesh,
        template=template,
        shapes=shapes,
        seals=seals,
        lip_pairs=regions.lip_pairs(template, seals[1]),
        lips=regions.lips(base, mesh),
        upper_face=regions.upper_face(mesh, SHAPES, shapes),
        pivots=np.stack([_sphere_centre(template[mesh.members(eye)]) for eye in ("eye_left", "eye_right")]),
    )


def _closing(mesh: TalkingMesh, vertices: np.ndarray, seals: tuple[LipLoop, ...]) -> np.ndarray:
    """Displacements [V, 3] that bring both lips together on each of ``seals`` and fade out in the skin around."""
    fixed: dict[int, np.ndarray] = {}
    for seal in seals:
        for own, other in ((seal.upper, seal.lower), (seal.lower, seal.upper)):
            opposite = _along_x(vertices[other], vertices[own, 0])
            meeting = (vertices[own] + opposite) / 2
            fixed |= dict(zip(own.tolist(), meeting - vertices[own], strict=True))
    return _spread(mesh, np.array(list(fixed)), np.array(list(fixed.values())))


def _along_x(chain: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Points [n, 3] on the polyline ``chain`` at the given ``x``."""
    order = np.argsort(chain[:, 0], kind="stable")
    return np.stack([x, *(np.interp(x, chain[order, 0], chain[order, axis]) for axis in (1, 2))], axis=1)


def _spread(mesh: TalkingMesh, fixed: np.ndarray, values: np.ndarray, stiffness: float = 0.25) -> np.ndarray:
    """A field [V, 3] on the skin that has ``values`` at ``fixed`` and decays within a few edges (screened Laplace)."""
    quads = mesh.quads["skin"]
    pairs = np.concatenate([quads[:, [side, (side + 1) % 4]] for side in range(4)])
    links = sparse.coo_matrix((np.ones(len(pairs)), pairs.T), shape=(mesh.size, mesh.size)).tocsr()
    links = ((links + links.T) > 0).astype(float)
    system = sparse.diags(np.asarray(links.sum(axis=1)).ravel() * (1 + stiffness) + 1e-9) - links
    free = np.setdiff1d(np.arange(mesh.size), fixed)
    field = np.zeros((mesh.size, 3))
    field[fixed] = values
    field[free] = spsolve(system[free][:, free].tocsc(), -(system[free][:, fixed] @ values))
    return field


def _lowered_tongue(mesh: TalkingMesh, template: np.ndarray) -> np.ndarray:
    """Displacements [V, 3] that flatten the tongue onto the floor of the mouth, which leaves a dark cavity above it."""
    tongue = mesh.members("tongue")
    height = template[tongue, 1]
    field = np.zeros_like(template)
    field[tongue, 1] = -0.001 - 0.45 * (height - height.min())
    return field


def _raised_tip(mesh: TalkingMesh, template: np.ndarray) -> np.ndarray:
    """Displacements [V, 3] that lift the tip of the tongue over the lower teeth when it comes out."""
    tongue = mesh.members("tongue")
    depth = template[tongue, 2]
    field = np.zeros_like(template)
    field[tongue, 1] = 0.014 * ((depth - depth.min()) / np.ptp(depth)) ** 2
    return field


def _sphere_centre(points: np.ndarray) -> np.ndarray:
    """Centre [3] of the sphere that fits ``points`` best."""
    system = np.column_stack([2 * points, np.ones(len(points))])
    return np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0][:3]
