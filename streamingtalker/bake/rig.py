"""The rest face and the 52 shapes of the talking mesh, with the faults of the raw face units mended."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import spsolve

from streamingtalker.bake import regions
from streamingtalker.bake.identity import Identity, apply
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
    contacts: sparse.csr_matrix  # [V, V]: what each vertex of them touches
    lip_pairs: np.ndarray  # int32 [5, 2]
    lips: np.ndarray  # int32
    upper_face: np.ndarray  # int32
    ears: np.ndarray  # float64 [V] 1 on the ears, 0 elsewhere
    pivots: np.ndarray  # float64 [2, 3] centres of the left and the right eyeball

    def shape(self, name: str) -> np.ndarray:
        """Displacements [V, 3] of the ARKit shape ``name`` at full weight."""
        return self.shapes[SHAPES.index(name)]


def bake(library: Library, base: BaseMesh, mesh: TalkingMesh, identity: Identity) -> BakedRig:
    """The rig of the reference, from which face models learn."""
    template, shapes = _raw(library, base, mesh, identity)
    seals = tuple(regions.lip_loop(base, mesh, start) for start in (regions.LIP_RIM, regions.LIP_SEAL))
    contacts = _contacts(template, seals)
    template += _closing(mesh, template, contacts)
    template += _lowered_tongue(mesh, template)
    shapes[SHAPES.index("tongueOut")] += _raised_tip(mesh, template)
    closed = template + shapes[SHAPES.index("jawOpen")] + shapes[SHAPES.index("mouthClose")]
    shapes[SHAPES.index("mouthClose")] += _closing(mesh, closed, _contacts(closed, seals))
    return BakedRig(
        mesh=mesh,
        template=template,
        shapes=shapes,
        seals=seals,
        contacts=contacts,
        lip_pairs=regions.lip_pairs(template, seals[1]),
        lips=regions.lips(base, mesh),
        upper_face=regions.upper_face(mesh, SHAPES, shapes),
        ears=regions.ears(library, base, mesh),
        pivots=_eye_centres(mesh, template),
    )


def another(library: Library, base: BaseMesh, identity: Identity, reference: BakedRig) -> BakedRig:
    """The rig of whoever is not the reference: the same shapes on a face of its own.

    The lips touch at rest where the reference's do, vertex by vertex; so whatever brings the reference's lips together,
    a face model's offsets included, brings these together, too.
    """
    mesh = reference.mesh
    template, _ = _raw(library, base, mesh, identity)
    template += _closing(mesh, template, reference.contacts)
    template += _lowered_tongue(mesh, template)
    return replace(reference, template=template, pivots=_eye_centres(mesh, template))


def _raw(library: Library, base: BaseMesh, mesh: TalkingMesh, identity: Identity) -> tuple[np.ndarray, np.ndarray]:
    """Rest face [V, 3] and shapes [52, V, 3] as the material has them."""
    body = apply(library, base, identity.shape) * METRES
    template = (body - body[base.vertex_ids("joint-head")].mean(axis=0))[mesh.source]
    shapes = np.stack([library.face_unit(name, len(body))[mesh.source] * METRES for name in SHAPES])
    return template + np.tensordot(weights(identity.rest), shapes, axes=1), shapes


def weights(named: Mapping[str, float]) -> np.ndarray:
    """Weights [52] of SHAPES; a name without its side means both."""

    def of(name: str) -> float:
        return next((w for stem, w in named.items() if name in (stem, f"{stem}Left", f"{stem}Right")), 0.0)

    return np.array([of(name) for name in SHAPES])


def _contacts(vertices: np.ndarray, seals: tuple[LipLoop, ...]) -> sparse.csr_matrix:
    """What each vertex of ``seals`` touches [V, V]: rows of shares of the two vertices at its x on the other lip."""
    contacts = sparse.lil_matrix((len(vertices), len(vertices)))
    for seal in seals:
        for own, other in ((seal.upper, seal.lower), (seal.lower, seal.upper)):
            other = other[np.argsort(vertices[other, 0], kind="stable")]
            place = np.interp(vertices[own, 0], vertices[other, 0], np.arange(len(other)))
            low = np.minimum(place.astype(int), len(other) - 2)
            contacts[own] = 0
            contacts[own, other[low]], contacts[own, other[low + 1]] = 1 - (place - low), place - low
    return contacts.tocsr()


def _closing(mesh: TalkingMesh, vertices: np.ndarray, contacts: sparse.csr_matrix) -> np.ndarray:
    """Displacements [V, 3] that bring both lips together at their ``contacts`` and fade out in the skin around."""
    own = np.flatnonzero(np.diff(contacts.indptr))
    return _spread(mesh, own, ((contacts @ vertices - vertices) / 2)[own])


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


def _eye_centres(mesh: TalkingMesh, template: np.ndarray) -> np.ndarray:
    return np.stack([_sphere_centre(template[mesh.members(eye)]) for eye in ("eye_left", "eye_right")])


def _sphere_centre(points: np.ndarray) -> np.ndarray:
    """Centre [3] of the sphere that fits ``points`` best."""
    system = np.column_stack([2 * points, np.ones(len(points))])
    return np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0][:3]
