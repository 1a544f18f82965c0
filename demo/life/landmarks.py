"""What a face mesh lets us move: its eyes, its lids, its neck, its shapes.

A rig names everything. A bare topology, such as that of VOCASET or BIWI, names lips and upper face; eyeballs are found
where they are pieces of their own, lids by how they lie over them, and the neck by the measures of a face.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from demo.life.motion import ease
from streamingtalker.topology import Rig, Topology

_ROUND = 0.12  # how far from a sphere an eyeball may be, as share of its radius
_RADII = (0.12, 0.4)  # of eyeballs, as share of the height of the eyes over the mouth


@dataclass(frozen=True)
class Eye:
    """One eyeball."""

    members: np.ndarray  # int [n] vertices
    pivot: np.ndarray  # float32 [3] metres, its centre of rotation


@dataclass(frozen=True)
class Neck:
    """Where the head turns, and who goes with it."""

    pivot: np.ndarray  # float64 [3] metres
    waist: np.ndarray  # float64 [3] metres, where the whole body leans
    head: np.ndarray  # float32 [V, 1] share of the head's turn that a vertex takes part in
    chest: np.ndarray  # float32 [V, 1] share of the breath


@dataclass(frozen=True)
class Landmarks:
    """A face with what is known of it. Metres, y up, facing +z."""

    topology: Topology
    eyes: tuple[Eye, ...]  # none, or the left and the right one
    shapes: Mapping[str, np.ndarray]  # float32 [V, 3] by ARKit's name
    neck: Neck
    unit: float  # metres from the mouth up to the eyes: the measure of a face

    @property
    def template(self) -> np.ndarray:
        """The mesh at rest, float32 [V, 3]."""
        return self.topology.template

    @classmethod
    def of_rig(cls, rig: Rig) -> "Landmarks":
        """Everything that ARKit's shapes can do."""
        eyes = tuple(Eye(*eye) for eye in zip(rig.eyes, rig.pivots, strict=True))
        shapes = dict(zip(rig.shape_names, rig.shapes, strict=True))
        return _measured(rig.topology, eyes, shapes)

    @classmethod
    def of_shapes(cls, topology: Topology, eyes: tuple[Eye, ...], shapes: Mapping[str, np.ndarray]) -> "Landmarks":
        """A face whose eyeballs are turned by shapes: ``eyes`` without members tell only where they are."""
        return _measured(topology, eyes, shapes)

    @classmethod
    def of_topology(cls, topology: Topology) -> "Landmarks":
        """What a mesh without shapes can do: move its head; look and blink where it has eyeballs."""
        eyes = find_eyes(topology)
        blinks = {
            f"eyeBlink{side}": lid_shape(topology, eye) for side, eye in zip(("Left", "Right"), eyes, strict=False)
        }
        return _measured(topology, eyes, blinks)


def _measured(topology: Topology, eyes: tuple[Eye, ...], shapes: Mapping[str, np.ndarray]) -> Landmarks:
    mouth = topology.template[topology.lips].mean(axis=0)
    level = np.mean([eye.pivot for eye in eyes], axis=0) if eyes else _eye_level(topology)
    unit = float(level[1] - mouth[1])
    neck = _neck(topology.template, mouth, level, unit)
    return Landmarks(topology, eyes, shapes, neck, unit)


def _eye_level(topology: Topology) -> np.ndarray:
    """Where eyes would be: forehead, brows and lids lie around them."""
    return topology.template[topology.upper_face].mean(axis=0)


def _neck(template: np.ndarray, mouth: np.ndarray, eyes: np.ndarray, unit: float) -> Neck:
    """Where the head ends, judged by the face's measure."""
    height = (template[:, 1:2] - mouth[1]) / unit  # 0 at the mouth, 1 at the eyes, about -0.8 at the chin
    head = ease((height + 2.3) / 1.5).astype(np.float32)
    chest = ease((-1.6 - height) / 1.4).astype(np.float32)
    middle = float(template[:, 0].mean())
    pivot = np.array([middle, mouth[1] - 1.2 * unit, eyes[2] - 1.5 * unit])
    return Neck(pivot, pivot - np.array([0.0, 6.5 * unit, 0.0]), head, chest)


