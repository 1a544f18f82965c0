"""A plain knitted top with a scoop neck: the skin of the bust moved outwards, and a rolled hem along the neckline."""

import numpy as np
import scipy.sparse as sparse

from streamingtalker.bake import drawn, skin
from streamingtalker.bake.drawn import Anchors, Drawn, Material
from streamingtalker.bake.identity import Garment, Knots
from streamingtalker.bake.paint import smoothstep
from streamingtalker.bake.rig import BakedRig
from streamingtalker.bake.skin import Surface

AXIS = -0.022  # z of the middle of the neck
OVERLAP = 0.012  # metres of skin that go on under the cloth
SHOULDER = 0.105  # metres from the middle; the arms begin further out
CUT = -0.217  # where the bust ends
SKIRT, SKIRT_STEPS = 0.11, 6  # metres of cloth below it, and their rows
CHEST = -0.20  # below this the head does not reach
RELAXATIONS = 24
COARSE_CLOTH = 0.10  # what the normals of a quad that is not subdivided may be off by
HEM_STEPS, HEM_SIDES = 100, 6


def below_neckline(positions: np.ndarray, neckline: Knots) -> np.ndarray:
    """Metres [n] by which a point of the reference's skin lies below the neckline."""
    degrees = np.degrees(np.arctan2(np.abs(positions[:, 0]), positions[:, 2] - AXIS))
    heights = np.array(neckline)
    turn = np.radians(heights[:, 0])
    # A cosine series through the knots keeps the curve round where it crosses the middle of the body.
    series = np.linalg.lstsq(np.cos(np.outer(turn, np.arange(5))), heights[:, 1], rcond=None)[0]
    return np.cos(np.outer(np.radians(degrees), np.arange(5))) @ series - positions[:, 1]


def part(rig: BakedRig, surface: Surface, plan: Surface, look: Garment) -> Drawn:
    """Cloth and hem, cut on the reference's skin ``plan``; they move with the skin of the shoulders."""
    chest = Anchors(rig.template, np.flatnonzero(rig.template[:, 1] < CHEST), 4)
    depth = below_neckline(plan.positions, look.neckline)
    moved = surface.normals * (0.0012 + 0.0042 * smoothstep(0.0, 0.03, depth))[:, None]
    moved += _arms_lowered(surface.positions)
    fields = (depth[:, None], plan.positions[:, 1:2], surface.positions)
    plain = sparse.hstack([surface.matrix, *map(sparse.csr_matrix, fields)])
    carried = (plain + _moved(chest, moved)).tocsr()
    rows, faces = drawn.clip(carried, surface.refined.triangles(skin.curved(surface, COARSE_CLOTH)), depth)
    rows, faces = drawn.clip(rows, faces, rows[:, -4].toarray().ravel() - CUT)
    rows, faces = _lengthened(rows, faces, chest)
    rows = rows + _moved(chest, _relaxed(rows[:, -3:].toarray(), faces, *rows[:, [-5, -4]].toarray().T))
    cloth, positions = rows[:, :-5].tocsr(), rows[:, -3:].toarray()
    rim = np.flatnonzero(np.abs(rows[:, -5].toarray().ravel()) < 0.004)
    hem, hem_faces = _hem(cloth, positions, rim, chest)
    colors = np.concatenate([np.tile(look.cloth, (len(positions), 1)), np.tile(look.hem, (hem.shape[0], 1))])
    triangles = np.concatenate([faces, hem_faces + len(positions)])
    return Drawn("top", sparse.vstack([cloth, hem]).tocsr(), triangles, colors, Material(0.9))


def _arms_lowered(positions: np.ndarray) -> np.ndarray:
    """Displacements [r, 3] that take the arms from the modelling pose towards the body, for the cloth only."""
    beyond = np.maximum(np.abs(positions[:, 0]) - SHOULDER, 0.0)
    eased = beyond**2 / (beyond + 0.02)
    moved = np.zeros_like(positions)
    moved[:, 0] = -0.36 * np.sign(positions[:, 0]) * eased
    moved[:, 1] = -0.10 * eased
    return moved


