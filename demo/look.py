"""What the renderer needs to know of a face: its surface, cut into batches, and where camera and lights stand.

Plain arithmetic, no OpenGL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Protocol

import numpy as np

_HALF_A_HEAD = 0.09  # metres from the eyes back to the axis about which heads turn
_TALL, _WIDE = 6.6, 4.3  # faces' measures that a portrait shows, if it can
_MARGIN = 0.35  # of a face's measure, about what is shown
_ASIDE, _UP, _DOWN = 0.155, 0.25, 0.12  # how far features get from a picture's middle, of a portrait's height
_DISTANCE = 1.7  # metres from camera to face: a portrait lens, no big nose


class Part(Protocol):
    """A piece of the drawn surface with one material."""

    @property
    def name(self) -> str:
        """What it is; "hair…" for what lies in layers and keeps its shape."""

    @property
    def faces(self) -> tuple[int, int]:
        """From, to."""

    @property
    def vertices(self) -> tuple[int, int]:
        """From, to."""

    @property
    def roughness(self) -> float:
        """From 0, a mirror, to 1."""

    @property
    def double_sided(self) -> bool:
        """Whether it is seen from behind, too."""


class Look(Protocol):
    """A drawable face: R surface vertices that follow V face vertices."""

    @property
    def template(self) -> np.ndarray:
        """The face at rest, float32 [V, 3] metres."""

    @property
    def faces(self) -> np.ndarray:
        """Triangles int32 [F, 3] over the R surface vertices."""

    @property
    def colors(self) -> np.ndarray:
        """uint8 [R, 4] sRGB and alpha."""

    @property
    def parts(self) -> Sequence[Part]:
        """What the surface consists of."""

    @property
    def pivots(self) -> np.ndarray:
        """Centres of the eyes, float32 [2, 3] metres."""

    @property
    def mouth(self) -> np.ndarray:
        """The middle of the lips, float32 [3] metres."""

    def surface(self, vertices: np.ndarray) -> np.ndarray:
        """Positions float32 [R, 3] of the surface for face vertices [V, 3]."""

    def normals(self, positions: np.ndarray) -> np.ndarray:
        """Unit normals float32 [R, 3] of the surface."""


@dataclass(frozen=True)
class Batch:
    """Parts drawn in one go: one draw call costs more than many triangles."""

    data: (
        np.ndarray
    )  # float32 [n, 12]: position, normal, roughness and two-sidedness, linear RGBA; what OpenGL is given
    faces: np.ndarray  # int32 [f, 3] over the n
    members: np.ndarray  # int64 [n] over the R surface vertices
    layered: np.ndarray  # bool [f]: of hair, so that what others hide stays hidden
    double_sided: bool
    translucent: bool

    def move(self, positions: np.ndarray, normals: np.ndarray) -> None:
        """Put the surface's positions and normals [R, 3] into ``data``."""
        self.data[:, :3] = positions.take(self.members, axis=0)
        self.data[:, 3:6] = normals.take(self.members, axis=0)


def batches(look: Look) -> list[Batch]:
    """The face's parts, joined by what OpenGL must be told about them; what is translucent comes last."""
    groups: dict[tuple[bool, bool], list[Part]] = {}
    for part in look.parts:
        translucent = bool((look.colors[slice(*part.vertices), 3] < 255).any())
        groups.setdefault((translucent, part.double_sided), []).append(part)
    return [_batch(look, groups[key], *key) for key in sorted(groups)]


def _batch(look: Look, parts: list[Part], translucent: bool, double_sided: bool) -> Batch:
    faces = np.concatenate([look.faces[slice(*part.faces)] for part in parts])
    layered = np.repeat([part.name.startswith("hair") for part in parts], [np.ptp(part.faces) for part in parts])
    members, local = np.unique(faces, return_inverse=True)
    finish = np.zeros((len(look.colors), 2), np.float32)
    for part in parts:
        finish[slice(*part.vertices)] = part.roughness, part.double_sided
    data = np.zeros((len(members), 12), np.float32)
    data[:, 6:8] = finish[members]
    data[:, 8:12] = linear(look.colors[members])
    faces = local.reshape(-1, 3).astype(np.int32)
    order = np.argsort(faces.min(axis=1), kind="stable")  # neighbours together: vertices are lit once, not twice
    return Batch(data, faces[order], members, layered[order], double_sided, translucent)


def linear(colors: np.ndarray) -> np.ndarray:
    """Linear light float32 [n, 4] of sRGB colours with alpha, uint8 [n, 4]."""
    shares = colors.astype(np.float32) / 255
    rgb = shares[:, :3]
    shares[:, :3] = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return shares


def camera_pose(look: Look) -> np.ndarray:
    """Where the camera stands, 4x4: level with the middle of head and shoulders, looking along -z."""
    _, middle, _ = _portrait(look)
    pose = np.eye(4)
    pose[:3, 3] = 0.0, middle, float(look.pivots[:, 2].mean()) + _DISTANCE
    return pose


def field_of_view(look: Look, aspect: float) -> float:
    """Vertical angle in radians that shows head and shoulders in a picture of that width over height."""
    height, _, width = _portrait(look)
    return 2 * float(np.arctan(max(height, width / aspect) / 2 / _DISTANCE))


@dataclass(frozen=True)
class Area:
    """A part of a picture, in pixels from its upper left corner; right and bottom are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int


def features(width: int, height: int) -> Area:
    """Where eyes, nose and mouth of a face with shoulders may get in a picture of that size, as it moves and speaks."""
    portrait = min(height, width * _TALL / _WIDE)  # pixels that its height takes
    x, y = width / 2, height / 2
    aside, up, down = _ASIDE * portrait, _UP * portrait, _DOWN * portrait
    return Area(floor(x - aside), floor(y - up), ceil(x + aside), ceil(y + down))


def light_pose(direction: tuple[float, float, float]) -> np.ndarray:
    """4x4 pose whose -z axis points from where a light stands, in ``direction``, to the face."""
    z = np.array(direction, float) / np.linalg.norm(direction)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    return pose


def turned(look: Look, yaw: float, pitch: float) -> np.ndarray:
    """4x4 that turns the face about the middle of its head, by degrees to its left and downwards."""
    (cy, cp), (sy, sp) = np.cos(np.radians((yaw, pitch))), np.sin(np.radians((yaw, pitch)))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    middle = look.pivots.mean(axis=0) - (0.0, 0.0, _HALF_A_HEAD)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, middle - turn @ middle
    return pose


def _portrait(look: Look) -> tuple[float, float, float]:
    """Height in metres of what is shown, its middle (y), and the width that must be seen."""
    eyes = float(look.pivots[:, 1].mean())
    unit = eyes - float(look.mouth[1])  # from mouth to eyes: the measure of a face
    surface = look.surface(look.template)
    lowest, highest = surface.min(axis=0) - _MARGIN * unit, surface.max(axis=0) + _MARGIN * unit
    top = min(float(highest[1]), eyes + 2.9 * unit)  # a tall hat may stand out of the picture
    height = min(_TALL * unit, top - float(lowest[1]))  # a mask ends at its chin
    width = min(_WIDE * unit, float(highest[0] - lowest[0]))
    return height, top - height / 2, width  # a narrow picture cuts shoulders, a whole bust would float in it