def find_eyes(topology: Topology) -> tuple[Eye, ...]:
    """The left and the right eyeball, if they are pieces of their own; else nothing. The left one lies at +x."""
    mouth = topology.template[topology.lips].mean(axis=0)
    unit = float(_eye_level(topology)[1] - mouth[1])
    balls = [eye for piece in _pieces(topology) if (eye := _ball(topology, piece, mouth, unit)) is not None]
    balls.sort(key=lambda eye: -eye.pivot[0])
    pair = len(balls) == 2 and balls[0].pivot[0] > mouth[0] > balls[1].pivot[0]
    return tuple(balls) if pair else ()


def _pieces(topology: Topology) -> list[np.ndarray]:
    """The vertices of each connected piece of the mesh."""
    count = topology.vertex_count
    ends = topology.faces.ravel(), np.roll(topology.faces, 1, axis=1).ravel()
    links = sparse.coo_matrix((np.ones(len(ends[0]), np.int8), ends), shape=(count, count))
    _, labels = connected_components(links, directed=False)
    return [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]


def _ball(topology: Topology, members: np.ndarray, mouth: np.ndarray, unit: float) -> Eye | None:
    """The eyeball that ``members`` are, if they lie on a sphere of its size, above the mouth."""
    points = topology.template[members].astype(float)
    if len(points) < 12 or points[:, 1].mean() < mouth[1] + 0.3 * unit:
        return None
    system = np.column_stack([2 * points, np.ones(len(points))])
    centre = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0][:3]
    distance = np.linalg.norm(points - centre, axis=1)
    radius = distance.mean()
    if distance.std() > _ROUND * radius or not _RADII[0] < radius / unit < _RADII[1]:
        return None
    return Eye(members, centre.astype(np.float32))


def lid_shape(topology: Topology, eye: Eye) -> np.ndarray:
    """A blink, float32 [V, 3] at full weight: the skin over an eyeball turns about it until the lids meet.

    The upper lid goes nearly all the way. What lies higher goes along the less, and the brow not at all.
    """
    template = topology.template.astype(float)
    radius = np.linalg.norm(template[eye.members] - eye.pivot, axis=1).mean()
    from_pivot = template - eye.pivot
    distance = np.linalg.norm(from_pivot, axis=1)
    aside = np.abs(from_pivot[:, 0]) / radius
    elevation = np.arctan2(from_pivot[:, 1], from_pivot[:, 2])
    skin = (distance < 1.7 * radius) & (from_pivot[:, 2] > 0)
    skin[eye.members] = False
    upper, lower = _margins(elevation[skin & (aside < 0.4) & (distance < 1.3 * radius)])
    meeting = lower + 0.05 * (upper - lower)
    above = ease((1.25 - elevation) / 0.75) * (elevation > (upper + lower) / 2)
    below = ease((elevation + 1.0) / (lower + 1.0)) * (elevation <= (upper + lower) / 2)
    turn = (meeting - upper) * above + (meeting - lower) * below
    turn = np.where(skin, turn * ease((1.35 - aside) / 0.9), 0.0)
    y, z = from_pivot[:, 1], from_pivot[:, 2]
    shape = np.zeros_like(topology.template)
    shape[:, 1] = y * np.cos(turn) + z * np.sin(turn) - y
    shape[:, 2] = z * np.cos(turn) - y * np.sin(turn) - z
    return shape


def _margins(elevations: np.ndarray) -> tuple[float, float]:
    """Where the upper and the lower lid end: the sides of the widest gap between skin, about straight ahead."""
    heights = np.sort(elevations[np.abs(elevations) < 1.2])
    if len(heights) < 2:
        return 0.0, 0.0
    gap = int(np.diff(heights).argmax())
    return float(heights[gap + 1]), float(heights[gap])