def _relaxed(positions: np.ndarray, faces: np.ndarray, depth: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Displacements [r, 3] that pull cloth straight over hollows: not at the neckline, ``depth`` [r] above, nor below
    the bust, where ``height`` [r] is least."""
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    links = sparse.coo_matrix((np.ones(len(sides)), sides.T), (len(positions), len(positions))).tocsr()
    links = ((links + links.T) > 0).astype(float)
    mean = sparse.diags(1 / np.maximum(np.asarray(links.sum(axis=1)).ravel(), 1)) @ links
    loose = (smoothstep(0.004, 0.03, depth) * smoothstep(CUT, CUT + 0.02, height))[:, None]
    moved = positions
    for _ in range(RELAXATIONS):
        for pull in (0.6, -0.63):  # Taubin's pair of steps: wrinkles go, the volume stays
            moved = moved + pull * loose * (mean @ moved - moved)
    return moved - positions


def _lengthened(rows: sparse.csr_matrix, faces: np.ndarray, chest: Anchors) -> tuple[sparse.csr_matrix, np.ndarray]:
    """The cloth with a skirt from its lower border, out of the picture: on as it came, then ever more straight down."""
    positions = rows[:, -3:].toarray()
    sides = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    _, first, uses = np.unique(np.sort(sides, axis=1), axis=0, return_index=True, return_counts=True)
    border = sides[first[uses == 1]]
    heights = rows[:, -4].toarray().ravel()
    border = border[(np.abs(heights[border] - CUT) < 1e-6).all(axis=1)]
    rim, local = np.unique(border, return_inverse=True)
    heading = _blurred(_downhill(drawn.normals(positions, faces)[rim]), positions[rim])
    start, end = border.T
    offset = np.zeros((len(rim), 3))
    for step in range(SKIRT_STEPS):
        share = (step / SKIRT_STEPS) ** 0.7
        offset = offset + SKIRT / SKIRT_STEPS * ((1 - share) * heading + share * np.array([0, -1.0, 0]))
        below = local.reshape(-1, 2) + rows.shape[0]
        rows = sparse.vstack([rows, rows[rim] + _moved(chest, offset)]).tocsr()
        skirt = [np.column_stack([end, start, below[:, 0]]), np.column_stack([end, below[:, 0], below[:, 1]])]
        faces = np.concatenate([faces, *skirt])
        start, end = below.T
    return rows, faces.astype(np.int32)


def _downhill(normals: np.ndarray) -> np.ndarray:
    """Unit vectors [n, 3] that run down along a surface with these ``normals``."""
    down = np.array([0, -1.0, 0]) + normals * normals[:, 1:2]
    return down / np.linalg.norm(down, axis=1, keepdims=True)


def _blurred(directions: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Directions [n, 3] averaged over neighbours within a few centimetres: cloth hangs in broad folds."""
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    mean = np.exp(-((apart / 0.035) ** 2)) @ directions
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def _moved(chest: Anchors, offset: np.ndarray) -> sparse.csr_matrix:
    """What to add to rows that carry depth, height and positions in five more columns, to move them by [n, 3]."""
    return sparse.hstack([chest.vectors(offset), *map(sparse.csr_matrix, (np.zeros((len(offset), 2)), offset))]).tocsr()


def _hem(
    cloth: sparse.csr_matrix, positions: np.ndarray, rim: np.ndarray, chest: Anchors
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """A flattened tube along the neckline: the rim of the cloth, smoothed by a short Fourier series round the neck."""
    line = _fourier(_around(positions[rim]), positions[rim])
    ahead = np.roll(line, -1, axis=0) - np.roll(line, 1, axis=0)
    outward = np.cross(np.cross(ahead, line - [0, -0.30, AXIS]), ahead)
    aside = np.cross(ahead, outward)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    ring = np.arange(HEM_SIDES) * 2 * np.pi / HEM_SIDES
    height, width = 0.0024 * np.sin(ring) + 0.0014, 0.0060 * np.cos(ring)
    tube = line[:, None] + outward[:, None] * height[:, None] + aside[:, None] * width[:, None]
    nearest = rim[np.linalg.norm(line[:, None] - positions[rim][None], axis=2).argmin(axis=1)].repeat(HEM_SIDES)
    rows = cloth[nearest] + chest.vectors(tube.reshape(-1, 3) - positions[nearest])
    faces = drawn.grid_triangles(HEM_STEPS + 1, HEM_SIDES, closed=True) % (HEM_STEPS * HEM_SIDES)
    return rows.tocsr(), faces


def _around(positions: np.ndarray) -> np.ndarray:
    """Radians [n] round the neck."""
    return np.arctan2(positions[:, 0], positions[:, 2] - AXIS)


def _fourier(angles: np.ndarray, points: np.ndarray, order: int = 7) -> np.ndarray:
    """A smooth closed line [HEM_STEPS, 3] through ``points`` [n, 3] at ``angles`` [n], even in the angle."""

    def basis(at: np.ndarray) -> np.ndarray:
        waves = np.outer(at, np.arange(1, order + 1))
        return np.column_stack([np.ones(len(at)), np.cos(waves), np.sin(waves)])

    at = np.arange(HEM_STEPS) / HEM_STEPS * 2 * np.pi - np.pi
    return basis(at) @ np.linalg.lstsq(basis(angles), points, rcond=1e-6)[0]
